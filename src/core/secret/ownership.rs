//! Whose Secret it is.

use kube::Resource;

use crate::api::DingTalkApp;
use crate::core::secret::target::TargetMeta;

/// Which of the apps that name one target has it: the older one, on a tie that of the lower UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
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
pub(crate) enum Ownership {
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

/// Kind and name of an app or reference, as annotations have them.
pub(crate) fn owner_name<K: Resource<DynamicType = ()>>(name: &str) -> String {
    format!("{}/{name}", K::kind(&()))
}

/// Whose Secret `target` is, for the app `name` with `uid`. `lives`: whether an app with a UID exists.
pub(crate) fn ownership(
    target: &TargetMeta,
    name: &str,
    uid: &str,
    lives: impl Fn(&str) -> bool,
    claimed_by_recorded_app: bool,
) -> Ownership {
    let name = owner_name::<DingTalkApp>(name);
    let name = Some(name.as_str());
    match target.owner_uid() {
        Some(recorded) if recorded == uid => Ownership::Ours,
        Some(recorded) if lives(recorded) && claimed_by_recorded_app => Ownership::Younger,
        Some(recorded) if !lives(recorded) && target.owner.as_deref() == name => {
            Ownership::Predecessor
        }
        _ if target.adopt_by() == name => Ownership::Adoptable,
        _ => Ownership::Foreign,
    }
}
