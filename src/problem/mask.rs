//! Lines of the operator's file as they may be shown: literal secrets are masked.
//!
//! A message must be fit for a terminal that others see, a log and an issue tracker. The line may
//! be broken YAML, so this reads characters, not values; in doubt it hides too much.

use super::nearest;
use std::ops::Range;

/// Keys whose values are secrets.
const SECRET_KEYS: [&str; 11] = [
    "hs256",
    "hs384",
    "hs512",
    "pepper",
    "revocation_pepper",
    "current",
    "previous",
    "also",
    "token",
    "password",
    "secret",
];

/// A key whose value may be shown, although it looks like one of them misspelled.
const PUBLIC_KEY: &str = "secure";

/// What is printed in place of a secret.
const MASK: &str = "***";

/// A line of the file with its secrets masked, and how its columns moved.
pub(super) struct MaskedLine {
    pub(super) text: String,
    /// What was masked, in characters of the original line; ascending.
    masked: Vec<Range<usize>>,
}

impl MaskedLine {
    /// Line number `index` of `lines`, counted from 0. `hidden` is masked whatever it is.
    pub(super) fn new(lines: &[&str], index: usize, hidden: Vec<Range<usize>>) -> Self {
        let line: Vec<char> = lines[index].chars().map(printable).collect();
        let mut masked = secrets(&line);
        if continues_a_secret(lines, index) {
            masked.push(indent(lines[index])..line.len());
        }
        masked.extend(passwords(&line));
        masked.extend(header_values(lines, index, &line));
        masked.extend(hidden);
        masked.retain(|range| !range.is_empty());
        masked.sort_by_key(|range| range.start);
        masked.dedup_by(|later, kept| {
            let overlaps = later.start < kept.end;
            kept.end = if overlaps { kept.end.max(later.end) } else { kept.end };
            overlaps
        });
        let mut text = String::new();
        let mut from = 0;
        for range in &masked {
            text.extend(&line[from..range.start]);
            text.push_str(MASK);
            from = range.end;
        }
        text.extend(&line[from..]);
        MaskedLine { text, masked }
    }

    /// Where `columns` of the original line, counted from 0, are in `text`.
    pub(super) fn columns(&self, columns: Range<usize>) -> Range<usize> {
        self.column(columns.start, false)..self.column(columns.end, true)
    }

    fn column(&self, column: usize, is_end: bool) -> usize {
        let mut shift = 0_isize;
        for range in self.masked.iter().take_while(|range| range.start < column) {
            if column < range.end || (column == range.end && is_end) {
                let start = (range.start as isize + shift) as usize;
                return if is_end { start + MASK.len() } else { start };
            }
            shift += MASK.len() as isize - range.len() as isize;
        }
        (column as isize + shift).max(0) as usize
    }
}

/// A tab is as wide as one column, so that the caret stands where it should.
fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}

/// Whether the line belongs to a value that began on an earlier one, behind a secret's key.
fn continues_a_secret(lines: &[&str], index: usize) -> bool {
    parents(lines, index).any(is_secret)
}

/// The keys of earlier lines that the line stands below, the nearest first.
fn parents<'l>(lines: &'l [&str], index: usize) -> impl Iterator<Item = &'l str> {
    let earlier = lines[..index].iter().rev().filter(|line| !line.trim().is_empty());
    let outer = earlier.scan(indent(lines[index]), |inner, line| match *inner {
        0 => None,
        _ => {
            let is_outer = indent(line) < *inner;
            *inner = indent(line).min(*inner);
            Some(is_outer.then_some(*line))
        }
    });
    outer.flatten().filter_map(|line| {
        let head = line.trim_end().trim_end_matches(['|', '>', '-', '+', '{', '[']).trim_end();
        let head = head.strip_suffix(':')?;
        let begins = head.rfind([' ', '{', ',', '"', '\'']).map_or(0, |at| at + 1);
        Some(&head[begins..])
    })
}

/// A misspelled key hides its value, too.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.trim_matches(['"', '\'']);
    key != PUBLIC_KEY && nearest(key, SECRET_KEYS.into_iter()).is_some()
}

/// How far back the key of a place is looked for, in lines.
const LOOK_BACK_LINES: usize = 100;

/// Whether what stands at `column`, counted from 0, of line number `index` is a secret's value.
pub(crate) fn is_secret_place(lines: &[&str], index: usize, column: usize) -> bool {
    let line: Vec<char> = lines[index].chars().collect();
    let (from, column) = (index.saturating_sub(LOOK_BACK_LINES), column.min(line.len()));
    let key = line[..column].iter().rposition(|c| *c == ':').map(|colon| word(&line, colon));
    key.is_some_and(|key| is_secret(&key))
        || continues_a_secret(&lines[from..=index], index - from)
        || passwords(&line).iter().any(|range| range.contains(&column))
}

/// The key that ends before the colon at `colon`.
fn word(line: &[char], colon: usize) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '"' | '\'');
    let begins = line[..colon].iter().rposition(|c| !is_word(*c)).map_or(0, |at| at + 1);
    line[begins..colon].iter().collect()
}

/// The colons of `line` that end a key.
fn colons(line: &[char]) -> impl Iterator<Item = usize> {
    (0..line.len()).filter(|&at| {
        line[at] == ':' && line.get(at + 1).is_none_or(|next| *next == ' ' || *next == '"')
    })
}

