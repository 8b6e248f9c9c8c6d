//! Renewal requests, as target Secrets record them.

use sha2::{Digest, Sha256};

/// Digest of a value of the annotation `renew-requested-at`, which may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RenewRequest(u64);

impl RenewRequest {
    /// Returns the digest of a value.
    pub fn of(value: &str) -> Self {
        let digest = Sha256::digest(value);
        let start = digest.first_chunk().copied().unwrap_or_default();
        Self(u64::from_be_bytes(start))
    }

    /// Parses what [`Self::to_string`] returns.
    pub fn parse(text: &str) -> Option<Self> {
        let request = Self(u64::from_str_radix(text, 16).ok()?);
        (request.to_string() == text).then_some(request)
    }
}

impl std::fmt::Display for RenewRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_back() {
        let request = RenewRequest::of("2026-11-23T00:00:00Z");
        assert_eq!(RenewRequest::parse(&request.to_string()), Some(request));
        assert_ne!(request, RenewRequest::of("2026-11-23T00:00:01Z"));
        for text in ["", "12", "+123456789abcdef", "0123456789abcdeg"] {
            assert_eq!(RenewRequest::parse(text), None, "{text}");
        }
    }
}
