//! The paths that code writes, made absolute: `use` trees are unfolded and `super` is resolved.
//! It says what is written, not what it means; names that a `use` brought in are not followed.

use crate::source::{Source, body, skip_blank, word_at, words};

/// A path as written somewhere in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    /// Its segments; those of our own crate without the leading `crate`.
    pub path: Vec<String>,
    pub offset: usize,
}

/// Every path into the file's own crate; `module` is where the file stands in it.
pub fn inward(source: &Source, module: &[String]) -> Vec<Import> {
    let mut imports = outward(source, "crate");
    for import in &mut imports {
        import.path.remove(0);
    }
    // `pub(crate)` is a path of nothing.
    imports.retain(|import| !import.path.is_empty());
    imports.extend(upward(source, module));
    imports
}

/// Every path that begins with the crate `name`.
pub fn outward(source: &Source, name: &str) -> Vec<Import> {
    let code = &source.code;
    let starts = words(code, name).into_iter().filter(|at| !code[..*at].ends_with("::"));
    starts.flat_map(|at| unfold(code, at, &[])).collect()
}

/// Paths that begin with `super`, however often it is said.
fn upward(source: &Source, module: &[String]) -> Vec<Import> {
    let code = &source.code;
    let mut imports = Vec::new();
    for at in words(code, "super") {
        if code[..at].ends_with("::") || !code[at..].starts_with("super::") {
            continue;
        }
        let mut here = module.to_vec();
        here.extend(inline_modules(code, at));
        let mut rest = at;
        while code[rest..].starts_with("super::") {
            here.pop();
            rest += "super::".len();
        }
        imports.extend(unfold(code, rest, &here));
    }
    imports
}

/// The names of the `mod x { … }` blocks around `at`.
fn inline_modules(code: &str, at: usize) -> Vec<String> {
    let starts = words(code, "mod").into_iter().take_while(|start| *start < at);
    let around = starts.filter_map(|start| {
        let (name, from) = word_at(code, skip_blank(code, start + 3))?;
        let block = body(code, from)?;
        block.contains(&at).then(|| name.to_owned())
    });
    around.collect()
}

/// `a::{b, c::d}` at `at` gives `a::b` and `a::c::d`.
fn unfold(code: &str, at: usize, stem: &[String]) -> Vec<Import> {
    let (mut path, offset, mut at) = (stem.to_vec(), at, at);
    loop {
        if code[at..].starts_with('{') {
            return unfold_group(code, at, &path);
        }
        let Some((word, _)) = word_at(code, at) else {
            if code[at..].starts_with('*') {
                path.push("*".to_owned());
            }
            return vec![Import { path, offset }];
        };
        path.push(word.to_owned());
        at += word.len();
        if !code[at..].starts_with("::") {
            return vec![Import { path, offset }];
        }
        at += 2;
    }
}

fn unfold_group(code: &str, open: usize, stem: &[String]) -> Vec<Import> {
    let mut imports = Vec::new();
    let (mut depth, mut fresh) = (0_usize, false);
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && fresh && !byte.is_ascii_whitespace() && !b",}".contains(&byte) {
            imports.extend(unfold(code, at, stem));
            fresh = false;
        }
        fresh = fresh || (depth == 1 && b"{,".contains(&byte));
    }
    imports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let source = Source::parse("src/filter/cors.rs", text);
        let module = ["filter".to_owned(), "cors".to_owned()];
        let imports = inward(&source, &module);
        let paths: Vec<_> = imports.iter().map(|import| import.path.join("::")).collect();
        assert_eq!(paths, expected, "of {text}");
    }

    #[test]
    fn paths_are_made_absolute() {
        check("use crate::units::Bytes;", &["units::Bytes"]);
        check("use crate::{a, b::{C, d::E as F}, g::*};", &["a", "b::C", "b::d::E", "g::*"]);
        check("fn f() -> crate::x::Y { crate::z::w::<u8>() }", &["x::Y", "z::w"]);
        check("use super::session::Session;", &["filter::session::Session"]);
        check("use super::super::proxy;", &["proxy"]);
        check("mod tests { use super::*; }", &["filter::cors::*"]);
        check("// crate::no\nlet x = \"crate::no\"; pub(crate) fn f() {}", &[]);
    }

    #[test]
    fn other_crates_are_unfolded_too() {
        let source = Source::parse("src/a.rs", "use tokio::{spawn, time::sleep}; mytokio::x();");
        let paths: Vec<_> =
            outward(&source, "tokio").into_iter().map(|i| i.path.join("::")).collect();
        assert_eq!(paths, ["tokio::spawn", "tokio::time::sleep"]);
    }
}
