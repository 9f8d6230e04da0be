//! Settings of a route that mean something only beside others: what concerns an upstream needs one,
//! and what concerns the rest of a path needs a path with a rest.

use super::End;
use crate::chain::Chain;
use crate::config::{Config, Route};
use crate::filter::Fact;
use crate::problem::Problem;
use crate::route::{EncodedSlash, Template};
use crate::upstream::{HashKey, Protocol};

/// All problems of the settings of `route`. That its end exists is checked where it is compiled.
pub(super) fn problems(route: &Route, config: &Config) -> Vec<Problem> {
    [timeouts(route), websocket(route, config), encoded_slash(route), rewrite(route)]
        .into_iter()
        .flatten()
        .collect()
}

/// A warning, if no request of the route has what its upstream tells requests apart by.
pub(super) fn keyless(route: &Route, end: &End, chain: &Chain) -> Option<Problem> {
    let End::Upstream(upstream) = end else { return None };
    let (what, fact, filter) = match upstream.hash_key()? {
        HashKey::Account => ("account", Fact::Session, "session"),
        HashKey::Stream => ("stream", Fact::Lease, "concurrency"),
        HashKey::Path | HashKey::Header(_) | HashKey::Cookie(_) | HashKey::Capture(_) => {
            return None;
        }
    };
    let name = route.upstream.as_ref().filter(|_| !chain.provides(fact))?;
    let text =
        format!("upstream `{}` is balanced by {what}, which this route does not know", name.0);
    let help = format!("add a filter `{filter}`; without it requests go to the least busy");
    Some(name.problem(text).help(help).warning())
}

/// The place of the part of the path by which the upstream of the route tells requests apart. A
/// warning, if the path has no such part.
pub(super) fn capture(
    route: &Route,
    end: &End,
    template: &Template,
) -> Result<Option<usize>, Problem> {
    let End::Upstream(upstream) = end else { return Ok(None) };
    let Some(HashKey::Capture(part)) = upstream.hash_key() else { return Ok(None) };
    let place = template.params().position(|param| param == part.0);
    let Some(name) = route.upstream.as_ref().filter(|_| place.is_none()) else { return Ok(place) };
    let text = format!(
        "upstream `{}` is balanced by `{{{}}}`, which the path of this route does not have",
        name.0, part.0
    );
    let help = "name that part in `path`; without it requests go to the least busy";
    Err(name.problem(text).help(help).warning())
}

fn timeouts(route: &Route) -> Option<Problem> {
    let timeouts = route.timeouts.as_ref().filter(|_| route.upstream.is_none())?;
    let text = format!("route `{}` has `timeouts` and asks no upstream", route.name.0);
    Some(timeouts.problem(text).help("remove `timeouts`, or lead the route to an `upstream`"))
}

fn rewrite(route: &Route) -> Option<Problem> {
    let rewrite = route.rewrite.as_ref()?;
    if route.upstream.is_none() {
        let text = format!("route `{}` has `rewrite` and asks no upstream", route.name.0);
        let help = "remove `rewrite`, or lead the route to an `upstream`";
        return Some(rewrite.problem(text).help(help));
    }
    rewrite.is_empty().then(|| {
        let help = "write `strip: /live`, `prefix: …`, `path: …`, `host: …` or `query: …`";
        rewrite.problem("nothing is rewritten here").help(help).of_absence()
    })
}

fn websocket(route: &Route, config: &Config) -> Option<Problem> {
    let websocket = Some(&route.websocket).filter(|websocket| websocket.value)?;
    let Some(name) = &route.upstream else {
        let text = format!("route `{}` has `websocket: true` and asks no upstream", route.name.0);
        return Some(websocket.problem(text).help("remove it, or lead the route to an `upstream`"));
    };
    let mut upstreams = config.upstreams.iter();
    let (_, upstream) = upstreams.find(|(known, _)| known.value == name.0)?;
    (upstream.protocol.value != Protocol::Http1).then(|| {
        let text = format!("upstream `{}` speaks HTTP/2, which makes no WebSocket", name.0);
        websocket.problem(text).help("lead the route to an upstream with `protocol: http1`")
    })
}

fn encoded_slash(route: &Route) -> Option<Problem> {
    let setting = route.encoded_slash.as_ref()?;
    // A path that is none is told where it is compiled.
    let template = Template::parse(&route.r#match.path().0).ok()?;
    (setting.value == EncodedSlash::Pass && !template.is_prefix()).then(|| {
        let text = "`encoded_slash: pass` needs a path that is fixed text before its `{*rest}`";
        let help = "a `%2F` in another part could be read as a slash there: write the path as \
                    `/media/{*rest}`";
        setting.problem(text).help(help)
    })
}
