//! What the operator remembers about an app between two looks.

mod resumed;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    ANNOTATION_RENEW_REQUESTED_AT, AppRef, CredentialsSecretRef, DingTalkApp, DingTalkAppStatus,
    app_ref,
};
use crate::core::app::corp::Corp;
use crate::core::app::looks::Looks;
use crate::core::app::notice::Happened;
use crate::core::app::refresh::{Unrefreshed, refreshes_pods};
use crate::core::app::refusals::Refusals;
use crate::core::app::restart::Restarts;
use crate::core::app::written_status::WrittenStatus;
use crate::core::secret::assembly::Assembled;
use crate::core::secret::recorded::credit;
use crate::core::secret::shape::Field;
use crate::core::secret::target::TargetMeta;
use crate::core::secret::templates::{TemplateError, Templates};
use crate::core::secret::write::Write;
use crate::core::secret::writing::{WriteOutcome, Writing};
use crate::core::token::known_credentials::{CredentialsProblem, KnownCredentials};
use crate::core::token::record::{Held, ObjectVersion, TokenRecord};
use crate::core::token::tokens::{Interest, TokenName, Tokens};
use crate::dingtalk::Fingerprint;

/// Parsed templates.
type Parsed = Result<Arc<Templates>, TemplateError>;

/// What the operator remembers about an app.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// UID of the app: a recreated app is another app.
    pub uid: String,
    /// Corps by ID. Boxed, because even a small map has room for eleven entries.
    pub corps: BTreeMap<String, Box<Corp>>,
    /// Target Secrets by name.
    pub targets: BTreeMap<String, Box<Writing>>,
    /// The credentials that were read last.
    pub credentials: Option<KnownCredentials>,
    /// The reference and version through which another app looked for shared credentials and found
    /// none usable.
    pub unusable_to_others: Option<(CredentialsSecretRef, Option<ObjectVersion>)>,
    /// Why the credentials cannot be used.
    pub credentials_problem: Option<CredentialsProblem>,
    /// Whether to read the credentials to find out who shares them.
    pub identify: bool,
    /// Whether its tokens were compared with those of other apps that may share them, since this
    /// process has led.
    pub is_compared: bool,
    /// Events not published yet.
    pub happened: Happened,
    pub restarts: Restarts,
    /// Secrets whose readers are still to be notified, if the app wants that.
    pub unrefreshed: Option<Box<Unrefreshed>>,
    pub looks: Looks,
    /// Refused reads of its Secrets.
    pub refused_reads: Refusals,
    /// The status that this process wrote last.
    pub written_status: WrittenStatus<DingTalkAppStatus>,
    /// The generation of the spec that a former process reported, if it had put it into the Secrets.
    reported_generation: Option<i64>,
    trimmed_reported: Option<ObjectVersion>,
    /// The templates, and the generation of the spec that they belong to.
    templates: Option<(Option<i64>, Parsed)>,
    subscription: Option<Subscription>,
}

/// What an app's subscription for tokens depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subscription {
    generation: Option<i64>,
    credentials: Option<Fingerprint>,
}

impl Memory {
    /// Updates which tokens the app wants. Must be called before any decision.
    pub(crate) fn subscribe(&mut self, app: &DingTalkApp, tokens: &mut Tokens, now: Timestamp) {
        let known = self.credentials_of(app);
        let subscription = Some(Subscription {
            generation: app.metadata.generation,
            credentials: known.map(|known| known.fingerprint),
        });
        if self.subscription != subscription {
            self.resubscribe(app, tokens);
            self.subscription = subscription;
        }
        for corp in self.corps.values_mut() {
            if corp.has_former() {
                corp.leave_former(&app_ref(app), tokens);
            }
            if let Some(token) = corp.token() {
                tokens.notice_clock(token, now);
            }
        }
    }

    fn resubscribe(&mut self, app: &DingTalkApp, tokens: &mut Tokens) {
        let (key, spec) = (app_ref(app), &app.spec);
        let wanted: HashSet<&String> = spec.corp_ids.iter().collect();
        self.corps.retain(|corp_id, corp| {
            let is_wanted = wanted.contains(corp_id);
            if !is_wanted {
                corp.leave(&key, tokens);
            }
            is_wanted
        });
        let interest = match spec.suspend {
            true => Interest::Suspended,
            false => Interest::Active,
        };
        for corp_id in &spec.corp_ids {
            let name = self.credentials_of(app).map(|known| TokenName {
                site: spec.site.clone(),
                client_id: known.client_id.clone(),
                corp_id: corp_id.clone(),
                fingerprint: known.fingerprint,
            });
            self.corp_mut(corp_id).want(name, &key, interest, tokens);
        }
    }

    /// Drops all the app's subscription for tokens.
    pub(crate) fn leave(&mut self, app: &AppRef, tokens: &mut Tokens) {
        for corp in self.corps.values_mut() {
            corp.leave(app, tokens);
        }
        self.subscription = None;
    }

