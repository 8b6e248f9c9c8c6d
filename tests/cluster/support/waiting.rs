//! Waiting for the operator.

use std::time::Duration;

use dingtalk_token_operator::api::DingTalkApp;
use jiff::Timestamp;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersion;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Sandbox;
use super::objects::condition;
use super::requests::MARKER;

/// Longer than anything takes on a slow machine, since no test may depend on the machine's speed.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Calls `look` at this interval until it returns something, and at least once.
pub async fn within<T>(
    patience: Duration,
    every: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let seen = look().await;
        if seen.is_some() || Instant::now() > deadline {
            return seen;
        }
        sleep(every).await;
    }
}

/// Waits until the clock shows a later second: creation times, and those that the operator keeps, are in seconds.
pub async fn until_next_second() {
    let now = Timestamp::now().as_second();
    let is_later = async || (Timestamp::now().as_second() > now).then_some(());
    let shown = within(PATIENCE, Duration::from_millis(20), is_later).await;
    shown.expect("a clock that runs");
}

impl Sandbox {
    /// Waits until `seen` returns something for the app.
    pub async fn until<T>(
        &self,
        what: &str,
        name: &str,
        seen: impl Fn(&DingTalkApp) -> Option<T>,
    ) -> T {
        let app = async || self.api::<DingTalkApp>().get_opt(name).await.ok().flatten();
        self.eventually(what, async || app().await.as_ref().and_then(&seen))
            .await
    }

    /// Waits until `look` returns something. Panics with the statuses and logs if that takes too long.
    pub async fn eventually<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        self.patiently(PATIENCE.as_secs(), what, look).await
    }

    /// Waits until the operator has listed all objects.
    pub async fn until_watching(&self) {
        self.eventually("the watches", async || {
            let (status, _) = self.operator.as_ref()?.health("/readyz").await?;
            (status == 200).then_some(())
        })
        .await;
    }

    /// Waits until the operator has processed an app that is created now. By then, however slow it is, it has begun
    /// everything that earlier changes require at once, so a test can check that nothing happened.
    pub async fn until_caught_up(&self) {
        self.until_caught_up_in("dingtalk-token-operator.github.io/v1alpha1")
            .await;
    }

    /// Like [`Self::until_caught_up`], with an app of this version of the API.
    pub async fn until_caught_up_in(&self, api_version: &str) {
        let version: GroupVersion = api_version.parse().expect("a version");
        let kind = version.with_kind("DingTalkApp");
        let kind = ApiResource::from_gvk_with_plural(&kind, "dingtalkapps");
        let apps: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        let name = format!("{MARKER}{:06x}", rand::random::<u32>() & 0xff_ffff);
        let spec = json!({
            "credentialsSecretRef": {"name": format!("{name}-credentials")}, "site": "global",
            "corpIds": ["ding1"], "suspend": true,
        });
        let marker = DynamicObject::new(&name, &kind).data(json!({"spec": spec}));
        let created = apps.create(&PostParams::default(), &marker).await;
        created.expect("a marker");
        self.eventually("a marker's status", async || {
            self.has_written_status(&name).then_some(())
        })
        .await;
        apps.delete(&name, &DeleteParams::default())
            .await
            .expect("deleted");
    }

    /// Like [`Self::eventually`], for this many seconds.
    pub async fn patiently<T>(
        &self,
        seconds: u64,
        what: &str,
        look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let every = Duration::from_millis(100);
        match within(Duration::from_secs(seconds), every, look).await {
            Some(seen) => seen,
            None => panic!(
                "not seen: {what}\n{}\n{}",
                self.statuses().await,
                self.logs()
            ),
        }
    }

    /// Returns the statuses for a panic's message. They are cut, since the evidence has all of them.
    async fn statuses(&self) -> String {
        let apps = self.api::<DingTalkApp>().list(&Default::default()).await;
        let apps = apps.into_iter().flatten();
        let statuses: Vec<_> = apps.map(|app| (app.name_any(), app.status)).collect();
        format!("{statuses:#?}").chars().take(20_000).collect()
    }

    pub async fn until_ready(&self, name: &str) {
        self.until("Ready", name, |app| {
            condition(app, "Ready", "True").map(drop)
        })
        .await;
    }

    /// Waits until the last attempt failed with `reason`. Returns the condition's message.
    pub async fn until_failing(&self, name: &str, reason: &str) -> String {
        self.until(reason, name, |app| {
            let renewed = condition(app, "Renewed", "False")?;
            (renewed.0 == reason).then_some(renewed.1)
        })
        .await
    }

    /// Waits until the last attempt succeeded.
    pub async fn until_renewed(&self, name: &str) {
        self.until("Renewed", name, |app| {
            condition(app, "Renewed", "True").map(drop)
        })
        .await;
        self.until_ready(name).await;
    }

    pub async fn until_event(&self, reason: &str) -> Vec<String> {
        self.eventually(reason, async || {
            let events = self.events(reason).await;
            (!events.is_empty()).then_some(events)
        })
        .await
    }
}
