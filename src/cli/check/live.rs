//! Finds valid tokens in the target Secrets, and asks for confirmation before they may be revoked.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use zeroize::Zeroizing;

use crate::api::{CorpStatus, DingTalkApp};
use crate::cli::span::span;
use crate::core::{self, Field, Shape, Wanted};
use crate::dingtalk::visible;
use crate::operator::said;

/// Maximum number of valid tokens listed in the question.
const NAMED_MAX: usize = 5;

/// The token of a corp in its target Secret.
pub(super) struct Present {
    pub corp_id: String,
    pub secret: String,
    /// The token, if there is one, or why the Secret could not be read.
    pub value: Result<Option<Zeroizing<String>>, String>,
    /// Expiry according to the Secret or, if it holds no token, to the app's status.
    pub expires_at: Option<Timestamp>,
}

impl Present {
    /// Returns the token, if it is known.
    pub(super) fn token(&self) -> Option<&str> {
        Some(self.value.as_ref().ok()?.as_ref()?.as_str())
    }

    /// Whether there is, or may be, a token in use.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        match (&self.value, self.expires_at) {
            // A status may be older than its Secret.
            (Err(_), _) => true,
            (Ok(_), Some(expires_at)) => expires_at > now,
            // The expiry is unknown.
            (Ok(value), None) => value.is_some(),
        }
    }

    fn line(&self, now: Timestamp) -> String {
        let known = match (&self.value, self.expires_at) {
            (Err(why), _) => format!("which cannot be read: {}", visible(why)),
            (Ok(value), Some(at)) => {
                let left = span(at.duration_since(now).as_secs());
                let source = match value {
                    Some(_) => "",
                    None => " according to the app's status",
                };
                format!("valid for {left}{source}")
            }
            (Ok(_), None) => "with an unknown expiry".to_owned(),
        };
        format!("  {}, Secret {}, {known}", self.corp_id, self.secret)
    }
}

/// Returns the tokens of these corps, or of all if none is given. Reads each Secret once.
pub(super) async fn present(
    secrets: &Api<Secret>,
    app: &DingTalkApp,
    given: &[String],
) -> Vec<Present> {
    let mut all = Vec::new();
    for target in core::wanted(app) {
        let is_asked = |id: &&String| given.is_empty() || given.contains(id);
        let asked: Vec<&String> = target.corp_ids.iter().filter(is_asked).collect();
        if asked.is_empty() {
            continue;
        }
        let read = secrets.get_opt(&target.name).await;
        let read = read.as_ref().map(Option::as_ref);
        let asked = asked.into_iter();
        all.extend(asked.map(|corp_id| in_secret(app, &target, corp_id, read)));
    }
    all
}

fn in_secret(
    app: &DingTalkApp,
    target: &Wanted<'_>,
    corp_id: &str,
    secret: Result<Option<&Secret>, &kube::Error>,
) -> Present {
    let shape = Shape::of(app.spec.target.layout);
    let read = |field: Field| {
        let data = secret.ok()??.data.as_ref()?;
        let value = data.get(&shape.key(field, corp_id))?;
        String::from_utf8(value.0.clone()).ok().map(Zeroizing::new)
    };
    let value = match secret {
        Ok(_) => Ok(read(Field::AccessToken)),
        Err(error) => Err(said(error)),
    };
    let expires_at = match value {
        Ok(Some(_)) => read(Field::ExpiresAt).and_then(|at| at.parse().ok()),
        // A token that was taken out of its Secret may still be in use, and the operator restores it.
        _ => announced(app, corp_id),
    };
    Present {
        corp_id: corp_id.to_owned(),
        secret: target.name.clone(),
        value,
        expires_at,
    }
}

/// Returns the expiry of a corp's token according to the app's status.
fn announced(app: &DingTalkApp, corp_id: &str) -> Option<Timestamp> {
    let mut corps = app.status.iter().flat_map(|status| &status.corps);
    let corp: &CorpStatus = corps.find(|corp| corp.corp_id == corp_id)?;
    corp.expiration_time.as_deref()?.parse().ok()
}

/// Whether tokens may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    Given,
    /// The user must confirm.
    Ask,
    /// The user must confirm, but there is no terminal.
    Missing,
}

/// Returns whether tokens may be fetched. `live` is the number of valid tokens that might be revoked.
pub(super) fn consent(live: usize, is_agreed: bool, is_terminal: bool) -> Consent {
    match (live, is_agreed, is_terminal) {
        (0, _, _) | (_, true, _) => Consent::Given,
        (_, false, true) => Consent::Ask,
        (_, false, false) => Consent::Missing,
    }
}

pub(super) fn question(live: &[&Present], fetches: usize, renew: &str, now: Timestamp) -> String {
    let are = match live.iter().any(|token| token.value.is_err()) {
        true => "are, or might be, valid",
        false => "are valid",
    };
    let mut lines = vec![format!(
        "DingTalk may revoke a token when it issues a new one. These {are} and may be in use:"
    )];
    let named = live.iter().take(NAMED_MAX);
    lines.extend(named.map(|token| token.line(now)));
    if live.len() > NAMED_MAX {
        lines.push(format!("  and {} more", live.len() - NAMED_MAX));
    }
    lines.push(format!("If one is revoked, `{renew}` replaces it."));
    let corps = match fetches {
        1 => "a token for 1 corpId".to_owned(),
        count => format!("tokens for {count} corpIds"),
    };
    lines.push(format!("Fetch {corps}? [y/N] "));
    lines.join("\n")
}

