//! `doctor`: diagnoses the connection to the sites and the installation in the cluster.

mod allow_list;
mod cluster;
mod reach;
mod read;
mod rights;
mod sites;
mod verdict;

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use hyper_util::client::proxy::matcher::Matcher;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Client as Cluster, ResourceExt};

use super::apps::{App, Scope};
use super::cluster::ClusterArguments;
use super::error::CliError;
use super::exit::verdict;
use super::flags::{namespace, object_name};
use super::output::{Output, Tone, has_colours};
use super::sites::SiteArguments;
use crate::api::MANAGER;
use crate::dingtalk::visible;
use rights::{Account, FOR_THE_ELECTION, IN_NAMESPACE, Need, Source};
use verdict::{State, Unread, Verdict};

/// Maximum number of namespaces in which rights are checked.
const NAMESPACES_MAX: usize = 20;

#[derive(Debug, Args)]
#[command(mut_arg("namespace", |it| it.help("Namespace of the apps. Default: all namespaces with apps, or that of \
    the context if you cannot list all of them")))]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Namespace of the operator.
    #[arg(long, value_name = "NAMESPACE", default_value = MANAGER, value_parser = namespace)]
    operator_namespace: String,
    /// Name of the operator's Lease, as in the operator's flag of the same name.
    #[arg(long, value_name = "NAME", default_value = MANAGER, value_parser = object_name)]
    leader_elect_resource_name: String,
    #[command(flatten)]
    sites: SiteArguments,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn doctor(arguments: DoctorArguments) -> Result<ExitCode, CliError> {
    let sites = arguments.sites.sites()?;
    let dingtalk = arguments.sites.client()?;
    let cluster = match super::cluster::cluster(&arguments.cluster).await {
        Err(error @ CliError::NamedKubeconfig(_)) => return Err(error),
        cluster => cluster,
    };
    let mut verdicts = Vec::new();
    let proxies = Matcher::from_env();
    let looks = sites
        .iter()
        .map(|site| reach::look(site, &dingtalk, &proxies));
    for facts in futures::future::join_all(looks).await {
        verdicts.extend(sites::judge(&facts));
    }
    match cluster {
        Ok((cluster, namespace)) => {
            verdicts.extend(installed(&arguments, &cluster, namespace).await);
        }
        Err(why) => verdicts.push(Verdict::not_checked("cluster", why.to_string(), "")),
    }
    let has_colours = has_colours();
    arguments.output.print_items(&verdicts, || {
        verdicts.iter().map(|it| lines(it, has_colours)).collect()
    })?;
    Ok(verdict(verdicts.iter().all(|it| it.state != State::Fails)))
}

async fn installed(arguments: &DoctorArguments, client: &Cluster, default: String) -> Vec<Verdict> {
    if let Err(unread) = read::reach(client).await
        && unread.is_of_all()
    {
        return vec![unread.verdict("cluster", "")];
    }
    let operators = arguments.operator_namespace.as_str();
    let lease = arguments.leader_elect_resource_name.as_str();
    let definitions = read::definitions_of(client).await.into_iter();
    let definitions = definitions.map(|(kind, schemas)| cluster::definition(&kind, schemas));
    let mut verdicts: Vec<Verdict> = definitions.collect();
    let deployments = read::deployments(client, operators).await;
    verdicts.extend(cluster::deployments(&deployments, operators));
    let led = read::lease(client, operators, lease).await;
    verdicts.push(cluster::lease(led, Timestamp::now()));
    let account = account(client, operators, deployments.unwrap_or_default().first()).await;
    let election = Need {
        subject: "rights to lead",
        namespace: operators,
        rights: &FOR_THE_ELECTION,
        object: lease,
        manifest: "the Role and RoleBinding in deploy/base/leader-election.yaml",
    };
    verdicts.push(rights(client, &account, &election).await);
    let apps = apps(arguments, client, default).await;
    verdicts.extend(served(arguments, client, &account, &apps).await);
    verdicts.extend(allow_list::judge(&apps));
    verdicts
}

