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

/// Returns the findings for each of the accepted objects. `secrets` are the Secrets in the same files, each with its
/// file.
pub(super) fn findings(admitted: &[Admitted], secrets: &[(&str, &Value)]) -> Vec<Vec<Finding>> {
    let decoded = admitted.iter().map(|it| it.decoded("DingTalkApp"));
    let apps: Vec<Option<DingTalkApp>> = decoded.collect();
    let apps_by_name = apps_by_name(apps.iter().flatten());
    let secrets = secrets_by_name(secrets);
    let mut owners = Owners::new();
    let findings = admitted.iter().zip(&apps).map(|(at, app)| match app {
        Some(app) => of_app(at, app, &secrets, &mut owners),
        None => {
            let reference = at.decoded("DingTalkTokenReference");
            let found = reference.and_then(|it| grant(at, &it, &apps_by_name));
            found.into_iter().collect()
        }
    });
    findings.collect()
}

fn of_app<'a>(
    at: &'a Admitted,
    app: &'a DingTalkApp,
    secrets: &BTreeMap<ObjectName<'_>, (&str, &Value)>,
    owners: &mut Owners<'a>,
) -> Vec<Finding> {
    let mut found = Vec::from_iter(credentials(at, app, secrets));
    if let Err(error) = Templates::of(app) {
        let said = error.to_string();
        let (path, message) = path_and_rest(&said);
        found.push(at.reported(path, Reason::InvalidTemplate, message));
    }
    found.extend(shared_target(at, app, owners));
    found
}

/// Divides a message that begins with a field's path, whose keys have neither commas nor colons.
fn path_and_rest(message: &str) -> (&str, &str) {
    let separators = [',', ':', ' '];
    let (path, rest) = message.split_once(separators).unwrap_or(("", message));
    (path, rest.trim_start_matches(separators))
}

/// Returns the apps by namespace and name. Of several with one name, the first counts.
fn apps_by_name<'a>(
    apps: impl Iterator<Item = &'a DingTalkApp>,
) -> BTreeMap<ObjectName<'a>, &'a DingTalkApp> {
    let mut by_name = BTreeMap::new();
    for app in apps {
        if let Some(name) = app.metadata.name.as_deref() {
            let key = (app.metadata.namespace.as_deref(), name);
            by_name.entry(key).or_insert(app);
        }
    }
    by_name
}

/// Returns the Secrets by namespace and name. Of several with one name, the first counts.
fn secrets_by_name<'a>(
    secrets: &[(&'a str, &'a Value)],
) -> BTreeMap<ObjectName<'a>, (&'a str, &'a Value)> {
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

/// The first app that writes each Secret, by namespace and name of the Secret.
type Owners<'a> = BTreeMap<(Option<&'a str>, String), &'a Admitted<'a>>;

/// Returns a finding if an earlier app in the same namespace has the same target Secret.
fn shared_target<'a>(
    at: &'a Admitted,
    app: &'a DingTalkApp,
    owners: &mut Owners<'a>,
) -> Option<Finding> {
    let name = &at.document.place.name;
    if name.is_empty() && app.spec.target.name.is_none() {
        // The default name depends on the generated one, which is unique.
        return None;
    }
    for target in wanted(app) {
        let key = (app.metadata.namespace.as_deref(), target.name.clone());
        let owner = *owners.entry(key).or_insert(at);
        let place = &owner.document.place;
        let is_same = std::ptr::eq(owner, at) || (!name.is_empty() && place.name == *name);
        if !is_same {
            let owner = match place.name.is_empty() {
                true => format!(
                    "the DingTalkApp in {}, document {},",
                    place.file, place.document
                ),
                false => format!("DingTalkApp {}", place.name),
            };
            let message = format!(
                "{owner} also writes the Secret {}, and the older app owns it: set another name",
                target.name
            );
            return Some(at.reported("spec.target.name", Reason::SecretConflict, &message));
        }
    }
    None
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
