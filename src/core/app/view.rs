//! What is seen of an app, and what can be decided of it.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use crate::api::{Cause, DingTalkApp};
use crate::core::secret::assembly::Assembly;
use crate::core::secret::ownership::{Claim, Ownership};
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::templates::TemplateError;
use crate::core::secret::write::{Deletion, Write};
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::core::token::schedule::Lifetime;
use crate::core::token::tokens::Tokens;

/// What is known of the credentials Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CredentialsSeen {
    /// Nothing: it was there before anything referenced it, and has to be read.
    Unknown,
    /// There is none.
    Absent,
    /// It is in this state.
    Present(ObjectVersion),
}

/// What is seen under the name of a target.
#[derive(Clone)]
pub(crate) struct TargetSeen<'a> {
    /// The Secret and whose it is, if there is one.
    pub present: Option<(&'a TargetMeta, Ownership)>,
    /// Whether the target is this app's, of those that name it.
    pub claim: Claim,
}

/// What is seen of the cluster.
pub(crate) struct View<'a> {
    /// The app.
    pub app: &'a DingTalkApp,
    /// Its credentials.
    pub credentials: CredentialsSeen,
    /// Its targets, in the order of [`wanted`].
    pub targets: Vec<TargetSeen<'a>>,
    /// Secrets that were written for this app and are no longer its targets, by name.
    pub former: BTreeMap<&'a str, &'a TargetMeta>,
    /// Whether the app's site is configured for its namespace.
    pub site_known: bool,
    /// The tokens of all apps.
    pub tokens: &'a Tokens,
    /// What the keys of the target's labels and annotations may begin with.
    pub metadata_prefixes: &'a [String],
    /// Whether this process is shutting down: it fetches nothing, and writes at once what it has.
    pub is_ending: bool,
}

/// Why nothing can be done until somebody changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The site is not configured, or not for this namespace.
    UnknownSite,
    /// A label or annotation for the target is not allowed, for this reason.
    Metadata(String),
    /// A template cannot be used.
    Template(TemplateError),
    /// The target is an older app's.
    TargetOfOlderApp(String),
    /// The target's metadata is larger than what is kept of a target.
    TargetPastBounds,
    /// The target is somebody else's Secret.
    TargetForeign,
}

/// What to do next.
pub(crate) enum Step {
    /// Parse the app's templates. It takes a while, so no lock is to be held.
    ParseTemplates,
    /// Read the credentials, then fetch what [`due`] gives.
    ReadCredentials,
    /// Act on some Secrets, each at most once: at most `TARGET_STEPS_MAX`, at least one.
    Targets(Vec<TargetStep>),
    /// Nothing more for now: report, and look again at a time.
    Settle(Settled),
}

/// What is done about one Secret.
pub(crate) enum TargetStep {
    /// Put its contents together. It takes a while, so no lock is to be held.
    Assemble {
        /// Its name.
        name: String,
        /// From what.
        assembly: Box<Assembly>,
    },
    /// Read it, for the tokens of these organisations.
    Read {
        /// Its name.
        name: String,
        /// The organisations.
        corp_ids: Vec<String>,
    },
    /// Delete it.
    Delete {
        /// Its name.
        name: String,
        /// In which state.
        version: ObjectVersion,
        /// Why.
        why: Deletion,
    },
    /// Write it.
    Write {
        /// How.
        write: Box<Write>,
        /// Why.
        cause: Cause,
    },
}

/// The token of one organisation, at rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct CorpSettled {
    /// Its Secret.
    pub secret: String,
    /// The life of the token that the Secret holds.
    pub in_secret: Option<Lifetime>,
    /// The `client_id` of a token in the Secret that was fetched with former credentials; empty if
    /// it is not known.
    pub former_client_id: Option<String>,
    /// When it is fetched next.
    pub next_attempt: Option<Timestamp>,
    /// Why nothing can be done for it.
    pub blocked: Option<Blocked>,
    /// The size that its Secret would have, if that is too large.
    pub too_large: Option<usize>,
}

/// An app at rest.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Its organisations, in the order of the spec.
    pub corps: Vec<CorpSettled>,
    /// Whether the first outcome is still awaited, and soon enough to say nothing yet.
    pub quiet: bool,
    /// Whether a token is being fetched.
    pub is_fetching: bool,
    /// When to look again.
    pub wake_at: Option<Timestamp>,
    /// When a value changed last that the workloads have to be restarted for.
    pub value_changed_at: Option<Timestamp>,
}

/// What is decided of one target, while the others are looked at.
pub(in crate::core) struct Target<'a> {
    pub(in crate::core) name: String,
    pub(in crate::core) corp_ids: &'a [String],
    pub(in crate::core) present: Option<&'a TargetMeta>,
    pub(in crate::core) blocked: Option<Blocked>,
    /// What is in it, if that is known.
    pub(in crate::core) recorded: Option<Recorded>,
    /// The only `client_id` whose tokens count, if it was written for an app of this name that is
    /// gone.
    pub(in crate::core) only_client_id: Option<String>,
    /// The organisations whose recorded times cannot be true.
    pub(in crate::core) disbelieved: HashSet<String>,
    pub(in crate::core) too_large: Option<usize>,
    pub(in crate::core) left_out: HashSet<String>,
}

impl Target<'_> {
    /// The token that this Secret holds for an organisation, if that is known.
    pub(in crate::core) fn token(&self, view: &View<'_>, corp_id: &str) -> Option<&TokenRecord> {
        self.recorded
            .as_ref()?
            .token(corp_id)
            .filter(|token| token.site == view.app.spec.site && self.counts(token))
    }

    pub(in crate::core) fn counts(&self, token: &TokenRecord) -> bool {
        let only = self.only_client_id.as_ref();
        only.is_none_or(|only| *only == token.client_id)
            && !self.disbelieved.contains(&token.corp_id)
    }
}

/// The earliest of several times.
#[derive(Clone, Copy, Default)]
pub(in crate::core) struct Wake(pub(in crate::core) Option<Timestamp>);

impl Wake {
    pub(in crate::core) fn at(&mut self, at: Timestamp) {
        self.0 = Some(self.0.map_or(at, |earlier| earlier.min(at)));
    }
}
