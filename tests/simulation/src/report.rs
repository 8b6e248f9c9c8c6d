//! What a run showed.

use std::fmt;

use crate::{HOUR, Millis, SECOND};

/// What a run showed of one group.
#[derive(Clone, Debug, Default)]
pub struct GroupReport {
    /// Its calls.
    pub calls: usize,
    /// Its calls that got a token.
    pub tokens: usize,
    /// The least life that a token had left when the next one came; negative after an expiry.
    pub least_life: Option<Millis>,
    /// Failures that were not a call's own: the credentials had just been rejected.
    pub rejected_too: usize,
    /// Calls that came sooner after a failure than its class allows.
    pub too_early: usize,
    /// How much later than its class says a call came after a failure.
    pub latest: Millis,
}

impl GroupReport {
    pub(crate) fn renewed(&mut self, life_left: Millis) {
        let least = self.least_life.unwrap_or(life_left);
        self.least_life = Some(least.min(life_left));
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each group, in the order of the plan; those that it does not name are the last.
    pub groups: Vec<GroupReport>,
    /// Calls that got a token.
    pub tokens: usize,
    /// Calls that got none.
    pub failures: usize,
    /// Calls that got a token, of a scheduler that knows the endpoint's ways and faults before.
    pub clairvoyant: usize,
    /// The most calls within any second.
    pub busiest_second: usize,
    /// The longest that an app was without a valid token while one was to be had, after its first.
    pub longest_gap: Millis,
    /// The longest that an app waited for its first token while one was to be had.
    pub longest_first: Millis,
    /// How long each app that came while the others renewed waited for its first token.
    pub newcomers: Vec<Millis>,
    /// The calls of each second.
    pub calls: Vec<u32>,
}

impl Report {
    /// Of the seconds from `from` to `until` between the first and the last call: the most calls of
    /// one second, and the mean.
    pub fn wave(&self, from: Millis, until: Millis) -> (u32, f64) {
        let index = |at: Millis| usize::try_from(at / SECOND).unwrap_or_default();
        let end = index(until).min(self.calls.len());
        let seconds = &self.calls[index(from).min(end)..end];
        let first = seconds.iter().position(|calls| *calls > 0).unwrap_or(0);
        let last = seconds.iter().rposition(|calls| *calls > 0).unwrap_or(0);
        let busy = &seconds[first..=last.min(seconds.len().saturating_sub(1))];
        let sum: u32 = busy.iter().sum();
        let most = busy.iter().copied().max().unwrap_or(0);
        let length = u32::try_from(busy.len().max(1)).unwrap_or(u32::MAX);
        (most, f64::from(sum) / f64::from(length))
    }

    /// Calls with a token over those of the clairvoyant.
    pub fn ratio(&self) -> f64 {
        let count = |calls: usize| f64::from(u32::try_from(calls).unwrap_or(u32::MAX));
        count(self.tokens) / count(self.clairvoyant.max(1))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = Millis::try_from(self.calls.len()).unwrap_or(0) * SECOND / HOUR;
        let newest = self.newcomers.iter().copied().max().unwrap_or(0);
        writeln!(f, "  simulated                {hours} h")?;
        writeln!(f, "  calls with a token       {}", self.tokens)?;
        writeln!(
            f,
            "  of a clairvoyant         {} (x {:.3})",
            self.clairvoyant,
            self.ratio()
        )?;
        writeln!(f, "  calls without            {}", self.failures)?;
        writeln!(
            f,
            "  busiest second           {} calls",
            self.busiest_second
        )?;
        writeln!(f, "  longest without a token  {} ms", self.longest_gap)?;
        writeln!(f, "  longest wait for a first {} ms", self.longest_first)?;
        write!(f, "  newcomers waited up to   {newest} ms")
    }
}
