//! The way to DingTalk: TLS, CA bundle, proxies, redirects.

use std::fs;

use dingtalk_stub::{Behaviour, Tls};

use crate::support::{CLIENT_ID, CLIENT_SECRET, Sandbox, shared_plane};

#[tokio::test]
async fn https_needs_a_trusted_certificate_and_takes_an_extra_ca_bundle() {
    let mut sandbox = Sandbox::without_operator("network-tls", shared_plane().await).await;
    let (tls, certificate) = Tls::self_signed().expect("a certificate");
    let port = sandbox.stub.serve_tls("127.0.0.1:0", &tls).await;
    let port = port.expect("a port");
    let site = format!("global=https://localhost:{port}");
    sandbox.start_operator_with(&site, &[], &[]);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox
        .until_failing("payroll", "EndpointUnreachable")
        .await;
    assert!(message.contains("TLS failed"), "{message}");
    assert!(
        sandbox.stub.journal().is_empty(),
        "the client secret was not sent"
    );
    sandbox.stop_operator();
    let bundle = sandbox.folder().join("ca.pem");
    fs::write(&bundle, certificate).expect("written");
    let bundle = bundle.display().to_string();
    sandbox.start_operator_with(&site, &["--ca-bundle", &bundle], &[]);
    sandbox.until_renewed("payroll").await;
}

#[tokio::test]
async fn proxies_come_from_the_environment_and_no_proxy_exempts() {
    let mut sandbox = Sandbox::without_operator("network-proxy", shared_plane().await).await;
    // Only the proxy can be the one that answers for this name.
    let proxy = [("HTTP_PROXY", sandbox.stub.url())].map(|(name, value)| (name, value));
    let environment: Vec<(&str, &str)> = proxy
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let site = "global=http://dingtalk.invalid";
    sandbox.start_operator_with(site, &["--allow-plain-http"], &environment);
    sandbox.ready_app("payroll").await;
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
    sandbox.stop_operator();
    let exempt = [environment, vec![("NO_PROXY", "dingtalk.invalid")]].concat();
    sandbox.start_operator_with(site, &["--allow-plain-http"], &exempt);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, "rotated")
        .await;
    let message = sandbox
        .until_failing("payroll", "EndpointUnreachable")
        .await;
    assert!(message.contains("DNS look-up failed"), "{message}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let sandbox = Sandbox::new("network-redirect").await;
    let elsewhere = Behaviour::Raw {
        status: 307,
        content_type: "text/plain".into(),
        headers: vec![("Location".into(), "/v1.0/oauth2/ding1/token".into())],
        body: String::new(),
    };
    sandbox.stub.next_calls("ding1", Some(1), elsewhere);
    sandbox
        .credentials("payroll-credentials", CLIENT_ID, CLIENT_SECRET)
        .await;
    sandbox.app("payroll", "ding1").await;
    let message = sandbox.until_failing("payroll", "RequestRejected").await;
    assert!(message.contains("HTTP 307"), "{message}");
    assert_eq!(sandbox.stub.calls("ding1").len(), 1);
}

#[tokio::test]
async fn plain_http_is_refused_without_the_flag_for_tests() {
    let mut sandbox = Sandbox::without_operator("network-plain", shared_plane().await).await;
    sandbox.start_operator_with("global=http://127.0.0.1:1", &[], &[]);
    let said = sandbox
        .eventually("an error", async || {
            Some(sandbox.logs()).filter(|logs| logs.contains("error:"))
        })
        .await;
    assert!(
        said.contains("use https to protect the Client Secret"),
        "{said}"
    );
}
