//! Which namespaces an app's grants were given to.

use std::collections::BTreeMap;

use crate::api::{DingTalkApp, GrantedNamespace, ReferenceGrant};

/// Returns the record of the grants in use: the recorded namespaces that the spec still grants, and
/// those of `asking` (UIDs by namespace) that are granted but not recorded yet.
pub(crate) fn granted_namespaces(
    app: &DingTalkApp,
    recorded: &[GrantedNamespace],
    asking: &BTreeMap<String, String>,
) -> Vec<GrantedNamespace> {
    let record = |ReferenceGrant { namespace }: &ReferenceGrant| {
        let old = recorded.iter().find(|old| old.namespace == *namespace);
        let new = || {
            Some(GrantedNamespace {
                namespace: namespace.clone(),
                uid: asking.get(namespace)?.clone(),
            })
        };
        old.cloned().or_else(new)
    };
    let grants = app.spec.reference_grants.iter();
    grants.filter_map(record).collect()
}
