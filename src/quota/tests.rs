//! What meters let through, against a plain list of all that was taken.

use super::*;
use proptest::prelude::*;
use tokio::time::Instant;

const MS: u64 = 1_000_000;

fn rate(limit: u32, per_ms: u64, burst: u32) -> Rate {
    Rate { limit, per: Duration::from_millis(per_ms), burst }
}

fn is_taken(taken: Taken) -> bool {
    matches!(taken, Taken::All(_))
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let rate = rate(10, 1000, 5);
    let mut bucket = Bucket::default();
    let start = 7_000 * MS;
    for left in (0..5).rev() {
        let Taken::All(found) = bucket.take(&rate, 1, start) else { panic!("{left}") };
        assert_eq!(found.units, left);
    }
    let Taken::Nothing(left, wait) = bucket.take(&rate, 1, start) else { panic!("a sixth") };
    assert_eq!((left.units, left.more_in, wait), (0, wait, Duration::from_millis(100)));
    assert!(!is_taken(bucket.take(&rate, 1, start + 100 * MS - 1)));
    assert!(is_taken(bucket.take(&rate, 1, start + 100 * MS)));
    let Taken::Nothing(_, wait) = bucket.take(&rate, 5, start + 100 * MS) else { panic!("five") };
    assert_eq!(wait, Duration::from_millis(500));
    // However long nobody asks, there is no more than the burst.
    let later = start + 3_600_000 * MS;
    assert!(is_taken(bucket.take(&rate, 5, later)) && !is_taken(bucket.take(&rate, 1, later)));
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let rate = rate(3, 1000, 3);
    let (mut bucket, mut window) = (Bucket::default(), Window::default());
    for _ in 0..10 {
        assert!(is_taken(bucket.take(&rate, 3, MS)) && is_taken(window.take(&rate, 3, MS)));
        bucket.give_back(&rate, 3, MS);
        window.give_back(&rate, 3, MS);
    }
    assert_eq!(window.forgotten_at(&rate), 0);
}

#[test]
fn a_window_slides() {
    let rate = rate(4, 1600, 4);
    let mut window = Window::default();
    assert!(is_taken(window.take(&rate, 3, 50 * MS)));
    assert!(is_taken(window.take(&rate, 1, 250 * MS)));
    let Taken::Nothing(left, wait) = window.take(&rate, 1, 300 * MS) else { panic!("a fifth") };
    // The slice of the first three ends at 100 ms, and counts for the whole span after it.
    assert_eq!((left.units, wait), (0, Duration::from_millis(1_700 - 300)));
    assert!(!is_taken(window.take(&rate, 1, 1_700 * MS - 1)));
    let Taken::All(left) = window.take(&rate, 1, 1_700 * MS) else { panic!("three are over") };
    assert_eq!(left.units, 2);
}

#[tokio::test(start_paused = true)]
async fn a_table_forgets_first_who_asks_least() {
    let table = Table::<Bucket>::new(rate(10, 1000, 10), 64);
    let now = Instant::now();
    assert!(is_taken(table.take(&"busy", 10, now)));
    for key in 0..100_000_u32 {
        table.take(&key, 1, now);
    }
    assert!(!is_taken(table.take(&"busy", 1, now)), "it is remembered");
    assert!(90_000 < table.evicted(), "{}", table.evicted());
    tokio::time::advance(Duration::from_secs(1)).await;
    let before = table.evicted();
    for key in 0..8_u32 {
        assert!(is_taken(table.take(&("new", key), 10, Instant::now())));
    }
    assert_eq!(table.evicted(), before, "who could be forgotten anyway is not counted");
}

#[test]
fn keys_do_not_share_what_they_have() {
    let table = Table::<Bucket>::new(rate(1, 3_600_000, 1), 20_000);
    let now = Instant::now();
    let all = (0..20_000_u32).filter(|key| is_taken(table.take(key, 1, now))).count();
    assert_eq!(all, 20_000);
    let again = (0..20_000_u32).filter(|key| is_taken(table.take(key, 1, now))).count();
    assert!(again < 400 && table.evicted() < 400, "{again} {}", table.evicted());
}

/// Times in milliseconds, in order, each with how many units are asked for.
fn asked() -> impl Strategy<Value = Vec<(u64, u32)>> {
    prop::collection::vec((0_u64..400, 1_u32..4), 1..200).prop_map(|steps| {
        let mut at = 1_000;
        let mut step = |(wait, units): (u64, u32)| {
            at += wait;
            (at, units)
        };
        steps.into_iter().map(&mut step).collect()
    })
}

fn taken_of<M: Meter>(rate: &Rate, asked: &[(u64, u32)]) -> Vec<(u64, u32)> {
    let mut meter = M::default();
    let taken = asked.iter().filter(|(at, units)| is_taken(meter.take(rate, *units, at * MS)));
    taken.copied().collect()
}

proptest! {
    #[test]
    fn no_span_holds_more_than_a_window_allows(asked in asked(), limit in 3_u32..20) {
        let rate = rate(limit, 1_000, limit);
        let taken = taken_of::<Window>(&rate, &asked);
        for (from, _) in &taken {
            let span = taken.iter().filter(|(at, _)| from <= at && *at < from + 1_000);
            let all: u32 = span.map(|(_, units)| units).sum();
            prop_assert!(all <= limit, "{} within a second of {}", all, from);
        }
    }

    #[test]
    fn no_time_holds_more_than_burst_and_rate(
        asked in asked(),
        limit in 1_u32..20,
        burst in 3_u32..9,
    ) {
        let rate = rate(limit, 1_000, burst);
        let taken = taken_of::<Bucket>(&rate, &asked);
        for (i, (from, _)) in taken.iter().enumerate() {
            let mut all = 0;
            for (to, units) in &taken[i..] {
                all += u64::from(*units);
                let most = u64::from(burst) * 1_000 + (to - from) * u64::from(limit);
                prop_assert!(all * 1_000 <= most + 1, "{} from {} to {}", all, from, to);
            }
        }
    }

    #[test]
    fn who_waits_as_told_is_let_in(asked in asked(), limit in 3_u32..20) {
        let rate = rate(limit, 1_000, limit);
        let (mut bucket, mut window) = (Bucket::default(), Window::default());
        for (at, units) in asked {
            let both: [&mut dyn Waits; 2] = [&mut bucket, &mut window];
            for meter in both {
                if let Some(wait) = meter.wait(&rate, units, at * MS) {
                    let then = at * MS + wait.as_nanos() as u64;
                    prop_assert_eq!(meter.peek(&rate, units, then), None);
                }
            }
        }
    }
}

/// What is asked of both kinds of meters.
trait Waits {
    fn wait(&mut self, rate: &Rate, units: u32, now: u64) -> Option<Duration>;
    fn peek(&self, rate: &Rate, units: u32, now: u64) -> Option<Duration>;
}

impl<M: Meter> Waits for M {
    fn wait(&mut self, rate: &Rate, units: u32, now: u64) -> Option<Duration> {
        match self.take(rate, units, now) {
            Taken::All(_) => None,
            Taken::Nothing(_, wait) => Some(wait),
        }
    }

    fn peek(&self, rate: &Rate, units: u32, now: u64) -> Option<Duration> {
        let mut copy = *self;
        copy.wait(rate, units, now)
    }
}
