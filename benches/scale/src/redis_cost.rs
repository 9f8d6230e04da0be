//! What leases cost a Redis: processor time per acquire and renewal, bytes per account.
//!
//! Acquires are sent as requests send them, each by itself, many at once; renewals as the renewer
//! does, in pipelines.

use crate::server::Server;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use streamgate_lease::redis::RedisStore;
use streamgate_lease::{About, Claim, Holder, LeaseId, LeaseStore, Pepper, Slot, Timing};

/// Requests that ask at the same time.
const ASKERS: usize = 64;
/// The renewer's batch.
const BATCH: usize = 256;
/// Streams of one account, at most.
const STREAMS: usize = 3;

type Told<T> = Result<T, Box<dyn Error>>;

/// Measures and prints a table.
pub(crate) fn measure(accounts: usize) -> Told<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(table(accounts))
}

async fn table(accounts: usize) -> Told<()> {
    let server = Server::start("cost").await?;
    let store = Arc::new(RedisStore::new(Arc::clone(&server.client)));
    let pepper = Pepper::new([7; 32])?;
    let holders: Vec<Holder> =
        (0..accounts).map(|n| Holder::of(&pepper, &format!("account-{n}"))).collect();
    let holders: Arc<[Holder]> = holders.into();
    // One answer beforehand: the scripts are loaded, the clock is known.
    store.acquire(&claim(Holder::of(&pepper, "nobody"), STREAMS), &Timing::default()).await?;
    let empty = server.read().await?;
    println!("| of {accounts} accounts | CPU of Redis | per core | memory per account |");
    println!("|---|---|---|---|");
    for stream in 0..STREAMS {
        let cpu = acquire_all(&server, &store, &holders, stream).await?;
        let bytes = server.read().await?.memory.saturating_sub(empty.memory) / accounts as u64;
        let name = ["first", "second", "third"][stream];
        row(&format!("acquire, the {name} stream"), cpu, accounts, &format!("{bytes} B"));
    }
    let cpu = acquire_all(&server, &store, &holders, 0).await?;
    row("acquire of a held stream", cpu, accounts, "");
    let cpu = acquire_all(&server, &store, &holders, STREAMS).await?;
    row("acquire refused, three listed", cpu, accounts, "");
    let cpu = renew_all(&server, &store, &holders).await?;
    row("renewal, many at once", cpu, accounts, "");
    Ok(())
}

fn row(what: &str, cpu: Duration, operations: usize, memory: &str) {
    let each = cpu.as_secs_f64() / operations as f64;
    println!("| {what} | {:.1} us | {:.0} k/s | {memory} |", each * 1e6, 1e-3 / each);
}

fn claim(holder: Holder, stream: usize) -> Claim {
    let id = LeaseId::of("session", Some(&stream.to_string()));
    let about = About::new(Some("Living-room TV"), Some("The final, live from the stadium"));
    Claim { about, ..Claim::new(holder, id, STREAMS as u32) }
}

async fn acquire_all(
    server: &Server,
    store: &Arc<RedisStore>,
    holders: &Arc<[Holder]>,
    stream: usize,
) -> Told<Duration> {
    let before = server.read().await?.cpu;
    let next = Arc::new(AtomicUsize::new(0));
    let askers = (0..ASKERS).map(|_| {
        let (store, holders, next) = (Arc::clone(store), Arc::clone(holders), Arc::clone(&next));
        async move {
            while let Some(holder) = holders.get(next.fetch_add(1, Relaxed)) {
                store.acquire(&claim(*holder, stream), &Timing::default()).await?;
            }
            Ok::<(), streamgate_lease::StoreError>(())
        }
    });
    let mut tasks: tokio::task::JoinSet<_> = askers.collect();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(server.read().await?.cpu - before)
}

async fn renew_all(server: &Server, store: &RedisStore, holders: &[Holder]) -> Told<Duration> {
    let before = server.read().await?.cpu;
    for batch in holders.chunks(BATCH) {
        let slots: Vec<Slot> = batch.iter().map(|holder| slot(*holder)).collect();
        for renewed in store.renew(&slots, &Timing::default()).await {
            renewed?;
        }
    }
    Ok(server.read().await?.cpu - before)
}

fn slot(holder: Holder) -> Slot {
    let id = LeaseId::of("session", Some("0"));
    Slot { holder, id, silent_for: Duration::ZERO, keep_keys: false, ttl: None }
}
