//! The page `src/diagnosis/troubleshooting.md`, made of what really happens.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use ehlo::Stage;
use ehlo::diagnosis::Kind;

use super::cases::{CASES, Case, ELSEWHERE};
use super::stage::{Visit, visit};

/// `BLESS=1` writes the page anew. Read the difference: people read the page.
#[tokio::test]
async fn the_troubleshooting_page_is_what_happens() {
    let visits: Vec<_> = CASES
        .iter()
        .map(|case| tokio::spawn(visit(case.sandbox, case.with)))
        .collect();
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (case, visit) in CASES.iter().zip(visits) {
        let visit = visit.await.expect("a visit does not panic");
        if visit.diagnosis.kind != case.kind {
            wrong.push(format!(
                "{} instead of {} for {}: {:?}",
                visit.diagnosis.kind,
                case.kind,
                shown(case),
                visit.error
            ));
        }
        rows.push((visit.diagnosis.stage, row(case, &visit)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let made = page(&rows);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/diagnosis/troubleshooting.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, made).expect("the page can be written");
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    for (number, (made, kept)) in made.lines().zip(kept.lines()).enumerate() {
        assert_eq!(made, kept, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(made.lines().count(), kept.lines().count());
}

#[test]
fn every_kind_can_be_seen_or_has_a_reason() {
    let seen: BTreeSet<_> = CASES.iter().map(|case| case.kind).collect();
    let elsewhere: BTreeSet<_> = ELSEWHERE.iter().map(|(kind, _)| *kind).collect();
    let both: Vec<_> = seen.intersection(&elsewhere).collect();
    assert!(both.is_empty(), "{both:?}");
    let missing: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| !seen.contains(kind) && !elsewhere.contains(kind))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn page(rows: &[(Stage, String)]) -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut last = None;
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_by_key(|(stage, _)| *stage);
    for (stage, row) in sorted {
        if last != Some(stage) {
            page.push_str(&format!("\n## {}\n\n{HEAD}", title(*stage)));
            last = Some(stage);
        }
        page.push_str(row);
    }
    page.push_str(OTHERS);
    for (kind, why) in ELSEWHERE {
        page.push_str(&format!("- `{kind}`: {why}.\n"));
    }
    page
}

fn row(case: &Case, visit: &Visit) -> String {
    let diagnosis = &visit.diagnosis;
    let cell = |text: &str| {
        let mut text = text.replace('|', "\\|").replace('<', "&lt;");
        text = text.replace('[', "\\[").replace("://", "&#58;//");
        for (varying, instead) in &visit.varying {
            text = text.replace(varying.as_str(), instead);
        }
        without_today(&text)
    };
    let first = |texts: &[String]| cell(texts.first().map_or("", String::as_str));
    format!(
        "| {} | {} | {} | `{}` | `{}` | {} |\n",
        cell(&diagnosis.observed),
        first(&diagnosis.causes),
        first(&diagnosis.advice),
        diagnosis.kind,
        diagnosis.category,
        shown(case).replace('|', "\\|")
    )
}

/// The clock of this machine is not that of the next one.
fn without_today(text: &str) -> String {
    const SAYS: &str = "it says ";
    match text.split_once(SAYS) {
        Some((before, after)) => {
            let is_date = |c: char| c.is_ascii_digit() || c == '-';
            let rest = after.trim_start_matches(is_date);
            match after.len() - rest.len() {
                10 => format!("{before}{SAYS}TODAY{rest}"),
                _ => text.to_owned(),
            }
        }
        None => text.to_owned(),
    }
}

/// How to see it.
fn shown(case: &Case) -> String {
    let quoted = |argument: &&str| match argument.contains([' ', '\\', '[']) {
        true => format!("'{argument}'"),
        false => (*argument).to_owned(),
    };
    let arguments: Vec<_> = case.sandbox.iter().map(quoted).collect();
    let sandbox = arguments.join(" ");
    let client: Vec<_> = case.with.iter().map(|with| with.words()).collect();
    let client = client.join(", ");
    match (sandbox.is_empty(), client.is_empty()) {
        (false, true) => format!("`{sandbox}`"),
        (true, _) => client,
        (false, false) => format!("`{sandbox}`; {client}"),
    }
}

fn title(stage: Stage) -> &'static str {
    match stage {
        Stage::Resolve => "Looking up the host",
        Stage::Connect => "Connecting",
        Stage::Greeting => "The greeting",
        Stage::Ehlo => "The introduction (EHLO)",
        Stage::StartTls => "Asking for encryption (STARTTLS)",
        Stage::Handshake => "Setting up the encryption (TLS)",
        Stage::Auth => "Logging in",
        Stage::Mail => "The sender",
        Stage::Rcpt => "The recipients",
        Stage::Data | Stage::Body => "The message",
        _ => "The end",
    }
}

const INTRODUCTION: &str = "\
What can go wrong on the way of a message, in the order of a connection: what is said of it, and the
first cause and the first advice of several. Each row was made by a test, which runs a client into
the fault and compares; the last column has the options of `ehlo sandbox` that show the same, and
what is set otherwise than it should be. In all rows the host is `localhost` and the port 2525.
";

const HEAD: &str = "\
| what was seen | likely cause | what to change | kind | category | to see it |
| --- | --- | --- | --- | --- | --- |
";

const OTHERS: &str = "
## What a sandbox cannot show

";
