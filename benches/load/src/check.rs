//! What must hold before anything is measured: a fast proxy that lets everybody in is no gateway.

use std::io;
use std::net::SocketAddr;

use crate::client::Client;
use crate::gateway::LIMIT;
use crate::origin::{BODIES, byte_at};
use crate::store::{Store, calls_between};
use crate::token::{self, cookie};

/// Requests with a live lease that must not reach the store.
const QUIET_REQUESTS: usize = 1000;

/// What did not hold, in words; empty is good.
#[derive(Debug, Default)]
pub struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, holds: bool, else_say: impl FnOnce() -> String) {
        if !holds {
            self.0.push(else_say());
        }
    }

    fn status(&mut self, what: &str, wanted: u16, got: u16) {
        self.expect(wanted == got, || format!("{what}: expected {wanted}, got {got}"));
    }

    /// An error that lists everything, if there is anything.
    pub fn verdict(self, who: &str) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(io::Error::other(format!("{who} failed its checks:\n  {}", self.0.join("\n  "))))
    }
}

/// Every body arrives as the origin sent it, byte by byte, all on one connection.
pub fn bodies(target: SocketAddr) -> io::Result<Findings> {
    let mut findings = Findings::default();
    let mut client = Client::connect(target)?;
    for (name, size) in BODIES {
        let answer = client.get(&format!("/plain/{name}"), "")?;
        findings.status(name, 200, answer.status);
        let right = answer.body.iter().copied().eq((0..size).map(byte_at));
        findings.expect(right, || format!("{name}: the body is not the origin's"));
    }
    Ok(findings)
}

/// Who has no valid token is refused, on a connection that stays usable; nobody can say who they
/// are by a header of their own.
pub fn sessions(target: SocketAddr) -> io::Result<Findings> {
    let mut findings = Findings::default();
    let mut client = Client::connect(target)?;
    let bad = [
        ("no token", String::new()),
        ("garbage", cookie("garbage")),
        ("a forged signature", cookie(&token::forged("check", "s1"))),
        ("another token's signature", cookie(&token::swapped("check", "s1"))),
        ("an expired token", cookie(&token::expired("check", "s1"))),
    ];
    for (what, headers) in bad {
        findings.status(what, 401, client.get("/session/64b", &headers)?.status);
    }
    let good = cookie(&token::good("check", "s1"));
    for _ in 0..2 {
        findings.status("a good token", 200, client.get("/session/64b", &good)?.status);
    }
    let claimed = format!("{good}X-Streamgate-Account: somebody-else\r\n");
    let seen = client.get("/session/echo", &claimed)?.body;
    let seen = String::from_utf8_lossy(&seen).to_lowercase();
    findings.expect(client.reconnections() == 0, || "a refusal closed the connection".into());
    findings.expect(!seen.contains("somebody-else"), || "a claimed identity went upstream".into());
    findings.expect(!seen.contains("session="), || "the token went upstream".into());
    let is_sent = seen.contains("x-streamgate-session:");
    findings.expect(is_sent, || "the upstream did not get the session".into());
    Ok(findings)
}

/// An account may play as often as its limit says and not once more; while it plays, its requests
/// do not reach the store.
pub fn leases(target: SocketAddr, store: &Store) -> io::Result<Findings> {
    let mut findings = Findings::default();
    let mut client = Client::connect(target)?;
    for number in 1..=LIMIT {
        let good = cookie(&token::good("check-lease", &format!("s{number}")));
        let what = format!("stream {number} of {LIMIT}");
        findings.status(&what, 200, client.get("/lease/64b", &good)?.status);
    }
    let late = cookie(&token::good("check-lease", "one-too-many"));
    findings.status("one stream too many", 409, client.get("/lease/64b", &late)?.status);
    let playing = cookie(&token::good("check-lease", "s1"));
    let before = store.commands()?;
    for _ in 0..QUIET_REQUESTS {
        findings.status("a live stream", 200, client.get("/lease/64b", &playing)?.status);
    }
    let seen = client.get("/lease/echo", &playing)?.body;
    let seen = String::from_utf8_lossy(&seen).to_lowercase();
    let is_sent = seen.contains("x-streamgate-account:") && !seen.contains("check-lease");
    findings.expect(is_sent, || "the upstream did not get the account by its pseudonym".into());
    let calls = calls_between(&before, &store.commands()?);
    findings.expect(calls == 0, || {
        format!("{QUIET_REQUESTS} requests with a live lease made {calls} calls to the store")
    });
    Ok(findings)
}
