//! Types of flags, written as Kubernetes' own programs have them.

use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use kube::core::Duration as GoDuration;
use thiserror::Error;

/// Where a server listens, if it is to run: `0` turns it off, `:8080` is every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress(pub Option<SocketAddr>);

/// Why text is no flag's value.
#[derive(Debug, Error)]
pub enum FlagError {
    /// It is no address.
    #[error(
        "write it as ADDRESS:PORT, such as 127.0.0.1:8080, as :8080 for every address, or as 0 to turn it off"
    )]
    Address,
    /// It is no duration.
    #[error("write it as a positive duration, such as 90s or 5m")]
    Duration,
}

impl BindAddress {
    /// Every address of the machine.
    pub fn every(port: u16) -> Self {
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

/// A duration such as `90s`; `spec.renewBefore` is written in the same way.
pub fn duration(text: &str) -> Result<Duration, FlagError> {
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
