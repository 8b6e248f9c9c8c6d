//! State of the stub: apps, settings, scripts, tokens, and recorded calls.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::tokens::Tokens;
use crate::{ApiCall, Apis, Call, Repeat, Script};

/// A registered app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct App {
    /// The client_id.
    pub client_id: String,
    /// Valid client secrets; two during a rotation.
    pub client_secrets: Vec<String>,
    /// Corps that have authorised the app.
    pub corp_ids: BTreeSet<String>,
}

/// Settings of the stub.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// What a repeated fetch returns.
    pub repeat: Repeat,
    /// With `same-then-overlap`: how long before a token's expiry a fetch returns a new one, in seconds.
    #[serde(default = "five_minutes")]
    pub overlap: i64,
    /// Lifetime of a token, in seconds.
    pub expires_in: i64,
    /// Maximum number of calls per second with one client_id.
    pub client_rate: u32,
    /// Number of failures within a minute after which all further calls are refused, as if the address was
    /// banned.
    #[serde(default)]
    pub failures_before_ban: Option<usize>,
    /// Prefix of tokens, for finding them.
    pub token_prefix: String,
    /// Length of tokens; 32 has been observed.
    pub token_length: usize,
    /// Delay of every response, in milliseconds.
    pub latency: u64,
    /// Offset of the `Date` header, in seconds.
    pub clock_offset: i64,
    /// Response of the APIs to a valid token.
    #[serde(default)]
    pub apis: Apis,
    /// Whether the older APIs return errcode 88 and the code in `sub_code`.
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
    /// Registers or replaces an app. Its corps exist from now on.
    pub(crate) fn register(&mut self, app: App) {
        self.corp_ids.extend(app.corp_ids.iter().cloned());
        self.apps.insert(app.client_id.clone(), app);
    }

    /// Counts a call. Returns whether it exceeds the rate.
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

    /// Whether the address is banned. Bans do not end.
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
