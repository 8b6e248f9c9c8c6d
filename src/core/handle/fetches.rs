//! Which apps a fetch concerns.

use jiff::Timestamp;

use super::Core;
use crate::api::AppRef;
use crate::core::app::take::has_value;
use crate::core::token::attempt::PendingFetch;
use crate::dingtalk::{AccessToken, Call};

impl Core {
    /// Whether an app's credentials, or its reference to them, have changed since a fetch was
    /// queued.
    pub(crate) fn credentials_changed(&self, app: &AppRef, pending: &PendingFetch) -> bool {
        let reference = self.index.credentials_ref(app);
        let version = self.index.credentials_version(app);
        reference.is_some_and(|now| *now != pending.reference)
            || version.is_some_and(|now| *now != pending.credentials)
    }

    /// Whether an app's spec has changed since a fetch was queued, so that the app no longer wants
    /// it. The app may be waiting for a call and not have been looked at since.
    pub(crate) fn wants_no_longer(
        &self,
        app: &AppRef,
        pending: &PendingFetch,
        call: &Call,
    ) -> bool {
        self.index
            .wants_no_longer(app, pending.generation, &call.site, &call.corp_id)
    }

    /// Returns when the token that the fetch replaces expires.
    pub(crate) fn expiry(&self, pending: &PendingFetch) -> Option<Timestamp> {
        let token = self.tokens.get(pending.token)?;
        token.attempts.expires_at()
    }

    /// Whether an app's Secret already holds this value of a corp's token, as far as its metadata
    /// tells.
    pub(crate) fn shows(&self, app: &AppRef, corp_id: &str, token: &AccessToken) -> bool {
        let target = self.index.target_of(app, corp_id);
        let recorded = target.and_then(|(_, target)| target.recorded.as_ref());
        let record = recorded.and_then(|recorded| recorded.token(corp_id));
        has_value(recorded, record, token)
    }

    /// Returns the other apps whose credentials have not been read yet: they may show a token that
    /// a fetch has just revoked.
    pub(crate) fn unresolved_sharers(&mut self, app: &AppRef, call: &Call) -> Vec<AppRef> {
        let mut sharers = self
            .index
            .sharers(app, &call.site, &call.client_id, &call.corp_id);
        sharers.retain(|sharer| {
            let Some(memory) = self.apps.get_mut(sharer) else {
                return false;
            };
            memory.identify |= memory.credentials.is_none();
            memory.is_unresolved()
        });
        sharers
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::json;

    use super::*;
    use crate::api::{Cause, CredentialsSecretRef, DingTalkApp, LABEL_MANAGED_BY, MANAGER};
    use crate::core::index::NamespaceLimits;
    use crate::core::secret::data::Data;
    use crate::core::secret::recorded::{Recorded, written_keys};
    use crate::core::secret::shape::Shape;
    use crate::core::secret::state::example;
    use crate::core::token::record::{Held, ObjectVersion, TokenRecord};
    use crate::core::token::schedule::Lifetime;
    use crate::core::token::tokens::{Interest, TokenName};
    use crate::dingtalk::Fingerprint;

    /// A namespace that joins a fetch may have a token that ends earlier than that of the first one.
    #[test]
    fn a_fetch_replaces_what_is_valid_until_the_earliest_expiry_of_all_who_wait_for_it() {
        let now = Timestamp::UNIX_EPOCH;
        let after = |seconds| now + SignedDuration::from_secs(seconds);
        let mut core = Core::new(NamespaceLimits::default());
        let name = TokenName {
            site: "global".into(),
            client_id: "a".into(),
            corp_id: "ding1".into(),
            fingerprint: Fingerprint::default(),
        };
        let app = AppRef::new("payroll").within("hr");
        let tokens = &mut core.tokens;
        let token = tokens.join(name, &app, Interest::Active, None);
        let ended = tokens.get(token).expect("wanted").attempts.ended();
        let former = |expires_at| TokenRecord {
            site: "global".into(),
            client_id: "a".into(),
            corp_id: "ding1".into(),
            lifetime: Lifetime {
                requested_at: after(-3600),
                expires_at: after(expires_at),
            },
            credentials: ObjectVersion::default(),
            answers: None,
        };
        let mut begin = |namespace: &str, expires_at: Option<i64>| {
            let pending = core
                .tokens
                .begin(token, ended, namespace, |id| PendingFetch {
                    id,
                    token,
                    app: "hr/payroll".into(),
                    uid: "u1".into(),
                    credentials: ObjectVersion::default(),
                    reference: CredentialsSecretRef {
                        name: "credentials".into(),
                        client_id_key: "client_id".into(),
                        client_secret_key: "client_secret".into(),
                    },
                    why: Cause::RenewalDue.into(),
                    generation: None,
                    renew_before: None,
                    former: expires_at.map(former),
                    since: now,
                });
            core.expiry(&pending.expect("queued"))
        };
        assert_eq!(begin("a", None), None);
        assert_eq!(begin("b", Some(0)), None, "it has expired");
        assert_eq!(begin("c", Some(600)), Some(after(600)));
        assert_eq!(begin("d", Some(300)), Some(after(300)));
        assert_eq!(begin("e", Some(900)), Some(after(300)));
    }

    #[test]
    fn an_app_shows_the_value_whose_digest_its_secret_records() {
        let app: DingTalkApp = serde_json::from_value(json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll", "namespace": "hr", "uid": "u1"},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "global",
                "corpIds": ["ding1"], "target": {"name": "token"}},
        }))
        .expect("an app");
        let token = |value: &str| AccessToken::new(value.to_owned()).expect("a token");
        let held = Held {
            token: token("t1"),
            record: example().tokens.remove(0),
        };
        let keys = written_keys(Shape::One, std::iter::empty());
        let recorded = Recorded::of(keys, vec![held.record.clone()]).expect("a shape");
        let recorded = Recorded {
            digest: Some(Data::of(Shape::One, [&held]).digest()),
            ..recorded
        };
        let mut core = Core::new(NamespaceLimits::default());
        core.index.app_applied(&app);
        let key = AppRef::new("payroll").within("hr");
        assert!(!core.shows(&key, "ding1", &token("t1")), "it has no Secret");
        let label = (LABEL_MANAGED_BY.to_owned(), MANAGER.to_owned());
        let secret = ObjectMeta {
            name: Some("token".into()),
            namespace: Some("hr".into()),
            uid: Some("s1".into()),
            resource_version: Some("5".into()),
            labels: Some(BTreeMap::from([label])),
            annotations: Some(recorded.annotations()),
            ..ObjectMeta::default()
        };
        core.secret_applied(secret.into());
        assert!(core.shows(&key, "ding1", &token("t1")));
        assert!(!core.shows(&key, "ding1", &token("t2")));
        assert!(!core.shows(&key, "ding2", &token("t1")));
    }
}
