use super::*;
use crate::request::Request;
use crate::yaml::{Environment, parse};
use http::Request as Head;
use proptest::prelude::*;

#[derive(Deserialize, JsonSchema)]
struct Routes {
    routes: Vec<Named>,
}

#[derive(Deserialize, JsonSchema)]
struct Named {
    name: String,
    r#match: Match,
}

pub(super) fn candidates(yaml: &str) -> Vec<Candidate> {
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
        Ok(Found { route: name, captures, .. }) => {
            let params = (0..PARAMS_MAX).map_while(|i| captures.text(i, &request.path));
            let params: Vec<&str> = params.collect();
            match params.is_empty() {
                true => name.clone(),
                false => format!("{name} {}", params.join(" ")),
            }
        }
        Err(Miss::NoRoute) => "-".to_owned(),
        Err(Miss::Method(allowed, _)) => format!("{allowed:?}"),
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
fn each_route_tells_why_it_lost() {
    let named = candidates(TABLE).into_iter().map(|c| (c.clone(), c.name)).collect();
    let table = Table::new(named);
    let head = Head::builder().method("POST").uri("http://tv.example.com/live/final/x").body(());
    let head = head.expect("a request").into_parts().0;
    let considered = table.considered(&Request::read(&head).expect("a good request"), &head.method);
    let told: Vec<String> = considered
        .iter()
        .map(|one| match &one.lost {
            Some(lost) => format!("{}: {lost}", one.route),
            None => format!("{}: taken", one.route),
        })
        .collect();
    let lost = |name: &str| told.iter().find(|line| line.starts_with(&format!("{name}:")));
    for (name, why) in [
        ("tv", "taken"),
        ("any", "another route is more specific"),
        ("final", "another route is more specific"),
        ("beta", "the header field `x-beta` differs"),
        ("v2", "the path differs"),
        ("only", "the host differs"),
        ("deep", "the host differs"),
    ] {
        assert_eq!(lost(name), Some(&format!("{name}: {why}")), "{told:?}");
    }
    assert_eq!(considered.len(), 11);
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

/// A route out of few hosts, segments and conditions, so that many of them are related.
fn candidate() -> impl Strategy<Value = String> {
    let host = proptest::sample::select(&["", "a.b", "'*.b'", "'*.a.b'", "[a.b, c.d]"][..]);
    let segment = proptest::sample::select(&["x", "y", "{p}", ""][..]);
    let last = proptest::sample::select(&["x", "{q}", "{*r}", ""][..]);
    let method = proptest::sample::select(&["", "GET", "POST"][..]);
    let path = (proptest::collection::vec(segment, 0..3), last).prop_map(|(mut segments, last)| {
        segments.retain(|segment| !segment.is_empty());
        segments.dedup_by(|a, b| *a == "{p}" && a == b);
        format!("/{}", segments.into_iter().chain([last]).collect::<Vec<_>>().join("/"))
    });
    (host, path, method).prop_map(|(host, path, method)| {
        let mut written = format!("path: '{path}'");
        for (key, value) in [("host", host), ("method", method)] {
            if !value.is_empty() {
                written.push_str(&format!(", {key}: {value}"));
            }
        }
        written
    })
}

/// The routes of these matches; those with a parameter twice are left out.
fn compiled(matches: &[String]) -> Vec<Candidate> {
    let routes = matches.iter().enumerate().filter(|(_, m)| m.matches("{p}").count() < 2);
    let lines = routes.map(|(i, m)| format!("  - {{ name: r{i}, match: {{ {m} }} }}\n"));
    let yaml = format!("routes:\n{}", lines.collect::<String>());
    if yaml.contains("name:") { candidates(&yaml) } else { Vec::new() }
}

proptest! {
    #[test]
    fn precedence_is_a_total_order(matches in proptest::collection::vec(candidate(), 3..6)) {
        let all = compiled(&matches);
        for a in &all {
            for b in &all {
                prop_assert_eq!(a.cmp_precedence(b), b.cmp_precedence(a).reverse());
                for c in &all {
                    let is_chain = a.cmp_precedence(b).is_le() && b.cmp_precedence(c).is_le();
                    prop_assert!(!is_chain || a.cmp_precedence(c).is_le());
                }
            }
        }
    }

    #[test]
    fn routes_between_which_nothing_decides_are_told(
        matches in proptest::collection::vec(candidate(), 2..5),
    ) {
        let all = compiled(&matches);
        let is_tie = |a: &Candidate, b: &Candidate| {
            a.cmp_precedence(b).is_eq() && !a.conditions.exclude(&b.conditions)
        };
        let later = |i: usize| &all[i + 1..];
        let ties = all.iter().enumerate();
        let ties = ties.map(|(i, a)| later(i).iter().filter(|b| is_tie(a, b)).count());
        let ties: usize = ties.sum();
        prop_assert!(ties <= conflicts(&all).len());
    }

    #[test]
    fn a_route_that_matches_by_itself_is_found(
        matches in proptest::collection::vec(candidate(), 1..6),
        host in proptest::sample::select(&["a.b", "c.b", "x.a.b", "c.d"][..]),
        path in "(/[xyz]?){1,4}",
        method in proptest::sample::select(&["GET", "HEAD", "POST"][..]),
    ) {
        let all = compiled(&matches);
        prop_assume!(conflicts(&all).is_empty());
        let table = Table::new(all.into_iter().map(|c| (c.clone(), c.name)).collect());
        let head = Head::builder().method(method).uri(format!("http://{host}{path}")).body(());
        let head = head.expect("a request").into_parts().0;
        let request = Request::read(&head).expect("a good request");
        // It asserts that what matches best by itself is what the search finds.
        let considered = table.considered(&request, request.method);
        let first = considered.iter().find(|one| {
            matches!(one.lost, None | Some(Lost::LessSpecific))
        });
        let found = table.find(&request).ok().map(|found| found.route.clone());
        prop_assert_eq!(first.is_some(), found.is_some(), "{:?}", considered);
    }

    #[test]
    fn no_text_makes_a_template_panic(text in ".{0,30}", path in "[/a-z{}*%._2f-]{0,20}") {
        let _ = Host::parse(&text);
        for text in [text, path] {
            if let Ok(template) = Template::parse(&text) {
                prop_assert!(template.params().count() <= PARAMS_MAX);
                prop_assert_eq!(template.segments.len(), text.matches('/').count());
            }
        }
    }
}

#[test]
fn what_may_be_a_secret_is_shown_nowhere() {
    let yaml = "routes: [ { name: a, match: { path: /a, header: { apikey: k3y, x-any: '*' }, \
                query: { v: '2', token: '${PARTNER}' } } } ]";
    let env = Environment::default().with("PARTNER", "k3y-of-a-partner");
    let routes: Routes = parse(yaml, &env).expect("good YAML");
    let asked = &routes.routes[0].r#match;
    let candidate = asked.compile("a").expect("a good match");
    let shown = candidate.conditions.describe();
    assert_eq!(shown, ["apikey: ***", "x-any: any", "?v=2", "?token=***"]);
    let json = serde_json::to_string(asked).expect("JSON");
    assert!(!json.contains("k3y") && json.contains("***"), "{json}");
    assert!(!format!("{asked:?}").contains("k3y"), "{asked:?}");
    // It is compared all the same.
    let head = |uri: &str, key: &str| {
        Head::builder()
            .uri(uri)
            .header("apikey", key)
            .header("x-any", "1")
            .body(())
            .expect("a head")
    };
    for (uri, key, holds) in [
        ("http://h/a?v=2&token=k3y-of-a-partner", "k3y", true),
        ("http://h/a?v=2&token=other", "k3y", false),
        ("http://h/a?v=2&token=k3y-of-a-partner", "***", false),
    ] {
        let head = head(uri, key).into_parts().0;
        let request = Request::read(&head).expect("a good request");
        assert_eq!(candidate.conditions.hold_but_for_method(&request), holds, "{uri} {key}");
    }
}