/// What a route asks header fields for: often a key that was given to a partner.
fn header_values(lines: &[&str], index: usize, line: &[char]) -> Vec<Range<usize>> {
    let is_header = |key: &str| key.trim_matches(['"', '\'']) == "header";
    let below = parents(lines, index).next().is_some_and(is_header);
    let first = colons(line).next().filter(|_| below);
    let flows = colons(line).filter(|colon| is_header(&word(line, *colon)));
    let within = flows.flat_map(|colon| {
        let ends = line[colon..].iter().position(|c| *c == '}').map_or(line.len(), |at| colon + at);
        colons(line).filter(move |inner| colon < *inner && *inner < ends)
    });
    first.into_iter().chain(within).filter_map(|colon| value(line, colon + 1)).collect()
}

/// The literal values behind secrets' keys. One that only names a variable may be seen.
fn secrets(line: &[char]) -> Vec<Range<usize>> {
    let values = colons(line).filter_map(|colon| {
        is_secret(&word(line, colon)).then(|| value(line, colon + 1)).flatten()
    });
    values.collect()
}

/// The scalar that begins at or behind `from`, without its quotes.
fn value(line: &[char], from: usize) -> Option<Range<usize>> {
    let start = from + line[from..].iter().position(|c| *c != ' ')?;
    let (start, end) = match line[start] {
        '{' | '|' | '>' | '*' | '#' => return None,
        // A list, or a value behind the name of an anchor.
        '[' | '&' => (start, line.len()),
        quote @ ('"' | '\'') => {
            let closes = line[start + 1..].iter().position(|c| *c == quote);
            (start + 1, closes.map_or(line.len(), |at| start + 1 + at))
        }
        _ => {
            let rest = &line[start..];
            let ends = rest.iter().position(|c| matches!(c, ',' | '}' | ']'));
            (start, ends.map_or(line.len(), |at| start + at))
        }
    };
    let text: String = line[start..end].iter().collect();
    let text = text.trim_end();
    let names_a_variable = text.starts_with("${") && text.find('}') == Some(text.len() - 1);
    let has_default = text.contains(":-");
    (!names_a_variable || has_default).then(|| start..start + text.chars().count())
}

/// What stands between `://` and the last `@` of a URL; of a socket, what stands behind a `?`.
fn passwords(line: &[char]) -> Vec<Range<usize>> {
    let begins = (3..=line.len()).filter(|&at| line[at - 3..at] == [':', '/', '/']);
    let found = begins.filter_map(|start| {
        let rest = &line[start..];
        let ends = rest.iter().position(|c| matches!(c, ' ' | '"' | '\'')).unwrap_or(rest.len());
        if line[..start - 3].ends_with(&['u', 'n', 'i', 'x']) {
            let words = rest[..ends].iter().position(|c| *c == '?')? + 1;
            return Some(start + words..start + ends);
        }
        let at = rest[..ends].iter().rposition(|c| *c == '@')?;
        Some(start..start + at)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        let lines: Vec<&str> = source.lines().collect();
        assert_eq!(MaskedLine::new(&lines, lines.len() - 1, Vec::new()).text, expected, "{source}");
    }

    #[test]
    fn literal_secrets_are_masked_and_nothing_else() {
        check("  hs256: \"abc\" }", "  hs256: \"***\" }");
        check("  url: \"unix:///a.sock?pass=p@ss\"", "  url: \"unix:///a.sock?***\"");
        check("  { hs256: abc, kid: x }", "  { hs256: ***, kid: x }");
        check("  pepper: \"${P}\"", "  pepper: \"${P}\"");
        check("  pepper: \"${P:?why}\"", "  pepper: \"${P:?why}\"");
        check("  pepper: \"${P:-abc}\"", "  pepper: \"***\"");
        check("  pepper: { current: a, also: \"d\" }", "  pepper: { current: ***, also: \"***\" }");
        check("  tokn: abc", "  tokn: ***");
        check("  \"token\": \"abc\"", "  \"token\": \"***\"");
        check("  token: abc\"", "  token: ***");
        check(
            "  keys: [ { hs256: a }, { hs512: b } ]",
            "  keys: [ { hs256: *** }, { hs512: *** } ]",
        );
        check("url: redis://u:p@w@h/0", "url: redis://***@h/0");
        check("a: redis://u:p@h, b: redis://h", "a: redis://***@h, b: redis://h");
        check("  name: abc", "  name: abc");
        check("  hs256: [ abc ]", "  hs256: ***");
        check("  pepper: &one abc", "  pepper: ***");
    }

    #[test]
    fn values_of_header_fields_are_masked() {
        check(
            "match: { path: /a, header: { apikey: k3y, x: y } }",
            "match: { path: /a, header: { apikey: ***, x: *** } }",
        );
        check("match:\n  header:\n    apikey: k3y", "    apikey: ***");
        check("match:\n  header: {\n    apikey: k3y }", "    apikey: *** }");
        check("match:\n  header:\n    apikey: k3y\n  path: /a", "  path: /a");
    }

    #[test]
    fn a_secret_on_the_next_line_is_masked() {
        check("k:\n  - hs256:\n      abc", "      ***");
        check("k:\n  pepper: |\n    abc\n    def", "    ***");
        check("k:\n  token:\n    abc\n  other: x", "  other: x");
    }

    #[test]
    fn columns_follow_what_was_masked() {
        let line = "{ hs256: abcdefgh, kidd: x }";
        let shown = MaskedLine::new(&[line], 0, Vec::new());
        let at = line.find("kidd").expect("it is there");
        let columns = shown.columns(at..at + 4);
        assert_eq!(&shown.text[columns], "kidd");
        let secret = line.find("abc").expect("it is there");
        assert_eq!(&shown.text[shown.columns(secret..secret + 8)], "***");
        assert_eq!(&shown.text[shown.columns(secret + 2..secret + 5)], "***");
    }
}
