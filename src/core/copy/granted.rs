//! Which namespaces an app's grants were given to.

use std::collections::BTreeMap;

use crate::api::{DingTalkApp, GrantedNamespace};

/// Returns the record of the grants in use: the recorded namespaces that the spec still grants, and
/// those of `asking` (UIDs by namespace) that are granted but not recorded yet.
pub(crate) fn granted_namespaces(
    app: &DingTalkApp,
    recorded: &[GrantedNamespace],
    asking: &BTreeMap<String, String>,
) -> Vec<GrantedNamespace> {
    let grants = app.spec.reference_grants.iter();
    let record = |namespace: &str| {
        let old = recorded.iter().find(|old| old.namespace == namespace);
        old.cloned().or_else(|| {
            Some(GrantedNamespace {
                namespace: namespace.to_owned(),
                uid: asking.get(namespace)?.clone(),
            })
        })
    };
    grants
        .filter_map(|grant| record(&grant.namespace))
        .collect()
}
