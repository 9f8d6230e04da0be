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
}

thread_local! {
    /// Values that could not be read in the file that this thread reads. A thread-local for the
    /// reason that `environment::CURRENT` gives.
    static MISREAD: RefCell<Vec<Problem>> = RefCell::default();
}

/// Runs `read` and returns its result with the problems of single values.
pub(super) fn collecting<T>(read: impl FnOnce() -> T) -> (T, Vec<Problem>) {
    let before = MISREAD.take();
    let value = read();
    (value, MISREAD.replace(before))
}

/// Reads the scalar that the parser has next.
pub fn scalar<'de, D: Deserializer<'de>, T: Scalar>(deserializer: D) -> Result<T, D::Error> {
    let At { value, place } = At::<String>::deserialize(deserializer)?;
    Ok(read(&value, place))
}

/// Reads `written`, which stands at `place`, after filling in variables.
pub(super) fn read<T: Scalar>(written: &str, place: Place) -> T {
    let filled = environment::fill(written);
    T::read(&filled).unwrap_or_else(|why| {
        MISREAD.with_borrow_mut(|all| all.push(misread::<T>(written, place, why)));
        T::read(T::EXAMPLE).unwrap_or_else(|_| unreachable!("a test reads every example"))
    })
}

fn misread<T: Scalar>(written: &str, place: Place, why: String) -> Problem {
    let shown = written.replace(char::is_control, " ");
    let text = if why.is_empty() { format!("`{shown}` is not {}", T::KIND) } else { why };
    Problem::at(place, text).help(format!("write {}", T::EXPECTED))
}
