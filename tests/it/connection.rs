//! What a connection says of itself while it is in use, to whoever drives it.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use ehlo::proto::{
    Config, Connection, Context, Event, Pipelining, SubmitProblem, TransportError,
    TransportErrorKind,
};
use ehlo::{
    BareNewlines, Body, Category, Commitment, Content, Envelope, Error, Mailbox, Outcome, Party,
    Security, Streamed, Verdict,
};

fn connection(security: Security) -> Connection {
    let config = Arc::new(Config::new(security));
    Connection::new(config, Context::default(), Instant::now())
}

/// One that can send mail.
fn ready() -> Connection {
    let mut connection = connection(Security::Plaintext);
    for reply in ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n"] {
        connection.receive(reply.as_bytes(), Instant::now());
        take(&mut connection);
    }
    events(&mut connection);
    connection
}

/// Takes what it has to send.
fn take(connection: &mut Connection) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 16];
    let count = connection.transmit(&mut slices);
    let flight: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
    connection.sent(flight.len(), Instant::now());
    flight
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

fn envelope(recipients: &[&str]) -> Envelope {
    let mailbox = |text: &str| text.parse::<Mailbox>().unwrap();
    let recipients = recipients.iter().map(|text| mailbox(text));
    Envelope::new(mailbox("a@example.com"), recipients)
}

fn hello() -> Body {
    let content = Content::check("Hi\r\n", BareNewlines::Reject);
    Body::Whole(content.unwrap())
}

/// The error by which it is closed.
#[track_caller]
fn end(connection: &mut Connection) -> Error {
    match events(connection).pop() {
        Some(Event::Closed(Err(error))) => error,
        other => panic!("it is not closed by an error: {other:?}"),
    }
}

#[test]
fn a_connection_says_whether_something_is_to_be_done() {
    let mut connection = connection(Security::Plaintext);
    assert!(!connection.has_unsent() && !connection.has_events());
    connection.receive(b"220 mx\r\n", Instant::now());
    assert!(connection.has_unsent() && connection.has_events());
    take(&mut connection);
    assert!(!connection.has_unsent() && connection.has_events());
    events(&mut connection);
    assert!(!connection.has_events());
}

#[test]
fn a_connection_is_open_until_it_is_told_to_quit_or_ends() {
    let mut connection = ready();
    assert!(connection.is_open());
    connection.quit(Instant::now());
    assert!(!connection.is_open());
    let refused = connection.submit(envelope(&["b@example.org"]), hello(), Instant::now());
    let refused = refused.unwrap_err();
    assert!(matches!(refused.problem, SubmitProblem::Closed(_)));
    assert!(refused.body.is_some() && refused.envelope.recipients().len() == 1);

    let mut connection = ready();
    connection.receive_eof(Instant::now());
    assert!(!connection.is_open());
    let refused = connection.probe(envelope(&["b@example.org"]), Instant::now());
    let refused = refused.unwrap_err();
    assert_eq!(refused.to_string(), end(&mut connection).to_string());

    // A log-in that failed: QUIT is on its way.
    let mut connection = self::connection(Security::StartTls);
    for reply in ["220 mx\r\n", "250 mx\r\n"] {
        assert!(connection.is_open());
        connection.receive(reply.as_bytes(), Instant::now());
        take(&mut connection);
    }
    assert!(!connection.is_open());
}

#[test]
fn an_envelope_without_recipients_is_handed_back_with_its_message() {
    let refused = ready().submit(envelope(&[]), hello(), Instant::now());
    let refused = refused.unwrap_err();
    assert_eq!(refused.to_string(), "the envelope has no recipient");
    assert_eq!(*refused.envelope, envelope(&[]));
    assert!(
        matches!(refused.body.as_deref(), Some(Body::Whole(content)) if content.facts().wire_size == 4)
    );
}

#[test]
fn only_one_of_several_recipients_can_be_put_off() {
    let may_defer = |envelope: Envelope| {
        let mut connection = ready();
        assert!(!connection.may_defer());
        let submitted = connection.submit(envelope, hello(), Instant::now());
        submitted.unwrap();
        connection.may_defer()
    };
    let three = ["b@example.org", "c@example.org", "d@example.org"];
    assert!(may_defer(envelope(&three)) && may_defer(envelope(&three[..2])));
    assert!(!may_defer(envelope(&three[..1])));
    let all = envelope(&three).with_commitment(Commitment::AllOrNothing);
    assert!(!may_defer(all));
}

