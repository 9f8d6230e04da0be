//! What every store promises about tickets: the first use is in time or never, and every later one
//! is of the same lease.

use crate::world::{MS, TTL, World, claim, holder, id};
use std::time::Duration;
use streamgate_lease::{Attempt, Claim, ClaimSource, Ticket};

promises! {
    a_ticket_is_used_in_time_or_never
    a_ticket_that_was_used_in_time_goes_on
    a_ticket_lets_nobody_play_what_was_ended
    a_ticket_needs_room_like_anybody
    a_ticket_is_used_once_through_whichever_node
    a_first_use_that_failed_was_one
    a_node_keeps_what_a_ticket_began
    what_a_ticket_began_is_known_as_long_as_its_session
}

const WITHIN: Duration = Duration::from_secs(30);
const LIFE: Duration = Duration::from_secs(3600);

/// The time of the store: that at which somebody begins.
async fn now(world: &World) -> u64 {
    let clock = Claim { reusable: true, ..Claim::new(holder("clock"), id("clock"), 1) };
    let admitted = world.play(&clock).await;
    world.store.release(&holder("clock"), &id("clock"), &world.timing).await.unwrap();
    admitted.started_at
}

/// A claim by a ticket that is made now; on Redis it is brought forward as time passes.
struct Cast {
    claim: Claim,
    made_at: u64,
    passed: u64,
}

impl Cast {
    async fn new(world: &World, name: &str, limit: u32) -> Self {
        Self { claim: claim(name, limit), made_at: now(world).await, passed: world.passed() }
    }

    /// Time passes on Redis by moving what it knows into the past, and so has the ticket to move.
    fn claim(&self, world: &World) -> Claim {
        let made_at = self.made_at - (world.passed() - self.passed);
        let after = |time: Duration| made_at + u64::try_from(time.as_millis()).unwrap();
        let ticket = Some(Ticket { use_by: after(WITHIN), ends_at: after(LIFE) });
        Claim { ticket, ..self.claim.clone() }
    }

    async fn word(&self, world: &World) -> String {
        world.try_play(&self.claim(world)).await
    }
}

async fn a_ticket_is_used_in_time_or_never(world: World) {
    let [early, late] = [Cast::new(&world, "one", 3).await, Cast::new(&world, "two", 3).await];
    world.pass(WITHIN - Duration::from_secs(5)).await;
    assert_eq!(early.word(&world).await, "new");
    world.pass(Duration::from_secs(5)).await;
    assert_eq!(late.word(&world).await, "unused");
    assert_eq!(early.word(&world).await, "held");
    assert_eq!(world.live().await, "one");
}

async fn a_ticket_that_was_used_in_time_goes_on(world: World) {
    let cast = Cast::new(&world, "tv", 3).await;
    assert_eq!(cast.word(&world).await, "new");
    for _ in 0..3 {
        world.pass(TTL + MS).await;
        assert_eq!(world.live().await, "");
        assert_eq!(cast.word(&world).await, "new", "it was paused for long");
    }
}

async fn a_ticket_lets_nobody_play_what_was_ended(world: World) {
    for (name, expected) in [("one", "terminated"), ("two", "released")] {
        let cast = Cast::new(&world, name, 3).await;
        assert_eq!(cast.word(&world).await, "new");
        match expected {
            "terminated" => assert!(world.terminate(name).await),
            _ => world.release(name).await,
        }
        assert_eq!(cast.word(&world).await, expected);
        world.pass(TTL).await;
        assert_eq!(cast.word(&world).await, expected);
    }
}

async fn a_ticket_needs_room_like_anybody(world: World) {
    let cast = Cast::new(&world, "tv", 1).await;
    assert_eq!(world.try_play(&claim("pad", 1)).await, "new");
    assert_eq!(cast.word(&world).await, "full");
    world.release("pad").await;
    assert_eq!(cast.word(&world).await, "new");
    let other = Cast::new(&world, "pc", 1).await;
    assert_eq!(other.word(&world).await, "full");
    world.pass(WITHIN).await;
    assert_eq!(other.word(&world).await, "unused", "a refusal is no use");
}

async fn a_ticket_is_used_once_through_whichever_node(world: World) {
    let cast = Cast::new(&world, "tv", 3).await;
    let claim = cast.claim(&world);
    let (one, two) = tokio::join!(world.ask(&claim), world.ask(&claim));
    let is_new = |answer: &streamgate_lease::Answer| match answer {
        streamgate_lease::Answer::Held(admitted) => admitted.is_new,
        answer => panic!("{answer:?}"),
    };
    assert_eq!(u8::from(is_new(&one)) + u8::from(is_new(&two)), 1);
    assert_eq!(world.live().await, "tv");
}

async fn a_first_use_that_failed_was_one(world: World) {
    let cast = Cast::new(&world, "tv", 3).await;
    let admitted = world.play(&cast.claim(&world)).await;
    let attempt = Attempt::Versioned(admitted.first.expect("it is the first"));
    assert!(world.store.give_back(&holder("alice"), &id("tv"), attempt).await.unwrap());
    world.pass(WITHIN + MS).await;
    assert_eq!(cast.word(&world).await, "new", "an ill origin costs no ticket");
}

async fn a_node_keeps_what_a_ticket_began(world: World) {
    let cast = Cast::new(&world, "tv", 3).await;
    assert_eq!(cast.word(&world).await, "new");
    world.pass(WITHIN + MS).await;
    let kept = Claim { by: ClaimSource::Node, ..claim("tv", 3) };
    assert_eq!(world.try_play(&kept).await, "held");
}

async fn what_a_ticket_began_is_known_as_long_as_its_session(world: World) {
    let cast = Cast::new(&world, "tv", 3).await;
    assert_eq!(cast.word(&world).await, "new");
    world.pass(LIFE - Duration::from_secs(5)).await;
    assert_eq!(cast.word(&world).await, "new", "to the end of its session");
    world.pass(TTL + MS).await;
    assert_eq!(cast.word(&world).await, "unused");
}
