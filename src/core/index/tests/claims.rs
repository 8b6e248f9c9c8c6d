//! Apps with the same target.

use super::*;

/// Regression: each app woke all others that name its target, so thousands of them filled the
/// memory when they were listed.
#[test]
fn of_many_apps_with_one_target_only_those_that_gain_or_lose_it_are_woken() {
    let count = 1000;
    for age in [1, -1] {
        let mut index = Index::new(NamespaceLimits::default());
        let rival = |n: i64| app(&format!("rival-{n}"), &format!("u{n}"), age * n, "token");
        let woken = |others: Vec<Vec<AppRef>>| others.iter().map(Vec::len).sum::<usize>();
        let others = (1..=count).map(|n| index.app_applied(&rival(n)));
        let others = woken(others.collect());
        assert!(others <= 1000, "{others}");
        let others = (1..=count).map(|n| index.app_deleted(&app_ref(&rival(n))));
        let others = woken(others.collect());
        assert!(others <= 1000, "{others}");
    }
}

#[test]
fn an_event_of_a_target_wakes_the_app_that_has_it_and_those_whose_credentials_it_is() {
    let mut index = Index::default();
    let (old, young) = (app("old", "u1", 1, "token"), app("young", "u2", 2, "token"));
    let mut reader = app("reader", "u3", 3, "another");
    reader.spec.credentials_secret_ref.name = "token".to_owned();
    for app in [&old, &young, &reader] {
        index.app_applied(app);
    }
    let mut woken = index.secret_applied(secret("token", "10", Some(("old", "u1"))));
    woken.sort_by_key(|app| app.name.clone());
    assert_eq!(woken, [app_ref(&old), app_ref(&reader)]);
    assert_eq!(index.app_deleted(&app_ref(&old)), [app_ref(&young)]);
    let woken = index.secret_deleted(&secret("token", "11", None));
    assert!(woken.contains(&app_ref(&young)), "it has the target now");
}
