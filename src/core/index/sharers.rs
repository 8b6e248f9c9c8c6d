//! Which apps may share a token, and whose Secrets are trusted.

#[cfg(test)]
use std::cell::Cell;
use std::collections::HashMap;

use jiff::Timestamp;

use super::Index;
use super::names::{SecretRef, secret_beside};
use crate::api::{AppRef, DingTalkApp, Layout};
use crate::core::secret::desired::per_corp_name;
use crate::core::secret::ownership::{Claim, owner_name};
use crate::core::secret::target::TargetMeta;
use crate::core::token::known_credentials::KnownCredentials;
use crate::core::token::record::ObjectVersion;
use crate::core::token::schedule::Lifetime;
use crate::core::token::tokens::Seat;

#[cfg(test)]
thread_local! {
    /// How often an app's Secret was looked at for a token that others may share.
    pub(super) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
}

/// A token that an app wants, and the credentials that prove its right to it.
pub(crate) struct TokenQuery<'a> {
    pub app: &'a AppRef,
    pub site: &'a str,
    pub corp_id: &'a str,
    /// The app's credentials.
    pub known: &'a KnownCredentials,
}

/// A Secret that may hold a token that another app wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The app that the Secret belongs to.
    pub app: AppRef,
    /// Name of the Secret.
    pub secret: String,
    /// Version of the Secret.
    pub version: ObjectVersion,
    /// Lifetime of its token.
    pub lifetime: Lifetime,
    /// The credentials that the token was fetched with.
    pub credentials: ObjectVersion,
}

impl Index {
    /// Returns the other apps that hold or want the token of this name. They share it if their
    /// client secret is the same.
    pub(crate) fn sharers(
        &self,
        key: &AppRef,
        site: &str,
        client_id: &str,
        corp_id: &str,
    ) -> Vec<AppRef> {
        let seat = (site.to_owned(), client_id.to_owned(), corp_id.to_owned());
        let sharers = self.sharers.get(&seat).into_iter();
        let apps = sharers.flat_map(|sharers| &sharers.apps);
        apps.filter(|sharer| *sharer != key).cloned().collect()
    }

    /// Returns the Secrets that may hold the wanted token, newest token first: of the same
    /// namespace, owned by their app and written by the operator, as far as metadata shows.
    pub(crate) fn candidates(
        &self,
        query: &TokenQuery<'_>,
        sharers: &[AppRef],
        now: Timestamp,
    ) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = sharers
            .iter()
            .filter(|sharer| sharer.namespace == query.app.namespace)
            .filter_map(|sharer| {
                let client_id = &query.known.client_id;
                self.candidate(sharer, (query.site, client_id, query.corp_id), now)
            })
            .collect();
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.lifetime.requested_at));
        candidates
    }

    /// Returns the corps of which another app's Secret may hold a newer token than this app's.
    pub(crate) fn outdated(&mut self, key: &AppRef, now: Timestamp) -> Vec<String> {
        let app = self.apps.get(key);
        let corp_ids = app.map(|app| app.corp_ids.clone()).unwrap_or_default();
        let outdated = corp_ids.into_iter();
        let outdated = outdated.filter(|corp_id| self.is_outdated(key, corp_id, now));
        outdated.collect()
    }

    fn is_outdated(&mut self, key: &AppRef, corp_id: &str, now: Timestamp) -> bool {
        let target = self.target_of(key, corp_id).map(|(_, target)| target);
        let recorded = target.and_then(|target| target.recorded.as_ref());
        let own = recorded.and_then(|recorded| recorded.token(corp_id));
        let Some((own, client_id)) = own.and_then(|own| Some((own, own.client_id()?))) else {
            return false;
        };
        let seat = (own.site.clone(), client_id.to_owned(), corp_id.to_owned());
        let requested_at = own.lifetime.requested_at;
        self.newest_beside(key, &seat, now)
            .is_some_and(|newest| newest.requested_at > requested_at && newest.expires_at > now)
    }

    /// Returns the lifetime of the newest token that the app may share, valid when that was last
    /// looked for. All are looked at once, not once for each that shares it.
    fn newest_beside(&mut self, key: &AppRef, seat: &Seat, now: Timestamp) -> Option<Lifetime> {
        let sharers = self.sharers.get(seat)?;
        if sharers.newest.is_none() {
            let (site, client_id, corp_id) = seat;
            let candidates = sharers.apps.iter().filter_map(|sharer| {
                let candidate = self.candidate(sharer, (site, client_id, corp_id), now)?;
                Some((sharer.namespace.clone()?, candidate.lifetime))
            });
            let mut newest: HashMap<String, Lifetime> = HashMap::new();
            for (namespace, found) in candidates.filter(|(_, found)| found.expires_at > now) {
                let newest = newest.entry(namespace).or_insert(found);
                if found.requested_at > newest.requested_at {
                    *newest = found;
                }
            }
            self.sharers.get_mut(seat)?.newest = Some(newest);
        }
        let newest = self.sharers.get(seat)?.newest.as_ref()?;
        newest.get(key.namespace.as_deref()?).copied()
    }

    /// Has newest tokens looked for anew where apps are compared: others may have written Secrets.
    pub(crate) fn compare_again(&mut self) {
        let sharers = self.sharers.values_mut();
        sharers.for_each(|sharers| sharers.newest = None);
    }

    /// Returns the Secret of an app that a corp's token belongs in, if it is present.
    pub(crate) fn target_of(
        &self,
        key: &AppRef,
        corp_id: &str,
    ) -> Option<(SecretRef, &TargetMeta)> {
        let app = self.apps.get(key)?;
        let name = match app.layout {
            Layout::Single | Layout::Combined => app.targets.first(),
            Layout::PerCorp => app.targets.get(&per_corp_name(&app.target, corp_id)),
        };
        let secret = secret_beside(key, name?);
        let target = self.present(&secret)?;
        Some((secret, target))
    }

    fn candidate(
        &self,
        sharer: &AppRef,
        (site, client_id, corp_id): (&str, &str, &str),
        now: Timestamp,
    ) -> Option<Candidate> {
        #[cfg(test)]
        LOOKED_AT.set(LOOKED_AT.get() + 1);
        let app = self.apps.get(sharer)?;
        let (secret, target) = self.target_of(sharer, corp_id)?;
        let is_its_own = target.owner_uid() == Some(app.uid())
            && target.owner.as_deref() == Some(owner_name::<DingTalkApp>(&sharer.name).as_str())
            && self.claim(&secret, sharer) == Claim::Ours;
        if !is_its_own || !target.data_is_ours || target.deleting {
            return None;
        }
        let token = target.recorded.as_ref()?.token(corp_id)?;
        let is_wanted = token.site == site
            && token.client_id() == Some(client_id)
            && token.lifetime.is_plausible(now);
        is_wanted.then(|| Candidate {
            app: sharer.clone(),
            secret: secret.1,
            version: target.version.clone(),
            lifetime: token.lifetime,
            credentials: token.credentials.clone(),
        })
    }
}
