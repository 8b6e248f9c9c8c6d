//! The kinds, in logs and metrics.

/// Of apps.
pub(super) const APP: &str = "DingTalkApp";
/// Of references.
pub(super) const REFERENCE: &str = "DingTalkTokenReference";