#[test]
fn a_recipient_is_put_off_until_its_message_is_answered() {
    let mut connection = ready();
    let two = envelope(&["b@example.org", "c@example.org"]);
    connection.submit(two, hello(), Instant::now()).unwrap();
    for (replies, may_defer) in [
        ("250 a\r\n250 b\r\n", true),
        ("452 too many\r\n", true),
        ("354 go\r\n", true),
        ("250 stored\r\n", false),
    ] {
        take(&mut connection);
        connection.receive(replies.as_bytes(), Instant::now());
        assert_eq!(connection.may_defer(), may_defer, "{replies}");
    }
    // Where all are answered, and none is put off, it is known before.
    let mut connection = ready();
    let two = envelope(&["b@example.org", "c@example.org"]);
    connection.submit(two, hello(), Instant::now()).unwrap();
    take(&mut connection);
    connection.receive(b"250 a\r\n250 b\r\n550 c\r\n354 go\r\n", Instant::now());
    assert!(!connection.may_defer());
}

#[test]
fn an_error_names_the_last_command_and_the_last_reply() {
    let mut connection = ready();
    let one = envelope(&["b@example.org"]);
    connection.submit(one, hello(), Instant::now()).unwrap();
    let flight = take(&mut connection);
    assert!(flight.ends_with(b"DATA\r\n"));
    connection.receive(b"250 a\r\n", Instant::now());
    connection.receive_eof(Instant::now());
    let error = end(&mut connection);
    let progress = error.progress();
    assert_eq!(progress.last_command, Some("DATA"));
    let last = progress.last_reply.as_ref().map(ToString::to_string);
    assert_eq!(last.as_deref(), Some("250 a"));
    let hello = "EHLO [127.0.0.1]\r\n".len();
    assert_eq!(progress.bytes_sent, (hello + flight.len()) as u64);
    for (security, replies, command) in [
        (Security::Plaintext, &[][..], None),
        (Security::Plaintext, &["220 mx\r\n"], Some("EHLO")),
        (
            Security::Plaintext,
            &["220 mx\r\n", "500 no\r\n"],
            Some("HELO"),
        ),
        (
            Security::StartTls,
            &["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n"],
            Some("STARTTLS"),
        ),
    ] {
        let mut connection = self::connection(security);
        for reply in replies {
            connection.receive(reply.as_bytes(), Instant::now());
            take(&mut connection);
        }
        connection.receive_eof(Instant::now());
        assert_eq!(end(&mut connection).progress().last_command, command);
    }
}

#[test]
fn a_failure_of_the_transport_keeps_its_hint_and_what_lies_beneath() {
    for (kind, category, party) in [
        (
            TransportErrorKind::Lost,
            Category::ConnectionLost,
            Party::Network,
        ),
        (
            TransportErrorKind::Certificate,
            Category::Certificate,
            Party::Server,
        ),
        (TransportErrorKind::Tls, Category::Tls, Party::Server),
        (
            TransportErrorKind::Mismatch,
            Category::EncryptionMismatch,
            Party::Caller,
        ),
        (
            TransportErrorKind::Protocol,
            Category::Protocol,
            Party::Server,
        ),
    ] {
        let mut connection = connection(Security::Plaintext);
        let cause = TransportError::new(kind, "it broke")
            .with_hint("Mend it.")
            .with_source(std::io::Error::other("beneath"));
        connection.failed(cause, Instant::now());
        let error = end(&mut connection);
        assert_eq!((error.category(), error.party()), (category, party));
        assert_eq!(
            (error.message(), error.hint()),
            ("it broke", Some("Mend it."))
        );
        let beneath = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(beneath.as_deref(), Some("beneath"));
    }
}

