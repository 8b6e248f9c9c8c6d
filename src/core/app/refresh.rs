//! Which pods to notify of a written Secret, when to notify them, and which never see it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::api::{DingTalkApp, Propagation, Reason};
use crate::core::app::notice::Notice;
use crate::core::token::schedule::{Schedule, set_back};

/// Minimum interval between notifications of one app's pods. A thousand corps renew one after the
/// other; whatever is written meanwhile is part of the next notification.
const PACE: Duration = Duration::from_secs(5);
/// Retry interval: nothing reports that a missing role has been granted.
const RETRY: Duration = Duration::from_secs(300);
/// Pods named in a note; the rest are counted.
const NAMED_MAX: usize = 8;

/// Secrets whose readers are still to be notified.
#[derive(Debug, Default)]
pub(crate) struct Unrefreshed {
    secrets: BTreeSet<String>,
    /// When pods were last notified, or could not be for a reason that may pass.
    tried_at: Option<Timestamp>,
    retry: Option<Schedule>,
    stuck: BTreeSet<String>,
}

/// Whether to notify pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// There is nothing to notify them of.
    Nothing,
    /// At this time.
    Later(Timestamp),
    /// Now, of these Secrets.
    Now(BTreeSet<String>),
}

impl Unrefreshed {
    /// Records a written Secret.
    pub(crate) fn wrote(&mut self, secret: &str) {
        self.secrets.insert(secret.to_owned());
    }

    /// Moves the times along with a clock that was set back by this much.
    pub(crate) fn set_back(&mut self, by: SignedDuration) {
        if let Some(retry) = &mut self.retry {
            retry.set_back(by);
        }
        self.tried_at = self.tried_at.map(|at| set_back(at, by));
    }

    /// Adjusts the times to a clock that was set back. Must be called before any decision.
    pub(crate) fn notice_clock(&mut self, now: Timestamp) {
        if let Some(retry) = &mut self.retry {
            retry.notice_clock(now);
        }
        self.tried_at = self.tried_at.filter(|at| *at <= now);
    }

    /// Returns what to do now.
    pub(crate) fn step(&self, now: Timestamp) -> Refresh {
        if self.secrets.is_empty() {
            return Refresh::Nothing;
        }
        let paced_at = self.tried_at.map(|at| Schedule::after(at, PACE).at);
        match self.retry.map(|retry| retry.at).max(paced_at) {
            Some(at) if at > now => Refresh::Later(at),
            _ => Refresh::Now(self.secrets.clone()),
        }
    }

    /// Records that the readers of these Secrets were notified. Returns an event if pods that were
    /// not reported before are stuck with the values they started with, of any of the app's Secrets.
    pub(crate) fn told(
        &mut self,
        secrets: &BTreeSet<String>,
        stuck: BTreeSet<String>,
        now: Timestamp,
    ) -> Option<Notice> {
        self.secrets.retain(|secret| !secrets.contains(secret));
        self.tried_at = Some(now);
        self.retry = None;
        let is_news = !stuck.is_subset(&self.stuck);
        self.stuck = stuck;
        is_news.then(|| stuck_notice(&self.stuck))
    }

    /// Records that notifying failed for a reason that may pass. It is retried at the usual pace.
    pub(crate) fn put_off(&mut self, now: Timestamp) {
        self.tried_at = Some(now);
    }

    /// Records that notifying is not allowed. Returns when to retry, and an event for the first failure.
    pub(crate) fn failed(&mut self, said: &str, now: Timestamp) -> (Timestamp, Option<Notice>) {
        let retry = Schedule::after(now, RETRY);
        let is_news = self.retry.replace(retry).is_none();
        let note = format!(
            "pods could not be notified of the new token, so it may take 90 s to reach their files: {said}; \
             grant the operator the role in deploy/opt-in/immediate-propagation.yaml in this namespace, or set \
             spec.target.propagation to Periodic"
        );
        let failed = || Notice::warning(Reason::PropagationFailed, "Propagate", &note);
        (retry.at, is_news.then(failed))
    }
}

fn stuck_notice(pods: &BTreeSet<String>) -> Notice {
    let mut named = pods.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>();
    if let Some(more) = pods.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        named.push(format!("{more} more"));
    }
    let note = format!(
        "these pods never receive a renewed token, because they use the Secret through subPath or environment \
         variables: {}; mount it as a directory, or name their workload in spec.rolloutRestartTargets",
        named.join(", ")
    );
    Notice::warning(Reason::PodsNeverUpdated, "Propagate", &note)
}

/// How the pods of a namespace use an app's Secrets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Readers {
    /// UIDs, by name, of the pods that mount one that was written as a directory.
    pub mounting: BTreeMap<String, String>,
    /// The pods that keep the values they started with, of any.
    pub stuck: BTreeSet<String>,
}

/// Whether the app wants its pods notified.
pub(crate) fn refreshes_pods(app: &DingTalkApp) -> bool {
    app.spec.target.propagation == Propagation::Immediate
}

