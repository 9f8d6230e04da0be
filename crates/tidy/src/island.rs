//! What lives on its own stays so: upstreams know nothing of ours, the lease library knows no
//! gateway, and a file that nobody declares is not left lying about.

use crate::finding::Finding;
use crate::source::{Source, words};
use crate::tree::Tree;

/// A folder and the crates that it may not name.
struct Island {
    folder: &'static str,
    strangers: &'static [&'static str],
    why: &'static str,
}

const ISLANDS: &[Island] = &[
    Island {
        folder: "upstreams/",
        strangers: &["streamgate", "streamgate_lease", "demo"],
        why: "a contract is proven by someone who shares no code with the other side",
    },
    Island {
        folder: "crates/streamgate-lease/",
        strangers: &["streamgate", "pingora", "axum", "jsonwebtoken", "serde_yaml", "http"],
        why: "leases are of use without the gateway: no HTTP, no tokens, no YAML here",
    },
];

pub fn strangers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for island in ISLANDS {
        for file in tree.below(island.folder) {
            for stranger in island.strangers {
                findings.extend(island.seen(file, stranger));
            }
        }
    }
    findings
}

impl Island {
    fn seen(&self, file: &Source, stranger: &str) -> Option<Finding> {
        let at = if file.is_rust() {
            let code = &file.code;
            words(code, stranger)
                .into_iter()
                .find(|at| code[at + stranger.len()..].starts_with("::"))
        } else if file.path.ends_with("Cargo.toml") {
            dependency(&file.text, stranger)
        } else {
            None
        }?;
        Some(Finding {
            rule: "island",
            file: file.path.clone(),
            line: file.line(at),
            wrong: format!("{} knows `{stranger}`", self.folder.trim_end_matches('/')),
            right: self.why.to_owned(),
        })
    }
}

/// Where a manifest names the crate as a dependency, in either spelling.
fn dependency(manifest: &str, name: &str) -> Option<usize> {
    let mut at = 0;
    for line in manifest.split_inclusive('\n') {
        let end = line.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
        let key = line[..end.unwrap_or(line.len())].replace('-', "_");
        let is_entry = line[end.unwrap_or(0)..].trim_start().starts_with(['=', '.']);
        if key == name && is_entry {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// Every module file is declared by its parent; an undeclared one is not even compiled.
pub fn orphans(tree: &Tree) -> Vec<Finding> {
    let lost = tree.rust().filter(|file| {
        let parents: Vec<_> = parents(file).iter().filter_map(|path| tree.file(path)).collect();
        let declares = |parent: &&Source| parent.children().iter().any(|(n, _)| *n == file.stem());
        !parents.is_empty() && !parents.iter().any(declares)
    });
    let said = lost.map(|file| Finding {
        rule: "island",
        file: file.path.clone(),
        line: 1,
        wrong: "no `mod` line declares this file, so it is not compiled".to_owned(),
        right: format!("declare `mod {};` in its parent, or remove it", file.stem()),
    });
    said.collect()
}

/// The files that could declare this one.
fn parents(file: &Source) -> Vec<String> {
    let Some((folder, name)) = file.path.rsplit_once('/') else {
        return Vec::new();
    };
    if matches!(name, "lib.rs" | "main.rs") {
        return Vec::new();
    }
    vec![format!("{folder}.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, lines: &[usize]) {
        let findings = strangers(&Tree::sample(&[(path, text)]));
        let found: Vec<_> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(found, lines, "of {path}: {text}");
    }

    #[test]
    fn islands_know_no_strangers() {
        check("upstreams/auth/src/lib.rs", "\nuse streamgate::units::Secret;", &[2]);
        check("upstreams/auth/src/lib.rs", "let h = \"x-streamgate-account\";", &[]);
        check("upstreams/auth/Cargo.toml", "[dependencies]\nstreamgate-lease = \"1\"\n", &[2]);
        check("upstreams/auth/Cargo.toml", "[dependencies]\ndemo.workspace = true\n", &[2]);
        check("upstreams/auth/Cargo.toml", "description = \"for streamgate = x\"", &[]);
        check("crates/streamgate-lease/src/a.rs", "use streamgate_lease::Lease;", &[]);
        check("crates/streamgate-lease/Cargo.toml", "name = \"streamgate-lease\"\n", &[]);
    }

    #[test]
    fn orphans_are_found() {
        let tree = Tree::sample(&[
            ("src/lib.rs", "mod a;"),
            ("src/a.rs", "mod b;"),
            ("src/a/b.rs", ""),
            ("src/a/c.rs", ""),
            ("src/main.rs", ""),
            ("tests/it/main.rs", "mod x;"),
            ("tests/it/x.rs", ""),
            ("tests/it/y.rs", ""),
            ("benches/route.rs", ""),
        ]);
        let lost: Vec<_> = orphans(&tree).into_iter().map(|finding| finding.file).collect();
        assert_eq!(lost, ["src/a/c.rs", "tests/it/y.rs"]);
    }
}
