//! Detects outages, bans and overload of a site from the failures of individual requests.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::evidence::Evidence;
use super::{Call, Reach};
use crate::dingtalk::Failure;

/// Number of corps that must start to fail, without a success in between, to count as an outage.
const OUTAGE_CORPS: usize = 3;
/// Number of consecutive HTML responses that count as a ban.
const HTML_BAN: u32 = 3;
/// A site whose last success is more recent than this is not banned as a whole.
const ALIVE: Duration = Duration::from_secs(2);
/// Period over which busy and served `client_id`s are counted.
const BUSY_WINDOW: Duration = Duration::from_secs(10);
/// The site is busy if it says so to at least one in this many `client_id`s.
const BUSY_SHARE: usize = 4;

/// Failures since the last success. Kept separately for proven and unproven credentials.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: Evidence,
    /// Whether the site responded to any of the requests in `down`.
    down_answers: bool,
    banned: Evidence,
    html: Evidence,
    html_in_a_row: u32,
}

impl Health {
    /// Counts consecutive HTML responses. Returns the failure, reclassified as a ban after
    /// [`HTML_BAN`] of them.
    pub(super) fn html(&mut self, call: &Call, failure: Failure, now: Instant) -> Failure {
        // Without a response, the count remains as it is.
        if failure.http_status.is_none() {
            return failure;
        }
        if !failure.html {
            self.html = Evidence::default();
            self.html_in_a_row = 0;
            return failure;
        }
        self.html.add(call, now);
        self.html_in_a_row += 1;
        match self.html_in_a_row >= HTML_BAN {
            true => failure.into_site_ban(),
            false => failure,
        }
    }

    /// Records a ban of the site and returns the requests to pause, judging by all requests that were
    /// banned.
    pub(super) fn ban(
        &mut self,
        call: &Call,
        is_html: bool,
        succeeded_at: Option<Instant>,
        now: Instant,
    ) -> Reach {
        self.banned.add(call, now);
        let evidence = if is_html { &self.html } else { &self.banned };
        let is_alive = succeeded_at.is_some_and(|at| now.duration_since(at) < ALIVE);
        match evidence.reach() {
            Some(Reach::Site) if is_alive => Reach::Namespace(Arc::clone(&call.namespace)),
            reach => reach.unwrap_or_else(|| Reach::of_corp(call)),
        }
    }

    /// Records a transient failure of a corp that has been failing since `failing_since`. Ignores a corp
    /// that was already failing when the site last succeeded, since its failures are its own.
    pub(super) fn transient(
        &mut self,
        call: &Call,
        failure: &Failure,
        failing_since: Option<Instant>,
        succeeded_at: Option<Instant>,
        now: Instant,
    ) {
        let is_news = match (failing_since, succeeded_at) {
            (Some(since), Some(succeeded_at)) => since > succeeded_at,
            _ => true,
        };
        if is_news {
            self.down.add(call, now);
            self.down_answers |= failure.http_status.is_some();
        }
    }

    /// Returns the reach and the start of an outage, if there is one. If the site responds and only one
    /// `client_id` fails, this is not an outage: the app itself may be the cause.
    pub(super) fn outage(&self) -> Option<(Reach, Instant)> {
        let (reach, since) = self.down.reach().zip(self.down.since())?;
        let is_own = matches!(reach, Reach::Client(_)) && self.down_answers;
        (self.down.corps() >= OUTAGE_CORPS && !is_own).then_some((reach, since))
    }

    /// Returns the reach and the start of the outage that a success of `call` ends, if the affected
    /// ones are to be told. A site that did not respond to them responds again, whoever called it.
    pub(super) fn ended_by(&self, call: &Call) -> Option<(Reach, Instant)> {
        self.outage().filter(|(reach, _)| {
            !self.down_answers || reach.concerns(&call.namespace, &call.client_id)
        })
    }

    /// Whether an outage affects requests of this namespace with this `client_id`.
    pub(super) fn is_down_for(&self, namespace: &str, client_id: &str) -> bool {
        self.outage()
            .is_some_and(|(reach, _)| reach.concerns(namespace, client_id))
    }

    /// Whether the failure is due to an outage of the site and not of the failing corps. If so, the
    /// corp can be retried whenever the outage is probed.
    pub(super) fn is_site_outage(&self, call: &Call, failure: &Failure) -> bool {
        let is_of_site = |reach: Reach| match reach {
            Reach::Site => true,
            Reach::Namespace(of) => of == call.namespace && failure.http_status.is_none(),
            Reach::Corp { .. } | Reach::Client(_) => false,
        };
        failure.class.traits().is_outage
            && self.outage().is_some_and(|(reach, _)| is_of_site(reach))
    }
}

/// Counts the `client_id`s to which the site says that it is busy.
#[derive(Debug, Default)]
pub(super) struct Busyness {
    since: Option<Instant>,
    busy: HashSet<Arc<str>>,
    served: HashSet<Arc<str>>,
    namespace: Option<Arc<str>>,
    several_namespaces: bool,
}

impl Busyness {
    pub(super) fn served(&mut self, call: &Call, now: Instant) {
        self.begin(now);
        if !self.busy.contains(&call.client_id) {
            self.served.insert(Arc::clone(&call.client_id));
        }
    }

    /// Records a response that says so. Returns whether the site is busy for several `client_id`s and
    /// namespaces.
    pub(super) fn is_busy(&mut self, call: &Call, now: Instant) -> bool {
        self.begin(now);
        self.served.remove(&call.client_id);
        self.busy.insert(Arc::clone(&call.client_id));
        let first = self
            .namespace
            .get_or_insert_with(|| Arc::clone(&call.namespace));
        self.several_namespaces |= *first != call.namespace;
        let all = self.busy.len() + self.served.len();
        self.several_namespaces && self.busy.len() >= 2 && self.busy.len() * BUSY_SHARE >= all
    }

    fn begin(&mut self, now: Instant) {
        let is_over = self
            .since
            .is_none_or(|since| now.duration_since(since) >= BUSY_WINDOW);
        if is_over {
            *self = Self {
                since: Some(now),
                ..Self::default()
            };
        }
    }
}
