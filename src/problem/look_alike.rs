//! Characters that look right and are not: word processors, chats and web pages put them in place
//! of those that YAML and names are written with.

use std::fmt;

/// A character, and the one that it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LookAlike {
    pub(crate) found: char,
    /// Empty where nothing is to be seen.
    pub(crate) meant: &'static str,
}

/// Each character that is meant, and those that look like it.
const TABLE: [(&str, &str); 57] = [
    ("\"", "\u{201c}\u{201d}\u{201e}\u{201f}\u{ab}\u{bb}\u{2033}\u{ff02}"),
    ("'", "\u{2018}\u{2019}\u{201a}\u{201b}\u{2032}\u{b4}\u{ff07}\u{2039}\u{203a}"),
    ("-", "\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}\u{fe63}\u{ff0d}\u{2022}"),
    (
        " ",
        "\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\
         \u{2009}\u{200a}\u{202f}\u{205f}\u{3000}",
    ),
    (
        "",
        "\u{ad}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
         \u{2060}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}",
    ),
    (":", "\u{ff1a}\u{2236}\u{fe55}\u{a789}"),
    (",", "\u{ff0c}\u{201a}\u{3001}"),
    (".", "\u{ff0e}\u{3002}\u{2024}"),
    ("/", "\u{ff0f}\u{2044}\u{2215}"),
    ("*", "\u{ff0a}\u{2217}\u{2731}"),
    ("#", "\u{ff03}"),
    ("$", "\u{ff04}"),
    ("&", "\u{ff06}"),
    ("_", "\u{ff3f}"),
    ("=", "\u{ff1d}"),
    ("{", "\u{ff5b}"),
    ("}", "\u{ff5d}"),
    ("[", "\u{ff3b}"),
    ("]", "\u{ff3d}"),
    ("...", "\u{2026}"),
    ("a", "\u{430}\u{251}\u{3b1}"),
    ("c", "\u{441}"),
    ("d", "\u{501}"),
    ("e", "\u{435}"),
    ("h", "\u{4bb}"),
    ("i", "\u{456}\u{131}\u{3b9}"),
    ("j", "\u{458}"),
    ("k", "\u{43a}"),
    ("l", "\u{4cf}"),
    ("n", "\u{578}"),
    ("o", "\u{43e}\u{3bf}"),
    ("p", "\u{440}\u{3c1}"),
    ("q", "\u{51b}"),
    ("s", "\u{455}"),
    ("u", "\u{57d}"),
    ("v", "\u{3bd}\u{475}"),
    ("w", "\u{51d}"),
    ("x", "\u{445}"),
    ("y", "\u{443}\u{3b3}"),
    ("A", "\u{410}\u{391}"),
    ("B", "\u{412}\u{392}"),
    ("C", "\u{421}"),
    ("E", "\u{415}\u{395}"),
    ("H", "\u{41d}\u{397}"),
    ("I", "\u{406}\u{399}"),
    ("J", "\u{408}"),
    ("K", "\u{41a}\u{39a}"),
    ("M", "\u{41c}\u{39c}"),
    ("N", "\u{39d}"),
    ("O", "\u{41e}\u{39f}"),
    ("P", "\u{420}\u{3a1}"),
    ("S", "\u{405}"),
    ("T", "\u{422}\u{3a4}"),
    ("X", "\u{425}\u{3a7}"),
    ("Y", "\u{423}\u{3a5}"),
    ("Z", "\u{396}"),
    ("0", "\u{ff10}"),
];

impl LookAlike {
    /// `None`: the character looks like itself only.
    pub(crate) fn of(found: char) -> Option<Self> {
        if found.is_ascii() {
            return None;
        }
        let (meant, _) = TABLE.iter().find(|(_, all)| all.contains(found))?;
        Some(LookAlike { found, meant })
    }

    /// Whether it looks like one that YAML is written with, so that the file's structure is lost.
    pub(crate) fn is_structure(self) -> bool {
        !self.meant.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/')
    }

    /// What it is, and what to write.
    pub(crate) fn told(self) -> String {
        match self.meant {
            "" => format!("{self} can't be seen: remove it"),
            " " => format!("{self} only looks like a space: write a space"),
            meant => format!("{self} only looks like `{meant}`: write `{meant}`"),
        }
    }
}

impl fmt::Display for LookAlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = u32::from(self.found);
        match self.meant {
            "" | " " => write!(f, "the character U+{code:04X}"),
            _ => write!(f, "`{}` (U+{code:04X})", self.found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_right_is_named() {
        for (found, told) in [
            ('\u{201c}', "`\u{201c}` (U+201C) only looks like `\"`: write `\"`"),
            ('\u{2013}', "`\u{2013}` (U+2013) only looks like `-`: write `-`"),
            ('\u{a0}', "the character U+00A0 only looks like a space: write a space"),
            ('\u{200b}', "the character U+200B can't be seen: remove it"),
            ('\u{430}', "`\u{430}` (U+0430) only looks like `a`: write `a`"),
        ] {
            assert_eq!(LookAlike::of(found).map(LookAlike::told).as_deref(), Some(told));
        }
        for plain in ['a', '"', 'ö', '漢', '-'] {
            assert_eq!(LookAlike::of(plain), None, "{plain}");
        }
    }
}
