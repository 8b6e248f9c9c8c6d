//! A token, and what is known about it without its value.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::core::token::request::RenewRequest;
use crate::core::token::schedule::Lifetime;
use crate::dingtalk::AccessToken;

/// A version of an object. Part of the annotation `state`, so its field names are a wire format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectVersion {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

impl ObjectVersion {
    /// Returns the version of an object received from the API server.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
        }
    }

    /// Whether it is newer than `other`. The response to a write races with its watch event.
    /// ResourceVersions are documented to be comparable since Kubernetes 1.35, and always were.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let number = |version: &Self| version.resource_version.parse::<u128>().ok();
        match (number(self), number(other)) {
            (Some(new), Some(old)) => new > old,
            _ => self != other,
        }
    }
}

/// What is known about a token without its value. Recorded in the metadata of the Secret that holds
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenRecord {
    /// The site that it was fetched from.
    pub site: String,
    /// The `client_id` it was fetched with.
    pub client_id: String,
    /// Its corp.
    pub corp_id: String,
    /// Its lifetime.
    pub lifetime: Lifetime,
    /// The credentials it was fetched with; empty if they are only known to be former ones.
    pub credentials: ObjectVersion,
    /// The last renewal request that it answers.
    pub answers: Option<RenewRequest>,
}

impl TokenRecord {
    /// Returns the `client_id` it was fetched with, unless the credentials are only known to be
    /// former ones.
    pub fn client_id(&self) -> Option<&str> {
        let is_known = self.credentials != ObjectVersion::default();
        is_known.then_some(self.client_id.as_str())
    }

    /// Whether it is the same token with the same lifetime, whichever credentials it was fetched
    /// with.
    pub fn is_same_token(&self, other: &Self) -> bool {
        (&self.site, &self.corp_id, self.lifetime) == (&other.site, &other.corp_id, other.lifetime)
    }
}

/// A token whose value is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The value.
    pub token: AccessToken,
    /// Everything else.
    pub record: TokenRecord,
}

/// Returns the lifetime that starts at `requested_at` and lasts for `expires_in`. Fractions of
/// seconds, which Kubernetes' times lack, are cut off so that no token seems to live longer.
pub(crate) fn lifetime(requested_at: Timestamp, expires_in: std::time::Duration) -> Lifetime {
    let requested_at = whole_seconds(requested_at);
    let expires_in = SignedDuration::try_from(expires_in).unwrap_or_default();
    Lifetime {
        requested_at,
        expires_at: whole_seconds(
            requested_at
                .saturating_add(expires_in)
                .unwrap_or(Timestamp::MAX),
        ),
    }
}

/// Returns the time without fractions of a second.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
