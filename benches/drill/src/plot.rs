//! What happens to a store, in order, and what is looked at meanwhile.

use crate::crowd::{Crowd, Role};
use crate::fleet::{Fleet, Kind, until};
use crate::gateway::{Figures, Gateway, TTL, Wiring, figures};
use crate::node::Node;
use crate::report;
use crate::verdict::{Act, Broken, HEALED_MAX, Watch};
use load::bench::Bench;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long nothing happens, to see what is normal.
const CALM: Duration = Duration::from_secs(10);
/// How long a server is dead before it is started again.
const DEAD_FOR: Duration = Duration::from_secs(2);
/// How long a server hangs.
const HANGS_FOR: Duration = Duration::from_secs(3);
/// How often the store and the gateways are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What all drills of a run share.
pub(crate) struct Scene {
    pub(crate) bench: Bench,
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) origin: SocketAddr,
    pub(crate) accounts: usize,
    pub(crate) thieves: usize,
}

/// What may happen to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Nothing,
    /// `kill -9`, and two seconds later it starts again with what it wrote to its disk, if it did.
    Restart,
    /// `kill -9`; another takes over.
    Failover,
    /// `SIGSTOP` for three seconds.
    Hang,
    /// `SIGSTOP` until another has taken over; then it goes on and does not know that yet.
    Depose,
    /// `SCRIPT FLUSH`.
    ForgetScripts,
    /// `CLIENT KILL` of all connections.
    Cut,
}

impl Trouble {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Trouble::Nothing => "nothing",
            Trouble::Restart => "`kill -9`, started again after 2 s",
            Trouble::Failover => "`kill -9`, failover",
            Trouble::Hang => "`SIGSTOP` for 3 s",
            Trouble::Depose => "`SIGSTOP`, failover, `SIGCONT`",
            Trouble::ForgetScripts => "`SCRIPT FLUSH`",
            Trouble::Cut => "`CLIENT KILL` of all",
        }
    }

    fn all_of(kind: Kind) -> &'static [Trouble] {
        use Trouble::{Cut, Depose, Failover, ForgetScripts, Hang, Nothing, Restart};
        match kind {
            Kind::Durable => &[Nothing, Restart, Hang, ForgetScripts, Cut],
            Kind::Forgetful => &[Nothing, Restart],
            Kind::Sentinel | Kind::Cluster => &[Nothing, Failover, Hang, Depose],
        }
    }
}

/// One kind of store from beginning to end; what was promised and did not hold.
pub(crate) async fn run(scene: &Scene, kind: Kind) -> io::Result<Vec<Broken>> {
    let folder = scene.folder.join(format!("{kind:?}"));
    let fleet = Fleet::start(kind, scene.bench, &folder).await?;
    let grandfather = if kind == Kind::Forgetful { "15m" } else { "0s" };
    let wiring = Wiring { store: fleet.url(), origin: scene.origin, grandfather };
    let start = || Gateway::start(scene.bench, &scene.program, &folder, &wiring);
    let gateways = [start()?, start()?];
    let mut crowd = Crowd::default();
    crowd.probe(scene.origin);
    crowd.seat(&gateways, scene.accounts);
    until("all accounts are full", async || {
        let streams = fleet.streams().await.unwrap_or_default();
        streams.iter().sum::<usize>() == 2 * scene.accounts
    })
    .await?;
    crowd.let_loose(&gateways, scene.thieves);
    let played = crowd.served(Role::Holder);
    until("all play", async || played + 2 * scene.accounts < crowd.served(Role::Holder)).await?;
    let mut broken = Vec::new();
    for trouble in Trouble::all_of(kind) {
        let act = act(&fleet, &gateways, *trouble).await?;
        let samples = crowd.between(act.began, act.ended);
        let row = Watch::of(&act, &samples, scene.accounts);
        report::row(kind, *trouble, &row);
        broken.extend(row.broken(kind, *trouble));
        until("those who were lost follow", async || fleet.is_whole().await).await?;
    }
    Ok(broken)
}

/// Lets it happen, and looks on until all is as it was.
async fn act(fleet: &Fleet, gateways: &[Gateway], trouble: Trouble) -> io::Result<Act> {
    let masters = fleet.masters().await;
    let victim = masters.first().ok_or_else(|| io::Error::other("nobody leads"))?;
    let (is_done, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let before = both(gateways).await?;
    let began = Instant::now();
    let happen = async {
        happen(fleet, victim, trouble).await?;
        is_done.store(true, Relaxed);
        io::Result::Ok(())
    };
    let back = async {
        let mut since = None;
        loop {
            let is_done = is_done.load(Relaxed);
            match fleet.is_well().await {
                false => since = None,
                true => since = since.or(Some(Instant::now())),
            }
            match since {
                Some(since) if is_done => break since,
                _ => sleep(LOOK_EVERY).await,
            }
        }
    };
    let told = async {
        let (happened, back) = tokio::join!(happen, back);
        happened?;
        let rest = if trouble == Trouble::Nothing { Duration::ZERO } else { TTL };
        sleep((back + rest.max(HEALED_MAX)).saturating_duration_since(Instant::now())).await;
        is_over.store(true, Relaxed);
        io::Result::Ok(if trouble == Trouble::Nothing { began } else { back })
    };
    let looks = async {
        let mut seen = Vec::new();
        while !is_over.load(Relaxed) {
            if let Ok(now) = both(gateways).await {
                seen.push((Instant::now(), now));
            }
            sleep(LOOK_EVERY).await;
        }
        seen
    };
    let (back, seen) = tokio::join!(told, looks);
    let (back, after) = (back?, both(gateways).await?);
    let streams = fleet.streams().await?;
    if trouble == Trouble::Failover {
        victim.restart()?;
    }
    Ok(Act { began, back, ended: Instant::now(), before, seen, after, streams })
}

/// It happens to this server.
async fn happen(fleet: &Fleet, victim: &Node, trouble: Trouble) -> io::Result<()> {
    match trouble {
        Trouble::Nothing => sleep(CALM).await,
        Trouble::Restart => {
            victim.kill();
            if fleet.kind == Kind::Forgetful {
                victim.forget()?;
            }
            sleep(DEAD_FOR).await;
            victim.restart()?;
        }
        Trouble::Failover => victim.kill(),
        Trouble::Hang => {
            victim.signal("STOP")?;
            sleep(HANGS_FOR).await;
            victim.signal("CONT")?;
        }
        Trouble::Depose => {
            victim.signal("STOP")?;
            until("another takes over", async || fleet.is_well().await).await?;
            victim.signal("CONT")?;
        }
        Trouble::ForgetScripts => {
            victim.tell::<()>("SCRIPT FLUSH").await.map_err(io::Error::other)?;
        }
        Trouble::Cut => {
            let cut = "CLIENT KILL TYPE normal SKIPME yes";
            victim.tell::<usize>(cut).await.map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// What both gateways say, added up.
async fn both(gateways: &[Gateway]) -> io::Result<Figures> {
    let mut sum = Figures::new();
    for gateway in gateways {
        for (name, value) in figures(gateway.admin).await? {
            *sum.entry(name).or_default() += value;
        }
    }
    Ok(sum)
}
