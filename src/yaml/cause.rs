//! Why a text is no YAML, where the parser's own words do not lead there: it stops where it can go
//! on no more, which is often a line behind the mistake.

use crate::problem::{LookAlike, Place, Problem};

/// How far before the parser's line a cause is looked for, in lines.
const LOOK_BACK_LINES: usize = 10;

/// Line ends of a version control that two changes met in.
const CONFLICT_MARKS: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];

/// What of `source` makes the parser stop in `line`, counted from 1, if it is one of the usual
/// causes. `is_flow`: it stopped within `{ … }` or `[ … ]`.
pub(super) fn find(source: &str, line: u32, is_flow: bool) -> Option<Problem> {
    let lines: Vec<&str> = source.lines().collect();
    let last = (line as usize).clamp(1, lines.len().max(1));
    conflict(&lines)
        .or_else(|| control(&lines))
        .or_else(|| back(&lines, last).find_map(look_alike))
        .or_else(|| back(&lines, last).take(2).find_map(template))
        .or_else(|| back(&lines, last).take(3).find_map(colon))
        .or_else(|| bracket(&lines, is_flow))
}

/// White space that only looks like spaces before a line's first word: it is part of the word.
pub(super) fn indent(source: &str) -> Option<Problem> {
    if source.is_ascii() {
        return None;
    }
    let found = source.lines().zip(1..).find_map(|(text, line)| {
        let mut indent = text.chars().take_while(|c| !c.is_ascii_graphic()).enumerate();
        let (column, found) = indent.find_map(|(column, c)| Some((column, LookAlike::of(c)?)))?;
        let is_mark = line == 1 && column == 0 && found.found == '\u{feff}';
        (found.meant.trim().is_empty() && !is_mark).then_some((line, column, found))
    });
    let (line, column, found) = found?;
    let text = format!("{found} does not indent a line");
    Some(Problem::at(at(line, column, 1), text).help(found.told()))
}

/// The lines up to number `last`, backwards, each with its number. Empty ones and comments apart.
fn back<'l>(lines: &'l [&'l str], last: usize) -> impl Iterator<Item = (u32, &'l str)> {
    let upto = &lines[..last.min(lines.len())];
    let numbered = upto.iter().enumerate().map(|(i, line)| (i as u32 + 1, *line));
    let said = numbered.filter(|(_, line)| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    said.collect::<Vec<_>>().into_iter().rev().take(LOOK_BACK_LINES)
}

fn at(line: u32, column: usize, length: usize) -> Place {
    Place { line, column: column as u32 + 1, length: length as u32 }
}

fn conflict(lines: &[&str]) -> Option<Problem> {
    let is_mark = |line: &&str| {
        CONFLICT_MARKS.iter().any(|mark| {
            line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    };
    let index = lines.iter().position(is_mark)?;
    let problem =
        Problem::at(at(index as u32 + 1, 0, 7), "two changes met here and were not merged");
    Some(problem.help("keep one of the two, and remove the marks `<<<<<<<`, `=======`, `>>>>>>>`"))
}

/// A control character other than a tab.
fn control(lines: &[&str]) -> Option<Problem> {
    let found = lines.iter().enumerate().find_map(|(index, line)| {
        let column = line.chars().position(|c| c.is_control() && c != '\t' && c != '\r')?;
        Some((index as u32 + 1, column, line.chars().nth(column)?))
    });
    let (line, column, c) = found?;
    let text = format!("the character U+{:04X} can't stand in a file of this kind", u32::from(c));
    let help = "remove it, or save the file as plain UTF-8";
    Some(Problem::at(at(line, column, 1), text).help(help))
}

/// The line without its comment, and without what stands in quotes.
fn bare(line: &str) -> Vec<char> {
    let (mut quote, mut before, mut bare) = (None, ' ', Vec::new());
    for c in line.chars() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => break,
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
            (Some(open), c) if c == open && before != '\\' => quote = None,
            (Some(_), _) => {
                before = c;
                bare.push('\u{1}');
                continue;
            }
            _ => {}
        }
        before = c;
        bare.push(c);
    }
    bare
}

fn look_alike((line, text): (u32, &str)) -> Option<Problem> {
    if text.is_ascii() {
        return None;
    }
    let found = bare(text).into_iter().enumerate().find_map(|(column, c)| {
        LookAlike::of(c).filter(|found| found.is_structure()).map(|found| (column, found))
    });
    let (column, found) = found?;
    let text = format!("{found} is not what YAML is written with");
    Some(Problem::at(at(line, column, 1), text).help(found.told()))
}

fn template((line, text): (u32, &str)) -> Option<Problem> {
    let bare: String = bare(text).into_iter().collect();
    let column = bare.find("{{").or_else(|| bare.find("{%"))?;
    let column = bare[..column].chars().count();
    let help = "write a variable: `\"${NAME}\"`, or fill the template in before";
    Some(Problem::at(at(line, column, 2), "nothing here fills in a template").help(help))
}

/// `key:value` where `key: value` was meant.
fn colon((line, text): (u32, &str)) -> Option<Problem> {
    let indent = text.len() - text.trim_start_matches([' ', '-']).len();
    let rest = &text[indent..];
    let colon = rest.find(':')?;
    let (key, value) = (&rest[..colon], &rest[colon + 1..]);
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_glued = !key.is_empty()
        && key.chars().all(is_key)
        && !value.is_empty()
        && !value.starts_with([' ', '/', ':', '\t'])
        && !value.contains(": ");
    is_glued.then(|| {
        let problem = Problem::at(
            at(line, indent + colon, 1),
            format!("the colon behind `{key}` has no space"),
        );
        problem.help(format!("write `{key}: …`"))
    })
}

/// A bracket that is not closed before another one, or before a line that begins something new.
fn bracket(lines: &[&str], is_flow: bool) -> Option<Problem> {
    let mut open: Vec<(char, Place, usize)> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some((bracket, place, _)) = open.first().filter(|(_, _, outer)| indent <= *outer)
            && begins(text)
        {
            return Some(unclosed(*bracket, *place));
        }
        for (column, c) in bare(line).into_iter().enumerate() {
            match c {
                '{' | '[' => open.push((c, at(index as u32 + 1, column, 1), indent)),
                '}' | ']' => {
                    let (bracket, place, _) = open.pop()?;
                    if (bracket == '{') != (c == '}') {
                        return Some(unclosed(bracket, place));
                    }
                }
                _ => {}
            }
        }
    }
    let (bracket, place, _) = open.first().filter(|_| is_flow)?;
    Some(unclosed(*bracket, *place))
}

fn unclosed(bracket: char, place: Place) -> Problem {
    let close = if bracket == '{' { '}' } else { ']' };
    Problem::at(place, format!("this `{bracket}` is never closed")).help(format!(
        "write `{close}` where its {} ends",
        match bracket {
            '{' => "mapping",
            _ => "list",
        }
    ))
}

/// Whether a line begins a new key or a new item.
fn begins(text: &str) -> bool {
    let key = text.split(':').next().unwrap_or_default();
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_keyed = key.len() < text.len() && !key.is_empty() && key.chars().all(is_key);
    text.starts_with("- ") || is_keyed
}
