//! (pure) What to do with the Lease that was seen, as client-go's leader election does it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

/// How long a lease lasts after its renewal; client-go's default.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long between two tries to get or to renew it; client-go's default.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// So long without a look leaves its holder too little of the lease to renew it.
const INTERRUPTION: Duration = Duration::from_secs(LEASE_DURATION.as_secs() / 2);

/// A Lease as it was seen last. Its times are of another machine's clock and are not relied on:
/// it runs out when it has not changed for as long as it lasts.
#[derive(Clone, Debug)]
struct Seen {
    holder: String,
    duration: Duration,
    transitions: i32,
    acquired_at: Option<MicroTime>,
    resource_version: Option<String>,
    since: Instant,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// Read the Lease: it is not known, or has to be seen to change.
    Read,
    /// Write this Lease, in the place of the one that was seen.
    Write(LeaseSpec),
}

/// Who has it, as far as this replica knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This replica.
    Ours,
    /// Nobody, or nobody that is known.
    Free,
    /// Another, by its name.
    Theirs(String),
}

/// One replica's view of an election.
#[derive(Debug)]
pub struct Election {
    identity: String,
    seen: Option<Seen>,
    looked_at: Option<Instant>,
}

impl Election {
    /// Nothing is known yet.
    pub fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
            looked_at: None,
        }
    }

    /// Records the Lease as it is; `None` if there is none.
    pub fn saw(&mut self, lease: Option<Lease>, now: Instant) {
        // Where it could not be looked at, whoever has it could not renew it either, and has the time
        // to when that is over: an outage of the API server changes no leader.
        let interrupted = self
            .looked_at
            .replace(now)
            .is_some_and(|at| now.saturating_duration_since(at) > INTERRUPTION);
        let Some(Lease { metadata, spec }) = lease else {
            self.seen = None;
            return;
        };
        let spec = spec.unwrap_or_default();
        let seconds = spec.lease_duration_seconds.unwrap_or_default();
        let since = match &self.seen {
            Some(seen) if seen.resource_version == metadata.resource_version && !interrupted => {
                seen.since
            }
            _ => now,
        };
        self.seen = Some(Seen {
            holder: spec.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
            transitions: spec.lease_transitions.unwrap_or_default(),
            acquired_at: spec.acquire_time,
            resource_version: metadata.resource_version,
            since,
        });
    }

    /// Whose it is.
    pub fn standing(&self) -> Standing {
        match &self.seen {
            Some(seen) if seen.holder == self.identity => Standing::Ours,
            Some(seen) if !seen.holder.is_empty() => Standing::Theirs(seen.holder.clone()),
            _ => Standing::Free,
        }
    }

    /// What to do at `now`; `read` tells that the Lease was just read.
    pub fn turn(&self, read: bool, wall: Timestamp, now: Instant) -> Option<Turn> {
        let (transitions, acquired_at) = match (&self.seen, self.standing()) {
            (Some(seen), Standing::Ours) => (seen.transitions, seen.acquired_at.clone()),
            _ if !read => return Some(Turn::Read),
            (Some(seen), Standing::Theirs(_)) if !seen.has_run_out(now) => return None,
            (Some(seen), _) => (seen.transitions.saturating_add(1), None),
            (None, _) => (0, None),
        };
        let wall = MicroTime(wall);
        Some(Turn::Write(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            lease_transitions: Some(transitions),
            acquire_time: acquired_at.or_else(|| Some(wall.clone())),
            renew_time: Some(wall),
            ..LeaseSpec::default()
        }))
    }

    /// The Lease to write in the place of the one that was seen; without a version it is created.
    pub fn lease(&self, name: &str, spec: LeaseSpec) -> Lease {
        let resource_version = self.seen.as_ref();
        Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                resource_version: resource_version.and_then(|seen| seen.resource_version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        }
    }

    /// What leaves the Lease to whoever comes first; `None` if it is not ours.
    pub fn release(&self, wall: Timestamp) -> Option<LeaseSpec> {
        let seen = self.seen.as_ref()?;
        (self.standing() == Standing::Ours).then(|| LeaseSpec {
            holder_identity: Some(String::new()),
            // Not zero, which the API server refuses.
            lease_duration_seconds: Some(1),
            lease_transitions: Some(seen.transitions),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            ..LeaseSpec::default()
        })
    }
}

