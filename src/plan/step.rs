//! What to do next for one app.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::assembly::Assembly;
use super::desired::{Write, wanted};
use super::fetch::{Fetch, fetches_of, values_needed};
use super::metadata::{forbidden_key, forbidden_message};
use super::place::{carry_over, delete_former, write_target};
use super::recorded::Recorded;
use super::templates::TemplateError;
use super::{Claim, Corp, Lifetime, Memory, ObjectVersion, Ownership, TargetMeta, TokenRecord};
use crate::api::{Cause, DingTalkApp, Reason};

/// A fetch that takes longer than this is shown as pending.
const PENDING_SHOWN_AFTER: SignedDuration = SignedDuration::from_secs(3);

/// What is known of the credentials Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsSeen {
    /// Nothing: it was there before anything referenced it, and has to be read.
    Unknown,
    /// There is none.
    Absent,
    /// It is in this state.
    Present(ObjectVersion),
}

/// What is seen under the name of a target.
#[derive(Clone)]
pub struct TargetSeen<'a> {
    /// The Secret and whose it is, where there is one.
    pub present: Option<(&'a TargetMeta, Ownership)>,
    /// Whether the target is this app's, of those that name it.
    pub claim: Claim,
}

/// What is seen of the cluster.
pub struct View<'a> {
    /// The app.
    pub app: &'a DingTalkApp,
    /// Its credentials.
    pub credentials: CredentialsSeen,
    /// Its targets, in the order of [`wanted`].
    pub targets: Vec<TargetSeen<'a>>,
    /// Secrets that were written for this app and are not its targets any more, by name.
    pub former: BTreeMap<&'a str, &'a TargetMeta>,
    /// Whether the app's site is configured for its namespace.
    pub site_known: bool,
    /// What the keys of the target's labels and annotations may begin with.
    pub metadata_prefixes: &'a [String],
    /// Whether this process is to act no more: it fetches nothing, and writes at once what it has.
    pub is_ending: bool,
}

/// Why nothing can be done until somebody changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
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

/// Why a Secret is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is immutable, to create it anew.
    Immutable,
    /// It is not a target any more.
    Former,
}

/// What to do next.
pub enum Step {
    /// Parse the app's templates. It takes a while, so no lock is to be held.
    ParseTemplates,
    /// Put the contents of a target together. It takes a while, so no lock is to be held.
    Assemble {
        /// Its name.
        name: String,
        /// From what.
        assembly: Box<Assembly>,
    },
    /// Read a Secret of ours, for the tokens of these organisations.
    ReadTarget {
        /// Its name.
        name: String,
        /// The organisations.
        corp_ids: Vec<String>,
    },
    /// Read the credentials, then fetch what [`due`] gives.
    ReadCredentials,
    /// Delete a Secret of ours.
    DeleteTarget {
        /// Its name.
        name: String,
        /// In which state.
        version: ObjectVersion,
        /// Why.
        why: Deletion,
    },
    /// Write a target.
    Write {
        /// How.
        write: Box<Write>,
        /// Whether it puts another writer's change right.
        repair: bool,
        /// Why.
        cause: Cause,
    },
    /// Nothing more for now: report, and look again at a time.
    Settle(Settled),
}

/// The token of one organisation, at rest.
#[derive(Clone, Debug, Default)]
pub struct CorpSettled {
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
    /// The size that its Secret would have, where that is too large.
    pub too_large: Option<usize>,
}

/// An app at rest.
#[derive(Debug, Default)]
pub struct Settled {
    /// Its organisations, in the order of the spec.
    pub corps: Vec<CorpSettled>,
    /// Whether the first outcome is still awaited, and soon enough to say nothing yet.
    pub quiet: bool,
    /// When to look again.
    pub wake_at: Option<Timestamp>,
    /// When a value changed last that the workloads have to be restarted for.
    pub value_changed_at: Option<Timestamp>,
}

