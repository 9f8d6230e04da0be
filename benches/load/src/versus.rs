//! The gateway against the floor: every scenario, with its checks before it.

use std::io;
use std::path::{Path, PathBuf};

use crate::bench::Process;
use crate::client::Client;
use crate::contest::{self, Contender, Effort, Load};
use crate::environment::Environment;
use crate::multiplexed::Streams;
use crate::peers::Peer;
use crate::secure::Handshake;
use crate::token::{cookie, good};
use crate::{check, http1, http2, idle, report};

/// Accounts that play at the same time, each with one session.
const ACCOUNTS: usize = 10_000;
/// As many as there are connections: what is known of them is near. The difference to the many is
/// what memory costs.
const FEW: usize = 64;
/// Connections that only wait.
const WAITING: usize = 5_000;

/// A scenario: a name for the command line, a load, and what to ask.
struct Scenario {
    name: &'static str,
    title: &'static str,
    path: &'static str,
    accounts: usize,
    rate: Option<f64>,
    reconnect: bool,
    workers: usize,
    /// The client's handshake where all but the floor are asked by TLS.
    tls: Option<Handshake>,
    /// By HTTP/2 where all but the floor are.
    streams: Option<Streams>,
}

const fn scenario(name: &'static str, title: &'static str, path: &'static str) -> Scenario {
    Scenario {
        name,
        title,
        path,
        accounts: 0,
        rate: None,
        reconnect: false,
        workers: 1,
        tls: None,
        streams: None,
    }
}

impl Scenario {
    /// Whether other proxies can do the same.
    fn has_peers(&self) -> bool {
        self.accounts == 0 && self.rate.is_none() && self.workers == 1
    }

    /// Whether the contender of this name takes part. A gateway of before had neither tokens nor
    /// TLS.
    fn is_for(&self, name: &str) -> bool {
        match name {
            "before" => self.path != TOKEN && self.tls.is_none(),
            "floor" | "streamgate" => true,
            _ => self.has_peers(),
        }
    }
}

/// What is put beside the floor.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The gateway.
    pub gateway: PathBuf,
    /// The gateway before a change.
    pub before: Option<PathBuf>,
}

const SMALL: &str = "/plain/64b";
const SESSION: &str = "/session/64b";
const LEASE: &str = "/lease/64b";
/// Behind a token in the path, which each account is given first.
const TOKEN: &str = "/token/64b";
const FIRST_OF_TOKEN: &str = "/token/first.m3u8";

const SCENARIOS: &[Scenario] = &[
    scenario("small", "plain route, 64 B", SMALL),
    scenario("segment", "plain route, 64 KiB", "/plain/64k"),
    scenario("large", "plain route, 1 MiB", "/plain/1m"),
    Scenario {
        accounts: ACCOUNTS,
        ..scenario("session", "session (HS256, remembered), 64 B", SESSION)
    },
    Scenario { accounts: ACCOUNTS, ..scenario("lease", "session and live lease, 64 B", LEASE) },
    Scenario {
        accounts: FEW,
        ..scenario("lease-few", "session and live lease of 64 viewers, 64 B", LEASE)
    },
    Scenario {
        accounts: ACCOUNTS,
        ..scenario("token", "session, stream token in the path and live lease, 64 B", TOKEN)
    },
    Scenario {
        accounts: ACCOUNTS,
        ..scenario("lease-segment", "session and live lease, 64 KiB", "/lease/64k")
    },
    Scenario {
        reconnect: true,
        ..scenario("reconnect", "plain route, a new connection per request, 64 B", SMALL)
    },
    Scenario { tls: Some(Handshake::Full), ..scenario("tls", "TLS 1.3 kept alive, 64 B", SMALL) },
    Scenario {
        tls: Some(Handshake::Full),
        ..scenario("tls-segment", "TLS 1.3 kept alive, 64 KiB", "/plain/64k")
    },
    Scenario {
        tls: Some(Handshake::Full),
        reconnect: true,
        ..scenario("tls-full", "TLS 1.3, a full handshake per request, 64 B", SMALL)
    },
    Scenario {
        tls: Some(Handshake::Resumed),
        reconnect: true,
        ..scenario("tls-resumed", "TLS 1.3, a resumed handshake per request, 64 B", SMALL)
    },
    Scenario {
        tls: Some(Handshake::Full),
        streams: Some(Streams { count: 100, body: 64 }),
        ..scenario("h2", "HTTP/2 by TLS 1.3, 4 connections of 100 streams, 64 B", SMALL)
    },
    Scenario {
        rate: Some(4000.0),
        ..scenario("small-latency", "plain route, 64 B, 4,000/s", SMALL)
    },
    Scenario {
        rate: Some(3000.0),
        accounts: 1000,
        ..scenario("lease-latency", "session and live lease, 64 B, 3,000/s", LEASE)
    },
    Scenario { workers: 2, ..scenario("small-two", "plain route, 64 B, two workers", SMALL) },
    Scenario {
        workers: 2,
        accounts: ACCOUNTS,
        ..scenario("lease-two", "session and live lease, 64 B, two workers", LEASE)
    },
];

