//! What the next process resumes.

use super::*;

#[test]
fn after_a_restart_what_a_status_tells_is_gone_on_with() {
    let second = |second| Timestamp::from_second(second).expect("a time");
    let lifetime = Lifetime {
        requested_at: second(0),
        expires_at: second(TWO_HOURS),
    };
    let resumed = |next| Renewals::resumed(lifetime, None, second(next));
    assert_eq!(resumed(4700), Renewals::Usual);
    assert_eq!(resumed(4800), Renewals::Usual);
    let left = SignedDuration::from_mins(5);
    assert_eq!(resumed(6900), Renewals::Late { left, lifetimes: 0 });
    assert_eq!(resumed(7201), Renewals::AfterExpiry { lifetimes: 0 });
}
