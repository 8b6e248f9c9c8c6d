//! Views of apps.

use std::collections::BTreeMap;

use super::names::{Namespaced, SecretRef, secret_beside};
use super::{App, Index, Seen};
use crate::api::{AppRef, DingTalkApp, app_ref};
use crate::core::app::view::{AppSite, CredentialsSeen, TargetSeen, View};
use crate::core::secret::desired::wanted;
use crate::core::secret::ownership::ownership;
use crate::core::secret::target::TargetMeta;
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
            .filter(|entry| entry.uid() == uid && entry.generation == app.metadata.generation)?;
        Some(Current { index: self, entry })
    }

    /// Returns the Secrets of a namespace that were written for the app or reference with this UID
    /// and that it no longer wants.
    pub(super) fn former(
        &self,
        uid: &str,
        namespace: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> BTreeMap<&str, &TargetMeta> {
        let owned = self.owned.get(uid).into_iter().flatten();
        owned
            .filter(|(owned_in, name)| owned_in == namespace && !is_wanted(name))
            .filter_map(|secret| Some((secret.1.as_str(), self.present(secret)?)))
            .collect()
    }

    /// Whether an app wants a Secret as its target.
    fn claims_target(&self, key: &AppRef, (namespace, name): &SecretRef) -> bool {
        let app = self.apps.get(key).filter(|_| key.namespace() == namespace);
        app.is_some_and(|app| app.targets.contains(name))
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
        let credentials = secret_beside(&key, &app.spec.credentials_secret_ref.name);
        let targets = wanted(app).into_iter().map(|wanted| {
            let secret = secret_beside(&key, &wanted.name);
            let present = index.present(&secret).map(|target| {
                let owner = target.owner_uid().and_then(|uid| index.uids.get(uid));
                let claimed = owner.is_some_and(|owner| index.claims_target(owner, &secret));
                let lives = |uid: &str| index.uids.contains_key(uid);
                let ownership = ownership(target, &key.name, entry.uid(), lives, claimed);
                (target, ownership)
            });
            TargetSeen {
                present,
                claim: index.claim(&secret, &key),
            }
        });
        View {
            app,
            credentials: match index.secrets.get(&credentials) {
                Some(Seen::Present(target, _)) => CredentialsSeen::Present(target.version.clone()),
                Some(Seen::Absent(_)) => CredentialsSeen::Absent,
                None => CredentialsSeen::Unknown,
            },
            targets: targets.collect(),
            former: index.former(entry.uid(), key.namespace(), |name| {
                entry.names_secret(name)
            }),
            site,
            tokens,
            metadata_prefixes: &[],
            is_ending: false,
        }
    }
}
