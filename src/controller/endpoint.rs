//! DingTalk's token endpoint as a trait, so that a simulated one can answer.

use async_trait::async_trait;

use crate::dingtalk::{Answer, Call, Client, Credentials};

#[async_trait]
pub(super) trait Endpoint: Send + Sync {
    fn sites(&self) -> Vec<&str>;

    /// Returns the host of a site; `None` if it is not configured.
    fn host(&self, site: &str) -> Option<&str>;

    /// Fetches a token; see [`Client::fetch`].
    async fn fetch(
        &self,
        call: &Call,
        credentials: &Credentials,
        known: Option<&str>,
        is_proven: bool,
    ) -> Answer;
}

#[async_trait]
impl Endpoint for Client {
    fn sites(&self) -> Vec<&str> {
        Client::sites(self).collect()
    }

    fn host(&self, site: &str) -> Option<&str> {
        Client::host(self, site)
    }

    async fn fetch(
        &self,
        call: &Call,
        credentials: &Credentials,
        known: Option<&str>,
        is_proven: bool,
    ) -> Answer {
        let (site, corp_id) = (&call.site, &call.corp_id);
        Client::fetch(self, site, corp_id, credentials, known, is_proven).await
    }
}
