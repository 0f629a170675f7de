//! Windows, lengths and memory: what no dialogue of a reasonable size shows.

use bytes::Bytes;

use super::*;
use crate::proto::config::Security;

fn link() -> Link {
    Link::new(Arc::new(Config::new(Security::Plaintext)), [0; 32])
}

#[test]
fn a_command_may_follow_until_one_of_the_windows_is_full() {
    for (unanswered, overlapped, unsent, open) in [
        (0, 0, 0, true),
        (64 * 1024 - 1, 256 * 1024 - 1, 320 * 1024 - 1, true),
        (64 * 1024, 0, 0, false),
        (0, 256 * 1024, 0, false),
        (0, 0, 320 * 1024, false),
    ] {
        let mut link = link();
        (link.unanswered, link.overlapped) = (unanswered, overlapped);
        link.output.share(Bytes::from(vec![b'x'; unsent]));
        let full = (unanswered, overlapped, unsent);
        assert_eq!(link.has_window(), open, "{full:?}");
    }
}

#[test]
fn an_initial_response_may_fill_the_line_of_its_command_to_the_last_octet() {
    // RFC 4954 §4 and RFC 5321 §4.5.3.1.4: 512 octets, CRLF included.
    for mechanism in ["PLAIN", "SCRAM-SHA-256-PLUS"] {
        let around = format!("AUTH {mechanism} \r\n").len();
        let response = "x".repeat(512 - around);
        assert!(fits_auth_line(mechanism, &response));
        assert!(!fits_auth_line(mechanism, &format!("{response}x")));
    }
}

#[test]
fn an_idle_connection_keeps_room_for_so_many_messages_and_no_more() {
    let mut link = link();
    link.expected.reserve(1000);
    link.events.reserve(1000);
    link.output.write(|text| text.reserve(100_000));
    // Of 8 messages: 4 commands each, of 64 octets.
    link.input.push(&[b'x'; 100_000]);
    link.input.clear();
    link.rest(8);
    for room in [link.expected.capacity(), link.events.capacity()] {
        assert!((32..128).contains(&room), "{room}");
    }
    for room in [link.output.room(), link.input.room()] {
        assert!((2048..8192).contains(&room), "{room}");
    }
}