    /// Forgets what is no longer wanted and adjusts times to the clock. Must be called before any
    /// decision.
    pub(crate) fn prepare(&mut self, app: &DingTalkApp, targets: &HashSet<&str>, now: Timestamp) {
        if app.spec.target.template.data.is_empty() {
            self.templates = None;
        }
        for corp in self.corps.values_mut() {
            corp.notice_clock(now);
            let is_former = |held: &mut Held| held.record.site != app.spec.site;
            if corp.held.take_if(is_former).is_some() {
                corp.unwritten_since = None;
            }
        }
        self.targets
            .retain(|name, _| targets.contains(name.as_str()));
        for writing in self.targets.values_mut() {
            writing.notice_clock(now);
        }
        let problem = self.credentials_problem.as_mut();
        let credentials = problem.and_then(|problem| problem.retry.as_mut());
        let retries = credentials.into_iter().chain(&mut self.restarts.retry);
        retries.for_each(|schedule| schedule.notice_clock(now));
        if let Some(unrefreshed) = &mut self.unrefreshed {
            unrefreshed.notice_clock(now);
        }
    }

    /// Moves every deadline along with a clock that was set back by this much.
    pub(crate) fn set_back(&mut self, by: SignedDuration) {
        for corp in self.corps.values_mut() {
            corp.set_back(by);
        }
        for writing in self.targets.values_mut() {
            writing.set_back(by);
        }
        let problem = self.credentials_problem.as_mut();
        if let Some(retry) = problem.and_then(|problem| problem.retry.as_mut()) {
            retry.set_back(by);
        }
        self.restarts.set_back(by);
        self.written_status.set_back(by);
        if let Some(unrefreshed) = &mut self.unrefreshed {
            unrefreshed.set_back(by);
        }
    }

    /// Returns the app's templates; `None` if they have not been parsed yet.
    pub(crate) fn templates(&self, app: &DingTalkApp) -> Option<&Parsed> {
        if app.spec.target.template.data.is_empty() {
            return Some(Templates::none());
        }
        let (generation, parsed) = self.templates.as_ref()?;
        (*generation == app.metadata.generation).then_some(parsed)
    }

    /// Records the parsed templates of a generation of the spec.
    pub(crate) fn templates_parsed(
        &mut self,
        generation: Option<i64>,
        templates: Result<Templates, TemplateError>,
    ) {
        self.templates = Some((generation, templates.map(Arc::new)));
    }

    /// Records assembled contents of the Secret `target` for the next decision.
    pub(crate) fn assembled(&mut self, target: &str, assembled: Assembled) {
        self.writing_mut(target).assembled = Some(Box::new(assembled));
    }

    /// Returns the memory of a corp's token, which is empty if there is none.
    pub(crate) fn corp(&self, corp_id: &str) -> &Corp {
        static NONE: LazyLock<Corp> = LazyLock::new(Corp::default);
        self.corps.get(corp_id).map_or(&*NONE, Box::as_ref)
    }

    /// Returns the memory of a corp's token, for a change.
    pub(crate) fn corp_mut(&mut self, corp_id: &str) -> &mut Corp {
        self.corps.entry(corp_id.to_owned()).or_default()
    }

    /// Returns the memory of a target's writes, which is empty if there is none.
    pub(crate) fn writing(&self, target: &str) -> &Writing {
        static NONE: LazyLock<Writing> = LazyLock::new(Writing::default);
        self.targets.get(target).map_or(&*NONE, Box::as_ref)
    }

    /// Returns the memory of a target's writes, for a change.
    pub(crate) fn writing_mut(&mut self, target: &str) -> &mut Writing {
        self.targets.entry(target.to_owned()).or_default()
    }

    /// Whether the times of a recorded token are plausible.
    pub(crate) fn believes(&self, token: &TokenRecord, now: Timestamp) -> bool {
        self.corp(&token.corp_id).believes(token, now)
    }

