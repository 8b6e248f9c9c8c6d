//! What the operator remembers of an app between two looks at it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::assembly::Assembled;
use super::corp::{Corp, Former, Minting};
use super::data::Data;
use super::events::Happened;
use super::recorded::Recorded;
use super::refresh::Unrefreshed;
use super::renewals::Renewals;
use super::restart::PartlyRestarted;
use super::schedule::{Lifetime, Schedule};
use super::shape::Field;
use super::templates::{TemplateError, Templates};
use super::token::whole_seconds;
use super::write::Write;
use super::writing::Writing;
use super::{Held, ObjectVersion, RenewRequest, TargetMeta, TokenRecord};
use crate::api::{
    ANNOTATION_RENEW_REQUESTED_AT, CredentialsSecretRef, DingTalkApp, DingTalkAppStatus, Origin,
    Reason,
};
use crate::dingtalk::{Fingerprint, Minted};

/// Credentials that cannot be used.
#[derive(Clone, Debug)]
pub struct CredentialsProblem {
    /// One of the reasons that begin with `Credentials`.
    pub reason: Reason,
    /// What is wrong.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// In which state of the Secret; `None` where there is none.
    pub version: Option<ObjectVersion>,
    /// With which generation of the spec, which names the keys.
    pub generation: Option<i64>,
    /// When to look again by itself; a change is noticed anyway.
    pub retry: Option<Schedule>,
}

/// Credentials that were read, without what is secret of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCredentials {
    /// The reference they were read through: another one means other credentials.
    pub reference: CredentialsSecretRef,
    /// Their `client_id`.
    pub client_id: String,
    /// In which state of the Secret.
    pub version: ObjectVersion,
    /// What tells them from others.
    pub fingerprint: Fingerprint,
}

impl KnownCredentials {
    /// Whether a record says that its token was fetched with these.
    pub fn fetched(&self, token: &TokenRecord) -> bool {
        token.credentials == self.version && token.client_id == self.client_id
    }
}

/// The status as it was written last.
#[derive(Debug)]
struct WrittenStatus {
    /// Until the watch tells of it.
    status: Option<Box<DingTalkAppStatus>>,
    at: Timestamp,
    version: Option<String>,
}

