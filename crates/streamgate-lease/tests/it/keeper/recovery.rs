//! A store that comes back meets everybody at once; the keeper sees to it that it can bear it.

use super::{Node, SECOND, pass};
use crate::weather::Weather;
use crate::world::{holder, id};
use streamgate_lease::Claim;

const STREAMS: u64 = 4_000;
/// A thirtieth of a ttl.
const BEAT_SECONDS: u64 = 2;

#[tokio::test(start_paused = true)]
async fn after_an_outage_a_beat_renews_a_quarter_and_four_beats_all() {
    let node = Node::at(&Weather::fine());
    let claims: Vec<_> =
        (0..STREAMS).map(|n| Claim::new(holder(&n.to_string()), id("tv"), 1)).collect();
    for claim in &claims {
        assert_eq!(node.word(claim).await, "new");
    }
    let watch = async |seconds: u64| {
        for _ in 0..seconds {
            for claim in &claims {
                node.word(claim).await;
            }
            pass(SECOND).await;
        }
        Weather::count(&node.weather.renewals)
    };
    node.weather.turns(true);
    // Long enough for everybody to be due, short enough for nobody to expire.
    let before = watch(40).await;
    node.weather.turns(false);
    let mut last = before;
    for beat in 1..=4 {
        let so_far = watch(BEAT_SECONDS).await;
        assert!(so_far - last <= STREAMS / 4, "beat {beat}: {} renewals", so_far - last);
        last = so_far;
    }
    let renewed = watch(BEAT_SECONDS).await - before;
    assert!((STREAMS..STREAMS + STREAMS / 4).contains(&renewed), "{renewed} in five beats");
    assert_eq!(node.stats().roster, STREAMS);
    assert_eq!(node.stats().lost.gone + node.stats().lost.refused, 0, "nobody was too late");
}
