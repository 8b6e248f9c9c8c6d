//! What an error says.

use std::error::Error;
use std::iter::successors;

use kube::core::Status;

use crate::dingtalk::visible;

/// Most characters of an API server's message: a proxy in front of it may answer with a whole page.
const MESSAGE_MAX: usize = 1024;

/// Returns the API server's own message, without what the client library repeats. Of another error, returns its
/// text and those of its causes.
pub fn said(error: &(dyn Error + 'static)) -> String {
    let chain = || successors(Some(error), |error| (*error).source());
    if let Some(status) = chain().find_map(status) {
        return answered(status);
    }
    let mut text = error.to_string();
    for cause in chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn status<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Status> {
    let boxed = error.downcast_ref::<Box<Status>>();
    boxed.map(Box::as_ref).or_else(|| error.downcast_ref())
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

    /// Regression: a refused connection was only said to be a `client error (Connect)`.
    #[test]
    fn why_there_was_no_answer_is_said() {
        let refused = io::Error::other("Connection refused");
        let error = kube::Error::Service(Box::new(Connect(refused)));
        assert_eq!(
            said(&error),
            "ServiceError: client error (Connect): Connection refused"
        );
    }
}
