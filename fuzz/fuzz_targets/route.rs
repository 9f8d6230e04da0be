//! Any templates and any path: the table finds a route that takes the path, or none.
//! The input: templates, one a line; the last line is the path.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::problem::Place;
use streamgate::request::Request;
use streamgate::route::{Candidate, Conditions, Host, Table, Template};

const ROUTES_MAX: usize = 16;

fuzz_target!(|text: &str| {
    let (templates, path) = text.rsplit_once('\n').unwrap_or(("/{*rest}", text));
    let lines = templates.lines().take(ROUTES_MAX);
    let candidates: Vec<_> = lines.filter_map(candidate).collect();
    let Ok(head) = http::Request::get(path).header("host", "tv.example.com").body(()) else {
        return;
    };
    let (parts, ()) = head.into_parts();
    let Ok(request) = Request::read(&parts) else { return };
    let is_catch_all = candidates.iter().any(|(candidate, _)| candidate.path == "/{*rest}");
    let table = Table::new(candidates);
    let found = table.find(&request).is_ok();
    assert!(found || !is_catch_all, "`/{{*rest}}` takes every path");
});

/// The first word is the template; a second one is its host.
fn candidate(line: &str) -> Option<(Candidate, ())> {
    let (path, host) = line.split_once(' ').unwrap_or((line, ""));
    let template = Template::parse(path).ok()?;
    let hosts = if host.is_empty() { Vec::new() } else { vec![Host::parse(host).ok()?] };
    let is_everywhere = hosts.is_empty();
    let candidate = Candidate {
        name: "fuzz".to_owned(),
        place: Place::default(),
        hosts,
        template,
        path: if is_everywhere { path.to_owned() } else { String::new() },
        conditions: Conditions::default(),
    };
    Some((candidate, ()))
}
