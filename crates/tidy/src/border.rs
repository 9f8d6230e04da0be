//! Which rooms may touch which crates and powers: a table, and the check of every path against it.
//! Order among our own rooms is `floor`'s; clippy.toml bans what nobody may touch.

use crate::finding::Finding;
use crate::import;
use crate::source::{Source, words};
use crate::tree::Tree;

/// One border: outside `rooms`, files below `land` may not write this path.
struct Border {
    /// A path or the beginning of one; a macro ends with `!`.
    name: &'static str,
    land: &'static str,
    rooms: &'static [&'static str],
    /// Beginnings of paths that everyone may write.
    free: &'static [&'static str],
    why: &'static str,
}

const GATEWAY: &str = "src/";
const ANYWHERE: &str = "";

/// Who conducts Pingora. Heads (`pingora::http`) are plain values and free to all.
const SEAM: &[&str] = &["proxy", "server", "edge", "upstream"];

const BORDERS: &[Border] = &[
    Border {
        name: "pingora",
        land: GATEWAY,
        rooms: SEAM,
        free: &["pingora::http"],
        why: "filters and parts decide over heads; only the seam holds Pingora's sessions",
    },
    seam("pingora_core"),
    seam("pingora_proxy"),
    seam("pingora_cache"),
    seam("pingora_load_balancing"),
    Border {
        name: "axum",
        land: GATEWAY,
        rooms: &["admin"],
        // Whoever owns the tasks serves the router that admin built.
        free: &["axum::serve", "axum::Router"],
        why: "the admin port is the one place with a web framework",
    },
    border("hickory_resolver", &["resolve"], "names are looked up in one place, with one policy"),
    border("reqwest", &["fetch"], "small documents are fetched bounded and timed in one place"),
    border(
        "redis",
        &["activity", "quota", "acme"],
        "what sessions, rates and certificates need of Redis is a room's each, leases have theirs",
    ),
    border("rustix", &["server"], "sockets are handed on where they are bound"),
    border("listenfd", &["server"], "sockets are taken over where they are bound"),
    border("sd_notify", &["server"], "who starts and stops the process tells systemd of it"),
    border("cel", &["expr"], "expressions are parsed when the configuration is compiled"),
    border("jsonwebtoken", &["session", "cli"], "a token is verified in one place only"),
    border("prometheus", &["metrics"], "every family, label and help text stands in one struct"),
    border("tokio::spawn", &["server", "edge", "main"], SPAWN),
    border("tokio::task::spawn", &["server", "edge", "main"], SPAWN),
    border("tokio::runtime::Builder", &["server", "edge", "main", "cli"], SPAWN),
    border("std::thread::spawn", &["server", "edge", "main"], SPAWN),
    border("std::thread::sleep", &[], "it stops a worker and every connection on it"),
    border("std::fs", FILED, FILES),
    border("tokio::fs", FILED, FILES),
    border("std::env", &["yaml", "cli", "main"], "the environment is read where it is parsed"),
    border("print!", &["cli", "main"], PRINT),
    border("println!", &["cli", "main"], PRINT),
    border("eprint!", &["cli", "main"], PRINT),
    border("eprintln!", &["cli", "main"], PRINT),
    wall_clock("std::time::SystemTime::now"),
    wall_clock("SystemTime::now"),
    wall_clock("jiff::Timestamp::now"),
    wall_clock("Timestamp::now"),
    Border {
        name: "std::time::Instant",
        land: ANYWHERE,
        rooms: &[],
        free: &[],
        why: "tokio::time::Instant obeys a paused clock, so every timer can be tested",
    },
    Border {
        name: "tokio::spawn",
        land: "crates/streamgate-lease/src/",
        rooms: &[],
        free: &[],
        why: "constructors start nothing; the program that uses the library owns the tasks",
    },
];

const SPAWN: &str = "constructors start nothing; those who own the process own every task";
/// `server` opens the access log; the others read what the configuration names.
const FILED: &[&str] = &["cli", "server", "config", "fetch"];

const FILES: &str =
    "files are opened where text becomes configuration, by `fetch`, and for the log";
const PRINT: &str = "the command line prints; all else is told through `observe`";

