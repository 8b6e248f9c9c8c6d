//! What is seen for an app.

use super::{Index, Seen, app_ref};
use crate::api::DingTalkApp;
use crate::plan::{CredentialsSeen, TargetSeen, View, ownership, wanted};

impl Index {
    /// What is seen for an app; `None` if it is gone, or there is a newer state of it: the targets of
    /// one spec beside the former ones of another would be both at once.
    pub fn view<'a>(&'a self, app: &'a DingTalkApp, site_known: bool) -> Option<View<'a>> {
        let key = app_ref(app);
        let uid = app.metadata.uid.as_deref().unwrap_or_default();
        let entry = self
            .apps
            .get(&key)
            .filter(|entry| entry.uid == uid && entry.generation == app.metadata.generation)?;
        let namespace = key.namespace.clone().unwrap_or_default();
        let credentials = app.spec.credentials_secret_ref.name.clone();
        let credentials = (namespace.clone(), credentials);
        let targets = wanted(app).into_iter().map(|wanted| {
            let target_ref = (namespace.clone(), wanted.name);
            let present = match self.secret_in(&target_ref.0, &target_ref.1) {
                Some(target) => {
                    let claimed = self
                        .claimants(&target_ref)
                        .any(|(_, claimant)| Some(claimant.uid.as_str()) == target.owner_uid());
                    let lives = |uid: &str| self.uids.contains_key(uid);
                    let name = app.metadata.name.as_deref().unwrap_or_default();
                    Some((target, ownership(target, name, uid, lives, claimed)))
                }
                None => None,
            };
            TargetSeen {
                present,
                claim: self.claim(&target_ref, &key),
            }
        });
        let former = self.owned.get(uid).into_iter().flatten();
        let former = former.filter(|(owned_in, name)| {
            *owned_in == namespace && !entry.secrets().any(|wanted| wanted == name)
        });
        Some(View {
            app,
            credentials: match self.secrets.get(&credentials) {
                Some(Seen::Present(target, _)) => CredentialsSeen::Present(target.version.clone()),
                Some(Seen::Absent(_)) => CredentialsSeen::Absent,
                None => CredentialsSeen::Unknown,
            },
            targets: targets.collect(),
            former: former
                .filter_map(|(namespace, name)| {
                    Some((name.as_str(), self.secret_in(namespace, name)?))
                })
                .collect(),
            site_known,
            metadata_prefixes: &[],
            is_ending: false,
        })
    }
}
