//! The course of a drill: start the store, the gateways and the clients, then inject one fault
//! after the other and observe what the clients are answered.

use crate::clients::{Clients, Role};
use crate::fault::Fault;
use crate::fleet::{Fleet, Kind, until};
use crate::gateway::{Figures, Gateway, TTL, Wiring, figures};
use crate::node::Node;
use crate::report;
use crate::verdict::{Broken, HEALED_MAX, Observation, Summary};
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

/// What all drills of a run share: the programs, the origin and how many clients there are.
pub(crate) struct Setup {
    pub(crate) bench: Bench,
    pub(crate) program: PathBuf,
    /// Of the second gateway.
    pub(crate) other_program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) origin: SocketAddr,
    pub(crate) accounts: usize,
    pub(crate) third_devices: usize,
}

/// One kind of store from beginning to end; what was promised and did not hold.
pub(crate) async fn run(setup: &Setup, kind: Kind) -> io::Result<Vec<Broken>> {
    let folder = setup.folder.join(format!("{kind:?}"));
    let fleet = Fleet::start(kind, setup.bench, &folder).await?;
    let grandfather = if kind == Kind::Forgetful { "15m" } else { "0s" };
    let wiring = Wiring { store: fleet.url(), origin: setup.origin, grandfather };
    let start = |program| Gateway::start(setup.bench, program, &folder, &wiring);
    let gateways = [start(&setup.program)?, start(&setup.other_program)?];
    let mut clients = Clients::default();
    clients.probe(setup.origin);
    clients.start_holders(&gateways, setup.accounts);
    until("all accounts are full", async || {
        let streams = fleet.streams().await.unwrap_or_default();
        streams.iter().sum::<usize>() == 2 * setup.accounts
    })
    .await?;
    clients.start_third_devices(&gateways, setup.third_devices);
    let played = clients.served(Role::Holder);
    until("all play", async || played + 2 * setup.accounts < clients.served(Role::Holder)).await?;
    let mut broken = Vec::new();
    for fault in Fault::all_of(kind) {
        let observation = observe(&fleet, &gateways, *fault).await?;
        let samples = clients.between(observation.began, observation.ended);
        let row = Summary::of(&observation, &samples, setup.accounts);
        report::row(kind, *fault, &row);
        broken.extend(row.broken(kind, *fault));
        until("all replicas follow", async || fleet.is_whole().await).await?;
    }
    Ok(broken)
}

/// Injects a fault, and observes until everything is as it was before.
async fn observe(fleet: &Fleet, gateways: &[Gateway], fault: Fault) -> io::Result<Observation> {
    let masters = fleet.masters().await;
    let victim = masters.first().ok_or_else(|| io::Error::other("nobody leads"))?;
    let (is_done, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let before = both(gateways).await?;
    let began = Instant::now();
    let injected = async {
        inject(fleet, victim, fault).await?;
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
    let over = async {
        let (injected, back) = tokio::join!(injected, back);
        injected?;
        let rest = if fault == Fault::Nothing { Duration::ZERO } else { TTL };
        sleep((back + rest.max(HEALED_MAX)).saturating_duration_since(Instant::now())).await;
        is_over.store(true, Relaxed);
        io::Result::Ok(if fault == Fault::Nothing { began } else { back })
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
    let (back, seen) = tokio::join!(over, looks);
    let (back, after) = (back?, both(gateways).await?);
    let streams = fleet.streams().await?;
    if fault == Fault::Failover {
        victim.restart()?;
    }
    Ok(Observation { began, back, ended: Instant::now(), before, seen, after, streams })
}

/// Does to this server what the fault says.
async fn inject(fleet: &Fleet, victim: &Node, fault: Fault) -> io::Result<()> {
    match fault {
        Fault::Nothing => sleep(CALM).await,
        Fault::Restart => {
            victim.kill();
            if fleet.kind == Kind::Forgetful {
                victim.forget()?;
            }
            sleep(DEAD_FOR).await;
            victim.restart()?;
        }
        Fault::Failover => victim.kill(),
        Fault::Hang => {
            victim.signal("STOP")?;
            sleep(HANGS_FOR).await;
            victim.signal("CONT")?;
        }
        Fault::Depose => {
            victim.signal("STOP")?;
            until("another takes over", async || fleet.is_well().await).await?;
            victim.signal("CONT")?;
        }
        Fault::ForgetScripts => {
            victim.tell::<()>("SCRIPT FLUSH").await.map_err(io::Error::other)?;
        }
        Fault::Cut => {
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
