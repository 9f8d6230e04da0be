//! What leases cost a gateway: memory of one, how long the renewer's tick takes, and whether the
//! tick delays a request.
//!
//! The store is a real Redis, in a process of its own, so its memory is not in the figures.

use crate::server::Server;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::redis::RedisStore;
use streamgate_lease::{
    Bounds, CachedEntry, Claim, Holder, LeaseId, LeaseStore, Leases, Pepper, Renewer, Timing,
};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Claims that are made at the same time, to fill the table.
const ASKERS: usize = 256;
/// How long touches are timed while the renewer works: all leases are renewed three times.
const WITH_KEEPER: Duration = Duration::from_secs(65);
/// And after it has stopped, before the first lease expires.
const WITHOUT_KEEPER: Duration = Duration::from_secs(15);
/// Requests per second, in turn over all leases: each is heard of before it is due.
const TOUCHES_PER_SECOND: usize = 100_000;
/// As many touches as there are to one who has a lock alone: far more than really start.
const TOUCHES_PER_START: usize = 10;
/// A turn of the touching thread; it sleeps for the rest of it.
const TURN: Duration = Duration::from_millis(10);

type Told<T> = Result<T, Box<dyn Error>>;

/// Measures and prints.
pub(crate) fn measure(count: usize) -> Told<()> {
    // A thread for the renewer and one for questions to Redis, as in the gateway.
    let (keeping, housekeeping) = (thread()?, thread()?);
    let server = housekeeping.block_on(Server::start("kept"))?;
    let idle = housekeeping.block_on(Server::start("idle"))?;
    let store = Arc::new(RedisStore::new(Arc::clone(&server.client)));
    let bounds = Bounds { table_entries_max: 2 * count, ..Bounds::default() };
    let (leases, renewer) = Leases::bounded(store, Timing::default(), bounds);
    let pepper = Pepper::new([7; 32])?;
    let holders: Arc<[Holder]> =
        (0..count).map(|n| Holder::of(&pepper, &format!("account-{n}"))).collect();
    let before = resident_bytes()?;
    let began = Instant::now();
    housekeeping.block_on(fill(&leases, &holders))?;
    let filled = leases.stats().table_entries;
    println!("{filled} leases acquired in {:.0} s", began.elapsed().as_secs_f64());
    println!("memory: {} B per lease", (resident_bytes()? - before) / count as u64);
    // As a gateway remembers them: the first touch of each looks up, all others know where.
    let sessions: Vec<_> = holders.iter().map(|holder| CachedEntry::new(*holder)).collect();
    let is_over = Arc::new(Notify::new());
    let ticks = keeping.spawn(keep(renewer, leases.clone(), Arc::clone(&is_over)));
    let stores = Stores {
        runtime: housekeeping.handle().clone(),
        kept: leases.clone(),
        idle: RedisStore::new(Arc::clone(&idle.client)),
    };
    let with = watch(&leases, &sessions, WITH_KEEPER, &stores)?;
    is_over.notify_one();
    let ticks = housekeeping.block_on(ticks)?;
    let without = watch(&leases, &sessions, WITHOUT_KEEPER, &stores)?;
    println!("a touch while the renewer works: {}", tell(with.touches));
    println!("a touch after it has stopped:   {}", tell(without.touches));
    println!("a start while the renewer works: {}", tell(with.alone));
    println!("a start after it has stopped:   {}", tell(without.alone));
    println!("a question to the store while the renewer works: {}", tell(with.asked));
    println!("a question to an idle store meanwhile: {}", tell(with.asked_idle));
    println!("a question to the store after it has stopped:   {}", tell(without.asked));
    println!("a question to an idle store then: {}", tell(without.asked_idle));
    let stats = leases.stats();
    let longest = ticks.iter().max().copied().unwrap_or_default();
    let mean = ticks.iter().sum::<Duration>() / u32::try_from(ticks.len().max(1))?;
    println!(
        "{} ticks, {} renewals, {} store errors; a tick took {:.0} ms on average, {:.0} ms at most",
        stats.ticks,
        stats.renewals,
        stats.store_errors,
        mean.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3,
    );
    drop(server);
    Ok(())
}

fn thread() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

