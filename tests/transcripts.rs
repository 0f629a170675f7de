//! Each file of `testdata/transcripts` is a test with its own name, in several ways of being played;
//! the matrix of failures at every stage is another set. `BLESS=1` rewrites what the client does.

mod transcript;

use libtest_mimic::{Arguments, Failed, Trial};
use transcript::parse::{self, Transcript};
use transcript::play::{Pieces, Writes, play};
use transcript::{bless, matrix};

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
    libtest_mimic::run(&arguments, trials).exit();
}

fn of_file(transcript: Transcript) -> Vec<Trial> {
    if std::env::var_os("BLESS").is_some() {
        let name = format!("{}::bless", transcript.name);
        return vec![Trial::test(name, move || Ok(bless::bless(&transcript)?))];
    }
    let transcript = std::sync::Arc::new(transcript);
    let trial = |way: &str, run: fn(&Transcript) -> Result<(), String>| {
        let transcript = transcript.clone();
        Trial::test(format!("{}::{way}", transcript.name), move || {
            Ok(run(&transcript)?)
        })
    };
    vec![
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
    ]
}
