//! All text files of the repository, read once.
//! What a build or a tool left behind is not part of it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::source::Source;

/// Larger files are data, not something that people read: bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files that rules look at.
#[derive(Debug)]
pub struct Tree {
    files: Vec<Source>,
}

impl Tree {
    /// Reads everything below `root`.
    pub fn open(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        walk(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self::new(files))
    }

    /// A tree of samples, as the rules' own tests use it.
    pub fn sample(files: &[(&str, &str)]) -> Self {
        Self::new(files.iter().map(|(path, text)| Source::parse(path, text)).collect())
    }

    /// A module declared under `#[cfg(test)]` makes its file a test, and the files below it too.
    fn new(mut files: Vec<Source>) -> Self {
        loop {
            let declared: Vec<String> = files.iter().flat_map(tested_children).collect();
            let found = files.iter_mut().filter(|file| !file.is_test);
            let fresh: Vec<_> = found.filter(|file| declared.contains(&file.path)).collect();
            if fresh.is_empty() {
                return Self { files };
            }
            fresh.into_iter().for_each(|file| file.is_test = true);
        }
    }

    pub fn files(&self) -> impl Iterator<Item = &Source> {
        self.files.iter()
    }

    pub fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files().filter(|file| file.is_rust())
    }

    /// Files whose path ends so.
    pub fn ending(&self, end: &str) -> impl Iterator<Item = &Source> {
        self.files().filter(move |file| file.path.ends_with(end))
    }

    /// Files below a folder, which ends with `/`.
    pub fn below(&self, folder: &str) -> impl Iterator<Item = &Source> {
        self.files().filter(move |file| file.path.starts_with(folder))
    }

    pub fn file(&self, path: &str) -> Option<&Source> {
        self.files().find(|file| file.path == path)
    }
}

/// Where the children of `file` live that only tests see.
fn tested_children(file: &Source) -> Vec<String> {
    let folder = match file.stem() {
        "lib" | "main" => file.path.rsplit_once('/').map_or("", |(folder, _)| folder),
        _ => file.path.trim_end_matches(".rs"),
    };
    let children = file.children().into_iter().filter(|(_, at)| file.in_test(*at));
    children.map(|(name, _)| format!("{folder}/{name}.rs")).collect()
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<Source>) -> io::Result<()> {
    // Cargo and other tools mark what they can make again with this file.
    if folder.join("CACHEDIR.TAG").exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path, kind) = (entry.file_name(), entry.path(), entry.file_type()?);
        let hidden = name.to_string_lossy().starts_with('.');
        if kind.is_dir() && !hidden && name != "target" && name != "node_modules" {
            walk(root, &path, files)?;
        } else if kind.is_file() && entry.metadata()?.len() < FILE_BYTES_MAX {
            files.extend(read(root, path));
        }
    }
    Ok(())
}

/// `None` when the file is not text.
fn read(root: &Path, path: PathBuf) -> Option<Source> {
    let text = fs::read_to_string(&path).ok()?;
    let inside = path.strip_prefix(root).expect("the walk began at the root");
    Some(Source::parse(&inside.to_string_lossy().replace('\\', "/"), &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tests_child_is_a_test() {
        let tree = Tree::sample(&[
            ("src/lib.rs", "mod a;"),
            ("src/a.rs", "#[cfg(test)]\nmod bed;\nmod real;"),
            ("src/a/bed.rs", "mod cot;"),
            ("src/a/bed/cot.rs", ""),
            ("src/a/real.rs", ""),
        ]);
        let tests: Vec<_> = tree.files().filter(|f| f.is_test).map(|f| &f.path).collect();
        assert_eq!(tests, ["src/a/bed.rs", "src/a/bed/cot.rs"]);
    }
}
