//! What users do.

use serde_json::{Value, json};

use super::store::NAMESPACE;
use super::world::World;
use crate::api::{ANNOTATION_RENEW_REQUESTED_AT, DingTalkApp};

impl World {
    /// Applies an app with these fields over the defaults.
    pub fn apply(&mut self, name: &str, spec: &Value) {
        if !self.acts() {
            return;
        }
        self.note(&format!("user: apply {name} {spec}"));
        let mut app = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": name},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "site": "china", "corpIds": ["ding1"]},
        });
        for (field, value) in spec.as_object().expect("an object") {
            app["spec"][field] = value.clone();
        }
        self.store
            .put_app(serde_json::from_value::<DingTalkApp>(app).expect("an app"));
        self.desired_state_changed();
    }

    /// Deletes an app.
    pub fn delete_app(&mut self, name: &str) {
        if !self.acts() {
            return;
        }
        self.note(&format!("user: delete {name}"));
        self.store.delete_app(name);
        self.desired_state_changed();
    }

    /// Applies a reference to an app, with copies of this name.
    pub fn refer(&mut self, name: &str, app: &str, target: &str) {
        if !self.acts() {
            return;
        }
        self.note(&format!("user: apply reference {name} to {app}, {target}"));
        let reference = json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkTokenReference",
            "metadata": {"name": name},
            "spec": {"appRef": {"namespace": NAMESPACE, "name": app}, "target": {"name": target}},
        });
        let reference = serde_json::from_value(reference).expect("a reference");
        self.store.put_reference(reference);
        self.desired_state_changed();
    }

    /// Deletes a reference.
    pub fn delete_reference(&mut self, name: &str) {
        if !self.acts() {
            return;
        }
        self.note(&format!("user: delete reference {name}"));
        self.store.delete_reference(name);
        self.desired_state_changed();
    }

    /// Requests a renewal of an app.
    pub fn renew(&mut self, name: &str) {
        let Some(mut app) = self.store.apps.get(name).cloned().filter(|_| self.acts()) else {
            return;
        };
        self.note(&format!("user: renew {name}"));
        let annotations = app.metadata.annotations.get_or_insert_default();
        let now = self.store.now.to_string();
        annotations.insert(ANNOTATION_RENEW_REQUESTED_AT.to_owned(), now);
        self.store.put_app(app);
        self.desired_state_changed();
    }

    /// Deletes or edits one of the operator's Secrets, if there is one.
    pub fn tamper(&mut self) {
        let mut names: Vec<String> = self.store.secrets.keys().cloned().collect();
        names.retain(|name| !["credentials", "copy"].contains(&name.as_str()));
        if names.is_empty() {
            return;
        }
        let name = names[self.roll(names.len())].clone();
        if !self.acts() {
            return;
        }
        match self.rolls(2) {
            true => {
                self.note(&format!("user: delete Secret {name}"));
                self.store.lose(&name);
            }
            false => {
                self.note(&format!("user: edit Secret {name}"));
                self.store.tamper(&name);
            }
        }
        self.desired_state_changed();
    }
}
