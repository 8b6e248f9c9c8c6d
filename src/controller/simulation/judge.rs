//! Judges the state of the world.

use jiff::{SignedDuration, Timestamp};

use super::known::{copies, targets};
use super::world::World;
use crate::api::{CONDITION_READY, DingTalkApp, LABEL_OWNER_UID};
use crate::core::wanted;

/// A replica that is not cut off knows a changed spec after this time.
const SETTLED: SignedDuration = SignedDuration::from_secs(15);

fn wants(app: &DingTalkApp, secret: &str) -> bool {
    wanted(app).iter().any(|target| target.name == secret)
}

impl World {
    /// Returns the wanted Secrets with their corps.
    pub fn wanted(&self) -> Vec<(String, Vec<String>)> {
        let copies = self.store.references.values().flat_map(|reference| {
            let app = self.store.apps.get(&reference.spec.app_ref.name);
            app.map_or_else(Vec::new, |app| copies(app, reference))
        });
        let apps = self.store.apps.values();
        apps.flat_map(targets).chain(copies).collect()
    }

    /// Returns the corps whose Secret has no token that works now.
    pub fn without_token(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (name, corp_ids) in self.wanted() {
            for corp_id in corp_ids {
                let secret = self.store.secrets.get(&name);
                let values = secret.into_iter().flat_map(|secret| secret.data.values());
                let mut values =
                    values.filter(|value| self.site.is_valid(&corp_id, value, self.now()));
                if values.next().is_none() {
                    missing.push(format!("{corp_id} in {name}"));
                }
            }
        }
        missing
    }

    /// Returns the UID of the app that a Secret is for: the oldest that wants it.
    fn rightful_owner(&self, secret: &str) -> Option<&String> {
        let apps = self.store.apps.values();
        let age = |app: &&DingTalkApp| {
            let created = app.metadata.creation_timestamp.clone();
            (created, app.metadata.uid.clone())
        };
        let oldest = apps.filter(|app| wants(app, secret)).min_by_key(age);
        oldest?.metadata.uid.as_ref()
    }

    /// Returns the apps whose status is not what their Secrets show. Every app that has its Secrets
    /// has tokens in them now.
    pub fn with_false_status(&self) -> Vec<String> {
        let is_true = |app: &&DingTalkApp| {
            let uid = app.metadata.uid.as_ref();
            let mut targets = wanted(app).into_iter();
            let is_owner = targets.all(|target| self.rightful_owner(&target.name) == uid);
            let Some(status) = &app.status else {
                return false;
            };
            let mut conditions = status.conditions.iter();
            let is_ready = conditions
                .any(|condition| condition.type_ == CONDITION_READY && condition.status == "True");
            let has_error = status.corps.iter().any(|corp| corp.error.is_some());
            let is_current = status.observed_generation == app.metadata.generation;
            is_current && is_ready == is_owner && has_error != is_owner
        };
        let apps = self.store.apps.values().filter(|app| !app.spec.suspend);
        let wrong = apps.filter(|app| !is_true(app));
        wrong
            .map(|app| format!("{:?}: {:?}", app.metadata.name, app.status))
            .collect()
    }

    /// Judges the writes after the first `count`, which a replica sent at this time.
    pub fn judge_writes(
        &self,
        index: usize,
        sent: Timestamp,
        count: usize,
        was_missing: &[String],
    ) {
        let known_at = self.desired_since.max(self.replicas[index].cut_off_until);
        if sent.duration_since(known_at) <= SETTLED {
            return;
        }
        self.judge_tokens(was_missing);
        let written = self.store.writes[count..].iter();
        for secret in written.filter_map(|write| write.strip_prefix("write ")) {
            self.judge_owner(secret);
        }
    }

    /// Asserts that a Secret which was written is that of the oldest app that wants it.
    fn judge_owner(&self, secret: &str) {
        let stored = self.store.secrets.get(secret);
        let owner = stored.and_then(|stored| stored.labels.get(LABEL_OWNER_UID));
        if let Some((owner, rightful)) = owner.zip(self.rightful_owner(secret)) {
            assert_eq!(
                owner,
                rightful,
                "{secret} was written for another app\n{}",
                self.history.join("\n")
            );
        }
    }

    /// Asserts that a write did not take away a working token.
    fn judge_tokens(&self, was_missing: &[String]) {
        let missing = self.without_token();
        let taken = missing
            .iter()
            .find(|missing| !was_missing.contains(missing));
        assert!(
            taken.is_none(),
            "a write took {taken:?}\n{}",
            self.history.join("\n")
        );
    }
}
