//! Which app references which Secret, and what is known of those Secrets. Other people's Secrets
//! pass by and are not kept.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::api::DingTalkApp;
use crate::plan::{Claim, CredentialsSeen, ObjectVersion, Ownership, TargetMeta, ownership};

/// An app, by namespace and name.
pub type AppRef = ObjectRef<DingTalkApp>;
/// A Secret, by namespace and name.
type SecretRef = (String, String);

struct App {
    uid: String,
    created: Option<Timestamp>,
    credentials: String,
    target: String,
}

impl App {
    /// The older one has the target; on a tie that of the lower UID.
    fn seniority(&self) -> (Timestamp, &str) {
        (self.created.unwrap_or(Timestamp::MAX), &self.uid)
    }
}

enum Seen {
    Absent,
    Present(TargetMeta),
}

/// What is seen of one app's Secrets.
pub struct Observed {
    /// Its credentials.
    pub credentials: CredentialsSeen,
    /// The Secret under its target's name.
    pub target: Option<(TargetMeta, Ownership)>,
    /// Whether it has the target, of those that name it.
    pub claim: Claim,
}

/// See the module.
#[derive(Default)]
pub struct Index {
    apps: HashMap<AppRef, App>,
    users: HashMap<SecretRef, Vec<AppRef>>,
    secrets: HashMap<SecretRef, Seen>,
    uids: HashSet<String>,
    listing: HashMap<Option<String>, HashSet<SecretRef>>,
    listing_apps: HashMap<Option<String>, HashSet<AppRef>>,
}

impl Index {
    /// Takes note of an app; gives the others that name its target, for a claim may have moved.
    pub fn app_applied(&mut self, app: &DingTalkApp) -> Vec<AppRef> {
        let key = AppRef::from_obj(app);
        let new = App {
            uid: app.uid().unwrap_or_default(),
            created: app.metadata.creation_timestamp.as_ref().map(|time| time.0),
            credentials: app.spec.credentials_secret_ref.name.clone(),
            target: app.target_name(),
        };
        for listing in self.listing_apps.values_mut() {
            listing.insert(key.clone());
        }
        let same = self.apps.get(&key).is_some_and(|old| {
            old.uid == new.uid && old.credentials == new.credentials && old.target == new.target
        });
        if same {
            return Vec::new();
        }
        let mut others = self.app_deleted(&key);
        let namespace = app.namespace().unwrap_or_default();
        for name in [&new.credentials, &new.target] {
            let users = self
                .users
                .entry((namespace.clone(), name.clone()))
                .or_default();
            users.push(key.clone());
        }
        others.extend(self.rivals(&namespace, &new.target, &key));
        self.uids.insert(new.uid.clone());
        self.apps.insert(key, new);
        others
    }

    /// Forgets an app; gives the others that name its target.
    pub fn app_deleted(&mut self, key: &AppRef) -> Vec<AppRef> {
        let Some(app) = self.apps.remove(key) else {
            return Vec::new();
        };
        self.uids.remove(&app.uid);
        let namespace = key.namespace.clone().unwrap_or_default();
        let others = self.rivals(&namespace, &app.target, key);
        for name in [app.credentials, app.target] {
            let secret = (namespace.clone(), name);
            if let Some(users) = self.users.get_mut(&secret) {
                users.retain(|user| user != key);
                if users.is_empty() {
                    self.users.remove(&secret);
                }
            }
            if !self.worth_keeping(&secret) {
                self.secrets.remove(&secret);
            }
        }
        others
    }

    /// A list of the apps of `scope` (a namespace, or all) begins.
    pub fn apps_listing(&mut self, scope: Option<&str>) {
        self.listing_apps
            .insert(scope.map(str::to_owned), HashSet::new());
    }

    /// That list is complete: gives the apps that are gone.
    pub fn apps_listed(&mut self, scope: Option<&str>) -> Vec<AppRef> {
        let listed = self
            .listing_apps
            .remove(&scope.map(str::to_owned))
            .unwrap_or_default();
        self.apps
            .keys()
            .filter(|app| in_scope(scope, app.namespace.as_deref()) && !listed.contains(app))
            .cloned()
            .collect()
    }

