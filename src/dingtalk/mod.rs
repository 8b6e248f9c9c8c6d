//! DingTalk's token endpoint: the request, the answers it can give, what each failure means.

mod client;
mod credentials;
mod failure;
mod limits;
mod queue;
mod redact;
mod wire;

pub use client::{Answer, Client, ClientError, ClientOptions, REQUEST_TIMEOUT, Site, SiteError};
pub use credentials::{AccessToken, Credentials, CredentialsError, Fingerprint};
pub use failure::{Class, Failure, Reason, Row, Scope, Signal, TABLE, UNREACHABLE, look_up};
pub use limits::{Admission, Limits, Rates, Slot};
pub use queue::{Queue, Started};
pub use redact::Redactor;
pub use wire::Minted;
