//! What tokens and sticky cookies take up in the addresses and cookies of a whole gateway: a prefix
//! that no route may want for itself, and names that no two may share.

use crate::config::Config;
use crate::problem::Problem;
use crate::request::PATH_TOKEN_PREFIX;
use crate::units::Text;
use crate::yaml::At;

/// The cookies that are for the gateway alone: those of stream tokens, and of sticky upstreams.
pub(super) fn own_cookies(config: &Config) -> Vec<String> {
    let cookies = config.sections.cookies().into_iter();
    let of_streams = cookies.filter(|cookie| cookie.of_stream.is_some()).map(|cookie| cookie.name);
    of_streams.chain(sticky(config).map(|name| name.0.as_str())).map(str::to_owned).collect()
}

/// These, and every other cookie that holds a token.
pub(super) fn withheld_cookies(config: &Config) -> Vec<String> {
    let cookies = config.sections.cookies().into_iter().map(|cookie| cookie.name);
    cookies.chain(sticky(config).map(|name| name.0.as_str())).map(str::to_owned).collect()
}

/// The cookies by which upstreams are sticky.
fn sticky(config: &Config) -> impl Iterator<Item = &At<Text>> {
    config.upstreams.values().filter_map(|upstream| upstream.cookie())
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
    for name in sticky(config) {
        if known.contains(&name.0.as_str()) {
            let text = format!("the cookie `{}` is used for something else already", name.0);
            problems.push(name.problem(text).help("give this one a name of its own"));
        }
        known.push(&name.0);
    }
    problems
}
