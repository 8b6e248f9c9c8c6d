//! What is known about each namespace that is served.

use std::collections::BTreeMap;

use tokio::sync::watch;

/// A namespace, or all of them.
pub(super) type Scope = Option<String>;

/// What is known of a scope.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    #[default]
    Nothing,
    /// Its apps, and with them which Secrets are needed.
    Apps,
    /// Its Secrets as well.
    All,
}

/// Progress of the lists of a scope.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    known: Known,
    /// Whether its role, or a part of it, is missing.
    is_refused: bool,
}

/// Progress of all scopes. No scope waits for another one.
pub(super) struct Scopes(watch::Sender<BTreeMap<Scope, Progress>>);

impl Scopes {
    /// Creates the scopes, with nothing listed yet.
    pub(super) fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let scopes = scopes.into_iter().map(|scope| (scope, Progress::default()));
        Self(watch::Sender::new(scopes.collect()))
    }

    /// Records that the apps of a scope were listed.
    pub(super) fn apps_listed(&self, scope: &Scope) {
        self.advance(scope, |progress| Progress {
            known: progress.known.max(Known::Apps),
            is_refused: false,
        });
    }

    /// Records that the Secrets of a scope were listed, and returns whether they were unknown
    /// before.
    pub(super) fn secrets_listed(&self, scope: &Scope) -> bool {
        self.advance(scope, |_| Progress {
            known: Known::All,
            is_refused: false,
        })
    }

    /// Records that a list was refused. What is already known remains so.
    pub(super) fn refused(&self, scope: &Scope) {
        self.advance(scope, |progress| Progress {
            is_refused: progress.known != Known::All,
            ..progress
        });
    }

    fn advance(&self, scope: &Scope, next: impl FnOnce(Progress) -> Progress) -> bool {
        self.0.send_if_modified(|scopes| {
            let Some(progress) = scopes.get_mut(scope) else {
                return false;
            };
            let former = std::mem::replace(progress, next(*progress));
            former != *progress
        })
    }

    /// Whether the objects of a namespace are known; until then, every target would seem to be
    /// missing. A namespace that is not served counts as known.
    pub(super) fn is_known(&self, namespace: &str) -> bool {
        let scopes = self.0.borrow();
        let progress = scopes
            .get(&Some(namespace.to_owned()))
            .or_else(|| scopes.get(&None));
        progress.is_none_or(|progress| progress.known == Known::All)
    }

    /// Waits until the apps of a scope are known.
    pub(super) async fn until_apps_listed(&self, scope: &Scope) {
        let is_listed = |scopes: &BTreeMap<Scope, Progress>| {
            let progress = scopes.get(scope);
            progress.is_some_and(|progress| progress.known >= Known::Apps)
        };
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(is_listed).await;
    }

    /// Waits until at least one scope is known, and all others are known or refused.
    pub(super) async fn until_ready(&self) {
        let is_ready = |scopes: &BTreeMap<Scope, Progress>| {
            let is_known = |progress: &Progress| progress.known == Known::All;
            let mut all = scopes.values();
            scopes.values().any(is_known) && all.all(|it| is_known(it) || it.is_refused)
        };
        let _ = self.0.subscribe().wait_for(is_ready).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn scopes(namespaces: [&str; 2]) -> (Scopes, [Scope; 2]) {
        let scopes = namespaces.map(|namespace| Some(namespace.to_owned()));
        (Scopes::new(scopes.clone()), scopes)
    }

    fn is_ready(scopes: &Scopes) -> bool {
        scopes.until_ready().now_or_never().is_some()
    }

    #[test]
    fn a_namespace_that_cannot_be_listed_holds_back_no_other() {
        let (scopes, [a, b]) = scopes(["a", "b"]);
        scopes.refused(&b);
        assert!(!is_ready(&scopes), "nothing is served");
        scopes.apps_listed(&a);
        assert!(scopes.until_apps_listed(&a).now_or_never().is_some());
        assert!(scopes.until_apps_listed(&b).now_or_never().is_none());
        assert!(!scopes.is_known("a"));
        assert!(scopes.secrets_listed(&a));
        assert!(!scopes.secrets_listed(&a), "once");
        assert!(scopes.is_known("a") && !scopes.is_known("b"));
        assert!(is_ready(&scopes));
        scopes.apps_listed(&b);
        assert!(!is_ready(&scopes), "its Secrets are to come");
        scopes.secrets_listed(&b);
        scopes.refused(&b);
        assert!(scopes.is_known("b") && is_ready(&scopes));
    }

    /// Regression: a Role without references kept the Secrets of a namespace from being listed, even
    /// after it was granted.
    #[test]
    fn apps_that_were_listed_stay_known_if_another_list_is_refused() {
        let (scopes, [a, b]) = scopes(["a", "b"]);
        scopes.apps_listed(&a);
        scopes.refused(&a);
        scopes.refused(&a);
        assert!(scopes.until_apps_listed(&a).now_or_never().is_some());
        assert!(!is_ready(&scopes), "its Secrets are to come");
        scopes.secrets_listed(&a);
        scopes.refused(&b);
        assert!(scopes.is_known("a") && is_ready(&scopes));
        assert!(scopes.until_apps_listed(&b).now_or_never().is_none());
    }

    #[test]
    fn all_namespaces_are_one_scope_and_one_that_is_not_served_is_empty() {
        let all = Scopes::new([None]);
        assert!(!all.is_known("a"));
        all.secrets_listed(&None);
        assert!(all.is_known("a"));
        let (some, _) = scopes(["a", "b"]);
        assert!(some.is_known("c"));
    }
}
