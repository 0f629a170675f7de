//! Each file of `testdata/transcripts` is a test with its own name, in several ways of being played;
//! the matrix of failures at every stage is another set, and the combinations of refusals in a group a third. `BLESS=1` rewrites what the client does.

mod transcript;

use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
#[cfg(feature = "sandbox")]
use transcript::network;
use transcript::parse::{self, Transcript};
use transcript::play::{Pieces, Writes, play};
use transcript::{bless, combinations, matrix, says};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for path in parse::all() {
        match Transcript::load(&path) {
            Ok(transcript) => trials.extend(of_file(transcript)),
            Err(problem) => {
                let name = format!("{}::format", path.display());
                trials.push(Trial::test(name, move || Err(Failed::from(problem))));
            }
        }
    }
    trials.extend(matrix::trials());
    trials.extend(combinations::trials());
    trials.push(Trial::test("errors", || Ok(errors_say_what_is_written()?)));
    libtest_mimic::run(&arguments, trials).exit();
}

fn errors_say_what_is_written() -> Result<(), String> {
    let files = parse::all();
    let transcripts: Result<Vec<_>, _> = files.iter().map(|path| Transcript::load(path)).collect();
    let mut transcripts = transcripts?;
    transcripts.retain(|transcript| !NEEDS_IDNA.contains(&transcript.name.as_str()));
    says::errors(&transcripts)
}

fn of_file(transcript: Transcript) -> Vec<Trial> {
    if cfg!(not(feature = "idna")) && NEEDS_IDNA.contains(&transcript.name.as_str()) {
        return Vec::new();
    }
    if std::env::var_os("BLESS").is_some() {
        let name = format!("{}::bless", transcript.name);
        return vec![Trial::test(name, move || Ok(bless::bless(&transcript)?))];
    }
    let transcript = Arc::new(transcript);
    let trial = |way: &str, run: fn(&Transcript) -> Result<(), String>| {
        let transcript = transcript.clone();
        Trial::test(format!("{}::{way}", transcript.name), move || {
            Ok(run(&transcript)?)
        })
    };
    let mut trials = vec![
        trial("whole", |transcript| {
            play(transcript, Pieces::Whole, Writes::Whole)
        }),
        trial("octet_by_octet", |transcript| {
            play(transcript, Pieces::Octets, Writes::Whole)
        }),
        trial("short_writes", |transcript| {
            play(transcript, Pieces::Whole, Writes::Octets)
        }),
        trial("random_pieces", |transcript| {
            let first = std::env::var("SPLIT_SEED")
                .ok()
                .and_then(|seed| seed.parse().ok());
            let seeds = first.map_or(1..=24, |seed| seed..=seed);
            for seed in seeds {
                play(transcript, Pieces::Random(seed), Writes::Octets)?;
            }
            Ok(())
        }),
    ];
    trials.extend(over_a_network(&transcript));
    trials
}

/// Through the driver; a file that this cannot play shows as ignored, with the reason.
#[cfg(feature = "sandbox")]
fn over_a_network(transcript: &Arc<Transcript>) -> Option<Trial> {
    let name = format!("{}::network", transcript.name);
    let hindrance = network::hindrance(transcript);
    let transcript = transcript.clone();
    let trial = Trial::test(name, move || Ok(network::play(&transcript)?));
    Some(match hindrance {
        None => trial,
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
    })
}

/// Without the driver and the sandbox there is no network.
#[cfg(not(feature = "sandbox"))]
fn over_a_network(_: &Arc<Transcript>) -> Option<Trial> {
    None
}

/// What cannot be shown without the tables of the feature `idna`.
const NEEDS_IDNA: [&str; 2] = ["extensions/utf8_a_labels", "extensions/utf8_never"];
