//! Memories of apps, and decisions for them.

use jiff::Timestamp;
use kube::ResourceExt;

use super::Core;
use crate::api::{AppRef, DingTalkApp, app_ref};
use crate::core::app::memory::Memory;
use crate::core::app::view::{AppSite, View};
use crate::core::token::known_credentials::KnownCredentials;

/// What decisions depend on besides the core's state.
pub(crate) struct Surroundings<'a> {
    pub site: AppSite<'a>,
    /// Whether this process is shutting down or no longer leads.
    pub is_ending: bool,
    /// Allowed prefixes of a Secret's label and annotation keys.
    pub metadata_prefixes: &'a [String],
}

impl Core {
    /// Creates the memory of an app, unless there is one; a recreated app is another app.
    pub(crate) fn remember(&mut self, app: &DingTalkApp, now: Timestamp) {
        let key = app_ref(app);
        if self.app_of(&key, &app.uid().unwrap_or_default()).is_some() {
            return;
        }
        self.forget_app(&key);
        let mut memory = Memory::new(app, now);
        // It may show a token that a fetch of this process has revoked.
        let has_fetched = |seat| self.tokens.has_fetched(&seat, now);
        memory.identify |= self.index.seats_of(&key).any(has_fetched);
        self.apps.insert(key, Box::new(memory));
    }

    /// Returns the memory of an app.
    pub(crate) fn app(&mut self, key: &AppRef) -> Option<&mut Memory> {
        self.apps.get_mut(key).map(Box::as_mut)
    }

    /// Returns the memory of the app with this UID; `None` if it is gone.
    pub(crate) fn app_of(&mut self, key: &AppRef, uid: &str) -> Option<&mut Memory> {
        self.app(key).filter(|memory| memory.uid == uid)
    }

    /// Forgets an app.
    pub(crate) fn forget_app(&mut self, key: &AppRef) {
        if let Some(mut memory) = self.apps.remove(key) {
            memory.leave(key, &mut self.tokens);
        }
    }

    /// Returns until when a look at an app must wait, if at all.
    pub(crate) fn look_waits_until(
        &mut self,
        app: &DingTalkApp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let memory = self.apps.get_mut(&app_ref(app))?;
        let (corps, generation) = (app.spec.corp_ids.len(), app.metadata.generation);
        memory.looks.begin(corps, generation, now)
    }

    /// Makes a decision for an app; `None` if it is gone or a newer state of it is known.
    pub(crate) fn decide<T>(
        &mut self,
        app: &DingTalkApp,
        surroundings: Surroundings<'_>,
        now: Timestamp,
        decide: impl FnOnce(&View<'_>, &mut Memory, Timestamp) -> T,
    ) -> Option<T> {
        let key = app_ref(app);
        self.index.current(app)?;
        let memory = self.apps.get_mut(&key)?;
        memory.subscribe(app, &mut self.tokens, now);
        // A former process may have died before all who share a new token had it.
        if !std::mem::replace(&mut memory.is_compared, true) {
            for corp_id in self.index.outdated(&key, now) {
                memory.corp_mut(&corp_id).is_outdated = true;
            }
        }
        let current = self.index.current(app)?;
        let mut view = current.view(app, surroundings.site, &self.tokens);
        view.metadata_prefixes = surroundings.metadata_prefixes;
        view.is_ending = surroundings.is_ending;
        Some(decide(&view, memory, now))
    }

    /// Records credentials that were read and can be used.
    pub(crate) fn credentials_read(
        &mut self,
        key: &AppRef,
        uid: &str,
        known: &KnownCredentials,
        trimmed_keys: &[String],
    ) {
        if let Some(memory) = self.app_of(key, uid) {
            memory.credentials_read(known.clone(), trimmed_keys);
            self.index.client_known(key, &known.client_id);
        }
    }

    /// Returns the apps with a token that still has to be written.
    pub(crate) fn unwritten(&self, now: Timestamp) -> Vec<AppRef> {
        let unwritten = self.apps.iter().filter(|(_, memory)| {
            memory.is_to_be_written() || memory.has_untaken(&self.tokens, now)
        });
        unwritten.map(|(app, _)| app.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::index::NamespaceLimits;

    fn app(uid: &str) -> DingTalkApp {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll", "namespace": "hr", "uid": uid},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global", "corpIds": ["ding1"]},
        }))
        .expect("an app")
    }

    #[test]
    fn what_was_done_for_an_app_does_not_reach_another_one_of_its_name() {
        let now = Timestamp::UNIX_EPOCH;
        let (former, app) = (app("u1"), app("u2"));
        let key = app_ref(&app);
        let mut core = Core::new(NamespaceLimits::default());
        assert!(core.app_of(&key, "u1").is_none());
        core.remember(&former, now);
        core.app_of(&key, "u1").expect("it is known").identify = true;
        core.remember(&former, now);
        assert!(core.app_of(&key, "u1").expect("it is known").identify);
        core.remember(&app, now);
        assert!(core.app_of(&key, "u1").is_none());
        assert!(!core.app_of(&key, "u2").expect("it is new").identify);
        core.forget_app(&key);
        assert!(core.app(&key).is_none());
    }

    #[test]
    fn an_app_with_an_unwritten_token_is_waited_for() {
        let now = Timestamp::UNIX_EPOCH;
        let app = app("u1");
        let key = app_ref(&app);
        let mut core = Core::new(NamespaceLimits::default());
        core.remember(&app, now);
        assert!(core.unwritten(now).is_empty());
        let memory = core.app(&key).expect("it is known");
        memory.corp_mut("ding1").unwritten_since = Some(now);
        assert_eq!(core.unwritten(now), [key]);
    }

    /// Regression: a replica that led again took what it had compared when it led before for done. The
    /// one that had led meanwhile had died between two writes of one token.
    #[test]
    fn apps_that_share_a_token_are_compared_again_when_this_process_leads_again() {
        let now = Timestamp::UNIX_EPOCH;
        let (mut core, app) = (Core::new(NamespaceLimits::default()), app("u1"));
        core.index.app_applied(&app);
        core.remember(&app, now);
        let is_compared = |core: &mut Core| {
            let surroundings = Surroundings {
                site: AppSite::Available("host"),
                is_ending: false,
                metadata_prefixes: &[],
            };
            let memory = core.app(&app_ref(&app)).expect("it is known");
            let before = memory.is_compared;
            core.decide(&app, surroundings, now, |_, _, _| {});
            before
        };
        assert!(!is_compared(&mut core));
        assert!(is_compared(&mut core));
        assert_eq!(core.taken_up().apps.len(), 1);
        assert!(!is_compared(&mut core));
        assert!(is_compared(&mut core));
    }
}
