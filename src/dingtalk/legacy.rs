//! Error codes of DingTalk's older API, `oapi.dingtalk.com`, which programs see when they use a token.
//!
//! Only `explain` and the documentation use them: the operator never calls that API and goes by
//! `TABLE`, which contains some of the same codes.
//!
//! Sources: the list of global return codes in DingTalk's former documentation,
//! <https://github.com/ddtalk/dingTalkDoc> (`source/includes/_server.md`); for 88, 33012, 90018, 300005 and
//! 400001, copies of its successor,
//! <https://open.dingtalk.com/document/orgapp/server-api-error-codes-1>. No code has been reproduced
//! against DingTalk.

/// Meaning of some error codes of the older API.
#[derive(Debug)]
pub struct LegacyRow {
    /// Values of `errcode` or `sub_code`.
    pub codes: &'static [&'static str],
    /// What the codes mean.
    pub meaning: &'static str,
    /// What the user should do.
    pub advice: &'static str,
}

/// Returns the row for an error code.
pub fn look_up_legacy(code: &str) -> Option<&'static LegacyRow> {
    LEGACY.iter().find(|row| row.codes.contains(&code))
}

const READ_AGAIN: &str = "read the token from its file again and repeat the call once; never keep a token \
                          across calls; if it is refused again, see kubectl describe dta, and check that the \
                          program calls the app's own site";
const OWN_FETCH: &str = "use the token from the Secret that the operator writes; a program does not need the \
                         app's Client Secret, and its own fetch may revoke the operator's token";

/// All rows. Codes with the same advice share a row.
pub const LEGACY: &[LegacyRow] = &[
    LegacyRow {
        codes: &["88"],
        meaning: "the call was refused; sub_code and sub_msg in the response say why",
        advice: "look up the sub_code with kubectl dingtalk explain: 40014 is an invalid token, 60011 a missing \
                 permission",
    },
    LegacyRow {
        codes: &["40014"],
        meaning: "the access token is not valid: it was revoked by a newer one, was truncated, or belongs to \
                  another site",
        advice: READ_AGAIN,
    },
    LegacyRow {
        codes: &["42001"],
        meaning: "the access token has expired",
        advice: READ_AGAIN,
    },
    LegacyRow {
        codes: &["40001"],
        meaning: "the Client Secret is wrong, or the access token is not valid",
        advice: OWN_FETCH,
    },
    LegacyRow {
        codes: &["40089", "40096"],
        meaning: "the program has fetched a token itself, with a wrong Client ID or Client Secret",
        advice: OWN_FETCH,
    },
    LegacyRow {
        codes: &["41001"],
        meaning: "the call carries no access token",
        advice: "send it as ?access_token= to oapi.dingtalk.com, and as the header \
                 x-acs-dingtalk-access-token to api.dingtalk.com or, for site global, api.dingtalk.io",
    },
    LegacyRow {
        codes: &["60011"],
        meaning: "the app lacks the permission for this API, or for this department or user",
        advice: "add the permission that sub_msg names in the developer console, and have the organisation \
                 consent to it",
    },
    LegacyRow {
        codes: &["48002"],
        meaning: "this API is not open to the app",
        advice: "add the API's permission in the developer console",
    },
    LegacyRow {
        codes: &["50002"],
        meaning: "the user is outside of the app's scope",
        advice: "extend the scope of contacts that the app may read, or call for another user",
    },
    LegacyRow {
        codes: &["33012", "40003", "46004", "60111", "60121"],
        meaning: "the organisation has no such user",
        advice: "check that the userid is not empty and belongs to the token's organisation; a unionid or a \
                 phone number is not a userid",
    },
    LegacyRow {
        codes: &["40009", "60003"],
        meaning: "the organisation has no such department",
        advice: "check the dept_id; the root department is 1",
    },
    LegacyRow {
        codes: &["40056", "41011", "70003", "70004"],
        meaning: "the agentid is missing, or does not belong to the organisation",
        advice: "copy the AgentId from the app's page in the developer console; a third-party app has a \
                 different one in each organisation",
    },
    LegacyRow {
        codes: &["40078", "42008"],
        meaning: "the temporary login code does not exist, was already used, or has expired",
        advice: "request a new code; each can be used once and expires after some minutes",
    },
    LegacyRow {
        codes: &["40029", "42003"],
        meaning: "the OAuth code is wrong or has expired",
        advice: "request a new code; each can be used once and expires after some minutes",
    },
    LegacyRow {
        codes: &["40035", "41002", "41004", "41009", "41010"],
        meaning: "a parameter is missing or is not valid",
        advice: "compare the request with the API's page in DingTalk's documentation; errmsg names the \
                 parameter",
    },
    LegacyRow {
        codes: &["40038", "43004", "43005", "43009", "47001"],
        meaning: "the body is not the JSON that the API expects",
        advice: "send JSON in UTF-8 with Content-Type: application/json",
    },
    LegacyRow {
        codes: &["43001", "43002", "43003", "43008"],
        meaning: "the API requires a different method, HTTPS, or a multipart body",
        advice: "call it as described on the API's page in DingTalk's documentation",
    },
    LegacyRow {
        codes: &["45009", "90018"],
        meaning: "the app calls this API too often; 90018 is the limit per second",
        advice: "wait at least a second and repeat the call; spread calls, and cache results if possible",
    },
    LegacyRow {
        codes: &["52013", "52016"],
        meaning: "the signature of a page's JSAPI configuration is wrong",
        advice: "sign the page's URL up to the # with the current jsapi_ticket; fetch the ticket with the \
                 token from the Secret",
    },
    LegacyRow {
        codes: &["300005"],
        meaning: "no custom robot has the access_token in the webhook's URL",
        advice: "copy the webhook's URL from the robot's settings; its access_token is not an app's token, \
                 and the operator does not manage it",
    },
    LegacyRow {
        codes: &["400001"],
        meaning: "DingTalk had an internal error",
        advice: "repeat the call later, three times at most",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_is_a_number_that_stands_in_one_row() {
        let codes: Vec<&str> = LEGACY.iter().flat_map(|row| row.codes).copied().collect();
        let different: BTreeSet<&str> = codes.iter().copied().collect();
        assert_eq!(different.len(), codes.len());
        for code in codes {
            assert!(code.parse::<u32>().is_ok(), "{code}");
            assert!(look_up_legacy(code).is_some(), "{code}");
        }
        assert!(look_up_legacy("1").is_none());
    }
}
