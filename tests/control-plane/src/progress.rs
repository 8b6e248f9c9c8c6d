//! Progress messages of steps that take long.

use std::io::Write as _;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Interval of messages while a step is running.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A running step. It prints a line at its start, one every ten seconds, and one at its end.
pub struct Progress {
    what: String,
    started: Instant,
    stop: Option<mpsc::Sender<()>>,
    heartbeat: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts a step.
    pub fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let started = Instant::now();
        say(&format!("   … {what}"));
        let (stop, stopped) = mpsc::channel::<()>();
        let name = what.split(',').next().unwrap_or_default().to_owned();
        let heartbeat = std::thread::spawn(move || {
            while stopped.recv_timeout(HEARTBEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                say(&format!("     {name}: {} s", started.elapsed().as_secs()));
            }
        });
        Self {
            what,
            started,
            stop: Some(stop),
            heartbeat: Some(heartbeat),
        }
    }

    /// Ends the step successfully.
    pub fn done(mut self) {
        self.stop();
        say(&format!(
            "   ✓ {} ({:.1} s)",
            self.what,
            self.started.elapsed().as_secs_f64()
        ));
    }

    fn stop(&mut self) {
        self.stop.take();
        if let Some(heartbeat) = self.heartbeat.take() {
            let _ = heartbeat.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
