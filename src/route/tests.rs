use super::*;
use crate::request::Request;
use crate::yaml::{Environment, parse};
use http::Request as Head;

#[derive(Deserialize, JsonSchema)]
struct Routes {
    routes: Vec<Named>,
}

#[derive(Deserialize, JsonSchema)]
struct Named {
    name: String,
    r#match: Match,
}

fn candidates(yaml: &str) -> Vec<Candidate> {
    let routes: Routes = parse(yaml, &Environment::default()).expect("good YAML");
    let compile = |named: &Named| named.r#match.compile(&named.name).expect("a good match");
    routes.routes.iter().map(compile).collect()
}

fn find(yaml: &str, method: &str, uri: &str) -> String {
    let named = candidates(yaml).into_iter().map(|c| (c.clone(), c.name)).collect();
    let table = Table::new(named);
    let head = Head::builder().method(method).uri(uri).body(()).expect("a request");
    let head = head.into_parts().0;
    let request = Request::read(&head).expect("a good request");
    match table.find(&request) {
        Ok((name, captures)) => {
            let params = (0..PARAMS_MAX).map_while(|i| captures.text(i, &request.path));
            let params: Vec<&str> = params.collect();
            match params.is_empty() {
                true => name.clone(),
                false => format!("{name} {}", params.join(" ")),
            }
        }
        Err(Miss::NoRoute) => "-".to_owned(),
        Err(Miss::Method(allowed)) => format!("{allowed:?}"),
    }
}

const TABLE: &str = "
routes:
  - { name: any, match: { path: '/{*rest}' } }
  - { name: live, match: { path: '/live/{event}/{*file}' } }
  - { name: final, match: { path: '/live/final/{*file}' } }
  - { name: beta, match: { path: '/live/{event}/{*file}', header: { x-beta: '1' } } }
  - { name: tv, match: { host: tv.example.com, path: '/{*rest}' } }
  - { name: below, match: { host: '*.example.com', path: '/live/{*rest}' } }
  - { name: deep, match: { host: '*.b.example.com', path: '/live/{*rest}' } }
  - { name: post, match: { path: /form, method: [POST, PUT] } }
  - { name: v2, match: { path: /q, query: { v: '2' } } }
  - { name: q, match: { path: /q } }
  - { name: only, match: { host: api.org, path: '/x/{id}', method: GET } }
";

#[test]
fn the_most_specific_route_wins() {
    for (uri, expected) in [
        ("http://a/live/derby/x/y.ts", "live derby x/y.ts"),
        ("http://a/live/final/x.ts", "final x.ts"),
        ("http://a/live/final", "final "),
        ("http://a/live", "any live"),
        ("http://a/", "any "),
        ("http://tv.example.com/live/final/x", "tv live/final/x"),
        ("http://c.example.com/live/final/x", "below final/x"),
        ("http://a.b.example.com/live/x", "deep x"),
        ("http://example.com/live/final/x", "final x"),
        ("http://c.example.com/other", "any other"),
        ("http://a/q?v=2", "v2"),
        ("http://a/q?v=3", "q"),
        ("http://a/live//x.ts", "final "),
    ] {
        let expected = if uri.contains("live//x") { "live x.ts " } else { expected };
        assert_eq!(find(TABLE, "GET", uri), expected, "{uri}");
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    assert_eq!(find(TABLE, "POST", "http://a/form"), "post");
    assert_eq!(find(TABLE, "GET", "http://a/form"), "any form");
    assert_eq!(find(TABLE, "HEAD", "http://api.org/x/1"), "only 1");
    let alone = "routes: [{ name: a, match: { path: /a, method: GET } }]";
    assert_eq!(find(alone, "DELETE", "http://h/a"), "[GET]");
    assert_eq!(find(alone, "GET", "http://h/b"), "-");
}

#[test]
fn a_tie_names_both_lines() {
    let yaml = "routes:\n  - { name: a, match: { path: '/x/{id}' } }\n  \
                - { name: b, match: { path: '/x/{other}' } }\n";
    let problems = conflicts(&candidates(yaml));
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].at.expect("a place").line, 3);
    assert!(problems[0].text.contains("route `a` on line 2"), "{}", problems[0].text);
}

#[test]
fn routes_that_exclude_one_another_do_not_tie() {
    let yaml = "
routes:
  - { name: a, match: { path: /x, method: GET } }
  - { name: b, match: { path: /x, method: POST } }
  - { name: c, match: { path: /x, host: h.org } }
  - { name: d, match: { path: /y, header: { v: '1' } } }
  - { name: e, match: { path: /y, header: { v: '2' } } }
";
    assert_eq!(conflicts(&candidates(yaml)), []);
}