/// Returns the operator's account: that of the caller if it is one of the operator's namespace, or the Deployment's.
async fn account(client: &Cluster, operators: &str, deployment: Option<&Deployment>) -> Account {
    let caller = read::own_name(client).await.unwrap_or_default();
    account_of(&caller, operators, deployment)
}

fn account_of(caller: &str, operators: &str, deployment: Option<&Deployment>) -> Account {
    let own = caller.strip_prefix(&format!("system:serviceaccount:{operators}:"));
    let (name, source) = match (own, deployment) {
        (Some(own), _) => (own, Source::Caller),
        (None, Some(deployment)) => (cluster::account_name(deployment), Source::Deployment),
        (None, None) => (MANAGER, Source::Assumed),
    };
    Account {
        namespace: operators.to_owned(),
        name: name.to_owned(),
        source,
    }
}

async fn rights(client: &Cluster, account: &Account, need: &Need<'_>) -> Verdict {
    rights::judge(need, account, read::lacking(client, account, need).await)
}

/// Returns the verdicts on the operator's rights in namespaces with apps.
async fn served(
    arguments: &DoctorArguments,
    client: &Cluster,
    account: &Account,
    apps: &Result<Vec<App>, String>,
) -> Vec<Verdict> {
    let subject = "rights to serve";
    let namespaces: BTreeSet<String> = match (&arguments.cluster.namespace, apps) {
        (Some(namespace), _) => BTreeSet::from([namespace.clone()]),
        (None, Ok(apps)) => apps.iter().filter_map(ResourceExt::namespace).collect(),
        (None, Err(why)) => {
            let advice = "specify a namespace with -n";
            return vec![Verdict::not_checked(subject, why, advice)];
        }
    };
    let mut verdicts = Vec::new();
    for namespace in namespaces.iter().take(NAMESPACES_MAX) {
        let need = Need {
            subject: &format!("{subject} {namespace}"),
            namespace,
            rights: &IN_NAMESPACE,
            object: namespace,
            manifest: "deploy/rbac-namespaced in that namespace, or deploy/install.yaml for all of them",
        };
        verdicts.push(rights(client, account, &need).await);
    }
    let more = namespaces.len().saturating_sub(NAMESPACES_MAX);
    if more > 0 {
        let why = format!("{more} more namespaces have apps");
        let advice = "check each of them with -n";
        verdicts.push(Verdict::not_checked(subject, why, advice));
    }
    verdicts
}

/// Returns all apps, those of `-n`, or those of the context's namespace if not all can be listed. The error says why
/// there are none.
async fn apps(
    arguments: &DoctorArguments,
    client: &Cluster,
    default: String,
) -> Result<Vec<App>, String> {
    let in_namespace = |name: &String| Scope::Namespace(name.clone());
    if let Some(namespace) = &arguments.cluster.namespace {
        let listed = read::apps(client, &in_namespace(namespace)).await;
        return listed.map_err(|unread| unlisted(&unread));
    }
    let mut none = "no namespace has a DingTalkApp".to_owned();
    let mut listed = read::apps(client, &Scope::All).await;
    if let Err(Unread::Forbidden) = listed {
        let all = "you are not allowed to list DingTalkApps in all namespaces";
        none = format!("{all}, and {default} has none");
        listed = read::apps(client, &in_namespace(&default)).await;
        if let Err(Unread::Forbidden) = listed {
            return Err(format!("{all}, nor in {default}"));
        }
    }
    match listed {
        Ok(apps) if apps.is_empty() => Err(none),
        listed => listed.map_err(|unread| unlisted(&unread)),
    }
}

fn unlisted(unread: &Unread) -> String {
    match unread {
        Unread::Missing => "the CRD of DingTalkApps is not installed".to_owned(),
        Unread::Forbidden => "you are not allowed to list DingTalkApps".to_owned(),
        Unread::Answered { why, .. } | Unread::Unusable { why, .. } | Unread::Unavailable(why) => {
            format!("DingTalkApps cannot be listed: {why}")
        }
    }
}

