//! Whose Secret it is.

use kube::Resource;

use crate::api::DingTalkApp;
use crate::core::secret::target::TargetMeta;

/// Which of the apps that name one target gets it: the older one, then the one with the lower UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Ours,
    /// Another app, of this name.
    Lost {
        to: String,
    },
}

/// How a Secret under the target's name relates to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    Ours,
    /// Written for a former app of this name; its token is taken over.
    Predecessor,
    /// Written for a younger app that names the same target.
    Younger,
    /// Handed over to this app by its owner.
    Adoptable,
    /// Somebody else's; never touched.
    Foreign,
}

/// Returns kind and name of an app or reference, as in annotations.
pub(crate) fn owner_name<K: Resource<DynamicType = ()>>(name: &str) -> String {
    format!("{}/{name}", K::kind(&()))
}

/// Returns whose Secret `target` is, for the app `name` with `uid`. `lives` is whether an app with
/// a UID exists.
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
        _ if target.adopt_by.as_deref() == name => Ownership::Adoptable,
        _ => Ownership::Foreign,
    }
}
