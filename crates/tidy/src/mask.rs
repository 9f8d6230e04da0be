//! Tells Rust code from comments and literals, byte by byte.
//!
//! Rules look for words, and a word in a string or a comment is not code. This is a lexer of the
//! few tokens that can hide others, not a parser: what the compiler accepts, it separates.

/// What a byte of a Rust file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Code,
    Comment,
    /// A string or a character, its quotes included.
    Literal,
}

/// The kind of every byte of `text`.
pub fn kinds(text: &str) -> Vec<Kind> {
    let bytes = text.as_bytes();
    let mut kinds = vec![Kind::Code; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let (kind, length) = token(&bytes[at..]);
        let end = (at + length).min(bytes.len());
        kinds[at..end].fill(kind);
        at = end;
    }
    kinds
}

/// `text` with everything blanked that is not of a wanted kind; offsets and lines stay the same.
pub fn keep(text: &str, kinds: &[Kind], wanted: &[Kind]) -> String {
    let bytes = text.bytes().zip(kinds);
    let kept =
        bytes.map(|(byte, kind)| if byte == b'\n' || wanted.contains(kind) { byte } else { b' ' });
    // Every token begins and ends at an ASCII byte, so no character is cut.
    String::from_utf8(kept.collect()).expect("whole characters were blanked")
}

pub fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// The kind and length of the token at the start of `rest`, which is not empty.
fn token(rest: &[u8]) -> (Kind, usize) {
    match rest {
        [b'/', b'/', ..] => (Kind::Comment, line_length(rest)),
        [b'/', b'*', ..] => (Kind::Comment, block_length(rest)),
        [b'"', ..] => (Kind::Literal, quoted_length(rest, b'"')),
        [b'\'', ..] => match character_length(rest) {
            Some(length) => (Kind::Literal, length),
            None => (Kind::Code, 1),
        },
        [byte, ..] if is_word(*byte) => match raw_length(rest) {
            Some(length) => (Kind::Literal, length),
            None => (Kind::Code, rest.iter().take_while(|byte| is_word(**byte)).count()),
        },
        _ => (Kind::Code, 1),
    }
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

/// Block comments nest.
fn block_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `None` for a lifetime.
fn character_length(rest: &[u8]) -> Option<usize> {
    match rest.get(1)? {
        b'\\' => Some(quoted_length(rest, b'\'')),
        first => {
            let width = match first {
                0x00..=0x7f => 1,
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
        }
    }
}

/// `r"…"`, `r#"…"#` and their byte and C forms.
fn raw_length(rest: &[u8]) -> Option<usize> {
    let prefix =
        ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix.as_bytes()))?;
    let hashes = rest[prefix.len()..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix.len() + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let closing = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let body = &rest[open + 1..];
    let end = body.windows(closing.len()).position(|window| window == closing);
    Some(end.map_or(rest.len(), |end| open + 1 + end + closing.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: &str) {
        assert_eq!(keep(text, &kinds(text), &[Kind::Code]).trim_end(), code, "of {text}");
    }

    #[test]
    fn only_code_is_left() {
        check("a(); // b()", "a();");
        check("a /* b /* c */ d */ e", "a                   e");
        check(r#"f("x \" y", 'z')"#, "f(        ,    )");
        check("f(r#\"say \"no\"\"#)", "f(             )");
        check("f(b\"x\")", "f(b   )");
        check("fn f<'a>(x: &'a str) -> char { '\\'' }", "fn f<'a>(x: &'a str) -> char {      }");
        check("let r#type = '✓';", "let r#type =      ;");
        check("let url = \"http://x\"; g()", "let url =           ; g()");
    }

    #[test]
    fn an_open_end_is_no_panic() {
        for text in ["\"", "/*", "r#\"", "'\\", "\"\\", "'", "r"] {
            assert_eq!(kinds(text).len(), text.len(), "of {text}");
        }
    }
}