/// What is decided of one target, while the others are looked at.
pub(super) struct Target<'a> {
    pub(super) name: String,
    pub(super) corp_ids: &'a [String],
    pub(super) present: Option<&'a TargetMeta>,
    pub(super) blocked: Option<Blocked>,
    /// What is in it, where that is known.
    pub(super) recorded: Option<Recorded>,
    /// The only `client_id` whose tokens count, if it was written for an app of this name that is
    /// gone.
    pub(super) only_client_id: Option<String>,
    /// The organisations whose recorded times cannot be true.
    pub(super) disbelieved: HashSet<String>,
    pub(super) too_large: Option<usize>,
    pub(super) left_out: HashSet<String>,
}

/// Decides the next step. Each step's outcome goes into `memory` or the view, so that asking again
/// leads to [`Step::Settle`].
pub fn next_step(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Step {
    let app = view.app;
    if app.metadata.deletion_timestamp.is_some() {
        return Step::Settle(Settled {
            quiet: true,
            ..Settled::default()
        });
    }
    let wanted = wanted(app);
    let names = wanted.iter().map(|target| target.name.as_str());
    memory.prepare(
        app,
        &names.chain(view.former.keys().copied()).collect(),
        now,
    );
    let target = &app.spec.target;
    let key = forbidden_key(&target.labels, &target.annotations, view.metadata_prefixes);
    let blocked = match (view.site_known, key, memory.templates(app)) {
        (false, ..) => Some(Blocked::UnknownSite),
        (true, Some(key), _) => Some(Blocked::Metadata(forbidden_message(
            key,
            view.metadata_prefixes,
        ))),
        (true, None, None) => return Step::ParseTemplates,
        (true, None, Some(Err(error))) => Some(Blocked::Template(error.clone())),
        (true, None, Some(Ok(_))) => None,
    };
    let mut targets = Vec::with_capacity(wanted.len());
    for (wanted, seen) in wanted.into_iter().zip(&view.targets) {
        let target = look(
            view,
            memory,
            wanted.name,
            wanted.corp_ids,
            seen,
            blocked.as_ref(),
            now,
        );
        match target {
            Ok(target) => targets.push(target),
            Err(step) => return step,
        }
    }
    let mut wake = Wake(None);
    let mut fetches: BTreeMap<&str, Fetch> = BTreeMap::new();
    if blocked.is_none() {
        if let Some(step) = carry_over(view, memory, &targets, now) {
            return step;
        }
        let decided = fetches_of(view, memory, &targets, now);
        let any = |is_wanted: fn(Fetch) -> bool| {
            let mut fetches = decided.iter().map(|(.., fetch)| *fetch);
            !view.is_ending && fetches.any(is_wanted)
        };
        if any(Fetch::is_now) {
            return values_needed(view, memory, &targets, &decided)
                .unwrap_or(Step::ReadCredentials);
        }
        if any(|fetch| fetch == Fetch::Check) {
            return Step::ReadCredentials;
        }
        fetches = decided
            .into_iter()
            .map(|(_, corp_id, fetch)| (corp_id, fetch))
            .collect();
        for target in &mut targets {
            if let Some(step) = write_target(view, memory, target, &mut wake, now) {
                return step;
            }
        }
        if let Some(step) = delete_former(view, memory, &targets, now) {
            return step;
        }
    }
    settle(view, memory, &targets, &fetches, wake, now)
}

/// Looks at what is under a target's name; the step is to read it.
pub(super) fn look<'a>(
    view: &View<'a>,
    memory: &mut Memory,
    name: String,
    corp_ids: &'a [String],
    seen: &TargetSeen<'a>,
    blocked: Option<&Blocked>,
    now: Timestamp,
) -> Result<Target<'a>, Step> {
    let uid = memory.uid.clone();
    let present = seen.present.map(|(target, ownership)| match ownership {
        Ownership::Foreign
            if !target.is_past_bounds && memory.writing(&name).has_written(target, &uid) =>
        {
            (target, Ownership::Ours)
        }
        _ => (target, ownership),
    });
    let of_target = match (&seen.claim, present) {
        (Claim::Lost { to }, _) => Some(Blocked::TargetOfOlderApp(to.clone())),
        (Claim::Ours, Some((target, _))) if target.is_past_bounds => {
            Some(Blocked::TargetPastBounds)
        }
        (Claim::Ours, Some((_, Ownership::Foreign))) => Some(Blocked::TargetForeign),
        (Claim::Ours, _) => None,
    };
    let blocked = blocked.cloned().or(of_target);
    let recorded = recorded(view, memory, present, corp_ids);
    let known = memory.credentials_of(view.app);
    let only_client_id = present
        .filter(|(_, ownership)| *ownership == Ownership::Predecessor)
        .map(|_| known.map_or_else(String::new, |known| known.client_id.clone()));
    let present = present.map(|(target, _)| target);
    let mut target = Target {
        name,
        corp_ids,
        present,
        blocked,
        recorded: None,
        only_client_id,
        disbelieved: HashSet::new(),
        too_large: None,
        left_out: HashSet::new(),
    };
    if let (Some(present), Some(recorded)) = (present, recorded) {
        let tokens = recorded.tokens.iter();
        let disbelieved = tokens.filter(|token| !memory.believes(token, now));
        target.disbelieved = disbelieved.map(|token| token.corp_id.clone()).collect();
        if memory.writing(&target.name).is_anothers(present) {
            for token in recorded.tokens.iter().filter(|token| target.counts(token)) {
                // One of an organisation that is not wanted any more is not remembered.
                if let Some(corp) = memory.corps.get_mut(&token.corp_id) {
                    corp.give_way_to(token);
                }
            }
        }
        let writing = memory.writing(&target.name);
        let (trusts, distrusts) = (writing.trusts(present), writing.distrusts(present));
        let unknown = |corp_id: &&String| {
            let corp = memory.corps.get(*corp_id);
            recorded
                .token(corp_id)
                .is_some_and(|token| target.counts(token))
                && corp.is_none_or(|corp| corp.held.is_none())
        };
        let unknown: Vec<String> = corp_ids.iter().filter(unknown).cloned().collect();
        if !trusts && !distrusts && !unknown.is_empty() && target.blocked.is_none() {
            return Err(Step::ReadTarget {
                name: target.name,
                corp_ids: unknown,
            });
        }
        target.recorded = trusts.then_some(recorded);
    }
    Ok(target)
}

