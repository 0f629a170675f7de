//! Messages and replies of `testdata`, each read by the engine.

use std::fs;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ehlo::proto::{Config, Connection, Context, Event, Scanner};
use ehlo::{BareNewlines, Content, ContentError, Envelope, Mailbox, Security};

use crate::event;
use crate::oracles::canonical;

#[test]
fn every_reply_is_read_as_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/replies");
    let mut count = 0;
    for entry in fs::read_dir(folder)
        .expect("the folder is part of the project")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(entry.path()).expect("replies are text");
        let mut lines = text.lines();
        let source = lines.next().unwrap_or_default();
        assert!(
            source.starts_with("# "),
            "{name}: the first line says where it comes from"
        );
        let wanted = lines.next().unwrap_or_default().trim_start_matches("# ");
        let reply: String = lines.map(|line| format!("{line}\r\n")).collect();
        let words = if name.ends_with("-greeting.txt") {
            words_after(connected(), &reply)
        } else if name.ends_with("-ehlo.txt") {
            words_after(greeted(), &reply)
        } else {
            words_after_mail(&reply)
        };
        let found = words
            .iter()
            .any(|word| word == wanted || word.starts_with(&format!("{wanted} ")));
        assert!(found, "{name}: {wanted:?} is not among {words:?}");
        count += 1;
    }
    assert!(count >= 25, "{count} replies");
}

#[test]
fn every_message_is_scanned_alike_whole_and_in_pieces() {
    for name in MESSAGES {
        let message = message(name);
        let content = Content::check(message.clone(), BareNewlines::Normalise);
        let content = content.expect("what can be normalised is not refused");
        for length in [1, 2, 3, 7, 1000] {
            let mut scanner = Scanner::default();
            for piece in message.chunks(length) {
                scanner.push(piece);
            }
            assert_eq!(
                &scanner.finish(),
                content.facts(),
                "{name} in pieces of {length}"
            );
        }
    }
}

#[test]
fn the_scan_finds_what_is_in_each_message() {
    for name in MESSAGES {
        let message = message(name);
        let facts = Content::check(message.clone(), BareNewlines::Normalise);
        let facts = facts
            .expect("what can be normalised is not refused")
            .facts()
            .clone();
        let on_the_wire = canonical(&message);
        let lines = || on_the_wire.split(|&octet| octet == b'\n');
        assert_eq!(facts.wire_size, on_the_wire.len() as u64, "{name}: size");
        assert_eq!(facts.eight_bit, !message.is_ascii(), "{name}: 8-bit");
        let dotted = lines().filter(|line| line.first() == Some(&b'.')).count();
        assert_eq!(facts.dotted_lines, dotted as u64, "{name}: dots");
        let longest = lines()
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line).len())
            .max();
        assert_eq!(
            facts.longest_line,
            longest.unwrap_or(0) as u64,
            "{name}: longest line"
        );
        assert_eq!(facts.nul, None, "{name}: NUL");
    }
}

#[test]
fn bare_newlines_are_refused_by_their_place() {
    for name in MESSAGES {
        let message = message(name);
        let refused = Content::check(message.clone(), BareNewlines::Reject).err();
        let first = (0..message.len()).find(|&at| match message[at] {
            b'\r' => message.get(at + 1) != Some(&b'\n'),
            b'\n' => at == 0 || message[at - 1] != b'\r',
            _ => false,
        });
        let expected = first.map(|at| ContentError::BareNewline { offset: at as u64 });
        assert_eq!(refused, expected, "{name}");
    }
    assert!(Content::check(message("bare-lf"), BareNewlines::Reject).is_err());
}

const MESSAGES: [&str; 7] = [
    "crlf",
    "bare-lf",
    "dots",
    "8bit",
    "long-line",
    "empty",
    "hello",
];

fn message(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/messages");
    fs::read(folder.join(format!("{name}.eml"))).expect("the message is part of the project")
}

fn words_after(mut connection: Connection, reply: &str) -> Vec<String> {
    connection.receive(reply.as_bytes(), Instant::now());
    let mut words = Vec::new();
    while let Some(event) = connection.poll_event() {
        words.push(event::words(&event, &[]));
    }
    words
}

fn words_after_mail(reply: &str) -> Vec<String> {
    let now = Instant::now();
    let mut connection = greeted();
    connection.receive(b"250 mx.example.org\r\n", now);
    let mailbox: Mailbox = "a@example.org".parse().expect("that is a mailbox");
    let envelope = Envelope::new(mailbox.clone(), [mailbox]);
    let content = Content::check("Hi\r\n", BareNewlines::Reject).expect("there is no bare newline");
    let id = connection
        .submit(envelope, content.into(), now)
        .expect("the session is open");
    send(&mut connection);
    connection.receive(reply.as_bytes(), now);
    let mut words = Vec::new();
    while let Some(event) = connection.poll_event() {
        if !matches!(event, Event::Reached { .. } | Event::Ready(_)) {
            words.push(event::words(&event, &[id]));
        }
    }
    words
}

/// A connection whose EHLO is unanswered.
fn greeted() -> Connection {
    let mut connection = connected();
    connection.receive(b"220 mx.example.org\r\n", Instant::now());
    send(&mut connection);
    connection
}

fn connected() -> Connection {
    let config = Arc::new(Config::new(Security::Plaintext));
    Connection::new(config, Context::default(), Instant::now())
}

fn send(connection: &mut Connection) {
    let mut slices = [IoSlice::new(&[]); 16];
    let count = connection.transmit(&mut slices);
    let length = slices[..count].iter().map(|slice| slice.len()).sum();
    connection.sent(length, Instant::now());
}
