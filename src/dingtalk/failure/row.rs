//! Row type of the failure table.

use strum::IntoStaticStr;

use super::class::Class;
use crate::api::Reason;

/// Requests that a throttle or ban applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum Scope {
    /// Requests for this corp with this `client_id`.
    Corp,
    /// All requests with this `client_id`.
    ClientId,
    /// All requests to this site.
    Site,
}

impl Scope {
    /// Returns the name shown in statuses.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Matches an error code or an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Matches this code.
    Code(&'static str),
    /// Matches codes that contain this text.
    CodeContains(&'static str),
    /// Matches limits that count by a given key. `LimitNames("QpsLimitFor", "Org")` matches
    /// `QpsLimitForSuitekeyAndOrgAndApi`.
    LimitNames(&'static str, &'static str),
    /// Matches codes that start with this text.
    CodePrefix(&'static str),
    /// Matches numeric codes in this inclusive range.
    CodeRange(u32, u32),
    /// Matches HTTP statuses in this inclusive range.
    Status(u16, u16),
}

/// How to recognise and handle one kind of failure.
#[derive(Debug)]
pub struct Row {
    /// The row applies if any of these match.
    pub signals: &'static [Signal],
    /// Reason shown to users.
    pub reason: Reason,
    /// Determines when to retry.
    pub class: Class,
    /// Requests that a throttle or ban applies to.
    pub scope: Scope,
    /// What the user should do.
    pub advice: &'static str,
}

impl Signal {
    /// Whether this error code matches.
    pub fn matches_code(self, code: &str) -> bool {
        match self {
            Self::Code(exact) => code == exact,
            Self::CodeContains(part) => code.contains(part),
            Self::LimitNames(family, name) => code
                .split_once(family)
                .is_some_and(|(_, names)| names.split("And").any(|it| it.starts_with(name))),
            Self::CodePrefix(start) => code.starts_with(start),
            Self::CodeRange(first, last) => code
                .parse::<u32>()
                .is_ok_and(|number| (first..=last).contains(&number)),
            Self::Status(..) => false,
        }
    }

    /// Whether this HTTP status matches.
    pub fn matches_status(self, status: u16) -> bool {
        matches!(self, Self::Status(first, last) if (first..=last).contains(&status))
    }
}
