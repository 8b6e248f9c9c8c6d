//! Renewals, and what makes them due.

use jiff::SignedDuration;

use super::*;

#[test]
fn a_client_secret_is_rotated() {
    survives(|world| {
        apply_all(world, &[json!({})]);
        let clients = &mut world.site.clients;
        clients.insert("client".to_owned(), "next".to_owned());
        pause(world);
        world.store.put_credentials("credentials", "client", "next");
        pause(world);
    });
}

#[test]
fn a_renewal_is_asked_for() {
    survives(|world| {
        apply_all(world, &[granting(json!({}))]);
        world.refer("one", "payroll", "copied");
        world.renew("payroll");
        pause(world);
        world.renew("payroll");
    });
}

#[test]
fn a_token_is_renewed_when_it_is_due() {
    survives(|world| {
        apply_all(world, &[json!({"renewBefore": "40m"})]);
        world.run(81 * MINUTE);
        apply_all(world, &[json!({"renewBefore": "10m"})]);
    });
}

/// Regression: the next process did not know that the retry had been made, and its token lost.
#[test]
fn a_renewal_that_is_asked_for_fails_at_first() {
    survives(|world| {
        apply_all(world, &[json!({})]);
        world.run(2 * MINUTE);
        let millis = world.dice.random_range(0..5000);
        let until = world.now() + SignedDuration::from_millis(millis);
        world.site.answer = Some((("server.error", 500), until));
        world.renew("payroll");
        pause(world);
    });
}

#[test]
fn a_renewal_is_asked_for_while_a_quota_has_no_room() {
    survives(|world| {
        apply_all(world, &[json!({})]);
        world.run(2 * MINUTE);
        world.store.refusal = Some("exceeded quota");
        world.renew("payroll");
        pause(world);
        world.store.refusal = None;
        pause(world);
    });
}

/// Regression: the next process left an app alone that showed a token which the renewal of another
/// app had revoked.
#[test]
fn apps_with_one_token_are_renewed_one_after_the_other() {
    survives(|world| {
        for (name, before) in [("payroll", "40m"), ("second", "10m"), ("third", "5m")] {
            let target = json!({"name": format!("{name}-token")});
            world.apply(name, &json!({"target": target, "renewBefore": before}));
        }
        world.run(81 * MINUTE);
        world.renew("second");
    });
}

#[test]
fn pods_and_workloads_follow_a_new_value() {
    let workloads = json!([{"kind": "Deployment", "name": "web"}]);
    let spec = json!({"target": {"propagation": "Immediate"}, "rolloutRestartTargets": workloads});
    survives(|world| {
        apply_all(world, std::slice::from_ref(&spec));
        world.renew("payroll");
        pause(world);
        apply_all(world, &[json!({})]);
    });
}
