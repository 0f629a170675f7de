//! The fuzzer's targets over their seeds, with a stable compiler and without the fuzzer. `SEEDS=FOLDER`
//! writes the seeds there, a folder a target, for the fuzzer to begin with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::architecture::{files, read, root};
use crate::targets;

#[test]
fn replies_are_judged_alike_however_they_are_cut() {
    run("reply", &of_transcripts(b"12345678"), targets::reply);
}

#[test]
fn sessions_end_well() {
    // Opportunistic TLS with a password; one message behind the other; LMTP in step.
    for (number, settings) in [b"\x0e", b"\x2b", b"\x73"].into_iter().enumerate() {
        let mut seeds = of_transcripts(settings);
        for (name, _) in &mut seeds {
            name.push_str(&format!(".{number}"));
        }
        run("session", &seeds, targets::session);
    }
}

#[test]
fn replies_are_read_as_the_reference_reads_them() {
    let mut seeds = of_transcripts(b"12345678");
    for path in files(&root().join("testdata/replies"), "txt") {
        let text = read(&path);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let reply: String = lines.map(|line| format!("{line}\r\n")).collect();
        seeds.push((name(&path), [b"12345678", reply.as_bytes()].concat()));
    }
    run("differential", &seeds, targets::differential);
}

#[test]
fn messages_arrive_as_they_were_submitted() {
    let mut seeds = Vec::new();
    for path in files(&root().join("testdata/messages"), "eml") {
        let message = fs::read(&path).expect("the message is part of the project");
        for (form, first) in [("whole", b"\0"), ("streamed", b"\x0c")] {
            seeds.push((
                format!("{}.{form}", name(&path)),
                [first, &message[..]].concat(),
            ));
        }
    }
    run("body", &seeds, targets::body);
}

#[test]
fn what_is_reported_is_what_the_server_did() {
    let mut seeds = Vec::new();
    for path in files(&root().join("testdata/messages"), "eml") {
        let message = fs::read(&path).expect("the message is part of the project");
        let seed = [b"12345678 ", &message[..], b"\xff\x0c", &message].concat();
        seeds.push((name(&path), seed));
        for (name_of_wish, wish) in WISHES {
            for (kind, mut server) in SERVERS {
                // Each its own course.
                server[1] = seeds.len() as u8;
                let seed = [&server[..], b" \x01", &message, wish, &message].concat();
                seeds.push((format!("{}.{name_of_wish}.{kind}", name(&path)), seed));
            }
        }
    }
    run("dialogue", &seeds, targets::dialogue);
}

#[test]
fn addresses_stay_in_their_place() {
    let mut addresses = BTreeSet::new();
    for path in files(&root().join("testdata/transcripts"), "smtp") {
        for piece in read(&path).split('<').skip(1) {
            let path = piece.split('>').next().filter(|path| path.contains('@'));
            addresses.extend(path.map(str::to_owned));
        }
    }
    // Parameters that the engine knows: each belongs to one command.
    addresses.extend(["NOTIFY=NEVER", "RET=HDRS", "HOLDFOR=0", "REQUIRETLS"].map(str::to_owned));
    // No server reads a command of this length.
    addresses.insert(format!("{}@example.org", "a".repeat(2_100)));
    let numbered = addresses.into_iter().enumerate();
    let seeds: Vec<_> = numbered
        .map(|(number, address)| (number.to_string(), address.into_bytes()))
        .collect();
    run("address", &seeds, |input| match str::from_utf8(input) {
        Ok(text) => targets::address(text),
        Err(_) => Ok(()),
    });
}

/// What the caller wants at which turn, between two messages; `targets::dialogue` reads them.
const WISHES: [(&str, &[u8]); 7] = [
    ("late", b"\xff\xf0\x06\x04"),
    ("cancel", b"\xff\xf1\x05\x00\xff\x01"),
    ("probe", b"\xff\xf2\x03\xff\x01"),
    ("quit", b"\xff\xf3\x08\xff\x01"),
    ("abandon", b"\xff\xf4\x09\xff\x0c"),
    ("wait", b"\xff\xf5\x04\xff\x01"),
    ("time-out", b"\xff\xf6\x07\xff\x0c"),
];

/// The octets that decide about the server: the first about its breakdowns, the last two about its ways.
const SERVERS: [(&str, [u8; 8]); 4] = [
    ("whole", *b"02345660"),
    ("in-chunks", *b"<2345664"),
    ("overlapping", *b"<2345666"),
    ("lmtp", *b"<234567<"),
];

#[track_caller]
fn run(target: &str, seeds: &[(String, Vec<u8>)], body: fn(&[u8]) -> Result<(), String>) {
    assert!(!seeds.is_empty());
    for (name, seed) in seeds {
        if let Err(problem) = body(seed) {
            panic!("{target} at {name}: {problem}");
        }
    }
    if let Some(folder) = std::env::var_os("SEEDS") {
        let folder = root().join(folder).join(target);
        fs::create_dir_all(&folder).expect("a folder for the seeds");
        for (name, seed) in seeds {
            fs::write(folder.join(name), seed).expect("a seed can be written");
        }
    }
}

/// What the servers of the transcripts say, with a turn of the client (255, `D`) wherever it speaks,
/// behind the octets that a target reads its settings from.
fn of_transcripts(settings: &[u8]) -> Vec<(String, Vec<u8>)> {
    let paths = files(&root().join("testdata/transcripts"), "smtp");
    let seeds = paths.into_iter().map(|path| {
        let folder = path.parent().map(name).unwrap_or_default();
        let mut seed = settings.to_vec();
        let mut has_said = false;
        for line in read(&path).lines() {
            if let Some(text) = line.strip_prefix("S:") {
                seed.extend_from_slice(text.strip_prefix(' ').unwrap_or(text).as_bytes());
                seed.extend_from_slice(b"\r\n");
                has_said = true;
            } else if line.starts_with('C') {
                if has_said {
                    seed.extend_from_slice(b"\xffD");
                }
                has_said = false;
            } else {
                seed.extend_from_slice(step(line));
            }
        }
        (format!("{folder}.{}", name(&path)), seed)
    });
    seeds.collect()
}

/// The steps of a transcript's verb.
fn step(line: &str) -> &'static [u8] {
    match line.split(' ').next().unwrap_or_default() {
        "submit" if line.contains("streamed") => b"\xffW",
        "submit" => b"\xffS",
        "body" | "body*" => b"\xffB\xfff",
        "probe" => b"\xffP",
        "cancel" => b"\xffC",
        "abandon" => b"\xffA",
        "tls" => b"\xffL",
        "quit" => b"\xffQ",
        "eof" => b"\xffE",
        "wait" => b"\xffT",
        _ => b"",
    }
}

fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}
