//! Tests of the sandbox. Dialogues are played whole, octet by octet, and in pieces between.

mod dialogue;
mod listening;
mod misbehaviour;
mod parameters;
mod violations;

use std::sync::Arc;

use super::{Action, ClearAuth, Extension, Options, Plan, Received, Session, TlsMode};

/// What came of a dialogue.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Everything written.
    text: String,
    /// The actions that are not writes.
    actions: Vec<Action>,
    received: Vec<Received>,
}

/// A session in clear without STARTTLS, where AUTH is allowed, with the extensions that any server
/// has.
fn clear() -> Options {
    let options = [
        Extension::Dsn,
        Extension::DeliverBy,
        Extension::FutureRelease,
        Extension::MtPriority,
        Extension::RequireTls,
    ]
    .into_iter()
    .fold(Options::default(), Options::without_extension);
    options
        .with_tls(TlsMode::None)
        .with_clear_auth(ClearAuth::Allowed)
        .with_hostname("mx.test")
}

fn session(options: Options) -> Session {
    Session::new(Arc::new(Plan::new(options)), 7)
}

fn collect(session: &mut Session, heard: &mut Heard) {
    while let Some(message) = session.poll_message() {
        heard.received.push(message);
    }
    while let Some(action) = session.poll_action() {
        match action {
            Action::Write(octets) | Action::Trickle(octets) => {
                heard.text.push_str(&String::from_utf8_lossy(&octets));
            }
            other => heard.actions.push(other),
        }
    }
}

/// Plays a whole dialogue in pieces of a size.
fn play(options: Options, input: &[u8], piece: usize) -> Heard {
    let mut session = session(options);
    let mut heard = Heard::default();
    collect(&mut session, &mut heard);
    for chunk in input.chunks(piece) {
        session.receive(chunk);
        collect(&mut session, &mut heard);
    }
    heard
}

/// Plays it whole and cut in every way of equal pieces, which must not differ.
#[track_caller]
fn hear(options: &Options, input: &str) -> Heard {
    let whole = play(options.clone(), input.as_bytes(), usize::MAX);
    for piece in [1, 2, 3, 5, 7, 16, 61] {
        let pieces = play(options.clone(), input.as_bytes(), piece);
        assert_eq!(pieces, whole, "in pieces of {piece}");
    }
    whole
}

/// The codes of the replies behind the greeting, last lines only.
fn codes(text: &str) -> Vec<&str> {
    text.lines()
        .skip(1)
        .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
        .map(|line| line.split(' ').next().unwrap_or(line))
        .collect()
}

#[track_caller]
fn check_codes(options: &Options, input: &str, expected: &str) {
    let heard = hear(options, input);
    assert_eq!(codes(&heard.text).join(" "), expected, "{}", heard.text);
}
