//! What to do next for one app.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::corp::Corp;
use super::data::Shape;
use super::desired::{Inputs, Known, Need, SECRET_SIZE_MAX, Write, need, wanted};
use super::schedule::together;
use super::target::Recorded;
use super::templates::TemplateError;
use super::{Claim, Lifetime, Memory, ObjectVersion, Ownership, TargetMeta, TokenRecord};
use crate::api::DingTalkApp;

/// A fetch that takes longer than this is shown as pending.
const PENDING_SHOWN_AFTER: SignedDuration = SignedDuration::from_secs(3);
/// What is minted is written at most 5 s after the first unwritten mint, the write included.
const BATCH: SignedDuration = SignedDuration::from_millis(4700);

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
}

/// Why nothing can be done until somebody changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The site is not configured, or not for this namespace.
    UnknownSite,
    /// A template cannot be used.
    Template(TemplateError),
    /// The target is an older app's.
    TargetOfOlderApp(String),
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
    /// When it is fetched next.
    pub next_attempt: Option<Timestamp>,
    /// Why nothing can be done for it.
    pub blocked: Option<Blocked>,
    /// The size that its Secret would have, where that is too large.
    pub too_large: Option<usize>,
    /// A template that fails with it.
    pub template: Option<TemplateError>,
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
struct Target<'a> {
    name: String,
    corp_ids: &'a [String],
    present: Option<&'a TargetMeta>,
    blocked: Option<Blocked>,
    /// What is in it, where that is known.
    recorded: Option<Recorded>,
    too_large: Option<usize>,
    left_out: HashSet<String>,
    template: Option<TemplateError>,
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
    let blocked = match (view.site_known, memory.templates(app)) {
        (false, _) => Some(Blocked::UnknownSite),
        (true, Err(error)) => Some(Blocked::Template(error.clone())),
        (true, Ok(_)) => None,
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
        if decided.iter().any(|(.., fetch)| *fetch == Fetch::Now) {
            return values_needed(memory, &targets, &decided).unwrap_or(Step::ReadCredentials);
        }
        if decided.iter().any(|(.., fetch)| *fetch == Fetch::Check) {
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

/// The organisations whose tokens are to be fetched now, with the credentials that were just read.
pub fn due(view: &View<'_>, memory: &mut Memory, now: Timestamp) -> Vec<String> {
    let wanted = wanted(view.app);
    let mut targets = Vec::new();
    for (wanted, seen) in wanted.into_iter().zip(&view.targets) {
        if let Ok(target) = look(view, memory, wanted.name, wanted.corp_ids, seen, None) {
            targets.push(target);
        }
    }
    fetches_of(view, memory, &targets, now)
        .into_iter()
        .filter(|(.., fetch)| *fetch == Fetch::Now)
        .map(|(_, corp_id, _)| corp_id.to_owned())
        .collect()
}

/// Looks at what is under a target's name; the step is to read it.
fn look<'a>(
    view: &View<'a>,
    memory: &mut Memory,
    name: String,
    corp_ids: &'a [String],
    seen: &TargetSeen<'a>,
    blocked: Option<&Blocked>,
) -> Result<Target<'a>, Step> {
    let uid = memory.uid.clone();
    let present = seen.present.map(|(target, ownership)| match ownership {
        Ownership::Foreign if memory.writing(&name).has_written(target, &uid) => {
            (target, Ownership::Ours)
        }
        _ => (target, ownership),
    });
    let of_target = match (&seen.claim, present) {
        (Claim::Lost { to }, _) => Some(Blocked::TargetOfOlderApp(to.clone())),
        (Claim::Ours, Some((_, Ownership::Foreign))) => Some(Blocked::TargetForeign),
        (Claim::Ours, _) => None,
    };
    let blocked = blocked.cloned().or(of_target);
    let recorded = recorded(view, present, corp_ids);
    let present = present.map(|(target, _)| target);
    let mut target = Target {
        name,
        corp_ids,
        present,
        blocked,
        recorded: None,
        too_large: None,
        left_out: HashSet::new(),
        template: None,
    };
    if let (Some(present), Some(recorded)) = (present, recorded) {
        let writing = memory.writing(&target.name);
        let (trusts, distrusts) = (writing.trusts(present), writing.distrusts(present));
        let unknown = |corp_id: &&String| {
            let corp = memory.corps.get(*corp_id);
            recorded.token(corp_id).is_some() && corp.is_none_or(|corp| corp.held.is_none())
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
/// was fetched with is not known; a predecessor's credentials count as ours, or a restored backup
/// would mint.
fn recorded(
    view: &View<'_>,
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
        Ownership::Ours => Some(recorded.clone()),
        Ownership::Predecessor => {
            let mut recorded = recorded.clone();
            if let CredentialsSeen::Present(version) = &view.credentials {
                for token in &mut recorded.tokens {
                    token.credentials = version.clone();
                }
            }
            Some(recorded)
        }
        Ownership::Younger | Ownership::Adoptable | Ownership::Foreign => None,
    }
}

impl Target<'_> {
    /// The token that this Secret holds for an organisation, where that is known.
    fn token(&self, view: &View<'_>, corp_id: &str) -> Option<&TokenRecord> {
        self.recorded
            .as_ref()?
            .token(corp_id)
            .filter(|token| token.site == view.app.spec.site)
    }
}

/// A token that is wanted and only in a former target is carried over.
fn carry_over(
    view: &View<'_>,
    memory: &mut Memory,
    targets: &[Target<'_>],
    now: Timestamp,
) -> Option<Step> {
    for (name, former) in &view.former {
        let Some(recorded) = &former.recorded else {
            continue;
        };
        if memory.writing(name).distrusts(former) {
            continue;
        }
        let is_missing = |token: &&TokenRecord| {
            let corp_id = &token.corp_id;
            let target = targets
                .iter()
                .find(|target| target.corp_ids.contains(corp_id));
            token.site == view.app.spec.site
                && token.lifetime.expires_at > now
                && memory
                    .corps
                    .get(corp_id)
                    .is_some_and(|corp| corp.held.is_none() && corp.minting.is_none())
                && target.is_some_and(|target| target.token(view, corp_id).is_none())
        };
        let missing = recorded.tokens.iter().filter(is_missing);
        let corp_ids: Vec<String> = missing.map(|token| token.corp_id.clone()).collect();
        if !corp_ids.is_empty() {
            let name = (*name).to_owned();
            return Some(Step::ReadTarget { name, corp_ids });
        }
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetch {
    /// It is due.
    Now,
    /// The credentials have to be read to know.
    Check,
    At(Timestamp),
    UnderWay(Option<Timestamp>),
    Waiting(Option<Timestamp>),
}

impl Fetch {
    fn at(self) -> Option<Timestamp> {
        match self {
            Self::Now | Self::Check => None,
            Self::At(at) => Some(at),
            Self::UnderWay(at) | Self::Waiting(at) => at,
        }
    }
}

/// What is to be fetched, as the index of the target, the organisation, and when. Where one is
/// due, those that are due soon go with it.
fn fetches_of<'a>(
    view: &View<'_>,
    memory: &mut Memory,
    targets: &[Target<'a>],
    now: Timestamp,
) -> Vec<(usize, &'a str, Fetch)> {
    let mut fetches = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        if target.blocked.is_some() {
            continue;
        }
        for corp_id in target.corp_ids {
            let token = target.token(view, corp_id);
            let fetch = fetch(view, memory, corp_id, token, now);
            fetches.push((index, corp_id.as_str(), fetch));
        }
    }
    if !fetches.iter().any(|(.., fetch)| *fetch == Fetch::Now) {
        return fetches;
    }
    for (index, corp_id, fetch) in &mut fetches {
        let Fetch::At(at) = *fetch else { continue };
        let corp = memory.corp(corp_id);
        let held = corp.held.as_ref().map(|held| held.record.lifetime);
        let lifetime = held.or_else(|| Some(targets[*index].token(view, corp_id)?.lifetime));
        if corp.is_renewal() && lifetime.is_some_and(|lifetime| at <= now + together(lifetime)) {
            *fetch = Fetch::Now;
        }
    }
    fetches
}

fn fetch(
    view: &View<'_>,
    memory: &mut Memory,
    corp_id: &str,
    in_secret: Option<&TokenRecord>,
    now: Timestamp,
) -> Fetch {
    let app = view.app;
    let generation = app.metadata.generation;
    if app.spec.suspend {
        return Fetch::Waiting(None);
    }
    let uid = memory.uid.clone();
    let renew_before = app.spec.renew_before();
    let known = memory.credentials.clone();
    let corp = memory.corp(corp_id);
    let held = corp.held.as_ref().map(|held| held.record.clone());
    let token = held.as_ref().or(in_secret);
    let next = corp.next_fetch(&uid, token, renew_before, now);
    if corp.minting.is_some() {
        // The attempt under way is not in the future; one that waits in the queue may be.
        return Fetch::UnderWay(next.filter(|at| *at > now));
    }
    // What a token was fetched with is known where the credentials are as they were then.
    if let (None, Some(known), Some(token)) = (corp.tried, &known, token)
        && token.credentials == known.version
    {
        corp.tried = Some(known.fingerprint);
        corp.minted_with = corp.tried;
    }
    let is_changed_spec = corp.spec_changed_since_failure(generation);
    let tried = corp.tried;
    let is_due = next.is_none_or(|at| at <= now)
        || memory.open_request(app, corp_id, token).is_some()
        || is_changed_spec;
    if let Some(problem) = &memory.credentials_problem {
        let changed = match &view.credentials {
            CredentialsSeen::Unknown => false,
            CredentialsSeen::Absent => problem.version.is_some(),
            CredentialsSeen::Present(version) => problem.version.as_ref() != Some(version),
        };
        let retry = problem.retry.map(|retry| retry.at);
        let look = changed || retry.is_some_and(|at| at <= now) || problem.generation != generation;
        return match look {
            true => Fetch::Check,
            false => Fetch::Waiting(retry),
        };
    }
    let version = match &view.credentials {
        CredentialsSeen::Absent => return Fetch::Check,
        CredentialsSeen::Present(version) => Some(version),
        CredentialsSeen::Unknown => None,
    };
    let read = known.filter(|known| version.is_none_or(|version| *version == known.version));
    let is_changed = match (&read, tried, token) {
        (Some(read), Some(tried), _) => tried != read.fingerprint,
        (Some(read), None, Some(token)) => token.credentials != read.version,
        _ => false,
    };
    if is_due || is_changed {
        return Fetch::Now;
    }
    let is_unread = read.is_none()
        && match (&memory.credentials, token, version) {
            (Some(known), _, Some(version)) => known.version != *version,
            (None, Some(token), Some(version)) => token.credentials != *version,
            _ => false,
        };
    match next {
        _ if is_unread || memory.identify => Fetch::Check,
        Some(at) => Fetch::At(at),
        None => Fetch::Waiting(None),
    }
}

/// A Secret that has to be rewritten as a whole once a token in it is renewed is read before.
fn values_needed(
    memory: &Memory,
    targets: &[Target<'_>],
    fetches: &[(usize, &str, Fetch)],
) -> Option<Step> {
    let is_known = |corp_id: &str| {
        let corp = memory.corps.get(corp_id);
        corp.is_some_and(|corp| corp.held.is_some())
    };
    for (index, corp_id, fetch) in fetches {
        let target = &targets[*index];
        let Some(recorded) = &target.recorded else {
            continue;
        };
        let is_whole = recorded.shape == Shape::Many || !recorded.templates.is_empty();
        if *fetch == Fetch::Now && is_whole && !is_known(corp_id) {
            let tokens = recorded.tokens.iter().map(|token| &token.corp_id);
            let corp_ids: Vec<String> = tokens.filter(|id| !is_known(id)).cloned().collect();
            if corp_ids.iter().any(|unknown| unknown == corp_id) {
                let name = target.name.clone();
                return Some(Step::ReadTarget { name, corp_ids });
            }
        }
    }
    None
}

/// What has to be done about a target's contents and metadata.
fn write_target(
    view: &View<'_>,
    memory: &mut Memory,
    target: &mut Target<'_>,
    wake: &mut Wake,
    now: Timestamp,
) -> Option<Step> {
    let is_deleting = target.present.is_some_and(|present| present.deleting);
    if target.blocked.is_some() || is_deleting {
        return None;
    }
    let mut candidates = target.corp_ids.to_vec();
    let need = loop {
        let needed = needed(view, memory, target, &candidates)?;
        let Need::TooLarge(size) = needed else {
            break needed;
        };
        target.too_large = Some(size);
        // One token too many does not hold back those that are in the Secret already.
        let fitting = fitting(memory, target, &candidates);
        if fitting.is_empty() || fitting.len() == candidates.len() {
            return None;
        }
        let left_out = candidates.into_iter().filter(|id| !fitting.contains(id));
        target.left_out.extend(left_out);
        candidates = fitting;
    };
    let write = match need {
        Need::Nothing | Need::TooLarge(_) => {
            let writing = memory.writing(&target.name);
            writing.failure = None;
            if writing.contested {
                wake.at(now + SignedDuration::from_secs(60));
            }
            return None;
        }
        Need::Template(error) => {
            target.template = Some(error);
            return None;
        }
        Need::Values => {
            let corp_ids = target.corp_ids.to_vec();
            let name = target.name.clone();
            return Some(Step::ReadTarget { name, corp_ids });
        }
        Need::Write(write) => write,
    };
    if let Some(later) = batch_until(view, memory, target, now) {
        wake.at(later);
        return None;
    }
    let generation = view.app.metadata.generation;
    let writing = memory.writing(&target.name);
    let repair = writing.is_repair(&write.recorded, generation, target.present);
    let later = match repair {
        true => writing
            .repair_at(now)
            .max(writing.write_at(generation, now)),
        false => writing.write_at(generation, now),
    };
    match (later, &writing.immutable) {
        (Some(later), _) => {
            wake.at(later);
            None
        }
        (None, Some(version)) if write.replaces.as_ref() == Some(version) => {
            Some(Step::DeleteTarget {
                name: target.name.clone(),
                version: version.clone(),
                why: Deletion::Immutable,
            })
        }
        (None, _) => Some(Step::Write { write, repair }),
    }
}

fn needed(
    view: &View<'_>,
    memory: &Memory,
    target: &Target<'_>,
    corp_ids: &[String],
) -> Option<Need> {
    let mut tokens = Vec::with_capacity(corp_ids.len());
    let mut value_changed_at = None;
    for corp_id in corp_ids {
        let corp = memory.corps.get(corp_id);
        value_changed_at = value_changed_at.max(corp.and_then(|corp| corp.value_changed_at));
        let is_unwritten = corp.is_some_and(|corp| corp.unwritten_since.is_some());
        let known = match is_unwritten {
            true => Known::Unwritten,
            false => Known::Held,
        };
        let held = corp.and_then(|corp| corp.held.as_ref()).map(known);
        let in_secret = || target.token(view, corp_id).map(Known::Recorded);
        tokens.extend(held.or_else(in_secret));
    }
    if tokens.is_empty() {
        return None;
    }
    Some(need(&Inputs {
        app: view.app,
        name: &target.name,
        tokens: &tokens,
        templates: memory.parsed_templates()?,
        present: target.present,
        recorded: target.recorded.as_ref(),
        value_changed_at,
    }))
}

/// Those that are in the Secret already, and as many of the others as there is room for.
fn fitting(memory: &Memory, target: &Target<'_>, corp_ids: &[String]) -> Vec<String> {
    let size = |corp_id: &String| {
        let corp = memory.corps.get(corp_id);
        let held = corp.and_then(|corp| corp.held.as_ref());
        let shape = target
            .recorded
            .as_ref()
            .map_or(Shape::Many, |recorded| recorded.shape);
        held.map_or(0, |held| super::data::Data::of(shape, [held]).size())
    };
    let is_in = |corp_id: &&String| {
        let recorded = target.recorded.as_ref();
        recorded.is_some_and(|recorded| recorded.token(corp_id).is_some())
    };
    let mut room = SECRET_SIZE_MAX;
    let mut kept: HashSet<&String> = HashSet::new();
    let (old, new): (Vec<_>, Vec<_>) = corp_ids.iter().partition(is_in);
    for corp_id in old.into_iter().chain(new) {
        let size = size(corp_id);
        if size <= room {
            room -= size;
            kept.insert(corp_id);
        }
    }
    let in_order = corp_ids.iter().filter(|id| kept.contains(id));
    in_order.cloned().collect()
}

/// Until when a write waits for more tokens that are being fetched, if it does.
fn batch_until(
    view: &View<'_>,
    memory: &Memory,
    target: &Target<'_>,
    now: Timestamp,
) -> Option<Timestamp> {
    let corps = || {
        let corps = target.corp_ids.iter();
        corps.filter_map(|corp_id| memory.corps.get(corp_id))
    };
    let is_first = !target.corp_ids.iter().any(|corp_id| {
        target
            .token(view, corp_id)
            .is_some_and(|token| token.lifetime.expires_at > now)
    });
    if is_first || !corps().any(|corp| corp.minting.is_some()) {
        return None;
    }
    let since = corps().filter_map(|corp| corp.unwritten_since).min()?;
    Some(since + BATCH).filter(|at| *at > now)
}

/// A Secret that is no target any more goes once the targets have what is in it.
fn delete_former(
    view: &View<'_>,
    memory: &mut Memory,
    targets: &[Target<'_>],
    now: Timestamp,
) -> Option<Step> {
    let uid = memory.uid.clone();
    for (name, former) in &view.former {
        let writing = memory.writing(name);
        // A copy that somebody made of a Secret of ours is theirs.
        let is_ours = former.data_is_ours || writing.has_written(former, &uid);
        if former.deleting || !is_ours {
            continue;
        }
        let tokens = former.recorded.iter().flat_map(|recorded| &recorded.tokens);
        let is_carried = |token: &TokenRecord| {
            let target = targets
                .iter()
                .find(|target| target.corp_ids.contains(&token.corp_id));
            let Some(target) = target else { return true };
            let is_dead = token.lifetime.expires_at <= now || token.site != view.app.spec.site;
            is_dead && target.blocked.is_none()
                || target.token(view, &token.corp_id).is_some_and(|now| {
                    now.lifetime.expires_at >= token.lifetime.expires_at
                        || now.lifetime.minted_at >= token.lifetime.minted_at
                })
        };
        if tokens.into_iter().all(is_carried) {
            return Some(Step::DeleteTarget {
                name: (*name).to_owned(),
                version: former.version.clone(),
                why: Deletion::Former,
            });
        }
    }
    None
}

fn settle(
    view: &View<'_>,
    memory: &Memory,
    targets: &[Target<'_>],
    fetches: &BTreeMap<&str, Fetch>,
    mut wake: Wake,
    now: Timestamp,
) -> Step {
    let corp = |corp_id: &String| -> Option<&Corp> { memory.corps.get(corp_id) };
    let mut settled = Settled::default();
    let mut shown_at: Option<Timestamp> = None;
    let mut is_quiet = memory.credentials_problem.is_none();
    for target in targets {
        for corp_id in target.corp_ids {
            let in_secret = target.token(view, corp_id).map(|token| token.lifetime);
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
            let is_first = in_secret.is_none()
                && target.blocked.is_none()
                && corp(corp_id).is_some_and(|corp| corp.failing.is_none() && corp.held.is_none())
                && pending.is_some_and(|at| at > now);
            is_quiet &= is_first;
            shown_at = pending.into_iter().chain(shown_at).min();
            settled.corps.push(CorpSettled {
                secret: target.name.clone(),
                in_secret,
                next_attempt,
                blocked: target.blocked.clone(),
                too_large: target.too_large.filter(|_| is_left_out),
                template: target.template.clone(),
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

/// The earliest of several times.
struct Wake(Option<Timestamp>);

impl Wake {
    fn at(&mut self, at: Timestamp) {
        self.0 = Some(self.0.map_or(at, |earlier| earlier.min(at)));
    }
}
