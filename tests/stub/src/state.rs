//! What the stub knows: apps, settings, scripts, tokens, and the calls so far.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::tokens::Tokens;
use crate::{ApiCall, Apis, Call, Repeat, Script};

/// An app that is registered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct App {
    /// Its client_id.
    pub client_id: String,
    /// Its valid secrets: two during a rotation.
    pub client_secrets: Vec<String>,
    /// The organisations that authorised it.
    pub corp_ids: BTreeSet<String>,
}

/// How the endpoint behaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// What a repeated fetch does.
    pub repeat: Repeat,
    /// With `same-then-overlap`: in how many of the last seconds of a token's life a fetch returns a
    /// new one.
    #[serde(default = "five_minutes")]
    pub overlap: i64,
    /// The life of a token in seconds.
    pub expires_in: i64,
    /// Calls per second that one client_id may make.
    pub client_rate: u32,
    /// After so many failures within a minute, all calls are refused, as those of an address that
    /// is banned.
    #[serde(default)]
    pub failures_before_ban: Option<usize>,
    /// How tokens begin, to find them again.
    pub token_prefix: String,
    /// How many characters a token has; 32 were seen.
    pub token_length: usize,
    /// Milliseconds that every answer takes.
    pub latency: u64,
    /// How far the `Date` header is off, in seconds.
    pub clock_offset: i64,
    /// Answer of the APIs to a valid token.
    #[serde(default)]
    pub apis: Apis,
    /// The older APIs answer errcode 88, with the code in `sub_code`.
    #[serde(default)]
    pub errors_in_sub_code: bool,
}

fn five_minutes() -> i64 {
    300
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            repeat: Repeat::default(),
            overlap: five_minutes(),
            expires_in: 7200,
            client_rate: 20,
            failures_before_ban: None,
            token_prefix: String::new(),
            token_length: 32,
            latency: 0,
            clock_offset: 0,
            apis: Apis::default(),
            errors_in_sub_code: false,
        }
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) apps: HashMap<String, App>,
    pub(crate) corp_ids: BTreeSet<String>,
    pub(crate) settings: Settings,
    pub(crate) scripts: Vec<Script>,
    pub(crate) tokens: Tokens,
    pub(crate) journal: Vec<Call>,
    pub(crate) api_calls: Vec<ApiCall>,
    pub(crate) in_flight: usize,
    recent: HashMap<String, VecDeque<Timestamp>>,
    failures: VecDeque<Timestamp>,
    is_banned: bool,
}

impl State {
    /// Registers an app, or changes one; its organisations exist from now on.
    pub(crate) fn register(&mut self, app: App) {
        self.corp_ids.extend(app.corp_ids.iter().cloned());
        self.apps.insert(app.client_id.clone(), app);
    }

    /// Whether this call is one too many in its second.
    pub(crate) fn is_throttled(&mut self, client_id: &str, now: Timestamp) -> bool {
        let recent = self.recent.entry(client_id.to_owned()).or_default();
        while recent
            .front()
            .is_some_and(|at| now.duration_since(*at) >= SignedDuration::from_secs(1))
        {
            recent.pop_front();
        }
        recent.push_back(now);
        recent.len() > usize::try_from(self.settings.client_rate).unwrap_or(usize::MAX)
    }

    /// Counts a failure.
    pub(crate) fn failed(&mut self, now: Timestamp) {
        let Some(most) = self.settings.failures_before_ban else {
            return;
        };
        let minute = SignedDuration::from_mins(1);
        self.failures.retain(|at| now.duration_since(*at) < minute);
        self.failures.push_back(now);
        self.is_banned |= self.failures.len() > most;
    }

    /// Whether the address is banned, for as long as a test takes.
    pub(crate) fn is_banned(&self) -> bool {
        self.is_banned
    }
}

#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
