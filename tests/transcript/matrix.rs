//! Every stage × what can go wrong there, as one table.
//!
//! A case plays the opening up to its stage, lets one thing go wrong, and checks what is reported
//! (category, stage, temporary or not) and what the client still sends.

use std::fmt::Write;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ehlo::proto::{Config, Connection, Context, Event, PlaintextAuth};
use ehlo::{BareNewlines, Content, Credentials, Envelope, Mailbox, Security};
use libtest_mimic::{Failed, Trial};

use super::event;

/// Where the client waits for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ehlo,
    StartTls,
    Handshake,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The end of the message was sent.
    Body,
    Quit,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Transient,
    Permanent,
    Closing,
    Eof,
    Stall,
    Garbage,
}

/// What the client may still say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// The session goes on.
    Session,
    /// QUIT and no more.
    Quit,
    /// Nothing.
    Nothing,
}

use Fault::{Closing, Eof, Garbage, Permanent, Stall, Transient};
use Rest::{Nothing, Quit, Session};

/// Stage, fault, what the event says, and what may follow. For a refused transaction the event is
/// its verdict, for all else the end of the connection.
const TABLE: [(Stage, Fault, &str, Rest); 60] = [
    (
        Stage::Greeting,
        Transient,
        "closed temporary greeting temporary",
        Quit,
    ),
    (
        Stage::Greeting,
        Permanent,
        "closed connection-refused greeting permanent",
        Quit,
    ),
    (
        Stage::Greeting,
        Closing,
        "closed temporary greeting temporary",
        Nothing,
    ),
    (
        Stage::Greeting,
        Eof,
        "closed connection-lost greeting temporary",
        Nothing,
    ),
    (
        Stage::Greeting,
        Stall,
        "closed connection-timeout greeting temporary",
        Nothing,
    ),
    (
        Stage::Greeting,
        Garbage,
        "closed protocol greeting permanent",
        Nothing,
    ),
    (
        Stage::Ehlo,
        Transient,
        "closed temporary ehlo temporary",
        Quit,
    ),
    (
        Stage::Ehlo,
        Permanent,
        "closed sender-refused ehlo permanent",
        Quit,
    ),
    (
        Stage::Ehlo,
        Closing,
        "closed temporary ehlo temporary",
        Nothing,
    ),
    (
        Stage::Ehlo,
        Eof,
        "closed connection-lost ehlo temporary",
        Nothing,
    ),
    (
        Stage::Ehlo,
        Stall,
        "closed connection-timeout ehlo temporary",
        Nothing,
    ),
    (
        Stage::Ehlo,
        Garbage,
        "closed protocol ehlo permanent",
        Nothing,
    ),
    (
        Stage::StartTls,
        Transient,
        "closed starttls-unavailable starttls temporary",
        Quit,
    ),
    (
        Stage::StartTls,
        Permanent,
        "closed starttls-unavailable starttls permanent",
        Quit,
    ),
    (
        Stage::StartTls,
        Closing,
        "closed starttls-unavailable starttls temporary",
        Nothing,
    ),
    (
        Stage::StartTls,
        Eof,
        "closed connection-lost starttls temporary",
        Nothing,
    ),
    (
        Stage::StartTls,
        Stall,
        "closed connection-timeout starttls temporary",
        Nothing,
    ),
    (
        Stage::StartTls,
        Garbage,
        "closed protocol starttls permanent",
        Nothing,
    ),
    // No octet in clear is acceptable there, whatever it says.
    (
        Stage::Handshake,
        Transient,
        "closed protocol starttls permanent",
        Nothing,
    ),
    (
        Stage::Handshake,
        Permanent,
        "closed protocol starttls permanent",
        Nothing,
    ),
    (
        Stage::Handshake,
        Closing,
        "closed protocol starttls permanent",
        Nothing,
    ),
    (
        Stage::Handshake,
        Eof,
        "closed tls handshake permanent",
        Nothing,
    ),
    (
        Stage::Handshake,
        Stall,
        "closed connection-timeout handshake temporary",
        Nothing,
    ),
    (
        Stage::Handshake,
        Garbage,
        "closed protocol starttls permanent",
        Nothing,
    ),
    (
        Stage::Auth,
        Transient,
        "closed authentication auth temporary",
        Quit,
    ),
    (
        Stage::Auth,
        Permanent,
        "closed authentication auth permanent",
        Quit,
    ),
    (
        Stage::Auth,
        Closing,
        "closed authentication auth temporary",
        Nothing,
    ),
    (
        Stage::Auth,
        Eof,
        "closed connection-lost auth temporary",
        Nothing,
    ),
    (
        Stage::Auth,
        Stall,
        "closed connection-timeout auth temporary",
        Nothing,
    ),
    (
        Stage::Auth,
        Garbage,
        "closed protocol auth permanent",
        Nothing,
    ),
    (
        Stage::Mail,
        Transient,
        "finished 0 refused mail 450",
        Session,
    ),
    (
        Stage::Mail,
        Permanent,
        "finished 0 refused mail 550",
        Session,
    ),
    (
        Stage::Mail,
        Closing,
        "closed temporary mail temporary",
        Nothing,
    ),
    (
        Stage::Mail,
        Eof,
        "closed connection-lost mail temporary",
        Nothing,
    ),
    (
        Stage::Mail,
        Stall,
        "closed connection-timeout mail temporary",
        Nothing,
    ),
    (
        Stage::Mail,
        Garbage,
        "closed protocol mail permanent",
        Nothing,
    ),
    (
        Stage::Rcpt,
        Transient,
        "finished 0 refused rcpt 450",
        Session,
    ),
    (
        Stage::Rcpt,
        Permanent,
        "finished 0 refused rcpt 550",
        Session,
    ),
    (
        Stage::Rcpt,
        Closing,
        "closed temporary rcpt temporary",
        Nothing,
    ),
    (
        Stage::Rcpt,
        Eof,
        "closed connection-lost rcpt temporary",
        Nothing,
    ),
    (
        Stage::Rcpt,
        Stall,
        "closed connection-timeout rcpt temporary",
        Nothing,
    ),
    (
        Stage::Rcpt,
        Garbage,
        "closed protocol rcpt permanent",
        Nothing,
    ),
    (
        Stage::Data,
        Transient,
        "finished 0 refused data 450",
        Session,
    ),
    (
        Stage::Data,
        Permanent,
        "finished 0 refused data 550",
        Session,
    ),
    (
        Stage::Data,
        Closing,
        "closed temporary data temporary",
        Nothing,
    ),
    (
        Stage::Data,
        Eof,
        "closed connection-lost data temporary",
        Nothing,
    ),
    (
        Stage::Data,
        Stall,
        "closed connection-timeout data temporary",
        Nothing,
    ),
    (
        Stage::Data,
        Garbage,
        "closed protocol data permanent",
        Nothing,
    ),
    (
        Stage::Body,
        Transient,
        "finished 0 refused body 450",
        Session,
    ),
    (
        Stage::Body,
        Permanent,
        "finished 0 refused body 550",
        Session,
    ),
    (Stage::Body, Closing, "finished 0 refused body 421", Nothing),
    (
        Stage::Body,
        Eof,
        "finished 0 in-doubt connection-lost body",
        Nothing,
    ),
    (
        Stage::Body,
        Stall,
        "finished 0 in-doubt connection-timeout body",
        Nothing,
    ),
    (
        Stage::Body,
        Garbage,
        "finished 0 in-doubt connection-lost body",
        Nothing,
    ),
    // Whatever becomes of QUIT is success.
    (Stage::Quit, Transient, "closed ok", Nothing),
    (Stage::Quit, Permanent, "closed ok", Nothing),
    (Stage::Quit, Closing, "closed ok", Nothing),
    (Stage::Quit, Eof, "closed ok", Nothing),
    (Stage::Quit, Stall, "closed ok", Nothing),
    (Stage::Quit, Garbage, "closed ok", Nothing),
];

