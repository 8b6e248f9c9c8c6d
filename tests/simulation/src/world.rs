//! The simulated apps, and virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use dingtalk_token_operator::api::{AppRef, Cause, CredentialsSecretRef};
use dingtalk_token_operator::core::{
    Attempts, Corp, FailedAttempt, Former, Interest, KnownCredentials, ObjectVersion, PendingFetch,
    TokenId, TokenName, Tokens,
};
use dingtalk_token_operator::dingtalk::{
    AccessToken, Call, Failure, Fingerprint, Rates, Recovery, Scheduler, TokenResponse,
};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::endpoint::{Answered, Endpoint, OVERLAP};
use crate::report::GroupReport;
use crate::{Behaviour, Fault, Group, HOUR, MINUTE, Millis, Repeat, Report, SECOND};

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of apps from the start, besides the groups.
    pub apps: usize,
    /// Groups of apps from the start.
    pub groups: Vec<Group>,
    /// Simulated time.
    pub duration: Millis,
    /// What a repeated fetch returns.
    pub repeat: Repeat,
    /// Lifetime of a token.
    pub life: Millis,
    /// Faults of the sites.
    pub faults: Vec<Fault>,
    /// Times at which further apps are created.
    pub newcomers: Vec<Millis>,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Plan {
    /// Returns a plan with ten thousand apps, tokens that are valid for two hours, and no faults.
    pub fn of(repeat: Repeat, hours: i64) -> Self {
        Self {
            apps: 10_000,
            groups: Vec::new(),
            duration: hours * HOUR,
            repeat,
            life: 2 * HOUR,
            faults: Vec::new(),
            newcomers: Vec::new(),
            seed: 1,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Look at an app, unless a later look was scheduled since.
    Look(usize, u32),
    /// End the call of an app.
    Finished(usize),
    /// Look at the queue.
    Queue,
    /// Request a renewal of an app.
    Force(usize),
}

/// Allowed time of the next call after a failure.
#[derive(Clone, Copy)]
struct Due {
    earliest: Millis,
    latest: Millis,
}

struct App {
    call: Call,
    group: usize,
    is_forced: bool,
    due: Option<Due>,
    corp: Corp,
    token: TokenId,
    /// The fetch that is queued or in flight.
    pending: Option<PendingFetch>,
    uid: String,
    looks: u32,
    created: Millis,
    answer: Option<(Answered, Timestamp)>,
    /// Expiry of its token, by its own record.
    valid_until: Option<Millis>,
    first_at: Option<Millis>,
}

struct World {
    groups: Vec<Group>,
    endpoint: Endpoint,
    apps: Vec<App>,
    tokens: Tokens,
    events: BinaryHeap<Reverse<(Millis, Event)>>,
    scheduler: Scheduler<usize>,
    queue_look: Option<Millis>,
    random: SmallRng,
    start: Timestamp,
    instant: Instant,
    report: Report,
}

/// Runs a plan.
pub fn simulate(plan: &Plan) -> Report {
    let seconds = usize::try_from(plan.duration / SECOND).unwrap_or_default();
    let mut groups = plan.groups.clone();
    groups.push(Group::of("one", "client-", plan.apps));
    let mut world = World {
        groups,
        endpoint: Endpoint::new(plan.repeat, plan.life, plan.faults.clone()),
        apps: Vec::new(),
        tokens: Tokens::default(),
        events: BinaryHeap::new(),
        scheduler: Scheduler::new(Rates::default()),
        queue_look: None,
        random: SmallRng::seed_from_u64(plan.seed),
        start: Timestamp::from_second(1_800_000_000).unwrap_or_default(),
        instant: Instant::now(),
        report: Report {
            calls: vec![0; seconds + 1],
            groups: vec![GroupReport::default(); plan.groups.len() + 1],
            ..Report::default()
        },
    };
    for (index, group) in world.groups.clone().iter().enumerate() {
        for number in 0..group.size() {
            world.create(0, index, group.call(number));
        }
    }
    let last = world.groups.len() - 1;
    let rest = world.groups[last];
    for (number, at) in (plan.apps..).zip(&plan.newcomers) {
        world.create(*at, last, rest.call(number));
    }
    while let Some(Reverse((now, event))) = world.events.pop() {
        if now >= plan.duration {
            break;
        }
        match event {
            Event::Look(app, look) if world.apps[app].looks == look => world.look(app, now),
            Event::Look(..) => {}
            Event::Finished(app) => world.finish(app, now),
            Event::Force(app) => world.force(app, now),
            Event::Queue => {
                world.queue_look = None;
                world.start_calls(now);
            }
        }
    }
    world.close(plan)
}

impl World {
    fn time(&self, now: Millis) -> Timestamp {
        self.start + SignedDuration::from_millis(now)
    }

    fn instant(&self, now: Millis) -> Instant {
        self.instant + Duration::from_millis(u64::try_from(now).unwrap_or_default())
    }

    fn millis(&self, at: Timestamp) -> Millis {
        // Rounded up, so that no event comes too early.
        let wait = at.duration_since(self.start).as_nanos();
        Millis::try_from(wait.div_euclid(1_000_000)).unwrap_or(Millis::MAX)
            + Millis::from(wait.rem_euclid(1_000_000) > 0)
    }

    fn create(&mut self, at: Millis, group: usize, call: Call) {
        let app = self.apps.len();
        if let Some(every) = self.groups[group].forced_every {
            self.events.push(Reverse((at + every, Event::Force(app))));
        }
        let mut corp = Corp::default();
        let name = TokenName {
            site: call.site.to_string(),
            client_id: call.client_id.to_string(),
            corp_id: call.corp_id.to_string(),
            fingerprint: Fingerprint::default(),
        };
        let key = AppRef::new(&app.to_string()).within(&call.namespace);
        let wanted = corp.want(Some(name), &key, Interest::Active, &mut self.tokens);
        let Some(token) = wanted else { return };
        self.apps.push(App {
            call,
            group,
            is_forced: false,
            due: None,
            corp,
            token,
            pending: None,
            uid: format!("uid-{app}"),
            looks: 0,
            created: at,
            answer: None,
            valid_until: None,
            first_at: None,
        });
        self.events.push(Reverse((at, Event::Look(app, 0))));
    }

    fn look(&mut self, app: usize, now: Millis) {
        let time = self.time(now);
        let one = &mut self.apps[app];
        one.corp.notice_clock(time);
        self.tokens.notice_clock(one.token, time);
        if one.pending.is_some() {
            return;
        }
        let record = one.corp.held.as_ref().map(|held| held.record.clone());
        let lifetime = record.as_ref().map(|record| record.lifetime);
        let mut next = one
            .corp
            .next_fetch(&one.uid, lifetime, None, &self.tokens, time);
        if one.is_forced {
            let forced_at = one.corp.attempts(&self.tokens).forced_at(time);
            next = next.map(|at| at.min(forced_at));
        }
        match next.filter(|at| *at > time) {
            Some(at) => {
                one.looks += 1;
                let look = Event::Look(app, one.looks);
                let at = self.millis(at);
                self.events.push(Reverse((at.max(now + 1), look)));
            }
            None => {
                one.is_forced = false;
                let attempts = one.corp.attempts(&self.tokens);
                let expires_at = record.as_ref().map(|record| record.lifetime.expires_at);
                let rank = attempts.rank(expires_at, time);
                let ended = attempts.ended();
                let pending = |id| PendingFetch {
                    id,
                    token: one.token,
                    app: one.uid.as_str().into(),
                    uid: one.uid.clone(),
                    credentials: ObjectVersion::default(),
                    reference: known(&one.call).reference,
                    why: Cause::RenewalDue.into(),
                    generation: None,
                    renew_before: None,
                    former: record,
                    since: time,
                };
                one.pending = self
                    .tokens
                    .begin(one.token, ended, &one.call.namespace, pending);
                let call = one.call.clone();
                self.scheduler.push(call, rank, app);
                self.start_calls(now);
            }
        }
    }

    fn start_calls(&mut self, now: Millis) {
        let instant = self.instant(now);
        let started = self.scheduler.start(|_| true, instant);
        for (_, app) in started.starting {
            let site = self.apps[app].call.site.clone();
            let group = &self.groups[self.apps[app].group];
            let answer = match group.failure() {
                Some(failure) => Answered::Failure(Box::new(failure)),
                None => self.endpoint.call(&site, app, now, &mut self.random),
            };
            let latency = match group.behaviour {
                Behaviour::Hangs => 10 * SECOND,
                _ => self.random.random_range(20..200),
            };
            self.called(app, now);
            if let Some(second) = self
                .report
                .calls
                .get_mut(usize::try_from(now / SECOND).unwrap_or_default())
            {
                *second += 1;
            }
            self.apps[app].answer = Some((answer, self.time(now)));
            self.events
                .push(Reverse((now + latency, Event::Finished(app))));
        }
        let Some(next) = started.next else { return };
        let wait = next.duration_since(instant).as_micros();
        let at = now
            + Millis::try_from(wait.div_ceil(1000))
                .unwrap_or(SECOND)
                .max(1);
        if self.queue_look.is_none_or(|look| at < look) {
            self.queue_look = Some(at);
            self.events.push(Reverse((at, Event::Queue)));
        }
    }

    fn force(&mut self, app: usize, now: Millis) {
        self.apps[app].is_forced = true;
        self.apps[app].looks += 1;
        if let Some(every) = self.groups[self.apps[app].group].forced_every {
            self.events.push(Reverse((now + every, Event::Force(app))));
        }
        self.look(app, now);
    }

    /// Records the start of a call, and whether it comes too early or too late after a failure.
    fn called(&mut self, app: usize, now: Millis) {
        let one = &mut self.apps[app];
        let group = &mut self.report.groups[one.group];
        group.calls += 1;
        if let Some(due) = one.due.take() {
            group.too_early += usize::from(now < due.earliest);
            group.latest = group.latest.max(now - due.latest);
        }
    }

    fn finish(&mut self, app: usize, now: Millis) {
        let (time, instant) = (self.time(now), self.instant(now));
        let call = self.apps[app].call.clone();
        let Some((answer, requested_at)) = self.apps[app].answer.take() else {
            return;
        };
        let Some(pending) = self.apps[app].pending.take() else {
            return;
        };
        match answer {
            Answered::Token(value, life) => {
                for recovery in self.scheduler.succeeded(&call, instant) {
                    self.hurry(&call.site, &recovery, time, now);
                }
                self.got(app, value, life, &pending, requested_at, now);
            }
            Answered::Failure(failure) => {
                self.report.failures += 1;
                let since = self.attempts(app).failing();
                let since = since.map(|failing| failing.streak_since);
                let since = since.map(|since| self.instant(self.millis(since)));
                let heard = self.scheduler.failed(&call, *failure, since, instant);
                for other in heard.rejected_too {
                    let Some(pending) = self.apps[other].pending.take() else {
                        continue;
                    };
                    let group = self.apps[other].group;
                    self.report.groups[group].rejected_too += 1;
                    self.failed(other, heard.failure.clone(), false, &pending, now);
                    self.look(other, now);
                }
                self.failed(app, heard.failure, heard.is_site_down, &pending, now);
            }
        }
        self.look(app, now);
        self.start_calls(now);
    }

    fn got(
        &mut self,
        app: usize,
        value: u64,
        life: Millis,
        pending: &PendingFetch,
        requested_at: Timestamp,
        now: Millis,
    ) {
        self.report.tokens += 1;
        let time = self.time(now);
        let requested = self.millis(requested_at);
        let one = &mut self.apps[app];
        let waited_from = match one.valid_until {
            Some(until) => until.min(now),
            None => one.created,
        };
        let site = &one.call.site;
        let waited = now - waited_from - self.endpoint.down_between(site, waited_from, now);
        let group = &mut self.report.groups[one.group];
        group.tokens += 1;
        if let Some(until) = one.valid_until {
            group.renewed(until - now);
        }
        match one.first_at {
            Some(_) => self.report.longest_gap = self.report.longest_gap.max(waited),
            None if one.created > 0 => self.report.newcomers.push(waited),
            None => self.report.longest_first = self.report.longest_first.max(waited),
        }
        one.first_at.get_or_insert(now);
        one.valid_until = Some(requested / SECOND * SECOND + life);
        let Some(token) = AccessToken::new(format!("token-{value}")) else {
            return;
        };
        let response = TokenResponse {
            token,
            expires_in: Duration::from_millis(u64::try_from(life).unwrap_or_default()),
        };
        self.tokens.succeeded(pending, response, requested_at, time);
        let known = known(&one.call);
        let newer = one
            .corp
            .newer(&one.uid, Some(&known), None, false, &self.tokens, time);
        if let Some(newer) = newer {
            one.corp.take(newer, Former::default(), time);
        }
    }

    fn failed(
        &mut self,
        app: usize,
        failure: Failure,
        is_site_down: bool,
        pending: &PendingFetch,
        now: Millis,
    ) {
        let time = self.time(now);
        let one = &mut self.apps[app];
        let left = one.valid_until.map(|until| until - now);
        let left = left.and_then(|left| u64::try_from(left).ok());
        let attempt = FailedAttempt {
            failure,
            life_left: left.filter(|left| *left > 0).map(Duration::from_millis),
            is_site_down,
            random: self.random.random(),
        };
        let class = attempt.failure.class;
        self.tokens.failed(pending, attempt, time);
        let is_forced = self.groups[one.group].forced_every.is_some();
        let attempts = one.corp.attempts(&self.tokens);
        one.due = attempts.failing().map(|failing| {
            let pace = class.pace(failing.streak);
            let millis = |wait: Duration| Millis::try_from(wait.as_millis()).unwrap_or(Millis::MAX);
            let earliest = match is_forced {
                true => millis(pace.floor).min(MINUTE),
                false => millis(pace.floor),
            };
            Due {
                earliest: now + earliest,
                latest: now + millis(pace.ceiling),
            }
        });
    }

    fn hurry(&mut self, site: &str, recovery: &Recovery, time: Timestamp, now: Millis) {
        let since = recovery.since.duration_since(self.instant).as_millis();
        let since = self.time(Millis::try_from(since).unwrap_or_default());
        let concerns =
            |namespace: &str, client_id: &str| recovery.reach.concerns(namespace, client_id);
        for key in self.tokens.hurry(site, concerns, since, time) {
            let Ok(app) = key.name.parse::<usize>() else {
                continue;
            };
            self.apps[app].looks += 1;
            let look = Event::Look(app, self.apps[app].looks);
            self.events.push(Reverse((now, look)));
        }
    }

    fn attempts(&self, app: usize) -> &Attempts {
        self.apps[app].corp.attempts(&self.tokens)
    }

    fn close(mut self, plan: &Plan) -> Report {
        self.report.busiest_second = self.endpoint.busiest_second;
        for app in &self.apps {
            if self.groups[app.group].behaviour != Behaviour::Served {
                continue;
            }
            // An app without a valid token at the end has had none since the last one expired.
            let Some(until) = app.valid_until else {
                let waited = plan.duration - app.created;
                let site = &app.call.site;
                let down = self.endpoint.down_between(site, app.created, plan.duration);
                self.report.longest_first = self.report.longest_first.max(waited - down);
                continue;
            };
            if until < plan.duration {
                let site = &app.call.site;
                let down = self.endpoint.down_between(site, until, plan.duration);
                let gap = plan.duration - until - down;
                self.report.longest_gap = self.report.longest_gap.max(gap);
            }
            self.report.clairvoyant +=
                clairvoyant(plan, &self.endpoint, &app.call.site, app.first_at);
        }
        self.report
    }
}

/// Returns the number of calls for an app if everything is known in advance: it renews a third of the lifetime before
/// expiry, or as soon as that returns a longer lifetime.
fn clairvoyant(plan: &Plan, endpoint: &Endpoint, site: &str, first_at: Option<Millis>) -> usize {
    let Some(mut at) = first_at else { return 0 };
    let step = match plan.repeat {
        Repeat::SameRemaining => plan.life,
        Repeat::SameThenOverlap => plan.life - OVERLAP.min(plan.life / 3),
        _ => plan.life - plan.life / 3,
    };
    let mut calls = 0;
    while at < plan.duration {
        calls += 1;
        at = endpoint.up_from(site, at + step);
    }
    calls
}

fn known(call: &Call) -> KnownCredentials {
    KnownCredentials {
        reference: CredentialsSecretRef {
            name: String::new(),
            client_id_key: String::new(),
            client_secret_key: String::new(),
        },
        client_id: call.client_id.to_string(),
        version: ObjectVersion::default(),
        fingerprint: Fingerprint::default(),
    }
}
