//! Documents that would otherwise rot: every YAML in them loads, every table is the real one.

use std::fs;
use std::path::{Path, PathBuf};
use streamgate::config;
use streamgate::denial;
use streamgate::gateway::{Gateway, Shared};
use streamgate::metrics::{self, Metrics};
use streamgate::store::Timeouts;
use streamgate::yaml::Environment;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and every page below docs/.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of documents").flatten() {
            let path = entry.path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(ending) if ending == "md" => pages.push(path),
                _ => {}
            }
        }
    }
    pages.retain(|page| page.exists());
    pages
}

/// The blocks of YAML on a page, each with the line it begins on.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in page.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```yaml" => open = Some((index + 2, String::new())),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    blocks
}

/// Variables that documents name.
fn environment() -> Environment {
    let names = [
        "SESSION_SECRET",
        "SESSION_SECRET_BEFORE",
        "ACCOUNT_PEPPER",
        "KIDS_PEPPER",
        "STREAM_SECRET",
        "STREAM_SECRET_BEFORE",
        "TICKET_SECRET",
        "TICKET_SECRET_BEFORE",
        "NEXT_PEPPER",
        "STICKY_SECRET",
        "ADMIN_TOKEN",
        "REDIS_PASSWORD",
    ];
    names.iter().fold(Environment::default(), |environment, name| {
        environment.with(name, format!("{name}, thirty-two bytes or more"))
    })
}

/// A block that shows one section says so in its first line.
const FRAGMENT: &str = "# fragment of: ";

/// What is wrong with a block, if anything.
fn wrong(block: &str) -> Option<String> {
    let path = Path::new("gateway.yaml");
    let Some(section) = block.lines().next().and_then(|line| line.strip_prefix(FRAGMENT)) else {
        let loaded = match config::read(path, block.to_owned(), &environment()) {
            Ok(loaded) => loaded,
            Err(report) => return Some(report.to_string()),
        };
        let compiled = Gateway::compile(&loaded, &Shared::default(), &Metrics::new());
        return compiled.err().map(|report| report.to_string());
    };
    let mut file: String = block.lines().map(|line| format!("  {line}\n")).collect();
    file.insert_str(0, &format!("{section}:\n"));
    for other in ["listeners", "routes"].iter().filter(|other| **other != section) {
        file.push_str(&format!("{other}: []\n"));
    }
    config::read(path, file, &environment()).err().map(|report| report.to_string())
}

#[test]
fn every_yaml_block_loads() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for (line, block) in blocks(&text) {
            count += 1;
            if let Some(report) = wrong(&block) {
                panic!("{}, the block at line {line}:\n{report}", page.display());
            }
        }
    }
    assert!(10 < count, "the blocks are found: {count}");
}

/// Compares a page with what makes it; `BLESS=1` writes it.
/// A gateway whose `REDIS_URL` was forgotten would count for itself, in silence.
#[test]
fn no_example_falls_back_to_a_store_that_nobody_shares() {
    let files = pages().into_iter().chain([root().join("config/gateway.yaml")]);
    for file in files {
        let text = fs::read_to_string(&file).expect("a page");
        assert!(!text.contains(":-memory:"), "{}", file.display());
    }
}

fn is_made(page: &str, made: &str) {
    let path = root().join(page);
    if std::env::var_os("BLESS").is_some() {
        return fs::write(&path, made).expect("the page can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "{page} is outdated; run: BLESS=1 cargo test --test it docs");
}

#[test]
fn the_pages_of_tables_are_the_tables() {
    is_made("docs/denials.md", &denial::as_markdown());
    is_made("docs/metrics.md", &metrics::as_markdown(&Metrics::new().families));
}

/// What pages say of the time that a store may take is what the code gives it.
#[test]
fn the_timeouts_of_a_store_are_those_of_the_pages() {
    let Timeouts { connect, command, .. } = Timeouts::default();
    for page in ["README.md", "docs/operations.md", "docs/filters/concurrency.md"] {
        let text = fs::read_to_string(root().join(page)).expect("a page");
        for time in [connect, command, Timeouts::START] {
            let said = format!("{} ms", time.0.as_millis());
            assert!(text.contains(&said), "{page} does not say {said}");
        }
    }
}

#[test]
fn every_key_is_explained_somewhere() {
    let pages: String = pages().iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    let schema = config::schema();
    let root = schema["properties"].as_object().expect("the file has keys");
    let parts = schema["$defs"].as_object().expect("the file has parts");
    let inner = parts.values().filter_map(|part| part["properties"].as_object());
    for key in [root].into_iter().chain(inner).flat_map(|keys| keys.keys()) {
        let is_told = pages.contains(&format!("{key}:")) || pages.contains(&format!("`{key}`"));
        assert!(is_told, "no page names `{key}`");
    }
}
