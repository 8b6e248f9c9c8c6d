//! Connects to a site step by step, without sending credentials.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

use super::sites::SiteFacts;
use crate::dingtalk::{Client, Site};

/// Time-out for each step, like the operator's for connecting.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// Connects to a site, through the same proxies as the client.
pub(super) async fn look(site: &Site, client: &Client, proxies: &Matcher) -> SiteFacts {
    let proxy = proxy_of(&site.url, proxies);
    let (host, port) = match &proxy {
        Some((host, port, _)) => (host.clone(), *port),
        None => host_of(&site.url),
    };
    let addresses = resolve(&host, port).await;
    let connected = match &addresses {
        Ok(addresses) => Some(connect(addresses).await),
        Err(_) => None,
    };
    let answer = match &connected {
        Some(Ok(_)) => Some(client.probe(&site.name).await),
        _ => None,
    };
    SiteFacts {
        name: site.name.clone(),
        peer: format!("{host}:{port}"),
        proxy: proxy.map(|(_, _, shown)| shown),
        addresses: addresses.map(|all| all.iter().map(SocketAddr::ip).collect()),
        connected,
        is_tls: site.url.scheme() == "https",
        answer,
    }
}

fn host_of(url: &Url) -> (String, u16) {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), url.port_or_known_default().unwrap_or(443))
}

/// Returns the host, the port and the URL without credentials of the proxy for `url`, by the rules of the HTTP
/// client.
fn proxy_of(url: &Url, proxies: &Matcher) -> Option<(String, u16, String)> {
    let uri = url.as_str().parse().ok()?;
    let intercept = proxies.intercept(&uri)?;
    let proxy = intercept.uri();
    let host = proxy.host()?;
    let is_tls = proxy.scheme_str() == Some("https");
    let port = proxy.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let scheme = proxy.scheme_str().unwrap_or("http");
    Some((host.to_owned(), port, format!("{scheme}://{host}:{port}")))
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match timeout(STEP_TIMEOUT, lookup_host((host, port))).await {
        Err(_) => Err(format!("no response within {} s", STEP_TIMEOUT.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(addresses)) => {
            let addresses: Vec<SocketAddr> = addresses.collect();
            match addresses.is_empty() {
                true => Err("the name has no addresses".to_owned()),
                false => Ok(addresses),
            }
        }
    }
}

/// Returns the first address that accepts a connection, or the error of the last one.
async fn connect(addresses: &[SocketAddr]) -> Result<IpAddr, String> {
    let mut last = String::new();
    for address in addresses {
        match timeout(STEP_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(address.ip()),
            Ok(Err(error)) => last = format!("{}: {error}", address.ip()),
            Err(_) => {
                let seconds = STEP_TIMEOUT.as_secs();
                last = format!("{}: no connection within {seconds} s", address.ip());
            }
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use dingtalk_stub::{Stub, Tls};
    use tokio::net::TcpListener;

    use super::super::sites::judge;
    use super::super::verdict::State::{Fails, NotChecked, Ok as Well, Warn};
    use super::*;
    use crate::dingtalk::ClientOptions;

    async fn states(url: &str, extra_ca: Option<Vec<u8>>) -> Vec<super::super::verdict::State> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let site: Site = format!("test={url}").parse().expect("a site");
        let options = ClientOptions {
            sites: vec![site.clone()],
            allow_plain_http: true,
            extra_ca,
            has_proxies: false,
        };
        let client = Client::new(options).expect("a client");
        let verdicts = judge(&look(&site, &client, &Matcher::builder().build()).await);
        verdicts.into_iter().map(|it| it.state).collect()
    }

    #[tokio::test]
    async fn a_stub_answers_over_plain_http_and_is_sent_no_request_for_a_token() {
        let stub = Stub::start(0).await.expect("a stub");
        let states = states(&stub.url(), None).await;
        assert_eq!(states[..5], [Well, Well, Well, Warn, Well]);
        assert!(stub.journal().is_empty());
    }

    #[tokio::test]
    async fn a_closed_port_and_an_unknown_name_fail_where_they_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let closed = states(&format!("https://127.0.0.1:{port}"), None).await;
        assert_eq!(
            closed,
            [Well, Well, Fails, NotChecked, NotChecked, NotChecked]
        );
        let unknown = states("https://dingtalk.invalid", None).await;
        assert_eq!(unknown[1..4], [Fails, NotChecked, NotChecked]);
    }

    #[tokio::test]
    async fn an_untrusted_certificate_fails_until_its_ca_is_trusted() {
        let stub = Stub::start(0).await.expect("a stub");
        let (tls, certificate) = Tls::self_signed().expect("a certificate");
        let port = stub.serve_tls("127.0.0.1:0", &tls).await.expect("a port");
        let url = format!("https://localhost:{port}");
        let refused = states(&url, None).await;
        assert_eq!(refused[2..5], [Well, Fails, NotChecked]);
        let trusted = states(&url, Some(certificate.into_bytes())).await;
        assert_eq!(trusted[2..5], [Well, Well, Well]);
    }
}
