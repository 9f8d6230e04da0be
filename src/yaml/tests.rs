use super::*;
use crate::problem::Report;
use crate::units::{Count, Time};
use proptest::prelude::*;

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
fn each_problem_says_where_and_what_would_be_right() {
    let cases = [
        ("ttl: 30\n", (1, 6), "a time needs a unit | seconds are written `30s`"),
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
fn all_problems_are_reported_at_once() {
    let source = "ttl: 5\nnamed:\n  a: x\n  b: 0\n  a: 1\nother: 1\n";
    let problems = parse::<Shape>(source, &Environment::default()).expect_err("five mistakes");
    let mut lines: Vec<u32> = problems.iter().filter_map(|p| Some(p.at?.line)).collect();
    lines.sort_unstable();
    assert_eq!(lines, [1, 3, 4, 5, 6], "{problems:#?}");
}

/// Texts that are nearly YAML, nearly variables and nearly anything.
fn nearly() -> impl Strategy<Value = String> {
    let pieces = [
        "ttl", ": ", "30s", "\n", "  ", "- ", "{", "}", "[", "]", "\"", "'", "${", "$${", ":-",
        ":?", "A", "#", "&a ", "*a", "<<", "\t", "ö", "\u{0}", "|", "pepper: ", "://", "@",
        "named", ",",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..24)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_reading_or_reporting_panic(source in prop_oneof![nearly(), ".{0,40}"]) {
        let env = Environment::default().with("A", "1");
        if let Err(problems) = parse::<Shape>(&source, &env) {
            prop_assert!(!problems.is_empty());
            let report = Report::new("g.yaml", source.as_str(), problems).to_string();
            prop_assert!(report.ends_with("warnings"), "{report}");
        }
    }

    #[test]
    fn a_text_without_variables_is_filled_in_as_it_is(text in "[^$]*") {
        prop_assert_eq!(environment::fill(&text), text.as_str());
    }

    #[test]
    fn a_variable_is_filled_in_wherever_it_stands(
        before in "[^$]{0,9}",
        after in "[^$]{0,9}",
        value in "[^$]{0,9}",
    ) {
        let env = Environment::default().with("NAME", value.as_str());
        let written = format!("{before}${{NAME}}{after}");
        let filled = env.during(|| environment::fill(&written).into_owned());
        prop_assert_eq!(filled, format!("{before}{value}{after}"));
    }
}