/// Templates, and the generation of the spec that they were parsed for.
#[derive(Debug)]
struct Parsed {
    generation: Option<i64>,
    templates: Result<Arc<Templates>, TemplateError>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Memory {
    /// The app's UID: a recreated app is another app.
    pub uid: String,
    /// Its site.
    pub site: String,
    /// Its organisations. Boxed: a map of few holds room for eleven.
    pub corps: BTreeMap<String, Box<Corp>>,
    /// Its target Secrets, by name.
    pub targets: BTreeMap<String, Box<Writing>>,
    /// The credentials that were read last.
    pub credentials: Option<KnownCredentials>,
    /// The reference and the state of the Secret through which another app looked for credentials to
    /// share, and found none that can be used.
    pub unusable_to_others: Option<(CredentialsSecretRef, Option<ObjectVersion>)>,
    /// Credentials that cannot be used.
    pub credentials_problem: Option<CredentialsProblem>,
    /// Whether the credentials are to be read to see who shares them.
    pub identify: bool,
    /// What to report.
    pub happened: Happened,
    /// Keys of the credentials that were trimmed, not reported yet.
    pub trimmed_keys: Vec<String>,
    /// The change of a value that the workloads were restarted for last; at first, what they
    /// started with.
    pub restarted_for: Option<Timestamp>,
    /// When this process restarted them last.
    pub restarted_at: Option<Timestamp>,
    /// When a restart that failed is tried again.
    pub restart_retry: Option<Schedule>,
    /// What need not be restarted then.
    pub partly_restarted: Option<PartlyRestarted>,
    /// The Secrets whose readers are to be told, where the app asks for it.
    pub unrefreshed: Option<Box<Unrefreshed>>,
    request_at_start: Option<String>,
    trimmed_reported: Option<ObjectVersion>,
    templates: Option<Parsed>,
    pruned_for: Option<i64>,
    status: Option<WrittenStatus>,
}

impl Memory {
    /// The memory of an app that is seen for the first time: what its status tells.
    ///
    /// Limits outlive a restart: what was throttled or banned stays so until the time it named.
    pub fn new(app: &DingTalkApp, now: Timestamp) -> Self {
        let mut memory = Self {
            uid: app.metadata.uid.clone().unwrap_or_default(),
            ..Self::default()
        };
        let empty = DingTalkAppStatus::default();
        let status = app.status.as_ref().unwrap_or(&empty);
        let time = |text: &Option<String>| text.as_ref()?.parse::<Timestamp>().ok();
        memory.restarted_for = time(&status.rollout_restarted_for_time);
        let unextended = status
            .conditions
            .iter()
            .any(|condition| condition.reason == Reason::RenewalNotExtended);
        let request = renew_request(app);
        let is_handled = request == status.last_handled_renew_request.as_deref();
        memory.request_at_start = request.map(str::to_owned);
        // The reference may have changed since a process last looked, and only its keys: the Secret's
        // version does not tell.
        memory.identify =
            app.status.is_some() && status.observed_generation != app.metadata.generation;
        for seen in &status.corps {
            let corp = memory.corps.entry(seen.corp_id.clone()).or_default();
            if is_handled {
                corp.request_done = request.map(str::to_owned);
            }
            corp.had_token = seen.last_renewal_time.is_some();
            corp.former_failure = seen
                .error
                .as_ref()
                .and_then(|error| Some((error.reason.clone(), error.since_time.parse().ok()?)));
            let error = seen.error.as_ref();
            let reason: Option<Reason> = error.and_then(|error| error.reason.parse().ok());
            let paced = matches!(
                reason,
                Some(Reason::Throttled | Reason::Banned | Reason::QuotaExceeded)
            );
            // Without a token, whatever was mended meanwhile is tried at once.
            let failed = reason.is_some_and(|reason| reason.origin() == Origin::DingTalk);
            let times = time(&seen.last_renewal_time).zip(time(&seen.expiration_time));
            let lifetime = times.map(|(minted_at, expires_at)| Lifetime {
                minted_at,
                expires_at,
            });
            // What a clock that was ahead had planned could be years from now.
            let lifetime = lifetime.filter(|lifetime| unextended && lifetime.is_plausible(now));
            let keeps_time =
                paced || lifetime.is_some() || (failed && seen.expiration_time.is_some());
            let next = time(&seen.next_attempt_time);
            let renewals = match (lifetime, next) {
                (Some(lifetime), Some(next)) if !failed => {
                    Renewals::resumed(lifetime, app.spec.renew_before(), next)
                }
                _ => Renewals::Usual,
            };
            if let Some(next) = next.filter(|next| keeps_time && *next > now) {
                let latest = match failed {
                    true => now + SignedDuration::from_hours(1),
                    false => Timestamp::MAX,
                };
                corp.resume(next.min(latest), renewals, now);
            }
        }
        memory
    }

    /// To be called before anything is decided: forgets what is not wanted, notices the clock.
    pub fn prepare(&mut self, app: &DingTalkApp, targets: &HashSet<&str>, now: Timestamp) {
        if self.pruned_for != app.metadata.generation || self.pruned_for.is_none() {
            self.pruned_for = app.metadata.generation;
            let wanted: HashSet<&String> = app.spec.corp_ids.iter().collect();
            self.corps.retain(|corp_id, _| wanted.contains(corp_id));
        }
        self.site.clone_from(&app.spec.site);
        if app.spec.target.template.data.is_empty() {
            self.templates = None;
        }
        for corp_id in &app.spec.corp_ids {
            if !self.corps.contains_key(corp_id) {
                self.corps.insert(corp_id.clone(), Box::default());
            }
        }
        for corp in self.corps.values_mut() {
            corp.notice_clock(now);
            corp.held = corp
                .held
                .take()
                .filter(|held| held.record.site == app.spec.site);
        }
        self.targets
            .retain(|name, _| targets.contains(name.as_str()));
        for writing in self.targets.values_mut() {
            writing.notice_clock(now);
        }
        let retries = [
            self.credentials_problem
                .as_mut()
                .and_then(|problem| problem.retry.as_mut()),
            self.restart_retry.as_mut(),
        ];
        for schedule in retries.into_iter().flatten() {
            schedule.notice_clock(now);
        }
        if let Some(unrefreshed) = &mut self.unrefreshed {
            unrefreshed.notice_clock(now);
        }
    }

