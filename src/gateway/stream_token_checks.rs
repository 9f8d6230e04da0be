//! What stream tokens take up in the addresses and cookies of a whole gateway: a prefix that no
//! route may want for itself, and names that no two may share.

use crate::config::Config;
use crate::problem::Problem;
use crate::request::PATH_TOKEN_PREFIX;

/// The cookies of stream tokens.
pub(super) fn stream_cookies(config: &Config) -> Vec<String> {
    let cookies = config.sections.cookies().into_iter();
    let of_streams = cookies.filter(|cookie| cookie.of_stream.is_some());
    of_streams.map(|cookie| cookie.name.to_owned()).collect()
}

/// Every cookie that holds a token.
pub(super) fn token_cookies(config: &Config) -> Vec<String> {
    config.sections.cookies().iter().map(|cookie| cookie.name.to_owned()).collect()
}

/// Routes below the prefix of tokens, and cookies with one name.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.sections.takes_path_tokens() {
        let paths = config.routes.iter().map(|route| route.r#match.path());
        let taken = paths.filter(|path| path.0.starts_with(PATH_TOKEN_PREFIX));
        problems.extend(taken.map(|path| {
            let text = "`/s/…` holds stream tokens, so no request ever has this path";
            path.problem(text).help("choose another path, or `carry: cookie` in the policy")
        }));
    }
    let cookies = config.sections.cookies();
    let others = cookies.iter().filter(|cookie| cookie.of_stream.is_none());
    let mut known: Vec<&str> = others.map(|cookie| cookie.name).collect();
    for (name, place) in cookies.iter().filter_map(|c| Some((c.name, c.of_stream?))) {
        if known.contains(&name) {
            let text = format!("another token is kept in the cookie `{name}` already");
            let help = "give this one a name of its own: `cookie: { name: … }`";
            problems.push(Problem::at(place, text).help(help));
        }
        known.push(name);
    }
    problems
}
