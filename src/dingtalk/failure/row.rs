//! A row of the table of failures: what it is recognised by, what it means, what to do.

use strum::IntoStaticStr;

use crate::api::Reason;

/// What decides the pace of the next attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A person must act: 5 to 60 min, and at once when credentials or spec change.
    User,
    /// A quota refills, or a configuration is corrected: 60 min.
    Hourly,
    /// Slow down: 1 to 3 s, doubling to 60 s; 60 s or more where the limit is per minute.
    Throttled {
        /// Whether the limit counts by the minute.
        per_minute: bool,
    },
    /// Stay away: 5 min or more.
    Banned,
    /// It may work right away: 1 s doubling to 60 s, then every 5 min.
    Transient,
    /// Five times as transient, then every 15 min.
    Unknown,
    /// The endpoint speaks nonsense: 30 s to 10 min.
    Garbled,
}

impl Class {
    /// Whether nothing but a person's act will help.
    pub fn needs_a_person(self) -> bool {
        matches!(self, Self::User | Self::Hourly)
    }
}

/// How much of the traffic a throttle or ban holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum Scope {
    /// Calls for this corpId with this client_id only.
    Corp,
    /// Every call with this client_id.
    ClientId,
    /// Every call to this site.
    Site,
}

impl Scope {
    /// The name as it is shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What a row of the table is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The code is exactly this.
    Code(&'static str),
    /// The code contains this.
    CodeContains(&'static str),
    /// The code is a limit of the family that begins with the first, such as `QpsLimitFor`, and the
    /// second is among what it counts by: `QpsLimitForSuitekeyAndOrgAndApi` names `Org`.
    LimitNames(&'static str, &'static str),
    /// The code begins with this.
    CodePrefix(&'static str),
    /// The code is a number of this range, ends included.
    CodeRange(u32, u32),
    /// No code is known and the HTTP status is of this range, ends included.
    Status(u16, u16),
}

/// One row: what it is recognised by, what it means, what to do.
#[derive(Debug)]
pub struct Row {
    /// Any of these.
    pub signals: &'static [Signal],
    /// Its name.
    pub reason: Reason,
    /// Its pace.
    pub class: Class,
    /// What it holds back.
    pub scope: Scope,
    /// What a person does about it.
    pub advice: &'static str,
}

impl Signal {
    /// Whether it is recognised by this code.
    pub fn is_code(self, code: &str) -> bool {
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

    /// Whether it is recognised by this HTTP status.
    pub fn matches_status(self, status: u16) -> bool {
        matches!(self, Self::Status(first, last) if (first..=last).contains(&status))
    }
}
