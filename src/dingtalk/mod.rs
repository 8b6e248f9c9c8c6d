//! DingTalk's token endpoint: the request, the answers it can give, what each failure means.

mod client;
mod credentials;
mod failure;
mod limits;
mod redact;
mod wire;

pub use client::{Answer, Client, ClientError, ClientOptions, Site, SiteError};
pub use credentials::{AccessToken, Credentials, CredentialsError, Fingerprint};
pub use failure::{Class, Failure, Reason, Scope, Signal, TABLE};
pub use limits::{Admission, Limits, Rates, Slot};
pub use redact::Redactor;
pub use wire::Minted;