/// A test for each row.
pub(crate) fn trials() -> Vec<Trial> {
    let rows = TABLE.iter().map(|&(stage, fault, expected, rest)| {
        let name = format!("matrix::{stage:?}::{fault:?}").to_lowercase();
        Trial::test(name, move || {
            let mut peer = Peer::at(stage);
            peer.fail(fault);
            Ok::<(), Failed>(peer.judge(expected, rest)?)
        })
    });
    rows.collect()
}

/// An engine that has come to a stage.
struct Peer {
    connection: Connection,
    now: Instant,
    said: Vec<u8>,
    words: Vec<String>,
    log: String,
}

impl Peer {
    fn at(stage: Stage) -> Self {
        let now = Instant::now();
        let security = match stage {
            Stage::StartTls | Stage::Handshake => Security::StartTls,
            _ => Security::Plaintext,
        };
        let mut config = Config::new(security);
        if stage == Stage::Auth {
            let credentials = Credentials::password("alice", "password");
            config = config
                .with_credentials(credentials.expect("there is no control character"))
                .with_plaintext_auth(PlaintextAuth::Allow);
        }
        let mut peer = Self {
            connection: Connection::new(Arc::new(config), Context::default(), now),
            now,
            said: Vec::new(),
            words: Vec::new(),
            log: String::new(),
        };
        peer.open(stage);
        peer.said.clear();
        peer.words.clear();
        peer
    }