fn lines(verdict: &Verdict, has_colours: bool) -> String {
    let (word, tone) = match verdict.state {
        State::Ok => ("ok", Tone::Good),
        State::Warn => ("warn", Tone::Doubtful),
        State::Fails => ("fails", Tone::Bad),
        State::NotChecked => ("not checked", Tone::Plain),
    };
    let word = tone.paint(&format!("{word:13}"), has_colours);
    let said = visible(&format!("{}: {}", verdict.subject, verdict.message));
    match verdict.advice.is_empty() {
        true => format!("{word}{said}\n"),
        false => format!("{word}{said}\n{:13}{}\n", "", verdict.advice),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use clap::Parser;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// Regression: whatever failed was said to be a missing right.
    #[test]
    fn why_apps_were_not_listed_is_said() {
        let unavailable = Unread::Unavailable("timed out".to_owned());
        for (unread, said) in [
            (Unread::Missing, "CRD"),
            (Unread::Forbidden, "not allowed"),
            (unavailable, "timed out"),
        ] {
            assert!(unlisted(&unread).contains(said), "{unread:?}");
        }
    }

    /// Regression: the account of a Deployment that names none was assumed to be another.
    #[test]
    fn the_account_is_the_callers_the_deployments_or_assumed() {
        let account = |caller: &str, deployment| {
            let account = account_of(caller, "ns", deployment);
            (account.name, account.source)
        };
        let deployment = Deployment::default();
        let caller = "system:serviceaccount:ns:mine";
        let mine = ("mine".to_owned(), Source::Caller);
        assert_eq!(account(caller, Some(&deployment)), mine);
        let default = ("default".to_owned(), Source::Deployment);
        assert_eq!(account("jane", Some(&deployment)), default);
        let elsewhere = "system:serviceaccount:other:mine";
        let assumed = (MANAGER.to_owned(), Source::Assumed);
        assert_eq!(account(elsewhere, None), assumed);
    }

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        doctor: DoctorArguments,
    }

    #[tokio::test]
    async fn a_kubeconfig_that_was_named_and_is_missing_is_an_error() {
        let flags = Flags::try_parse_from(["x", "--kubeconfig", "/no/such/file"]).expect("flags");
        let error = doctor(flags.doctor).await.expect_err("no such file");
        assert!(error.to_string().contains("/no/such/file"), "{error}");
    }

    /// Regression: an API server that did not answer was asked nine times, for ten seconds each.
    #[tokio::test]
    async fn a_cluster_that_cannot_be_asked_is_asked_once() {
        let flags = Flags::try_parse_from(["x"]).expect("flags");
        for (code, asked) in [(401_u16, true), (500, false)] {
            let requests = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&requests);
            let server = tower::service_fn(move |_: Request<Body>| {
                counted.fetch_add(1, Ordering::Relaxed);
                let body = json!({"status": "Failure", "message": "no", "code": code});
                let body = Body::from(body.to_string().into_bytes());
                async move { Response::builder().status(code).body(body) }
            });
            let client = Cluster::new(server, "hr");
            let verdicts = installed(&flags.doctor, &client, "hr".to_owned()).await;
            let is_once = requests.load(Ordering::Relaxed) == 1;
            assert_eq!(
                (verdicts.len() == 1, is_once),
                (asked, asked),
                "{verdicts:?}"
            );
            assert_eq!(verdicts[0].state, State::NotChecked, "{verdicts:?}");
        }
    }

    #[test]
    fn advice_has_a_line_of_its_own_and_colours_are_for_terminals() {
        let verdict = Verdict::fails("site china, DNS", "no such\x1b name", "check it");
        assert_eq!(
            lines(&verdict, false),
            "fails        site china, DNS: no such  name\n             check it\n"
        );
        let verdict = Verdict::ok("leader", "pod-1");
        assert_eq!(
            lines(&verdict, true),
            "\x1b[32mok           \x1b[0mleader: pod-1\n"
        );
    }
}
