//! A busy machine: six loops that never rest, beside two gateways and a Redis that is well
//! throughout. Nobody is admitted beyond the limit, nobody is refused while there is room, and few
//! are told to come back. Then, in peace, take-overs: two devices of an account start at the two
//! gateways at the same moment, and a second later one of them plays.

use crate::clients::{Player, Sample};
use crate::fleet::{Fleet, Kind};
use crate::gateway::{Busy, Gateway};
use crate::scenario::Setup;
use crate::verdict::Broken;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const LOOPS: usize = 6;
const ACCOUNTS: usize = 200;
const SESSIONS: usize = 20;
/// Starts, or pairs of take-overs, that wait at one time.
const AT_ONCE: usize = 32;
/// Of a hundred starts so many may be told to come back.
const LATE_PERCENT_MAX: usize = 1;
/// What they are told by `Retry-After`.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);
const TRIES_MAX: usize = 30;
const TAKEOVERS: usize = 1000;
/// By then the one who lost knows.
const KNOWN_AFTER: Duration = Duration::from_secs(1);

/// Threads that never rest, until this is dropped.
struct Loops {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// All answers to one start, in their order.
struct Start {
    account: usize,
    answers: Vec<Sample>,
}

impl Loops {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let rests_never = || {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                while !is_over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..LOOPS).map(|_| rests_never()).collect();
        Self { is_over, threads }
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // It does nothing that could fail.
            let _ = thread.join();
        }
    }
}

/// Both halves; what was promised and did not hold.
pub(crate) async fn run(setup: &Setup) -> io::Result<Vec<Broken>> {
    let folder = setup.folder.join("busy");
    let fleet = Fleet::start(Kind::Forgetful, setup.bench, &folder).await?;
    let wiring = Busy { store: fleet.url(), origin: setup.origin };
    let start = |program| Gateway::start_with(setup.bench, program, &folder, |at| wiring.text(at));
    let gateways = Arc::new([start(&setup.program)?, start(&setup.other_program)?]);
    let began = Instant::now();
    let loops = Loops::start();
    let starts = all_start(&gateways).await;
    drop(loops);
    let took = began.elapsed();
    let streams = fleet.streams().await?;
    let mut broken = judge(&starts, &streams, took);
    broken.extend(take_over(&gateways).await);
    Ok(broken)
}

/// Every session of every account starts once, and comes back if it is told to.
async fn all_start(gateways: &Arc<[Gateway; 2]>) -> Vec<Start> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let (gateways, next) = (Arc::clone(gateways), Arc::clone(&next));
        tasks.spawn(async move {
            let mut starts = Vec::new();
            loop {
                let n = next.fetch_add(1, Relaxed);
                if ACCOUNTS * SESSIONS <= n {
                    return starts;
                }
                let (account, session) = (n % ACCOUNTS, n / ACCOUNTS);
                let name = format!("session-{account}-{session}");
                let gateway = &gateways[(task + n) % gateways.len()];
                let mut player = Player::plain(gateway, "/media/64b", account, &name);
                let mut answers = Vec::new();
                while answers.len() < TRIES_MAX {
                    let answer = player.ask().await;
                    answers.push(answer);
                    if answer.status != 503 {
                        break;
                    }
                    sleep(COME_BACK_AFTER).await;
                }
                starts.push(Start { account, answers });
            }
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

fn judge(starts: &[Start], streams: &[usize], took: Duration) -> Vec<Broken> {
    let mut answers = BTreeMap::<u16, usize>::new();
    let all = || starts.iter().flat_map(|start| start.answers.iter().map(move |it| (start, it)));
    all().for_each(|(_, answer)| *answers.entry(answer.status).or_default() += 1);
    let late = answers.get(&503).copied().unwrap_or_default();
    // From when on each account's streams may have been there.
    let mut began = BTreeMap::<usize, Vec<Instant>>::new();
    for start in starts.iter().filter(|start| start.answers.last().is_some_and(Sample::is_yes)) {
        began.entry(start.account).or_default().extend(start.answers.first().map(|it| it.at));
    }
    let limit = crate::gateway::BUSY_LIMIT;
    let most = began.values().map(Vec::len).max().unwrap_or_default();
    let is_wrong = |(start, answer): &(&Start, &Sample)| {
        let ended = answer.at + answer.took;
        let there = began.get(&start.account).into_iter().flatten().filter(|at| **at < ended);
        answer.status == 409 && there.count() < limit
    };
    let wrong = all().filter(is_wrong).count();
    let longest = all().map(|(_, answer)| answer.took).max().unwrap_or_default();
    println!(
        "- six busy loops, {} starts in {:.1} s: {answers:?}; most streams of an account {most}, \
         in the store {}; 409 while there was room: {wrong}; longest answer {} ms",
        starts.len(),
        took.as_secs_f64(),
        streams.iter().max().copied().unwrap_or_default(),
        longest.as_millis(),
    );
    let mut broken = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            broken.push(Broken(format!("busy: {what}")));
        }
    };
    check(most <= limit, format!("an account has {most} streams"));
    let over = streams.iter().filter(|count| **count != limit).count();
    check(over == 0, format!("{over} accounts have another number of streams in the store"));
    check(began.len() == ACCOUNTS, format!("only {} accounts play", began.len()));
    check(wrong == 0, format!("{wrong} starts were refused while there was room"));
    let share = late * 100 <= starts.len() * LATE_PERCENT_MAX;
    check(share, format!("{late} of {} starts were told to come back", starts.len()));
    let others: BTreeSet<_> =
        answers.keys().copied().filter(|status| ![200, 409, 503].contains(status)).collect();
    check(others.is_empty(), format!("some were answered {others:?}"));
    broken
}

/// Each account's two devices start at the same moment, one at either gateway, and a second later
/// both ask again.
async fn take_over(gateways: &Arc<[Gateway; 2]>) -> Vec<Broken> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (gateways, next) = (Arc::clone(gateways), Arc::clone(&next));
        tasks.spawn(async move {
            let mut players = BTreeMap::<Option<usize>, usize>::new();
            loop {
                let n = next.fetch_add(1, Relaxed);
                if TAKEOVERS <= n {
                    return players;
                }
                *players.entry(one_takes_over(&gateways, n).await).or_default() += 1;
            }
        });
    }
    let mut players = BTreeMap::<Option<usize>, usize>::new();
    for (count, accounts) in tasks.join_all().await.into_iter().flatten() {
        *players.entry(count).or_default() += accounts;
    }
    let one = players.get(&Some(1)).copied().unwrap_or_default();
    println!("- {TAKEOVERS} accounts taken over at both gateways at once: one player each: {one}");
    match one {
        TAKEOVERS => Vec::new(),
        _ => vec![Broken(format!("take-overs: accounts by players a second later: {players:?}"))],
    }
}

/// How many play a second later. None: not both were admitted at first.
async fn one_takes_over(gateways: &[Gateway; 2], account: usize) -> Option<usize> {
    let path = "/takeover/64b";
    let player = |at: usize| {
        let name = format!("takeover-{account}-{at}");
        Player::named(&gateways[at], path, ACCOUNTS + account, &name)
    };
    let (mut one, mut other) = (player(0), player(1));
    let (first, second) = tokio::join!(one.ask(), other.ask());
    if !first.is_yes() || !second.is_yes() {
        return None;
    }
    sleep_until(Instant::now() + KNOWN_AFTER).await;
    let (first, second) = tokio::join!(one.ask(), other.ask());
    Some(usize::from(first.is_yes()) + usize::from(second.is_yes()))
}
