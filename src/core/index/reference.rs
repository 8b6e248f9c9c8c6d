//! What the index keeps of a reference, and whether its app allows the copies.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::app::App;
use crate::api::{AppRef, Layout};
use crate::core::copy::Grant;
use crate::core::secret::desired::per_corp_name;

/// What the index keeps of a reference.
pub(super) struct Reference {
    pub(super) app: AppRef,
    pub(super) target: String,
    pub(super) namespace_uid: Option<String>,
    /// Metadata of the stub that replaces it in the store while it is not served.
    pub(super) metadata: ObjectMeta,
}

/// What the copies of a reference depend on, apart from Secrets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReferenceState {
    pub(super) uid: Option<String>,
    pub(super) generation: Option<i64>,
    pub(super) app: Option<(String, Option<i64>)>,
    pub(super) grant: Grant,
}

/// Returns whether an app allows copies in a namespace, with the namespace's UID if that was read.
pub(super) fn grant(app: Option<&App>, namespace: &str, uid: Option<&str>) -> Grant {
    let Some(app) = app else {
        return Grant::NoApp;
    };
    let granted = Some(app).filter(|app| app.grants.contains(namespace));
    let recorded = granted.map(|app| app.granted.get(namespace));
    match (recorded, uid) {
        (None, _) => Grant::Absent,
        (Some(_), None) => Grant::Unread,
        (Some(None), Some(_)) => Grant::Unrecorded,
        (Some(Some(recorded)), Some(uid)) if recorded == uid => Grant::Given,
        (Some(Some(_)), Some(_)) => Grant::Former,
    }
}

/// Returns the names of an app's Secrets, each with that of its copy.
pub(super) fn copy_names(reference: &Reference, app: &App) -> Vec<(String, String)> {
    let of_corp = |corp_id: &String| {
        let source = per_corp_name(&app.target, corp_id);
        (source, per_corp_name(&reference.target, corp_id))
    };
    match app.layout {
        Layout::Single | Layout::Combined => vec![(app.target.clone(), reference.target.clone())],
        Layout::PerCorp => app.corp_ids.iter().map(of_corp).collect(),
    }
}