const fn border(name: &'static str, rooms: &'static [&'static str], why: &'static str) -> Border {
    Border { name, land: GATEWAY, rooms, free: &[], why }
}

const fn seam(name: &'static str) -> Border {
    border(name, SEAM, "filters and parts decide over heads; only the seam holds sessions")
}

const fn wall_clock(name: &'static str) -> Border {
    let why = "one clock file per crate reads the wall, so that tests can set it";
    Border { name, land: ANYWHERE, rooms: &["clock"], free: &[], why }
}

pub fn borders(tree: &Tree) -> Vec<Finding> {
    let pairs = BORDERS.iter().flat_map(|border| tree.rust().map(move |file| (border, file)));
    pairs.filter(|(border, file)| border.stands(file)).flat_map(crossings).collect()
}

impl Border {
    /// Whether the border holds for this file.
    fn stands(&self, file: &Source) -> bool {
        let in_land = file.path.starts_with(self.land);
        let inside = file.path.split_once("src/").map_or("", |(_, inside)| inside);
        let room = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        in_land && !self.rooms.contains(&room)
    }
}

fn crossings((border, file): (&Border, &Source)) -> Vec<Finding> {
    let crossed = if border.name.ends_with('!') {
        words(&file.code, border.name)
    } else {
        let head = border.name.split("::").next().unwrap_or(border.name);
        let paths = import::outward(file, head).into_iter();
        let crossed = paths.filter(|import| {
            let path = import.path.join("::");
            begins(&path, border.name) && !border.free.iter().any(|free| begins(&path, free))
        });
        crossed.map(|import| import.offset).collect()
    };
    let crossed = crossed.into_iter().filter(|at| !file.in_test(*at));
    crossed.map(|at| border.finding(file, at)).collect()
}

impl Border {
    fn finding(&self, file: &Source, at: usize) -> Finding {
        let right = match self.rooms {
            [] => self.why.to_owned(),
            rooms => format!("that is for {}: {}", rooms.join(", "), self.why),
        };
        let wrong = format!("`{}` is touched here", self.name);
        Finding { rule: "border", file: file.path.clone(), line: file.line(at), wrong, right }
    }
}

/// Whether `path` is `start` or goes on from it at a segment.
fn begins(path: &str, start: &str) -> bool {
    path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, lines: &[usize]) {
        let findings = borders(&Tree::sample(&[(path, text)]));
        let found: Vec<_> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(found, lines, "of {text}: {findings:?}");
    }

    #[test]
    fn crates_stay_in_their_rooms() {
        check("src/admin/api.rs", "use axum::Router;", &[]);
        check("src/proxy.rs", "\nuse axum::Json;", &[2]);
        check("src/server/task.rs", "use axum::Router; axum::serve(x, y)", &[]);
        check("src/filter/cors.rs", "use pingora::http::RequestHeader;", &[]);
        check("src/filter/cors.rs", "use pingora::{http::X,\n proxy::Session};", &[2]);
        check("src/upstream/peer.rs", "use pingora::upstreams::peer::HttpPeer;", &[]);
        check("src/activity/redis.rs", "use redis::Script;\nmod redis {}", &[]);
        check("src/filter/cors.rs", "#[cfg(test)]\nmod tests { use axum::X; }", &[]);
    }

    #[test]
    fn powers_stay_in_their_rooms() {
        check("src/session/keys.rs", "fn f() { tokio::spawn(g()); }", &[1]);
        check("src/session/keys.rs", "use tokio::{sync, spawn};", &[1]);
        check("src/server.rs", "fn f() { tokio::spawn(g()); }", &[]);
        check("src/units.rs", "println!(\"x\"); // eprintln!()", &[1]);
        check("crates/x/src/y.rs", "use std::time::{Duration, Instant};", &[1]);
        check("crates/x/src/y.rs", "use tokio::time::Instant; Instant::now();", &[]);
        check("upstreams/x/src/clock.rs", "SystemTime::now()", &[]);
        check("upstreams/x/src/app.rs", "SystemTime::now()", &[1]);
        check("crates/streamgate-lease/src/renewer.rs", "tokio::spawn(x)", &[1]);
    }
}
