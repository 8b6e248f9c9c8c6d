//! Shows the results of `check`.

use serde::Serialize;

use crate::cli::output::Tone;
use crate::cli::span::span;
use crate::cli::table::{Cell, Table};
use crate::core;
use crate::dingtalk::{Credentials, Failure, TokenResponse, visible};

/// Result for a corp.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checked {
    corp_id: String,
    site: String,
    /// Only set after a success: if the keys of the Secret were swapped, it is the client secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// Whether DingTalk returned a token.
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_token_as_in_secret: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    message: String,
}

impl Checked {
    /// Creates the result from the response of a site, with its host. `present` is the token in the
    /// Secret.
    pub(super) fn of(
        (site, host): (&str, &str),
        corp_id: &str,
        credentials: &Credentials,
        answer: Result<TokenResponse, Failure>,
        present: Option<&str>,
    ) -> Self {
        let checked = Self {
            corp_id: corp_id.to_owned(),
            site: site.to_owned(),
            ok: answer.is_ok(),
            ..Self::default()
        };
        match answer {
            Ok(response) => {
                let is_same = present.map(|present| present == response.token.expose());
                Self {
                    expires_in_seconds: Some(response.expires_in.as_secs()),
                    same_token_as_in_secret: is_same,
                    client_id: Some(credentials.client_id.clone()),
                    message: succeeded(&response, is_same),
                    ..checked
                }
            }
            Err(failure) => Self {
                reason: Some(failure.reason.as_str()),
                message: format!(
                    "{}: {}",
                    failure.reason.as_str(),
                    core::explain(&failure, (site, host), corp_id)
                ),
                code: failure.code,
                http_status: failure.http_status,
                ..checked
            },
        }
    }

    pub(super) fn line(&self, has_colours: bool) -> String {
        let word = if self.ok { "ok    " } else { "fails " };
        let word = Tone::of(self.ok).paint(word, has_colours);
        format!("{word}{}  {}\n", self.corp_id, visible(&self.message))
    }
}

/// Returns a table of all results with all details.
pub(super) fn table(all: &[Checked], has_colours: bool) -> String {
    Table::default()
        .column("CORPID", all, |it| it.corp_id.as_str())
        .column("RESULT", all, |it| {
            Cell::new(if it.ok { "ok" } else { "fails" }, Tone::of(it.ok))
        })
        .column("SITE", all, |it| it.site.as_str())
        .column("CLIENT ID", all, |it| it.client_id.as_deref())
        .column("VALID FOR", all, |it| {
            let seconds = it.expires_in_seconds?;
            Some(span(i64::try_from(seconds).ok()?))
        })
        .column("IN SECRET", all, |it| {
            let is_same = it.same_token_as_in_secret?;
            Some(if is_same { "same" } else { "another" })
        })
        .column("REASON", all, |it| it.reason)
        .column("CODE", all, |it| it.code.as_deref())
        .column("HTTP", all, |it| {
            it.http_status.map(|status| status.to_string())
        })
        .column("MESSAGE", all, |it| it.message.as_str())
        .render(has_colours)
}

fn succeeded(response: &TokenResponse, is_same: Option<bool>) -> String {
    let seconds = response.expires_in.as_secs();
    let compared = match is_same {
        Some(true) => "; it is the same token as in the Secret",
        Some(false) => {
            "; it differs from the token in the Secret: if DingTalk has revoked that one, `renew` \
             replaces it"
        }
        None => "",
    };
    format!("DingTalk returned a token that is valid for {seconds} s{compared}")
}
