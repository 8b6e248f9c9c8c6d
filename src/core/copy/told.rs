//! The condition of a reference.

use jiff::Timestamp;

use super::view::{Grant, ReferenceView};
use crate::api::Reason;
use crate::core::report::problem::shown;

/// The condition `Ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub reason: Reason,
    pub message: String,
}

impl Told {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message }
    }

    pub(super) fn status(&self) -> &'static str {
        match self.reason {
            Reason::TokensValid => "True",
            Reason::Pending => "Unknown",
            _ => "False",
        }
    }

    /// Returns the condition if the grant allows no copies; `None` if it does.
    pub(super) fn of_grant(view: &ReferenceView<'_>) -> Option<Self> {
        let reference = view.reference;
        let app = &reference.spec.app_ref;
        let (home, app) = (&app.namespace, &app.name);
        let namespace = reference.metadata.namespace.as_deref().unwrap_or_default();
        let (reason, message) = match view.grant {
            Grant::Given | Grant::Unread => return None,
            // Existing copies stay: an earlier version recorded no grants.
            Grant::Unrecorded => (
                Reason::Pending,
                "the DingTalkApp has no token yet, or has not recorded this namespace in its \
                 status.grantedNamespaces"
                    .to_owned(),
            ),
            Grant::Former => (
                Reason::NotGranted,
                format!(
                    "DingTalkApp {home}/{app} allowed it to a former namespace {namespace}, which was \
                     deleted since: have its owner take {namespace} off spec.referenceGrants, wait \
                     until status.grantedNamespaces does not name it, and add it again"
                ),
            ),
            Grant::NoApp => (
                Reason::AppNotFound,
                format!(
                    "there is no DingTalkApp {home}/{app} in the namespaces that this operator \
                     watches: check spec.appRef, or have it created"
                ),
            ),
            Grant::Absent => (
                Reason::NotGranted,
                format!(
                    "DingTalkApp {home}/{app} does not allow it: have its owner add namespace \
                     {namespace} to spec.referenceGrants"
                ),
            ),
        };
        Some(Self::new(reason, message))
    }

    /// Returns the condition of copies without a problem, whose first token expires at this time.
    pub(super) fn of_copies(expires_at: Option<Timestamp>, now: Timestamp) -> Self {
        let Some(at) = expires_at else {
            return Self::new(Reason::Pending, "the app has no token yet: see its status");
        };
        let until = shown(at);
        if at > now {
            let message = format!("the copy holds valid tokens, the first until {until}");
            return Self::new(Reason::TokensValid, message);
        }
        let message = format!("a token expired at {until}: see the status of the DingTalkApp");
        Self::new(Reason::TokenExpired, message)
    }
}
