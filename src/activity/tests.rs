//! Sessions in memory, with a paused clock. They behave as in Redis (tests/it/sliding.rs).

use super::*;
use crate::session::mint::{Claims, Signer};
use crate::session::{Algorithm, Verifier};
use crate::store::{Settings, Store};
use crate::units::Secret;
use crate::yaml::{self, Environment, Scalar};
use std::path::Path;
use std::time::Duration;

const SECRET: &str = "a secret of thirty-two bytes or more";

/// Sessions that may be idle for a minute and live for an hour.
struct Fixture {
    verifier: Verifier,
    activity: Activity,
    sessions: MemorySessions,
}

impl Fixture {
    fn new() -> Self {
        let yaml = "keys: [ { hs256: \"${SECRET}\" } ]\nactive_in: here\nidle: 1m\n\
                    absolute: 1h\nrevocation_pepper: \"${SECRET}\"\n";
        let env = Environment::default().with("SECRET", SECRET);
        let config: Config = yaml::parse(yaml, &env).expect("it is in order");
        let verifier = Verifier::compile("viewers", &config, &[], Path::new(".")).expect("keys");
        let store = Store::open(Settings::in_process("here")).expect("no certificates");
        let store = Arc::new(SessionStore::new(Arc::new(store)));
        let sessions = store.memory_sessions().expect("it is in memory").clone();
        let activity = Activity::new("viewers", &config, store);
        Fixture { verifier, activity, sessions }
    }

    fn write_behind(&self) -> WriteBehind {
        WriteBehind::take(&self.activity.sessions).expect("nobody runs it yet")
    }

    /// A login that was so long ago, with a token for so long from now.
    async fn session(&self, account: &str, ago: u64, left: u64) -> Arc<Session> {
        let signer = Signer::secret(Algorithm::Hs256, &Secret::read(SECRET).expect("a text"));
        let now = crate::clock::unix_seconds();
        let (iat, exp) = (now - ago, now + left);
        let (sub, sid) = (account.to_owned(), Some(format!("{account}-{ago}-{left}")));
        let claims = Claims { sub, sid, iat, exp, ..Claims::default() };
        let token = signer.and_then(|signer| signer.sign(&claims)).expect("it signs");
        self.verifier.verify(&token).await.expect("a good token")
    }

    async fn is_active(&self, session: &Session) -> bool {
        // As if it had not been asked in the last seconds.
        self.activity.sessions.cache.forget(session.id());
        self.activity.is_active(session).await.expect("memory does not fail")
    }
}

/// Lets the clock go on by so much, and what waits for it be done.
async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_in_memory_lives_while_it_is_used() {
    let fixture = Fixture::new();
    let session = fixture.session("ann", 0, 3_000).await;
    fixture.sessions.put(session.id(), Duration::from_secs(60));
    let run = fixture.write_behind().run();
    let live = async {
        for _ in 0..20 {
            fixture.activity.touch(&session);
            pass(50).await;
            assert!(fixture.is_active(&session).await);
        }
        pass(61).await;
        assert!(!fixture.is_active(&session).await, "nobody used it");
        fixture.activity.touch(&session);
        pass(1).await;
        assert!(!fixture.is_active(&session).await, "a use brings nothing back");
    };
    tokio::select! { () = run => unreachable!("it has no end"), () = live => {} }
}

#[tokio::test(start_paused = true)]
async fn a_tenth_of_the_time_must_pass_between_two_writes() {
    let fixture = Fixture::new();
    let session = fixture.session("ann", 0, 3_000).await;
    fixture.sessions.put(session.id(), Duration::from_secs(60));
    let run = fixture.write_behind().run();
    let live = async {
        for _ in 0..60 {
            fixture.activity.touch(&session);
            pass(1).await;
        }
        assert_eq!(fixture.activity.sessions.figures().written, 10);
    };
    tokio::select! { () = run => unreachable!("it has no end"), () = live => {} }
}

#[tokio::test(start_paused = true)]
async fn no_use_carries_a_session_in_memory_beyond_its_token() {
    let fixture = Fixture::new();
    let session = fixture.session("ann", 0, 30).await;
    fixture.sessions.put(session.id(), Duration::from_secs(10));
    let run = fixture.write_behind().run();
    let live = async {
        fixture.activity.touch(&session);
        pass(1).await;
        pass(19).await;
        assert!(fixture.is_active(&session).await, "the use carried it");
        pass(11).await;
        assert!(!fixture.is_active(&session).await, "to the end of its token");
    };
    tokio::select! { () = run => unreachable!("it has no end"), () = live => {} }
}

#[tokio::test(start_paused = true)]
async fn jobs_that_find_the_queue_full_are_dropped_and_counted() {
    let fixture = Fixture::new();
    let session = fixture.session("ann", 0, 3_000).await;
    for _ in 0..20_000 {
        // Nobody does the jobs.
        fixture.activity.may_go_on(&session);
    }
    assert_eq!(fixture.activity.sessions.figures().dropped, 20_000 + 1 - 16_384);
}

#[tokio::test(start_paused = true)]
async fn an_account_in_memory_is_revoked_with_what_began_before() {
    let fixture = Fixture::new();
    let (old, bob) =
        (fixture.session("ann", 100, 3_000).await, fixture.session("bob", 100, 99).await);
    for session in [&old, &bob] {
        fixture.sessions.put(session.id(), Duration::from_secs(3_000));
        assert_eq!(fixture.activity.is_active(session).await, Ok(true));
    }
    let ended = fixture.activity.end_all("ann").await.expect("it is set up");
    assert_eq!(ended, Ok(Ended { was_active: true, is_published: true }));
    assert_eq!(fixture.activity.was_active(&bob), Some(true), "nobody forgot it");
    assert!(!fixture.is_active(&old).await && fixture.is_active(&bob).await);
    let now = fixture.session("ann", 0, 2_000).await;
    fixture.sessions.put(now.id(), Duration::from_secs(2_000));
    assert!(!fixture.is_active(&now).await, "it may have been a moment before");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_forgotten_when_no_session_of_before_can_live() {
    let fixture = Fixture::new();
    let session = fixture.session("ann", 0, 9_000).await;
    assert_eq!(session.expires_at(), session.began_at().expect("it says") + 3_600);
    fixture.sessions.put(session.id(), Duration::from_secs(9_000));
    let _ = fixture.activity.end_all("ann").await.expect("it is set up");
    pass(3_599).await;
    assert!(!fixture.is_active(&session).await);
    pass(2).await;
    assert!(fixture.is_active(&session).await, "its token has ended by itself");
}
