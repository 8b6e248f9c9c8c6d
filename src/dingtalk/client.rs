//! Stateless HTTP client for the token endpoint.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use reqwest::{Certificate, Url, redirect};
use secrecy::ExposeSecret;
use thiserror::Error;
use zeroize::Zeroizing;

use super::failure::{Failure, UNREACHABLE};
use super::unreached::{CONNECT_TIMEOUT, REQUEST_TIMEOUT, Unreached};
use super::wire::{BODY_MAX, RawAnswer, TokenRequest, header, interpret};
use super::{Credentials, Redactor, TokenResponse};

/// Everything but the unreserved characters of RFC 3986 is percent-encoded.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A DingTalk site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Name used in `spec.site`.
    pub name: String,
    /// Base URL of the API, such as `https://api.dingtalk.io`.
    pub url: Url,
}

/// A `--site` flag is invalid: says what to write instead.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SiteError(String);

impl Site {
    /// Returns DingTalk's own sites, `china` and `global`.
    pub fn built_in() -> Vec<Self> {
        let sites = [
            "china=https://api.dingtalk.com",
            "global=https://api.dingtalk.io",
        ];
        sites.iter().filter_map(|site| site.parse().ok()).collect()
    }
}

/// Whether `text` is a DNS label (RFC 1123).
fn is_dns_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl FromStr for Site {
    type Err = SiteError;

    fn from_str(text: &str) -> Result<Self, SiteError> {
        let (name, url) = text.split_once('=').ok_or_else(|| {
            SiteError("write it as NAME=URL, such as global=https://api.dingtalk.io".to_owned())
        })?;
        if !is_dns_label(name) {
            return Err(SiteError(format!(
                "{name:?} is not a valid site name: use a DNS label of at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
            )));
        }
        let parsed = Url::parse(url)
            .map_err(|source| SiteError(format!("{url:?} is not a URL: {source}")))?;
        let is_plain = matches!(parsed.scheme(), "http" | "https")
            && parsed.has_host()
            && parsed.username().is_empty()
            && parsed.password().is_none()
            && parsed.query().is_none()
            && parsed.fragment().is_none();
        if !is_plain {
            return Err(SiteError(format!(
                "{url:?}: write an https URL without user, query or fragment"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            url: parsed,
        })
    }
}

/// Settings of a [`Client`].
#[derive(Debug, Default)]
pub struct ClientOptions {
    /// Sites that can be called.
    pub sites: Vec<Site>,
    /// Allows `http://` URLs; for tests only.
    pub allow_plain_http: bool,
    /// PEM certificates to trust in addition to the system's.
    pub extra_ca: Option<Vec<u8>>,
    /// Whether to use the proxies from the environment (`HTTPS_PROXY`, `NO_PROXY`, …).
    pub has_proxies: bool,
}

/// A [`Client`] could not be created.
#[derive(Debug, Error)]
pub enum ClientError {
    /// A site's URL is not `https`.
    #[error(
        "--site {0}: {1:?}: use https to protect the Client Secret (for tests, see --allow-plain-http)"
    )]
    PlainHttp(String, String),
    /// The CA bundle could not be parsed.
    #[error("the CA bundle contains no usable PEM certificates: {0}")]
    CaBundle(#[source] reqwest::Error),
    /// The HTTP client rejected its settings.
    #[error("cannot set up the HTTP client: {0}")]
    Build(#[source] reqwest::Error),
}

/// Result of a fetch.
pub struct Answer {
    /// The token, or the failure.
    pub result: Result<TokenResponse, Failure>,
    /// Difference between the site's `Date` header and the local clock; positive if the site is ahead.
    pub clock_difference: Option<SignedDuration>,
}

/// Response to a request without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// HTTP status.
    pub status: u16,
    /// Difference between the site's `Date` header and the local clock; positive if the site is ahead.
    pub clock_difference: Option<SignedDuration>,
}

/// HTTP client for the token endpoints of all configured sites.
pub struct Client {
    http: reqwest::Client,
    sites: BTreeMap<String, Url>,
}

impl Client {
    /// Creates a client. Fails if a site uses plain HTTP without permission, or if the CA bundle is invalid.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .https_only(!options.allow_plain_http)
            .user_agent(concat!(
                env!("CARGO_PKG_NAME"),
                "/",
                env!("CARGO_PKG_VERSION")
            ));
        if let Some(pem) = options.extra_ca {
            let certificates = Certificate::from_pem_bundle(&pem).map_err(ClientError::CaBundle)?;
            builder = builder.tls_certs_merge(certificates);
        }
        if !options.has_proxies {
            builder = builder.no_proxy();
        }
        let mut sites = BTreeMap::new();
        for Site { name, url } in options.sites {
            if url.scheme() != "https" && !options.allow_plain_http {
                return Err(ClientError::PlainHttp(name, url.to_string()));
            }
            sites.insert(name, url);
        }
        Ok(Self {
            http: builder.build().map_err(ClientError::Build)?,
            sites,
        })
    }

    /// Returns the names of the configured sites, sorted.
    pub fn sites(&self) -> impl Iterator<Item = &str> {
        self.sites.keys().map(String::as_str)
    }

    /// Returns the host of a site; `None` if no site of this name is configured.
    pub fn host(&self, site: &str) -> Option<&str> {
        self.sites.get(site)?.host_str()
    }

    /// Fetches a token for `corp_id` from `site`, with a timeout of [`REQUEST_TIMEOUT`].
    ///
    /// Messages that contain the client secret or the `known` token are dropped. So are messages that
    /// contain the `client_id`, unless `is_proven`: if the user swapped the keys of the credentials
    /// Secret, it is really the client secret.
    pub async fn fetch(
        &self,
        site: &str,
        corp_id: &str,
        credentials: &Credentials,
        known: Option<&str>,
        is_proven: bool,
    ) -> Answer {
        let mut secrets = vec![credentials.client_secret.expose_secret()];
        let mut public = vec![corp_id];
        secrets.extend(known);
        match is_proven {
            true => public.push(&credentials.client_id),
            false => secrets.push(&credentials.client_id),
        }
        let received = self.send(site, corp_id, credentials).await;
        let now = Timestamp::now();
        match received {
            Ok(received) => Answer {
                result: interpret(&received, &secrets, &public, now),
                clock_difference: clock_difference(&received.headers, now),
            },
            Err(unreached) => Answer {
                result: Err(Failure {
                    message: Redactor::new(secrets, public).clean(&unreached.message),
                    ..Failure::of(&UNREACHABLE)
                }),
                clock_difference: None,
            },
        }
    }

    /// Requests the root of `site` without credentials, to find out whether it responds.
    pub async fn probe(&self, site: &str) -> Result<Probe, Unreached> {
        let response = self.http.get(self.url(site)?.clone()).send().await?;
        Ok(Probe {
            status: response.status().as_u16(),
            clock_difference: clock_difference(response.headers(), Timestamp::now()),
        })
    }

    fn url(&self, site: &str) -> Result<&Url, Unreached> {
        let unknown = || Unreached::without_answer(format!("no site {site:?} is configured"));
        self.sites.get(site).ok_or_else(unknown)
    }

    async fn send(
        &self,
        site: &str,
        corp_id: &str,
        credentials: &Credentials,
    ) -> Result<RawAnswer, Unreached> {
        let url = token_url(self.url(site)?, corp_id);
        let body = super::body::json(&TokenRequest {
            client_id: &credentials.client_id,
            client_secret: credentials.client_secret.expose_secret(),
            grant_type: "client_credentials",
        });
        let body = body.map_err(|_| {
            Unreached::without_answer("cannot write the request as JSON".to_owned())
        })?;
        let request = self.http.post(url).body(body);
        let request = request.header(CONTENT_TYPE, "application/json");
        let mut response = request.send().await?;
        let mut received = RawAnswer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: Zeroizing::default(),
            cut: false,
        };
        while let Some(chunk) = response.chunk().await? {
            if received.body.len() + chunk.len() > BODY_MAX {
                received.cut = true;
                break;
            }
            received.body.extend_from_slice(&chunk);
        }
        Ok(received)
    }
}

