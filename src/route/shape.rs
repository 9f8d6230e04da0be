//! What parts of a path must look like: `{id:[0-9]+}`, and `{*file}.m3u8` for what it ends with.
//!
//! They are conditions, as `method` is one: a path with more of them is tried first, and of two
//! about which nobody can say that they differ, none wins.

use super::misfit::Misfit;
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;

/// How long a pattern may be, in bytes.
const PATTERN_BYTES_MAX: usize = 256;

/// How much memory a compiled pattern may take, in bytes.
const COMPILED_BYTES_MAX: usize = 256 * 1024;

/// What the parameters of a path must look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// By the number of the parameter.
    patterns: Vec<(usize, Pattern)>,
    /// What stands behind the rest; empty for nothing.
    suffix: String,
}

/// A pattern that all of a segment must meet.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Shape {
    /// Takes the patterns and the suffix out of a path, which is a template without them.
    pub(super) fn split(path: &str) -> Result<(Cow<'_, str>, Shape), Misfit> {
        let mut shape = Shape::default();
        if !path.contains([':', '}']) {
            return Ok((Cow::Borrowed(path), shape));
        }
        let (mut plain, mut params) = (Vec::new(), 0);
        let count = path.split('/').count();
        for (number, segment) in path.split('/').enumerate() {
            let bare = match (patterned(segment), ending(segment)) {
                (Some((name, pattern)), _) => {
                    shape.patterns.push((params, Pattern::parse(name, pattern)?));
                    format!("{{{name}}}")
                }
                (None, Some((name, suffix))) if number + 1 == count => {
                    shape.suffix = checked(suffix)?;
                    format!("{{*{name}}}")
                }
                _ => segment.to_owned(),
            };
            params += usize::from(bare.starts_with('{'));
            plain.push(bare);
        }
        match shape == Shape::default() {
            true => Ok((Cow::Borrowed(path), shape)),
            false => Ok((Cow::Owned(plain.join("/")), shape)),
        }
    }

    /// Whether there is nothing to look at.
    pub(super) fn is_plain(&self) -> bool {
        self.suffix.is_empty() && self.patterns.is_empty()
    }

    /// Whether any parameter must meet a pattern.
    pub(super) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// What stands behind the rest.
    pub(super) fn suffix(&self) -> &str {
        &self.suffix
    }

    /// As how many conditions it counts.
    pub(super) fn count(&self) -> usize {
        self.patterns.len() + usize::from(!self.suffix.is_empty())
    }

    /// Whether the parameter of this number may have taken this segment.
    pub(super) fn takes(&self, param: usize, segment: &str) -> bool {
        let mut own = self.patterns.iter().filter(|(number, _)| *number == param);
        own.all(|(_, pattern)| pattern.regex.is_match(segment.as_bytes()))
    }

    /// The rest without its suffix; `None` if it has another end, or nothing before it. Nobody gets
    /// a name that is a way out of its folder.
    pub(super) fn stem<'p>(&self, rest: &'p str) -> Option<&'p str> {
        if self.suffix.is_empty() {
            return Some(rest);
        }
        let stem = rest.strip_suffix(self.suffix.as_str())?;
        let name = stem.rsplit('/').next().unwrap_or(stem);
        (!matches!(name, "" | "." | "..")).then_some(stem)
    }

    /// Whether no path has both shapes.
    pub(super) fn excludes(&self, other: &Shape) -> bool {
        let (ours, theirs) = (&self.suffix, &other.suffix);
        !ours.ends_with(theirs.as_str()) && !theirs.ends_with(ours.as_str())
    }

    /// Whether a path of this shape never ends with one of these extensions.
    pub(super) fn excludes_all(&self, extensions: &[String]) -> bool {
        let Some((_, own)) = self.suffix.rsplit_once('.') else { return false };
        !own.contains('/')
            && !extensions.is_empty()
            && !extensions.iter().any(|other| own.eq_ignore_ascii_case(other))
    }

    /// Whether each path of the `other` shape has this one.
    pub(super) fn holds(&self, other: &Shape) -> bool {
        other.suffix.ends_with(self.suffix.as_str())
            && self.patterns.iter().all(|pattern| other.patterns.contains(pattern))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The name and the pattern of `{name:pattern}`.
fn patterned(segment: &str) -> Option<(&str, &str)> {
    let inner = segment.strip_prefix('{')?.strip_suffix('}')?;
    inner.split_once(':').filter(|(name, _)| is_name(name))
}

/// The name and the suffix of `{*name}suffix`.
fn ending(segment: &str) -> Option<(&str, &str)> {
    let (name, suffix) = segment.strip_prefix("{*")?.split_once('}')?;
    (is_name(name) && !suffix.is_empty() && suffix != "$").then_some((name, suffix))
}

fn checked(suffix: &str) -> Result<String, Misfit> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~');
    match suffix.chars().all(is_plain) {
        true => Ok(suffix.to_owned()),
        false => Err(Misfit {
            text: format!("`{suffix}` can't stand behind the rest of a path"),
            help: "write an end such as `{*file}.m3u8`".to_owned(),
        }),
    }
}