    /// Takes note of a Secret's metadata; gives the apps that it matters to.
    pub fn secret_applied(&mut self, meta: ObjectMeta) -> Vec<AppRef> {
        let secret = secret_ref(&meta);
        for listing in self.listing.values_mut() {
            listing.insert(secret.clone());
        }
        let target = TargetMeta::of(meta);
        let kept =
            self.users.contains_key(&secret) || target.is_managed() || target.adopt_by().is_some();
        if !kept {
            self.secrets.remove(&secret);
            return Vec::new();
        }
        match self.secrets.get(&secret) {
            Some(Seen::Present(old)) if !is_newer(&target.version, &old.version) => Vec::new(),
            _ => {
                let users = self.users_of(&secret);
                self.secrets.insert(secret, Seen::Present(target));
                users
            }
        }
    }

    /// A Secret is gone; gives the apps that it matters to.
    pub fn secret_deleted(&mut self, meta: &ObjectMeta) -> Vec<AppRef> {
        let gone = ObjectVersion::of(meta);
        let secret = secret_ref(meta);
        match self.secrets.get(&secret) {
            // The deletion of a former Secret of that name, told late.
            Some(Seen::Present(now))
                if now.uid_differs(&gone) && !is_newer(&gone, &now.version) =>
            {
                Vec::new()
            }
            _ => self.secret_absent(&secret.0, &secret.1),
        }
    }

    /// There is no such Secret; gives the apps that it matters to.
    pub fn secret_absent(&mut self, namespace: &str, name: &str) -> Vec<AppRef> {
        let secret = (namespace.to_owned(), name.to_owned());
        let users = self.users_of(&secret);
        if users.is_empty() {
            self.secrets.remove(&secret);
        } else {
            self.secrets.insert(secret, Seen::Absent);
        }
        users
    }

    /// A list of the Secrets of `scope` begins.
    pub fn secrets_listing(&mut self, scope: Option<&str>) {
        self.listing
            .insert(scope.map(str::to_owned), HashSet::new());
    }

    /// That list is complete: what is referenced and not in it does not exist.
    pub fn secrets_listed(&mut self, scope: Option<&str>) -> Vec<AppRef> {
        let listed = self
            .listing
            .remove(&scope.map(str::to_owned))
            .unwrap_or_default();
        let gone: Vec<SecretRef> = self
            .users
            .keys()
            .chain(self.secrets.keys())
            .filter(|secret| in_scope(scope, Some(&secret.0)) && !listed.contains(*secret))
            .cloned()
            .collect();
        gone.iter()
            .flat_map(|(namespace, name)| self.secret_absent(namespace, name))
            .collect()
    }

    /// What is seen for an app; `None` where the app is gone or was recreated.
    pub fn observe(&self, app: &DingTalkApp) -> Option<Observed> {
        let key = AppRef::from_obj(app);
        let uid = app.metadata.uid.as_deref().unwrap_or_default();
        let entry = self.apps.get(&key).filter(|entry| entry.uid == uid)?;
        let namespace = key.namespace.clone().unwrap_or_default();
        let target_ref = (namespace.clone(), entry.target.clone());
        let target = match self.secrets.get(&target_ref) {
            Some(Seen::Present(target)) => Some(target),
            Some(Seen::Absent) | None => None,
        };
        Some(Observed {
            credentials: match self.secrets.get(&(namespace, entry.credentials.clone())) {
                Some(Seen::Present(target)) => CredentialsSeen::Present(target.version.clone()),
                Some(Seen::Absent) => CredentialsSeen::Absent,
                None => CredentialsSeen::Unknown,
            },
            target: target.map(|target| {
                let claimed = self
                    .claimants(&target_ref)
                    .any(|(_, claimant)| Some(claimant.uid.as_str()) == target.app_uid());
                let lives = |uid: &str| self.uids.contains(uid);
                let name = app.metadata.name.as_deref().unwrap_or_default();
                (target.clone(), ownership(target, name, uid, lives, claimed))
            }),
            claim: self.claim(&target_ref, &key),
        })
    }

    /// The state of an app's credentials, where it is known.
    pub fn credentials_version(&self, key: &AppRef) -> Option<&ObjectVersion> {
        let credentials = self.apps.get(key)?.credentials.clone();
        let secret = (key.namespace.clone().unwrap_or_default(), credentials);
        match self.secrets.get(&secret)? {
            Seen::Present(target) => Some(&target.version),
            Seen::Absent => None,
        }
    }

