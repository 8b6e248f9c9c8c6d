//! `check`: tests an app's credentials from this machine.

mod live;
mod shown;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use zeroize::Zeroizing;

use super::cluster::{ClusterArguments, cluster};
use super::error::{CliError, failed};
use super::exit::verdict;
use super::flags::object_name;
use super::output::{Output, has_colours, print_note, print_question, print_text};
use super::program::Program;
use super::sites::SiteArguments;
use crate::api::DingTalkApp;
use crate::dingtalk::{Client, Credentials};
use live::{Consent, Present, consent, is_yes, present, question};
use shown::{Checked, table};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Name of the DingTalkApp.
    #[arg(value_parser = object_name)]
    name: String,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Test only this corpId of the app. Can be repeated. Default: all corpIds.
    #[arg(long = "corp-id", value_name = "CORP_ID")]
    corp_ids: Vec<String>,
    /// Fetch tokens without confirmation, although DingTalk may revoke valid ones.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    sites: SiteArguments,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn check(
    arguments: CheckArguments,
    program: Program,
) -> Result<ExitCode, CliError> {
    let dingtalk = arguments.sites.client()?;
    let (client, namespace) = cluster(&arguments.cluster).await?;
    let apps: Api<DingTalkApp> = Api::namespaced(client.clone(), &namespace);
    let (name, output) = (&arguments.name, arguments.output);
    let full_name = format!("{namespace}/{name}");
    let reading = failed(format!("cannot read DingTalkApp {full_name}"));
    let app = apps.get(name).await.map_err(reading)?;
    known_site(&dingtalk, &app)?;
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let credentials = credentials(&secrets, &app, &namespace).await?;
    let present = present(&secrets, &app, &arguments.corp_ids).await;
    let unknown = unknown(&arguments.corp_ids, &app);
    if !unknown.is_empty() {
        print_note(&format!(
            "DingTalkApp {full_name} does not have the corpId {}; nothing was fetched",
            unknown.join(", ")
        ));
        output.print_items(&[] as &[Checked], String::new)?;
        return Ok(verdict(false));
    }
    let (program, cluster) = (program.shown(), arguments.cluster.repeated());
    let renew = format!("{program} renew {name} -n {namespace}{cluster}");
    if !may_fetch(&present, arguments.yes, &renew, &full_name)? {
        print_note("nothing was fetched");
        return Ok(ExitCode::FAILURE);
    }
    let fetch = async |token| check_one(&dingtalk, &app.spec.site, token, &credentials).await;
    let all = check_all(&present, fetch, |checked| match output {
        Output::Text => print_text(&checked.line(has_colours())),
        _ => Ok(true),
    })
    .await?;
    output.print_items(&all, || match output {
        Output::Wide => table(&all, has_colours()),
        _ => String::new(),
    })?;
    Ok(verdict(all.iter().all(|checked| checked.ok)))
}

/// Returns the given corpIds that the app does not have.
fn unknown<'a>(given: &'a [String], app: &DingTalkApp) -> Vec<&'a str> {
    let unknown = given.iter().filter(|id| !app.spec.corp_ids.contains(id));
    unknown.map(String::as_str).collect()
}

fn known_site(dingtalk: &Client, app: &DingTalkApp) -> Result<(), CliError> {
    let site = app.spec.site.clone();
    if dingtalk.host(&site).is_some() {
        return Ok(());
    }
    let known = dingtalk.sites().collect::<Vec<_>>().join(", ");
    Err(CliError::UnknownSite { site, known })
}

/// Whether tokens may be fetched although this may revoke valid ones. Asks the user if necessary.
fn may_fetch(
    present: &[Present],
    is_agreed: bool,
    renew: &str,
    app: &str,
) -> Result<bool, CliError> {
    let now = Timestamp::now();
    let live: Vec<&Present> = present.iter().filter(|it| it.is_live(now)).collect();
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    match consent(live.len(), is_agreed, is_terminal) {
        Consent::Given => Ok(true),
        Consent::Ask => {
            print_question(&question(&live, present.len(), renew, now));
            let mut answer = String::new();
            std::io::stdin()
                .read_line(&mut answer)
                .map_err(failed("cannot read the answer"))?;
            Ok(is_yes(&answer))
        }
        Consent::Missing => Err(unconfirmed(&live, app)),
    }
}

