//! What a site's bad answers say beyond the call that got them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::evidence::Evidence;
use super::{Call, Reach};
use crate::dingtalk::{Class, Failure};

/// So many corps that begin to fail, without a success between them, are taken for an outage.
const OUTAGE_CORPS: usize = 3;
/// So many HTML answers in a row are a ban.
const HTML_BAN: u32 = 3;
/// A site that has given a token so lately is not banned as a whole.
const ALIVE: Duration = Duration::from_secs(2);
/// Who is busy and who is not is counted over this time.
const BUSY_WINDOW: Duration = Duration::from_secs(10);
/// A site is busy if it says so to one in so many of the `client_id`s that it answers.
const BUSY_SHARE: usize = 4;

/// What the callers of one kind, proven or not, have heard since the site last gave a token.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: Evidence,
    /// Whether any of those who hear of the outage got an answer at all.
    down_answers: bool,
    banned: Evidence,
    html: Evidence,
    html_in_a_row: u32,
}

impl Health {
    /// Counts an answer that is no JSON but HTML; enough of them are understood as a ban.
    pub(super) fn html(&mut self, call: &Call, failure: Failure, now: Instant) -> Failure {
        // No answer at all says nothing about what the next answer is.
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

    /// Whom a ban that names the site concerns, by all that have heard of it.
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

    /// Counts a transient failure of a corp that has failed since `failing_since`. A corp that
    /// failed while the site worked says nothing about the site.
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

    /// How far an outage reaches, and since when. Corps of one `client_id` that get an answer may
    /// fail for a reason of their own.
    pub(super) fn outage(&self) -> Option<(Reach, Instant)> {
        let (reach, since) = self.down.reach().zip(self.down.since())?;
        let is_own = matches!(reach, Reach::Client(_)) && self.down_answers;
        (self.down.corps() >= OUTAGE_CORPS && !is_own).then_some((reach, since))
    }

    /// Whether calls of this namespace with this `client_id` are in an outage.
    pub(super) fn is_down_for(&self, namespace: &str, client_id: &str) -> bool {
        self.outage()
            .is_some_and(|(reach, _)| reach.concerns(namespace, client_id))
    }

    /// Whether a corp that fails in an outage may be tried as often as the outage is probed: where
    /// the outage is the site's, and not the failing corps' own.
    pub(super) fn is_site_outage(&self, failure: &Failure) -> bool {
        let is_unreachable = failure.http_status.is_none();
        failure.class == Class::Transient
            && match self.outage() {
                Some((Reach::Site, _)) => true,
                Some((Reach::Namespace(_), _)) => is_unreachable,
                Some((Reach::Corp { .. } | Reach::Client(_), _)) | None => false,
            }
    }
}

/// Which of a site's `client_id`s are told that it is busy.
#[derive(Debug, Default)]
pub(super) struct Busyness {
    since: Option<Instant>,
    busy: HashSet<Arc<str>>,
    served: HashSet<Arc<str>>,
    namespace: Option<Arc<str>>,
    several_namespaces: bool,
}

impl Busyness {
    /// Counts a success.
    pub(super) fn served(&mut self, call: &Call, now: Instant) {
        self.begin(now);
        if !self.busy.contains(&call.client_id) {
            self.served.insert(Arc::clone(&call.client_id));
        }
    }

    /// Counts an answer that says so; returns whether the site is busy for several.
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
