//! The rules of `testdata/rules.md`: each is shown, and the table of what shows it is part of the
//! documentation. `BLESS=1` makes the table anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::architecture::{files, read, root, rust_files};

#[test]
fn every_transcript_says_what_it_is_for() {
    let known: BTreeSet<_> = rules().into_iter().map(|rule| rule.id).collect();
    let files = files(&root().join("testdata/transcripts"), "smtp");
    assert!(files.len() >= 250, "{} transcripts", files.len());
    let mut bugs = BTreeSet::new();
    for path in files {
        let text = read(&path);
        let name = path.display();
        let first = text.lines().next().unwrap_or_default();
        let says = first.strip_prefix("# A client ");
        assert!(
            says.is_some_and(|bug| bug.len() > 12 && bugs.insert(bug.to_owned())),
            "{name}: the first line says which bug it would catch, and no other transcript says the same"
        );
        let cited = cited(&path);
        assert!(!cited.is_empty(), "{name} cites no rule");
        for rule in cited {
            assert!(
                known.contains(&rule),
                "{name} cites {rule}, which is no rule"
            );
        }
    }
}

#[test]
fn every_rule_is_shown() {
    let transcripts = transcripts();
    let missing: Vec<_> = rules()
        .into_iter()
        .map(|rule| (rule.tests.is_empty(), rule.id))
        .filter(|(no_tests, id)| *no_tests && !transcripts.contains_key(id))
        .collect();
    assert!(missing.is_empty(), "nothing shows {missing:?}");
}

#[test]
fn every_test_that_a_rule_names_exists() {
    let tests = rust_files(&root().join("tests")).into_iter();
    let code: String = tests
        .chain(rust_files(&root().join("src")))
        .map(|path| read(&path))
        .collect();
    for rule in rules() {
        for test in rule.tests {
            let found = code.contains(&format!("fn {test}(")) && !test.is_empty();
            assert!(found, "{} names {test}, which is not there", rule.id);
        }
    }
}

#[test]
fn rules_are_told_apart_and_have_a_level() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        assert!(seen.insert(rule.id.clone()), "{} is there twice", rule.id);
        assert!(
            ["M", "M?", "S", "H"].contains(&rule.level.as_str()),
            "{} is of level {}",
            rule.id,
            rule.level
        );
    }
    assert!(seen.len() > 90, "{} rules", seen.len());
}

#[test]
fn the_table_of_the_documentation_is_what_the_files_say() {
    let table = table();
    let path = root().join("src/proto/rules.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &table).expect("the table can be written");
    }
    let documented = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        documented.replace("\r\n", "\n") == table,
        "src/proto/rules.md is out of date: BLESS=1 cargo test --test it rules"
    );
}

#[test]
fn the_program_has_every_transcript_and_every_message() {
    let list = list();
    let path = root().join("src/conformance/files.rs");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &list).expect("the list can be written");
    }
    assert!(
        read(&path).replace("\r\n", "\n") == list,
        "src/conformance/files.rs is out of date: BLESS=1 cargo test --test it rules"
    );
}

/// The files that are part of the program.
fn list() -> String {
    let mut list = String::from(LIST_HEAD);
    let mut entries = |constant: &str, kind: &str, call: &str, folder: &str, extension: &str| {
        let _ = write!(
            list,
            "\n#[rustfmt::skip]\npub(super) const {constant}: &[(&str, {kind})] = &[\n"
        );
        for path in files(&root().join("testdata").join(folder), extension) {
            let path = path.strip_prefix(root().join("testdata")).unwrap_or(&path);
            let path = path.to_string_lossy().replace('\\', "/");
            let name = match extension {
                "smtp" => path
                    .trim_start_matches("transcripts/")
                    .trim_end_matches(".smtp"),
                _ => &path,
            };
            let _ = writeln!(
                list,
                "    (\"{name}\", {call}!(\"../../testdata/{path}\")),"
            );
        }
        list.push_str("];\n");
    };
    entries("TRANSCRIPTS", "&str", "include_str", "transcripts", "smtp");
    entries("MESSAGES", "&[u8]", "include_bytes", "messages", "eml");
    list
}