/// What the target records of the tokens that are wanted from this site. What another app's token
/// was fetched with is not known; a predecessor's counts if it is of the `client_id` that was read, and
/// that of an unreadable state in any case.
fn recorded(
    view: &View<'_>,
    memory: &Memory,
    present: Option<(&TargetMeta, Ownership)>,
    corp_ids: &[String],
) -> Option<Recorded> {
    let (target, ownership) = present?;
    let recorded = target.recorded.as_ref()?;
    let is_wanted = |token: &TokenRecord| token.site == view.app.spec.site;
    if !recorded.tokens.iter().any(is_wanted) || corp_ids.is_empty() {
        return None;
    }
    match ownership {
        Ownership::Ours if recorded.digest.is_some() => Some(recorded.clone()),
        Ownership::Ours | Ownership::Predecessor => {
            let known = memory.credentials_of(view.app)?;
            Some(recorded.clone().credited(known))
        }
        Ownership::Younger | Ownership::Adoptable | Ownership::Foreign => None,
    }
}

impl Target<'_> {
    /// The token that this Secret holds for an organisation, where that is known.
    pub(super) fn token(&self, view: &View<'_>, corp_id: &str) -> Option<&TokenRecord> {
        self.recorded
            .as_ref()?
            .token(corp_id)
            .filter(|token| token.site == view.app.spec.site && self.counts(token))
    }

    fn counts(&self, token: &TokenRecord) -> bool {
        let only = self.only_client_id.as_ref();
        only.is_none_or(|only| *only == token.client_id)
            && !self.disbelieved.contains(&token.corp_id)
    }
}

