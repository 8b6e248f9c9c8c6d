use strum::IntoEnumIterator as _;

use super::*;
use crate::api::Origin;

fn meaning(codes: &[&str], status: u16) -> (Reason, Class, Scope) {
    let (row, _) = look_up(codes, status);
    (row.reason, row.class, row.scope)
}

#[test]
fn every_row_of_the_documented_table() {
    use Reason::*;
    let throttled = |per_minute| Class::Throttled { per_minute };
    let rows: &[(&[&str], u16, Reason, Class, Scope)] = &[
        (
            &[
                "invalid.client",
                "invalid_client",
                "invalidClientIdOrSecret",
                "40001",
                "40089",
                "40096",
            ],
            400,
            InvalidCredentials,
            Class::User,
            Scope::Corp,
        ),
        (
            &[
                "unauthorized.client",
                "invalidAuthInfo",
                "41030",
                "48004",
                "50003",
            ],
            401,
            AppNotAuthorized,
            Class::User,
            Scope::Corp,
        ),
        (
            &["invalidCorpId", "33001", "40013", "50005", "70001"],
            400,
            InvalidCorpId,
            Class::User,
            Scope::Corp,
        ),
        (
            &["Forbidden.AccessDenied.IpNotInWhiteList", "60020"],
            403,
            IpNotAllowed,
            Class::User,
            Scope::Corp,
        ),
        (
            &["ApiCountLimitForOrg", "90020"],
            403,
            QuotaExceeded,
            Class::Quota,
            Scope::Corp,
        ),
        (
            &[
                "unsupported.grant.type",
                "MissingBody",
                "Missingclient_id",
                "Invalidbody",
                "InvalidAction.NotFound",
                "404",
                "405",
            ],
            400,
            RequestRejected,
            Class::Configuration,
            Scope::Corp,
        ),
        (
            &[
                "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi",
                "Forbidden.AccessDenied.QpsLimitForSuitekeyAndApi",
                "Forbidden.AccessDenied.QpsLimitForNobodyHasSeenIt",
                "90018",
                "90019",
            ],
            403,
            Throttled,
            throttled(false),
            Scope::ClientId,
        ),
        (
            &[
                "Forbidden.AccessDenied.QpsLimitForApi",
                "90002",
                "systemBusy",
                "system.busy",
                "systemError.busy",
            ],
            403,
            Throttled,
            throttled(false),
            Scope::Site,
        ),
        (
            &[
                "Forbidden.AccessDenied.QpsLimitForSuitekeyAndOrgAndApi",
                "Forbidden.AccessDenied.QpsLimitForAppkeyAndOrg",
                "Forbidden.AccessDenied.QpsLimitForOrg",
                "Forbidden.AccessDenied.QpsLimitForOrgAndApi",
            ],
            403,
            Throttled,
            throttled(false),
            Scope::Corp,
        ),
        (
            &[
                "Forbidden.AccessDenied.QpmLimitForSuitekeyAndOrgAndApi",
                "Forbidden.AccessDenied.QpmLimitForOrg",
            ],
            403,
            Throttled,
            throttled(true),
            Scope::Corp,
        ),
        (
            &[
                "Forbidden.AccessDenied.QpmLimitForAppkeyAndApi",
                "Forbidden.AccessDenied.QpmLimitForSuitekeyAndApi",
                "Forbidden.AccessDenied.QpmLimitForApi",
                "QpmLimit",
            ],
            403,
            Throttled,
            throttled(true),
            Scope::ClientId,
        ),
        (
            &["90003", "90004", "90005", "90006", "90007", "90008"],
            200,
            Banned,
            Class::Banned,
            Scope::Corp,
        ),
        (
            &["90009", "90010", "90011", "90012", "90013", "90014"],
            200,
            Banned,
            Class::Banned,
            Scope::ClientId,
        ),
        (
            &["90017", "90001", "1111"],
            200,
            Banned,
            Class::Banned,
            Scope::Site,
        ),
        (
            &["server.error", "serviceBusy", "service.timeout", "-1"],
            500,
            ServerError,
            Class::Transient,
            Scope::Corp,
        ),
        (
            &["unknownError"],
            500,
            UnknownError,
            Class::Unknown,
            Scope::Corp,
        ),
    ];
    for (codes, status, reason, class, scope) in rows {
        for code in *codes {
            assert_eq!(
                meaning(&[code], *status),
                (*reason, *class, *scope),
                "{code}"
            );
            assert_eq!(
                meaning(&[code], 200).0,
                *reason,
                "{code}: code before status"
            );
        }
    }
}

#[test]
fn without_a_known_code_the_status_decides() {
    assert_eq!(meaning(&[], 302).0, Reason::RequestRejected);
    assert_eq!(meaning(&[], 405).1, Class::Configuration);
    assert_eq!(
        meaning(&["never.heard.of.it"], 418),
        (Reason::RequestRejected, Class::User, Scope::Corp)
    );
    assert_eq!(meaning(&[], 429).2, Scope::Site);
    assert_eq!(meaning(&[], 503).0, Reason::ServerError);
    assert_eq!(meaning(&["88"], 200).0, Reason::InvalidResponse);
}

#[test]
fn the_code_comes_before_errcode_and_sub_code() {
    assert_eq!(
        meaning(&["invalid.client", "60020"], 403).0,
        Reason::InvalidCredentials
    );
    assert_eq!(look_up(&["88", "60020"], 200).1, Some("60020"));
}

#[test]
fn a_failure_is_read_back_from_a_status_by_its_reason_and_code() {
    for row in TABLE.iter().chain([&UNREACHABLE]) {
        let code = row.signals.iter().find_map(|signal| match signal {
            Signal::Code(code) => Some((*code).to_owned()),
            _ => None,
        });
        let failure = Failure {
            code: code.clone(),
            http_status: Some(400),
            request_id: Some("id".to_owned()),
            message: Some("said".to_owned()),
            ..Failure::of(row)
        };
        let recorded = CorpError {
            reason: row.reason.as_str().to_owned(),
            code: code.clone(),
            http_status: Some(400),
            request_id: Some("id".to_owned()),
            message: Some("said".to_owned()),
            ..CorpError::default()
        };
        let read = Failure::recorded(&recorded).expect("of DingTalk");
        assert_eq!(read.reason, row.reason);
        if code.is_some() {
            assert_eq!(read, failure, "the code tells rows of one reason apart");
        }
    }
    for reason in Reason::iter() {
        let recorded = CorpError {
            reason: reason.as_str().to_owned(),
            ..CorpError::default()
        };
        let is_dingtalks = reason.origin() == Origin::DingTalk;
        assert_eq!(
            Failure::recorded(&recorded).is_some(),
            is_dingtalks,
            "{reason:?}"
        );
    }
}
