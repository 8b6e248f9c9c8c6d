//! Types of flags, in the formats of Kubernetes' own programs.

use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use kube::core::Duration as GoDuration;

/// Address for a server to listen on. `0` disables the server, `:8080` means all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BindAddress(pub Option<SocketAddr>);

impl BindAddress {
    /// Returns the address that listens on all of the machine's addresses.
    pub(super) fn every(port: u16) -> Self {
        Self(Some((Ipv6Addr::UNSPECIFIED, port).into()))
    }
}

impl FromStr for BindAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = match (text, text.strip_prefix(':')) {
            ("0", _) => Some(Self(None)),
            (_, Some(port)) => port.parse().ok().map(Self::every),
            (_, None) => text.parse().ok().map(|address| Self(Some(address))),
        };
        address.ok_or(
            "write it as ADDRESS:PORT, such as 127.0.0.1:8080, as :8080 for all addresses, or as 0 to disable it",
        )
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
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let parsed = GoDuration::from_str(text).ok();
    let positive = parsed.filter(|it| !it.is_negative()).map(Duration::from);
    let positive = positive.filter(|it| !it.is_zero());
    positive.ok_or("write it as a positive duration, such as 90s or 5m")
}

/// Parses the name of a namespace.
pub(super) fn namespace(text: &str) -> Result<String, &'static str> {
    let is_namespace = object_name(text).is_ok() && !text.contains('.') && text.len() <= 63;
    is_namespace
        .then(|| text.to_owned())
        .ok_or("write the name of a namespace, such as hr: lower-case letters, digits and '-'")
}

/// Parses a label selector, which must not be empty: that would select everything.
pub(super) fn selector(text: &str) -> Result<String, &'static str> {
    let is_empty = text.trim().is_empty();
    (!is_empty)
        .then(|| text.to_owned())
        .ok_or("write labels, such as team=hr; --all selects all apps of the namespace")
}

/// Parses the name of an object.
pub(super) fn object_name(text: &str) -> Result<String, &'static str> {
    let is_end = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let is_name = text.starts_with(is_end)
        && text.ends_with(is_end)
        && text.chars().all(|it| is_end(it) || matches!(it, '-' | '.'));
    is_name
        .then(|| text.to_owned())
        .ok_or("write only the name, such as payroll: lower-case letters, digits, '-' and '.'")
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

    /// Regression: `payroll/status` was taken for a path, and `renew` waited in vain.
    #[test]
    fn a_name_is_no_path() {
        for name in ["payroll", "a", "0.b-c"] {
            assert_eq!(object_name(name).as_deref(), Ok(name));
        }
        for text in ["", "payroll/status", "dta/payroll", "..", "a?b", "A", "-a"] {
            assert!(object_name(text).is_err(), "{text}");
        }
    }

    /// Regression: `-n hr/dingtalkapps` was taken for a path, and `-n ""` for one as well.
    #[test]
    fn a_namespace_is_no_path() {
        for name in ["hr", "kube-system", "0"] {
            assert_eq!(namespace(name).as_deref(), Ok(name));
        }
        let long = "a".repeat(64);
        for text in ["", "hr/x", "..", "HR", "a.b", "-a", &long] {
            assert!(namespace(text).is_err(), "{text}");
        }
    }

    /// Regression: with `-l "$UNSET"`, `renew` renewed every app of the namespace.
    #[test]
    fn an_empty_selector_does_not_select_everything() {
        assert_eq!(selector("team=hr").as_deref(), Ok("team=hr"));
        assert!(selector("").is_err() && selector(" ").is_err());
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
