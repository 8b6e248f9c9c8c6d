//! The exact messages of conditions and events, to be read as somebody on call would.

use strum::IntoEnumIterator as _;

use super::*;
use crate::core::app::notice::{Happened, Notice};
use crate::core::report::events::notices;

const PAGE: &str =
    "https://github.com/dingtalk-token-operator/dingtalk-token-operator/blob/main/docs/reasons.md";

fn failing(reason: Reason) -> Outcome {
    let row = TABLE.iter().position(|row| row.reason == reason);
    Outcome::Failure {
        row: row.expect("a row"),
        wait: None,
        random: 0.0,
    }
}

/// Returns the condition's message for an app whose calls fail for this reason.
fn said(world: &mut World, reason: Reason, type_: &str) -> String {
    let settled = world.settle(&failing(reason));
    let status = world.status(&settled);
    let mut conditions = status.conditions.into_iter();
    let condition = conditions.find(|condition| condition.type_ == type_);
    condition.expect("the condition").message
}

#[test]
fn rejected_credentials_are_named_with_their_secret_keys_and_site() {
    let mut world = World::new();
    let message = said(&mut world, Reason::InvalidCredentials, "Renewed");
    let advice = TABLE[0].advice;
    let expected = format!(
        "DingTalk (site global, api.dingtalk.io) did not answer for corpId ding1; {advice}; the rejected credentials are in Secret \
         credentials, keys client_id and client_secret; next attempt at 2027-01-15T08:05:00Z; see {PAGE}#invalidcredentials"
    );
    assert_eq!(message, expected);
}

#[test]
fn a_site_that_is_not_available_is_told_with_those_that_are() {
    let mut world = World::new();
    let mut said = |sites: &[&'static str]| {
        world.site = AppSite::Unavailable(sites.to_vec());
        let settled = world.settle(&failing(Reason::ServerError));
        let status = world.status(&settled);
        assert_eq!(status.conditions[0].reason, Reason::UnknownSite);
        status.conditions[0].message.clone()
    };
    let ask = format!(
        "ask whoever runs the operator to add it with --site, or to open it to this namespace with \
         --site-namespaces; see {PAGE}#unknownsite"
    );
    let unavailable = "site \"global\" is not available to this namespace:";
    assert_eq!(said(&[]), format!("{unavailable} {ask}"));
    let expected = format!("{unavailable} use another one (china, ours), or {ask}");
    assert_eq!(said(&["china", "ours"]), expected);
    let many = said(&["0123456789-0123456789-0123456789-0123456789-0123456789-01234567"; 100]);
    assert!(many.contains(" and 90 more), or ask"), "{many}");
    assert!(many.len() <= 1024, "{many}");
}

/// What a command shows that the message does not is named with its namespace.
#[test]
fn a_secret_of_somebody_else_is_told_with_the_command_that_shows_its_writers() {
    let mut world = World::new();
    world.settle(&Outcome::Token {
        life: 7200,
        fresh: true,
    });
    // Otherwise, the process knows that it wrote the Secret itself.
    world.restart();
    world.ownership = Ownership::Foreign;
    let message = said(&mut world, Reason::ServerError, "Ready");
    let command = "kubectl get secret payroll-token -n hr -o yaml --show-managed-fields; see ";
    assert!(message.contains(command), "{message}");
}

#[test]
fn a_renewal_that_fails_says_until_when_the_token_is_good() {
    let mut world = World::new();
    world.settle(&Outcome::Token {
        life: 7200,
        fresh: true,
    });
    world.now += SignedDuration::from_secs(5000);
    let message = said(&mut world, Reason::ServerError, "Renewed");
    let good = "; the token in Secret payroll-token is valid until 2027-01-15T10:00:00Z; see ";
    assert!(message.contains(good), "{message}");
    assert!(message.ends_with("reasons.md#servererror"), "{message}");
    // The message does not call an expired token valid.
    world.now += SignedDuration::from_secs(5000);
    let message = said(&mut world, Reason::ServerError, "Renewed");
    assert!(!message.contains("is valid until"), "{message}");
}

/// Regression: it said that its first token was being fetched, or that the next attempt was under way.
#[test]
fn a_suspended_app_says_that_nothing_is_fetched() {
    let mut world = World::new();
    let ready = |world: &mut World, is_suspended: bool| {
        world.app.spec.suspend = is_suspended;
        world.app.metadata.generation = world.app.metadata.generation.map(|it| it + 1);
        let settled = world.settle(&failing(Reason::ServerError));
        world.status(&settled).conditions.remove(0)
    };
    let nothing = "spec.suspend is set: no token is fetched";
    assert_eq!(ready(&mut world, true).message, nothing);
    assert!(
        ready(&mut world, false)
            .message
            .contains("; next attempt at")
    );
    let failing = ready(&mut world, true).message;
    assert!(failing.contains(&format!("; {nothing}; see ")), "{failing}");
}

#[test]
fn an_attempt_after_a_failure_is_said_to_be_under_way_while_it_is() {
    let mut world = World::new();
    let message = said(&mut world, Reason::ServerError, "Renewed");
    assert!(message.contains("; next attempt at "), "{message}");
    world.now += SignedDuration::from_secs(1);
    world.queue();
    let message = said(&mut world, Reason::ServerError, "Renewed");
    let expected = "; the next attempt is under way; see ";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn every_warning_names_its_section_in_both_languages_within_the_bound_of_an_event() {
    let pages = [
        include_str!("../../../docs/reasons.md"),
        include_str!("../../../docs/zh-CN/reasons.md"),
    ];
    for reason in Reason::iter() {
        let heading = format!("\n## {}\n", reason.as_str());
        for page in pages {
            assert!(page.contains(&heading), "{reason:?}");
        }
        let note = Notice::warning(reason, "Renew", &"x".repeat(5000)).note;
        let anchor = format!("; see {PAGE}#{}", reason.as_str().to_lowercase());
        assert!(note.ends_with(&anchor), "{note}");
        assert_eq!(note.len(), 1024);
    }
}

#[test]
fn what_is_well_names_no_section_and_a_message_names_one_once() {
    let normal = Notice::normal(Reason::ServerError, "Renew", "renewed");
    assert_eq!(normal.note, "renewed");
    let of_condition = format!("it failed; see {PAGE}#corpsfailing");
    let warning = Notice::warning(Reason::ServerError, "Renew", &of_condition);
    assert_eq!(warning.note, format!("it failed; see {PAGE}#servererror"));
}

#[test]
fn white_space_in_credentials_is_reported_by_key_and_only_then() {
    let status = crate::api::DingTalkAppStatus::default();
    let notices = |keys: &[&str]| {
        let happened = Happened {
            trimmed_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Happened::default()
        };
        notices(&status, &status, &happened)
    };
    assert!(notices(&[]).is_empty());
    let both = notices(&["client_id", "client_secret"]);
    let notes: Vec<&str> = both.iter().map(|notice| notice.note.as_str()).collect();
    let expected = format!(
        "ignored white space at the end of client_id and client_secret: write the credentials without it \
         (printf instead of echo); see {PAGE}#credentialstrimmed"
    );
    assert_eq!(notes, [expected]);
}
