//! The dialogue as an observer and the reader of an error see it: every line, in order, no secret.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use ehlo::proto::{
    Config, Connection, Context, Entry, Event, MechanismName, Observer, PlaintextAuth,
    SubmitProblem, TlsSession, Verification,
};
use ehlo::{Body, Content, Credentials, Envelope, Error, Mailbox, Security};

const PASSWORD: &str = "open-sesame-1001";

#[test]
fn the_dialogue_has_every_line_in_order_and_of_a_message_its_size() {
    let config = Config::new(Security::StartTls).with_credentials(alice());
    let mut watched = Watched::new(config);
    watched.hears("220 mx ready\r\n");
    watched.hears("250-mx\r\n250 STARTTLS\r\n");
    watched.hears("220 go\r\n");
    let tls = TlsSession::new("TLSv1.3", "TLS_AES_128_GCM_SHA256", Verification::Trusted);
    watched.connection.tls_established(tls, watched.now);
    watched.hears("250-mx\r\n250 AUTH PLAIN\r\n");
    watched.hears("235 2.7.0 welcome\r\n");
    watched.submit(b"Subject: x\r\n\r\nhidden text\r\n");
    watched.hears("250 ok\r\n");
    watched.hears("250 ok\r\n");
    watched.hears("354 go on\r\n");
    watched.hears("250 2.0.0 queued\r\n");
    watched.connection.quit(watched.now);
    watched.hears("221 bye\r\n");
    assert_eq!(watched.entries(), WHOLE);
}

#[test]
fn what_a_challenge_and_its_answer_hold_is_not_shown() {
    for (mechanism, challenges) in [
        (MechanismName::LOGIN, &["VXNlcm5hbWU6", "UGFzc3dvcmQ6"][..]),
        (MechanismName::CRAM_MD5, &["PDEuMkBteD4="]),
    ] {
        let mut watched = Watched::new(clear(mechanism.clone()));
        watched.hears("220 mx\r\n");
        watched.hears(&format!("250-mx\r\n250 AUTH {mechanism}\r\n"));
        for challenge in challenges {
            watched.hears(&format!("334 {challenge}\r\n"));
        }
        watched.hears("535 5.7.8 no\r\n");
        let exchange = "S: 334 ****\nC: ****\n".repeat(challenges.len());
        let expected = format!("C: AUTH {mechanism}\n{exchange}S: 535 5.7.8 no\n");
        let shown = watched.entries();
        assert!(shown.ends_with(&format!("{expected}C: QUIT\n")), "{shown}");
        watched.hears("221 bye\r\n");
        let opening =
            format!("S: 220 mx\nC: EHLO [127.0.0.1]\nS: 250-mx\nS: 250 AUTH {mechanism}\n");
        let transcript = &watched.error().progress().transcript;
        assert_eq!(*transcript, format!("{opening}{expected}"));
    }
}

#[test]
fn a_secret_that_the_server_repeats_is_masked_for_all_who_see_it() {
    let plain = "AGFsaWNlAG9wZW4tc2VzYW1lLTEwMDE=";
    for (said, shown) in [
        (format!("535 5.7.8 {PASSWORD}?\r\n"), "535 5.7.8 ****?"),
        (format!("535-you sent\r\n535 {plain}\r\n"), "535 ****"),
        (
            format!("what is {PASSWORD} {PASSWORD}?\r\n"),
            "what is **** ****?",
        ),
    ] {
        let mut watched = Watched::new(clear(MechanismName::PLAIN));
        watched.hears("220 mx\r\n");
        watched.hears("250-mx\r\n250 AUTH PLAIN\r\n");
        watched.hears(&said);
        watched.connection.receive_eof(watched.now);
        watched.drain();
        assert!(
            watched.entries().contains(&format!("S: {shown}\n")),
            "{}",
            watched.entries()
        );
        let error = watched.error();
        assert!(
            error
                .progress()
                .transcript
                .contains(&format!("S: {shown}\n")),
            "{error:?}"
        );
        for text in [watched.entries(), format!("{error} {error:?}")] {
            assert!(
                !text.contains(PASSWORD) && !text.contains(&plain[..20]),
                "{text}"
            );
        }
    }
}

#[test]
fn octets_that_are_no_text_are_shown_harmless_and_in_bounds() {
    let mut watched = Watched::new(Config::new(Security::Plaintext));
    watched.hears_octets(b"220 \x1b[2J\xff\x07mx\r\n");
    watched.hears_octets(&[b"500x".as_slice(), &[b'z'; 400], b"\r\n"].concat());
    assert_eq!(
        watched.entries(),
        format!(
            "S: 220 \u{fffd}[2J\u{fffd}\u{fffd}mx\nC: EHLO [127.0.0.1]\nS: 500x{}\n* closed\n",
            "z".repeat(196)
        )
    );
}

#[test]
fn of_a_long_dialogue_an_error_has_the_end() {
    let mut watched = Watched::new(Config::new(Security::Plaintext));
    watched.hears("220 mx\r\n");
    watched.hears("250 mx\r\n");
    for turn in 0..100 {
        watched.submit(b"x\r\n");
        watched.hears(&format!("450 not {turn}\r\n"));
    }
    watched.connection.receive_eof(watched.now);
    watched.drain();
    let transcript = watched.error().progress().transcript.clone();
    assert!(
        (500..=2048).contains(&transcript.len()),
        "{}",
        transcript.len()
    );
    assert!(transcript.contains("S: 450 not 99\n"), "{transcript}");
    assert!(!transcript.contains("S: 450 not 50\n"), "{transcript}");
    for line in transcript.lines() {
        assert!(line.starts_with("C: ") || line.starts_with("S: "), "{line}");
    }
}