impl Pattern {
    fn parse(name: &str, text: &str) -> Result<Self, Misfit> {
        let misfit = |text: String, help: String| Err(Misfit { text, help });
        if matches!(text, ".*" | ".+" | "[^/]+" | "[^/]*" | "") {
            let help = format!("write `{{{name}}}` for one segment, or `{{*{name}}}` for the rest");
            return misfit(format!("`{text}` is any segment"), help);
        }
        if text.chars().all(|c| c.is_ascii_alphabetic()) {
            let help = format!("write `{{{name}}}`, or a pattern such as `{{{name}:[0-9]+}}`");
            return misfit(format!("as a pattern, `{text}` is these very letters"), help);
        }
        if PATTERN_BYTES_MAX < text.len() {
            let help = "match the segment by `{name}`, and let the upstream judge it".to_owned();
            return misfit(format!("a pattern has {PATTERN_BYTES_MAX} bytes at most"), help);
        }
        // Segments are in one form: what is no ASCII is `%C3%A9` there.
        let built = RegexBuilder::new(&format!("^(?:{text})$"))
            .unicode(false)
            .size_limit(COMPILED_BYTES_MAX)
            .build();
        match built {
            Ok(regex) if text.is_ascii() => Ok(Pattern { text: text.to_owned(), regex }),
            _ => {
                let help =
                    format!("write one such as `{{{name}:[0-9]+}}` or `{{{name}:[a-z-]{{2,5}}}}`");
                misfit(format!("`{text}` is not a pattern of ASCII"), help)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str) -> (String, Shape) {
        let (plain, shape) = Shape::split(path).expect(path);
        (plain.into_owned(), shape)
    }

    #[test]
    fn patterns_and_ends_are_taken_off() {
        let (plain, shape) = split("/a/{b}/{id:[0-9]{2,3}}/{*file}.m3u8");
        assert_eq!((plain.as_str(), shape.suffix()), ("/a/{b}/{id}/{*file}", ".m3u8"));
        assert_eq!(shape.count(), 2);
        assert!(shape.takes(0, "x") && shape.takes(1, "12") && shape.takes(1, "123"));
        for other in ["1", "1234", "12a", "a12", "", "12\n"] {
            assert!(!shape.takes(1, other), "{other:?}");
        }
        for (rest, stem) in [
            ("a.m3u8", Some("a")),
            ("a/b.c.m3u8", Some("a/b.c")),
            ("....m3u8", Some("...")),
            (".m3u8", None),
            ("a/.m3u8", None),
            ("a/..m3u8", None),
            ("a/...m3u8", None),
            ("a.m3u", None),
            ("a.M3U8", None),
        ] {
            assert_eq!(shape.stem(rest), stem, "{rest}");
        }
        for plain in ["/", "/a/b", "/{a}/{*rest}", "/a:b", "/live/{*rest}$", "/{*a:x}"] {
            assert_eq!(split(plain), (plain.to_owned(), Shape::default()), "{plain}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_so() {
        for (path, says) in [
            ("/{id:int}", "these very letters"),
            ("/{id:.*}", "`{*id}` for the rest"),
            ("/{id:}", "any segment"),
            ("/{id:[0-9}", "not a pattern"),
            ("/{id:[é]}", "not a pattern"),
            ("/{id:(?:a{1000}){1000}}", "not a pattern"),
            ("/{*a}.m3u8?x", "can't stand behind"),
            ("/{*a}{b}", "can't stand behind"),
        ] {
            let said = Shape::split(path).expect_err(path);
            assert!(format!("{}: {}", said.text, said.help).contains(says), "{path}: {said:?}");
        }
        let long = format!("/{{id:[{}]}}", "a".repeat(300));
        assert!(Shape::split(&long).is_err());
    }

    #[test]
    fn two_ends_exclude_each_other() {
        let shape = |path| split(path).1;
        assert!(shape("/{*a}.ts").excludes(&shape("/{*a}.m4s")));
        assert!(!shape("/{*a}.ts").excludes(&shape("/{*a}.a.ts")));
        assert!(!shape("/{*a}.ts").excludes(&shape("/{*a}")));
        assert!(shape("/{*a}.ts").excludes_all(&["m4s".to_owned()]));
        assert!(!shape("/{*a}.TS").excludes_all(&["ts".to_owned()]));
        assert!(shape("/{*a}").holds(&shape("/{*a}.ts")));
        assert!(shape("/{*a}.ts").holds(&shape("/{*a}.a.ts")));
        assert!(!shape("/{*a}.ts").holds(&shape("/{*a}")));
        assert!(!shape("/{a:[0-9]}").holds(&shape("/{a:[0-9]+}")));
    }
}