fn clock_difference(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let date = httpdate::parse_http_date(header(headers, &DATE)?).ok()?;
    let date = Timestamp::try_from(date).ok()?;
    Some(date.duration_since(now))
}

fn token_url(base: &Url, corp_id: &str) -> Url {
    let corp_id = utf8_percent_encode(corp_id, PATH_SEGMENT);
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!("{prefix}/v1.0/oauth2/{corp_id}/token"));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corp_id_is_percent_encoded() {
        let base = Url::parse("https://api.dingtalk.io").expect("a URL");
        let path = |corp: &str| token_url(&base, corp).path().to_owned();
        assert_eq!(path("dingA-b_1"), "/v1.0/oauth2/dingA-b_1/token");
        assert_eq!(path("../a?b#c d"), "/v1.0/oauth2/..%2Fa%3Fb%23c%20d/token");
        let behind = Url::parse("https://gateway/dingtalk/").expect("a URL");
        assert_eq!(
            token_url(&behind, "x").path(),
            "/dingtalk/v1.0/oauth2/x/token"
        );
    }

    #[test]
    fn a_site_is_a_name_and_a_bare_url() {
        assert!("global=https://api.dingtalk.io".parse::<Site>().is_ok());
        for bad in [
            "",
            "global",
            "=https://a",
            "a=b",
            "a=ftp://b",
            "a=https://u:p@b",
            "a=https://b?c",
        ] {
            assert!(bad.parse::<Site>().is_err(), "{bad}");
        }
        let long = "a".repeat(64);
        for name in ["", "Global", "my_site", "-a", "a-", "a.b", "ä", &long] {
            let error = format!("{name}=https://a.example").parse::<Site>();
            let error = error.expect_err("no name").to_string();
            assert!(error.contains("not a valid site name"), "{name}: {error}");
        }
        for name in ["a", "1", "my-site", &long[1..]] {
            assert!(format!("{name}=https://a.example").parse::<Site>().is_ok());
        }
    }

    #[test]
    fn plain_http_needs_the_flag() {
        let options = |allow_plain_http| ClientOptions {
            sites: vec!["test=http://127.0.0.1:1".parse().expect("a site")],
            allow_plain_http,
            extra_ca: None,
            has_proxies: false,
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        assert!(matches!(
            Client::new(options(false)),
            Err(ClientError::PlainHttp(..))
        ));
        assert!(Client::new(options(true)).is_ok());
    }

    #[test]
    fn the_sites_of_a_client_are_sorted_and_have_a_host() {
        let sites = ["global=https://b.example:444/x", "china=https://a.example"];
        let sites = sites.map(|site| site.parse().expect("a site"));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(ClientOptions {
            sites: sites.into(),
            allow_plain_http: false,
            extra_ca: None,
            has_proxies: false,
        });
        let client = client.expect("a client");
        assert!(client.sites().eq(["china", "global"]));
        assert_eq!(client.host("china"), Some("a.example"));
        assert_eq!(client.host("global"), Some("b.example"));
        assert_eq!(client.host("other"), None);
    }
}
