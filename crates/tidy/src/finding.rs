//! What a rule has to say: where, what is wrong, and what would be right.
//! It does not judge; whether a finding is excused is decided in `exception`.

use std::fmt;

/// One breach of one rule, at one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name, as exceptions refer to it.
    pub rule: &'static str,
    /// Path from the root of the repository.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, naming the thing.
    pub wrong: String,
    /// What to do instead.
    pub right: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, file, line, wrong, right } = self;
        write!(f, "{file}:{line}: {wrong}\n    {right}   [{rule}]")
    }
}
