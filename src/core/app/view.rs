//! What is known about an app, and what can be decided for it.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use crate::api::DingTalkApp;
use crate::core::secret::assembly::Assembly;
use crate::core::secret::ownership::{Claim, Ownership};
use crate::core::secret::recorded::Recorded;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::templates::TemplateError;
use crate::core::secret::write::{Deletion, Write};
use crate::core::token::record::{ObjectVersion, TokenRecord};
use crate::core::token::schedule::Lifetime;
use crate::core::token::tokens::Tokens;
use crate::core::token::why::Why;

/// What is known about the credentials Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CredentialsSeen {
    /// Nothing: it existed before anything referenced it, and must be read.
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists in this version.
    Present(ObjectVersion),
}

/// What exists under a target's name.
#[derive(Clone)]
pub(crate) struct TargetSeen<'a> {
    /// The Secret and whose it is, if there is one.
    pub present: Option<(&'a TargetMeta, Ownership)>,
    /// Whether this app or another one has the target's name.
    pub claim: Claim,
}

/// An app's site, according to the operator's flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AppSite<'a> {
    /// The app may use it. It has this host.
    Available(&'a str),
    /// The app may not use it, only these.
    Unavailable(Vec<&'a str>),
}

impl AppSite<'_> {
    /// Returns the host; empty if the app may not use the site.
    pub(in crate::core) fn host(&self) -> &str {
        match self {
            Self::Available(host) => host,
            Self::Unavailable(_) => "",
        }
    }
}

/// The parts of the cluster's state that an app's decisions depend on.
pub(crate) struct View<'a> {
    pub app: &'a DingTalkApp,
    pub credentials: CredentialsSeen,
    /// The targets, in the order of [`wanted`].
    pub targets: Vec<TargetSeen<'a>>,
    /// Secrets written for this app that are no longer its targets, by name.
    pub former: BTreeMap<&'a str, &'a TargetMeta>,
    pub site: AppSite<'a>,
    /// The tokens of all apps.
    pub tokens: &'a Tokens,
    /// Allowed prefixes of the target's label and annotation keys.
    pub metadata_prefixes: &'a [String],
    /// Whether this process is shutting down: it fetches nothing and writes what it has at once.
    pub is_ending: bool,
}

/// Why nothing can be done until somebody changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The site is not available to the app, for this reason.
    UnknownSite(String),
    /// A label or annotation of the target is not allowed, for this reason.
    Metadata(String),
    /// A template cannot be used.
    Template(TemplateError),
    /// The target belongs to this older app.
    TargetOfOlderApp(String),
    /// The target's metadata is larger than the operator keeps.
    TargetPastBounds,
    /// The target is somebody else's Secret.
    TargetForeign,
}

/// What to do next.
pub(crate) enum Step {
    /// Parse the app's templates. This takes a while, so it must not hold the lock.
    ParseTemplates,
    /// Read the credentials, then fetch what [`due`] returns.
    ReadCredentials,
    /// Act on some Secrets, each at most once: from one up to `TARGET_STEPS_MAX`.
    Targets(Vec<TargetStep>),
    /// Nothing more for now: report, and look again later.
    Settle(Settled),
}

/// What to do about one Secret.
pub(crate) enum TargetStep {
    /// Assemble its contents. This takes a while, so it must not hold the lock.
    Assemble {
        name: String,
        assembly: Box<Assembly>,
    },
    /// Read it, for the tokens of these corps.
    Read {
        name: String,
        corp_ids: Vec<String>,
    },
    /// Read its metadata, for which there may be room now.
    Look {
        name: String,
    },
    Delete {
        name: String,
        /// The version to delete.
        version: ObjectVersion,
        why: Deletion,
    },
    Write {
        write: Box<Write>,
        why: Why,
    },
}

/// One corp's token, at rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct CorpSettled {
    /// Name of its Secret.
    pub secret: String,
    /// Lifetime of the token in the Secret.
    pub in_secret: Option<Lifetime>,
    /// The `client_id` of a token in the Secret that was fetched with former credentials; empty if
    /// unknown.
    pub former_client_id: Option<String>,
    /// When it is next fetched.
    pub next_attempt: Option<Timestamp>,
    /// Why nothing can be done for it.
    pub blocked: Option<Blocked>,
    /// The size that its Secret would have, if that is too large.
    pub too_large: Option<usize>,
    /// Whether the token that answers a renewal request has not replaced the one in the Secret yet.
    pub is_answer_unwritten: bool,
}

/// An app at rest.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Its corps, in the order of the spec.
    pub corps: Vec<CorpSettled>,
    /// Host of its site; empty if the site is not available to it.
    pub host: String,
    /// Whether nothing is reported: the first outcome is expected soon, or the app is being
    /// deleted.
    pub quiet: bool,
    /// Whether a token is being fetched.
    pub is_fetching: bool,
    /// When to look again.
    pub wake_at: Option<Timestamp>,
    /// When the value that workloads must be restarted for last changed.
    pub value_changed_at: Option<Timestamp>,
}

/// What is decided about one target during a look.
pub(super) struct Target<'a> {
    pub(super) name: String,
    pub(super) corp_ids: &'a [String],
    pub(super) present: Option<&'a TargetMeta>,
    pub(super) blocked: Option<Blocked>,
    /// What it holds, if known.
    pub(super) recorded: Option<Recorded>,
    /// The only `client_id` whose tokens count, if the Secret was written for a former app of this
    /// name.
    pub(super) only_client_id: Option<String>,
    /// The corps whose recorded times are implausible.
    pub(super) disbelieved: HashSet<String>,
    /// The size that it would have if that is too large, and the corps whose tokens do not fit.
    pub(super) excess: Option<(usize, HashSet<String>)>,
}

impl Target<'_> {
    /// Returns the token that this Secret holds for a corp, if known.
    pub(super) fn token(&self, view: &View<'_>, corp_id: &str) -> Option<&TokenRecord> {
        self.recorded
            .as_ref()?
            .token(corp_id)
            .filter(|token| token.site == view.app.spec.site && self.counts(token))
    }

    pub(super) fn counts(&self, token: &TokenRecord) -> bool {
        let only = self.only_client_id.as_ref();
        only.is_none_or(|only| *only == token.client_id)
            && !self.disbelieved.contains(&token.corp_id)
    }

    /// Returns the size that it would have, if a corp's token does not fit.
    pub(super) fn too_large_for(&self, corp_id: &str) -> Option<usize> {
        let (size, left_out) = self.excess.as_ref()?;
        left_out.contains(corp_id).then_some(*size)
    }
}

/// The earliest of several times.
#[derive(Clone, Copy, Default)]
pub(in crate::core) struct Wake(pub(in crate::core) Option<Timestamp>);

impl Wake {
    pub(in crate::core) fn at(&mut self, at: Timestamp) {
        self.0 = Some(self.0.map_or(at, |earlier| earlier.min(at)));
    }

    /// Adds a time unless it has passed.
    pub(in crate::core) fn later(&mut self, at: Option<Timestamp>, now: Timestamp) {
        if let Some(at) = at.filter(|at| *at > now) {
            self.at(at);
        }
    }
}
