//! The apps and the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use dingtalk_token_operator::dingtalk::{
    AccessToken, Call, Credentials, CredentialsId, Failure, Minted, Rates, Recovery, Scheduler,
};
use dingtalk_token_operator::plan::{Corp, FailedAttempt, Former, Minting, ObjectVersion};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::endpoint::{Answered, Endpoint};
use crate::{Fault, HOUR, Millis, Repeat, Report, SECOND};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many apps there are from the start.
    pub apps: usize,
    /// For how long.
    pub duration: Millis,
    /// What a repeated fetch does.
    pub repeat: Repeat,
    /// The life of a token.
    pub life: Millis,
    /// When the endpoint fails.
    pub faults: Vec<Fault>,
    /// When further apps are created.
    pub newcomers: Vec<Millis>,
    /// Of the random numbers.
    pub seed: u64,
}

impl Plan {
    /// Ten thousand apps with tokens of two hours, for so many hours, without faults.
    pub fn of(repeat: Repeat, hours: i64) -> Self {
        Self {
            apps: 10_000,
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
    /// Look at an app, if this is the last time that was set for it.
    Look(usize, u32),
    /// A call of an app is over.
    Finished(usize),
    /// Look at the queue.
    Queue,
}

struct App {
    call: Call,
    corp: Corp,
    uid: String,
    looks: u32,
    created: Millis,
    answer: Option<(Answered, Timestamp)>,
    /// Until when what it holds is valid, by its own record.
    valid_until: Option<Millis>,
    first_at: Option<Millis>,
}

struct World {
    endpoint: Endpoint,
    apps: Vec<App>,
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
    let mut world = World {
        endpoint: Endpoint::new(plan.repeat, plan.life, plan.faults.clone()),
        apps: Vec::new(),
        events: BinaryHeap::new(),
        scheduler: Scheduler::new(Rates::default()),
        queue_look: None,
        random: SmallRng::seed_from_u64(plan.seed),
        start: Timestamp::from_second(1_800_000_000).unwrap_or_default(),
        instant: Instant::now(),
        report: Report {
            calls: vec![0; seconds + 1],
            ..Report::default()
        },
    };
    for _ in 0..plan.apps {
        world.create(0);
    }
    for at in &plan.newcomers {
        world.create(*at);
    }
    while let Some(Reverse((now, event))) = world.events.pop() {
        if now >= plan.duration {
            break;
        }
        match event {
            Event::Look(app, look) if world.apps[app].looks == look => world.look(app, now),
            Event::Look(..) => {}
            Event::Finished(app) => world.finish(app, now),
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
        // Rounded up: an event never comes before its time.
        let wait = at.duration_since(self.start).as_nanos();
        Millis::try_from(wait.div_euclid(1_000_000)).unwrap_or(Millis::MAX)
            + Millis::from(wait.rem_euclid(1_000_000) > 0)
    }

    fn create(&mut self, at: Millis) {
        let app = self.apps.len();
        self.apps.push(App {
            call: call(app),
            corp: Corp::default(),
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
        if one.corp.minting.is_some() {
            return;
        }
        let record = one.corp.held.as_ref().map(|held| held.record.clone());
        let next = one.corp.next_fetch(&one.uid, record.as_ref(), None, time);
        match next.filter(|at| *at > time) {
            Some(at) => {
                one.looks += 1;
                let look = Event::Look(app, one.looks);
                let at = self.millis(at);
                self.events.push(Reverse((at.max(now + 1), look)));
            }
            None => {
                one.corp.minting = Some(minting(app, time));
                let expires_at = record.map(|record| record.lifetime.expires_at);
                let rank = one.corp.rank(expires_at, time);
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
            let answer = self.endpoint.call(app, now, &mut self.random);
            if let Some(second) = self
                .report
                .calls
                .get_mut(usize::try_from(now / SECOND).unwrap_or_default())
            {
                *second += 1;
            }
            let latency = self.random.random_range(20..200);
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

    fn finish(&mut self, app: usize, now: Millis) {
        let (time, instant) = (self.time(now), self.instant(now));
        let call = self.apps[app].call.clone();
        let Some((answer, requested_at)) = self.apps[app].answer.take() else {
            return;
        };
        let Some(minting) = self.apps[app].corp.minting.take() else {
            return;
        };
        match answer {
            Answered::Token(value, life) => {
                for recovery in self.scheduler.succeeded(&call, instant) {
                    self.hurry(&recovery, time, now);
                }
                self.got(app, value, life, &minting, requested_at, now);
            }
            Answered::Failure(failure) => {
                self.report.failures += 1;
                let since = self.apps[app].corp.failing.as_ref();
                let since = since.map(|failing| failing.streak_since);
                let since = since.map(|since| self.instant(self.millis(since)));
                let heard = self.scheduler.failed(&call, *failure, since, instant);
                self.failed(app, heard.failure, heard.is_site_down, &minting, now);
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
        minting: &Minting,
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
        let waited = now - waited_from - self.endpoint.down_between(waited_from, now);
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
        let minted = Minted {
            token,
            expires_in: Duration::from_millis(u64::try_from(life).unwrap_or_default()),
        };
        let former = Former::default();
        one.corp
            .minted(&one.uid, minting, minted, requested_at, former, time);
    }

    fn failed(
        &mut self,
        app: usize,
        failure: Failure,
        is_site_down: bool,
        minting: &Minting,
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
        one.corp.failed(minting, attempt, time);
    }

    fn hurry(&mut self, recovery: &Recovery, time: Timestamp, now: Millis) {
        let since = recovery.since.duration_since(self.instant).as_millis();
        let since = self.time(Millis::try_from(since).unwrap_or_default());
        for app in 0..self.apps.len() {
            let one = &mut self.apps[app];
            let is_concerned = recovery
                .reach
                .concerns(&one.call.namespace, &one.call.client_id);
            if is_concerned && one.corp.hurry(since, time) {
                one.looks += 1;
                let look = Event::Look(app, one.looks);
                self.events.push(Reverse((now, look)));
            }
        }
    }

    fn close(mut self, plan: &Plan) -> Report {
        self.report.busiest_second = self.endpoint.busiest_second;
        for app in &self.apps {
            // One that is without a token at the end has been so since its expiry.
            let Some(until) = app.valid_until else {
                let waited = plan.duration - app.created;
                let down = self.endpoint.down_between(app.created, plan.duration);
                self.report.longest_first = self.report.longest_first.max(waited - down);
                continue;
            };
            if until < plan.duration {
                let down = self.endpoint.down_between(until, plan.duration);
                let gap = plan.duration - until - down;
                self.report.longest_gap = self.report.longest_gap.max(gap);
            }
            self.report.clairvoyant += clairvoyant(plan, &self.endpoint, app.first_at);
        }
        self.report
    }
}

/// How many tokens an app needs of a scheduler that knows everything before: a renewal a third of
/// the life ahead of expiry, or right after expiry where an earlier one brings nothing.
fn clairvoyant(plan: &Plan, endpoint: &Endpoint, first_at: Option<Millis>) -> usize {
    let Some(mut at) = first_at else { return 0 };
    let step = match plan.repeat {
        Repeat::SameRemaining => plan.life,
        _ => plan.life - plan.life / 3,
    };
    let mut calls = 0;
    while at < plan.duration {
        calls += 1;
        at = endpoint.up_from(at + step);
    }
    calls
}

fn call(app: usize) -> Call {
    let client_id = format!("client-{app}");
    let value = |_: &str| Some(client_id.clone().into_bytes().into());
    let fingerprint = Credentials::read("id", "secret", value)
        .map(|credentials| credentials.fingerprint(&[0; 32]))
        .expect("a client_id and a secret");
    Call {
        site: "global".into(),
        namespace: "one".into(),
        client_id: client_id.as_str().into(),
        corp_id: "corp".into(),
        credentials: CredentialsId {
            uid: format!("uid-of-{client_id}").into(),
            fingerprint,
        },
    }
}

fn minting(app: usize, now: Timestamp) -> Minting {
    Minting {
        id: 0,
        site: "global".to_owned(),
        corp_id: "corp".to_owned(),
        client_id: format!("client-{app}"),
        credentials: ObjectVersion::default(),
        generation: None,
        request: None,
        renew_before: None,
        since: now,
    }
}
