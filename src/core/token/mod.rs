//! One token: its lifetime, when it is fetched, and the outcomes of its fetches.

pub(in crate::core) mod attempt;
pub(in crate::core) mod backoff;
pub(in crate::core) mod hexadecimal;
pub(in crate::core) mod known_credentials;
pub(in crate::core) mod record;
pub(in crate::core) mod renewals;
pub(in crate::core) mod request;
pub(in crate::core) mod schedule;
pub(in crate::core) mod tokens;
pub(in crate::core) mod why;