    fn open(&mut self, stage: Stage) {
        if stage == Stage::Greeting {
            return;
        }
        self.hear("220 mx\r\n");
        match stage {
            Stage::Greeting | Stage::Ehlo => return,
            Stage::StartTls => return self.hear("250-mx\r\n250 STARTTLS\r\n"),
            Stage::Handshake => {
                self.hear("250-mx\r\n250 STARTTLS\r\n");
                return self.hear("220 go\r\n");
            }
            Stage::Auth => return self.hear("250-mx\r\n250 AUTH PLAIN LOGIN\r\n"),
            Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Body | Stage::Quit => {
                self.hear("250 mx\r\n");
            }
        }
        if stage == Stage::Quit {
            self.connection.quit(self.now);
            return self.drain();
        }
        let mailbox: Mailbox = "a@example.org".parse().expect("that is a mailbox");
        let content = Content::check("Hi\r\n", BareNewlines::Reject);
        let content = content.expect("there is no bare newline");
        let envelope = Envelope::new(mailbox.clone(), [mailbox]);
        let submitted = self.connection.submit(envelope, content.into(), self.now);
        submitted.expect("the session is open");
        self.drain();
        let replies: &[&str] = match stage {
            Stage::Rcpt => &["250 ok\r\n"],
            Stage::Data => &["250 ok\r\n", "250 ok\r\n"],
            Stage::Body => &["250 ok\r\n", "250 ok\r\n", "354 go\r\n"],
            _ => &[],
        };
        for reply in replies {
            self.hear(reply);
        }
    }

    fn fail(&mut self, fault: Fault) {
        match fault {
            Transient => self.hear("450 4.0.0 not now\r\n"),
            Permanent => self.hear("550 5.0.0 never\r\n"),
            Closing => self.hear("421 4.3.2 closing\r\n"),
            Eof => {
                self.connection.receive_eof(self.now);
                self.drain();
            }
            Stall => {
                let due = self.connection.poll_timeout();
                self.now = due.unwrap_or(self.now) + Duration::from_millis(1);
                self.connection.handle_timeout(self.now);
                self.drain();
            }
            Garbage => self.hear("** noise **\r\n"),
        }
    }

    fn judge(mut self, expected: &str, rest: Rest) -> Result<(), String> {
        let said = String::from_utf8_lossy(&self.said).into_owned();
        let allowed: &[&str] = match rest {
            Session => &["", "RSET\r\n"],
            Quit => &["QUIT\r\n"],
            Nothing => &[""],
        };
        if !allowed.contains(&said.as_str()) {
            return Err(format!("the client then said {said:?}\n{}", self.log));
        }
        if rest == Quit {
            self.hear("221 bye\r\n");
        }
        let found = self.words.iter().any(|words| words == expected);
        if !found {
            return Err(format!(
                "{expected:?} is not among {:?}\n{}",
                self.words, self.log
            ));
        }
        let closed = self.words.iter().any(|words| words.starts_with("closed"));
        if closed == (rest == Session) {
            return Err(format!("closed: {closed}\n{}", self.log));
        }
        Ok(())
    }

    fn hear(&mut self, lines: &str) {
        let _ = write!(self.log, "S: {lines}");
        self.connection.receive(lines.as_bytes(), self.now);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            while let Some(event) = self.connection.poll_event() {
                // The one transaction is the first that was submitted, whatever its name.
                let ids = match &event {
                    Event::Finished { id, .. } | Event::Recipient { id, .. } => vec![*id],
                    _ => Vec::new(),
                };
                self.words.push(event::words(&event, &ids));
            }
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.connection.transmit(&mut slices);
            let octets: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect();
            if octets.is_empty() {
                return;
            }
            let _ = write!(self.log, "C: {}", String::from_utf8_lossy(&octets));
            self.said.extend_from_slice(&octets);
            self.connection.sent(octets.len(), self.now);
        }
    }
}
