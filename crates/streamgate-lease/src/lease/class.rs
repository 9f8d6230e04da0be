//! Classes of streams: a limit of their own beside the limit of all, as for 4K or for live.
//!
//! A class is a name and nothing more; which streams belong to it is the claim's to say.

use super::Claim;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

const CLASS_CHARS_MAX: usize = 16;

/// The name of a class: 1 to 16 characters of `a-z`, `0-9`, `_` and `-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class([u8; CLASS_CHARS_MAX]);

/// The text is not the name of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a class is 1 to {CLASS_CHARS_MAX} characters of a-z, 0-9, _ and -")]
pub struct ClassInvalid(());

/// How many live streams of a class a holder may have, this one included. 0 refuses them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassLimit {
    /// Which class.
    pub class: Class,
    /// How many of it.
    pub limit: u32,
}

/// The classes of one stream with their limits: each class once, at most [`Classes::MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes(Vec<ClassLimit>);

/// A stream of more than [`Classes::MAX`] classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stream belongs to {} classes at most", Classes::MAX)]
pub struct TooManyClasses(());

impl Class {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(CLASS_CHARS_MAX);
        std::str::from_utf8(&self.0[..end]).expect("a class is ASCII")
    }
}

impl Classes {
    /// The most classes that one stream may belong to.
    pub const MAX: usize = 4;

    /// In the order of their names; of two limits for one class the lower one holds.
    ///
    /// # Errors
    /// [`TooManyClasses`] if there are more than four.
    pub fn new(limits: impl IntoIterator<Item = ClassLimit>) -> Result<Self, TooManyClasses> {
        let mut all: Vec<_> = limits.into_iter().collect();
        all.sort_by_key(|of| (of.class, of.limit));
        all.dedup_by_key(|of| of.class);
        if Self::MAX < all.len() { Err(TooManyClasses(())) } else { Ok(Self(all)) }
    }

    /// Whether all of these are among them.
    #[must_use]
    pub fn cover(&self, names: &[Class]) -> bool {
        names.iter().all(|name| self.0.iter().any(|of| of.class == *name))
    }

    /// What a stream that has these has with those: the younger word on a limit holds, and what
    /// would be too many is left out.
    pub(crate) fn joined(&self, younger: &Self) -> Self {
        let kept = self.0.iter().filter(|of| !younger.cover(&[of.class]));
        let mut all: Vec<_> = younger.0.iter().chain(kept).copied().take(Self::MAX).collect();
        all.sort_by_key(|of| of.class);
        Self(all)
    }
}

impl Deref for Classes {
    type Target = [ClassLimit];

    fn deref(&self) -> &[ClassLimit] {
        &self.0
    }
}

impl Claim {
    /// The names of its classes.
    pub(crate) fn class_names(&self) -> Vec<Class> {
        self.classes.iter().map(|of| of.class).collect()
    }
}

impl FromStr for Class {
    type Err = ClassInvalid;

    fn from_str(text: &str) -> Result<Self, ClassInvalid> {
        let is_good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if text.is_empty() || CLASS_CHARS_MAX < text.len() || !text.bytes().all(is_good) {
            return Err(ClassInvalid(()));
        }
        let mut name = [0; CLASS_CHARS_MAX];
        name[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(name))
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Class({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Result<Classes, TooManyClasses> {
        Classes::new(text.split_whitespace().map(|pair| {
            let (class, limit) = pair.split_once('=').expect("a pair");
            let class = class.parse().expect("a class");
            ClassLimit { class, limit: limit.parse().expect("a number") }
        }))
    }

    fn shown(classes: &Classes) -> String {
        let all: Vec<_> = classes.iter().map(|of| format!("{}={}", of.class, of.limit)).collect();
        all.join(" ")
    }

    #[test]
    fn a_class_is_parsed_strictly() {
        for good in ["4k", "a", "live_tv-2", "0123456789abcdef"] {
            assert_eq!(good.parse::<Class>().map(|class| class.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "4K", "a b", "a,b", "a=1", "a/b", "ä", "a\0", "0123456789abcdefg"] {
            assert!(bad.parse::<Class>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn classes_are_few_sorted_and_unlike() {
        assert_eq!(limits("live=2 4k=1 live=1").map(|all| shown(&all)), Ok("4k=1 live=1".into()));
        assert!(limits("a=1 b=1 c=1 d=1 a=2").is_ok());
        assert!(limits("a=1 b=1 c=1 d=1 e=1").is_err());
        let joined = limits("a=1 b=2").expect("few").joined(&limits("b=3 c=1").expect("few"));
        assert_eq!(shown(&joined), "a=1 b=3 c=1");
    }
}
