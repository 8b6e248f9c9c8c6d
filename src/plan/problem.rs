//! What stands in the way of a token, in the words that condition, status and event show.

use jiff::Timestamp;

use super::Memory;
use super::desired::SECRET_SIZE_MAX;
use super::step::{Blocked, CorpSettled};
use super::target::{MARKS_MAX, OWNERS_MAX, TARGETS_MAX};
use super::token::whole_seconds;
use super::writing::{WriteFailure, WriteProblem};
use crate::api::{ANNOTATION_ADOPT_BY, CorpError, CorpStatus, DingTalkApp};
use crate::dingtalk::{Failure, Row, TABLE, UNREACHABLE, look_up};

/// What stands in the way.
#[derive(Clone)]
pub struct Problem {
    /// Its name, CamelCase.
    pub reason: &'static str,
    /// What it is, and what to do about it.
    pub message: String,
    /// The same for `status.corps`.
    pub error: CorpError,
    /// Whether nothing but a person's act will help.
    pub needs_a_person: bool,
}

impl Problem {
    fn new(reason: &'static str, message: String, since: Timestamp) -> Self {
        let error = CorpError {
            reason: reason.to_owned(),
            message: Some(message.clone()),
            since_time: shown(since),
            ..CorpError::default()
        };
        Self {
            reason,
            message,
            error,
            needs_a_person: true,
        }
    }

    fn that_may_pass(mut self) -> Self {
        self.needs_a_person = false;
        self
    }
}

