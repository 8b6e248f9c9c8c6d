//! The request for new tokens.

use jiff::Timestamp;

use crate::api::CorpStatus;

#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Value of the annotation: the time of the request.
    pub text: String,
    /// When the wait for the result ends.
    pub ends_at: Timestamp,
}

impl Request {
    /// Whether the corp's token was fetched after the request. Times in statuses are whole seconds.
    pub(super) fn is_before(&self, corp: &CorpStatus) -> bool {
        let second = self.text.get(..19).unwrap_or(&self.text);
        let renewed = corp.last_renewal_time.as_deref();
        renewed.is_some_and(|at| at >= second)
    }
}
