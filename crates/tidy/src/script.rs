//! Lua that runs in the store: each script says what it takes and gives, and has one caller.
//! What a script does is proven by the tests of its caller.

use crate::finding::Finding;
use crate::source::Source;
use crate::tree::Tree;

/// What the comment at the head of a script must speak of.
const HEAD: &[&str] = &["KEYS", "ARGV", "Returns"];

pub fn heads(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for script in tree.ending(".lua") {
        let comments = script.text.lines().take_while(|line| line.starts_with("--"));
        let head: String = comments.collect::<Vec<_>>().join("\n");
        for word in HEAD.iter().filter(|word| !head.contains(**word)) {
            let wrong = format!("the head does not speak of `{word}`");
            let right = "open with a comment: KEYS, ARGV, Returns, cost, invariant";
            findings.push(finding(script, 1, wrong, right));
        }
    }
    findings
}

pub fn callers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for script in tree.ending(".lua") {
        let callers: Vec<_> = tree.rust().filter(|file| embeds(file, script)).collect();
        if callers.len() != 1 {
            let wrong = format!("{} Rust files embed this script", callers.len());
            let right = "it lies beside the one file that embeds it with `include_str!`";
            findings.push(finding(script, 1, wrong, right));
        }
    }
    findings
}

/// Lua is a file with a head, not a Rust string.
pub fn strings(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        for call in ["redis.call(", "redis.pcall("] {
            // What is spoken but is no code is a literal.
            let places = file.spoken.match_indices(call).map(|(at, _)| at);
            for at in places.filter(|at| file.code.as_bytes()[*at] == b' ' && !file.in_test(*at)) {
                let wrong = "Lua in a Rust string".to_owned();
                let right = "put it into a `.lua` file beside this one";
                findings.push(finding(file, file.line(at), wrong, right));
            }
        }
    }
    findings
}

/// Whether `file` includes `script`, by a path relative to its own folder.
fn embeds(file: &Source, script: &Source) -> bool {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let included = file.spoken.split("include_str!(").skip(1);
    let mut paths = included.filter_map(|rest| rest.trim_start().split('"').nth(1));
    paths.any(|path| join(folder, path) == script.path)
}

fn join(folder: &str, path: &str) -> String {
    let mut steps: Vec<&str> = folder.split('/').filter(|step| !step.is_empty()).collect();
    for step in path.split('/') {
        match step {
            ".." => drop(steps.pop()),
            "." => {}
            step => steps.push(step),
        }
    }
    steps.join("/")
}

fn finding(file: &Source, line: usize, wrong: String, right: &str) -> Finding {
    Finding { rule: "script", file: file.path.clone(), line, wrong, right: right.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADED: &str = "-- KEYS[1] the set\n-- ARGV[1] now\n-- Returns 1\nreturn 1\n";

    fn check(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)], wrong: &[&str]) {
        let findings = rule(&Tree::sample(files));
        let said: Vec<_> = findings.iter().map(|finding| finding.wrong.as_str()).collect();
        assert_eq!(said, wrong);
    }

    #[test]
    fn a_script_has_its_head() {
        check(heads, &[("a.lua", HEADED)], &[]);
        check(
            heads,
            &[("a.lua", "-- KEYS\n-- Returns\nlocal x = ARGV[1]")],
            &["the head does not speak of `ARGV`"],
        );
    }

    #[test]
    fn a_script_has_one_caller() {
        let call = "const A: &str = include_str!(\"redis/acquire.lua\");";
        let script = ("src/store/redis/acquire.lua", HEADED);
        check(callers, &[script, ("src/store/redis.rs", "")], &["0 Rust files embed this script"]);
        check(callers, &[script, ("src/store/redis.rs", call)], &[]);
        let other = ("src/b/c.rs", "include_str!(\n    \"../store/redis/acquire.lua\")");
        check(
            callers,
            &[script, ("src/store/redis.rs", call), other],
            &["2 Rust files embed this script"],
        );
    }

    #[test]
    fn lua_is_no_string() {
        check(
            strings,
            &[("src/a.rs", "f(\"return redis.call('GET')\")")],
            &["Lua in a Rust string"],
        );
        check(strings, &[("src/a.rs", "redis.call(x)")], &[]);
    }
}