/// A reason that does not come from the endpoint: what it means and what to do.
pub struct LocalReason {
    /// The reason.
    pub reason: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

/// Reason of `Ready` where all is well.
pub const TOKENS_VALID: &str = "TokensValid";
/// Reason of `Ready` while all tokens are valid and the last renewal failed.
pub const RENEWAL_FAILING: &str = "RenewalFailing";
/// Reason of `Renewed` where all is well.
pub const RENEWAL_SUCCEEDED: &str = "RenewalSucceeded";
/// Reason where organisations fail for different reasons.
pub const CORPS_FAILING: &str = "CorpsFailing";
/// Reason of `Ready` once a token in a Secret has expired.
pub const TOKEN_EXPIRED: &str = "TokenExpired";
/// Reason of `Renewed` if renewals at the usual time bring no more life.
pub const RENEWAL_NOT_EXTENDED: &str = "RenewalNotExtended";
/// Reason before the first outcome.
pub const PENDING: &str = "Pending";
/// Reason of `Renewed` while `spec.suspend` is set.
pub const SUSPENDED: &str = "Suspended";
/// The credentials Secret does not exist.
pub const CREDENTIALS_NOT_FOUND: &str = "CredentialsNotFound";
/// A key of it is missing or empty.
pub const CREDENTIALS_KEY_MISSING: &str = "CredentialsKeyMissing";
/// A value in it cannot be a credential.
pub const CREDENTIALS_INVALID: &str = "CredentialsInvalid";
/// The operator may not read it.
pub const CREDENTIALS_UNREADABLE: &str = "CredentialsUnreadable";
const UNKNOWN_SITE: &str = "UnknownSite";
/// A label or annotation for the target begins with none of the allowed prefixes.
pub const METADATA_NOT_ALLOWED: &str = "MetadataNotAllowed";
const INVALID_TEMPLATE: &str = "InvalidTemplate";
/// The target is somebody else's Secret.
pub const SECRET_CONFLICT: &str = "SecretConflict";
/// Another writer keeps changing the target.
pub const SECRET_CONTESTED: &str = "SecretContested";
const SECRET_WRITE_FAILED: &str = "SecretWriteFailed";
const SECRET_TOO_LARGE: &str = "SecretTooLarge";
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";
const TARGET_METADATA_TOO_LARGE: &str = "TargetMetadataTooLarge";
/// The object has a value that this version does not know.
pub const UNSUPPORTED_SPEC: &str = "UnsupportedSpec";
/// The object is one of those that its namespace has too many of.
pub const NAMESPACE_LIMIT_EXCEEDED: &str = "NamespaceLimitExceeded";

/// Every reason that the operator gives by itself, for the documentation and `explain`.
pub const LOCAL_REASONS: &[LocalReason] = &[
    LocalReason {
        reason: TOKENS_VALID,
        meaning: "every Secret holds a valid token",
        advice: "nothing",
    },
    LocalReason {
        reason: RENEWAL_FAILING,
        meaning: "every Secret holds a valid token, but the last renewal failed",
        advice: "see the condition Renewed for what stands in the way, before the token expires",
    },
    LocalReason {
        reason: RENEWAL_SUCCEEDED,
        meaning: "the last attempt for every corpId succeeded",
        advice: "nothing",
    },
    LocalReason {
        reason: CORPS_FAILING,
        meaning: "several corpIds fail, for different reasons",
        advice: "see status.corps for the reason of each",
    },
    LocalReason {
        reason: TOKEN_EXPIRED,
        meaning: "a token in a Secret has expired, and no new one could be fetched or written",
        advice: "see the condition Renewed for what stands in the way",
    },
    LocalReason {
        reason: RENEWAL_NOT_EXTENDED,
        meaning: "a renewal at the usual time brought no more life than the token had, so the next comes closer to its expiry or, if that does not help either, right after it",
        advice: "nothing; if the message says so, programs must expect a gap of some seconds at each expiry",
    },
    LocalReason {
        reason: PENDING,
        meaning: "the first token is being fetched",
        advice: "wait; if it lasts, see nextAttemptTime and the operator's log",
    },
    LocalReason {
        reason: SUSPENDED,
        meaning: "spec.suspend is set: no token is fetched, and the Secrets stay as they are",
        advice: "set spec.suspend to false to go on",
    },
    LocalReason {
        reason: CREDENTIALS_NOT_FOUND,
        meaning: "the Secret that spec.credentialsSecretRef names does not exist",
        advice: "create it; the token is fetched at once",
    },
    LocalReason {
        reason: CREDENTIALS_KEY_MISSING,
        meaning: "the credentials Secret lacks a key, or the key is empty",
        advice: "put ClientID and ClientSecret under the keys that spec.credentialsSecretRef names",
    },
    LocalReason {
        reason: CREDENTIALS_INVALID,
        meaning: "a value in the credentials Secret is too long for a credential, or is not visible ASCII text",
        advice: "put the ClientID (at most 128 characters) and the ClientSecret (at most 512) there exactly as the developer console shows them",
    },
    LocalReason {
        reason: CREDENTIALS_UNREADABLE,
        meaning: "the operator may not read the credentials Secret",
        advice: "grant the operator its role in this namespace, see deploy/",
    },
    LocalReason {
        reason: UNKNOWN_SITE,
        meaning: "spec.site is none of the operator's sites, or not for this namespace",
        advice: "use a name from the operator's --site flags that --site-namespaces leaves to this namespace",
    },
    LocalReason {
        reason: METADATA_NOT_ALLOWED,
        meaning: "spec.target sets a label or annotation whose key begins with none of the prefixes that the operator allows",
        advice: "remove it, or have its prefix allowed by the operator's flag --target-metadata-prefix",
    },
    LocalReason {
        reason: INVALID_TEMPLATE,
        meaning: "a template of spec.target.template.data uses what is not available, is too large or takes too long, or would override a key of the layout",
        advice: "do what the message says, at the line and column that it names",
    },
    LocalReason {
        reason: SECRET_CONFLICT,
        meaning: "the target Secret belongs to somebody else, so it is not touched",
        advice: "delete it, choose another spec.target.name, or hand it over with the annotation dingtalk-token-operator.github.io/adopt-by=<Kind>/<name>",
    },
    LocalReason {
        reason: SECRET_CONTESTED,
        meaning: "another writer keeps changing the target Secret; it is put right once a minute",
        advice: "find the writer in the Secret's managedFields and stop it",
    },
    LocalReason {
        reason: SECRET_WRITE_FAILED,
        meaning: "a token was fetched, but the API server refused the Secret; the token is kept and the write tried again",
        advice: "see the API server's words in the message: a quota, a webhook, a missing role",
    },
    LocalReason {
        reason: SECRET_TOO_LARGE,
        meaning: "the tokens and templates do not fit into one Secret; what was in it last stays",
        advice: "use layout PerCorp, or divide the corpIds among several DingTalkApps",
    },
    LocalReason {
        reason: TARGET_METADATA_TOO_LARGE,
        meaning: "the target Secret carries more labels, annotations or owners than the operator keeps",
        advice: "remove from that Secret what other programs added, or delete the Secret",
    },
    LocalReason {
        reason: NAMESPACE_LIMIT_EXCEEDED,
        meaning: "the namespace has more apps, corpIds, references or larger specs than the operator serves; the oldest objects are served",
        advice: "delete what is not needed, use another namespace, or raise --max-apps-per-namespace, --max-corps-per-namespace or --max-references-per-namespace",
    },
    LocalReason {
        reason: UNSUPPORTED_SPEC,
        meaning: "the object has a value that this version of the operator does not know, such as one of a newer version's; its Secrets stay as they are",
        advice: "upgrade the operator, or write only what this version knows: see kubectl explain",
    },
    LocalReason {
        reason: super::reference::APP_NOT_FOUND,
        meaning: "the DingTalkApp that a DingTalkTokenReference names does not exist, or is in a namespace that this operator does not watch",
        advice: "check spec.appRef, or have the app created; the copy is written at once",
    },
    LocalReason {
        reason: super::reference::NOT_GRANTED,
        meaning: "the DingTalkApp that a DingTalkTokenReference names does not allow that namespace a copy",
        advice: "have the app's owner add the namespace to spec.referenceGrants",
    },
    LocalReason {
        reason: NAMESPACE_TERMINATING,
        meaning: "the namespace is being deleted and takes no Secret",
        advice: "nothing",
    },
];

/// What stands in the way of an organisation's token, if anything does.
pub fn problem(
    app: &DingTalkApp,
    memory: &Memory,
    corp_id: &str,
    corp: &CorpSettled,
    announced: Option<&CorpStatus>,
    next: Option<&str>,
    now: Timestamp,
) -> Option<Problem> {
    // What began before this process, or says by itself no time, is as old as the status says.
    let since = |reason: &str| {
        let error = announced.and_then(|announced| announced.error.as_ref());
        let error = error.filter(|error| error.reason == reason);
        let since = error.and_then(|error| error.since_time.parse().ok());
        since.unwrap_or(now)
    };
    if let Some(blocked) = &corp.blocked {
        let (reason, message) = blocked_problem(app, &corp.secret, blocked);
        return Some(Problem::new(reason, message, since(reason)));
    }
    let next = next.map_or_else(
        || "the next attempt is under way".to_owned(),
        |next| format!("next attempt at {next}"),
    );
    if let Some(problem) = &memory.credentials_problem {
        return Some(Problem::new(
            problem.reason,
            format!("{}; tried again as soon as it changes", problem.message),
            problem.since,
        ));
    }
    let remembered = memory.corps.get(corp_id);
    if let Some(failing) = remembered.and_then(|corp| corp.failing.as_ref()) {
        let since = shown(failing.since);
        return Some(failure_problem(&failing.failure, corp_id, since, &next));
    }
    if remembered.is_some_and(|corp| !corp.is_attempted)
        && let Some(error) = announced.and_then(|announced| announced.error.as_ref())
        && let Some(failure) = former_failure(error)
    {
        // What a former process was told holds until this one is told something else.
        let since = error.since_time.clone();
        return Some(failure_problem(&failure, corp_id, since, &next));
    }
    if let Some(size) = corp.too_large {
        let message = format!(
            "the token of corpId {corp_id} does not fit: Secret {} would hold {size} bytes, and {SECRET_SIZE_MAX} \
             is the most; use layout PerCorp, or divide the corpIds among several DingTalkApps",
            corp.secret
        );
        return Some(Problem::new(
            SECRET_TOO_LARGE,
            message,
            since(SECRET_TOO_LARGE),
        ));
    }
    let writing = memory.targets.get(&corp.secret)?;
    if let Some(failure) = &writing.failure {
        return Some(write_problem(&corp.secret, failure));
    }
    writing.contested.then(|| {
        let message = format!(
            "another writer keeps changing Secret {}: see its managedFields for who; it is put \
             right once a minute",
            corp.secret
        );
        Problem::new(SECRET_CONTESTED, message, since(SECRET_CONTESTED)).that_may_pass()
    })
}

fn failure_problem(failure: &Failure, corp_id: &str, since: String, next: &str) -> Problem {
    Problem {
        reason: failure.reason.as_str(),
        message: format!("{}; {next}", explain(failure, corp_id)),
        error: CorpError {
            reason: failure.reason.as_str().to_owned(),
            code: failure.code.clone(),
            http_status: failure.http_status.map(i32::from),
            request_id: failure.request_id.clone(),
            message: failure.message.clone(),
            scope: failure.held_back().map(|scope| scope.as_str().to_owned()),
            since_time: since,
        },
        needs_a_person: failure.class.needs_a_person(),
    }
}

/// The failure that a status tells of, where it is one of the endpoint's.
fn former_failure(error: &CorpError) -> Option<Failure> {
    let rows = || TABLE.iter().chain([&UNREACHABLE]);
    let status = error
        .http_status
        .and_then(|status| u16::try_from(status).ok());
    let codes: Vec<&str> = error.code.as_deref().into_iter().collect();
    let (by_code, _) = look_up(&codes, status.unwrap_or_default());
    let named = |row: &&Row| row.reason.as_str() == error.reason;
    let row = Some(by_code).filter(named).or_else(|| rows().find(named))?;
    Some(Failure {
        code: error.code.clone(),
        http_status: status,
        request_id: error.request_id.clone(),
        message: error.message.clone(),
        ..Failure::of(row)
    })
}

/// Why a Secret could not be written.
pub fn write_problem(secret: &str, failure: &WriteFailure) -> Problem {
    let reason = match failure.problem {
        WriteProblem::Refused => SECRET_WRITE_FAILED,
        WriteProblem::NamespaceTerminating => NAMESPACE_TERMINATING,
        WriteProblem::TooLarge => SECRET_TOO_LARGE,
    };
    let message = format!(
        "a token was fetched, but Secret {secret} could not be written: {}; the token is kept and \
         the write tried again at {}",
        failure.message,
        shown(failure.retry.at),
    );
    let mut problem = Problem::new(reason, message, failure.since).that_may_pass();
    problem.error.message = Some(failure.message.clone());
    problem
}

fn blocked_problem(app: &DingTalkApp, secret: &str, blocked: &Blocked) -> (&'static str, String) {
    let name = app.metadata.name.as_deref().unwrap_or_default();
    match blocked {
        Blocked::UnknownSite => (
            UNKNOWN_SITE,
            format!(
                "site {:?} is not configured for this namespace: use a name from the operator's \
                 --site flags that --site-namespaces leaves to it",
                app.spec.site
            ),
        ),
        Blocked::Metadata(message) => (METADATA_NOT_ALLOWED, message.clone()),
        Blocked::Template(error) => (INVALID_TEMPLATE, error.to_string()),
        Blocked::TargetOfOlderApp(older) => (
            SECRET_CONFLICT,
            format!(
                "Secret {secret} is the target of the older DingTalkApp {older}: give this one \
                 another spec.target.name"
            ),
        ),
        Blocked::TargetPastBounds => (
            TARGET_METADATA_TOO_LARGE,
            format!(
                "Secret {secret} carries more than the operator keeps of a target ({MARKS_MAX} labels and \
                 annotations, {OWNERS_MAX} owners of 1 KiB each, and in large Secrets {} MiB in the \
                 namespace): remove from it what other programs added, or delete it",
                TARGETS_MAX >> 20
            ),
        ),
        Blocked::TargetForeign => (
            SECRET_CONFLICT,
            format!(
                "Secret {secret} exists and was not made for this app, so it is not touched: \
                 delete it, choose another spec.target.name, or hand it over by annotating it \
                 with {ANNOTATION_ADOPT_BY}=DingTalkApp/{name}"
            ),
        ),
    }
}

/// One sentence with all that is known: code, HTTP status, request id, corpId, message, advice.
pub fn explain(failure: &Failure, corp_id: &str) -> String {
    let said = match (&failure.code, failure.http_status) {
        (Some(code), Some(status)) => format!("DingTalk answered {code} (HTTP {status}"),
        (None, Some(status)) => format!("DingTalk answered without a known code (HTTP {status}"),
        (_, None) => "DingTalk did not answer (no HTTP status".to_owned(),
    };
    let request = failure
        .request_id
        .as_ref()
        .map(|id| format!(", request id {id}"))
        .unwrap_or_default();
    let message = failure
        .message
        .as_ref()
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    format!(
        "{said}{request}) for corpId {corp_id}{message}; {}",
        failure.advice
    )
}

/// A time as the status shows it.
pub fn shown(time: Timestamp) -> String {
    whole_seconds(time).to_string()
}
