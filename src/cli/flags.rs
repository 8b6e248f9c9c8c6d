//! Types of flags, in the formats of Kubernetes' own programs.

use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use kube::core::Duration as GoDuration;
use thiserror::Error;

/// Address for a server to listen on. `0` disables the server, `:8080` means all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BindAddress(pub Option<SocketAddr>);

/// The value of a flag is invalid.
#[derive(Debug, Error)]
pub(super) enum FlagError {
    /// It is not an address.
    #[error(
        "write it as ADDRESS:PORT, such as 127.0.0.1:8080, as :8080 for all addresses, or as 0 to disable it"
    )]
    Address,
    /// It is not a positive duration.
    #[error("write it as a positive duration, such as 90s or 5m")]
    Duration,
}

impl BindAddress {
    /// Returns the address that listens on all of the machine's addresses.
    pub(super) fn every(port: u16) -> Self {
        Self(Some((Ipv6Addr::UNSPECIFIED, port).into()))
    }
}

impl FromStr for BindAddress {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        if text == "0" {
            return Ok(Self(None));
        }
        if let Some(port) = text.strip_prefix(':') {
            return port
                .parse()
                .map(Self::every)
                .map_err(|_| FlagError::Address);
        }
        let address = text.parse().map_err(|_| FlagError::Address)?;
        Ok(Self(Some(address)))
    }
}

impl std::fmt::Display for BindAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => formatter.write_str("0"),
            Some(address) if address.ip() == Ipv6Addr::UNSPECIFIED => {
                write!(formatter, ":{}", address.port())
            }
            Some(address) => address.fmt(formatter),
        }
    }
}

/// Parses a positive duration such as `90s`, in the format of `spec.renewBefore`.
pub(super) fn duration(text: &str) -> Result<Duration, FlagError> {
    let duration: GoDuration = text.parse().map_err(|_| FlagError::Duration)?;
    if duration.is_negative() {
        return Err(FlagError::Duration);
    }
    let duration = Duration::from(duration);
    match duration.is_zero() {
        true => Err(FlagError::Duration),
        false => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_every_or_none() {
        let parsed = |text: &str| text.parse::<BindAddress>().ok();
        assert_eq!(parsed("0"), Some(BindAddress(None)));
        assert_eq!(parsed(":8080"), Some(BindAddress::every(8080)));
        let loopback = "127.0.0.1:0".parse().ok();
        assert_eq!(parsed("127.0.0.1:0"), Some(BindAddress(loopback)));
        for text in ["0", ":8080", "127.0.0.1:0", "[::1]:8080"] {
            assert_eq!(parsed(text).map(|it| it.to_string()), Some(text.to_owned()));
        }
        for text in ["", "8080", ":", ":x", "localhost", "1"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_has_a_unit_and_is_positive() {
        assert_eq!(duration("300s").ok(), Some(Duration::from_secs(300)));
        assert_eq!(duration("1m30s").ok(), Some(Duration::from_secs(90)));
        for text in ["300", "0s", "-5s", "", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
