//! Log-ins against servers that say anything: no secret is shown, and nobody who does not know the
//! password passes for the server.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ehlo::proto::{
    ChannelBinding, Config, Connection, Context, Entry, Event, MechanismName, Observer, TlsSession,
    Verification,
};
use ehlo::{Credentials, Error, Security};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const SECRET: &str = "hunter2-and-more";

/// How a log-in went.
struct Attempt {
    ready: Readiness,
    /// Why it ended, if it did.
    error: Option<Error>,
    said: Vec<u8>,
    heard: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    NotReady,
}

/// Logs in by this mechanism to a server that answers AUTH and all behind it with these.
fn attempt(mechanism: &MechanismName, answers: &[Answer]) -> Attempt {
    let credentials = match mechanism.as_str() {
        "OAUTHBEARER" | "XOAUTH2" => Credentials::token("alice", SECRET),
        "EXTERNAL" => Credentials::external("alice"),
        _ => Credentials::password("alice", SECRET),
    };
    let config = Config::new(Security::Implicit)
        .with_credentials(credentials.expect("no odd characters"))
        .with_mechanisms(vec![mechanism.clone()]);
    let now = Instant::now();
    let mut connection = Connection::new(Arc::new(config), Context::new(None, [7; 32]), now);
    let heard = Arc::new(Mutex::new(String::new()));
    connection.observe(Box::new(Ear(Arc::clone(&heard))));
    let tls = TlsSession::new("TLSv1.3", "", Verification::Trusted)
        .with_binding(ChannelBinding::TlsExporter([9; 32]));
    connection.tls_established(tls, now);
    let mut attempt = Attempt {
        ready: Readiness::NotReady,
        error: None,
        said: Vec::new(),
        heard: String::new(),
    };
    let greeting = format!("220 mx\r\n250-mx\r\n250 AUTH {mechanism}\r\n");
    for line in greeting.split_inclusive("\r\n") {
        connection.receive(line.as_bytes(), now);
        attempt.drain(&mut connection, now);
    }
    for answer in answers {
        if attempt.ready == Readiness::Ready || attempt.error.is_some() {
            break;
        }
        let line = answer.line(&attempt.said);
        connection.receive(line.as_bytes(), now);
        attempt.drain(&mut connection, now);
    }
    attempt.heard = heard.lock().expect("nobody has panicked").clone();
    attempt
}

impl Attempt {
    fn drain(&mut self, connection: &mut Connection, now: Instant) {
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Ready(_) => self.ready = Readiness::Ready,
                Event::Closed(Err(error)) => self.error = Some(error),
                _ => {}
            }
        }
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = connection.transmit(&mut slices);
            let sent: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            if sent.is_empty() {
                break;
            }
            self.said.extend_from_slice(&sent);
            connection.sent(sent.len(), now);
        }
    }
}

/// One answer of a server that does not know the password.
#[derive(Clone, Debug)]
enum Answer {
    Line(String),
    Challenge(Vec<u8>),
    /// A first message of SCRAM that continues the client's nonce.
    Opening {
        tail: String,
        iterations: u32,
    },
}

impl Answer {
    fn line(&self, said: &[u8]) -> String {
        match self {
            Self::Line(line) => format!("{line}\r\n"),
            Self::Challenge(octets) => format!("334 {}\r\n", BASE64_STANDARD.encode(octets)),
            Self::Opening { tail, iterations } => {
                let nonce = client_nonce(said).unwrap_or_default();
                let first = format!("r={nonce}{tail},s=c2FsdA==,i={iterations}");
                format!("334 {}\r\n", BASE64_STANDARD.encode(first))
            }
        }
    }
}

/// The nonce of the client's first message.
fn client_nonce(said: &[u8]) -> Option<String> {
    let said = std::str::from_utf8(said).ok()?;
    let first = said
        .split_ascii_whitespace()
        .filter_map(|word| BASE64_STANDARD.decode(word).ok())
        .filter_map(|octets| String::from_utf8(octets).ok())
        .find(|text| text.contains(",r="))?;
    first.split_once(",r=").map(|(_, nonce)| nonce.to_owned())
}

fn answer() -> impl Strategy<Value = Answer> {
    let challenge = |text: &str| Answer::Challenge(text.as_bytes().to_vec());
    prop_oneof![
        select(vec![
            "235 2.7.0 welcome",
            "235 dj1BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE9",
            "334",
            "334 not base64",
            "454 later",
            "501 cancelled",
            "504 no",
            "535 5.7.8 no",
            "250 ok",
            "421 bye",
        ])
        .prop_map(|line| Answer::Line(line.to_owned())),
        select(vec![
            challenge("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            challenge("v="),
            challenge("e=other-error"),
            challenge("<1.2@mx>"),
            challenge(r#"{"status":"401","scope":"mail"}"#),
        ]),
        vec(any::<u8>(), 0..40).prop_map(Answer::Challenge),
        opening(),
    ]
}

fn opening() -> impl Strategy<Value = Answer> {
    (
        "[!-+--~]{1,8}|[ -~]{0,3}",
        select(vec![4_095, 4_096, 4_096]),
    )
        .prop_map(|(tail, iterations)| Answer::Opening { tail, iterations })
}

/// What a server says: anything, or in half of the cases nearly what SCRAM expects.
fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let last_word = select(vec![
        "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "e=x",
        "v=",
    ])
    .prop_map(|text| Answer::Challenge(text.into()));
    let success = Answer::Line("235 2.7.0 welcome".to_owned());
    prop_oneof![
        vec(answer(), 1..6),
        (opening(), prop_oneof![last_word, answer()]).prop_map(move |(opening, last)| vec![
            opening,
            last,
            success.clone()
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_server_says_no_secret_is_shown_and_only_a_success_is_one(
        mechanism in select(MechanismName::by_strength()),
        answers in answers(),
    ) {
        let attempt = attempt(&mechanism, &answers);
        let scram = mechanism.as_str().starts_with("SCRAM");
        if scram {
            prop_assert_eq!(attempt.ready, Readiness::NotReady);
        }
        if attempt.ready == Readiness::Ready {
            let success = |answer: &Answer| {
                matches!(answer, Answer::Line(line) if line.starts_with("235"))
            };
            prop_assert!(answers.iter().any(success));
        }
        let shown = format!("{}{:?}", attempt.heard, attempt.error);
        prop_assert!(!shown.contains(SECRET), "{}", shown);
        for line in attempt.said.split(|octet| *octet == b'\n') {
            let line = String::from_utf8_lossy(line);
            let line = line.trim_end();
            let last = line.rsplit(' ').next().unwrap_or_default();
            // What the client sent in base64, but for acknowledgements, is nowhere to be seen.
            if last.len() > 8 && BASE64_STANDARD.decode(last).is_ok() {
                prop_assert!(!shown.contains(last), "{} in {}", last, shown);
            }
        }
    }
}

struct Ear(Arc<Mutex<String>>);

impl Observer for Ear {
    fn observe(&mut self, entry: Entry<'_>, _: Instant) {
        let (Entry::Client(text) | Entry::Server(text) | Entry::Note(text)) = entry else {
            return;
        };
        self.0.lock().expect("nobody has panicked").push_str(text);
    }
}
