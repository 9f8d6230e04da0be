//! The clients: two players of every account, one at either gateway, and third devices: one too
//! many, they try to start all the time. Each asks once a second on a connection of its own.

use crate::gateway::Gateway;
use load::{http1, token};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

const PACE: Duration = Duration::from_secs(1);
/// How often the origin is asked without a gateway: what the machine itself keeps waiting.
const PROBE_PACE: Duration = Duration::from_millis(20);
/// An answer that takes longer is none.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Plays with right.
    Holder,
    /// One too many.
    ThirdDevice,
    /// Asks the origin itself.
    Probe,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it was asked for.
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    /// 0: none came.
    pub(crate) status: u16,
    pub(crate) role: Role,
    pub(crate) account: usize,
}

/// All clients. Their tasks end when this is dropped.
#[derive(Default)]
pub(crate) struct Clients {
    samples: Arc<Mutex<Vec<Sample>>>,
    tasks: JoinSet<()>,
}

/// One player, with a connection that it keeps.
pub(crate) struct Player {
    target: SocketAddr,
    request: Vec<u8>,
    role: Role,
    account: usize,
    connection: Option<TcpStream>,
}

impl Sample {
    pub(crate) fn is_yes(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Clients {
    /// Every account gets a player at either gateway.
    pub(crate) fn start_holders(&mut self, gateways: &[Gateway], accounts: usize) {
        for n in 0..accounts {
            for (at, gateway) in gateways.iter().enumerate() {
                let player = Player::of(gateway, n, &format!("device-{at}"), Role::Holder);
                self.spawn(player, PACE, PACE.mul_f64(n as f64 / accounts as f64));
            }
        }
    }

    /// So many accounts get a third device, at one of the gateways.
    pub(crate) fn start_third_devices(&mut self, gateways: &[Gateway], third_devices: usize) {
        for n in 0..third_devices {
            // Every other pair, so that either gateway meets both kinds of identity.
            let gateway = &gateways[n / 2 % gateways.len()];
            let player = Player::of(gateway, n, "device-third", Role::ThirdDevice);
            self.spawn(player, PACE, PACE.mul_f64(n as f64 / third_devices as f64));
        }
    }

    /// Somebody asks the origin itself.
    pub(crate) fn probe(&mut self, origin: SocketAddr) {
        self.spawn(Player::nobody(origin, "/media/64b"), PROBE_PACE, Duration::ZERO);
    }

    fn spawn(&mut self, mut player: Player, pace: Duration, after: Duration) {
        let samples = self.samples.clone();
        self.tasks.spawn(async move {
            let mut ticks = interval_at(Instant::now() + after, pace);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let sample = player.ask().await;
                samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            }
        });
    }

    /// How many have asked so far, and got what they asked for.
    pub(crate) fn served(&self, role: Role) -> usize {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().filter(|sample| sample.role == role && sample.is_yes()).count()
    }

    /// What was asked between two moments.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().filter(|sample| from <= sample.at && sample.at < to).copied().collect()
    }
}

impl Player {
    /// A player that is told by its session.
    pub(crate) fn plain(gateway: &Gateway, path: &str, n: usize, session: &str) -> Self {
        Self::with(gateway, path, n, session, "")
    }

    /// A player that gives its playback a name.
    pub(crate) fn named(gateway: &Gateway, path: &str, n: usize, session: &str) -> Self {
        let field = format!("X-Playback-Session-Id: playback-{session}\r\n");
        Self::with(gateway, path, n, session, &field)
    }

    /// Somebody who asks for a path and shows nothing.
    pub(crate) fn nobody(target: SocketAddr, path: &str) -> Self {
        let request = http1::get(target, path, "");
        Self { target, request, role: Role::Probe, account: 0, connection: None }
    }

    fn with(gateway: &Gateway, path: &str, n: usize, session: &str, field: &str) -> Self {
        let fields = token::cookie(&token::good(&format!("account-{n}"), session)) + field;
        let request = http1::get(gateway.edge, path, &fields);
        Self { target: gateway.edge, request, role: Role::Holder, account: n, connection: None }
    }

    fn of(gateway: &Gateway, n: usize, device: &str, role: Role) -> Self {
        let account = format!("account-{n}");
        let token = token::good(&account, &format!("{account}-{device}"));
        let mut fields = token::cookie(&token);
        if n.is_multiple_of(2) {
            // Told by the player's own id; the others by their session.
            fields += &format!("X-Playback-Session-Id: playback-{n}-{device}\r\n");
        }
        let request = http1::get(gateway.edge, "/media/64b", &fields);
        Self { target: gateway.edge, request, role, account: n, connection: None }
    }

    pub(crate) async fn ask(&mut self) -> Sample {
        let at = Instant::now();
        let is_kept = self.connection.is_some();
        let mut status = timeout(ANSWER_MAX, self.exchange()).await;
        if is_kept && matches!(&status, Ok(Err(_))) {
            // A kept connection may be closed at any time; every player tries again.
            status = timeout(ANSWER_MAX, self.exchange()).await;
        }
        let status = status.ok().and_then(Result::ok).unwrap_or(0);
        Sample { at, took: at.elapsed(), status, role: self.role, account: self.account }
    }

    /// Asks once, on the connection that was kept or on a new one.
    pub(crate) async fn exchange(&mut self) -> io::Result<u16> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => TcpStream::connect(self.target).await?,
        };
        connection.write_all(&self.request).await?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if connection.read_buf(&mut bytes).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let head = http1::Head::parse(&bytes).map_err(|_| ErrorKind::InvalidData)?;
            if let Some(head) = head
                && head.length + head.body <= bytes.len()
            {
                self.connection = Some(connection).filter(|_| !head.closes);
                return Ok(head.status);
            }
        }
    }
}
