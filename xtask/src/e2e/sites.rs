//! Sites on the node: stubs of DingTalk behind real TLS, one for each behaviour of a repeated fetch.

use std::path::Path;

use dingtalk_stub::{Repeat, Stub, Tls};

use crate::Failure;

/// The node's address, which its pods can reach.
const NODE: &str = "10.200.0.1";
pub(super) const CLIENT_SECRET: &str = "end-to-end-secret";
pub(super) const CORP_ID: &str = "dinge2ecorp";

/// Site and app of deploy/samples.
const SAMPLES_SITE: &str = "china";
const SAMPLE_APP: (&str, &str, &str) = ("dingpayrolldemo", "replace-me", "ding9f50b15bccd16741");

/// A site.
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) url: String,
    pub(super) stub: Stub,
}

impl Site {
    /// Returns how often a token was fetched with this client_id.
    pub(super) fn fetches(&self, client_id: &str) -> usize {
        let calls = self.stub.calls(CORP_ID).into_iter();
        calls
            .filter(|call| call.client_id.as_deref() == Some(client_id))
            .count()
    }
}

/// Name, behaviour and port of each site, and the lifetime of its tokens in seconds.
const SITES: [(&str, Repeat, u16, i64); 6] = [
    ("same-extended", Repeat::SameExtended, 8441, 180),
    ("new-overlap", Repeat::NewOverlap, 8442, 180),
    ("same-remaining", Repeat::SameRemaining, 8443, 120),
    ("new-revoked", Repeat::NewRevoked, 8444, 120),
    // Site of the objects that an earlier release left.
    ("global", Repeat::NewOverlap, 8445, 7200),
    (SAMPLES_SITE, Repeat::NewOverlap, 8446, 7200),
];

/// Starts all sites. `folder` is the node's, whose CA signed the certificate.
pub(super) async fn start(folder: &Path) -> Result<Vec<Site>, Failure> {
    let pki = folder.join("pki");
    let tls = Tls::from_files(&pki.join("apiserver.crt"), &pki.join("apiserver.key"))?;
    let mut sites = Vec::new();
    for (name, repeat, port, life) in SITES {
        let stub = Stub::start(0).await?;
        stub.configure(|settings| {
            settings.repeat = repeat;
            settings.expires_in = life;
        });
        if name == SAMPLES_SITE {
            let (client_id, client_secret, corp_id) = SAMPLE_APP;
            stub.register(client_id, client_secret, &[corp_id]);
        }
        stub.serve_tls((NODE, port), &tls).await?;
        let url = format!("https://{NODE}:{port}");
        sites.push(Site { name, url, stub });
    }
    Ok(sites)
}