const LIST_HEAD: &str = "\
//! The files of `testdata` that are part of the program, by name. A test makes and checks the list.
";

struct Rule {
    section: String,
    id: String,
    level: String,
    text: String,
    tests: Vec<String>,
}

/// All rules, in their order. A line `  Tests: …` below a rule names what shows it.
fn rules() -> Vec<Rule> {
    let mut section = String::new();
    let mut rules: Vec<Rule> = Vec::new();
    for line in read(&root().join("testdata/rules.md")).lines() {
        if let Some(heading) = line.strip_prefix("**") {
            section = heading.replace("**", "");
        } else if let Some(rule) = line.strip_prefix("- ") {
            let mut words = rule.splitn(3, ' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            rules.push(Rule {
                section: section.clone(),
                id: word(),
                level: word(),
                text: word(),
                tests: Vec::new(),
            });
        } else if let Some(tests) = line.strip_prefix("  Tests: ") {
            let rule = rules.last_mut().expect("a rule comes before its tests");
            let names = tests.split('`').skip(1).step_by(2);
            rule.tests.extend(names.map(str::to_owned));
        }
    }
    rules
}

/// The names of the transcripts that cite each rule.
fn transcripts() -> BTreeMap<String, Vec<String>> {
    let folder = root().join("testdata/transcripts");
    let mut citing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files(&folder, "smtp") {
        let name = path.strip_prefix(&folder).unwrap_or(&path);
        let name = name.with_extension("").to_string_lossy().replace('\\', "/");
        for id in cited(&path) {
            citing.entry(id).or_default().push(name.clone());
        }
    }
    citing
}

/// The rules that the comment at the start of a transcript names.
fn cited(path: &Path) -> BTreeSet<String> {
    let text = read(path);
    let comments = text.lines().take_while(|line| line.starts_with('#'));
    comments.flat_map(ids).collect()
}

/// The rule ids in a line.
fn ids(line: &str) -> Vec<String> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '-'))
        .filter(|word| {
            let numbers = word
                .strip_prefix("R-")
                .and_then(|rest| rest.split_once('-'));
            numbers.is_some_and(|(rfc, number)| {
                [rfc, number].iter().all(|part| part.parse::<u32>().is_ok())
            })
        })
        .map(str::to_owned)
        .collect()
}

fn table() -> String {
    let transcripts = transcripts();
    let mut table = String::from(INTRODUCTION);
    let mut section = String::new();
    for rule in rules() {
        if rule.section != section {
            section.clone_from(&rule.section);
            let _ = write!(table, "\n# {section}\n\n{COLUMNS}");
        }
        let shown = transcripts.get(&rule.id).map_or(&[][..], Vec::as_slice);
        let mut shows: Vec<_> = shown
            .iter()
            .take(MOST_NAMED)
            .chain(&rule.tests)
            .map(|name| format!("`{name}`"))
            .collect();
        if let more @ 1.. = shown.len().saturating_sub(MOST_NAMED) {
            shows.insert(MOST_NAMED, format!("{more} more transcripts"));
        }
        let Rule { id, level, .. } = &rule;
        let text = rule.text.replace('|', "\\|");
        let _ = writeln!(table, "| {id} | {level} | {text} | {} |", shows.join(", "));
    }
    table
}

/// Transcripts named for one rule; the others are counted.
const MOST_NAMED: usize = 6;

const COLUMNS: &str = "\
| rule | level | what it says | shown by |
| --- | --- | --- | --- |
";

const INTRODUCTION: &str = "\
The rules of the protocol that a client can break, and what shows that this one keeps each.

**M** is a MUST of the RFC, **S** a SHOULD, **H** hardening of our own. A name with a slash is a
dialogue in `testdata/transcripts`, any other a test or a property. The page is made of
`testdata/rules.md` and of what the transcripts cite, and a test holds that no rule is without.
";