impl Readers {
    /// Adds those of `pods` that mount one of the `written` Secrets, or are stuck with `any` of the
    /// app's; pods that have ended do not count.
    pub(crate) fn look_at<'a>(
        &mut self,
        pods: impl IntoIterator<Item = &'a Pod>,
        written: &BTreeSet<String>,
        any: &BTreeSet<String>,
    ) {
        for pod in pods {
            let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
            let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
            let Some(spec) = pod.spec.as_ref().filter(|_| !has_ended) else {
                continue;
            };
            let name = pod.metadata.name.clone().unwrap_or_default();
            let init = spec.init_containers.iter().flatten();
            let mut containers = spec.containers.iter().chain(init);
            let volumes = volumes_of(spec, written);
            let mut mounts = containers.clone().flat_map(|it| mounts(it, &volumes));
            if mounts.any(|mount| mount == Mount::Directory) {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                self.mounting.insert(name.clone(), uid);
            }
            let volumes = volumes_of(spec, any);
            if containers.any(|container| is_stuck(container, &volumes, any)) {
                self.stuck.insert(name);
            }
        }
    }
}

/// Returns the pod's volumes that hold one of the Secrets.
fn volumes_of<'a>(spec: &'a PodSpec, secrets: &BTreeSet<String>) -> BTreeSet<&'a str> {
    let volumes = spec.volumes.iter().flatten();
    let holding = volumes.filter(|volume| {
        let direct = volume
            .secret
            .as_ref()
            .and_then(|it| it.secret_name.as_ref());
        let sources = volume
            .projected
            .iter()
            .flat_map(|it| it.sources.iter().flatten());
        let projected = sources.filter_map(|source| Some(&source.secret.as_ref()?.name));
        direct
            .into_iter()
            .chain(projected)
            .any(|name| secrets.contains(name))
    });
    holding.map(|volume| volume.name.as_str()).collect()
}

/// How a container mounts a volume.
#[derive(PartialEq, Eq)]
enum Mount {
    Directory,
    SubPath,
}

/// Returns how a container mounts these volumes.
fn mounts(container: &Container, volumes: &BTreeSet<&str>) -> impl Iterator<Item = Mount> {
    let mounts = container.volume_mounts.iter().flatten();
    let mounts = mounts.filter(|mount| volumes.contains(mount.name.as_str()));
    mounts.map(|mount| match (&mount.sub_path, &mount.sub_path_expr) {
        (None, None) => Mount::Directory,
        _ => Mount::SubPath,
    })
}

