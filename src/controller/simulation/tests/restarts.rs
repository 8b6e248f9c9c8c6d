//! Restarts of workloads.

use super::*;
use crate::controller::simulation::site::Repeat;

/// Regression: the metric stayed after the workload that could not be restarted had been deleted.
#[test]
fn a_workload_that_is_gone_is_no_failing_delivery() {
    let mut world = with_credentials(1, None);
    world.site.repeat = Repeat::Beside;
    let workloads = json!([{"kind": "Deployment", "name": "web"}]);
    world.apply("payroll", &json!({"rolloutRestartTargets": workloads}));
    world.run(10 * MINUTE);
    let is_failing = |world: &World| {
        let metrics = world.replicas[0].process.metrics();
        metrics.contains("delivery_failing_since_timestamp_seconds{")
    };
    world.store.restart_failure = Some(403);
    world.renew("payroll");
    world.run(MINUTE);
    assert!(is_failing(&world), "it is forbidden");
    world.store.restart_failure = Some(404);
    world.run(10 * MINUTE);
    assert!(!is_failing(&world), "it is gone");
}
