//! Results of a run.

use std::fmt;

use crate::{HOUR, Millis, SECOND};

/// Results for one group.
#[derive(Clone, Debug, Default)]
pub struct GroupReport {
    /// Number of calls.
    pub calls: usize,
    /// Number of calls that returned a token.
    pub tokens: usize,
    /// Minimum remaining lifetime of a token when the next one was fetched; negative after its expiry.
    pub least_life: Option<Millis>,
    /// Number of failures without a call, because the same credentials had just been rejected.
    pub rejected_too: usize,
    /// Number of calls that came earlier after a failure than its class allows.
    pub too_early: usize,
    /// Maximum delay of a call after a failure, beyond what its class allows.
    pub latest: Millis,
}

impl GroupReport {
    pub(crate) fn renewed(&mut self, life_left: Millis) {
        let least = self.least_life.unwrap_or(life_left);
        self.least_life = Some(least.min(life_left));
    }
}

/// Results of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Results for each group in the plan's order, then for all other apps.
    pub groups: Vec<GroupReport>,
    /// Number of calls that returned a token.
    pub tokens: usize,
    /// Number of calls that failed.
    pub failures: usize,
    /// Number of calls that a clairvoyant scheduler needs: it knows the sites' behaviour and faults in advance.
    pub clairvoyant: usize,
    /// Maximum number of calls within a second.
    pub busiest_second: usize,
    /// Maximum time for which an app had no valid token after its first one, although one was available.
    pub longest_gap: Millis,
    /// Maximum time for which an app waited for its first token, although one was available.
    pub longest_first: Millis,
    /// How long each app that was created during the run waited for its first token.
    pub newcomers: Vec<Millis>,
    /// Number of calls in each second.
    pub calls: Vec<u32>,
}

impl Report {
    /// Returns the maximum and the mean of the calls per second, between the first and the last call from `from` to
    /// `until`.
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

    /// Returns the ratio of the calls that returned a token to those of the clairvoyant scheduler.
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
            "  clairvoyant scheduler    {} (x {:.3})",
            self.clairvoyant,
            self.ratio()
        )?;
        writeln!(f, "  failed calls             {}", self.failures)?;
        writeln!(
            f,
            "  busiest second           {} calls",
            self.busiest_second
        )?;
        writeln!(f, "  longest without a token  {} ms", self.longest_gap)?;
        writeln!(f, "  longest wait for first   {} ms", self.longest_first)?;
        write!(f, "  newcomers waited up to   {newest} ms")
    }
}
