//! What a look at one thing says, and what to do.

use serde::Serialize;

/// Whether something stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nothing.
    Ok,
    /// Not yet, or not for sure.
    Warn,
    /// Yes.
    Fails,
    /// Nobody has looked.
    NotChecked,
}

/// What a look at one thing says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What was looked at, such as `site china, DNS`.
    pub subject: String,
    /// Whether it stands in the way.
    pub state: State,
    /// What was seen, or why nobody has looked.
    pub message: String,
    /// What to do; empty if there is nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

impl Verdict {
    fn new(state: State, subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            state,
            message: message.into(),
            advice: advice.to_owned(),
        }
    }

    /// All is well.
    pub fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self::new(State::Ok, subject, message, "")
    }

    /// Something may stand in the way.
    pub fn warn(subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self::new(State::Warn, subject, message, advice)
    }

    /// Something stands in the way.
    pub fn fails(subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self::new(State::Fails, subject, message, advice)
    }

    /// Nobody has looked; `message` says why.
    pub fn not_checked(subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self::new(State::NotChecked, subject, message, advice)
    }
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// There is none.
    Missing,
    /// Whoever asks may not read it.
    Forbidden,
    /// There is no cluster to ask, or it does not answer.
    Unavailable(String),
}

impl Unread {
    /// The verdict if the reason says nothing about the thing itself.
    pub fn verdict(&self, subject: &str, right: &str) -> Verdict {
        match self {
            Self::Missing => Verdict::not_checked(subject, "it does not exist", ""),
            Self::Forbidden => Verdict::not_checked(
                subject,
                format!("no right to {right}"),
                "run it as somebody who has that right",
            ),
            Self::Unavailable(why) => Verdict::not_checked(
                subject,
                format!("no answer from the API server: {why}"),
                "check the kubeconfig, or run it in the operator's pod",
            ),
        }
    }
}
