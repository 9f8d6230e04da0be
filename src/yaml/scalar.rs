//! Single values: texts, numbers, times. A value that cannot be read is noted and the reading goes
//! on, so that the operator gets all such problems at once.

use super::{At, environment};
use crate::problem::{Place, Problem};
use serde::{Deserialize, Deserializer};
use std::cell::RefCell;

/// One value in the file, of a kind that is written as text or a number.
pub trait Scalar: Sized {
    /// What it is called: "a time".
    const KIND: &'static str;

    /// How it is written, after the word *write*: "a time such as `30s`".
    const EXPECTED: &'static str;

    /// A value that can be read. It stands in for one that cannot, until the whole file is read.
    const EXAMPLE: &'static str;

    /// Reads it; `Err` says what is wrong beyond "this is not …", or is empty. It must not repeat
    /// `text`, which may come from a variable.
    fn read(text: &str) -> Result<Self, String>;

    /// What was probably meant by a `text` that can't be read. It may repeat digits and words that
    /// it knows, and nothing else.
    fn advice(_text: &str) -> Option<String> {
        None
    }

    /// The same value, when a variable filled in part of it.
    fn filled_in(self) -> Self {
        self
    }
}

/// Stands for a value that is wrong or missing, which was told already. No file can hold it: YAML
/// allows no such character.
pub(super) const STAND_IN: &str = "\u{0}";

/// What reading the values of one file brought up.
#[derive(Default)]
pub(super) struct Notes {
    /// Values that could not be read.
    pub(super) problems: Vec<Problem>,
    /// Where an example stands in for a value, so that nothing said of it later counts.
    pub(super) stand_ins: Vec<Place>,
}

thread_local! {
    /// Notes on the file that this thread reads. A thread-local for the reason that
    /// `environment::CURRENT` gives.
    static NOTES: RefCell<Notes> = RefCell::default();
}

/// Runs `read` and returns its result with the notes on single values.
pub(super) fn noting<T>(read: impl FnOnce() -> T) -> (T, Notes) {
    let before = NOTES.take();
    let value = read();
    (value, NOTES.replace(before))
}

/// Notes a problem, and the reading goes on.
pub(super) fn note(problem: Problem) {
    NOTES.with_borrow_mut(|notes| notes.problems.push(problem));
}

/// Reads the scalar that the parser has next.
pub fn scalar<'de, D: Deserializer<'de>, T: Scalar>(deserializer: D) -> Result<T, D::Error> {
    let At { value, place } = At::<String>::deserialize(deserializer)?;
    Ok(read(&value, place))
}

/// Reads `written`, which stands at `place`, after filling in variables.
pub(super) fn read<T: Scalar>(written: &str, place: Place) -> T {
    if written == STAND_IN || environment::is_lacking(written) {
        return stand_in(place);
    }
    let filled = environment::fill(written);
    match T::read(&filled) {
        Ok(value) if written.contains("${") => value.filled_in(),
        Ok(value) => value,
        Err(why) => {
            note(misread::<T>(written, &filled, place, why));
            stand_in(place)
        }
    }
}

fn stand_in<T: Scalar>(place: Place) -> T {
    NOTES.with_borrow_mut(|notes| notes.stand_ins.push(place));
    T::read(T::EXAMPLE).unwrap_or_else(|_| unreachable!("a test reads every example"))
}

/// The name in a `$NAME`, which is plain text here.
fn bare_variable(written: &str) -> Option<&str> {
    let (_, behind) = written.split_once('$')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = &behind[..behind.find(|c| !is_name(c)).unwrap_or(behind.len())];
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then_some(name)
}

fn misread<T: Scalar>(written: &str, filled: &str, place: Place, why: String) -> Problem {
    let shown = written.replace(char::is_control, " ");
    let text = if why.is_empty() { format!("`{shown}` is not {}", T::KIND) } else { why };
    // What begins with `$` in a secret or in an address may be the secret itself.
    let may_show = T::KIND != "a secret" && !written.contains("://");
    let variable = bare_variable(written).filter(|_| may_show);
    let help = T::advice(filled).unwrap_or_else(|| match variable {
        Some(name) => format!("a variable is written `${{{name}}}`"),
        None => format!("write {}", T::EXPECTED),
    });
    Problem::at(place, text).help(help)
}
