//! Client for DingTalk's token endpoint: requests, responses and the failure table.

mod body;
mod client;
mod credentials;
mod failure;
mod legacy;
mod pace;
mod redact;
mod unreached;
mod wire;

pub use client::{Answer, Client, ClientError, ClientOptions, Probe, Site, SiteError};
pub use credentials::{AccessToken, Credentials, CredentialsError, Fingerprint};
pub use failure::{Class, Failure, Limit, Pace, Row, Scope, Signal, TABLE, UNREACHABLE, look_up};
pub use legacy::{LEGACY, LegacyRow, look_up_legacy};
pub use pace::{
    Call, Consequences, CredentialsId, Rank, Rates, Reach, Recovery, Scheduler, Started,
};
pub use redact::{Redactor, visible};
pub use unreached::{REQUEST_TIMEOUT, Step, Unreached};
pub use wire::{LIFETIME_MAX, TokenResponse};
