//! One node, its table and its renewer, under paused time.

mod degraded;
mod classes;
mod flow;
mod pepper;
mod recovery;
mod ttl;
mod abandoned;

use crate::faults::FaultyStore;
use crate::world::{MS, TTL, claim, holder, id, these};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgate_lease::{
    Bounds, CachedEntry, Claim, Ending, Grant, Holder, Leases, Replace, State, Stats, Timing,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

const SECOND: Duration = Duration::from_secs(1);
/// A renewal comes at the latest after ttl/3 + 20 % and a tick; so does news of a loss.
const NEWS_MAX: Duration = Duration::from_secs(27);

/// A gateway with its renewer running.
struct Node {
    store: Arc<FaultyStore>,
    leases: Leases,
    cached_entries: Mutex<HashMap<Holder, Arc<CachedEntry>>>,
    _stop: oneshot::Sender<()>,
    renewer: JoinHandle<()>,
}

impl Node {
    fn at(store: &Arc<FaultyStore>) -> Self {
        Self::with(store, Bounds::default(), Timing::default())
    }

    fn bounded(store: &Arc<FaultyStore>, entries_max: usize) -> Self {
        let bounds = Bounds { table_entries_max: entries_max, ..Bounds::default() };
        Self::with(store, bounds, Timing::default())
    }

    fn with(store: &Arc<FaultyStore>, bounds: Bounds, timing: Timing) -> Self {
        let (leases, renewer) = Leases::bounded(store.clone(), timing, bounds);
        let (stop, stopped) = oneshot::channel::<()>();
        let renewer = tokio::spawn(renewer.run(async {
            let _ = stopped.await;
        }));
        Self {
            store: store.clone(),
            leases,
            cached_entries: Mutex::default(),
            _stop: stop,
            renewer,
        }
    }

    /// What a media request does under the policy `local`.
    async fn request(&self, claim: &Claim) -> Grant {
        let classes: Vec<_> = claim.classes.iter().map(|of| of.class).collect();
        let found = self.leases.touch_cached(&self.cached_entry(claim), &claim.id, &classes);
        let looked_up = self.leases.touch(&claim.holder, &claim.id, &classes);
        assert_eq!(found, looked_up, "a cached_entry finds what is there, and nothing else");
        if let Some(lease) = found {
            return Grant::Held(lease);
        }
        match self.leases.hold(claim).await {
            Ok(grant) => grant,
            Err(_) => self.leases.hold_locally(claim).unwrap(),
        }
    }

    /// What the gateway remembers of this holder.
    fn cached_entry(&self, claim: &Claim) -> Arc<CachedEntry> {
        let mut cached_entries = self.cached_entries.lock().unwrap();
        let known = cached_entries.entry(claim.holder);
        known.or_insert_with(|| Arc::new(CachedEntry::new(claim.holder))).clone()
    }

    async fn word(&self, claim: &Claim) -> String {
        word(&self.request(claim).await)
    }

    /// Plays on for a while, a request a second.
    async fn plays(&self, claim: &Claim, time: Duration) {
        for _ in 0..time.as_secs() {
            assert!(matches!(self.request(claim).await, Grant::Held(_)), "interrupted");
            pass(SECOND).await;
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.leases.touch(&holder("alice"), &id(name), &[]).is_some()
    }

    fn stats(&self) -> Stats {
        self.leases.stats()
    }

    async fn live(&self) -> usize {
        self.store.behind().list(&holder("alice")).await.unwrap().len()
    }
}

fn word(grant: &Grant) -> String {
    match grant {
        Grant::Held(lease) if lease.is_provisional() => "provisional".into(),
        Grant::Held(lease) if lease.is_new() => "new".into(),
        Grant::Held(_) => "held".into(),
        Grant::Full(_) => "full".into(),
        Grant::Ended(why) => why.as_str().into(),
    }
}

/// Lets time pass, and the renewer run as it does.
async fn pass(time: Duration) {
    sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_touches_cost_at_most_one_renewal_per_third() {
    let node = Node::at(&FaultyStore::new());
    let tv = claim("tv", 1);
    assert_eq!(node.word(&tv).await, "new");
    let minutes = 10;
    for _ in 0..minutes * 60 * 10 {
        assert!(node.knows("tv"));
        pass(SECOND / 10).await;
    }
    let renewals = FaultyStore::count(&node.store.renewals);
    // A third of 60 s less 20 % of jitter is 16 s; plus 20 % and a tick is 26 s.
    assert!((minutes * 60 / 26..=minutes * 60 / 16).contains(&renewals), "{renewals} renewals");
    assert_eq!(FaultyStore::count(&node.store.acquires), 1);
    assert_eq!(node.stats().renewals, renewals);
}

#[tokio::test(start_paused = true)]
async fn a_stream_costs_at_most_three_writes_a_minute() {
    let node = Node::at(&FaultyStore::new());
    assert_eq!(node.word(&claim("tv", 1)).await, "new");
    let minutes = 120;
    node.plays(&claim("tv", 1), Duration::from_secs(60 * minutes)).await;
    let renewals = FaultyStore::count(&node.store.renewals);
    let keeps = FaultyStore::count(&node.store.keeps);
    assert!((renewals / 64..=renewals / 64 + 1).contains(&keeps), "{keeps} of {renewals}");
    // A renewal is one write; one that keeps the keys is two more.
    assert!(renewals + 2 * keeps <= 3 * minutes, "{renewals} and {keeps}");
}

#[tokio::test(start_paused = true)]
async fn the_silent_are_not_renewed_and_leave_the_table() {
    let node = Node::at(&FaultyStore::new());
    assert_eq!(node.word(&claim("tv", 1)).await, "new");
    pass(TTL - SECOND).await;
    assert_eq!(node.live().await, 1);
    pass(SECOND).await;
    assert_eq!(node.live().await, 0);
    assert!(!node.knows("tv"));
    pass(TTL + NEWS_MAX).await;
    assert_eq!(node.stats().table_entries, 0);
    assert_eq!(FaultyStore::count(&node.store.renewals), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_a_ttl_after_the_last_sign_of_life_whenever_it_was_renewed() {
    for last in [3, 10, 17, 25, 33] {
        let node = Node::at(&FaultyStore::new());
        node.plays(&claim("tv", 1), SECOND * last).await;
        // The last request was a second ago; it is renewed some time from now.
        pass(TTL - SECOND * 2).await;
        assert_eq!(node.live().await, 1, "died after {last} s");
        pass(SECOND + MS).await;
        assert_eq!(node.live().await, 0, "died after {last} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_steady_player_is_never_interrupted() {
    let node = Node::at(&FaultyStore::new());
    node.plays(&claim("tv", 1), TTL * 20).await;
    assert_eq!(FaultyStore::count(&node.store.acquires), 1);
}

#[tokio::test(start_paused = true)]
async fn what_this_node_believes_never_outlives_what_the_store_promised() {
    let store = FaultyStore::new();
    let node = Node::at(&store);
    store.hold_answers();
    let leases = node.leases.clone();
    let asking = tokio::spawn(async move { leases.hold(&claim("tv", 1)).await.unwrap() });
    pass(SECOND * 20).await;
    store.release_answers();
    let Grant::Held(lease) = asking.await.unwrap() else { panic!("there is room") };
    assert!(lease.expires_in() <= TTL - SECOND * 20, "counted from before the question");
}

#[tokio::test(start_paused = true)]
async fn an_end_elsewhere_is_known_within_a_third_and_answered_here() {
    let node = Node::at(&FaultyStore::new());
    let tv = claim("tv", 1);
    node.request(&tv).await;
    let timing = Timing::default();
    assert!(node.store.behind().terminate(&tv.holder, &tv.id, &timing).await.unwrap());
    for _ in 0..NEWS_MAX.as_secs() {
        node.knows("tv");
        pass(SECOND).await;
    }
    assert!(!node.knows("tv"));
    let before = FaultyStore::count(&node.store.calls);
    assert_eq!(node.word(&tv).await, "terminated");
    assert_eq!(FaultyStore::count(&node.store.calls), before, "nobody had to be asked");
    assert_eq!(node.stats().lost.terminated, 1);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_started_again_elsewhere_plays_here_too() {
    let store = FaultyStore::new();
    let (one, other) = (Node::at(&store), Node::at(&store));
    let login = Claim { reusable: true, ..claim("login", 1) };
    one.request(&login).await;
    assert!(one.leases.terminate(&login.holder, &login.id).await.unwrap());
    assert_eq!(one.word(&login).await, "terminated");
    let restarted = Claim { explicit_start: true, ..login.clone() };
    assert_eq!(other.word(&restarted).await, "new");
    pass(SECOND * 2).await;
    assert_eq!(one.word(&login).await, "held");
}

#[tokio::test(start_paused = true)]
async fn an_end_on_this_node_is_known_at_once() {
    let node = Node::at(&FaultyStore::new());
    for name in ["tv", "pad", "pc"] {
        node.request(&claim(name, 3)).await;
        pass(MS).await;
    }
    assert!(node.leases.terminate(&holder("alice"), &id("tv")).await.unwrap());
    assert_eq!(node.word(&claim("tv", 3)).await, "terminated");
    node.leases.release(&holder("alice"), &id("pad")).await.unwrap();
    assert_eq!(node.word(&claim("pad", 3)).await, "released");
    let takeover = Claim { replace: these(&["pc"]), ..claim("phone", 1) };
    assert_eq!(node.word(&takeover).await, "new");
    assert_eq!(node.word(&claim("pc", 3)).await, "replaced");
    assert_eq!(node.live().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_whom_the_store_lost_is_not_thrown_out_by_who_came_first() {
    for (reusable, grandfather) in [(false, TTL), (true, TTL), (false, Duration::ZERO)] {
        let timing = Timing::default().with_grandfather(grandfather).unwrap();
        let node = Node::with(&FaultyStore::new(), Bounds::default(), timing);
        let tv = Claim { reusable, ..claim("tv", 1) };
        node.request(&tv).await;
        node.store.forget_all();
        node.store.behind().acquire(&claim("pc", 1), &timing).await.unwrap();
        for _ in 0..NEWS_MAX.as_secs() {
            node.knows("tv");
            pass(SECOND).await;
        }
        let is_kept = !grandfather.is_zero();
        assert_eq!(node.word(&tv).await, if is_kept { "held" } else { "full" });
        assert_eq!(node.leases.census().over_limit, u64::from(is_kept));
        assert_eq!(node.stats().adopted_over_limit, u64::from(is_kept));
        assert_eq!(node.stats().lost.refused, u64::from(!is_kept));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgot_is_told_again_with_labels_and_all() {
    let node = Node::at(&FaultyStore::new());
    let tv = claim("tv", 1);
    node.plays(&tv, SECOND * 5).await;
    node.store.forget_all();
    node.plays(&tv, NEWS_MAX).await;
    let live = node.store.behind().list(&tv.holder).await.unwrap();
    assert_eq!(live[0].about.device(), Some("tv"));
    assert_eq!(FaultyStore::count(&node.store.acquires), 2);
}

#[tokio::test(start_paused = true)]
async fn the_renewer_does_not_start_a_login_again_that_was_stopped_elsewhere() {
    let node = Node::at(&FaultyStore::new());
    let login = Claim { reusable: true, ..claim("login", 1) };
    node.request(&login).await;
    pass(SECOND * 5).await;
    node.knows("login");
    let timing = Timing::default();
    node.store.behind().release(&login.holder, &login.id, &timing).await.unwrap();
    pass(NEWS_MAX).await;
    assert_eq!(node.live().await, 0, "the slot stays free");
    assert_eq!(node.stats().lost.gone, 1);
    assert_eq!(node.word(&login).await, "new", "its viewer may start it");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_another_node_renewed_is_not_lost() {
    let store = FaultyStore::new();
    let (one, other) = (Node::at(&store), Node::at(&store));
    let login = Claim { reusable: true, ..claim("login", 1) };
    for _ in 0..TTL.as_secs() * 10 {
        for node in [&one, &other] {
            assert!(matches!(node.request(&login).await, Grant::Held(_)));
        }
        pass(SECOND).await;
    }
    assert_eq!(one.stats().lost, Default::default());
    assert_eq!(one.live().await, 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_holders_go_on_for_the_grace() {
    let node = Node::at(&FaultyStore::new());
    let tv = claim("tv", 1);
    node.request(&tv).await;
    node.store.set_down(true);
    for _ in 0..Timing::default().grace().as_secs() - 1 {
        let Grant::Held(lease) = node.request(&tv).await else { panic!("interrupted") };
        assert!(!lease.is_provisional());
        pass(SECOND).await;
    }
    assert_eq!(node.word(&claim("pc", 1)).await, "full", "it has the slot");
    pass(SECOND * 2).await;
    // From here on nobody knows who else plays, and it is judged like a newcomer.
    assert_eq!(node.word(&tv).await, "provisional");
}

#[tokio::test(start_paused = true)]
async fn without_the_store_a_holder_keeps_its_slot_between_its_requests() {
    let node = Node::at(&FaultyStore::new());
    let tv = claim("tv", 1);
    node.request(&tv).await;
    pass(SECOND).await;
    node.store.set_down(true);
    for _ in 0..200 {
        assert_eq!(node.word(&tv).await, "held");
        pass(SECOND * 2).await;
        assert_eq!(node.word(&claim("pc", 1)).await, "full");
    }
    pass(TTL).await;
    assert_eq!(node.word(&claim("pc", 1)).await, "provisional", "a silent one has left");
    for _ in 0..200 {
        assert_eq!(node.word(&claim("pc", 1)).await, "provisional");
        assert_eq!(node.word(&claim("box", 1)).await, "full");
        pass(SECOND * 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_store_newcomers_are_counted_here_and_registered_later() {
    let node = Node::at(&FaultyStore::new());
    node.request(&claim("tv", 2)).await;
    pass(MS).await;
    node.store.set_down(true);
    assert_eq!(node.word(&claim("pad", 2)).await, "provisional");
    assert_eq!(node.word(&claim("pc", 2)).await, "full");
    let Grant::Full(full) = node.request(&claim("pc", 2)).await else { panic!("no room") };
    let names: Vec<_> = full.live.iter().map(|live| live.about.device().unwrap()).collect();
    assert_eq!(names, ["tv", "pad"]);
    assert_eq!(node.stats().provisional, 1);
    assert_eq!(node.stats().admitted_locally, 1);
    for _ in 0..90 {
        for name in ["tv", "pad"] {
            assert!(matches!(node.request(&claim(name, 2)).await, Grant::Held(_)));
        }
        pass(SECOND).await;
    }
    node.store.set_down(false);
    for _ in 0..NEWS_MAX.as_secs() {
        for name in ["tv", "pad"] {
            assert!(node.knows(name), "{name} was interrupted");
        }
        pass(SECOND).await;
    }
    assert_eq!(node.live().await, 2);
    // The one that went on alone was claimed, too.
    assert_eq!((node.stats().provisional, node.stats().registered), (0, 2));
    let Grant::Held(pad) = node.request(&claim("pad", 2)).await else { panic!("it is live") };
    assert!(!pad.is_provisional());
}

#[tokio::test(start_paused = true)]
async fn the_renewer_claims_nothing_for_a_player_who_left() {
    let node = Node::at(&FaultyStore::new());
    node.store.set_down(true);
    assert_eq!(node.word(&claim("tv", 1)).await, "provisional");
    pass(TTL * 2 / 3).await;
    node.store.set_down(false);
    pass(NEWS_MAX).await;
    assert_eq!(node.live().await, 0, "it was last heard of too long ago");
    assert_eq!(node.word(&claim("pc", 1)).await, "new");
}

#[tokio::test(start_paused = true)]
async fn after_a_partition_the_excess_is_refused_where_there_is_no_grandfather() {
    let store = FaultyStore::new();
    let timing = Timing::default().with_grandfather(Duration::ZERO).unwrap();
    let node = || Node::with(&store, Bounds::default(), timing);
    let (one, other) = (node(), node());
    store.set_down(true);
    assert_eq!(one.word(&claim("tv", 1)).await, "provisional");
    assert_eq!(other.word(&claim("pc", 1)).await, "provisional");
    store.set_down(false);
    for _ in 0..NEWS_MAX.as_secs() {
        one.knows("tv");
        other.knows("pc");
        pass(SECOND).await;
    }
    assert_eq!(one.live().await, 1);
    assert_eq!(u8::from(one.knows("tv")) + u8::from(other.knows("pc")), 1);
    assert_eq!(one.stats().lost.refused + other.stats().lost.refused, 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_takeover_and_endings_still_count_here() {
    let node = Node::at(&FaultyStore::new());
    node.request(&claim("tv", 1)).await;
    node.leases.release(&holder("alice"), &id("tv")).await.unwrap();
    node.store.set_down(true);
    assert_eq!(node.word(&claim("tv", 1)).await, "released");
    assert_eq!(node.word(&claim("pc", 1)).await, "provisional");
    let oldest = |name: &str| Claim { replace: Replace::Oldest, ..claim(name, 1) };
    assert_eq!(node.word(&oldest("pad")).await, "provisional");
    assert_eq!(node.word(&claim("pc", 1)).await, "replaced");
    let unknown = Claim { replace: these(&["pad", "gone"]), ..claim("box", 1) };
    assert_eq!(node.word(&unknown).await, "full");
    assert!(node.leases.state(&holder("alice"), &id("pad"), State::Paused).await.is_err());
    for _ in 0..62 {
        assert!(node.knows("pad") || node.word(&claim("pad", 1)).await == "provisional");
        pass(SECOND).await;
    }
    assert_eq!(node.word(&claim("box", 1)).await, "provisional", "the idle one goes first");
    assert!(node.leases.release(&holder("alice"), &id("box")).await.is_err());
    assert_eq!(node.word(&claim("box", 1)).await, "released");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_asked_once_a_tick() {
    let node = Node::at(&FaultyStore::new());
    for n in 0..600 {
        let claim = Claim { holder: holder(&n.to_string()), ..claim("tv", 1) };
        node.request(&claim).await;
    }
    pass(MS).await;
    for n in 0..600 {
        assert!(node.leases.touch(&holder(&n.to_string()), &id("tv"), &[]).is_some());
    }
    node.store.set_down(true);
    let (calls, ticks) = (FaultyStore::count(&node.store.calls), node.stats().ticks);
    pass(TTL / 2).await;
    let calls = FaultyStore::count(&node.store.calls) - calls;
    let ticks = node.stats().ticks - ticks;
    assert!(0 < calls && calls <= ticks, "{calls} calls in {ticks} ticks");
    assert_eq!(node.stats().store_errors, calls);
    node.store.set_down(false);
    pass(SECOND * 8).await;
    assert_eq!(node.stats().renewals, 600, "all are renewed within four ticks");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_the_store_cannot_read_keeps_nobody_else_from_being_renewed() {
    let node = Node::at(&FaultyStore::new());
    let claims: Vec<_> =
        (0..50).map(|n| Claim { holder: holder(&n.to_string()), ..claim("tv", 1) }).collect();
    for claim in &claims {
        node.request(claim).await;
    }
    pass(MS).await;
    for claim in &claims {
        node.request(claim).await;
    }
    // The slots are gone, so the renewer has to ask for each of them, and one gets an error.
    node.store.forget_all();
    node.store.poison(claims[7].holder);
    pass(NEWS_MAX).await;
    for (n, claim) in claims.iter().enumerate() {
        let live = node.store.behind().list(&claim.holder).await.unwrap().len();
        assert_eq!(live, usize::from(n != 7), "account {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_table_is_bounded_and_what_fell_out_is_asked_again() {
    let node = Node::bounded(&FaultyStore::new(), 256);
    let claims: Vec<_> =
        (0..2000).map(|n| Claim { holder: holder(&n.to_string()), ..claim("tv", 1) }).collect();
    for claim in &claims {
        assert_eq!(node.word(claim).await, "new");
    }
    let stats = node.stats();
    assert!(stats.table_entries <= 256, "{}", stats.table_entries);
    assert_eq!(stats.table_entries + stats.evicted, 2000);
    for claim in &claims {
        assert_eq!(node.word(claim).await, "held");
    }
    assert_eq!(node.leases.playing(10).len(), 10);
    assert!(node.leases.playing(1000).len() <= 256);
}

#[tokio::test(start_paused = true)]
async fn an_answer_older_than_a_release_does_not_undo_it() {
    for reusable in [false, true] {
        let store = FaultyStore::new();
        let node = Node::at(&store);
        let tv = Claim { reusable, ..claim("tv", 1) };
        node.request(&tv).await;
        pass(MS).await;
        // Pressed play again, and stopped before the answer came.
        store.hold_answers();
        let (leases, restarted) =
            (node.leases.clone(), Claim { explicit_start: true, ..tv.clone() });
        let asking = tokio::spawn(async move { leases.hold(&restarted).await.unwrap() });
        pass(MS).await;
        node.leases.release(&tv.holder, &tv.id).await.unwrap();
        store.release_answers();
        match (reusable, asking.await.unwrap()) {
            (false, Grant::Ended(Ending::Released)) => assert_eq!(node.live().await, 0),
            // The store was asked a second time, after the release: the id plays again.
            (true, Grant::Held(_)) => assert_eq!(node.live().await, 1),
            (_, grant) => panic!("{grant:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_renewer_frees_what_was_stopped_while_it_registered_it() {
    let store = FaultyStore::new();
    let node = Node::at(&store);
    store.set_down(true);
    let login = Claim { reusable: true, ..claim("login", 1) };
    assert_eq!(node.word(&login).await, "provisional");
    store.hold_answers();
    store.set_down(false);
    let before = FaultyStore::count(&store.acquires);
    while FaultyStore::count(&store.acquires) == before {
        pass(SECOND).await;
    }
    assert_eq!(node.live().await, 1, "the store has decided, the renewer has not heard of it");
    store.set_down(true);
    assert!(node.leases.release(&login.holder, &login.id).await.is_err());
    store.set_down(false);
    store.release_answers();
    pass(SECOND).await;
    assert_eq!(node.live().await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_renewer_stops_when_told_and_starts_nothing_by_itself() {
    let store = FaultyStore::new();
    let (leases, renewer) = Leases::new(store.clone(), Timing::default());
    leases.hold(&claim("tv", 1)).await.unwrap();
    advance(TTL).await;
    assert_eq!(leases.stats().ticks, 0, "nobody runs it");
    renewer.run(async {}).await;
    let node = Node::at(&store);
    pass(SECOND * 10).await;
    drop(node._stop);
    node.renewer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_renewer_shares_its_thread_however_much_it_has_to_look_at() {
    let node = Node::bounded(&FaultyStore::new(), 1_000_000);
    let mut turns = 0;
    while node.stats().ticks == 0 {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(1000 < turns, "somebody else had {turns} turns during a tick over 16,384 shards");
}

/// Another gateway takes the slot over before its owner has heard that it has it.
#[tokio::test(start_paused = true)]
async fn a_notice_that_overtakes_the_answer_is_not_lost() {
    let store = FaultyStore::new();
    let node = Node::at(&store);
    let tv = claim("tv", 1);
    store.hold_answers();
    let (leases, asked) = (node.leases.clone(), tv.clone());
    let asking = tokio::spawn(async move { leases.hold(&asked).await.unwrap() });
    pass(SECOND).await;
    let pad = Claim { replace: Replace::Oldest, ..claim("pad", 1) };
    let taken = store.behind().acquire(&pad, &Timing::default()).await.unwrap();
    assert!(matches!(taken, streamgate_lease::Answer::Held(_)), "{taken:?}");
    node.leases.mark_stale(&tv.holder, &tv.id);
    store.release_answers();
    assert!(matches!(asking.await.unwrap(), Grant::Held(_)), "the answer was right when given");
    assert!(!node.knows("tv"), "the notice is younger than the answer");
    assert_eq!(node.word(&tv).await, "replaced");
}

/// The renewer asks the store in nobody's name, so its answer lifts no mark.
#[tokio::test(start_paused = true)]
async fn a_mark_that_overtakes_the_answer_waits_for_the_next_request() {
    let store = FaultyStore::new();
    let node = Node::at(&store);
    let tv = claim("tv", 2);
    store.hold_answers();
    let (leases, asked) = (node.leases.clone(), tv.clone());
    let asking = tokio::spawn(async move { leases.hold(&asked).await.unwrap() });
    pass(SECOND).await;
    node.leases.mark_older(&tv.holder, &tv.id);
    store.release_answers();
    assert!(matches!(asking.await.unwrap(), Grant::Held(_)), "the answer was right when given");
    pass(SECOND * 10).await;
    assert!(!node.knows("tv"), "it was marked, and no request of it has asked the store since");
    assert_eq!(node.word(&tv).await, "held");
    assert!(node.knows("tv"));
}

/// It is in doubt, and turns out to be live; but it is marked, too.
#[tokio::test(start_paused = true)]
async fn a_mark_on_what_is_in_doubt_waits_for_the_next_request() {
    let node = Node::at(&FaultyStore::new());
    let tv = claim("tv", 2);
    assert_eq!(node.word(&tv).await, "new");
    node.leases.mark_stale(&tv.holder, &tv.id);
    node.leases.mark_older(&tv.holder, &tv.id);
    pass(SECOND * 10).await;
    assert!(!node.knows("tv"), "the renewer settles the doubt and lifts no mark");
    assert_eq!(node.word(&tv).await, "held");
}

/// Which the store never hears of: it plays by what this node knows.
#[tokio::test(start_paused = true)]
async fn nobody_plays_beside_a_failed_start_on_the_same_node() {
    let node = Node::at(&FaultyStore::new());
    for (name, another, given) in [("tv", true, false), ("pad", false, true)] {
        let Grant::Held(lease) = node.request(&claim(name, 2)).await else {
            panic!("there is room")
        };
        assert!(lease.is_first());
        assert!(!another || node.knows(name));
        assert_eq!(node.leases.give_back(&lease).await, Ok(given), "{name}");
    }
    assert_eq!(node.live().await, 1);
}

/// Another node ends it, and the notice comes before the answer that is held back.
async fn end_before_the_answer(node: &Node, store: &FaultyStore, tv: &Claim) {
    assert!(store.behind().terminate(&tv.holder, &tv.id, &Timing::default()).await.unwrap());
    node.leases.mark_stale(&tv.holder, &tv.id);
    store.release_answers();
    pass(MS).await;
}

/// What the renewer asked before it was ended is answered after the notice.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_older_than_the_notice_settles_no_doubt() {
    let store = FaultyStore::new();
    let node = Node::at(&store);
    let tv = claim("tv", 1);
    assert_eq!(node.word(&tv).await, "new");
    store.hold_answers();
    while FaultyStore::count(&store.renewals) == 0 {
        assert!(node.knows("tv"));
        pass(SECOND).await;
    }
    end_before_the_answer(&node, &store, &tv).await;
    assert!(!node.knows("tv"), "the renewal was asked for before it was ended");
    assert_eq!(node.word(&tv).await, "terminated");
}

/// Likewise what it claimed for a stream that this node had started alone.
#[tokio::test(start_paused = true)]
async fn an_adoption_that_is_older_than_the_notice_settles_no_doubt() {
    let store = FaultyStore::new();
    let node = Node::at(&store);
    let tv = claim("tv", 1);
    store.set_down(true);
    assert_eq!(node.word(&tv).await, "provisional");
    store.set_down(false);
    store.hold_answers();
    while node.live().await == 0 {
        assert!(node.knows("tv"));
        pass(SECOND).await;
    }
    end_before_the_answer(&node, &store, &tv).await;
    assert!(!node.knows("tv"), "the store took it over before it was ended");
    assert_eq!(node.word(&tv).await, "terminated");
}

/// So many notices come meanwhile that a shard remembers the last of them only.
#[tokio::test(start_paused = true)]
async fn a_notice_that_many_others_follow_is_not_lost() {
    let store = FaultyStore::new();
    let node = Node::bounded(&store, 16);
    let (tv, pad) = (claim("tv", 1), Claim { replace: Replace::Oldest, ..claim("pad", 1) });
    store.hold_answers();
    let (leases, asked) = (node.leases.clone(), tv.clone());
    let asking = tokio::spawn(async move { leases.hold(&asked).await.unwrap() });
    pass(SECOND).await;
    store.behind().acquire(&pad, &Timing::default()).await.unwrap();
    node.leases.mark_stale(&tv.holder, &tv.id);
    for n in 0..200 {
        node.leases.mark_stale(&holder(&format!("neighbour {n}")), &id("tv"));
    }
    store.release_answers();
    assert!(matches!(asking.await.unwrap(), Grant::Held(_)), "the answer was right when given");
    assert!(!node.knows("tv"), "the notice is younger than the answer");
    assert_eq!(node.word(&tv).await, "replaced");
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_is_judged_beside_what_this_node_has_started_alone() {
    let store = FaultyStore::new();
    let node = Node::at(&store);
    store.set_down(true);
    assert_eq!(node.word(&claim("tv", 1)).await, "provisional");
    store.set_down(false);
    assert_eq!(node.word(&claim("pad", 1)).await, "full", "before the renewer has told the store");
    assert_eq!(node.live().await, 1);
}