#[test]
fn what_is_not_asked_for_is_not_answered() {
    let mut connection = ready();
    let before = connection.stats();
    connection.credentials(None, Instant::now());
    let tls = ehlo::proto::TlsSession::new("TLSv1.3", "x", ehlo::proto::Verification::Off);
    connection.tls_established(tls, Instant::now());
    connection.handle_timeout(Instant::now());
    connection.receive(b"", Instant::now());
    assert!(connection.body_writer().is_none());
    assert_eq!(connection.stats(), before);
    assert!(connection.is_open() && !connection.has_events());
    assert!(connection.session().unwrap().tls().is_none());
}

/// A connection whose server waits for this stream.
fn streaming(declared: Streamed) -> Connection {
    let mut connection = ready();
    let one = envelope(&["b@example.org"]);
    connection
        .submit(one, Body::Streamed(declared), Instant::now())
        .unwrap();
    take(&mut connection);
    let replies = b"250 a\r\n250 b\r\n354 go\r\n";
    connection.receive(replies, Instant::now());
    connection
}

#[test]
fn behind_a_piece_that_breaks_its_word_nothing_more_is_taken() {
    let now = Instant::now();
    let mut connection = streaming(Streamed::default());
    let mut writer = connection.body_writer().unwrap();
    writer.write("caf\u{e9}\r\n".into(), now);
    assert_eq!(writer.room(), 0);
    writer.write("more\r\n".into(), now);
    writer.finish(now);
    assert!(!connection.has_unsent());
    let told = events(&mut connection);
    let finished = told
        .iter()
        .filter(|event| matches!(event, Event::Finished { .. }));
    assert_eq!(finished.count(), 1);
    let Some(Event::Finished { recipients, .. }) = told.iter().rev().nth(1) else {
        panic!("{told:?}");
    };
    let [Verdict::NotSent(error)] = &recipients[..] else {
        panic!("{recipients:?}");
    };
    assert_eq!(error.category(), Category::Usage);
}

#[test]
fn a_writer_has_room_for_so_much_as_is_encoded_ahead_of_the_transport() {
    let now = Instant::now();
    let mut connection = streaming(Streamed::default());
    let mut writer = connection.body_writer().unwrap();
    assert_eq!(writer.room(), 256 * 1024);
    writer.write(vec![b'x'; 256 * 1024 - 1].into(), now);
    assert_eq!(writer.room(), 1);
    writer.write("x".into(), now);
    assert_eq!(writer.room(), 0);
    let id = writer.id();
    assert_eq!(id.to_string(), "0");
    assert!(connection.body_writer().is_none());
    connection.sent(100, now);
    let writer = connection.body_writer().unwrap();
    assert_eq!((writer.room(), writer.id()), (100, id));
    // Whoever has no more may say so, or give it up.
    writer.abandon(now);
    assert!(matches!(
        end(&mut connection).category(),
        Category::ConnectionLost
    ));
}

#[test]
fn a_refusal_for_lack_of_tls_is_one_in_the_session_that_could_have_it() {
    let mut connection = connection(Security::Plaintext);
    for reply in ["220 mx\r\n", "250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n"] {
        connection.receive(reply.as_bytes(), Instant::now());
        take(&mut connection);
    }
    let one = envelope(&["b@example.org"]);
    connection.submit(one, hello(), Instant::now()).unwrap();
    take(&mut connection);
    let refusals = "530 Must issue a STARTTLS command first\r\n".repeat(3);
    connection.receive(refusals.as_bytes(), Instant::now());
    let Some(Event::Finished { recipients, .. }) = events(&mut connection).pop() else {
        panic!("it is not finished");
    };
    let outcome = Outcome::new(recipients);
    let unknown = outcome.error().unwrap().category();
    let outcome = outcome.in_session(connection.session().unwrap());
    let known = outcome.error().unwrap().category();
    assert_ne!(unknown, known);
    assert_eq!(known, Category::StartTlsUnavailable);
    // The session stays known when the rest of the message had none of its own.
    let again = outcome.with_rest(Outcome::new(Vec::new()));
    assert_eq!(again.error().unwrap().category(), known);
}

