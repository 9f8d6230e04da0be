//! What becomes of viewers while a store of many servers loses one, stops, forgets or is cut off.

use crate::fleet::{Cluster, Node, Watched, turn, until};
use crate::load::{ACCOUNTS, HEALED_IN, Load, TTL, account};
use std::time::Duration;
use tokio::time::Instant;

const SHORT: Duration = Duration::from_millis(500);

/// Which accounts are on the first shard of a cluster.
async fn on_first_shard(cluster: &Cluster) -> Vec<bool> {
    let mut on = Vec::new();
    for n in 0..ACCOUNTS {
        on.push(cluster.shard(&format!("{{{:04x}}}", account(n).bucket())).await == 0);
    }
    on
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_troubles_its_own_accounts_until_its_replica_takes_over() {
    let mut cluster = Cluster::start().await;
    let first = on_first_shard(&cluster).await;
    let load = Load::start("kill -9 of a primary", &cluster.url()).await;
    load.is_within_limits().await;
    let killed_at = Instant::now();
    cluster.nodes[0].kill();
    until("its replica takes over", async || cluster.nodes[3].is_master().await).await;
    let failover = killed_at.elapsed();
    let healed = load.healed().await;
    load.goes_on_for(SHORT).await;
    load.is_within_limits().await;
    let others = load.failures(|n| !first[n]);
    assert!(others.is_empty(), "accounts of other shards were troubled: {others:?}");
    assert!(healed < HEALED_IN, "it took {healed:?}");
    load.end(&format!("failover {failover:?}, healed {healed:?} later")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_is_replaced_and_comes_back_as_a_replica() {
    let cluster = Cluster::start().await;
    let first = on_first_shard(&cluster).await;
    let load = Load::start("SIGSTOP of a primary", &cluster.url()).await;
    let stopped_at = Instant::now();
    cluster.nodes[0].signal("-STOP");
    until("its replica takes over", async || cluster.nodes[3].is_master().await).await;
    let failover = stopped_at.elapsed();
    let healed = load.healed().await;
    load.goes_on_for(Duration::from_secs(3).saturating_sub(stopped_at.elapsed())).await;
    cluster.nodes[0].signal("-CONT");
    until("it is a replica", async || !cluster.nodes[0].is_master().await).await;
    load.healed().await;
    load.goes_on_for(SHORT).await;
    load.is_within_limits().await;
    let others = load.failures(|n| !first[n]);
    assert!(others.is_empty(), "accounts of other shards were troubled: {others:?}");
    assert!(healed < HEALED_IN, "it took {healed:?}");
    load.end(&format!("failover {failover:?}, healed {healed:?} later")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_is_followed_to_its_successor() {
    let mut watched = Watched::start().await;
    let load = Load::start("kill -9 of a master", &watched.url()).await;
    load.is_within_limits().await;
    let killed_at = Instant::now();
    watched.servers[0].kill();
    until("a sentinel names its successor", async || {
        watched.has_another_than(&watched.servers[0]).await
    })
    .await;
    let failover = killed_at.elapsed();
    let healed = load.healed().await;
    load.goes_on_for(SHORT).await;
    load.is_within_limits().await;
    assert!(healed < HEALED_IN, "it took {healed:?}");
    load.end(&format!("failover {failover:?}, healed {healed:?} later")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_that_forgets_hangs_or_restarts_interrupts_nobody() {
    // What was written outlives the process without being on the disk yet.
    let aof = ["--appendonly", "yes", "--appendfsync", "no", "--dir", "{dir}"];
    let _turn = turn().await;
    let mut server = Node::server(&aof).await;
    let load = Load::start("one server", &format!("redis://127.0.0.1:{}", server.port)).await;
    server.ask::<()>("SCRIPT FLUSH").await;
    load.goes_on_for(SHORT).await;
    let failed = load.failures(|_| true);
    assert!(failed.is_empty(), "nobody notices that scripts were forgotten: {failed:?}");
    let mut times = Vec::new();
    server.ask::<i64>("CLIENT KILL TYPE normal").await;
    times.push(("connections killed", load.healed().await));
    // Slower than the deadline, and back before the breaker has rested.
    server.ask::<()>("DEBUG SLEEP 0.6").await;
    times.push(("a sleep of 0.6 s", load.healed().await));
    server.signal("-STOP");
    load.goes_on_for(Duration::from_secs(3)).await;
    server.signal("-CONT");
    times.push(("a stop of 3 s", load.healed().await));
    load.is_within_limits().await;
    server.kill();
    server.restart().await;
    times.push(("a restart with data", load.healed().await));
    load.is_within_limits().await;
    server.ask::<()>("FLUSHALL").await;
    server.kill();
    server.restart().await;
    times.push(("a restart without data", load.healed().await));
    // Every stream is entered again at its next renewal.
    let entered = load.entered_again().await;
    assert!(entered < TTL, "it took {entered:?}");
    load.is_within_limits().await;
    assert!(times.iter().all(|(_, healed)| *healed < HEALED_IN), "{times:?}");
    load.end(&format!("healed after {times:?}")).await;
}
