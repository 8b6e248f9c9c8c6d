//! What to do next for one app.

use jiff::{SignedDuration, Timestamp};

use super::target::write;
use super::{Claim, Lifetime, Memory, ObjectVersion, Ownership, TargetMeta, TokenRecord, Write};
use crate::api::DingTalkApp;

/// A fetch that takes longer than this is shown as pending.
const PENDING_SHOWN_AFTER: SignedDuration = SignedDuration::from_secs(3);

/// What is known of the credentials Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsSeen {
    /// Nothing: it was there before anything referenced it.
    Unknown,
    /// There is none.
    Absent,
    /// It is in this state.
    Present(ObjectVersion),
}

/// What is seen of the cluster.
pub struct View<'a> {
    /// The app.
    pub app: &'a DingTalkApp,
    /// Its credentials.
    pub credentials: &'a CredentialsSeen,
    /// The Secret under the target's name and whose it is, where one is known.
    pub target: Option<(&'a TargetMeta, Ownership)>,
    /// Whether the target is this app's, of those that name it.
    pub claim: &'a Claim,
    /// Whether the app's site is configured.
    pub site_known: bool,
}

/// Why nothing can be done for an app until somebody changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The site is not configured.
    UnknownSite,
    /// The target is an older app's.
    TargetOfOlderApp(String),
    /// The target is somebody else's Secret.
    TargetForeign,
}

/// What to do next.
pub enum Step {
    /// Read the target: its contents may not be what its metadata says.
    ReadTarget,
    /// Read the credentials, then fetch; where `due` is false, only if they changed.
    ReadCredentials {
        /// Whether to fetch even if they are the same.
        due: bool,
    },
    /// Delete the target, which is immutable, to create it anew.
    DeleteTarget(ObjectVersion),
    /// Write the target.
    Write {
        /// How.
        write: Box<Write>,
        /// What it records.
        record: TokenRecord,
        /// Whether it puts another writer's change right.
        repair: bool,
    },
    /// Nothing more for now: report, and look again at a time.
    Settle(Settled),
}

/// An app at rest.
#[derive(Debug, Default)]
pub struct Settled {
    /// Why nothing can be done.
    pub blocked: Option<Blocked>,
    /// The life of the token that the Secret holds.
    pub in_secret: Option<Lifetime>,
    /// When the token is fetched next.
    pub next_attempt: Option<Timestamp>,
    /// Whether the first outcome is still awaited, and soon enough to say nothing yet.
    pub quiet: bool,
    /// When to look again.
    pub wake_at: Option<Timestamp>,
}

/// Decides the next step. Each step's outcome goes into `memory` or the view, so that asking again
/// leads to [`Step::Settle`].
pub fn next_step(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Step {
    memory.notice_clock(now);
    let target = view.target.map(|(target, ownership)| match ownership {
        Ownership::Foreign if memory.has_written(target) => (target, Ownership::Ours),
        _ => (target, ownership),
    });
    let view = &View { target, ..*view };
    let app = view.app;
    if app.metadata.deletion_timestamp.is_some() {
        return Step::Settle(Settled {
            quiet: true,
            ..Settled::default()
        });
    }
    let wanted = Wanted::of(app);
    memory.held = memory.held.take().filter(|held| wanted.is(&held.record));
    let target = view.target.map(|(target, _)| target);
    let recorded = recorded(view, &wanted);
    if let Some(blocked) = blocked(view) {
        // What the Secret holds is valid all the same, until it expires.
        let is_trusted = target.is_some_and(|target| memory.trusts(target));
        let in_secret = recorded
            .filter(|_| is_trusted)
            .map(|record| record.lifetime);
        let expires_at = in_secret.map(|lifetime| lifetime.expires_at);
        return Step::Settle(Settled {
            blocked: Some(blocked),
            in_secret,
            wake_at: expires_at.filter(|at| *at > now),
            ..Settled::default()
        });
    }
    if let (Some(target), Some(_), None) = (target, &recorded, &memory.held)
        && !memory.trusts(target)
        && !memory.distrusts(target)
    {
        return Step::ReadTarget;
    }
    let trusted = recorded.filter(|_| target.is_some_and(|target| memory.trusts(target)));
    let token = memory
        .held
        .as_ref()
        .map(|held| held.record.clone())
        .or(trusted.clone());

    let fetch = fetch(view, memory, token.as_ref(), now);
    if let Fetch::Now { due } = fetch {
        return Step::ReadCredentials { due };
    }
    let generation = app.metadata.generation;
    let mut wake = Wake(fetch.at());
    if let Some(record) = &token {
        let held = memory.held.as_ref();
        let rewrite =
            trusted.as_ref().map(without_credentials) != Some(without_credentials(record));
        let write = match target {
            Some(target) if target.deleting => None,
            _ => write(app, record, held, rewrite, target),
        };
        if let Some(write) = write {
            let repair = memory.is_repair(record, generation, target);
            let later = match repair {
                true => memory.repair_at(now).max(memory.write_at(generation, now)),
                false => memory.write_at(generation, now),
            };
            match (later, &memory.immutable) {
                (Some(later), _) => wake.at(later),
                (None, Some(version)) if write.replaces.as_ref() == Some(version) => {
                    return Step::DeleteTarget(version.clone());
                }
                (None, _) => {
                    let (write, record) = (Box::new(write), record.clone());
                    return Step::Write {
                        write,
                        record,
                        repair,
                    };
                }
            }
        } else {
            memory.write_failure = None;
            if memory.contested {
                wake.at(now + SignedDuration::from_secs(60));
            }
        }
    }
    let in_secret = trusted.map(|record| record.lifetime);
    if let Some(lifetime) = in_secret.filter(|lifetime| lifetime.expires_at > now) {
        wake.at(lifetime.expires_at);
    }
    let first = token.is_none() && memory.failing.is_none() && memory.credentials_problem.is_none();
    let shown_at = memory
        .minting
        .as_ref()
        .map(|minting| minting.since + PENDING_SHOWN_AFTER);
    let quiet = first && shown_at.is_some_and(|at| at > now);
    if let Some(at) = shown_at.filter(|_| quiet) {
        wake.at(at);
    }
    Step::Settle(Settled {
        blocked: None,
        in_secret,
        next_attempt: fetch.at(),
        quiet,
        wake_at: wake.0,
    })
}

/// The token that the app wants.
struct Wanted<'a> {
    site: &'a str,
    corp_id: &'a str,
}

