//! Whatever a message holds, every kind of server sees the message that was submitted: one that ends
//! lines at CRLF only, one that does so at any LF, and one that does so at any CR.

#![no_main]

use std::time::Instant;

use ehlo::proto::Config;
use ehlo::{BareNewlines, Content, Security};
use ehlo_fuzz::Peer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let content = Content::check(input.to_vec(), BareNewlines::Normalise).expect("normalised");
    if content.facts().nul.is_some() {
        return; // DATA cannot carry it
    }
    let mut peer = Peer::new(Config::new(Security::Plaintext), Instant::now());
    peer.submit(content.clone());
    for reply in [
        "220 x\r\n",
        "250-x\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
    ] {
        peer.converse(reply);
    }
    let sent = peer.converse("354 go on\r\n");
    let lines = lines_of(input);
    assert_eq!(decoded(&sent, b"\r\n"), lines);
    assert_eq!(decoded(&without(&sent, b'\r'), b"\n"), lines);
    assert_eq!(decoded(&without(&sent, b'\n'), b"\r"), lines);

    let octets: usize = lines.iter().map(|line| line.len() + 2).sum();
    assert_eq!(content.facts().wire_size, octets as u64);
    peer.converse("250 ok\r\n");
    assert!(
        peer.events
            .last()
            .is_some_and(|event| event.starts_with("Finished"))
    );
});

/// The lines of a message that may end them in any way.
fn lines_of(message: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    let mut octets = message.iter().peekable();
    while let Some(&octet) = octets.next() {
        match octet {
            b'\r' | b'\n' => {
                if octet == b'\r' && octets.peek() == Some(&&b'\n') {
                    octets.next();
                }
                lines.push(Vec::new());
            }
            _ => lines.last_mut().expect("never empty").push(octet),
        }
    }
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

/// The lines that a server takes from DATA, its dots undone; the lone dot must be the very end.
fn decoded(sent: &[u8], end: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut rest = sent;
    loop {
        let length = rest.windows(end.len()).position(|window| window == end);
        let (line, behind) = rest.split_at(length.expect("a line end"));
        rest = &behind[end.len()..];
        if line == b"." {
            assert!(rest.is_empty(), "the message ends early");
            return lines;
        }
        lines.push(line.strip_prefix(b".").unwrap_or(line).to_vec());
    }
}

fn without(octets: &[u8], unwanted: u8) -> Vec<u8> {
    octets
        .iter()
        .copied()
        .filter(|&octet| octet != unwanted)
        .collect()
}
