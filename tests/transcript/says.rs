//! What people read when something goes wrong: every error of all transcripts, in `testdata/errors.txt`.
//! `BLESS=1` writes the file anew: read the difference before it is committed.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use ehlo::Error;

use super::parse::Transcript;
use super::play::{Pieces, Player, Writes};

/// Compares what these transcripts' errors say with what is written.
pub(crate) fn errors(transcripts: &[Transcript]) -> Result<(), String> {
    let mut said = BTreeSet::new();
    for transcript in transcripts {
        let mut player = Player::new(transcript, Pieces::Whole, Writes::Whole);
        for block in &transcript.blocks {
            player.step(block)?;
        }
        said.extend(player.errors.iter().map(words));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/errors.txt");
    let text = format!("{HEAD}{}", Vec::from_iter(said).concat());
    if std::env::var_os("BLESS").is_some() {
        return fs::write(&path, text).map_err(|error| error.to_string());
    }
    let written = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    difference(&written.replace("\r\n", "\n"), &text)
}

/// An error without what differs from server to server.
fn words(error: &Error) -> String {
    let lasting = match error.is_temporary() {
        true => "temporary",
        false => "permanent",
    };
    let (category, stage, party) = (error.category(), error.stage(), error.party());
    let mut words = format!("\n{category} {stage} {lasting}, for the {party}\n");
    let _ = writeln!(words, "    {}", error.message());
    if let Some(hint) = error.hint() {
        let _ = writeln!(words, "    > {hint}");
    }
    let mut source = error.source();
    while let Some(beneath) = source {
        let _ = writeln!(words, "    because {beneath}");
        source = beneath.source();
    }
    words
}

fn difference(written: &str, said: &str) -> Result<(), String> {
    let told = |text: &str| BTreeSet::from_iter(text.split("\n\n").map(str::to_owned));
    let (before, now): (BTreeSet<String>, BTreeSet<String>) =
        (told(written.trim_end()), told(said.trim_end()));
    let mut shown = String::new();
    for (mark, words) in before
        .difference(&now)
        .map(|words| ('-', words))
        .chain(now.difference(&before).map(|words| ('+', words)))
    {
        let _ = writeln!(
            shown,
            "{mark} {}",
            words.replace('\n', &format!("\n{mark} "))
        );
    }
    match shown.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "testdata/errors.txt is out of date: BLESS=1 cargo test --test transcripts errors\n{shown}"
        )),
    }
}

const HEAD: &str = "\
# What the errors in the transcripts say: category, stage, whether to try again, and who has to act; then the message,
# behind > the hint, and what was seen. Made by BLESS=1 cargo test --test transcripts errors; read the difference.
";
