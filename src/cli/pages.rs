//! Lists objects in pages.

use kube::api::ListParams;
use kube::core::ObjectList;

/// Maximum number of objects in a page, as in kubectl.
const PAGE: u32 = 500;
/// HTTP status of a page whose list the API server no longer has.
const GONE: u16 = 410;

/// Returns all objects of a list. `list` requests a page. If the API server drops the list before the last page,
/// starts again once.
pub(super) async fn all_pages<T: Clone>(
    parameters: ListParams,
    list: impl AsyncFn(ListParams) -> Result<ObjectList<T>, kube::Error>,
) -> Result<Vec<T>, kube::Error> {
    let first = parameters.limit(PAGE);
    match pages_from(&first, &list).await {
        Err(error) if is_gone(&error) => pages_from(&first, &list).await,
        listed => listed,
    }
}

async fn pages_from<T: Clone>(
    first: &ListParams,
    list: impl AsyncFn(ListParams) -> Result<ObjectList<T>, kube::Error>,
) -> Result<Vec<T>, kube::Error> {
    let mut items = Vec::new();
    let mut page = first.clone();
    loop {
        let found = list(page).await?;
        items.extend(found.items);
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = first.clone().continue_token(&token),
            None => return Ok(items),
        }
    }
}

/// Whether the API server no longer has the list.
pub(super) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == GONE)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::{Value, json};

    use super::*;

    /// An answer of the API server: items and the token of the next page, or an error's code.
    type Answer = Result<(Vec<u32>, &'static str), u16>;

    /// Limit and token of a request.
    type Request = (Option<u32>, Option<String>);

    /// Lists with these answers. Returns the result and the requests.
    async fn listed(answers: Vec<Answer>) -> (Result<Vec<u32>, kube::Error>, Vec<Request>) {
        let answers = RefCell::new(answers.into_iter());
        let requests = RefCell::new(Vec::new());
        let list = async |page: ListParams| {
            assert_eq!(page.label_selector.as_deref(), Some("team=hr"));
            requests
                .borrow_mut()
                .push((page.limit, page.continue_token));
            let answer = answers.borrow_mut().next().expect("an answer");
            answer.map(page_of).map_err(error_of)
        };
        let items = all_pages(ListParams::default().labels("team=hr"), list).await;
        assert_eq!(answers.borrow_mut().next(), None, "not asked for");
        (items, requests.take())
    }

    fn page_of((items, token): (Vec<u32>, &str)) -> ObjectList<u32> {
        let list: Value = json!({
            "apiVersion": "v1", "kind": "List", "metadata": {"continue": token}, "items": items,
        });
        serde_json::from_value(list).expect("a list")
    }

    fn error_of(code: u16) -> kube::Error {
        let status = json!({"status": "Failure", "message": "no", "code": code});
        kube::Error::Api(serde_json::from_value(status).expect("a status"))
    }

    fn request(token: Option<&str>) -> Request {
        (Some(500), token.map(str::to_owned))
    }

    #[tokio::test]
    async fn each_page_is_requested_with_the_token_of_the_one_before() {
        let (items, requests) = listed(vec![Ok((vec![1, 2], "a")), Ok((vec![3], ""))]).await;
        assert_eq!(items.expect("items"), [1, 2, 3]);
        assert_eq!(requests, [request(None), request(Some("a"))]);
    }

    #[tokio::test]
    async fn a_list_that_the_api_server_dropped_is_started_again_once() {
        let (items, requests) = listed(vec![
            Ok((vec![1], "a")),
            Err(410),
            Ok((vec![1], "b")),
            Ok((vec![2], "")),
        ])
        .await;
        assert_eq!(items.expect("items"), [1, 2]);
        let tokens = [None, Some("a"), None, Some("b")];
        assert_eq!(requests, tokens.map(request));
        let answers = vec![Ok((vec![1], "a")), Err(410), Ok((vec![1], "b")), Err(410)];
        let error = listed(answers).await.0.expect_err("dropped twice");
        assert!(is_gone(&error), "{error}");
        let error = listed(vec![Err(403)]).await.0.expect_err("forbidden");
        assert!(!is_gone(&error), "{error}");
    }
}