    /// Returns the renewal request that no fetch of a corp's token answers yet. The request's time,
    /// which others have written, says nothing about that.
    pub(crate) fn open_request<'a>(&self, app: &'a DingTalkApp, corp_id: &str) -> Option<&'a str> {
        let done = self.corp(corp_id).request_done.as_deref();
        renew_request(app).filter(|request| done != Some(request))
    }

    /// Whether a former process has put this generation of the spec into the Secret `target`.
    pub(crate) fn was_put_right(&self, target: &str, generation: Option<i64>) -> bool {
        self.reported_generation == generation && !self.writing(target).has_written_once()
    }

    /// Whether a token waits to be written and can be.
    pub(crate) fn is_to_be_written(&self) -> bool {
        let mut corps = self.corps.values();
        corps.any(|corp| corp.unwritten_since.is_some() && !corp.is_stuck)
    }

    /// Whether a write concerns a corp with an unwritten token.
    pub(crate) fn is_first_write(&self, write: &Write) -> bool {
        let mut tokens = write.recorded.tokens.iter();
        tokens.any(|token| self.corp(&token.corp_id).unwritten_since.is_some())
    }

    /// Makes unanswered writes and deletions due now that the API server responds again; see
    /// [`Writing::retry_unanswered`].
    pub(crate) fn retry_unanswered(&mut self, now: Timestamp) -> bool {
        let targets = self.targets.values_mut();
        targets.fold(false, |any, writing| writing.retry_unanswered(now) | any)
    }

    /// Whether a fetch has returned a token that the app has not taken over yet and can write.
    pub(crate) fn has_untaken(&self, tokens: &Tokens, now: Timestamp) -> bool {
        let mut corps = self.corps.values();
        corps.any(|corp| !corp.is_stuck && corp.has_untaken(&self.uid, tokens, now))
    }

    /// Whether the app has not been looked at since its credentials were read.
    pub(crate) fn is_unresolved(&self) -> bool {
        let credentials = self.subscription.and_then(|it| it.credentials);
        credentials.is_none()
    }

    /// Records the tokens of these corps as read from the Secret `name`, and whether it holds what it
    /// records; the caller computes that digest, outside the lock.
    pub(crate) fn target_read(
        &mut self,
        name: &str,
        target: &TargetMeta,
        (is_genuine, tokens): (bool, Vec<Held>),
        corp_ids: &[String],
    ) {
        self.writing_mut(name).read(target, is_genuine);
        let recorded = target.recorded.as_ref();
        let is_unreadable = recorded.is_some_and(|recorded| recorded.digest.is_none());
        for mut held in tokens {
            if let Some(known) = self.credentials.as_ref().filter(|_| is_unreadable) {
                credit(&mut held.record, known, is_unreadable);
            }
            let corp_id = &held.record.corp_id;
            if corp_ids.contains(corp_id)
                && let Some(corp) = self.corps.get_mut(corp_id)
                && corp.held.is_none()
            {
                corp.held = Some(held);
            }
        }
    }

    /// Records a write's outcome.
    pub(crate) fn write_ended(
        &mut self,
        write: &Write,
        outcome: WriteOutcome,
        app: &DingTalkApp,
        now: Timestamp,
    ) {
        if matches!(outcome, WriteOutcome::Done(_)) {
            self.shows(write);
            if refreshes_pods(app) {
                self.unrefreshed.get_or_insert_default().wrote(&write.name);
            }
        }
        let generation = app.metadata.generation;
        let writing = self.writing_mut(&write.name);
        let is_news = writing.ended(write, outcome, generation, now);
        self.happened.repaired |= is_news;
    }

    /// Clears the unwritten marks of the tokens that were written.
    fn shows(&mut self, write: &Write) {
        let shape = write.recorded.shape;
        for token in &write.recorded.tokens {
            let key = shape.key(Field::AccessToken, &token.corp_id);
            let written = write.data.get(&key).and_then(Option::as_ref);
            let corp = self.corp_mut(&token.corp_id);
            // A newer token may have arrived during the write.
            if let (Some(written), Some(held)) = (written, &corp.held)
                && written.as_str() == held.token.expose()
            {
                corp.unwritten_since = None;
            }
        }
    }

    /// Records credentials that were read and can be used.
    pub(crate) fn credentials_read(&mut self, known: KnownCredentials, trimmed_keys: &[String]) {
        self.credentials_problem = None;
        self.identify = false;
        if !trimmed_keys.is_empty() && self.trimmed_reported.as_ref() != Some(&known.version) {
            self.happened.trimmed_keys = trimmed_keys.to_vec();
            self.trimmed_reported = Some(known.version.clone());
        }
        for corp in self.corps.values_mut() {
            let is_same = corp.fetched_with == Some(known.fingerprint);
            if let Some(held) = corp.held.as_mut().filter(|_| is_same) {
                held.record.credentials = known.version.clone();
            }
        }
        self.credentials = Some(known);
    }

    /// Returns the last credentials, if they were read through the app's present reference.
    pub(crate) fn credentials_of(&self, app: &DingTalkApp) -> Option<&KnownCredentials> {
        let known = self.credentials.as_ref();
        known.filter(|known| known.reference == app.spec.credentials_secret_ref)
    }

    /// Records why the credentials cannot be used.
    pub(crate) fn credentials_failed(&mut self, problem: CredentialsProblem) {
        let since = match &self.credentials_problem {
            Some(old) if old.reason == problem.reason => old.since,
            _ => problem.since,
        };
        self.identify = false;
        self.credentials_problem = Some(CredentialsProblem { since, ..problem });
    }
}

/// Returns the app's renewal request.
pub(crate) fn renew_request(app: &DingTalkApp) -> Option<&str> {
    let annotations = app.metadata.annotations.as_ref()?;
    let request = annotations.get(ANNOTATION_RENEW_REQUESTED_AT)?;
    Some(request.as_str()).filter(|request| !request.is_empty())
}
