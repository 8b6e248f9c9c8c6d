//! The garbage collector of the simulated cluster, which acts a while after what it reacts to.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::store::Store;

impl Store {
    /// Has the Secrets of an owner that is gone looked at.
    pub fn owner_gone(&mut self, uid: &str) {
        let owned = self.secrets.iter();
        let owned = owned.filter(|(_, secret)| secret.owners.iter().any(|owner| owner.uid == uid));
        let owned: Vec<String> = owned.map(|(name, _)| name.clone()).collect();
        for name in &owned {
            self.suspect(name);
        }
    }

    /// Has a Secret that was written looked at if one of its owners is gone.
    pub fn owners_written(&mut self, name: &str) {
        let owners = self
            .secrets
            .get(name)
            .map(|secret| secret.owners.as_slice());
        if !owners.unwrap_or_default().iter().all(|it| self.lives(it)) {
            self.suspect(name);
        }
    }

    /// One in four times, it takes longer than most messages.
    fn suspect(&mut self, name: &str) {
        let version = i64::try_from(self.version).unwrap_or_default();
        let millis = version * 7919 % if version % 4 == 0 { 3000 } else { 50 };
        let at = self.now + SignedDuration::from_millis(millis);
        self.suspects.insert((at, name.to_owned()));
    }

    fn lives(&self, owner: &OwnerReference) -> bool {
        let uid = Some(&owner.uid);
        let mut apps = self.apps.values();
        let mut references = self.references.values();
        self.other_owners.contains(&owner.uid)
            || apps.any(|app| app.metadata.uid.as_ref() == uid)
            || references.any(|reference| reference.metadata.uid.as_ref() == uid)
    }

    /// Deletes each suspected Secret all of whose owners are gone, and removes from the others those
    /// owners that are. Returns the names of those deleted.
    pub fn collect_garbage(&mut self) -> Vec<String> {
        let (now, mut due) = (self.now, Vec::new());
        self.suspects.retain(|(at, name)| {
            let is_due = *at <= now;
            due.extend(is_due.then(|| name.clone()));
            !is_due
        });
        due.into_iter().filter(|name| self.collect(name)).collect()
    }

    fn collect(&mut self, name: &str) -> bool {
        let Some(secret) = self.secrets.get(name) else {
            return false;
        };
        let living = secret.owners.iter().filter(|owner| self.lives(owner));
        let living: Vec<OwnerReference> = living.cloned().collect();
        if living.len() == secret.owners.len() {
            return false;
        }
        if living.is_empty() {
            self.lose(name);
            return true;
        }
        let version = self.next_version();
        if let Some(secret) = self.secrets.get_mut(name) {
            secret.owners = living;
            secret.version = version;
        }
        self.tell(name);
        false
    }
}
