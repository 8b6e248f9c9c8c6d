//! To which namespaces an app's grants were given.

use std::collections::BTreeMap;

use crate::api::{DingTalkApp, GrantedNamespace};

/// The record of the grants that were made use of: what it says of those that are in the spec, and
/// those of `asking`, namespaces with their UIDs, that it does not name.
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
