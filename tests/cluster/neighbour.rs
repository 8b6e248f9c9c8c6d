//! A hostile namespace beside two hundred apps: no token of theirs may expire, or be fetched more
//! often than its schedule says.
//!
//! The operator runs under its container's memory limit, enforced by the kernel, and with the soft
//! limit of open files that a container may get. One process has to last through each attack, apart
//! from the restart that an attack may include.
//!
//! `NEIGHBOUR_SEED` repeats a run with its seed. `NEIGHBOUR_ONLY` leaves of an attack the parts whose
//! names begin so, such as `tarpit`, `forged` or `known-equal`; `nothing` leaves none, which shows
//! that the victims are served well where nobody attacks.

mod attack;
mod failing;
mod forgery;
mod generator;
mod ground;
mod heavy;
mod limit;
mod probes;
mod report;

mod slow;
mod sockets;
mod templates;
mod victims;

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use attack::Attack;
use failing::Family;
use ground::Ground;
use probes::Probes;
use report::{Breach, say};
use victims::{LIFE, Lookout};

/// How long an attack is kept up after it began: every token that was valid then expires within
/// this time, unless it is renewed under attack.
const HOLD: Duration = Duration::from_secs(LIFE.unsigned_abs() + 5);
/// Between two looks at all Secrets. What expired in between and was renewed is seen all the same.
const LOOK: Duration = Duration::from_secs(3);
/// No attack takes longer to begin.
const BEGIN: Duration = Duration::from_secs(240);
/// Control planes of this module that run at once: two cores carry no more in good time.
static PLANES: Semaphore = Semaphore::const_new(3);

/// Whether this part of an attack is carried out.
fn is_chosen(part: &str) -> bool {
    std::env::var("NEIGHBOUR_ONLY").map_or(true, |only| part.starts_with(&only))
}

async fn withstands(name: &str, attacks: Vec<Attack>) {
    let _permit = PLANES.acquire().await.expect("never closed");
    let ground = Ground::new(name, attacks.len() > 1).await;
    let mut lookout = Lookout::new(&ground).await;
    let began = Instant::now();
    let result = tokio::select! {
        breach = watch(&ground, &mut lookout) => Err(breach),
        result = assault(&ground, attacks) => result,
    };
    let result = match result.and_then(|()| ground.is_alive()) {
        Ok(()) => lookout.look(&ground).await,
        Err(breach) => Err(breach),
    };
    let result = result.and_then(|()| victims::pace(&ground));
    say(&format!("{name}: {}", ground.summary(&lookout)));
    if let Err(breach) = result {
        panic!("{}", report::failure(name, &ground, &breach, began));
    }
}

/// Watches the victims, the process and its probes; returns what is wrong.
async fn watch(ground: &Ground, lookout: &mut Lookout) -> Breach {
    let looking = every(LOOK, async || {
        ground.is_alive()?;
        lookout.look(ground).await
    });
    let mut probes = Probes::default();
    let probing = every(Duration::from_secs(1), async || {
        ground.is_alive()?;
        probes.probe(ground).await
    });
    tokio::select! {
        breach = looking => breach,
        breach = probing => breach,
    }
}

/// Until it fails.
async fn every(period: Duration, mut look: impl AsyncFnMut() -> Result<(), Breach>) -> Breach {
    loop {
        let next = Instant::now() + period;
        if let Err(breach) = look().await {
            return breach;
        }
        sleep_until(next).await;
    }
}

async fn assault(ground: &Ground, mut attacks: Vec<Attack>) -> Result<(), Breach> {
    let begin = futures::future::join_all(attacks.iter_mut().map(|attack| attack.begin(ground)));
    tokio::time::timeout(BEGIN, begin)
        .await
        .map_err(|_| Breach::of_test("the attack did not begin in time"))?;
    if attacks.iter().any(Attack::includes_restart) {
        ground.restart_operator().await?;
    }
    let end = Instant::now() + HOLD;
    let rounds = attacks.iter_mut().map(async |attack| {
        for second in 0..HOLD.as_secs() {
            let next = Instant::now() + Duration::from_secs(1);
            attack.round(ground, second).await;
            sleep_until(next).await;
        }
    });
    let _ = tokio::time::timeout_at(end, futures::future::join_all(rounds)).await;
    sleep_until(end).await;
    Ok(())
}

macro_rules! tests {
    ($($name:ident: $attack:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                withstands(stringify!($name), vec![$attack]).await;
            }
        )*

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn all_at_once() {
            withstands("all_at_once", vec![$($attack),*]).await;
        }
    };
}

tests! {
    templates: Attack::Templates;
    huge_client_id: Attack::HugeClientId;
    heavy_secrets: Attack::HeavySecrets;
    heavy_apps: Attack::HeavyApps;
    borrowed_client_ids: Attack::BorrowedClientIds;
    failing_corps: Attack::FailingCorps(Family::Errors);
    bans: Attack::FailingCorps(Family::Bans);
    tar_pits: Attack::FailingCorps(Family::TarPits);
    forged_token: Attack::ForgedToken;
    idle_sockets: Attack::IdleSockets(Vec::new());
}

/// It is not among those that come all at once: a stop waits for writes that hang, and a token of a
/// minute's life does not last through that and the restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_writes() {
    withstands("slow_writes", vec![Attack::SlowWrites(None)]).await;
}
