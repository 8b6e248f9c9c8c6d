//! Judges the state of the world.

use super::world::World;
use crate::api::DingTalkApp;
use crate::core::wanted;

impl World {
    /// Returns the wanted Secrets with their corps.
    pub fn wanted(&self) -> Vec<(String, Vec<String>)> {
        let targets = |app: &DingTalkApp| {
            let targets = wanted(app).into_iter();
            let targets = targets.map(|target| (target.name, target.corp_ids.to_vec()));
            targets.collect::<Vec<_>>()
        };
        let copies = self.store.references.values().flat_map(|reference| {
            let app = self.store.apps.get(&reference.spec.app_ref.name);
            let grants = |app: &&DingTalkApp| !app.spec.reference_grants.is_empty();
            let app = app.filter(grants).map(|app| {
                let mut app = app.clone();
                app.spec.target.name = Some(reference.target_name());
                app
            });
            app.iter().flat_map(targets).collect::<Vec<_>>()
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

    /// Asserts that a write did not take away a working token.
    pub fn judge_write(&self, was_missing: &[String]) {
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