#[test]
fn debug_output_of_a_connection_says_how_far_it_is_and_no_secret() {
    let mut watched = Watched::new(clear(MechanismName::PLAIN));
    watched.hears("220 mx\r\n");
    let shown = format!("{:?}", watched.connection);
    assert!(
        shown.contains("Ehlo") && shown.contains("closed: false"),
        "{shown}"
    );
    assert!(!shown.contains(PASSWORD), "{shown}");
}

#[test]
fn what_cannot_be_submitted_is_handed_back_with_the_reason() {
    let mut watched = Watched::new(Config::new(Security::Plaintext));
    let nobody = Envelope::new(mailbox("a@x.org"), Vec::<Mailbox>::new());
    let refused = watched
        .connection
        .submit(nobody, body(b"x\r\n"), watched.now);
    let refused = refused.expect_err("it has no recipient");
    assert!(matches!(refused.problem, SubmitProblem::NoRecipients));
    assert_eq!(refused.to_string(), "the envelope has no recipient");
    assert!(refused.body.is_some());
    watched.connection.quit(watched.now);
    let refused = watched
        .connection
        .submit(envelope(), body(b"x\r\n"), watched.now);
    let refused = refused.expect_err("it was told to quit");
    assert_eq!(refused.to_string(), "the connection was told to quit");
    assert_eq!(refused.envelope.recipients().len(), 1);
    let refused = watched.connection.probe(envelope(), watched.now);
    assert!(refused.expect_err("it was told to quit").body.is_none());
}

const WHOLE: &str = "\
S: 220 mx ready
C: EHLO [127.0.0.1]
S: 250-mx
S: 250 STARTTLS
C: STARTTLS
S: 220 go
* TLSv1.3 TLS_AES_128_GCM_SHA256
C: EHLO [127.0.0.1]
S: 250-mx
S: 250 AUTH PLAIN
C: AUTH PLAIN ****
S: 235 2.7.0 welcome
C: MAIL FROM:<a@x.org>
S: 250 ok
C: RCPT TO:<b@x.org>
S: 250 ok
C: DATA
S: 354 go on
* 30 octets of message
S: 250 2.0.0 queued
C: QUIT
S: 221 bye
* closed
";

/// A connection that is watched.
struct Watched {
    connection: Connection,
    now: Instant,
    heard: Arc<Mutex<String>>,
    error: Option<Error>,
}

impl Watched {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        let local = Some([127, 0, 0, 1].into());
        let mut connection = Connection::new(Arc::new(config), Context::new(local, [7; 32]), now);
        let heard = Arc::new(Mutex::new(String::new()));
        connection.observe(Box::new(Ear(Arc::clone(&heard))));
        Self {
            connection,
            now,
            heard,
            error: None,
        }
    }

    fn hears(&mut self, text: &str) {
        self.hears_octets(text.as_bytes());
    }

    fn hears_octets(&mut self, octets: &[u8]) {
        self.drain();
        self.connection.receive(octets, self.now);
        self.drain();
    }

    fn submit(&mut self, content: &'static [u8]) {
        let id = self.connection.submit(envelope(), body(content), self.now);
        id.expect("the connection is open");
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            if let Event::Closed(Err(error)) = event {
                self.error = Some(error);
            }
        }
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = self.connection.transmit(&mut slices);
            let taken = slices[..count].iter().map(|slice| slice.len()).sum();
            if taken == 0 {
                break;
            }
            self.connection.sent(taken, self.now);
        }
    }

    fn entries(&self) -> String {
        self.heard.lock().expect("nobody has panicked").clone()
    }

    fn error(&self) -> &Error {
        self.error.as_ref().expect("it has failed")
    }
}

struct Ear(Arc<Mutex<String>>);

impl Observer for Ear {
    fn observe(&mut self, entry: Entry<'_>, _: Instant) {
        let mut heard = self.0.lock().expect("nobody has panicked");
        *heard += &match entry {
            Entry::Client(line) => format!("C: {line}\n"),
            Entry::Server(line) => format!("S: {line}\n"),
            Entry::Note(text) => format!("* {text}\n"),
            other => format!("{other:?}\n"),
        };
    }
}

fn alice() -> Credentials {
    Credentials::password("alice", PASSWORD).expect("no odd characters")
}

fn clear(mechanism: MechanismName) -> Config {
    Config::new(Security::Plaintext)
        .with_credentials(alice())
        .with_mechanisms(vec![mechanism])
        .with_plaintext_auth(PlaintextAuth::Allow)
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().expect("a mailbox")
}

fn envelope() -> Envelope {
    Envelope::new(mailbox("a@x.org"), [mailbox("b@x.org")])
}

fn body(content: &'static [u8]) -> Body {
    let content = Content::check(Bytes::from_static(content), ehlo::BareNewlines::Reject);
    Body::Whole(content.expect("its lines are whole"))
}