#[test]
fn flights_octets_and_replies_are_counted() {
    let mut connection = connection(Security::Plaintext);
    let mut expected = connection.stats();
    assert_eq!((expected.flights, expected.replies), (0, 0));
    let mut said = |connection: &mut Connection, replies: &str, count| {
        connection.receive(replies.as_bytes(), Instant::now());
        let flight = take(connection);
        expected.bytes_received += replies.len() as u64;
        expected.replies += count;
        expected.bytes_sent += flight.len() as u64;
        expected.flights += u64::from(!flight.is_empty());
        assert_eq!(connection.stats(), expected, "{replies}");
    };
    said(&mut connection, "220-mx\r\n220 mx\r\n", 1);
    said(&mut connection, "250-mx\r\n250 PIPELINING\r\n", 1);
    let envelope = envelope(&["b@example.org"]);
    connection
        .submit(envelope, hello(), Instant::now())
        .unwrap();
    said(&mut connection, "", 0);
    said(&mut connection, "250 a\r\n250 b\r\n35", 2);
    said(&mut connection, "4 go\r\n", 1);
    said(&mut connection, "250 stored\r\n", 1);
}

#[test]
fn a_window_that_was_full_is_as_wide_again_when_all_is_answered() {
    let config = Config::new(Security::Plaintext).with_pipelining(Pipelining::Overlapping);
    let now = Instant::now();
    let mut connection = Connection::new(Arc::new(config), Context::default(), now);
    for reply in ["220 mx\r\n", "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"] {
        connection.receive(reply.as_bytes(), now);
        take(&mut connection);
    }
    // Messages: 256 KiB may wait for their replies, and the one that passes it.
    let content = Content::check(vec![b'x'; 64_998], BareNewlines::Reject).unwrap();
    for _ in 0..3 {
        for _ in 0..7 {
            let one = envelope(&["b@example.org"]);
            let body = Body::Whole(content.clone());
            connection.submit(one, body, now).unwrap();
        }
        for in_flight in [5, 2] {
            let flight = flight(&mut connection);
            let begun = flight.windows(5).filter(|five| five == b"MAIL ");
            assert_eq!(begun.count(), in_flight);
            let replies = "250 a\r\n250 b\r\n250 stored\r\n".repeat(in_flight);
            connection.receive(replies.as_bytes(), now);
        }
    }
    // Commands: 64 KiB may wait for their replies, and the one that passes it.
    let recipients: Vec<_> = (0..3000).map(|n| format!("r{n:04}@example.org")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    for _ in 0..3 {
        connection.probe(envelope(&recipients), now).unwrap();
        let first = flight(&mut connection);
        assert!(
            (64 * 1024..64 * 1024 + 32).contains(&first.len()),
            "{}",
            first.len()
        );
        let lines = first.iter().filter(|&&octet| octet == b'\n').count();
        connection.receive("250 ok\r\n".repeat(lines).as_bytes(), now);
        let rest = flight(&mut connection);
        assert!(rest.ends_with(b"RSET\r\n"));
        let lines = rest.iter().filter(|&&octet| octet == b'\n').count();
        connection.receive("250 ok\r\n".repeat(lines).as_bytes(), now);
    }
    assert!(connection.is_open());
}

/// All that can be sent before the next reply.
fn flight(connection: &mut Connection) -> Vec<u8> {
    let mut flight = Vec::new();
    while connection.has_unsent() {
        flight.extend(take(connection));
    }
    flight
}

#[test]
fn a_server_that_refuses_what_begins_behind_a_message_is_known_to_do_so() {
    for (second, refuses) in [("250", false), ("450", false), ("503", true)] {
        let mut connection = ready();
        for _ in 0..2 {
            let one = envelope(&["b@example.org"]);
            connection.submit(one, hello(), Instant::now()).unwrap();
        }
        for replies in [
            "250 a\r\n250 b\r\n354 go\r\n".to_owned(),
            format!("250 stored\r\n{second} a\r\n{second} b\r\n503 no\r\n"),
        ] {
            take(&mut connection);
            connection.receive(replies.as_bytes(), Instant::now());
        }
        assert!(connection.is_open());
        let session = connection.session().unwrap();
        assert_eq!(session.refuses_behind_message(), refuses, "{second}");
        assert_eq!(session.greeting().text(), "mx");
    }
}