fn settle(
    view: &View<'_>,
    memory: &Memory,
    targets: &[Target<'_>],
    fetches: &BTreeMap<&str, Fetch>,
    mut wake: Wake,
    now: Timestamp,
) -> Step {
    let corp = |corp_id: &String| memory.corps.get(corp_id);
    let mut settled = Settled::default();
    let mut shown_at: Option<Timestamp> = None;
    let mut is_quiet = memory.credentials_problem.is_none();
    for target in targets {
        for corp_id in target.corp_ids {
            let token = target.token(view, corp_id);
            let in_secret = token.map(|token| token.lifetime);
            let former_client_id = token
                .filter(|token| is_former(view, memory, token))
                .map(|token| fetched_as(corp(corp_id).map(Box::as_ref), token));
            let fetch = fetches.get(corp_id.as_str()).copied();
            let next_attempt = fetch.and_then(Fetch::at);
            for at in [in_secret.map(|life| life.expires_at), next_attempt] {
                if let Some(at) = at.filter(|at| *at > now) {
                    wake.at(at);
                }
            }
            let is_left_out = target.left_out.contains(corp_id) || target.left_out.is_empty();
            let minting = corp(corp_id).and_then(|corp| corp.minting.as_ref());
            let pending = minting.map(|minting| minting.since + PENDING_SHOWN_AFTER);
            let is_new = |corp: &Corp| corp.held.is_none() || former_client_id.is_some();
            let is_first = (in_secret.is_none() || former_client_id.is_some())
                && target.blocked.is_none()
                && corp(corp_id).is_some_and(|corp| corp.failing.is_none() && is_new(corp))
                && pending.is_some_and(|at| at > now);
            is_quiet &= is_first;
            shown_at = pending.into_iter().chain(shown_at).min();
            settled.corps.push(CorpSettled {
                secret: target.name.clone(),
                in_secret,
                former_client_id,
                next_attempt,
                blocked: target.blocked.clone(),
                too_large: target.too_large.filter(|_| is_left_out),
            });
        }
        let recorded = target.recorded.as_ref();
        let changed_at = recorded.and_then(|recorded| recorded.value_changed_at);
        settled.value_changed_at = settled.value_changed_at.max(changed_at);
    }
    settled.quiet = is_quiet && !settled.corps.is_empty();
    if let Some(at) = shown_at.filter(|_| settled.quiet) {
        wake.at(at);
    }
    settled.wake_at = wake.0;
    Step::Settle(settled)
}

/// The `client_id` that a token was fetched with. A Secret records one for all its tokens.
fn fetched_as(corp: Option<&Corp>, token: &TokenRecord) -> String {
    let held = corp.and_then(|corp| corp.held.as_ref());
    match held.filter(|held| held.record.is_same_token(token)) {
        Some(held) => held.record.client_id.clone(),
        None => token.client_id().unwrap_or_default().to_owned(),
    }
}

/// Whether the app's credentials are known not to be those that a token was fetched with.
fn is_former(view: &View<'_>, memory: &Memory, token: &TokenRecord) -> bool {
    if let Some(problem) = &memory.credentials_problem {
        // Those that may not be read may be the same as before.
        let is_same = problem.version.as_ref() == Some(&token.credentials);
        return problem.reason != Reason::CredentialsUnreadable || !is_same;
    }
    if let Some(known) = memory.credentials_of(view.app) {
        let corp = memory.corps.get(&token.corp_id);
        return corp.is_some_and(|corp| !corp.is_proven(token, known));
    }
    match &view.credentials {
        CredentialsSeen::Present(now) => {
            memory.credentials.is_some() || now.uid != token.credentials.uid
        }
        CredentialsSeen::Absent => true,
        CredentialsSeen::Unknown => memory.credentials.is_some(),
    }
}

/// The earliest of several times.
pub(super) struct Wake(Option<Timestamp>);

impl Wake {
    pub(super) fn at(&mut self, at: Timestamp) {
        self.0 = Some(self.0.map_or(at, |earlier| earlier.min(at)));
    }
}
