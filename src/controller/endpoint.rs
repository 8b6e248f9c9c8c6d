//! DingTalk's token endpoint as a trait, so that a simulated one can answer.

use futures::future::BoxFuture;

use crate::dingtalk::{Answer, Client, Credentials};

/// See the module.
pub trait Endpoint: Send + Sync {
    /// Whether there is a site of this name.
    fn knows(&self, site: &str) -> bool;

    /// Fetches a token; see [`Client::fetch`].
    fn fetch<'a>(
        &'a self,
        site: &'a str,
        corp_id: &'a str,
        credentials: &'a Credentials,
        known: Option<&'a str>,
        is_proven: bool,
    ) -> BoxFuture<'a, Answer>;
}

impl Endpoint for Client {
    fn knows(&self, site: &str) -> bool {
        self.knows(site)
    }

    fn fetch<'a>(
        &'a self,
        site: &'a str,
        corp_id: &'a str,
        credentials: &'a Credentials,
        known: Option<&'a str>,
        is_proven: bool,
    ) -> BoxFuture<'a, Answer> {
        Box::pin(self.fetch(site, corp_id, credentials, known, is_proven))
    }
}
