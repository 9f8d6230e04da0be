use super::*;
use crate::units::{Count, Time};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shape {
    ttl: At<Time>,
    #[serde(default)]
    named: Entries<At<Count>>,
}

fn wrong(source: &str) -> (u32, u32, String) {
    let env = Environment::default().with("SECRET", "hidden");
    let problems = parse::<Shape>(source, &env).expect_err(source);
    let at = problems[0].at.unwrap_or_default();
    let help = problems[0].help.clone().unwrap_or_default();
    (at.line, at.column, format!("{} | {help}", problems[0].text))
}

#[test]
fn values_know_their_place() {
    let source = "ttl: 30s\nnamed:\n  a: 3\n  b: \"${N:-7}\"\n";
    let shape: Shape = parse(source, &Environment::default()).expect("a good file");
    assert_eq!(shape.ttl.place, Place { line: 1, column: 6, length: 3 });
    let named: Vec<_> = shape.named.iter().map(|(n, c)| (n.as_str(), n.place.line, c.0)).collect();
    assert_eq!(named, [("a", 3, 3), ("b", 4, 7)]);
}

#[test]
fn each_misfit_says_where_and_what_would_be_right() {
    let cases = [
        ("ttl: 30\n", (1, 6), "a time needs a unit | write a time"),
        ("ttl: thirty\n", (1, 6), "`thirty` is not a time"),
        ("ttl: 30s\nttk: 1\n", (2, 1), "unknown key `ttk` | did you mean `ttl`?"),
        ("ttl: 30s\nttl: 1s\n", (2, 1), "`ttl` stands here twice, first on line 1"),
        ("named: {}\n", (0, 0), "`ttl` is missing | add `ttl: …`"),
        ("ttl: 30s\nnamed: {a: 0}\n", (2, 12), "`0` is not a number"),
        ("ttl: ${SECRET}\n", (1, 6), "`${SECRET}` is not a time"),
        ("ttl: [\n", (1, 6), "never closed"),
    ];
    for (source, at, text) in cases {
        let (line, column, said) = wrong(source);
        assert_eq!((line, column), at, "{source}{said}");
        assert!(said.contains(text), "{source}{said}");
        assert!(!said.contains("hidden"), "{said}");
    }
}

#[test]
fn all_misfits_are_told_at_once() {
    let source = "ttl: 5\nnamed:\n  a: x\n  b: 0\n  a: 1\nother: 1\n";
    let problems = parse::<Shape>(source, &Environment::default()).expect_err("five mistakes");
    let mut lines: Vec<u32> = problems.iter().filter_map(|p| Some(p.at?.line)).collect();
    lines.sort_unstable();
    assert_eq!(lines, [1, 3, 4, 5, 6], "{problems:#?}");
}
