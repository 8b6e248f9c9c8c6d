//! Requests to the API server.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::Sandbox;

/// Name prefix of apps that only show how far the operator is. Requests for them do not count.
pub(super) const MARKER: &str = "marker-";

impl Sandbox {
    /// Returns the requests of this test's operator so far, each as `verb resource`, without watches and lists.
    pub fn requests(&self) -> Vec<String> {
        let mut requests = self.all_requests();
        requests.retain(|it| !it.starts_with("watch ") && !it.starts_with("list "));
        requests
    }

    /// Like [`Self::requests`], with lists and with watches that have ended.
    pub fn all_requests(&self) -> Vec<String> {
        let mut entries = self.audited();
        entries.retain(|entry| !text(&entry["objectRef"]["name"]).starts_with(MARKER));
        entries.iter().map(request).collect()
    }

    /// Whether the operator has written the status of an app.
    pub(super) fn has_written_status(&self, name: &str) -> bool {
        self.audited().iter().any(|entry| {
            entry["objectRef"]["name"] == name && request(entry) == "patch dingtalkapps/status"
        })
    }

    /// Returns the audit log's entries for the operator's completed requests.
    fn audited(&self) -> Vec<Value> {
        let user = format!("system:serviceaccount:{}:operator", self.namespace);
        let log = fs::read_to_string(&self.audit_log).expect("an audit log");
        let entries = log.lines().filter(|line| line.contains(&user));
        let entries = entries.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_answered = |entry: &Value| {
            entry["stage"] == "ResponseComplete" && entry["user"]["username"] == user
        };
        entries.filter(is_answered).collect()
    }

    /// Returns everybody's requests that mention this test's namespace, as JSON lines.
    pub(super) fn requests_of_namespace(&self) -> io::Result<String> {
        let log = fs::read_to_string(&self.audit_log)?;
        let mut lines: Vec<&str> = log.lines().collect();
        lines.retain(|line| line.contains(&self.namespace));
        Ok(lines.join("\n"))
    }

    /// Returns the path of the audit log, which has every request to the API server as a JSON line.
    pub fn audit_log(&self) -> &Path {
        &self.audit_log
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns an entry as `verb resource`.
fn request(entry: &Value) -> String {
    let verb = text(&entry["verb"]);
    let reference = &entry["objectRef"];
    let resource = text(&reference["resource"]);
    match text(&reference["subresource"]) {
        "" => format!("{verb} {resource}"),
        part => format!("{verb} {resource}/{part}"),
    }
}
