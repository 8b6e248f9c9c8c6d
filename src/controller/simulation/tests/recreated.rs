//! Apps that are deleted and created again under the same name.

use super::*;
use crate::controller::simulation::replica::Kind;
use crate::controller::simulation::site::Repeat;

/// Another app's renewal revokes the token before an app that shares it has written the new one, and
/// that app is recreated while its watch is broken. The Secret of its predecessor, which is retained,
/// still holds the old token. It is credited only once the new app's credentials have been read, and
/// by then the new token is known, too.
#[test]
fn an_app_that_is_recreated_in_a_gap_of_the_watch_shows_no_token_that_was_revoked() {
    play(seeds(100), |seed| {
        let mut world = with_credentials(seed, None);
        world.site.repeat = Repeat::Revoking;
        world.apply("first", &json!({"target": {"name": "first-token"}}));
        let target = json!({"name": "second-token", "deletionPolicy": "Retain"});
        world.apply("second", &json!({"target": target}));
        world.run(2 * MINUTE);
        world.store.refusal = Some("denied the request");
        world.renew("first");
        world.run(Duration::from_secs(5));
        world.drop_watch(0, Kind::App);
        world.delete_app("second");
        world.apply("second", &json!({"target": target}));
        let wait = world.dice.random_range(0..3000);
        world.run(Duration::from_millis(wait));
        world.store.refusal = None;
        at_rest(&mut world);
    });
}
