//! The house rules of this repository, as ordinary tests: `cargo test -p tidy`.
//!
//! Style that is not checked decays. Each rule is a function from the [`tree::Tree`] to
//! [`finding::Finding`]s, is shown samples that it must reject, and depends on nothing but std, so
//! the check takes about a second. What the compiler, rustfmt or clippy can say, they say.
//! STYLE.md tells why each rule is there; `tests/house.rs` runs them all.

/// What is excused, and why.
pub mod exception;

/// Which rooms may touch which crates.
pub mod border;
/// Files of a room import each other in one direction.
pub mod circle;
/// Rooms import only rooms below them.
pub mod floor;
/// Public types named by words that the glossary or the field knows.
pub mod glossary;
/// Upstreams and libraries that must not know the gateway; files that nobody declares.
pub mod island;
/// Names that say what things are.
pub mod name;
/// One title per page, links that lead somewhere.
pub mod paper;
/// No sleeps and no fixed ports in tests.
pub mod proof;
/// What must go with every row of a table.
pub mod roster;
/// Lua scripts and their callers.
pub mod script;
/// Functions, files and lines that fit on a screen.
pub mod size;
/// Words that may not be written.
pub mod word;

/// Paths as code writes them.
pub mod import;

/// All files, read once.
pub mod tree;

/// One file and the views of it.
pub mod source;

/// Code, comments and literals told apart.
pub mod mask;

/// What a rule has to say.
pub mod finding;
