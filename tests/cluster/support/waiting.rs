//! Waiting for what the operator does.

use std::time::Duration;

use dingtalk_token_operator::api::DingTalkApp;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Sandbox;
use super::objects::condition;
use super::requests::MARKER;

/// Longer than anything takes on a slow machine; no test depends on how fast it is.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Looks until there is something, at least once, and every so often.
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

impl Sandbox {
    /// Waits until `seen` gives something of the app.
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

    /// Looks until there is something; panics with what is known where it takes too long.
    pub async fn eventually<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        self.patiently(PATIENCE.as_secs(), what, look).await
    }

    /// Waits until the operator knows its Secrets.
    pub async fn until_watching(&self) {
        self.eventually("the watches", async || {
            let (status, _) = self.operator.as_ref()?.health("/readyz").await?;
            (status == 200).then_some(())
        })
        .await;
    }

    /// Waits until the operator has dealt with an app that is created now. What it wants to do at once because
    /// of earlier changes, it has begun by then, however slow it is: nothing is as good as seen.
    pub async fn until_caught_up(&self) {
        let name = format!("{MARKER}{:06x}", rand::random::<u32>() & 0xff_ffff);
        self.app_with(&name, json!({"corpIds": ["ding1"], "suspend": true}))
            .await;
        self.eventually("a marker's status", async || {
            self.has_written_status(&name).then_some(())
        })
        .await;
        let apps = self.api::<DingTalkApp>();
        apps.delete(&name, &DeleteParams::default())
            .await
            .expect("deleted");
    }

    /// As `eventually`, with a patience of so many seconds.
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

    /// For a failure's text; the rest is in the evidence.
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

    /// Waits until the last attempt failed with `reason`; gives the condition's message.
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
