//! What begins a playback on each route: its `starts`, compiled against its path, and policies that
//! nothing could ever begin a stream of.

use crate::config::{self, Config};
use crate::filter;
use crate::problem::Problem;
use crate::request::{Glob, Starts};
use crate::route::{Candidate, Template};
use crate::units::Text;
use crate::yaml::At;

/// The most patterns of one route; each request for no media may be held against all.
const PATTERNS_MAX: usize = 32;

/// The `starts` of a route. A pattern must be able to match some path that the route takes.
pub(super) fn compile(
    route: &config::Route,
    candidate: Option<&Candidate>,
) -> Result<Starts, Vec<Problem>> {
    let Some(written) = route.starts.as_ref().map(|starts| starts.whole()) else {
        return Ok(Starts::Usual);
    };
    if written.is_empty() {
        let problem = written.problem("with an empty `starts` no playback ever begins");
        let help = "leave `starts` out to go by what playlists are usually called";
        return Err(vec![problem.help(help).of_absence()]);
    }
    if let Some(further) = written.get(PATTERNS_MAX) {
        let text = format!("a route has at most {PATTERNS_MAX} patterns in `starts`");
        return Err(vec![further.problem(text).help("let one `*` stand for several of them")]);
    }
    let mut problems = Vec::new();
    let mut patterns = Vec::new();
    for text in written.iter() {
        match pattern(text, candidate) {
            Ok(pattern) => patterns.push(pattern),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(Starts::Named(patterns.into())) } else { Err(problems) }
}

fn pattern(text: &At<Text>, candidate: Option<&Candidate>) -> Result<Glob, Problem> {
    let pattern = Glob::parse(&text.0).map_err(|(wrong, help)| text.problem(wrong).help(help))?;
    match candidate.filter(|candidate| !pattern.meets(&candidate.template.as_glob())) {
        None => Ok(pattern),
        Some(candidate) => {
            let wrong = format!(
                "`{}` matches no path of the route, which takes `{}`",
                text.value, candidate.path
            );
            Err(text.problem(wrong).help("patterns are over the whole path: `*.m3u8`, `*/live/*`"))
        }
    }
}

/// `starts` that nobody asks about, and policies that no path of any route begins a stream of.
pub(super) fn warnings(config: &Config) -> Vec<Problem> {
    let idle = config.routes.iter().filter(|route| policy_of(route).is_none());
    let idle = idle.filter_map(|route| {
        let starts = route.starts.as_ref()?.whole();
        let text =
            format!("route `{}` has `starts`, and no filter of it counts streams", route.name.0);
        Some(starts.problem(text).help("add `- concurrency: …`, or remove `starts`").warning())
    });
    let mut problems: Vec<Problem> = idle.collect();
    for (name, policy) in config.sections.concurrency.iter() {
        let Some([only]) = policy.identity.as_ref().map(|sources| sources.value.as_slice()) else {
            continue;
        };
        let routes = || config.routes.iter().filter(|route| policy_of(route) == Some(&name.value));
        if only.token().is_none() || routes().next().is_none() || routes().any(may_start) {
            continue;
        }
        let text = format!(
            "policy `{}` knows streams by their tokens alone, and no path of its routes begins one",
            name.value
        );
        let help = "say which paths are playlists: `starts: [\"*/playlist\"]` on their route; \
                    without it the upstream is asked first, and its media type decides";
        problems.push(only.problem(text).help(help).warning());
    }
    problems
}

/// The name of the policy that counts the streams of a route.
fn policy_of(route: &config::Route) -> Option<&String> {
    route.filters.iter().find_map(|filter| match filter.bare() {
        filter::Config::Concurrency(chosen) => Some(&chosen.policy().0),
        _ => None,
    })
}

/// Whether a path of this route may begin a stream. What is no path at all is told elsewhere.
fn may_start(route: &At<config::Route>) -> bool {
    let template = Template::parse(&route.r#match.path().0);
    route.starts.is_some()
        || template.map_or(true, |template| Starts::Usual.meet(&template.as_glob()))
}