fn is_stuck(container: &Container, volumes: &BTreeSet<&str>, secrets: &BTreeSet<String>) -> bool {
    let variables = container.env.iter().flatten();
    let variables =
        variables.filter_map(|it| Some(&it.value_from.as_ref()?.secret_key_ref.as_ref()?.name));
    let sources = container.env_from.iter().flatten();
    let sources = sources.filter_map(|source| Some(&source.secret_ref.as_ref()?.name));
    mounts(container, volumes).any(|mount| mount == Mount::SubPath)
        || variables.chain(sources).any(|name| secrets.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, spec: &serde_json::Value) -> Pod {
        let pod = json!({"metadata": {"name": name, "uid": format!("uid-{name}")}, "spec": spec});
        serde_json::from_value(pod).expect("a pod")
    }

    fn secrets(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_directory_follows_and_the_rest_is_stuck() {
        let volume = json!([{"name": "token", "secret": {"secretName": "t"}}]);
        let projected =
            json!([{"name": "token", "projected": {"sources": [{"secret": {"name": "t"}}]}}]);
        let mount = |more: serde_json::Value| {
            let mut mount = json!({"name": "token", "mountPath": "/token"});
            for (key, value) in more.as_object().expect("an object") {
                mount[key] = value.clone();
            }
            json!([{"name": "c", "volumeMounts": [mount]}])
        };
        let variable = json!([{"name": "c", "env": [{"name": "T", "valueFrom":
            {"secretKeyRef": {"name": "t", "key": "access_token"}}}]}]);
        let all = json!([{"name": "c", "envFrom": [{"secretRef": {"name": "t"}}]}]);
        let plain = json!([{"name": "c"}]);
        let mut ended = pod(
            "ended",
            &json!({"volumes": volume, "containers": mount(json!({}))}),
        );
        ended.status = serde_json::from_value(json!({"phase": "Succeeded"})).expect("a status");
        let pods = vec![
            pod(
                "directory",
                &json!({"volumes": volume, "containers": mount(json!({}))}),
            ),
            pod(
                "projected",
                &json!({"volumes": projected, "containers": mount(json!({}))}),
            ),
            pod(
                "init",
                &json!({"volumes": volume, "containers": plain, "initContainers": mount(json!({}))}),
            ),
            pod(
                "sub-path",
                &json!({"volumes": volume, "containers": mount(json!({"subPath": "access_token"}))}),
            ),
            pod(
                "sub-path-expr",
                &json!({"volumes": volume, "containers": mount(json!({"subPathExpr": "$(KEY)"}))}),
            ),
            pod("variable", &json!({"containers": variable})),
            pod("variables", &json!({"containers": all})),
            pod(
                "unmounted",
                &json!({"volumes": volume, "containers": plain}),
            ),
            pod(
                "other",
                &json!({"volumes": [{"name": "token", "secret": {"secretName": "u"}}], "containers": mount(json!({}))}),
            ),
            ended,
        ];
        let mut found = Readers::default();
        for page in pods.chunks(3) {
            found.look_at(page, &secrets(&["t"]), &secrets(&["t"]));
        }
        let mounting: Vec<&str> = found.mounting.keys().map(String::as_str).collect();
        assert_eq!(mounting, ["directory", "init", "projected"]);
        assert_eq!(found.mounting["init"], "uid-init");
        let stuck = ["sub-path", "sub-path-expr", "variable", "variables"];
        assert_eq!(found.stuck, secrets(&stuck));
        let mut found = Readers::default();
        found.look_at(&pods, &secrets(&["u"]), &secrets(&["t", "u"]));
        let mounting: Vec<&str> = found.mounting.keys().map(String::as_str).collect();
        assert_eq!(mounting, ["other"]);
        assert_eq!(found.stuck, secrets(&stuck));
    }

    #[test]
    fn readers_are_told_at_once_then_paced_and_the_stuck_are_named_once() {
        let mut unrefreshed = Unrefreshed::default();
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert_eq!(unrefreshed.step(at(0)), Refresh::Nothing);
        unrefreshed.wrote("a");
        let told = secrets(&["a"]);
        assert_eq!(unrefreshed.step(at(0)), Refresh::Now(told.clone()));
        let notice = unrefreshed.told(&told, secrets(&["p"]), at(0));
        assert!(
            notice
                .expect("news")
                .note
                .contains("environment variables: p;")
        );
        assert_eq!(unrefreshed.step(at(0)), Refresh::Nothing);
        unrefreshed.wrote("b");
        unrefreshed.wrote("c");
        assert_eq!(unrefreshed.step(at(1)), Refresh::Later(at(5)));
        let told = secrets(&["b", "c"]);
        assert_eq!(unrefreshed.step(at(5)), Refresh::Now(told.clone()));
        // Written during the notification.
        unrefreshed.wrote("d");
        assert_eq!(unrefreshed.told(&told, secrets(&["p"]), at(6)), None);
        assert_eq!(unrefreshed.step(at(11)), Refresh::Now(secrets(&["d"])));
    }

    #[test]
    fn a_missing_role_is_said_once_and_tried_again() {
        let mut unrefreshed = Unrefreshed::default();
        let at = |second| Timestamp::from_second(second).expect("a time");
        unrefreshed.wrote("a");
        let (retry, said) = unrefreshed.failed("pods is forbidden", at(0));
        assert_eq!(retry, at(300));
        assert!(
            said.expect("news")
                .note
                .contains("deploy/opt-in/immediate-propagation.yaml")
        );
        assert_eq!(unrefreshed.step(at(299)), Refresh::Later(at(300)));
        assert!(unrefreshed.failed("pods is forbidden", at(300)).1.is_none());
    }

    #[test]
    fn what_fails_is_tried_again_at_the_usual_pace() {
        let mut unrefreshed = Unrefreshed::default();
        let at = |second| Timestamp::from_second(second).expect("a time");
        unrefreshed.wrote("a");
        unrefreshed.put_off(at(0));
        assert_eq!(unrefreshed.step(at(4)), Refresh::Later(at(5)));
        assert_eq!(unrefreshed.step(at(5)), Refresh::Now(secrets(&["a"])));
    }

    #[test]
    fn many_pods_are_counted() {
        let pods: BTreeSet<String> = (0..100)
            .map(|n| format!("{n:03}{}", "p".repeat(250)))
            .collect();
        let notice = stuck_notice(&pods);
        assert!(notice.note.len() <= 1024);
        let few: BTreeSet<String> = (0..10).map(|n| format!("p{n}")).collect();
        assert!(stuck_notice(&few).note.contains("p7, 2 more;"));
    }

    #[test]
    fn a_clock_that_is_set_back_puts_off_no_notice() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut unrefreshed = Unrefreshed::default();
        unrefreshed.told(&secrets(&[]), secrets(&[]), at(1000));
        unrefreshed.wrote("a");
        unrefreshed.notice_clock(at(1000));
        assert!(matches!(unrefreshed.step(at(1000)), Refresh::Later(_)));
        unrefreshed.notice_clock(at(999));
        assert_eq!(unrefreshed.step(at(999)), Refresh::Now(secrets(&["a"])));
    }

    #[test]
    fn the_pace_of_notices_moves_along_with_a_clock_that_is_set_back() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let by = SignedDuration::from_secs(900);
        let mut unrefreshed = Unrefreshed::default();
        unrefreshed.wrote("a");
        unrefreshed.put_off(at(1000));
        unrefreshed.set_back(by);
        assert_eq!(unrefreshed.step(at(100)), Refresh::Later(at(105)));
        unrefreshed.failed("pods is forbidden", at(1000));
        unrefreshed.set_back(by);
        assert_eq!(unrefreshed.step(at(100)), Refresh::Later(at(400)));
    }
}