/// Runs the scenarios named in `only`, or all; then waiting connections.
pub fn run(
    environment: &Environment,
    programs: &Programs,
    effort: Effort,
    only: &[String],
) -> io::Result<()> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let alone = environment.gateway(&programs.gateway, 1)?;
    check::bodies(alone.address)?.verdict("the gateway")?;
    check::sessions(alone.address)?.verdict("the gateway")?;
    check::leases(alone.address, &environment.store)?.verdict("the gateway")?;
    eprintln!("checks passed");
    drop(alone);
    for workers in [1, 2] {
        let mine = |one: &&Scenario| wanted(one.name) && one.workers == workers;
        let scenarios: Vec<_> = SCENARIOS.iter().filter(mine).collect();
        if scenarios.is_empty() {
            continue;
        }
        let mut running = vec![("floor", environment.floor("floor", &[], workers)?)];
        running.push(("streamgate", environment.gateway(&programs.gateway, workers)?));
        if let Some(before) = &programs.before {
            running.push(("before", environment.older_gateway(before, workers)?));
        }
        if workers == 1 && scenarios.iter().any(|scenario| scenario.has_peers()) {
            for peer in Peer::ALL {
                running.extend(environment.peer(peer)?.map(|process| (peer.name(), process)));
            }
        }
        check::bodies(running[0].1.address)?.verdict("the floor")?;
        for scenario in scenarios {
            play(environment, scenario, &running, effort)?;
        }
    }
    for (name, is_secure) in [("waiting", false), ("waiting-tls", true)] {
        if wanted(name) {
            waiting(environment, &programs.gateway, is_secure)?;
        }
    }
    Ok(())
}

fn play(
    environment: &Environment,
    scenario: &Scenario,
    running: &[(&str, Process)],
    effort: Effort,
) -> io::Result<()> {
    eprintln!("{}", scenario.name);
    let mut contenders = Vec::new();
    for (name, process) in running.iter().filter(|(name, _)| scenario.is_for(name)) {
        let is_floor = *name == "floor";
        let streams = scenario.streams.filter(|_| !is_floor);
        let requests = match streams {
            None => requests(scenario, process, is_floor)?,
            Some(_) => vec![http2::get("localhost", scenario.path)],
        };
        // Each has a client of its own: a ticket of one is worth nothing to the next.
        let certificate = &environment.certificate;
        let handshake = scenario.tls.filter(|_| !is_floor);
        let client = handshake.map(|handshake| certificate.client(handshake, streams.is_some()));
        let client = client.transpose()?;
        let name = (*name).to_owned();
        contenders.push(Contender { name, process, client, streams, requests });
    }
    if scenario.accounts > 0 {
        contenders.iter().skip(1).try_for_each(meet)?;
    }
    let load = Load {
        name: format!("{} (`{}`)", scenario.title, scenario.name),
        connections: 64,
        reconnect: scenario.reconnect,
        rate: scenario.rate,
    };
    let processes: Vec<_> = running.iter().map(|(_, process)| process).collect();
    let ours = environment.process_ids(&processes);
    let scores = contest::run(&load, &contenders, &ours, Some(&environment.store), effort)?;
    match scenario.rate {
        None => report::costs(&load, &scores),
        Some(_) => report::latencies(&load, &scores),
    }
    Ok(())
}

/// What one contender is asked. For the floor a token in the path is nothing but a longer path.
fn requests(scenario: &Scenario, process: &Process, is_floor: bool) -> io::Result<Vec<Vec<u8>>> {
    let ask = |path: &str, headers: &str| http1::get(process.address, path, headers);
    if scenario.accounts == 0 {
        let close = if scenario.reconnect { "Connection: close\r\n" } else { "" };
        return Ok(vec![ask(scenario.path, close)]);
    }
    let mut client = Client::connect(process.address)?;
    let of = |number: usize| {
        let cookie = cookie(&good(&format!("viewer-{number}"), &format!("s{number}")));
        if scenario.path != TOKEN {
            return Ok(ask(scenario.path, &cookie));
        }
        let first = match is_floor {
            true => format!("/s/{number:050}{FIRST_OF_TOKEN}"),
            false => begin(&mut client, &cookie)?,
        };
        Ok(ask(&first.replace(FIRST_OF_TOKEN, TOKEN), &cookie))
    };
    (0..scenario.accounts).map(of).collect()
}

/// Asks for a playlist, and gets the address that the rest of the stream hangs on.
fn begin(client: &mut Client, cookie: &str) -> io::Result<String> {
    let answer = client.get(FIRST_OF_TOKEN, cookie)?;
    let location = answer.location.filter(|_| answer.status == 307);
    location.ok_or_else(|| io::Error::other(format!("no token: {}", answer.status)))
}

/// Every account once: tokens are known and leases are held before anything is measured.
fn meet(contender: &Contender<'_>) -> io::Result<()> {
    let mut client = Client::connect(contender.process.address)?;
    for request in &contender.requests {
        let status = client.ask(request)?.status;
        if status != 200 {
            let name = &contender.name;
            return Err(io::Error::other(format!("{name} answered an account with {status}")));
        }
    }
    Ok(())
}

/// Processes that have done nothing before; the floor has no TLS.
fn waiting(environment: &Environment, gateway: &Path, is_secure: bool) -> io::Result<()> {
    let certificate = &environment.certificate;
    let tls = is_secure.then(|| certificate.client(Handshake::Full, false)).transpose()?;
    let mut running = Vec::new();
    if !is_secure {
        running.push(("floor", environment.floor("floor", &[], 1)?));
    }
    running.push(("streamgate", environment.gateway(gateway, 1)?));
    for peer in Peer::ALL {
        running.extend(environment.peer(peer)?.map(|process| (peer.name(), process)));
    }
    let weigh = |(name, process): &(_, Process)| {
        Ok((*name, idle::weigh(process, WAITING, SMALL, tls.as_ref())?))
    };
    let weighed: Vec<_> = running.iter().map(weigh).collect::<io::Result<_>>()?;
    let title = match is_secure {
        false => "5,000 waiting connections (`waiting`)",
        true => "5,000 waiting connections by TLS (`waiting-tls`)",
    };
    report::idle(title, &weighed);
    Ok(())
}
