//! A peer for the engine, played from bytes: what the fuzz targets share.
//!
//! An input is what a server sends, with steps in between: the octet 255 and one more octet, of which
//! `E` is the end of the stream, `T` a time-out, `F` a failed transport, `S` a message submitted, `W`
//! one that is streamed, `P` a probe, `C` a message cancelled, `Q` a QUIT wanted, `1` one octet
//! taken by the transport, and any other a turn of the client: all that it has to say is taken.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use ehlo::proto::{
    Config, Connection, Context, Event, TlsSession, TransactionId, TransportError,
    TransportErrorKind, Verification,
};
use ehlo::{
    BareNewlines, Body, Content, Credentials, Envelope, Error, Mailbox, Security, Streamed, Verdict,
};

/// A policy with somebody who logs in.
pub fn with_login(security: Security) -> Config {
    let credentials = Credentials::password("alice", "password").expect("no control characters");
    Config::new(security).with_credentials(credentials)
}

/// How a run of the server's octets reaches the client.
#[derive(Clone, Copy)]
pub enum Chunks {
    Whole,
    Octets,
}

/// A connection and everything that came out of it.
pub struct Peer {
    pub wire: Vec<u8>,
    pub events: Vec<String>,
    connection: Connection,
    now: Instant,
    submitted: Vec<TransactionId>,
    finished: Vec<TransactionId>,
    closed: bool,
}

impl Peer {
    pub fn new(config: Config, now: Instant) -> Self {
        let security = config.security;
        let mut connection = Connection::new(Arc::new(config), Context::new(None, [7; 32]), now);
        if security == Security::Implicit {
            connection.tls_established(tls(), now);
        }
        Self {
            wire: Vec::new(),
            events: Vec::new(),
            connection,
            now,
            submitted: Vec::new(),
            finished: Vec::new(),
            closed: false,
        }
    }

    /// Plays an input to its end, closes, and checks what must hold then.
    pub fn play(&mut self, input: &[u8], chunks: Chunks) {
        let mut runs = input.split(|&octet| octet == MARK);
        self.receive(runs.next().unwrap_or_default(), chunks);
        for run in runs {
            let Some((&step, run)) = run.split_first() else {
                continue;
            };
            self.step(step);
            self.receive(run, chunks);
        }
        self.turn();
        self.connection.receive_eof(self.now);
        self.turn();
        assert!(self.closed, "the connection has ended, and nobody was told");
        self.finished.sort();
        assert_eq!(self.submitted, self.finished, "submitted and finished");
        let mut slices = [IoSlice::new(&[]); 1];
        assert_eq!(
            self.connection.transmit(&mut slices),
            0,
            "octets behind the end"
        );
    }

    /// Submits a message to two recipients, of this content or a streamed one.
    pub fn submit(&mut self, body: impl Into<Body>) {
        let mailbox = |name| Mailbox::new(name, "example.org").expect("an address");
        let envelope = Envelope::new(mailbox("a"), [mailbox("b"), mailbox("c")]);
        if let Ok(id) = self.connection.submit(envelope, body.into(), self.now) {
            self.submitted.push(id);
        }
    }

    /// The server says this, and the client takes its turn: what it says to that.
    pub fn converse(&mut self, text: &str) -> Vec<u8> {
        let before = self.wire.len();
        self.connection.receive(text.as_bytes(), self.now);
        self.turn();
        self.wire.split_off(before)
    }

    fn receive(&mut self, octets: &[u8], chunks: Chunks) {
        match chunks {
            Chunks::Whole if octets.is_empty() => {}
            Chunks::Whole => self.connection.receive(octets, self.now),
            Chunks::Octets => {
                for octet in octets {
                    self.connection.receive(&[*octet], self.now);
                }
            }
        }
    }

    fn step(&mut self, step: u8) {
        match step {
            b'E' => self.connection.receive_eof(self.now),
            b'T' => {
                if let Some(deadline) = self.connection.poll_timeout() {
                    self.now = self.now.max(deadline);
                    self.connection.handle_timeout(self.now);
                }
            }
            b'F' => {
                let cause = TransportError::new(TransportErrorKind::Lost, "the transport failed");
                self.connection.failed(cause, self.now);
            }
            b'S' => {
                let text = "Subject: x\r\n\r\n.\r\n";
                self.submit(Content::check(text, BareNewlines::Reject).expect("clean"));
            }
            b'W' => self.submit(Streamed::default().with_newlines(BareNewlines::Normalise)),
            b'P' => {
                let mailbox = |name| Mailbox::new(name, "example.org").expect("an address");
                let envelope = Envelope::new(mailbox("a"), [mailbox("b")]);
                if let Ok(id) = self.connection.probe(envelope, self.now) {
                    self.submitted.push(id);
                }
            }
            b'C' => {
                if let Some(&id) = self.submitted.last() {
                    self.connection.cancel(id, self.now);
                }
            }
            b'Q' => self.connection.quit(self.now),
            b'1' => {
                self.take(1);
            }
            _ => self.turn(),
        }
    }

    /// Events and octets are taken until there are no more.
    pub fn turn(&mut self) {
        loop {
            while let Some(event) = self.connection.poll_event() {
                self.event(event);
            }
            if let Some(mut writer) = self.connection.body_writer() {
                writer.write("Subject: x\n\n.\n.x".into(), self.now);
                writer.finish(self.now);
            }
            if !self.take(usize::MAX) {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        assert!(!self.closed, "{event:?} behind the end");
        self.events.push(digest(&event));
        match event {
            Event::StartTls => self.connection.tls_established(tls(), self.now),
            Event::Finished { id, .. } => self.finished.push(id),
            Event::Closed(_) => self.closed = true,
            _ => {}
        }
    }

    /// The transport takes up to so many octets; whether there were any.
    fn take(&mut self, most: usize) -> bool {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = self.connection.transmit(&mut slices);
        let before = self.wire.len();
        for slice in &slices[..count] {
            let room = most.saturating_sub(self.wire.len() - before);
            self.wire.extend(&slice[..slice.len().min(room)]);
        }
        let taken = self.wire.len() - before;
        if taken > 0 {
            self.connection.sent(taken, self.now);
        }
        taken > 0
    }
}

/// All of an event but the dialogue in its errors: that ends where the error was found, and octets
/// that nobody asked for are an error at the first of them.
fn digest(event: &Event) -> String {
    let error = |error: &Error| {
        let (category, stage, party) = (error.category(), error.stage(), error.party());
        format!("{category} {stage} {party} {error}")
    };
    match event {
        Event::Finished { id, recipients } => {
            let verdicts = recipients.iter().map(|verdict| match verdict {
                Verdict::NotSent(cause) => format!("not sent: {}; ", error(cause)),
                Verdict::InDoubt(cause) => format!("in doubt: {}; ", error(cause)),
                other => format!("{other:?}; "),
            });
            format!("Finished {id}: {}", verdicts.collect::<String>())
        }
        Event::Closed(Err(cause)) => format!("Closed: {}", error(cause)),
        other => format!("{other:?}"),
    }
}

fn tls() -> TlsSession {
    TlsSession::new("TLSv1.3", "a suite", Verification::Trusted)
}

/// UTF-8 has no such octet.
const MARK: u8 = 255;
