//! The engine on a bench: a test lets things happen to it one by one, and keeps all that it says.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ehlo::proto::{
    Config, Connection, Context, Event, PlaintextAuth, TlsSession, TransactionId, TransportError,
    TransportErrorKind, Verification,
};
use ehlo::{
    BareNewlines, Body, Commitment, Content, Credentials, Encoding, Envelope, Mailbox, Security,
    Streamed, Verdict,
};

use crate::event;
use crate::model::Random;

/// A message to be sent in a test.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// Local parts at `example.org`.
    pub(crate) recipients: Vec<String>,
    pub(crate) content: Vec<u8>,
    pub(crate) form: Form,
    pub(crate) commitment: Commitment,
}

/// How a message is handed to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// In pieces of so many octets at most.
    Streamed(usize),
}

/// One thing that happens to the engine.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Receive(Vec<u8>),
    Eof,
    Failed,
    /// The transport takes so many octets.
    Take(usize),
    Submit(Mail),
    Probe(Mail),
    Write(Vec<u8>),
    Finish,
    Abandon,
    Cancel(usize),
    Quit,
    Tls,
    Credentials,
    NoCredentials,
    Wait(Duration),
}

/// The engine on a bench: all that it said is kept, and judged by [`Bench::check`].
pub(crate) struct Bench {
    pub(crate) connection: Connection,
    pub(crate) now: Instant,
    pub(crate) wire: Vec<u8>,
    pub(crate) events: Vec<Event>,
    /// Each transaction, and how many recipients it has.
    pub(crate) submitted: Vec<(TransactionId, usize)>,
    problems: Vec<String>,
    config: Config,
    /// How much of the wire was in clear; `None` while all of it is.
    clear: Option<usize>,
}

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::now();
        let shared = Arc::new(config.clone());
        Self {
            connection: Connection::new(shared, Context::new(None, [1; 32]), now),
            now,
            wire: Vec::new(),
            events: Vec::new(),
            submitted: Vec::new(),
            problems: Vec::new(),
            clear: (config.security == Security::Implicit).then_some(0),
            config,
        }
    }

    /// Lets one thing happen, and takes the events.
    pub(crate) fn act(&mut self, action: &Action) {
        let now = self.now;
        let connection = &mut self.connection;
        match action {
            Action::Receive(octets) => connection.receive(octets, now),
            Action::Eof => connection.receive_eof(now),
            Action::Failed => {
                let cause = TransportError::new(TransportErrorKind::Lost, "the peer reset it");
                connection.failed(cause, now);
            }
            Action::Take(most) => {
                self.take(*most);
            }
            Action::Submit(mail) => self.submit(mail),
            Action::Probe(mail) => {
                let envelope = envelope(mail, self.submitted.len());
                if let Ok(id) = connection.probe(envelope, now) {
                    self.submitted.push((id, mail.recipients.len()));
                }
            }
            Action::Write(piece) => {
                if let Some(mut writer) = connection.body_writer() {
                    let room = writer.room();
                    if room == 0 {
                        self.problems.push("a writer without room".into());
                    }
                    let piece = &piece[..piece.len().min(room)];
                    writer.write(Bytes::copy_from_slice(piece), now);
                }
            }
            Action::Finish => {
                if let Some(writer) = connection.body_writer() {
                    writer.finish(now);
                }
            }
            Action::Abandon => {
                if let Some(writer) = connection.body_writer() {
                    writer.abandon(now);
                }
            }
            Action::Cancel(place) => {
                if let Some((id, _)) = self.submitted.get(*place) {
                    connection.cancel(*id, now);
                }
            }
            Action::Quit => connection.quit(now),
            Action::Tls => {
                connection.tls_established(tls(), now);
                let due = self
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::StartTls));
                if due && self.clear.is_none() {
                    self.clear = Some(self.wire.len());
                }
            }
            Action::Credentials => connection.credentials(Some(credentials()), now),
            Action::NoCredentials => connection.credentials(None, now),
            Action::Wait(time) => self.wait(*time),
        }
        self.listen();
        if self.is_stuck() {
            self.problems
                .push(format!("nothing can go on behind {action:?}"));
        }
    }

    /// As [`Self::act`], but what the server says arrives in pieces.
    pub(crate) fn act_in_pieces(&mut self, action: &Action, random: &mut Random) {
        let Action::Receive(octets) = action else {
            return self.act(action);
        };
        let mut rest = octets.as_slice();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(1 + random.below(rest.len().min(30)));
            self.connection.receive(piece, self.now);
            rest = tail;
        }
        self.listen();
    }

    /// Takes at most so many octets of the output; tells which.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 256];
        let count = self.connection.transmit(&mut slices);
        let waiting: usize = slices[..count].iter().map(|slice| slice.len()).sum();
        if waiting > MOST_WAITING {
            self.problems
                .push(format!("{waiting} octets wait to be sent"));
        }
        let mut taken = Vec::new();
        for slice in &slices[..count] {
            let left = most - taken.len();
            taken.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        if !taken.is_empty() {
            self.connection.sent(taken.len(), self.now);
            self.wire.extend_from_slice(&taken);
            self.listen();
        }
        taken
    }

    /// All events so far, as words.
    pub(crate) fn words(&self) -> Vec<String> {
        let ids: Vec<_> = self.submitted.iter().map(|(id, _)| *id).collect();
        self.events
            .iter()
            .map(|event| event::words(event, &ids))
            .collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.events
            .iter()
            .any(|event| matches!(event, Event::Closed(_)))
    }

    /// The verdicts on the submission at this place.
    pub(crate) fn verdicts(&self, place: usize) -> Option<&[Verdict]> {
        let id = self.submitted.get(place)?.0;
        self.events.iter().find_map(|event| match event {
            Event::Finished {
                id: finished,
                recipients,
            } if *finished == id => Some(recipients.as_slice()),
            _ => None,
        })
    }

    /// Ends the connection if it is still open, and judges all that was seen.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        self.act(&Action::Eof);
        if let Some(problem) = self.problems.first() {
            return Err(problem.clone());
        }
        let closings: Vec<_> = self.positions(|event| matches!(event, Event::Closed(_)));
        if closings != [self.events.len().wrapping_sub(1)] {
            return Err(format!("closed {} times, or not last", closings.len()));
        }
        for &(id, recipients) in &self.submitted {
            let lengths: Vec<_> = self
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::Finished {
                        id: finished,
                        recipients,
                    } if *finished == id => Some(recipients.len()),
                    _ => None,
                })
                .collect();
            if lengths != [recipients] {
                return Err(format!("{recipients} recipients, but verdicts {lengths:?}"));
            }
        }
        for event in &self.events {
            if let Event::Recipient { reply, .. } | Event::Reached { reply, .. } = event
                && reply.lines().map(<[u8]>::len).sum::<usize>() > self.config.limits.reply
            {
                return Err("a reply above the limit".into());
            }
        }
        if self.connection.poll_timeout().is_some() {
            return Err("a timer runs behind the end".into());
        }
        self.check_secrets()
    }

    /// Nothing that tells the password is in clear, unless that is allowed.
    fn check_secrets(&self) -> Result<(), String> {
        if self.config.plaintext_auth == PlaintextAuth::Allow {
            return Ok(());
        }
        // As text: the standard library's search is fast in a debug build, too.
        let clear = &self.wire[..self.clear.unwrap_or(self.wire.len())];
        let clear = String::from_utf8_lossy(clear);
        let secrets = [PASSWORD.to_owned(), format!("\0alice\0{PASSWORD}")];
        for secret in secrets.map(|secret| BASE64_STANDARD.encode(secret)) {
            if clear.contains(&secret) {
                return Err("the password is in clear".into());
            }
        }
        Ok(())
    }

    fn submit(&mut self, mail: &Mail) {
        let body = match mail.form {
            Form::Whole => {
                let content = Content::check(mail.content.clone(), BareNewlines::Normalise);
                match content {
                    Ok(content) => Body::Whole(content),
                    Err(error) => return self.problems.push(format!("{error}")),
                }
            }
            Form::Streamed(_) => Body::Streamed(
                Streamed::default()
                    .with_newlines(BareNewlines::Normalise)
                    .with_encoding(Encoding::EightBit),
            ),
        };
        let envelope = envelope(mail, self.submitted.len());
        if let Ok(id) = self.connection.submit(envelope, body, self.now) {
            self.submitted.push((id, mail.recipients.len()));
        }
    }

    fn listen(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            self.events.push(event);
        }
    }

    /// Whether something is owed, but nobody is waited for: neither peer, nor transport, nor caller.
    fn is_stuck(&mut self) -> bool {
        let finished = self.positions(|event| matches!(event, Event::Finished { .. }));
        finished.len() < self.submitted.len()
            && !self.is_closed()
            && self.connection.poll_timeout().is_none()
            && self.connection.body_writer().is_none()
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..100 {
            match self.connection.poll_timeout() {
                Some(due) if due <= until => {
                    self.now = self.now.max(due);
                    self.connection.handle_timeout(self.now);
                }
                _ => {
                    self.now = until;
                    return;
                }
            }
        }
        self.problems
            .push("a deadline that comes again and again".into());
    }

    fn positions(&self, wanted: impl Fn(&Event) -> bool) -> Vec<usize> {
        let events = self.events.iter().enumerate();
        events
            .filter(|(_, event)| wanted(event))
            .map(|(at, _)| at)
            .collect()
    }
}

fn envelope(mail: &Mail, place: usize) -> Envelope {
    let recipients = mail
        .recipients
        .iter()
        .map(|local| mailbox(&format!("{local}@example.org")));
    Envelope::new(mailbox(&sender(place)), recipients).with_commitment(mail.commitment)
}

pub(crate) fn sender(place: usize) -> String {
    format!("sender{place}@example.com")
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().expect("the tests use plain addresses")
}

pub(crate) fn credentials() -> Credentials {
    Credentials::password("alice", PASSWORD).expect("there is no control character")
}

fn tls() -> TlsSession {
    TlsSession::new("TLSv1.3", "TLS_AES_128_GCM_SHA256", Verification::Trusted)
}

const PASSWORD: &str = "tr0ub4dor";

/// What one look at the output may find: a body's high-water mark, a whole body that is shared, and
/// commands.
const MOST_WAITING: usize = 1024 * 1024;
