//! The kinds, in logs and metrics.

/// Of apps.
pub const APP: &str = "DingTalkApp";
/// Of references.
pub const REFERENCE: &str = "DingTalkTokenReference";
