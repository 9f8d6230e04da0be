//! A store that is slow, and one that answers with errors. Only a store that is away lets a gateway
//! decide alone, and that is found out beside the requests.

use crate::fleet::{Node, turn};
use crate::server::{Server, until};
use crate::world::{claim, holder, id};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgate_lease::redis::{Client, Deadlines, Health, Monitor, RedisStore};
use streamgate_lease::{
    Answer, Claim, Grant, LeaseStore, Leases, StoreError, Timing, UnavailableReason,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

/// A store with its monitor at work, and what that has told.
struct Watched {
    store: Arc<RedisStore>,
    told: Arc<Mutex<Vec<Health>>>,
    _tasks: JoinSet<()>,
}

impl Watched {
    fn at(url: &str, deadlines: Deadlines) -> Self {
        let client = Arc::new(Client::with_deadlines(url, deadlines).unwrap());
        let mut monitor = Monitor::new(client.clone());
        let told = Arc::<Mutex<Vec<Health>>>::default();
        let mut tasks = JoinSet::new();
        let tell = told.clone();
        tasks.spawn(async move {
            loop {
                let health = monitor.next().await;
                tell.lock().unwrap().push(health);
            }
        });
        Self { store: Arc::new(RedisStore::new(client)), told, _tasks: tasks }
    }

    async fn acquires(&self, name: &str) -> Result<Answer, StoreError> {
        self.store.acquire(&claim(name, 1000), &Timing::default()).await
    }

    fn is_up(&self) -> Option<bool> {
        self.told.lock().unwrap().last().map(|health| health.failure.is_none())
    }

    /// The words of all failures that were told.
    fn words(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().filter_map(|health| Some(health.failure.as_ref()?.reason())).collect()
    }

    /// Waits until the failure that was told last is this word.
    async fn last_tells(&self, word: &str) {
        until(word, async || self.words().last().is_some_and(|last| last == word)).await;
    }
}

async fn ask(server: &Server, words: &[&str]) {
    let (name, arguments) = words.split_first().unwrap();
    let mut peek = server.peek().await;
    redis::cmd(name).arg(arguments).exec_async(&mut peek).await.unwrap();
}

async fn lasts(time: Duration) {
    interval_at(Instant::now() + time, time).tick().await;
}

#[tokio::test]
async fn an_error_of_the_server_is_a_store_that_fails_and_is_told_by_its_word() {
    let server = Server::start().await;
    let watched = Watched::at(&server.url(), Deadlines::default());
    until("it is up", async || watched.is_up() == Some(true)).await;
    // A save that cannot be written stops the writes.
    std::fs::create_dir(server.socket().with_file_name("dump.rdb")).unwrap();
    for (breaks, word, mends) in [
        (&["REPLICAOF 127.0.0.1 1"][..], "READONLY", &["REPLICAOF NO ONE"][..]),
        (
            &["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"],
            "MASTERDOWN",
            &["REPLICAOF NO ONE", "CONFIG SET replica-serve-stale-data yes"],
        ),
        (&["CONFIG SET maxmemory 1"], "OOM", &["CONFIG SET maxmemory 0"]),
        (
            &["CONFIG SET min-replicas-to-write 1"],
            "NOREPLICAS",
            &["CONFIG SET min-replicas-to-write 0"],
        ),
        (&["ACL SETUSER default -evalsha"], "NOPERM", &["ACL SETUSER default +@all"]),
        (&["ACL SETUSER default -zadd"], "NOPERM", &["ACL SETUSER default +@all"]),
        (
            &["CONFIG SET save 3600#1", "SET dirty 1", "BGSAVE"],
            "MISCONF",
            &["CONFIG SET stop-writes-on-bgsave-error no"],
        ),
    ] {
        let told = watched.words().len();
        for command in breaks {
            let words: Vec<_> = command.split(' ').map(|word| word.replace('#', " ")).collect();
            ask(&server, &words.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        until("nobody is admitted", async || {
            watched.acquires(word).await.is_err_and(|error| error.is_outage())
        })
        .await;
        until(word, async || watched.words()[told..] == [word.to_owned()]).await;
        // It stays so until it is mended, whoever asks.
        for _ in 0..20 {
            assert_eq!(watched.acquires(word).await, Err(StoreError::Resting), "{word}");
        }
        for command in mends {
            ask(&server, &command.split(' ').collect::<Vec<_>>()).await;
        }
        until("it is up again", async || watched.is_up() == Some(true)).await;
        until("all is well", async || watched.acquires(word).await.is_ok()).await;
        assert_eq!(watched.words()[told..], [word.to_owned()], "it is told once");
    }
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_is_told_by_its_word() {
    let server = Server::start().await;
    let mut keeps = server.peek().await;
    let config = async |keeps: &mut redis::aio::MultiplexedConnection, words: [&str; 2]| {
        redis::cmd("CONFIG").arg("SET").arg(&words).exec_async(keeps).await.unwrap();
    };
    config(&mut keeps, ["maxclients", "1"]).await;
    let full = Watched::at(&server.url(), Deadlines::default());
    let many = "ERR max number of clients reached";
    until(many, async || full.words().iter().any(|word| word == many)).await;
    drop(full);
    config(&mut keeps, ["maxclients", "1000"]).await;
    config(&mut keeps, ["requirepass", "right"]).await;
    for (words, word) in [
        ("", "NOAUTH"),
        ("?pass=very-wrong", "WRONGPASS"),
        ("?user=somebody&pass=very-wrong", "WRONGPASS"),
    ] {
        let watched = Watched::at(&format!("{}{words}", server.url()), PATIENT);
        watched.last_tells(word).await;
        let told = watched.told.lock().unwrap();
        let shown = format!("{told:?}");
        assert!(!shown.contains("very-wrong"), "{shown}");
        let failure = told.last().unwrap().failure.clone().unwrap();
        let UnavailableReason::Server { sentence, .. } = (match failure {
            StoreError::Unavailable(reason) => reason,
            other => panic!("{other:?}"),
        }) else {
            panic!("the server has said it: {shown}");
        };
        assert!(word.len() < sentence.len(), "{sentence}");
    }
}

/// For servers that answer, whatever they answer.
const PATIENT: Deadlines = Deadlines {
    command: Duration::from_secs(20),
    connect: Duration::from_secs(20),
    start: Duration::from_secs(20),
};

/// Nobody is admitted and `word` is told, until `mend` is done.
async fn is_down_until(watched: &Watched, word: &str, mend: impl AsyncFnOnce()) {
    until("nobody is admitted", async || {
        watched.acquires(word).await.is_err_and(|error| error.is_outage())
    })
    .await;
    watched.last_tells(word).await;
    for _ in 0..20 {
        assert_eq!(watched.acquires(word).await, Err(StoreError::Resting), "{word}");
    }
    mend().await;
    until("it is up again", async || watched.is_up() == Some(true)).await;
    until("all is well", async || watched.acquires(word).await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_runs_a_script_without_end_is_told_by_its_word() {
    let server = Server::start().await;
    ask(&server, &["CONFIG", "SET", "busy-reply-threshold", "20"]).await;
    let watched = Watched::at(&server.url(), PATIENT);
    until("it is up", async || watched.is_up() == Some(true)).await;
    let mut peek = server.peek().await;
    let endless = tokio::spawn(async move {
        redis::cmd("EVAL").arg("while true do end").arg(0).exec_async(&mut peek).await
    });
    is_down_until(&watched, "BUSY", async || ask(&server, &["SCRIPT", "KILL"]).await).await;
    assert!(endless.await.unwrap().is_err(), "it was killed");
}

#[tokio::test]
async fn a_server_that_reads_its_file_is_told_by_its_word() {
    // A tenth of a second for each key, and a look at its clients after each.
    let slow = ["--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024"];
    let mut server = Node::server(&[&slow[..], &["--rdbcompression", "no"]].concat()).await;
    server.ask::<()>("DEBUG POPULATE 600 key 2000").await;
    server.ask::<()>("SAVE").await;
    server.kill();
    server.spawn_again();
    let url = format!("redis://127.0.0.1:{}", server.port);
    let watched = Watched::at(&url, PATIENT);
    let mend = async || server.ask("CONFIG SET key-load-delay 0").await;
    is_down_until(&watched, "LOADING", mend).await;
}

#[tokio::test]
async fn a_cluster_whose_slots_nobody_serves_is_told_by_its_word() {
    for (scheme, without) in
        [("redis", "CLUSTERDOWN"), ("redis+cluster", "no server has this slot")]
    {
        let alone = ["--cluster-enabled", "yes", "--cluster-port", "{other}"];
        let server = Node::server(&alone).await;
        let watched = Watched::at(&format!("{scheme}://127.0.0.1:{}", server.port), PATIENT);
        assert!(watched.acquires("tv").await.is_err_and(|error| error.is_outage()), "{scheme}");
        watched.last_tells(without).await;
        // All slots but one.
        server.ask::<()>("CLUSTER ADDSLOTSRANGE 0 16382").await;
        let mend = async || server.ask("CLUSTER ADDSLOTS 16383").await;
        is_down_until(&watched, "CLUSTERDOWN", mend).await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_found_out_beside_the_requests() {
    let server = Server::start().await;
    let watched = Watched::at(&server.url(), Deadlines::default());
    until("it is up", async || watched.is_up() == Some(true)).await;
    until("it answers", async || watched.acquires("tv").await.is_ok()).await;
    server.signal("-STOP");
    until("it is away", async || watched.acquires("tv").await == Err(StoreError::Resting)).await;
    // A breaker that is open is no player's business, for however long.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!(watched.acquires("tv").await, Err(StoreError::Resting));
        tokio::task::yield_now().await;
    }
    assert_eq!(watched.is_up(), Some(false));
    server.signal("-CONT");
    until("it is up again", async || watched.is_up() == Some(true)).await;
    until("it answers again", async || watched.acquires("tv").await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_is_slow_is_waited_for() {
    let server = Server::start().await;
    // As slow as a start may be, so that the machine may be slow, too.
    let command = Duration::from_millis(50);
    let patient = Duration::from_secs(10);
    let deadlines = Deadlines { command, connect: patient, start: patient };
    let watched = Watched::at(&server.url(), deadlines);
    until("it is up", async || watched.is_up() == Some(true)).await;
    until("it answers", async || watched.acquires("tv").await.is_ok()).await;
    for n in 0..3 {
        server.signal("-STOP");
        let name = format!("tv {n}");
        let stalls = async {
            lasts(command * 8).await;
            server.signal("-CONT");
        };
        let (answer, ()) = tokio::join!(watched.acquires(&name), stalls);
        assert!(matches!(answer, Ok(Answer::Held(_))), "{answer:?}");
    }
    assert_eq!(watched.words(), Vec::<String>::new(), "a late answer is no outage");
}

const ACCOUNTS: usize = 200;
const SESSIONS: usize = 20;
const LIMIT: u32 = 3;
const BUSY_LOOPS: usize = 6;
/// Starts that wait at one time at each of two gateways.
const AT_ONCE: usize = 16;

/// What became of all starts.
#[derive(Debug, Default)]
struct Starts {
    held: BTreeMap<usize, u32>,
    full: usize,
    late: usize,
    alone: usize,
}

/// Every core is taken three times over, and the server is well throughout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_machine_admits_nobody_beyond_the_limit() {
    let _turn = turn().await;
    let server = Server::start().await;
    let gateways = [(); 2].map(|()| {
        let watched = Watched::at(&server.url(), Deadlines::default());
        let leases = Leases::new(watched.store.clone(), Timing::default()).0;
        (watched, leases)
    });
    for (watched, _) in &gateways {
        until("it is up", async || watched.is_up() == Some(true)).await;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let loops: Vec<_> = (0..BUSY_LOOPS)
        .map(|_| {
            let is_over = is_over.clone();
            std::thread::spawn(move || {
                while !is_over.load(Relaxed) {
                    std::hint::spin_loop()
                }
            })
        })
        .collect();
    let starts = Arc::new(Mutex::new(Starts::default()));
    let mut tasks = JoinSet::new();
    for task in 0..2 * AT_ONCE {
        let (leases, starts) = (gateways[task % 2].1.clone(), starts.clone());
        tasks.spawn(async move {
            for n in (0..ACCOUNTS * SESSIONS).filter(|n| n % (2 * AT_ONCE) == task) {
                start(&leases, n % ACCOUNTS, n / ACCOUNTS, &starts).await;
            }
        });
    }
    tasks.join_all().await;
    is_over.store(true, Relaxed);
    loops.into_iter().for_each(|thread| thread.join().unwrap());
    let starts = starts.lock().unwrap();
    let held: u32 = starts.held.values().sum();
    println!("{held} held, {} full, {} late, {} alone", starts.full, starts.late, starts.alone);
    assert!(starts.held.values().all(|held| *held <= LIMIT), "{starts:?}");
    assert_eq!(starts.alone, 0, "the server was well throughout");
    assert!(starts.late * 100 <= ACCOUNTS * SESSIONS, "{} starts were late", starts.late);
}

/// One start, as a gateway of the policy `local` decides it.
async fn start(leases: &Leases, account: usize, session: usize, starts: &Mutex<Starts>) {
    let (holder, id) = (holder(&format!("account {account}")), id(&format!("{session}")));
    let claim = Claim::new(holder, id, LIMIT);
    let grant = match leases.hold(&claim).await {
        Err(error) if error.is_outage() => {
            starts.lock().unwrap().alone += 1;
            leases.hold_locally(&claim).unwrap()
        }
        Err(_) => return starts.lock().unwrap().late += 1,
        Ok(grant) => grant,
    };
    let mut starts = starts.lock().unwrap();
    match grant {
        Grant::Held(_) => *starts.held.entry(account).or_default() += 1,
        Grant::Full(full) => {
            assert_eq!(full.live.len(), LIMIT as usize, "refused only by so many others");
            starts.full += 1;
        }
        Grant::Ended(why) => panic!("{why:?}"),
    }
}
