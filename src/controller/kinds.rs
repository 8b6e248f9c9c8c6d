//! The kinds, as logs and metrics name them.

pub(super) const APP: &str = "DingTalkApp";
pub(super) const REFERENCE: &str = "DingTalkTokenReference";
