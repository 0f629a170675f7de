//! The walls between the layers, held by reading the files.

use std::fs;
use std::path::{Path, PathBuf};

/// Layers from low to high; a module names only modules of its own layer or below. `reply` and
/// `error` are the lowest, the rest of `proto` stands on them.
const LAYERS: [(&str, u8); 11] = [
    ("error", 0),
    ("proto", 1),
    ("net", 2),
    ("sandbox", 2),
    ("message", 2),
    ("providers", 3),
    ("settings", 4),
    ("diagnosis", 5),
    ("check", 6),
    ("conformance", 6),
    ("cli", 7),
];

/// What the engine and the sandbox's session do without.
const ABSENT: [&str; 13] = [
    "tokio",
    "rustls",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::fs",
    "std::thread",
    "std::env",
    "Instant::now",
    "SystemTime",
    "println!",
    "rand",
    "async",
];

#[test]
fn a_layer_names_only_what_is_below_it() {
    let mut problems = Vec::new();
    for path in sources() {
        let Some((layer, height)) = layer_of(&path) else {
            continue;
        };
        let text = code(&path);
        for (other, other_height) in LAYERS {
            let named = text.contains(&format!("crate::{other}"));
            // Two neighbours of one height do not know each other.
            let above = other_height > height || (other_height == height && other != layer);
            // `error` and `reply` know each other.
            let allowed = layer == "error"
                && text.matches("crate::proto").count()
                    == text.matches("crate::proto::reply").count();
            if named && above && !allowed {
                problems.push(format!("{} names {other}", path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn the_engine_has_no_world() {
    let mut problems = Vec::new();
    for path in sources() {
        let text = path.to_string_lossy().replace('\\', "/");
        if !(text.contains("/src/proto/") || text.ends_with("/src/sandbox/session.rs")) {
            continue;
        }
        let code = code(&path);
        for word in ABSENT {
            if has_word(&code, word) {
                problems.push(format!("{text} has {word}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn only_command_writes_protocol_text() {
    for path in sources() {
        let text = path.to_string_lossy().replace('\\', "/");
        if !text.contains("/src/proto/") || text.ends_with("/command.rs") {
            continue;
        }
        let code = code(&path);
        for verb in ["\"MAIL FROM", "\"RCPT TO", "\"EHLO ", "\"DATA\r\n"] {
            assert!(!code.contains(verb), "{text} writes {verb}");
        }
    }
}

#[test]
fn files_are_short_enough_to_be_read() {
    let tests = rust_files(&root().join("tests"));
    for path in sources().into_iter().chain(tests) {
        let lines = read(&path).lines().count();
        assert!(lines <= 700, "{} has {lines} lines", path.display());
    }
}

#[test]
fn each_row_about_servers_that_break_their_word_names_what_shows_it() {
    let documented = read(&root().join("src/proto/mod.rs"));
    let driver: String = rust_files(&root().join("tests/it/net"))
        .iter()
        .map(|path| read(path))
        .collect();
    let rows: Vec<_> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"))
        .skip(2)
        .collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in rows {
        let (_, shown) = row.rsplit_once(" | ").expect("a row has columns");
        let names: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing shows: {row}");
        for name in names {
            let found = if name.contains('/') {
                let file = format!("testdata/transcripts/{name}.smtp");
                root().join(file).is_file()
            } else {
                driver.contains(&format!("fn {name}()"))
            };
            assert!(found, "{name} is not there: {row}");
        }
    }
}

fn layer_of(path: &Path) -> Option<(&'static str, u8)> {
    let relative = path.strip_prefix(root().join("src")).ok()?;
    let first = relative.components().next()?.as_os_str().to_str()?;
    let first = first.strip_suffix(".rs").unwrap_or(first);
    LAYERS.into_iter().find(|(name, _)| *name == first)
}

/// A file without comments and without its tests.
fn code(path: &Path) -> String {
    let text = read(path);
    let text = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default()
        .to_owned();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let before = text[..at].chars().next_back().is_some_and(is_part);
        let after = text[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

fn sources() -> Vec<PathBuf> {
    rust_files(&root().join("src"))
}

pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    files(folder, "rs")
}

pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("the folder is part of the project")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