impl<'a> Wanted<'a> {
    fn of(app: &'a DingTalkApp) -> Self {
        Self {
            site: &app.spec.site,
            corp_id: app.spec.corp_ids.first().map_or("", String::as_str),
        }
    }

    fn is(&self, record: &TokenRecord) -> bool {
        record.site == self.site && record.corp_id == self.corp_id
    }
}

fn blocked(view: &View<'_>) -> Option<Blocked> {
    if !view.site_known {
        return Some(Blocked::UnknownSite);
    }
    if let Claim::Lost { to } = view.claim {
        return Some(Blocked::TargetOfOlderApp(to.clone()));
    }
    let foreign = matches!(view.target, Some((_, Ownership::Foreign)));
    foreign.then_some(Blocked::TargetForeign)
}

/// The wanted token as the target records it. What another app's token was fetched with is not
/// known; a predecessor's credentials count as ours, or a restored backup would mint.
fn recorded(view: &View<'_>, wanted: &Wanted<'_>) -> Option<TokenRecord> {
    let (target, ownership) = view.target?;
    let record = target.record().filter(|record| wanted.is(record))?;
    match ownership {
        Ownership::Ours => Some(record),
        Ownership::Predecessor => Some(match view.credentials {
            CredentialsSeen::Present(version) => TokenRecord {
                credentials: version.clone(),
                ..record
            },
            _ => record,
        }),
        Ownership::Younger | Ownership::Adoptable | Ownership::Foreign => None,
    }
}

enum Fetch {
    Now { due: bool },
    At(Timestamp),
    UnderWay(Option<Timestamp>),
    Waiting(Option<Timestamp>),
}

impl Fetch {
    fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Now { .. } => None,
            Self::At(at) => Some(*at),
            Self::UnderWay(at) | Self::Waiting(at) => *at,
        }
    }
}

fn fetch(
    view: &View<'_>,
    memory: &mut Memory,
    token: Option<&TokenRecord>,
    now: Timestamp,
) -> Fetch {
    let next = memory.next_fetch(token, view.app.spec.renew_before(), now);
    if memory.minting.is_some() {
        // The attempt under way is not in the future; one that waits in the queue may be.
        return Fetch::UnderWay(next.filter(|at| *at > now));
    }
    if let Some(problem) = &memory.credentials_problem {
        let changed = match view.credentials {
            CredentialsSeen::Unknown => false,
            CredentialsSeen::Absent => problem.version.is_some(),
            CredentialsSeen::Present(version) => problem.version.as_ref() != Some(version),
        };
        let retry = problem.retry.map(|retry| retry.at);
        let look = changed
            || retry.is_some_and(|at| at <= now)
            || problem.generation != view.app.metadata.generation;
        return if look {
            Fetch::Now { due: true }
        } else {
            Fetch::Waiting(retry)
        };
    }
    if *view.credentials == CredentialsSeen::Absent {
        return Fetch::Now { due: true };
    }
    let due = next.is_none_or(|at| at <= now)
        || memory.spec_changed_since_failure(view.app.metadata.generation);
    if due {
        return Fetch::Now { due: true };
    }
    let changed = match view.credentials {
        CredentialsSeen::Present(version) => memory
            .credentials_used(token)
            .is_some_and(|used| used != version),
        _ => false,
    };
    match next {
        _ if changed => Fetch::Now { due: false },
        Some(at) => Fetch::At(at),
        None => Fetch::Waiting(None),
    }
}

/// A change of the credentials' version alone is recorded, but the keys need not be set for it.
fn without_credentials(record: &TokenRecord) -> (&str, &str, Lifetime) {
    (&record.site, &record.corp_id, record.lifetime)
}

/// The earliest of several times.
struct Wake(Option<Timestamp>);

impl Wake {
    fn at(&mut self, at: Timestamp) {
        self.0 = Some(self.0.map_or(at, |earlier| earlier.min(at)));
    }
}