    /// The Secret under an app's target's name, where one is known.
    pub fn target(&self, key: &AppRef) -> Option<&TargetMeta> {
        let target = self.apps.get(key)?.target.clone();
        match self
            .secrets
            .get(&(key.namespace.clone().unwrap_or_default(), target))?
        {
            Seen::Present(target) => Some(target),
            Seen::Absent => None,
        }
    }

    fn claimants<'a>(
        &'a self,
        target: &'a SecretRef,
    ) -> impl Iterator<Item = (&'a AppRef, &'a App)> {
        self.users
            .get(target)
            .into_iter()
            .flatten()
            .filter_map(|key| self.apps.get_key_value(key))
            .filter(|(_, app)| app.target == target.1)
    }

    /// The other apps that name this target. Those that merely share credentials have no part in it:
    /// a thousand of them would wake each other a million times.
    fn rivals(&self, namespace: &str, target: &str, key: &AppRef) -> Vec<AppRef> {
        let target = (namespace.to_owned(), target.to_owned());
        let claimants = self.claimants(&target).map(|(claimant, _)| claimant);
        claimants
            .filter(|claimant| *claimant != key)
            .cloned()
            .collect()
    }

    fn claim(&self, target: &SecretRef, key: &AppRef) -> Claim {
        match self
            .claimants(target)
            .min_by_key(|(_, app)| app.seniority())
        {
            Some((oldest, _)) if oldest != key => Claim::Lost {
                to: oldest.name.clone(),
            },
            _ => Claim::Ours,
        }
    }

    fn users_of(&self, secret: &SecretRef) -> Vec<AppRef> {
        self.users.get(secret).cloned().unwrap_or_default()
    }

    fn worth_keeping(&self, secret: &SecretRef) -> bool {
        self.users.contains_key(secret)
            || matches!(self.secrets.get(secret), Some(Seen::Present(target))
                if target.is_managed() || target.adopt_by().is_some())
    }
}

fn in_scope(scope: Option<&str>, namespace: Option<&str>) -> bool {
    scope.is_none() || scope == namespace
}