    /// The app's templates; `None` if they are not parsed yet.
    pub fn templates(&self, app: &DingTalkApp) -> Option<&Result<Arc<Templates>, TemplateError>> {
        if app.spec.target.template.data.is_empty() {
            return Some(Templates::none());
        }
        let parsed = self.templates.as_ref();
        let parsed = parsed.filter(|parsed| parsed.generation == app.metadata.generation)?;
        Some(&parsed.templates)
    }

    /// Records the templates of a generation of the spec.
    pub fn templates_parsed(
        &mut self,
        generation: Option<i64>,
        templates: Result<Templates, TemplateError>,
    ) {
        self.templates = Some(Parsed {
            generation,
            templates: templates.map(Arc::new),
        });
    }

    /// Records contents of the Secret `target` for the next decision.
    pub fn assembled(&mut self, target: &str, assembled: Assembled) {
        self.writing(target).assembled = Some(Box::new(assembled));
    }

    /// What is remembered of an organisation's token.
    pub fn corp(&mut self, corp_id: &str) -> &mut Corp {
        self.corps.entry(corp_id.to_owned()).or_default()
    }

    /// What is remembered of a target.
    pub fn writing(&mut self, target: &str) -> &mut Writing {
        self.targets.entry(target.to_owned()).or_default()
    }

    /// Whether the times of a recorded token can be true.
    pub fn believes(&self, token: &TokenRecord, now: Timestamp) -> bool {
        match self.corps.get(&token.corp_id) {
            Some(corp) => corp.believes(token, now),
            None => token.lifetime.is_plausible(now),
        }
    }

    /// Whether this fetch is the one that is awaited.
    pub fn awaits(&self, corp_id: &str, fetch: u64) -> bool {
        self.corps
            .get(corp_id)
            .and_then(|corp| corp.minting.as_ref())
            .is_some_and(|minting| minting.id == fetch)
    }

    /// Notes that a token was fetched for the request that the app carries, if its Secret says so.
    pub fn credit_request(&mut self, app: &DingTalkApp, token: &TokenRecord) {
        let Some(request) = renew_request(app) else {
            return;
        };
        let corp = self.corp(&token.corp_id);
        if corp.request_done.as_deref() != Some(request)
            && token.answers == Some(RenewRequest::of(request))
        {
            corp.request_done = Some(request.to_owned());
        }
    }

