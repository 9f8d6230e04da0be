//! What a rewrite makes of paths, and what can't be loaded.

use super::*;
use crate::route::tests::candidates;
use crate::route::{Candidate, Table};
use crate::yaml::{self, Environment};
use http::request::Parts;
use proptest::prelude::*;

#[derive(Debug, Deserialize, JsonSchema)]
struct File {
    rewrite: Rewrite,
}

fn rewrite(written: &str) -> Rewrite {
    let yaml = format!("rewrite: {written}\n");
    yaml::parse::<File>(&yaml, &Environment::default()).expect(written).rewrite
}

fn candidate(path: &str) -> Candidate {
    let yaml = format!("routes:\n  - {{ name: a, match: {{ path: '{path}' }} }}\n");
    candidates(&yaml).remove(0)
}

fn head(target: &str) -> Parts {
    http::Request::get(target).header("host", "h").body(()).expect("a request").into_parts().0
}

/// What the upstream of a route with this path is asked for.
fn rewritten(path: &str, written: &str, target: &str) -> Option<String> {
    let candidate = candidate(path);
    let rewriting = rewrite(written).compile(&candidate.template).expect(written);
    let table = Table::new(vec![(candidate, ())]);
    let head = head(target);
    let request = Request::read(&head).expect("a good request");
    let found = table.find(&request).expect(target);
    rewriting.target(&request, &found.captures)
}

fn check(path: &str, written: &str, target: &str, expected: &str) {
    assert_eq!(rewritten(path, written, target).as_deref(), Some(expected), "{written} {target}");
}

#[test]
fn a_beginning_is_left_out_or_replaced() {
    let strip = "{ strip: /live }";
    check("/live/{*file}", strip, "/live/a/b.ts?x=1", "/a/b.ts?x=1");
    check("/live/{*file}", strip, "/live/", "/");
    check("/live/{*file}", strip, "/live", "/");
    check("/live/{*file}", strip, "/live/%2e%2e/live/a", "/a");
    check("/live/{*file}", strip, "/live/..hidden", "/..hidden");
    check("/api/v1/{id}", "{ strip: /api }", "/api/v1/7", "/v1/7");
    check("/a/b", "{ strip: /a/b }", "/a/b", "/");
    let prefix = "{ prefix: { from: /live, to: /v2/tv } }";
    check("/live/{*file}", prefix, "/live/a", "/v2/tv/a");
    check("/live/{*file}", prefix, "/live", "/v2/tv");
    check("/live/{*file}", prefix, "/live/", "/v2/tv/");
    check("/live/{*file}", "{ prefix: { from: /live, to: / } }", "/live/a", "/a");
}

#[test]
fn a_whole_path_is_put_together() {
    let path = "/live/{event}/{*file}";
    check(path, "{ path: '/e/{event}/{*file}' }", "/live/final/a/b.ts", "/e/final/a/b.ts");
    check(path, "{ path: '/e/{event}/{*file}' }", "/live/final", "/e/final");
    check(path, "{ path: '/e/{event}/{*file}' }", "/live/final/", "/e/final/");
    check(path, "{ path: '/{*file}' }", "/live/final", "/");
    check(path, "{ path: '/index' }", "/live/final/a?x", "/index?x");
    check("/{*all}", "{ path: '/b/{*all}' }", "/", "/b/");
}

#[test]
fn a_query_is_changed_by_names() {
    let written = "{ query: { set: { a: '1' }, remove: [ token ] } }";
    check("/{*rest}", written, "/x?token=t&b=2&a=9&token=", "/x?b=2&a=1");
    check("/{*rest}", written, "/x", "/x?a=1");
    check("/{*rest}", "{ query: { remove: token } }", "/x?token=t", "/x");
    check("/{*rest}", "{ query: { remove: token } }", "/x?tokens=t&&b", "/x?tokens=t&b");
    check("/{*rest}", written, "/x?%74oken=t&toke%6E&%61=9&b+c=1", "/x?b+c=1&a=1");
    check("/{*rest}", "{ query: { remove: 'b%20c' } }", "/x?b+c=1&b%20c&bc", "/x?bc");
    assert_eq!(rewritten("/{*rest}", "{ host: origin.example }", "/x?a"), None);
}

#[test]
fn what_could_leave_the_normal_form_is_not_loaded() {
    let says = |path: &str, written: &str, says: &str| {
        let told = rewrite(written).compile(&candidate(path).template).err().unwrap_or_default();
        let told: Vec<String> = told.iter().map(|problem| problem.text.clone()).collect();
        assert!(told.iter().any(|text| text.contains(says)), "{written}: {told:?}");
    };
    let path = "/live/{event}/{*file}";
    for written in
        ["/a/..", "/a//b", "/%2e%2e", "/a%2fb", "a", "//evil.example", "https://a/b", "/a?b"]
    {
        for way in ["{ path: '@' }", "{ prefix: { from: /live, to: '@' } }", "{ strip: '@' }"] {
            says(path, &way.replace('@', written), "");
        }
    }
    says(path, "{ strip: /liv }", "do not begin with `/liv`");
    says(path, "{ strip: /live/final }", "do not begin with");
    says(path, "{ strip: /live/ }", "the slash at the end");
    says(path, "{ strip: / }", "no beginning");
    says(path, "{ strip: '/live/{event}' }", "parameters stand in `path`");
    says(path, "{ path: '/a/{file}' }", "takes the rest");
    says(path, "{ path: '/a/{*event}' }", "takes one segment");
    says(path, "{ path: '/a/{evnt}' }", "no parameter `evnt`");
    says(path, "{ path: '/a{event}' }", "half text");
    says(path, "{ strip: /live, path: /a }", "another way");
    for host in ["a b", "https://a", "a/b", "u@a", "a:", "", "a,b"] {
        says(path, &format!("{{ host: '{host}' }}"), "not a host");
    }
    says(path, "{ query: { set: { 'a&b': x } } }", "can't be the name");
    says(path, "{ query: { set: { a: 'x y' } } }", "can't stand in a query");
    says(path, "{ query: { set: { a: x }, remove: a } }", "twice");
    says(path, "{ query: { set: { a: x }, remove: '%61' } }", "twice");
}

proptest! {
    #[test]
    fn every_rewritten_path_is_in_its_normal_form(
        target in "/live/[a-z.%2fe/;]{0,16}",
        way in prop::sample::select(vec![
            "{ strip: /live }",
            "{ prefix: { from: /live, to: /x } }",
            "{ path: '/{*file}' }",
            "{ path: '/a/{event}/b/{*file}' }",
        ]),
    ) {
        let candidate = candidate("/live/{event}/{*file}");
        let rewriting = rewrite(way).compile(&candidate.template).expect("a rewrite");
        let table = Table::new(vec![(candidate, ())]);
        let Ok(uri) = target.parse::<http::Uri>() else { return Ok(()) };
        let head = head(&uri.to_string());
        let Ok(request) = Request::read(&head) else { return Ok(()) };
        if request.check_encoded_slash(false).is_err() {
            return Ok(());
        }
        let Ok(found) = table.find(&request) else { return Ok(()) };
        let target = rewriting.target(&request, &found.captures).expect("it is rewritten");
        let normal = normalise(&target).expect("a path");
        prop_assert_eq!(normal.as_ref(), target.as_str());
    }
}
