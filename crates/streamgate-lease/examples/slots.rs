//! One account, two slots, three devices: `cargo run -p streamgate-lease --example slots [url]`.
//!
//! Without an address of a Redis the slots are kept in memory.

use std::sync::Arc;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::redis::{Client, RedisStore};
use streamgate_lease::{
    About, Claim, Grant, Holder, LeaseId, LeaseStore, Leases, Pepper, Replace, Timing,
};
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store: Arc<dyn LeaseStore> = match std::env::args().nth(1) {
        Some(url) => Arc::new(RedisStore::new(Arc::new(Client::new(&url)?))),
        None => Arc::new(MemoryStore::new()),
    };
    // Nothing runs until somebody runs the renewer, and nothing outlives him.
    let (leases, renewer) = Leases::new(store, Timing::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let renewer = tokio::spawn(renewer.run(async move { drop(stopped.await) }));

    let pepper = Pepper::new("a secret of at least 32 bytes, please")?;
    let alice = Holder::of(&pepper, "alice@example.com");
    let wish = |session: &str, device: &str| {
        let about = About::new(Some(device), Some("The final"));
        Claim { about, ..Claim::new(alice, LeaseId::of(session, None), 2) }
    };

    for claim in [wish("s1", "TV"), wish("s2", "Phone"), wish("s3", "Tablet")] {
        say(&leases.hold(&claim).await?);
    }

    // The player's next request. It asks no store, and it is the sign of life.
    let tv = wish("s1", "TV");
    println!("the TV plays on: {}", leases.touch(&tv.holder, &tv.id, &[]).is_some());

    // The viewer chose which stream has to go. It is replaced, or nothing happens at all.
    let tablet = Claim { replace: Replace::These(vec![tv.id]), ..wish("s3", "Tablet") };
    say(&leases.hold(&tablet).await?);
    say(&leases.hold(&tv).await?);

    for claim in [wish("s2", "Phone"), wish("s3", "Tablet")] {
        leases.release(&claim.holder, &claim.id).await?;
    }
    println!("{} are live", leases.list(&alice).await?.len());
    drop(stop);
    renewer.await?;
    Ok(())
}

fn say(grant: &Grant) {
    match grant {
        Grant::Held(lease) => println!("held, {} of {}", lease.active(), lease.limit()),
        Grant::Full(full) => {
            let devices: Vec<_> = full.live.iter().filter_map(|live| live.about.device()).collect();
            println!("full: {} are playing", devices.join(" and "));
        }
        Grant::Ended(why) => println!("this one was {}", why.as_str()),
    }
}
