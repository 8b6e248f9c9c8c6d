//! Finds problems that the operator would report for valid manifests, as far as the files show them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use super::check::{Finding, Severity};
use super::manifests::Document;
use crate::api::{DingTalkApp, DingTalkTokenReference, Reason};
use crate::core::{Templates, wanted};
use crate::dingtalk::Credentials;

/// An object that the API server would accept.
pub(super) struct Admitted<'a> {
    pub document: &'a Document,
    /// The object, with defaults.
    pub object: Value,
}

impl Admitted<'_> {
    fn decoded<T: DeserializeOwned>(&self, kind: &str) -> Option<T> {
        let object = Some(&self.object).filter(|it| it["kind"] == kind)?;
        serde_json::from_value(object.clone()).ok()
    }

    fn reported(&self, path: &str, reason: Reason, message: &str) -> Finding {
        Finding {
            place: self.document.place.clone(),
            path: path.to_owned(),
            message: format!("{message}: the operator would report {}", reason.as_str()),
            severity: Severity::Reported,
        }
    }
}

type ObjectName<'a> = (Option<&'a str>, &'a str);

/// Returns the findings for accepted objects. `secrets` are the Secrets in the same files, each with its file.
pub(super) fn findings(admitted: &[Admitted], secrets: &[(&str, &Value)]) -> Vec<Finding> {
    let apps: Vec<(&Admitted, DingTalkApp)> = admitted
        .iter()
        .filter_map(|it| Some((it, it.decoded("DingTalkApp")?)))
        .collect();
    let secrets = by_name(secrets);
    let mut found = Vec::new();
    for (at, app) in &apps {
        found.extend(credentials(at, app, &secrets));
        if let Err(error) = Templates::of(app) {
            let path = "spec.target.template.data";
            found.push(at.reported(path, Reason::InvalidTemplate, &error.to_string()));
        }
    }
    found.extend(shared_targets(&apps));
    // Of several apps with one name, the first counts.
    let mut apps_by_name: BTreeMap<ObjectName<'_>, &DingTalkApp> = BTreeMap::new();
    for (_, app) in &apps {
        let name = app.metadata.name.as_deref().unwrap_or_default();
        let key = (app.metadata.namespace.as_deref(), name);
        apps_by_name.entry(key).or_insert(app);
    }
    for at in admitted {
        if let Some(reference) = at.decoded("DingTalkTokenReference") {
            found.extend(grant(at, &reference, &apps_by_name));
        }
    }
    found
}

/// Returns the Secrets by namespace and name. Of several with one name, the first counts.
fn by_name<'a>(secrets: &[(&'a str, &'a Value)]) -> BTreeMap<ObjectName<'a>, (&'a str, &'a Value)> {
    let mut by_name = BTreeMap::new();
    for (file, object) in secrets {
        let metadata = &object["metadata"];
        if let Some(name) = metadata["name"].as_str() {
            let key = (metadata["namespace"].as_str(), name);
            by_name.entry(key).or_insert((*file, *object));
        }
    }
    by_name
}

/// Returns a finding if the app's credentials Secret is in the files but unusable.
fn credentials(
    at: &Admitted,
    app: &DingTalkApp,
    secrets: &BTreeMap<ObjectName<'_>, (&str, &Value)>,
) -> Option<Finding> {
    let wanted = &app.spec.credentials_secret_ref;
    let key = (app.metadata.namespace.as_deref(), wanted.name.as_str());
    let (file, object) = *secrets.get(&key)?;
    let place = format!("Secret {} in {file}", wanted.name);
    let path = "spec.credentialsSecretRef";
    let secret: Secret = match serde_json::from_value(object.clone()) {
        Ok(secret) => secret,
        // The error may quote a value.
        Err(_) => {
            let message =
                format!("{place} is not a valid Secret: data needs base64, stringData plain text");
            return Some(at.reported(path, Reason::CredentialsNotFound, &message));
        }
    };
    let lookup = |key: &str| {
        let text = secret.string_data.as_ref().and_then(|all| all.get(key));
        let text = text.map(|text| text.as_bytes().to_vec());
        let bytes = || secret.data.as_ref()?.get(key).map(|bytes| bytes.0.clone());
        text.or_else(bytes).map(Zeroizing::new)
    };
    let read = Credentials::read(&wanted.client_id_key, &wanted.client_secret_key, lookup);
    let error = read.err()?;
    let reason = match error.is_invalid_value() {
        true => Reason::CredentialsInvalid,
        false => Reason::CredentialsKeyMissing,
    };
    Some(at.reported(path, reason, &format!("{place}: {error}")))
}

/// Returns findings for apps with the same target Secret as an earlier app in the same namespace.
fn shared_targets(apps: &[(&Admitted, DingTalkApp)]) -> Vec<Finding> {
    let mut owners: BTreeMap<(Option<&str>, String), &str> = BTreeMap::new();
    let mut found = Vec::new();
    for (at, app) in apps {
        let name = app.metadata.name.as_deref().unwrap_or_default();
        for target in wanted(app) {
            let key = (app.metadata.namespace.as_deref(), target.name.clone());
            let owner = *owners.entry(key).or_insert(name);
            if owner != name {
                let message = format!(
                    "DingTalkApp {owner} also writes the Secret {}, and the older app owns it: set another name",
                    target.name
                );
                found.push(at.reported("spec.target.name", Reason::SecretConflict, &message));
                break;
            }
        }
    }
    found
}

/// Returns a finding if the app that a reference refers to is in the files but does not allow the copy.
fn grant(
    at: &Admitted,
    reference: &DingTalkTokenReference,
    apps: &BTreeMap<ObjectName<'_>, &DingTalkApp>,
) -> Option<Finding> {
    let wanted = &reference.spec.app_ref;
    let namespace = reference.metadata.namespace.as_deref()?;
    let app = apps.get(&(Some(wanted.namespace.as_str()), wanted.name.as_str()))?;
    let mut grants = app.spec.reference_grants.iter();
    if grants.any(|grant| grant.namespace == namespace) {
        return None;
    }
    let message = format!(
        "DingTalkApp {}/{} has no spec.referenceGrants entry for namespace {namespace}: add it",
        wanted.namespace, wanted.name
    );
    Some(at.reported("spec.appRef", Reason::NotGranted, &message))
}