/// Returns the error for tokens that a fetch might revoke, while nobody can be asked.
fn unconfirmed(live: &[&Present], app: &str) -> CliError {
    let app = app.to_owned();
    let unread = |it: &&Present| Some((it.secret.clone(), it.value.as_ref().err()?.clone()));
    match live.iter().find_map(unread) {
        Some((secret, why)) => CliError::UnreadTokens { app, secret, why },
        None => CliError::LiveTokens {
            app,
            count: live.len(),
        },
    }
}

async fn credentials(
    secrets: &Api<Secret>,
    app: &DingTalkApp,
    namespace: &str,
) -> Result<Credentials, CliError> {
    let reference = &app.spec.credentials_secret_ref;
    let name = format!("{namespace}/{}", reference.name);
    let reading = failed(format!("cannot read the credentials Secret {name}"));
    let secret = secrets.get(&reference.name).await.map_err(reading)?;
    let data = secret.data.unwrap_or_default();
    let value = |key: &str| data.get(key).map(|value| Zeroizing::new(value.0.clone()));
    Credentials::read(
        &reference.client_id_key,
        &reference.client_secret_key,
        value,
    )
    .map_err(|source| CliError::Credentials {
        secret: name,
        source,
    })
}

/// Fetches and shows one token after the other, until nobody reads the results: each fetch may revoke a token.
async fn check_all<'a>(
    present: &'a [Present],
    fetch: impl AsyncFn(&'a Present) -> Checked,
    show: impl Fn(&Checked) -> Result<bool, CliError>,
) -> Result<Vec<Checked>, CliError> {
    let mut all = Vec::new();
    for token in present {
        let checked = fetch(token).await;
        let is_read = show(&checked)?;
        all.push(checked);
        if !is_read {
            break;
        }
    }
    Ok(all)
}

async fn check_one(
    dingtalk: &Client,
    site: &str,
    token: &Present,
    credentials: &Credentials,
) -> Checked {
    let known = token.token();
    let answer = dingtalk
        .fetch(site, &token.corp_id, credentials, known, false)
        .await;
    let site = (site, dingtalk.host(site).unwrap_or_default());
    Checked::of(site, &token.corp_id, credentials, answer.result, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: an unknown corpId beside a known one was left out, and the command succeeded.
    #[test]
    fn each_corp_id_that_the_app_does_not_have_is_named() {
        let app: DingTalkApp = serde_json::from_value(serde_json::json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": "payroll"},
            "spec": {
                "credentialsSecretRef": {"name": "credentials"}, "site": "china",
                "corpIds": ["ding1", "ding2"],
            },
        }))
        .expect("an app");
        let given = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(unknown(&given(&["ding1", "dnig2"]), &app), ["dnig2"]);
        assert!(unknown(&given(&["ding2"]), &app).is_empty());
        assert!(unknown(&[], &app).is_empty());
    }

    /// Regression: after `check | head -1`, the tokens of all other corpIds were fetched.
    #[tokio::test]
    async fn nothing_is_fetched_once_nobody_reads_the_results() {
        let present = ["ding1", "ding2", "ding3"].map(|corp_id| Present {
            corp_id: corp_id.to_owned(),
            secret: "payroll-token".to_owned(),
            value: Ok(None),
            expires_at: None,
        });
        for (lines, fetched) in [(0, 1), (1, 2), (3, 3)] {
            let shown = std::cell::Cell::new(0);
            let show = |_: &Checked| {
                shown.set(shown.get() + 1);
                Ok(shown.get() <= lines)
            };
            let fetch = async |_: &Present| Checked::default();
            let all = check_all(&present, fetch, show).await.expect("results");
            assert_eq!(all.len(), fetched, "after {lines} lines");
        }
    }

    /// Regression: a Secret that could not be read was taken for one without a token.
    #[test]
    fn without_a_terminal_the_error_says_what_is_unknown() {
        let live = |unread: Option<&str>| Present {
            corp_id: "ding1".to_owned(),
            secret: "payroll-token".to_owned(),
            value: unread.map_or(Ok(None), |why| Err(why.to_owned())),
            expires_at: None,
        };
        let (read, unread) = (live(None), live(Some("you may not")));
        let said = unconfirmed(&[&read, &unread], "hr/payroll").to_string();
        assert!(
            said.contains("Secret payroll-token cannot be read: you may not")
                && said.contains("Add --yes"),
            "{said}"
        );
        let said = unconfirmed(&[&read], "hr/payroll").to_string();
        assert!(said.contains("hr/payroll has valid tokens (1)"), "{said}");
    }
}