async fn fill(leases: &Leases, holders: &Arc<[Holder]>) -> Told<()> {
    let mut tasks = JoinSet::new();
    for asker in 0..ASKERS {
        let (leases, holders) = (leases.clone(), Arc::clone(holders));
        tasks.spawn(async move {
            for holder in holders.iter().skip(asker).step_by(ASKERS) {
                leases.hold(&Claim::new(*holder, id(), 3)).await?;
            }
            Ok::<(), streamgate_lease::StoreError>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

fn id() -> LeaseId {
    LeaseId::of("session", None)
}

/// Runs the renewer until it is over, and notes how long its ticks take.
async fn keep(renewer: Renewer, leases: Leases, is_over: Arc<Notify>) -> Vec<Duration> {
    let mut ticks = Vec::new();
    let note = async {
        let mut known = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let stats = leases.stats();
            if known < stats.ticks {
                known = stats.ticks;
                ticks.push(stats.last_tick);
            }
        }
    };
    tokio::select! {
        () = renewer.run(is_over.notified()) => {}
        () = note => {}
    }
    ticks
}

/// How long something took, by the clock.
#[derive(Default)]
struct Timed {
    /// Sorted when it is printed.
    took: Vec<Duration>,
    /// Turns with one of more than a millisecond in which the thread gave up its core by itself: it
    /// waited for a lock. In the others the core was taken from it.
    waited: usize,
    interrupted: usize,
}

/// What a playing stream's request does, by what its session remembers, and a new one's.
#[derive(Default)]
struct Samples {
    touches: Timed,
    /// To have a shard's lock alone, as whoever is admitted does.
    alone: Timed,
    /// A question to the store as whoever starts puts it, once a turn.
    asked: Timed,
    /// The same to a Redis that nobody else asks anything: what the two cores make it wait.
    asked_idle: Timed,
}

/// Where a new stream's question goes.
struct Stores {
    runtime: Handle,
    kept: Leases,
    idle: RedisStore,
}

impl Stores {
    fn ask(&self, is_idle: bool, holder: &Holder) {
        let listed = self.runtime.block_on(async {
            match is_idle {
                true => self.idle.list(holder).await,
                false => self.kept.list(holder).await,
            }
        });
        assert!(listed.is_ok(), "the store answers all the time");
    }
}

/// What neither should take.
const LONG: Duration = Duration::from_millis(1);

/// Touches all leases in turn and times each touch, by the clock and not by the processor: what a
/// lock makes a request wait is in it, and so is whatever else the machine does. Every tenth is
/// followed by one who has the lock alone: a doubt about a stream that is not there does nothing
/// else. Once a turn somebody asks the store.
fn watch(
    leases: &Leases,
    sessions: &[CachedEntry],
    time: Duration,
    stores: &Stores,
) -> Told<Samples> {
    let turns = time.as_millis() / TURN.as_millis();
    let touches = TOUCHES_PER_SECOND / (1000 / TURN.as_millis() as usize);
    let mut samples = Samples::default();
    samples.touches.took.reserve_exact(turns as usize * touches);
    samples.alone.took.reserve_exact(turns as usize * touches / TOUCHES_PER_START);
    let nobody = LeaseId::of("nobody", None);
    let mut sessions = sessions.iter().cycle();
    let mut due = Instant::now();
    for turn in 0..turns {
        let these: Vec<_> = sessions.by_ref().take(touches).collect();
        samples.touches.turn(&these, |session| {
            let touched = leases.touch_cached(session, &id(), &[]);
            assert!(touched.is_some(), "a lease that is touched all the time stays");
        })?;
        let few: Vec<_> = these.iter().step_by(TOUCHES_PER_START).map(|of| of.holder()).collect();
        samples.alone.turn(&few, |holder| leases.mark_stale(holder, &nobody))?;
        // In turn, because the first finds the other threads asleep.
        for is_idle in [turn % 2 == 0, turn % 2 == 1] {
            let asked = if is_idle { &mut samples.asked_idle } else { &mut samples.asked };
            asked.turn(&few[..1], |holder| stores.ask(is_idle, holder))?;
        }
        due += TURN;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(samples)
}

impl Timed {
    /// Does it for each of these, and times each.
    fn turn<T>(&mut self, these: &[&T], act: impl Fn(&T)) -> Told<()> {
        let (before, first) = (core_given_up()?, self.took.len());
        for one in these {
            let at = Instant::now();
            act(one);
            self.took.push(at.elapsed());
        }
        if self.took[first..].iter().any(|took| LONG < *took) {
            let has_waited = before < core_given_up()?;
            self.waited += usize::from(has_waited);
            self.interrupted += usize::from(!has_waited);
        }
        Ok(())
    }
}

/// How often this thread has waited for something.
fn core_given_up() -> Told<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(line.ok_or("status has no switches")?.trim().parse()?)
}

fn tell(timed: Timed) -> String {
    let Timed { mut took, waited, interrupted } = timed;
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let over = took.iter().filter(|took| LONG < **took).count();
    format!(
        "p50 {:.2} us, p99 {:.2} us, p99.99 {:.1} us, longest {:.0} us; {over} of {} above 1 ms, \
         in {interrupted} turns in which the core was taken away and {waited} with a wait",
        at(0.5),
        at(0.99),
        at(0.9999),
        at(1.0),
        took.len(),
    )
}

fn resident_bytes() -> Told<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split_whitespace().nth(1).ok_or("statm has no figures")?.parse()?;
    Ok(pages * 4096)
}