fn secret_ref(meta: &ObjectMeta) -> SecretRef {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// Whether `new` is a later state than `old`. An answer to a write and the watch's event of it
/// race; since Kubernetes 1.35 resourceVersions are documented to be comparable, and they always were.
fn is_newer(new: &ObjectVersion, old: &ObjectVersion) -> bool {
    let number = |version: &ObjectVersion| version.resource_version.parse::<u128>().ok();
    match (number(new), number(old)) {
        (Some(new), Some(old)) => new > old,
        _ => new != old,
    }
}

impl TargetMeta {
    fn uid_differs(&self, other: &ObjectVersion) -> bool {
        self.version.uid != other.uid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ANNOTATION_APP, LABEL_APP_UID, LABEL_MANAGED_BY, MANAGER};

    fn app(name: &str, uid: &str, created: i64, target: &str) -> DingTalkApp {
        let mut app: DingTalkApp = serde_json::from_value(serde_json::json!({
            "apiVersion": "dingtalk-token-operator.github.io/v1alpha1", "kind": "DingTalkApp",
            "metadata": {"name": name, "namespace": "hr", "uid": uid},
            "spec": {"credentialsSecretRef": {"name": "credentials"}, "corpIds": ["ding1"],
                "target": {"name": target}},
        }))
        .expect("an app");
        let created = Timestamp::from_second(created).expect("a time");
        app.metadata.creation_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created),
        );
        app
    }

    fn secret(name: &str, version: &str, managed_for: Option<(&str, &str)>) -> ObjectMeta {
        let mut meta = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("hr".into()),
            uid: Some("secret-uid".into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        if let Some((app, uid)) = managed_for {
            meta.labels = Some(
                [(LABEL_MANAGED_BY, MANAGER), (LABEL_APP_UID, uid)]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            );
            meta.annotations = Some([(ANNOTATION_APP.to_owned(), app.to_owned())].into());
        }
        meta
    }

    fn ownership_of(index: &Index, app: &DingTalkApp) -> Option<Ownership> {
        index
            .observe(app)
            .expect("known")
            .target
            .map(|(_, ownership)| ownership)
    }

    #[test]
    fn only_what_is_referenced_or_ours_is_kept() {
        let mut index = Index::default();
        index.app_applied(&app("payroll", "u1", 1, "token"));
        for n in 0..1000 {
            index.secret_applied(secret(&format!("other-{n}"), "5", None));
        }
        assert_eq!(index.secrets.len(), 0);
        index.secret_applied(secret("credentials", "6", None));
        index.secret_applied(secret("left-over", "7", Some(("gone", "u0"))));
        assert_eq!(index.secrets.len(), 2);
    }

    #[test]
    fn the_older_app_has_the_target_and_the_younger_gets_it_after() {
        let (old, young) = (
            app("b-old", "u2", 1, "token"),
            app("a-young", "u1", 2, "token"),
        );
        let mut index = Index::default();
        index.app_applied(&young);
        assert_eq!(index.observe(&young).expect("known").claim, Claim::Ours);
        index.secret_applied(secret("token", "5", Some(("a-young", "u1"))));
        assert!(
            index.app_applied(&old).contains(&AppRef::from_obj(&young)),
            "it is told"
        );
        assert_eq!(
            index.observe(&young).expect("known").claim,
            Claim::Lost { to: "b-old".into() }
        );
        assert_eq!(ownership_of(&index, &old), Some(Ownership::Younger));
        assert!(
            index
                .app_deleted(&AppRef::from_obj(&old))
                .contains(&AppRef::from_obj(&young))
        );
        assert_eq!(index.observe(&young).expect("known").claim, Claim::Ours);
    }

    #[test]
    fn apps_that_share_credentials_do_not_wake_each_other() {
        let mut index = Index::default();
        for n in 0..100 {
            let one = app(
                &format!("app{n}"),
                &format!("u{n}"),
                1,
                &format!("token{n}"),
            );
            assert_eq!(index.app_applied(&one), []);
        }
        assert_eq!(
            index.secret_applied(secret("credentials", "5", None)).len(),
            100
        );
        assert_eq!(index.app_deleted(&AppRef::new("app7").within("hr")), []);
    }

    #[test]
    fn on_a_tie_the_lower_uid_has_the_target() {
        let (one, two) = (app("one", "u1", 1, "token"), app("two", "u2", 1, "token"));
        let mut index = Index::default();
        index.app_applied(&two);
        index.app_applied(&one);
        assert_eq!(index.observe(&one).expect("known").claim, Claim::Ours);
        assert_ne!(index.observe(&two).expect("known").claim, Claim::Ours);
    }

    #[test]
    fn whose_secret_it_is() {
        let payroll = app("payroll", "u2", 1, "token");
        let mut index = Index::default();
        index.app_applied(&payroll);
        let mut version = 10;
        let mut see = |managed_for| {
            version += 1;
            index.secret_applied(secret("token", &version.to_string(), managed_for));
            ownership_of(&index, &payroll)
        };
        assert_eq!(see(Some(("payroll", "u2"))), Some(Ownership::Ours));
        assert_eq!(see(Some(("payroll", "u1"))), Some(Ownership::Predecessor));
        assert_eq!(see(Some(("other", "u1"))), Some(Ownership::Foreign));
        assert_eq!(see(None), Some(Ownership::Foreign));
        let mut handed_over = secret("token", "99", None);
        handed_over.annotations = Some(
            [(
                crate::api::ANNOTATION_ADOPT_BY.to_owned(),
                "payroll".to_owned(),
            )]
            .into(),
        );
        index.secret_applied(handed_over);
        assert_eq!(ownership_of(&index, &payroll), Some(Ownership::Adoptable));
    }

    #[test]
    fn an_older_state_that_arrives_late_changes_nothing() {
        let payroll = app("payroll", "u1", 1, "token");
        let mut index = Index::default();
        index.app_applied(&payroll);
        index.secret_applied(secret("token", "10", Some(("payroll", "u1"))));
        assert!(index.secret_applied(secret("token", "9", None)).is_empty());
        assert_eq!(ownership_of(&index, &payroll), Some(Ownership::Ours));
    }

    #[test]
    fn after_a_list_what_is_not_in_it_is_absent() {
        let payroll = app("payroll", "u1", 1, "token");
        let mut index = Index::default();
        index.app_applied(&payroll);
        let credentials = |index: &Index| index.observe(&payroll).expect("known").credentials;
        assert_eq!(credentials(&index), CredentialsSeen::Unknown);
        index.secrets_listing(None);
        index.secret_applied(secret("credentials", "3", None));
        index.secrets_listed(None);
        assert!(matches!(credentials(&index), CredentialsSeen::Present(_)));
        index.secrets_listing(None);
        assert!(!index.secrets_listed(None).is_empty());
        assert_eq!(credentials(&index), CredentialsSeen::Absent);
    }
}