    /// The request for renewal that an organisation's token has not been fetched for yet.
    pub fn open_request<'a>(
        &self,
        app: &'a DingTalkApp,
        corp_id: &str,
        token: Option<&TokenRecord>,
    ) -> Option<&'a str> {
        let request = renew_request(app)?;
        let done = self
            .corps
            .get(corp_id)
            .and_then(|corp| corp.request_done.as_deref());
        // A former process may have acted upon it and not have come to say so.
        let is_answered = || {
            let requested_at = request.parse::<Timestamp>().ok().map(whole_seconds);
            self.request_at_start.as_deref() == Some(request)
                && requested_at
                    .zip(token)
                    .is_some_and(|(at, token)| token.lifetime.minted_at >= at)
        };
        (done != Some(request) && !is_answered()).then_some(request)
    }

    /// Whether there is a token that no Secret holds yet, and nothing stands in the way of writing it.
    pub fn is_to_be_written(&self) -> bool {
        let mut corps = self.corps.values();
        corps.any(|corp| corp.unwritten_since.is_some())
            && self
                .targets
                .values()
                .all(|writing| writing.failure.is_none())
    }

    /// What was queued is not wanted any more.
    pub fn abandon(&mut self) {
        for corp in self.corps.values_mut() {
            corp.minting = None;
        }
    }

    /// Takes note of the contents of the Secret `name`, for these organisations.
    pub fn target_read(
        &mut self,
        name: &str,
        target: &TargetMeta,
        data: Option<&Data>,
        corp_ids: &[String],
    ) {
        let recorded = target.recorded.clone().map(|recorded| {
            let is_unreadable = recorded.digest.is_none();
            match self.credentials.as_ref().filter(|_| is_unreadable) {
                Some(known) => recorded.credited(known),
                None => recorded,
            }
        });
        let tokens = recorded.and_then(|recorded| data?.tokens_recorded(&recorded));
        self.writing(name).read(target, tokens.is_some());
        for held in tokens.into_iter().flatten() {
            let corp_id = &held.record.corp_id;
            if corp_ids.contains(corp_id)
                && let Some(corp) = self.corps.get_mut(corp_id)
                && corp.held.is_none()
            {
                corp.held = Some(held);
                corp.is_fetched = false;
            }
        }
    }

    /// Takes note of a write that the API server made.
    pub fn wrote(
        &mut self,
        write: &Write,
        version: ObjectVersion,
        generation: Option<i64>,
        repair: bool,
        now: Timestamp,
    ) {
        let shape = write.recorded.shape;
        for token in &write.recorded.tokens {
            let key = shape.key(Field::AccessToken, &token.corp_id);
            let written = write.data.get(&key).and_then(Option::as_ref);
            let corp = self.corp(&token.corp_id);
            // Another token may have come while this one was being written.
            if let (Some(written), Some(held)) = (written, &corp.held)
                && written.as_str() == held.token.expose()
            {
                corp.unwritten_since = None;
            }
        }
        let recorded = write.recorded.clone();
        let writing = self.writing(&write.name);
        let is_news = writing.wrote(version, recorded, generation, repair, now);
        self.happened.repaired |= is_news;
    }

    /// Takes note of credentials that were read and can be used.
    pub fn credentials_read(&mut self, known: KnownCredentials, trimmed_keys: &[String]) {
        self.credentials_problem = None;
        self.identify = false;
        if !trimmed_keys.is_empty() && self.trimmed_reported.as_ref() != Some(&known.version) {
            self.trimmed_keys = trimmed_keys.to_vec();
            self.trimmed_reported = Some(known.version.clone());
        }
        for corp in self.corps.values_mut() {
            let is_same = corp.minted_with == Some(known.fingerprint);
            if let Some(held) = corp.held.as_mut().filter(|_| is_same) {
                held.record.credentials = known.version.clone();
            }
        }
        self.credentials = Some(known);
    }

    /// The credentials that were read last, if they were read through the app's present reference.
    pub fn credentials_of(&self, app: &DingTalkApp) -> Option<&KnownCredentials> {
        let known = self.credentials.as_ref();
        known.filter(|known| known.reference == app.spec.credentials_secret_ref)
    }

    /// Whether a fetch used credentials that others have replaced since.
    pub fn is_superseded(&self, minting: &Minting) -> bool {
        let known = self.credentials.as_ref();
        known.is_some_and(|known| known.fingerprint != minting.fingerprint)
    }

    /// Takes note of credentials that cannot be used.
    pub fn credentials_failed(&mut self, problem: CredentialsProblem) {
        let since = match &self.credentials_problem {
            Some(old) if old.reason == problem.reason => old.since,
            _ => problem.since,
        };
        self.identify = false;
        self.credentials_problem = Some(CredentialsProblem { since, ..problem });
    }

    /// Records a token; `target` is the Secret that holds the former one. Returns whether its value
    /// is new.
    pub fn minted(
        &mut self,
        minting: &Minting,
        minted: Minted,
        requested_at: Timestamp,
        target: Option<(&str, &TargetMeta)>,
        now: Timestamp,
    ) -> bool {
        let is_superseded = self.is_superseded(minting);
        let current = self.credentials.as_ref().map(|known| known.fingerprint);
        let proven = self.corp(&minting.corp_id).minted_with;
        if is_superseded && proven.is_some() && proven == current {
            // A token of the present credentials is there already.
            return false;
        }
        let recorded = target.and_then(|(name, target)| {
            let is_trusted = match self.targets.get(name) {
                Some(writing) => writing.trusts(target),
                None => target.data_is_ours,
            };
            target.recorded.as_ref().filter(|_| is_trusted)
        });
        let record = recorded
            .and_then(|recorded| recorded.token(&minting.corp_id))
            .filter(|record| self.believes(record, now));
        let former = Former {
            record,
            has_same_value: has_value(recorded, record, &minted),
        };
        let uid = self.uid.clone();
        let corp = self.corp(&minting.corp_id);
        let attempt = is_superseded.then(|| corp.attempt());
        let is_new = corp.minted(&uid, minting, minted, requested_at, former, now);
        if let Some(attempt) = attempt {
            corp.restore(attempt);
        }
        self.happened.value_changed |= is_new;
        is_new
    }

    /// The status as it is in the cluster, and when this process wrote it, if it did.
    ///
    /// The watch may not have told of our own write yet; what is newer than that write is another's.
    /// `None` if `app` is older than that write and the watch has told of it since: there is a newer
    /// state of the app, and this one's status says nothing.
    pub fn previous_status(
        &self,
        app: &DingTalkApp,
    ) -> Option<(DingTalkAppStatus, Option<Timestamp>)> {
        let shown = || app.status.clone().unwrap_or_default();
        let Some(written) = &self.status else {
            return Some((shown(), None));
        };
        let seen = number(app.metadata.resource_version.as_ref());
        let status = match seen.cmp(&number(written.version.as_ref())) {
            Ordering::Less => written.status.as_deref().cloned()?,
            Ordering::Equal => written.status.as_deref().cloned().unwrap_or_else(shown),
            Ordering::Greater => shown(),
        };
        Some((status, Some(written.at)))
    }

    /// The watch has told of this state of the app: what we wrote before need not be remembered.
    pub fn status_seen(&mut self, app: &DingTalkApp) {
        let seen = number(app.metadata.resource_version.as_ref());
        if let Some(written) = &mut self.status
            && seen >= number(written.version.as_ref())
        {
            written.status = None;
        }
    }

    /// Takes note of a status that was written.
    pub fn status_written(
        &mut self,
        status: DingTalkAppStatus,
        version: Option<String>,
        at: Timestamp,
    ) {
        self.status = Some(WrittenStatus {
            status: Some(Box::new(status)),
            at,
            version,
        });
    }
}

/// A resourceVersion as a number; they are comparable.
fn number(version: Option<&String>) -> Option<u128> {
    version?.parse().ok()
}

/// The request for renewal that an app carries.
pub fn renew_request(app: &DingTalkApp) -> Option<&str> {
    let annotations = app.metadata.annotations.as_ref()?;
    let request = annotations.get(ANNOTATION_RENEW_REQUESTED_AT)?;
    Some(request.as_str()).filter(|request| !request.is_empty())
}

/// Whether the token that is recorded has the value of `minted`, by the digest of the Secret.
fn has_value(recorded: Option<&Recorded>, record: Option<&TokenRecord>, minted: &Minted) -> bool {
    let (Some(recorded), Some(record)) = (recorded, record) else {
        return false;
    };
    let held = Held {
        token: minted.token.clone(),
        record: record.clone(),
    };
    let data = Data::as_recorded(recorded, &held);
    data.is_some_and(|data| Some(data.digest()) == recorded.digest)
}
