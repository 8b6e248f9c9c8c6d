//! Verdicts on the apps' allow-lists at DingTalk, according to their statuses.

use kube::ResourceExt as _;

use super::verdict::Verdict;
use crate::api::Reason;
use crate::cli::apps::App;

/// Maximum number of apps that are named.
const NAMED_MAX: usize = 20;

/// Returns the verdicts. The error says why the apps were not listed.
pub(super) fn judge(apps: &Result<Vec<App>, String>) -> Vec<Verdict> {
    let subject = "allow-list";
    let apps = match apps {
        Ok(apps) => apps,
        Err(why) => return vec![Verdict::not_checked(subject, why, "")],
    };
    let mut refused: Vec<String> = apps.iter().filter_map(refusal).collect();
    if refused.is_empty() {
        let said = format!("no app reports {}", Reason::IpNotAllowed.as_str());
        return vec![Verdict::ok(subject, said)];
    }
    let more = refused.len().saturating_sub(NAMED_MAX);
    refused.truncate(NAMED_MAX);
    if more > 0 {
        refused.push(format!("{more} more apps"));
    }
    let advice = format!(
        "add the cluster's egress address to the app's server IP allow-list; see {}",
        Reason::IpNotAllowed.page()
    );
    let verdicts = refused.into_iter();
    verdicts
        .map(|said| Verdict::fails(subject, said, &advice))
        .collect()
}

/// Says for which corps DingTalk refuses the operator's address, if for any.
fn refusal(app: &App) -> Option<String> {
    let corps = app.status.iter().flat_map(|status| &status.corps);
    let errors = corps.filter_map(|corp| Some((corp, corp.error.as_ref()?)));
    let mut refused = errors.filter(|(_, error)| error.reason == Reason::IpNotAllowed);
    let (corp, error) = refused.next()?;
    let more = match refused.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = error.message.as_ref();
    let message = message.map_or_else(String::new, |message| format!(": {message}"));
    let namespace = app.namespace().unwrap_or_default();
    Some(format!(
        "app {namespace}/{}: DingTalk refuses the operator's address for corpId {}{more}{message}",
        app.name_any(),
        corp.corp_id
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::verdict::State;
    use super::*;

    fn app(reasons: &[&str]) -> App {
        let corps = reasons.iter().enumerate().map(|(index, reason)| {
            let error = match *reason {
                "" => json!(null),
                reason => json!({"reason": reason, "message": "ip 192.0.2.1", "sinceTime": ""}),
            };
            json!({"corpId": format!("ding{index}"), "secretName": "token", "error": error})
        });
        serde_json::from_value(json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll", "namespace": "hr"}, "spec": {},
            "status": {"corps": corps.collect::<Vec<_>>()},
        }))
        .expect("an app")
    }

    #[test]
    fn each_app_whose_status_reports_a_refused_address_fails() {
        let apps = vec![
            app(&["", "InvalidCredentials"]),
            app(&["", "IpNotAllowed", "IpNotAllowed"]),
        ];
        let verdicts = judge(&Ok(apps));
        assert_eq!(verdicts.len(), 1, "{verdicts:?}");
        assert_eq!(verdicts[0].state, State::Fails);
        assert_eq!(
            verdicts[0].message,
            "app hr/payroll: DingTalk refuses the operator's address for corpId ding1 and 1 more: ip 192.0.2.1"
        );
        assert!(verdicts[0].advice.ends_with("#ipnotallowed"));
        let many = judge(&Ok(vec![app(&["IpNotAllowed"]); 25]));
        assert_eq!(many.len(), 21);
        assert_eq!(many[20].message, "5 more apps");
    }

    #[test]
    fn without_such_a_status_it_is_well_and_without_apps_not_checked() {
        assert_eq!(judge(&Ok(vec![app(&[""])]))[0].state, State::Ok);
        let unlisted = judge(&Err("why".to_owned()));
        assert_eq!(
            (unlisted[0].state, unlisted[0].message.as_str()),
            (State::NotChecked, "why")
        );
    }
}
