//! What an error says.

use std::error::Error;
use std::iter::successors;

use kube::client::AuthError;
use kube::core::Status;

use crate::dingtalk::visible;

/// Most characters of an API server's message: a proxy in front of it may answer with a whole page.
const MESSAGE_MAX: usize = 1024;
/// The client library's name for what happened before there was an answer. The causes after it say more.
const LIBRARY_PREFIX: &str = "ServiceError: ";

/// Returns the API server's own message, without what the client library repeats. Of another error, returns its
/// text and those of its causes.
pub fn said(error: &(dyn Error + 'static)) -> String {
    if let Some(status) = answer(error) {
        return answered(status);
    }
    if let Some(error) = login_error(error) {
        return not_logged_in(error);
    }
    let mut text = error.to_string();
    for cause in chain(error).skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.replace(LIBRARY_PREFIX, "")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| (*error).source())
}

/// Returns the answer of the API server that an error is about; `None` if there was none.
pub fn answer<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Status> {
    chain(error).find_map(|error| {
        let boxed = error.downcast_ref::<Box<Status>>();
        boxed.map(Box::as_ref).or_else(|| error.downcast_ref())
    })
}

/// Returns why there were no credentials to send to the API server; `None` if the error is another one.
pub fn login_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a AuthError> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// Returns the message of an error about credentials, without the environment and the output of the kubeconfig's
/// program, which may be secret.
fn not_logged_in(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => {
            let complaint = String::from_utf8_lossy(&out.stderr);
            let complaint = visible(complaint.trim());
            let ended = format!(
                "the kubeconfig's credential program ended with {}",
                out.status
            );
            match complaint.is_empty() {
                true => ended,
                false => format!("{ended}: {complaint}"),
            }
        }
        other => other.to_string(),
    }
}

/// Returns the message of an answer. It may quote a webhook.
fn answered(status: &Status) -> String {
    let message = visible(&status.message);
    let message = match message.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message,
    };
    match message.trim() {
        "" => format!("HTTP {} {}", status.code, status.reason)
            .trim_end()
            .to_owned(),
        message => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use kube::runtime::watcher;

    use super::*;

    fn api(message: &str) -> kube::Error {
        let status = Status::failure(message, "NotFound").with_code(404);
        kube::Error::Api(status.boxed())
    }

    /// Regression: the commands repeated the message twice, the second time in Rust's notation.
    #[test]
    fn what_the_api_server_answered_is_said_once() {
        let message = "dingtalkapps \"payroll\" not found";
        assert_eq!(said(&api(message)), message);
        for error in [
            watcher::Error::InitialListFailed(api(message)),
            watcher::Error::WatchStartFailed(api(message)),
            watcher::Error::WatchError(Status::failure(message, "Gone").boxed()),
        ] {
            assert_eq!(said(&error), message);
        }
        assert_eq!(said(&api("")), "HTTP 404 NotFound");
        assert_eq!(said(&api("a\x1bb")), "a b");
        let page = "<p>".repeat(MESSAGE_MAX);
        assert_eq!(said(&api(&page)).chars().count(), MESSAGE_MAX + 1);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Connect(#[source] io::Error);

    /// Regression: the program's environment was said, and its output in Rust's notation.
    #[test]
    fn a_credential_program_that_fails_is_said_to_without_its_secrets() {
        let failed = || AuthError::AuthExecRun {
            cmd: "KEY=\"secret\" \"cloud-login\"".to_owned(),
            out: Box::new(std::process::Output {
                status: std::process::ExitStatus::default(),
                stdout: b"secret".to_vec(),
                stderr: b"session expired\n".to_vec(),
            }),
        };
        for error in [
            kube::Error::Auth(failed()),
            kube::Error::Service(Box::new(failed())),
        ] {
            assert!(login_error(&error).is_some());
            let text = said(&error);
            assert!(
                text.ends_with(": session expired") && !text.contains("secret"),
                "{text}"
            );
        }
        assert!(login_error(&api("no")).is_none());
    }

    /// Regression: a refused connection was only said to be a `client error (Connect)`, and then after a name of
    /// the client library.
    #[test]
    fn why_there_was_no_answer_is_said() {
        let refused = || {
            let cause = io::Error::other("Connection refused");
            kube::Error::Service(Box::new(Connect(cause)))
        };
        let why = "client error (Connect): Connection refused";
        assert_eq!(said(&refused()), why);
        let list = watcher::Error::InitialListFailed(refused());
        let text = said(&list);
        assert!(
            text.ends_with(why) && !text.contains("ServiceError"),
            "{text}"
        );
    }
}
