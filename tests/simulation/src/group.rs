//! Apps that are alike: whose they are, and how their calls are answered.

use dingtalk_token_operator::dingtalk::{
    Call, Credentials, CredentialsId, Failure, UNREACHABLE, look_up,
};

use crate::Millis;

/// How every call of a group is answered, for as long as the simulation lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As the endpoint answers.
    Served,
    /// With this code and HTTP status.
    Fails(&'static str, u16),
    /// With HTML and HTTP 403.
    Html,
    /// Not at all.
    Hangs,
}

/// See the module. Each of its apps wants the token of one corp.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The namespace.
    pub namespace: &'static str,
    /// The site.
    pub site: &'static str,
    /// How many `client_id`s; they begin with `client`.
    pub clients: usize,
    /// What each `client_id` begins with.
    pub client: &'static str,
    /// How many corps each has; they begin with `corp`.
    pub corps: usize,
    /// What each corpId begins with.
    pub corp: &'static str,
    /// The client secret: groups with the same one share what it proves.
    pub secret: &'static str,
    /// How the calls are answered.
    pub behaviour: Behaviour,
    /// Each app is asked to renew so often.
    pub forced_every: Option<Millis>,
}

impl Group {
    /// Apps with a `client_id` each, served by the site `global`.
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

    /// The failure that its calls get, if the endpoint does not answer them.
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
