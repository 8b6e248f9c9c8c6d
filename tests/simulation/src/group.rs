//! Groups of similar apps: their namespace, credentials and corps, and the responses to their calls.

use dingtalk_token_operator::dingtalk::{
    Call, Credentials, CredentialsId, Failure, UNREACHABLE, look_up,
};

use crate::Millis;

/// Response to every call of a group, for the whole simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// The site's response.
    Served,
    /// An error with this code and HTTP status.
    Fails(&'static str, u16),
    /// An HTML page with HTTP status 403.
    Html,
    /// No response.
    Hangs,
}

/// A group of similar apps, each with one corp.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The namespace.
    pub namespace: &'static str,
    /// The site.
    pub site: &'static str,
    /// Number of client_ids.
    pub clients: usize,
    /// Prefix of the client_ids.
    pub client: &'static str,
    /// Number of corps for each client_id.
    pub corps: usize,
    /// Prefix of the corpIds.
    pub corp: &'static str,
    /// The client secret. A call that succeeds proves it for all groups with the same credentials.
    pub secret: &'static str,
    /// Response to every call.
    pub behaviour: Behaviour,
    /// Interval at which renewals of each app are requested.
    pub forced_every: Option<Millis>,
}

impl Group {
    /// Creates a group of apps on the site `global`, each with its own client_id.
    pub fn of(namespace: &'static str, client: &'static str, clients: usize) -> Self {
        Self {
            namespace,
            site: "global",
            clients,
            client,
            corps: 1,
            corp: "corp",
            secret: "right",
            behaviour: Behaviour::Served,
            forced_every: None,
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.clients * self.corps
    }

    pub(crate) fn call(&self, number: usize) -> Call {
        let client_id = format!("{}{}", self.client, number / self.corps);
        let value = |key: &str| {
            let value = if key == "id" { &client_id } else { self.secret };
            Some(value.to_owned().into_bytes().into())
        };
        let fingerprint = Credentials::read("id", "secret", value)
            .map(|credentials| credentials.fingerprint(&[0; 32]))
            .expect("a client_id and a secret");
        Call {
            site: self.site.into(),
            namespace: self.namespace.into(),
            client_id: client_id.as_str().into(),
            corp_id: format!("{}{}", self.corp, number % self.corps).into(),
            credentials: CredentialsId {
                uid: format!("{}/{client_id}/{}", self.namespace, self.secret).into(),
                fingerprint,
            },
        }
    }

    /// Returns the failure of the group's calls; `None` if the site responds.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let answered = |codes: &[&str], status: u16, html: bool| Failure {
            http_status: Some(status),
            html,
            ..Failure::of(look_up(codes, status).0)
        };
        match self.behaviour {
            Behaviour::Served => None,
            Behaviour::Fails(code, status) => Some(answered(&[code], status, false)),
            Behaviour::Html => Some(answered(&[], 403, true)),
            Behaviour::Hangs => Some(Failure::of(&UNREACHABLE)),
        }
    }
}
