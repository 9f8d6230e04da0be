//! The files that a configuration includes: which they are, and what stands in them.

use crate::problem::{Problem, Source};
use crate::yaml::{self, At, Environment};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How many files one configuration may include.
const FILES_MAX: usize = 512;

/// How long they may be together, in bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What their names end with in a directory.
const EXTENSIONS: [&str; 2] = ["yaml", "yml"];

/// What was read.
#[derive(Default)]
pub(super) struct Included {
    pub(super) sources: Vec<Source>,
    pub(super) problems: Vec<Problem>,
}

/// Reads what is `named`; relative paths begin at `base_dir`.
pub(super) fn read(base_dir: &Path, named: &[At<String>]) -> Included {
    let (mut all, mut bytes) = (Included::default(), 0);
    for name in named {
        let path = base_dir.join(&name.value);
        let files = match files(&path) {
            Ok(files) => files,
            Err(error) => {
                let problem = name.problem(format!("{} can't be read: {error}", path.display()));
                all.problems.push(problem.help("name a file, or a directory of `.yaml` files"));
                continue;
            }
        };
        for file in files {
            if FILES_MAX <= all.sources.len() {
                let problem = name.problem(format!("more than {FILES_MAX} files are included"));
                all.problems.push(problem.help("put several of them into one"));
                return all;
            }
            match text(&file) {
                Ok(text) => {
                    bytes += text.len();
                    if BYTES_MAX < bytes {
                        let text = format!("more than {BYTES_MAX} bytes are included");
                        all.problems.push(name.problem(text).help("give some to another gateway"));
                        return all;
                    }
                    let file = file.display().to_string();
                    all.sources.push(Source { file, text: text.into() });
                }
                Err(why) => all.problems.push(name.problem(format!("{}: {why}", file.display()))),
            }
        }
    }
    all
}

/// The files that `path` stands for: itself, or what is in it, in the order of their names. Hidden
/// ones are an editor's, or of the links that a ConfigMap of Kubernetes is made of.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| is_taken(path)).collect();
    files.sort();
    Ok(files)
}

fn is_taken(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let ends_right = path.extension().is_some_and(|end| EXTENSIONS.iter().any(|it| end == *it));
    !is_hidden && ends_right && !path.is_dir()
}

fn text(file: &Path) -> Result<String, String> {
    let is_file = fs::metadata(file).map_err(|error| format!("it can't be read: {error}"))?;
    if !is_file.is_file() {
        return Err("it is no file".to_owned());
    }
    // One byte more than allowed is enough to refuse it.
    let most = yaml::FILE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|error| format!("it can't be read: {error}"))?;
    if yaml::FILE_BYTES_MAX < bytes.len() {
        return Err(format!("it has more than {} bytes", yaml::FILE_BYTES_MAX));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8: save it as UTF-8")
    })
}

/// All files that `file` includes, as far as it can be read, and the directories that they are in.
pub(crate) fn included(file: &Path, environment: &Environment) -> Vec<PathBuf> {
    let Ok(text) = text(file) else { return Vec::new() };
    let base_dir = super::base_dir(file);
    let named = yaml::included(&text, environment);
    named.into_iter().map(|name| base_dir.join(name.value)).collect()
}

/// The files behind what [`included`] returns. What can't be read is none.
pub(crate) fn files_of(included: &[PathBuf]) -> Vec<PathBuf> {
    included.iter().flat_map(|path| files(path).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_other_files_are_not_taken() {
        for (name, is_wanted) in [
            ("live.yaml", true),
            ("live.yml", true),
            (".live.yaml", false),
            ("live.yaml~", false),
            ("live.yaml.swp", false),
            ("README.md", false),
        ] {
            assert_eq!(is_taken(Path::new("/nowhere").join(name).as_path()), is_wanted, "{name}");
        }
    }
}
