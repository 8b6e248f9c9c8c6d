//! The failure table.

use super::class::Class;
use super::row::Signal::{Code, CodeContains, CodePrefix, CodeRange, LimitNames, Status};
use super::row::{Row, Scope};
use crate::api::Reason;

/// All known failures. The first matching row applies, so more specific signals come first.
///
/// Sources: DingTalk's documentation of the endpoint and its global error codes.
pub const TABLE: &[Row] = &[
    Row {
        signals: &[
            Code("invalid.client"),
            Code("invalid_client"),
            Code("invalidClientIdOrSecret"),
            Code("40001"),
            Code("40089"),
            Code("40096"),
        ],
        reason: Reason::InvalidCredentials,
        class: Class::User,
        scope: Scope::Corp,
        advice: "copy the Client ID and Client Secret from the app's page in the developer console to the credentials Secret; check that spec.site is the site on which the app was created",
    },
    Row {
        signals: &[
            Code("unauthorized.client"),
            Code("invalidAuthInfo"),
            Code("41030"),
            Code("48004"),
            Code("50003"),
        ],
        reason: Reason::AppNotAuthorized,
        class: Class::User,
        scope: Scope::Corp,
        advice: "authorise, enable or publish the app in this organisation, and grant it the permission qyapi_base",
    },
    Row {
        signals: &[
            Code("invalidCorpId"),
            Code("33001"),
            Code("40013"),
            Code("50005"),
            Code("70001"),
        ],
        reason: Reason::InvalidCorpId,
        class: Class::User,
        scope: Scope::Corp,
        advice: "correct spec.corpIds: the home page of the developer console shows the organisation's CorpId",
    },
    Row {
        signals: &[CodeContains("IpNotInWhiteList"), Code("60020")],
        reason: Reason::IpNotAllowed,
        class: Class::User,
        scope: Scope::Corp,
        advice: "add the cluster's egress address to the app's server IP allow-list",
    },
    Row {
        signals: &[CodeContains("ApiCountLimitForOrg"), Code("90020")],
        reason: Reason::QuotaExceeded,
        class: Class::Quota,
        scope: Scope::Corp,
        advice: "wait until the organisation's quota of API calls is reset, or buy more",
    },
    Row {
        signals: &[
            Code("unsupported.grant.type"),
            CodePrefix("Missing"),
            Code("Invalidbody"),
            Code("InvalidAction.NotFound"),
            Code("404"),
            Code("405"),
            Status(405, 405),
            Status(300, 399),
        ],
        reason: Reason::RequestRejected,
        class: Class::Configuration,
        scope: Scope::Corp,
        advice: "check the site's URL in the operator's --site flag; if it is correct, report a bug in the operator",
    },
    Row {
        signals: &[LimitNames("QpsLimitFor", "Org")],
        reason: Reason::Throttled,
        class: Class::Throttled { per_minute: false },
        scope: Scope::Corp,
        advice: "find out who else calls DingTalk for this organisation with this client_id; the operator slows down automatically",
    },
    Row {
        signals: &[LimitNames("QpmLimitFor", "Org")],
        reason: Reason::Throttled,
        class: Class::Throttled { per_minute: true },
        scope: Scope::Corp,
        advice: "find out who else calls DingTalk for this organisation with this client_id; the operator slows down automatically",
    },
    Row {
        signals: &[CodeContains("QpmLimit")],
        reason: Reason::Throttled,
        class: Class::Throttled { per_minute: true },
        scope: Scope::ClientId,
        advice: "find out who else calls DingTalk with this client_id; the operator slows down automatically",
    },
    Row {
        signals: &[
            CodeContains("QpsLimitForApi"),
            Code("90002"),
            Code("systemBusy"),
            Code("system.busy"),
            Code("systemError.busy"),
            Status(429, 429),
        ],
        reason: Reason::Throttled,
        class: Class::Throttled { per_minute: false },
        scope: Scope::Site,
        advice: "no action needed: the site is busy, and the operator slows down automatically",
    },
    // Limits for an app or a suite, and unknown limits. Pausing the client_id is a compromise: pausing
    // only the corp may not be enough, and pausing the site would hold back everybody.
    Row {
        signals: &[CodeContains("QpsLimitFor"), CodeRange(90018, 90019)],
        reason: Reason::Throttled,
        class: Class::Throttled { per_minute: false },
        scope: Scope::ClientId,
        advice: "find out who else calls DingTalk with this client_id; the operator slows down automatically",
    },
    Row {
        signals: &[CodeRange(90003, 90008)],
        reason: Reason::Banned,
        class: Class::Banned,
        scope: Scope::Corp,
        advice: "find out what else calls DingTalk for this organisation; the operator waits until the ban ends",
    },
    Row {
        signals: &[CodeRange(90009, 90014)],
        reason: Reason::Banned,
        class: Class::Banned,
        scope: Scope::ClientId,
        advice: "find out what else calls DingTalk with this client_id; the operator waits until the ban ends",
    },
    Row {
        signals: &[Code("90017")],
        reason: Reason::Banned,
        class: Class::Banned,
        scope: Scope::Site,
        advice: "this address sends requests for too many corpIds: remove those that do not exist, and find out what else calls DingTalk from here; the operator waits until the ban ends",
    },
    Row {
        signals: &[Code("90001"), Code("1111")],
        reason: Reason::Banned,
        class: Class::Banned,
        scope: Scope::Site,
        advice: "find out what else calls DingTalk from this address; the operator waits until the ban ends",
    },
    Row {
        signals: &[Code("unknownError")],
        reason: Reason::UnknownError,
        class: Class::Unknown,
        scope: Scope::Corp,
        advice: "check spec.corpIds, the app and spec.site: DingTalk also returns unknownError for an unknown corpId",
    },
    Row {
        signals: &[
            Code("server.error"),
            Code("serviceBusy"),
            Code("service.timeout"),
            Code("-1"),
            Status(500, 599),
        ],
        reason: Reason::ServerError,
        class: Class::Transient,
        scope: Scope::Corp,
        advice: "no action needed: the operator retries; if the failure persists, check DingTalk's status page",
    },
    Row {
        signals: &[Status(400, 499)],
        reason: Reason::RequestRejected,
        class: Class::User,
        scope: Scope::Corp,
        advice: "look up the code in DingTalk's list of error codes; check the credentials, corpId and site",
    },
    // Anything else is a successful response without a usable token.
    Row {
        signals: &[Status(0, 999)],
        reason: Reason::InvalidResponse,
        class: Class::Garbled,
        scope: Scope::Corp,
        advice: "check the site's URL in the operator's --site flag, and any proxy between the operator and the site",
    },
];

/// Applies if there was no response; it therefore has no signals.
pub const UNREACHABLE: Row = Row {
    signals: &[],
    reason: Reason::EndpointUnreachable,
    class: Class::Transient,
    scope: Scope::Corp,
    advice: "check DNS, egress rules, the proxy and the CA bundle between the operator and the site",
};
