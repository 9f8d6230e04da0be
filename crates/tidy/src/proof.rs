//! Tests do not wait and do not guess: no bare sleep, no port that someone else may hold.
//! Whether a test proves the right thing is for its reader.

use crate::finding::Finding;
use crate::size::{Function, functions_of};
use crate::source::{Source, words};
use crate::tree::Tree;

/// A sleep is a step of a paused clock, or one turn of a poll that has a deadline.
pub fn sleeps(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !is_paused(file)) {
        let functions = functions_of(file);
        let places = words(&file.code, "sleep(").into_iter().filter(|at| file.in_test(*at));
        for at in places.filter(|at| !is_bounded(file, &functions, *at)) {
            let wrong = "a test sleeps".to_owned();
            let right = "pause the clock, or poll until a `deadline`: a wait is a guess";
            findings.push(finding(file, at, wrong, right));
        }
    }
    findings
}

fn is_paused(file: &Source) -> bool {
    ["start_paused", "time::pause"].iter().any(|word| !words(&file.code, word).is_empty())
}

/// Whether a function around `at` knows when to give up.
fn is_bounded(file: &Source, functions: &[Function<'_>], at: usize) -> bool {
    let around = functions.iter().filter(|function| function.span.contains(&at));
    let mut bodies = around.map(|function| &file.code[function.span.clone()]);
    bodies.any(|body| body.to_lowercase().contains("deadline") || body.contains("timeout("))
}

/// Tests listen where the kernel says: port 0.
pub fn ports(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for verb in ["bind(", "listen(", "serve("] {
            let places = words(&file.code, verb).into_iter().filter(|at| file.in_test(*at));
            for at in places {
                let rest = &file.spoken[at..];
                let statement = &rest[..rest.find(';').unwrap_or(rest.len())];
                if let Some(port) = fixed_port(statement) {
                    let wrong = format!("a test listens on port {port}");
                    let right = "bind port 0 and ask which one the kernel gave";
                    findings.push(finding(file, at, wrong, right));
                }
            }
        }
    }
    findings
}

/// The port after a literal address, unless it is 0.
fn fixed_port(statement: &str) -> Option<u16> {
    let hosts = ["127.0.0.1", "0.0.0.0", "localhost", "[::1]", "[::]", "LOCALHOST"];
    let ports = hosts.iter().flat_map(|host| {
        statement.match_indices(host).map(|(at, _)| {
            let rest = statement[at + host.len()..].trim_start_matches(['"', ')', ':', ',', ' ']);
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..digits].parse().unwrap_or(0)
        })
    });
    ports.into_iter().find(|port| *port != 0)
}

fn finding(file: &Source, at: usize, wrong: String, right: &str) -> Finding {
    let (path, line) = (file.path.clone(), file.line(at));
    Finding { rule: "proof", file: path, line, wrong, right: right.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&Tree) -> Vec<Finding>, text: &str, count: usize) {
        let inline = format!("#[cfg(test)]\nmod tests {{ {text} }}");
        for (path, text) in [("tests/it/a.rs", text), ("src/a.rs", &inline)] {
            let findings = rule(&Tree::sample(&[(path, text)]));
            assert_eq!(findings.len(), count, "of {text}: {findings:?}");
        }
    }

    #[test]
    fn a_bare_sleep_is_found() {
        check(sleeps, "fn a() { sleep(x).await; }", 1);
        check(sleeps, "fn a() { std::thread::sleep(x); }", 1);
        check(sleeps, "fn a() { while now() < deadline { sleep(x).await; } }", 0);
        check(sleeps, "fn a() { while now() < begun + DEADLINE { sleep(x).await; } }", 0);
        check(sleeps, "#[tokio::test(start_paused = true)] fn a() { sleep(x).await; }", 0);
        assert!(sleeps(&Tree::sample(&[("src/a.rs", "fn a() { sleep(x).await; }")])).is_empty());
    }

    #[test]
    fn a_fixed_port_is_found() {
        check(ports, "fn a() { TcpListener::bind(\"127.0.0.1:8080\"); }", 1);
        check(ports, "fn a() { TcpListener::bind((\"localhost\", 8080)); }", 1);
        check(ports, "fn a() { TcpListener::bind(\"127.0.0.1:0\"); }", 0);
        check(ports, "fn a() { TcpListener::bind((Ipv4Addr::LOCALHOST, 0)); }", 0);
        check(ports, "fn a() { parse(\"127.0.0.1:8080\"); }", 0);
    }
}
