//! The kubelet's probes.

use std::time::Duration;

use tokio::time::Instant;

use super::ground::Ground;
use super::report::Breach;

/// As in `deploy/base/deployment.yaml`; the readiness probe's `failureThreshold` is Kubernetes'
/// default, and stricter than that of the liveness probe.
const PERIOD: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(5);
const FAILURE_THRESHOLD: u32 = 3;

#[derive(Default)]
pub struct Probes {
    last: Option<Instant>,
    process: Option<u32>,
    failures: [u32; 2],
}

impl Probes {
    /// Probes where it is time to, once the process was ready for the first time.
    pub async fn probe(&mut self, ground: &Ground) -> Result<(), Breach> {
        if self.last.is_some_and(|last| last.elapsed() < PERIOD) {
            return Ok(());
        }
        let Some((process, address)) = ground.probe_address() else {
            return Ok(());
        };
        self.last = Some(Instant::now());
        for (at, path) in ["/readyz", "/healthz"].into_iter().enumerate() {
            let answer = answer(&address, path).await;
            if self.process != Some(process) {
                if at == 0 && answer.is_ok() {
                    self.process = Some(process);
                    self.failures = [0, 0];
                }
                continue;
            }
            match answer {
                Ok(()) => self.failures[at] = 0,
                Err(how) => {
                    self.failures[at] += 1;
                    if self.failures[at] >= FAILURE_THRESHOLD {
                        return Err(Breach {
                            promise: "the probes answer",
                            whom: path.to_owned(),
                            how: format!("{FAILURE_THRESHOLD} failures in a row, last: {how}"),
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

async fn answer(address: &str, path: &str) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let response = client.get(format!("http://{address}{path}")).send().await;
    match response {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(format!("HTTP {}", response.status())),
        Err(error) if error.is_timeout() => Err(format!("no answer in {} s", TIMEOUT.as_secs())),
        Err(error) => Err(error.to_string()),
    }
}
