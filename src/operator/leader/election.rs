//! Decides what to do with the Lease, like client-go's leader election. Pure.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

/// Time from a renewal of the Lease to its expiry; client-go's default.
pub(crate) const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Time between two attempts to acquire or renew the Lease; client-go's default.
pub(crate) const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// If the Lease could not be read for this long, its holder may not have been able to renew it either.
const INTERRUPTION: Duration = Duration::from_secs(LEASE_DURATION.as_secs() / 2);

/// The Lease as last read. Its times are ignored, since they come from another machine's clock: it has expired
/// if it has not changed for its duration.
#[derive(Clone, Debug)]
struct Seen {
    holder: String,
    duration: Duration,
    transitions: i32,
    acquired_at: Option<MicroTime>,
    resource_version: Option<String>,
    since: Instant,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Turn {
    Read,
    /// Replace the Lease as last read by this one.
    Write(LeaseSpec),
}

/// Holder of the Lease as last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// This replica.
    Ours,
    /// None, or unknown.
    Free,
    /// Another replica, with this identity.
    Theirs(String),
}

/// A replica's view of the election.
#[derive(Debug)]
pub(crate) struct Election {
    identity: String,
    seen: Option<Seen>,
    looked_at: Option<Instant>,
}

impl Election {
    /// Creates a view without knowledge of the Lease.
    pub(crate) fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
            looked_at: None,
        }
    }

    /// Records the Lease as read; `None` if it does not exist.
    pub(crate) fn saw(&mut self, lease: Option<Lease>, now: Instant) {
        // If the Lease could not be read, its holder could not renew it either, and is given time to do so: an
        // outage of the API server must not change the leader.
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

    pub(crate) fn standing(&self) -> Standing {
        match &self.seen {
            Some(seen) if seen.holder == self.identity => Standing::Ours,
            Some(seen) if !seen.holder.is_empty() => Standing::Theirs(seen.holder.clone()),
            _ => Standing::Free,
        }
    }

    /// Returns what to do at `now`; `None` means wait. `read` is whether the Lease was just read.
    pub(crate) fn turn(&self, read: bool, wall: Timestamp, now: Instant) -> Option<Turn> {
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

    /// Returns the Lease to write. It has no resourceVersion if it must be created.
    pub(crate) fn lease(&self, name: &str, spec: LeaseSpec) -> Lease {
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

    /// Returns the spec that releases the Lease; `None` if this replica does not hold it.
    pub(crate) fn release(&self, wall: Timestamp) -> Option<LeaseSpec> {
        let seen = self.seen.as_ref()?;
        (self.standing() == Standing::Ours).then(|| LeaseSpec {
            holder_identity: Some(String::new()),
            // The API server rejects zero.
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

    /// Reads this version every two seconds, between two points in time.
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
        // The Lease was renewed at the last moment.
        looks(&mut election, start, (15, 29), "2");
        assert_eq!(election.turn(true, wall, at(29)), None);
        let spec = written(election.turn(true, wall, at(30)));
        assert_eq!(spec.lease_transitions, Some(5));
        let taken = election.lease("name", spec);
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("2"));
        // The Lease is never taken based on an old read.
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
        // An occasional failure to read the Lease does not delay a takeover.
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
