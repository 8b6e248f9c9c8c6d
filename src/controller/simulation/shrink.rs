//! Shortens a failing history: what users, networks and nodes did in it is left out, one act after
//! the other, as long as the history fails in the same way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, set_hook, take_hook};
use std::sync::Once;

/// Most histories that are played to find a shorter one.
const ATTEMPTS_MAX: usize = 1000;

thread_local! {
    static LEFT_OUT: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
    /// Most acts in any world played so far.
    static ACTS: Cell<usize> = const { Cell::new(0) };
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Whether an act is left out of the present history.
pub fn is_left_out(act: usize) -> bool {
    ACTS.set(ACTS.get().max(act + 1));
    LEFT_OUT.with_borrow(|left_out| left_out.contains(&act))
}

/// How a history failed.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub left_out: BTreeSet<usize>,
    pub acts: usize,
}

impl Failure {
    /// Returns the message's first line, which is the same for histories that fail in the same way.
    fn kind(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }
}

/// Plays the history of each seed. A failure ends the test, with the shortest history that fails in
/// the same way.
pub fn play(seeds: impl Iterator<Item = u64>, history: impl Fn(u64)) {
    let without = std::env::var("SIMULATION_WITHOUT").unwrap_or_default();
    let without: BTreeSet<usize> = without.split(',').flat_map(str::parse).collect();
    for seed in seeds {
        let Some(failure) = attempt(&without, || history(seed)) else {
            continue;
        };
        let shortest = shortest(failure, &|| history(seed));
        let Failure {
            message,
            left_out,
            acts,
        } = shortest;
        let left_out: Vec<String> = left_out.iter().map(usize::to_string).collect();
        let left_out = left_out.join(",");
        panic!(
            "{message}\n(of {acts} acts, those left out make no difference: SIMULATION_SEED={seed} \
             SIMULATION_HISTORIES=1 SIMULATION_WITHOUT={left_out} repeats it)"
        );
    }
}

/// Returns the shortest history that fails in the same way.
pub fn shortest(mut failure: Failure, history: &dyn Fn()) -> Failure {
    let mut attempts = 0;
    loop {
        let mut is_shorter = false;
        for act in (0..failure.acts).rev() {
            if attempts == ATTEMPTS_MAX || failure.left_out.contains(&act) {
                continue;
            }
            attempts += 1;
            let mut left_out = failure.left_out.clone();
            left_out.insert(act);
            let shorter = attempt(&left_out, history);
            if let Some(shorter) = shorter.filter(|it| it.kind() == failure.kind()) {
                failure = shorter;
                is_shorter = true;
            }
        }
        if !is_shorter {
            return failure;
        }
    }
}

/// Plays a history without some of its acts and returns how it failed, if it did.
pub fn attempt(left_out: &BTreeSet<usize>, history: impl FnOnce()) -> Option<Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                default(panic);
            }
        }));
    });
    LEFT_OUT.set(left_out.clone());
    ACTS.set(0);
    IS_QUIET.set(true);
    let played = catch_unwind(AssertUnwindSafe(history));
    IS_QUIET.set(false);
    LEFT_OUT.take();
    let message = match played.err()?.downcast::<String>() {
        Ok(message) => *message,
        Err(other) => match other.downcast::<&str>() {
            Ok(message) => (*message).to_owned(),
            Err(other) => panic_any(other),
        },
    };
    Some(Failure {
        message,
        left_out: left_out.clone(),
        acts: ACTS.get(),
    })
}
