//! One file of the repository, with the views of it that rules need.
//! It knows which parts of a Rust file are tests; it does not know any rule.

use std::ops::Range;

use crate::mask::{self, Kind};

/// A text file. The views of a file that is not Rust are empty.
#[derive(Debug)]
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    /// Code alone: comments and literals are blank.
    pub code: String,
    /// Comments alone.
    pub comments: String,
    /// Code and literals.
    pub spoken: String,
    /// The whole file is a test, a bench, or the body of a test module.
    pub is_test: bool,
    test_parts: Vec<Range<usize>>,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Self {
        let rust = if path.ends_with(".rs") { text } else { "" };
        let kinds = mask::kinds(rust);
        let code = mask::keep(rust, &kinds, &[Kind::Code]);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            comments: mask::keep(rust, &kinds, &[Kind::Comment]),
            spoken: mask::keep(rust, &kinds, &[Kind::Code, Kind::Literal]),
            is_test: is_test_path(path),
            test_parts: test_parts(&code),
            code,
        }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The file's name without folder and extension.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.split('.').next().unwrap_or(name)
    }

    /// The line of a byte, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// Whether the byte belongs to a test.
    pub fn in_test(&self, offset: usize) -> bool {
        self.is_test || self.test_parts.iter().any(|part| part.contains(&offset))
    }

    /// How many lines are not tests.
    pub fn lines_to_read(&self) -> usize {
        if self.is_test {
            return 0;
        }
        let tests = self.test_parts.iter();
        let tested: usize = tests.map(|part| self.line(part.end) - self.line(part.start) + 1).sum();
        self.text.lines().count().saturating_sub(tested)
    }

    /// The names and offsets of `mod name;`.
    pub fn children(&self) -> Vec<(&str, usize)> {
        let code = &self.code;
        let names = words(code, "mod").into_iter().filter_map(|at| {
            let (name, start) = word_at(code, skip_blank(code, at + 3))?;
            let after = skip_blank(code, start + name.len());
            code[after..].starts_with(';').then_some((name, at))
        });
        names.collect()
    }
}

/// Tests by their place: `tests/`, `x/tests.rs`, `fuzz/`, and the micro benches in `benches/`.
/// A bench that is a program of its own is a program.
fn is_test_path(path: &str) -> bool {
    let mut steps = path.split('/');
    let bench = path.strip_prefix("benches/").is_some_and(|inside| !inside.contains('/'));
    bench || steps.any(|step| matches!(step, "tests" | "tests.rs" | "fuzz"))
}

/// The items under `#[cfg(test)]`.
fn test_parts(code: &str) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for mark in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (start, _) in code.match_indices(mark) {
            let end = item_end(code, start);
            parts.push(start..end);
        }
    }
    parts
}

/// The end of the item whose attributes begin at `at`.
fn item_end(code: &str, mut at: usize) -> usize {
    while code[at..].starts_with("#[") {
        at = skip_blank(code, block_end(code, at + 1));
    }
    body(code, at).map_or(code.len(), |body| body.end)
}

/// From the `{` that opens the item's body to behind its `}`; empty when the item ends with `;`.
pub fn body(code: &str, from: usize) -> Option<Range<usize>> {
    let mut at = from;
    while at < code.len() {
        match code.as_bytes()[at] {
            b'(' | b'[' => at = block_end(code, at),
            b'{' => return Some(at..block_end(code, at)),
            b';' => return Some(at..at + 1),
            _ => at += 1,
        }
    }
    None
}

/// Behind the bracket that closes the one at `open`.
pub fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Where `word` stands on its own.
pub fn words(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    // A word goes on only where word characters meet.
    let joins = |a: Option<&u8>, b: Option<&u8>| {
        a.is_some_and(|byte| mask::is_word(*byte)) && b.is_some_and(|byte| mask::is_word(*byte))
    };
    let alone = |at: &usize| {
        let end = at + word.len();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        !joins(before, bytes.get(*at)) && !joins(bytes.get(end - 1), bytes.get(end))
    };
    text.match_indices(word).map(|(at, _)| at).filter(alone).collect()
}

/// The word at `at` and where it starts; `None` if there is none.
pub fn word_at(code: &str, at: usize) -> Option<(&str, usize)> {
    let length = code.bytes().skip(at).take_while(|byte| mask::is_word(*byte)).count();
    (length > 0).then(|| (&code[at..at + length], at))
}

pub fn skip_blank(code: &str, at: usize) -> usize {
    at + code.bytes().skip(at).take_while(u8::is_ascii_whitespace).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_the_rest() {
        let text =
            "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let source = Source::parse("src/x.rs", text);
        assert_eq!(source.lines_to_read(), 2);
        let offset = |what| text.find(what).expect("it is in the sample");
        assert!(source.in_test(offset("fn b")));
        assert!(!source.in_test(offset("fn a")) && !source.in_test(offset("fn c")));
        assert!(Source::parse("crates/x/tests/it/y.rs", "").is_test);
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(words("spawn respawn spawn_all x.spawn(", "spawn"), [0, 26]);
    }

    #[test]
    fn children_are_declarations() {
        let source = Source::parse("src/lib.rs", "pub mod a;\nmod b;\nmod c { }\n");
        assert_eq!(source.children(), [("a", 4), ("b", 11)]);
    }
}