impl Seen {
    fn has_run_out(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.duration
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                lease_transitions: Some(4),
                ..LeaseSpec::default()
            }),
        }
    }

    fn written(turn: Option<Turn>) -> LeaseSpec {
        match turn {
            Some(Turn::Write(spec)) => spec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn there_is_none_and_it_is_created() {
        let (mut election, now) = (Election::new("a".into()), Instant::now());
        let wall = Timestamp::UNIX_EPOCH;
        assert_eq!(election.turn(false, wall, now), Some(Turn::Read));
        election.saw(None, now);
        let spec = written(election.turn(true, wall, now));
        assert_eq!(spec.lease_transitions, Some(0));
        assert_eq!(spec.lease_duration_seconds, Some(15));
        let created = election.lease("name", spec);
        assert_eq!(created.metadata.resource_version, None);
    }

    /// Looks every two seconds, from one second to another, and sees this version.
    fn looks(election: &mut Election, start: Instant, seconds: (u64, u64), version: &str) {
        for second in (seconds.0..=seconds.1).step_by(2) {
            let now = start + Duration::from_secs(second);
            election.saw(Some(lease("b", version)), now);
        }
    }

    #[test]
    fn that_of_another_is_taken_when_it_has_not_changed_for_as_long_as_it_lasts() {
        let (mut election, start) = (Election::new("a".into()), Instant::now());
        let wall = Timestamp::UNIX_EPOCH;
        let at = |seconds| start + Duration::from_secs(seconds);
        looks(&mut election, start, (0, 14), "1");
        assert_eq!(election.standing(), Standing::Theirs("b".to_owned()));
        assert_eq!(election.turn(true, wall, at(14)), None);
        // It was renewed in the last moment.
        looks(&mut election, start, (15, 29), "2");
        assert_eq!(election.turn(true, wall, at(29)), None);
        let spec = written(election.turn(true, wall, at(30)));
        assert_eq!(spec.lease_transitions, Some(5));
        let taken = election.lease("name", spec);
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("2"));
        // Never on what was seen long ago.
        assert_eq!(election.turn(false, wall, at(60)), Some(Turn::Read));
    }

    #[test]
    fn after_an_outage_its_holder_has_the_time_to_renew_it() {
        let (mut election, start) = (Election::new("a".into()), Instant::now());
        let wall = Timestamp::UNIX_EPOCH;
        let at = |seconds| start + Duration::from_secs(seconds);
        looks(&mut election, start, (0, 2), "1");
        looks(&mut election, start, (60, 74), "1");
        assert_eq!(election.turn(true, wall, at(74)), None);
        written(election.turn(true, wall, at(75)));
        // A look that fails now and then puts nothing off.
        let mut election = Election::new("a".into());
        looks(&mut election, start, (0, 6), "1");
        looks(&mut election, start, (12, 15), "1");
        written(election.turn(true, wall, at(15)));
    }

    #[test]
    fn ours_is_renewed_without_a_read_and_released_to_anybody() {
        let (mut election, now) = (Election::new("a".into()), Instant::now());
        let wall = Timestamp::UNIX_EPOCH;
        election.saw(Some(lease("a", "7")), now);
        let spec = written(election.turn(false, wall, now));
        assert_eq!(spec.lease_transitions, Some(4));
        let released = election.release(wall).expect("ours");
        let mut other = Election::new("b".into());
        let mut free = lease("", "8");
        free.spec = Some(released);
        other.saw(Some(free), now);
        assert_eq!(other.standing(), Standing::Free);
        written(other.turn(true, wall, now));
        assert_eq!(other.release(wall), None);
    }
}
