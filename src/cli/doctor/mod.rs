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
use kube::{Client as Cluster, ResourceExt};

use super::apps::{App, Scope};
use super::cluster::ClusterArguments;
use super::error::CliError;
use super::exit::verdict;
use super::output::{Output, Tone, has_colours, plain, print_text};
use super::sites::SiteArguments;
use crate::api::MANAGER;
use rights::{Account, FOR_THE_ELECTION, IN_NAMESPACE, RightsFacts};
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
    #[arg(long, value_name = "NAMESPACE", default_value = MANAGER)]
    operator_namespace: String,
    /// Name of the operator's Lease, as in the operator's flag of the same name.
    #[arg(long, value_name = "NAME", default_value = MANAGER)]
    leader_elect_resource_name: String,
    #[command(flatten)]
    sites: SiteArguments,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Checks the sites and the cluster, and shows the verdicts.
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
        Err(why) => {
            verdicts.push(Unread::Unavailable(why.to_string()).verdict("cluster", ""));
        }
    }
    if arguments.output.is_for_people() {
        let has_colours = has_colours();
        let shown: String = verdicts.iter().map(|it| lines(it, has_colours)).collect();
        print_text(&shown)?;
    } else {
        arguments.output.print_items(&verdicts)?;
    }
    Ok(verdict(
        verdicts.iter().all(|verdict| verdict.state != State::Fails),
    ))
}

/// Returns the verdicts on the installation.
async fn installed(arguments: &DoctorArguments, client: &Cluster, default: String) -> Vec<Verdict> {
    let operators = arguments.operator_namespace.as_str();
    let definitions = read::definitions_of(client).await;
    let mut verdicts: Vec<Verdict> = definitions.iter().map(cluster::definition).collect();
    let (deployed, account) = match read::deployments(client, operators).await {
        Ok((deployed, account)) => (Ok(deployed), account),
        Err(unread) => (Err(unread), None),
    };
    verdicts.extend(cluster::deployments(&deployed, operators));
    let led = read::lease(client, operators, &arguments.leader_elect_resource_name).await;
    verdicts.push(cluster::lease(&led, Timestamp::now()));
    let own = read::own_name(client).await.unwrap_or_default();
    let of_operators = format!("system:serviceaccount:{operators}:");
    let account = match own.starts_with(&of_operators) {
        true => Account::Own(own),
        false => Account::Other {
            namespace: operators.to_owned(),
            is_assumed: account.is_none(),
            name: account.unwrap_or_else(|| MANAGER.to_owned()),
        },
    };
    let lease = arguments.leader_elect_resource_name.as_str();
    let election = RightsFacts {
        lacking: read::lacking(client, &account, operators, &FOR_THE_ELECTION, lease).await,
        namespace: operators.to_owned(),
        account: &account,
    };
    let manifest = "the Role and RoleBinding in deploy/base/leader-election.yaml";
    verdicts.push(rights::judge(&election, "rights to lead", manifest));
    let apps = apps(arguments, client, default).await;
    verdicts.extend(served(arguments, client, &account, &apps).await);
    verdicts.extend(allow_list::judge(&apps));
    verdicts
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
            return vec![Verdict::not_checked(
                subject,
                why,
                "specify a namespace with -n",
            )];
        }
    };
    let mut verdicts = Vec::new();
    for namespace in namespaces.iter().take(NAMESPACES_MAX) {
        let facts = RightsFacts {
            lacking: read::lacking(client, account, namespace, &IN_NAMESPACE, namespace).await,
            namespace: namespace.clone(),
            account,
        };
        let manifest =
            "deploy/rbac-namespaced in that namespace, or deploy/install.yaml for all of them";
        verdicts.push(rights::judge(
            &facts,
            &format!("{subject} {namespace}"),
            manifest,
        ));
    }
    if namespaces.len() > NAMESPACES_MAX {
        let why = format!(
            "{} more namespaces have apps",
            namespaces.len() - NAMESPACES_MAX
        );
        verdicts.push(Verdict::not_checked(
            subject,
            why,
            "check each of them with -n",
        ));
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
    if let Some(namespace) = &arguments.cluster.namespace {
        let listed = read::apps(client, &Scope::Namespace(namespace.clone())).await;
        return listed.map_err(|unread| unlisted(&unread));
    }
    match read::apps(client, &Scope::All).await {
        Ok(apps) => return some(apps, "no namespace has a DingTalkApp".to_owned()),
        Err(Unread::Forbidden) => {}
        Err(unread) => return Err(unlisted(&unread)),
    }
    let all = "you are not allowed to list DingTalkApps in all namespaces";
    match read::apps(client, &Scope::Namespace(default.clone())).await {
        Ok(apps) => some(apps, format!("{all}, and {default} has none")),
        Err(Unread::Forbidden) => Err(format!("{all}, nor in {default}")),
        Err(unread) => Err(unlisted(&unread)),
    }
}

/// Says why DingTalkApps were not listed.
fn unlisted(unread: &Unread) -> String {
    match unread {
        Unread::Missing => "the CRD of DingTalkApps is not installed".to_owned(),
        Unread::Forbidden => "you are not allowed to list DingTalkApps".to_owned(),
        Unread::Unavailable(why) => format!("DingTalkApps cannot be listed: {why}"),
    }
}

/// Returns the apps, or `why` there are none.
fn some(apps: Vec<App>, why: String) -> Result<Vec<App>, String> {
    match apps.is_empty() {
        true => Err(why),
        false => Ok(apps),
    }
}

fn lines(verdict: &Verdict, has_colours: bool) -> String {
    let (word, tone) = match verdict.state {
        State::Ok => ("ok", Tone::Good),
        State::Warn => ("warn", Tone::Bad),
        State::Fails => ("fails", Tone::Bad),
        State::NotChecked => ("not checked", Tone::Plain),
    };
    let word = tone.paint(&format!("{word:13}"), has_colours);
    let said = plain(&format!("{}: {}", verdict.subject, verdict.message));
    match verdict.advice.is_empty() {
        true => format!("{word}{said}\n"),
        false => format!("{word}{said}\n{:13}{}\n", "", verdict.advice),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

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
