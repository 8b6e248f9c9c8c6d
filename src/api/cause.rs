use strum::{EnumIter, EnumString, IntoStaticStr};

/// Why a token was fetched or a Secret written: stable names for logs, metrics and
/// `status.corps[].lastRenewalCause`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, EnumString, IntoStaticStr,
)]
pub enum Cause {
    /// The corp has had no token yet.
    FirstToken,
    /// The token's time for renewal has come, or the token has expired.
    RenewalDue,
    /// The attempt before failed, and its backoff is over.
    RetryDue,
    /// The credentials are others than those that the token was fetched with.
    CredentialsChanged,
    /// Somebody set the annotation `renew-requested-at`.
    RenewalRequested,
    /// The spec asks for something else: another site, another Secret, another template.
    SpecChanged,
    /// The target Secret, or the token in it, is gone.
    TargetMissing,
    /// Another writer changed the target Secret.
    TargetChanged,
    /// Another app with the same credentials has a newer token, which is shared.
    TokenShared,
    /// The Secret that a `DingTalkTokenReference` copies has changed.
    SourceChanged,
}

impl Cause {
    /// The name as it is shown.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// What it means, in words for a person.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::FirstToken => "the corpId had no token yet",
            Self::RenewalDue => "the token was due for renewal, or had expired",
            Self::RetryDue => "the last attempt had failed, and its backoff was over",
            Self::CredentialsChanged => "the credentials had changed",
            Self::RenewalRequested => "the annotation renew-requested-at asked for a renewal",
            Self::SpecChanged => "the spec asked for another site, Secret, template or label",
            Self::TargetMissing => "the target Secret or the token in it was gone",
            Self::TargetChanged => "another writer had changed the target Secret",
            Self::TokenShared => "another app with the same credentials had a newer token",
            Self::SourceChanged => "the Secret that is copied had changed",
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
