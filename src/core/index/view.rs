//! Views of apps.

use super::names::SecretRef;
use super::{App, Index, Seen};
use crate::api::{AppRef, DingTalkApp, app_ref};
use crate::core::app::view::{AppSite, CredentialsSeen, TargetSeen, View};
use crate::core::secret::desired::wanted;
use crate::core::secret::ownership::ownership;
use crate::core::token::tokens::Tokens;

/// The current state of an app.
pub(crate) struct Current<'a> {
    index: &'a Index,
    entry: &'a App,
}

impl Index {
    /// Returns the current state of an app; `None` if it is gone or a newer state is known.
    /// Otherwise a Secret could be a target by one spec and a former target by the other.
    pub(crate) fn current(&self, app: &DingTalkApp) -> Option<Current<'_>> {
        let uid = app.metadata.uid.as_deref().unwrap_or_default();
        let entry = self
            .apps
            .get(&app_ref(app))
            .filter(|entry| entry.uid == uid && entry.generation == app.metadata.generation)?;
        Some(Current { index: self, entry })
    }
}

impl Index {
    /// Whether an app wants a Secret as its target.
    fn claims_target(&self, app: &AppRef, (namespace, name): &SecretRef) -> bool {
        let is_in = app.namespace.as_ref() == Some(namespace);
        is_in
            && self
                .apps
                .get(app)
                .is_some_and(|app| app.targets.contains(name))
    }
}

impl<'a> Current<'a> {
    /// Returns the view of the app.
    pub(crate) fn view(
        self,
        app: &'a DingTalkApp,
        site: AppSite<'a>,
        tokens: &'a Tokens,
    ) -> View<'a> {
        let Self { index, entry } = self;
        let key = app_ref(app);
        let uid = app.metadata.uid.as_deref().unwrap_or_default();
        let namespace = key.namespace.clone().unwrap_or_default();
        let credentials = app.spec.credentials_secret_ref.name.clone();
        let credentials = (namespace.clone(), credentials);
        let targets = wanted(app).into_iter().map(|wanted| {
            let target_ref = (namespace.clone(), wanted.name);
            let present = match index.secret_in(&target_ref.0, &target_ref.1) {
                Some(target) => {
                    let owner = target.owner_uid().and_then(|uid| index.uids.get(uid));
                    let claimed =
                        owner.is_some_and(|owner| index.claims_target(owner, &target_ref));
                    let lives = |uid: &str| index.uids.contains_key(uid);
                    let name = app.metadata.name.as_deref().unwrap_or_default();
                    Some((target, ownership(target, name, uid, lives, claimed)))
                }
                None => None,
            };
            TargetSeen {
                present,
                claim: index.claim(&target_ref, &key),
            }
        });
        let former = index.owned.get(uid).into_iter().flatten();
        let former =
            former.filter(|(owned_in, name)| *owned_in == namespace && !entry.names_secret(name));
        View {
            app,
            credentials: match index.secrets.get(&credentials) {
                Some(Seen::Present(target, _)) => CredentialsSeen::Present(target.version.clone()),
                Some(Seen::Absent(_)) => CredentialsSeen::Absent,
                None => CredentialsSeen::Unknown,
            },
            targets: targets.collect(),
            former: former
                .filter_map(|(namespace, name)| {
                    Some((name.as_str(), index.secret_in(namespace, name)?))
                })
                .collect(),
            site,
            tokens,
            metadata_prefixes: &[],
            is_ending: false,
        }
    }
}
