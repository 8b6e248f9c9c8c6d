//! DingTalk's token endpoint as a trait, so that a simulated one can answer.

use async_trait::async_trait;

use crate::dingtalk::{Answer, Client, Credentials};

/// DingTalk's token endpoint.
#[async_trait]
pub(super) trait Endpoint: Send + Sync {
    /// Whether a site of this name is configured.
    fn knows(&self, site: &str) -> bool;

    /// Fetches a token; see [`Client::fetch`].
    async fn fetch(
        &self,
        site: &str,
        corp_id: &str,
        credentials: &Credentials,
        known: Option<&str>,
        is_proven: bool,
    ) -> Answer;
}

#[async_trait]
impl Endpoint for Client {
    fn knows(&self, site: &str) -> bool {
        self.knows(site)
    }

    async fn fetch(
        &self,
        site: &str,
        corp_id: &str,
        credentials: &Credentials,
        known: Option<&str>,
        is_proven: bool,
    ) -> Answer {
        Client::fetch(self, site, corp_id, credentials, known, is_proven).await
    }
}
