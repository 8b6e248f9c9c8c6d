use strum::{EnumIter, EnumString, IntoStaticStr};

/// Why a token was fetched or a Secret written: stable names for logs, metrics and
/// `status.corps[].lastRenewalCause`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, EnumString, IntoStaticStr,
)]
#[expect(missing_docs, reason = "`Cause::meaning` says what each means")]
pub enum Cause {
    FirstToken,
    RenewalDue,
    RetryDue,
    CredentialsChanged,
    RenewalRequested,
    SpecChanged,
    TargetMissing,
    TargetChanged,
    TokenShared,
    SourceChanged,
}

impl Cause {
    /// Returns the name used in logs, metrics and statuses.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns a description for users.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::FirstToken => "the corpId had no token yet",
            Self::RenewalDue => "the token was due for renewal or had expired",
            Self::RetryDue => "the last attempt had failed and its backoff had ended",
            Self::CredentialsChanged => "the credentials had changed",
            Self::RenewalRequested => "the annotation renew-requested-at requested a renewal",
            Self::SpecChanged => "the site, Secret, template or labels in the spec had changed",
            Self::TargetMissing => "the target Secret or the token in it was missing",
            Self::TargetChanged => "another writer had changed the target Secret",
            Self::TokenShared => "another app with the same credentials had a newer token",
            Self::SourceChanged => "the copied Secret had changed",
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn a_cause_is_read_back_from_its_name() {
        for cause in Cause::iter() {
            assert_eq!(cause.as_str().parse(), Ok(cause));
        }
    }
}
