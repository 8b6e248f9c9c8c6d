//! Whose Secret it is.

use super::TargetMeta;

/// Which of the apps that name one target has it: the older one, on a tie that of the lower UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This app.
    Ours,
    /// The app of this name.
    Lost {
        /// Its name.
        to: String,
    },
}

/// What a Secret under the target's name is to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Written for this app.
    Ours,
    /// Written for an app of this name that is gone: its token is taken over.
    Predecessor,
    /// Written for a younger app that named the same target.
    Younger,
    /// Its owner hands it to this app.
    Adoptable,
    /// Somebody else's: not touched.
    Foreign,
}

/// Whose Secret `target` is, for the app `name` with `uid`. `lives` tells whether an app with a
/// UID exists.
pub fn ownership(
    target: &TargetMeta,
    name: &str,
    uid: &str,
    lives: impl Fn(&str) -> bool,
    claimed_by_recorded_app: bool,
) -> Ownership {
    let recorded_name = target.owner_name.as_deref();
    match target.app_uid().filter(|_| target.is_managed()) {
        Some(recorded) if recorded == uid => Ownership::Ours,
        Some(recorded) if lives(recorded) && claimed_by_recorded_app => Ownership::Younger,
        Some(recorded) if !lives(recorded) && recorded_name == Some(name) => Ownership::Predecessor,
        _ if target.adopt_by() == Some(name) => Ownership::Adoptable,
        _ => Ownership::Foreign,
    }
}