pub(super) fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T02:00:00Z".parse().expect("a time")
    }

    fn app(layout: &str) -> DingTalkApp {
        serde_json::from_value(json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll"},
            "spec": {
                "credentialsSecretRef": {"name": "c"}, "site": "china", "corpIds": ["ding1"],
                "target": {"layout": layout},
            },
            "status": {"corps": [{
                "corpId": "ding1", "secretName": "payroll-token",
                "expirationTime": "2026-11-23T03:00:00Z",
            }]},
        }))
        .expect("an app")
    }

    fn held(layout: &str, data: &Value) -> Present {
        let secret: Secret = serde_json::from_value(json!({"data": data})).expect("a Secret");
        let app = app(layout);
        let target = core::wanted(&app).remove(0);
        in_secret(&app, &target, "ding1", Ok(Some(&secret)))
    }

    #[test]
    fn a_token_is_live_until_it_expires_and_one_that_does_not_say_is() {
        // base64: `token`, 2026-11-23T03:00:00Z, 2026-11-23T01:00:00Z.
        let (token, later) = ("dG9rZW4=", "MjAyNi0xMS0yM1QwMzowMDowMFo=");
        let earlier = "MjAyNi0xMS0yM1QwMTowMDowMFo=";
        let single = |expires_at: &str| {
            held(
                "Single",
                &json!({"access_token": token, "expires_at": expires_at}),
            )
        };
        assert!(single(later).is_live(now()));
        assert!(!single(earlier).is_live(now()));
        let value = single(later).value.expect("read").expect("a token");
        assert_eq!(value.as_str(), "token");
        assert!(held("Single", &json!({"access_token": token})).is_live(now()));
        let combined = json!({"ding1.access_token": token, "ding1.expires_at": later});
        assert!(held("Combined", &combined).is_live(now()));
    }

    fn forbidden() -> kube::Error {
        let status = json!({"status": "Failure", "message": "you may\nnot", "code": 403});
        kube::Error::Api(serde_json::from_value(status).expect("a status"))
    }

    /// Regression: of a Secret that could not be read, the status alone was believed, even where it says nothing.
    #[test]
    fn a_token_that_cannot_be_seen_may_be_live() {
        let app = app("Single");
        let target = core::wanted(&app).remove(0);
        let absent = |corp_id| in_secret(&app, &target, corp_id, Ok(None)).is_live(now());
        assert!(absent("ding1"), "the status says so");
        assert!(!absent("ding2"));
        let mut corp_ids = ["ding1", "ding2"].into_iter();
        assert!(corp_ids.all(|id| in_secret(&app, &target, id, Err(&forbidden())).is_live(now())));
        let mut expired = app.clone();
        let status = expired.status.as_mut().expect("a status");
        status.corps[0].expiration_time = Some("2026-11-23T01:00:00Z".to_owned());
        assert!(in_secret(&expired, &target, "ding1", Err(&forbidden())).is_live(now()));
        assert!(!in_secret(&expired, &target, "ding1", Ok(None)).is_live(now()));
    }

    #[test]
    fn a_live_token_is_risked_only_by_a_person_who_agreed() {
        assert_eq!(consent(0, false, false), Consent::Given);
        assert_eq!(consent(2, true, false), Consent::Given);
        assert_eq!(consent(2, false, true), Consent::Ask);
        assert_eq!(consent(2, false, false), Consent::Missing);
        for answer in ["y\n", "YES", " Yes \r\n"] {
            assert!(is_yes(answer), "{answer:?}");
        }
        for answer in ["", "\n", "n", "yess", "no"] {
            assert!(!is_yes(answer), "{answer:?}");
        }
    }

    #[test]
    fn a_question_names_what_is_at_stake_and_no_token() {
        let app = app("Single");
        let target = core::wanted(&app).remove(0);
        let mut live: Vec<Present> = (0..7)
            .map(|_| in_secret(&app, &target, "ding1", Ok(None)))
            .collect();
        live[0].value = Ok(Some(Zeroizing::new("top-secret".to_owned())));
        let live: Vec<&Present> = live.iter().collect();
        let text = question(&live, 9, "kubectl dingtalk renew payroll", now());
        assert!(
            text.contains("  ding1, Secret payroll-token, valid for 60m\n"),
            "{text}"
        );
        assert!(
            text.contains("  and 2 more\n") && text.contains("tokens for 9 corpIds? "),
            "{text}"
        );
        assert!(!text.contains("top-secret"));
        assert!(
            text.contains("These are valid and")
                && text.contains("60m according to the app's status"),
            "{text}"
        );
        let unread = in_secret(&app, &target, "ding2", Err(&forbidden()));
        let text = question(
            &[live[0], &unread],
            2,
            "kubectl dingtalk renew payroll",
            now(),
        );
        assert!(
            text.contains("These are, or might be, valid and")
                && text
                    .contains("  ding2, Secret payroll-token, which cannot be read: you may not\n"),
            "{text}"
        );
    }
}
