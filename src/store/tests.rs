//! Sessions in memory, with a clock that stands still: the same as in Redis.

use super::errand::Runner;
use super::*;
use crate::session::mint::{Claims, Signer};
use crate::session::{Algorithm, Config as SessionConfig, Verifier};
use crate::units::Secret;
use crate::yaml::{self, Environment, Scalar};
use std::path::Path;
use std::time::Duration;

const SECRET: &str = "a secret of thirty-two bytes or more";

/// Sessions that may be idle for a minute and live for an hour.
struct House {
    verifier: Verifier,
    activity: Arc<Activity>,
    sessions: MemorySessions,
}

impl House {
    fn new() -> Self {
        let yaml = "keys: [ { hs256: \"${SECRET}\" } ]\nactive_in: here\nidle: 1m\n\
                    absolute: 1h\nrevocation_pepper: \"${SECRET}\"\n";
        let env = Environment::default().with("SECRET", SECRET);
        let config: SessionConfig = yaml::parse(yaml, &env).expect("it is in order");
        let verifier = Verifier::compile("viewers", &config, &[], Path::new(".")).expect("keys");
        let (name, url) = ("here".to_owned(), Url::Memory);
        let (tls, timeouts) = (Tls::default(), Timeouts::default());
        let store = Store::open(Settings { name, url, tls, timeouts }).expect("no certificates");
        let store = Arc::new(store);
        let sessions = store.memory_sessions().expect("it is in memory").clone();
        let activity = Arc::new(Activity::new("viewers", &config, store));
        House { verifier, activity, sessions }
    }

    fn runner(&self) -> Runner {
        self.activity.store.runner().expect("nobody runs it yet")
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
        self.activity.store.known.forget(session.id());
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
    let house = House::new();
    let session = house.session("ann", 0, 3_000).await;
    house.sessions.put(session.id(), Duration::from_secs(60));
    let run = house.runner().run();
    let live = async {
        for _ in 0..20 {
            house.activity.touch(&session);
            pass(50).await;
            assert!(house.is_active(&session).await);
        }
        pass(61).await;
        assert!(!house.is_active(&session).await, "nobody used it");
        house.activity.touch(&session);
        pass(1).await;
        assert!(!house.is_active(&session).await, "a use brings nothing back");
    };
    tokio::select! { () = run => unreachable!("it has no end"), () = live => {} }
}

#[tokio::test(start_paused = true)]
async fn a_tenth_of_the_time_must_pass_between_two_writes() {
    let house = House::new();
    let session = house.session("ann", 0, 3_000).await;
    house.sessions.put(session.id(), Duration::from_secs(60));
    let run = house.runner().run();
    let live = async {
        for _ in 0..60 {
            house.activity.touch(&session);
            pass(1).await;
        }
        assert_eq!(house.activity.store.figures().written, 10);
    };
    tokio::select! { () = run => unreachable!("it has no end"), () = live => {} }
}

#[tokio::test(start_paused = true)]
async fn no_use_carries_a_session_in_memory_beyond_its_token() {
    let house = House::new();
    let session = house.session("ann", 0, 30).await;
    house.sessions.put(session.id(), Duration::from_secs(10));
    let run = house.runner().run();
    let live = async {
        house.activity.touch(&session);
        pass(1).await;
        pass(19).await;
        assert!(house.is_active(&session).await, "the use carried it");
        pass(11).await;
        assert!(!house.is_active(&session).await, "to the end of its token");
    };
    tokio::select! { () = run => unreachable!("it has no end"), () = live => {} }
}

#[tokio::test(start_paused = true)]
async fn notes_that_find_no_room_are_dropped_and_counted() {
    let house = House::new();
    let session = house.session("ann", 0, 3_000).await;
    for _ in 0..20_000 {
        // Nobody takes the questions.
        house.activity.may_go_on(&session);
    }
    assert_eq!(house.activity.store.figures().dropped, 20_000 + 1 - 16_384);
}

#[tokio::test(start_paused = true)]
async fn an_account_in_memory_is_revoked_with_what_began_before() {
    let house = House::new();
    let (old, bob) = (house.session("ann", 100, 3_000).await, house.session("bob", 100, 99).await);
    for session in [&old, &bob] {
        house.sessions.put(session.id(), Duration::from_secs(3_000));
        assert_eq!(house.activity.is_active(session).await, Ok(true));
    }
    let ended = house.activity.end_all("ann").await.expect("it is set up");
    assert_eq!(ended, Ok(Ended { was_active: true, is_told: true }));
    assert_eq!(house.activity.was_active(&bob), Some(true), "nobody forgot it");
    assert!(!house.is_active(&old).await && house.is_active(&bob).await);
    let now = house.session("ann", 0, 2_000).await;
    house.sessions.put(now.id(), Duration::from_secs(2_000));
    assert!(!house.is_active(&now).await, "it may have been a moment before");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_forgotten_when_no_session_of_before_can_live() {
    let house = House::new();
    let session = house.session("ann", 0, 9_000).await;
    assert_eq!(session.expires_at(), session.began_at().expect("it says") + 3_600);
    house.sessions.put(session.id(), Duration::from_secs(9_000));
    let _ = house.activity.end_all("ann").await.expect("it is set up");
    pass(3_599).await;
    assert!(!house.is_active(&session).await);
    pass(2).await;
    assert!(house.is_active(&session).await, "its token has ended by itself");
}
