use super::*;
use crate::api::AppRef;

fn app(n: i64) -> AppRef {
    AppRef::new(&format!("app{n}")).within("hr")
}

fn age(n: i64) -> Age {
    let created = Timestamp::from_second(n).expect("a time");
    (created, format!("u{n}"))
}

fn load(corps: usize) -> Load {
    Load { corps, spec: 100 }
}

fn refused(admission: &Admission<AppRef>, apps: impl Iterator<Item = i64>) -> Vec<i64> {
    apps.filter(|n| admission.refusal(&app(*n)).is_some())
        .collect()
}

fn with(apps: usize, corps: usize) -> Admission<AppRef> {
    Admission::of_apps(NamespaceLimits {
        apps,
        corps,
        references: 0,
    })
}

#[test]
fn the_youngest_are_refused_in_whatever_order_they_are_listed() {
    for order in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 5, 1, 4, 2]] {
        let mut admission = with(3, usize::MAX);
        for n in order {
            admission.put(&app(n), &age(n), load(1));
        }
        assert_eq!(refused(&admission, 1..6), [4, 5], "{order:?}");
        let bound = admission.refusal(&app(5));
        assert_eq!(bound, Some(Refusal::PastBound(Bound::Apps(3))));
    }
}

#[test]
fn room_serves_the_oldest_that_waits() {
    let mut admission = with(2, usize::MAX);
    for n in 1..5 {
        admission.put(&app(n), &age(n), load(1));
    }
    let moved = admission.remove(&app(1));
    assert_eq!((moved.served, moved.refused), (vec![app(3)], vec![]));
    let moved = admission.remove(&app(4));
    assert_eq!((moved.served, moved.refused), (vec![], vec![]));
    assert!(refused(&admission, 1..5).is_empty());
    for n in 2..4 {
        admission.remove(&app(n));
    }
    assert!(admission.namespaces.is_empty() && admission.ages.is_empty());
}

#[test]
fn corps_and_specs_count_and_an_older_app_that_grows_pushes_the_youngest_out() {
    let mut admission = with(usize::MAX, 10);
    for n in 1..4 {
        admission.put(&app(n), &age(n), load(3));
    }
    assert!(refused(&admission, 1..4).is_empty());
    let moved = admission.put(&app(1), &age(1), load(6));
    assert_eq!((moved.served, moved.refused), (vec![], vec![app(3)]));
    let bound = admission.refusal(&app(3));
    assert_eq!(bound, Some(Refusal::PastBound(Bound::Corps(10))));
    let moved = admission.put(&app(1), &age(1), load(4));
    assert_eq!((moved.served, moved.refused), (vec![app(3)], vec![]));
    let heavy = Load {
        corps: 0,
        spec: SPECS_MAX,
    };
    let moved = admission.put(&app(9), &age(9), heavy);
    assert_eq!(moved.refused, [app(9)]);
    let bound = admission.refusal(&app(9));
    assert_eq!(bound, Some(Refusal::PastBound(Bound::Specs(SPECS_MAX))));
    assert_eq!(admission.put(&app(9), &age(9), load(0)).served, [app(9)]);
}

#[test]
fn an_update_that_changes_nothing_moves_nobody() {
    let mut admission = with(2, usize::MAX);
    for n in 1..4 {
        admission.put(&app(n), &age(n), load(1));
    }
    for n in 1..4 {
        let moved = admission.put(&app(n), &age(n), load(1));
        assert_eq!((moved.served, moved.refused), (vec![], vec![]));
    }
    assert_eq!(refused(&admission, 1..4), [3]);
}

#[test]
fn namespaces_do_not_count_for_each_other() {
    let mut admission = with(1, usize::MAX);
    let other = AppRef::new("app").within("web");
    admission.put(&app(1), &age(1), load(1));
    admission.put(&other, &age(2), load(1));
    assert_eq!(admission.refusal(&other), None);
}

/// The outcome equals that of a recount of the namespace after each change.
#[test]
fn it_is_what_a_recount_gives() {
    let limits = NamespaceLimits {
        apps: 6,
        corps: 12,
        references: 0,
    };
    let mut admission = Admission::of_apps(limits);
    let mut apps: BTreeMap<Age, (i64, usize)> = BTreeMap::new();
    let mut state: u64 = 7;
    for _ in 0..3000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let n = i64::try_from(state >> 33).unwrap_or_default() % 12;
        let corps = usize::try_from(state >> 50).unwrap_or_default() % 6;
        let before = refused(&admission, 0..12);
        let was_known = apps.contains_key(&age(n));
        let moved = if state & (1 << 40) == 0 {
            apps.remove(&age(n));
            admission.remove(&app(n))
        } else {
            apps.insert(age(n), (n, corps));
            admission.put(&app(n), &age(n), load(corps))
        };
        let (mut count, mut total, mut expected) = (0, 0, Vec::new());
        for (n, corps) in apps.values() {
            let fits = count < limits.apps && total + corps <= limits.corps;
            if !expected.is_empty() || !fits {
                expected.push(*n);
                continue;
            }
            count += 1;
            total += corps;
        }
        expected.sort_unstable();
        assert_eq!(refused(&admission, 0..12), expected);
        for other in (0..12).filter(|other| *other != n || was_known) {
            if !apps.contains_key(&age(other)) {
                continue;
            }
            let (was, is) = (before.contains(&other), expected.contains(&other));
            assert_eq!(moved.refused.contains(&app(other)), !was && is);
            assert_eq!(moved.served.contains(&app(other)), was && !is);
        }
    }
}
