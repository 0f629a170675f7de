//! Every stage × what can go wrong there, as one table.
//!
//! A case plays the opening up to its stage, lets one thing go wrong, and checks what is reported
//! (category, stage, temporary or not) and what the client still sends.

use std::fmt::Write;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ehlo::proto::{
    Config, Connection, Context, PlaintextAuth, Protocol, TlsSession, TransactionId, Verification,
};
use ehlo::{BareNewlines, Body, Content, Credentials, Envelope, Mailbox, Security, Streamed};
use libtest_mimic::{Failed, Trial};

use super::event;

/// Where the client waits for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ehlo,
    /// EHLO was answered by 502.
    Helo,
    StartTls,
    Handshake,
    EhloInTls,
    Auth,
    /// The first of two responses was sent.
    Response,
    Idle,
    Mail,
    Rcpt,
    /// All recipients were refused.
    Rset,
    Data,
    /// MAIL, RCPT and DATA have left in one flight.
    Group,
    /// A part of the message was sent, and its end was not.
    WithinBody,
    /// The end of the message was sent.
    Body,
    /// One of two recipients has its reply to the message.
    LmtpBody,
    /// A chunk was sent that is not the last.
    Chunk,
    LastChunk,
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

const STAGES: [(&str, Stage); 20] = [
    ("greeting", Stage::Greeting),
    ("ehlo", Stage::Ehlo),
    ("helo", Stage::Helo),
    ("starttls", Stage::StartTls),
    ("handshake", Stage::Handshake),
    ("ehlo-in-tls", Stage::EhloInTls),
    ("auth", Stage::Auth),
    ("response", Stage::Response),
    ("idle", Stage::Idle),
    ("mail", Stage::Mail),
    ("rcpt", Stage::Rcpt),
    ("rset", Stage::Rset),
    ("data", Stage::Data),
    ("group", Stage::Group),
    ("within-body", Stage::WithinBody),
    ("body", Stage::Body),
    ("lmtp-body", Stage::LmtpBody),
    ("chunk", Stage::Chunk),
    ("last-chunk", Stage::LastChunk),
    ("quit", Stage::Quit),
];

const FAULTS: [(&str, Fault); 6] = [
    ("4yz", Fault::Transient),
    ("5yz", Fault::Permanent),
    ("421", Fault::Closing),
    ("end", Fault::Eof),
    ("silence", Fault::Stall),
    ("noise", Fault::Garbage),
];

const RESTS: [(&str, Rest); 3] = [
    ("session", Rest::Session),
    ("quit", Rest::Quit),
    ("nothing", Rest::Nothing),
];

/// Stage, fault, what may follow, and what the event says. For a refused transaction the event is
/// its verdict, for all else the end of the connection.
///
/// During the handshake no octet in clear is acceptable, whatever it says. Whatever becomes of QUIT
/// is success. A TLS 1.3 server that refuses the client ends behind the handshake. Nobody is silent where nobody is waited for: in an idle session, and while the
/// caller's own stream has nothing more.
const TABLE: &str = "
greeting     4yz      quit     closed temporary greeting temporary
greeting     5yz      quit     closed connection-refused greeting permanent
greeting     421      nothing  closed temporary greeting temporary
greeting     end      nothing  closed connection-lost greeting temporary
greeting     silence  nothing  closed connection-timeout greeting temporary
greeting     noise    nothing  closed protocol greeting permanent
ehlo         4yz      quit     closed temporary ehlo temporary
ehlo         5yz      quit     closed sender-refused ehlo permanent
ehlo         421      nothing  closed temporary ehlo temporary
ehlo         end      nothing  closed connection-lost ehlo temporary
ehlo         silence  nothing  closed connection-timeout ehlo temporary
ehlo         noise    nothing  closed protocol ehlo permanent
starttls     4yz      quit     closed starttls-unavailable starttls temporary
starttls     5yz      quit     closed starttls-unavailable starttls permanent
starttls     421      nothing  closed starttls-unavailable starttls temporary
starttls     end      nothing  closed connection-lost starttls temporary
starttls     silence  nothing  closed connection-timeout starttls temporary
starttls     noise    nothing  closed protocol starttls permanent
handshake    4yz      nothing  closed protocol starttls permanent
handshake    5yz      nothing  closed protocol starttls permanent
handshake    421      nothing  closed protocol starttls permanent
handshake    end      nothing  closed tls handshake permanent
handshake    silence  nothing  closed connection-timeout handshake temporary
handshake    noise    nothing  closed protocol starttls permanent
auth         4yz      quit     closed authentication auth temporary
auth         5yz      quit     closed authentication auth permanent
auth         421      nothing  closed authentication auth temporary
auth         end      nothing  closed connection-lost auth temporary
auth         silence  nothing  closed connection-timeout auth temporary
auth         noise    nothing  closed protocol auth permanent
mail         4yz      session  finished 0 refused mail 450
mail         5yz      session  finished 0 refused mail 550
mail         421      nothing  closed temporary mail temporary
mail         end      nothing  closed connection-lost mail temporary
mail         silence  nothing  closed connection-timeout mail temporary
mail         noise    nothing  closed protocol mail permanent
rcpt         4yz      session  finished 0 refused rcpt 450
rcpt         5yz      session  finished 0 refused rcpt 550
rcpt         421      nothing  closed temporary rcpt temporary
rcpt         end      nothing  closed connection-lost rcpt temporary
rcpt         silence  nothing  closed connection-timeout rcpt temporary
rcpt         noise    nothing  closed protocol rcpt permanent
data         4yz      session  finished 0 refused data 450
data         5yz      session  finished 0 refused data 550
data         421      nothing  closed temporary data temporary
data         end      nothing  closed connection-lost data temporary
data         silence  nothing  closed connection-timeout data temporary
data         noise    nothing  closed protocol data permanent
body         4yz      session  finished 0 refused body 450
body         5yz      session  finished 0 refused body 550
body         421      nothing  finished 0 refused body 421
body         end      nothing  finished 0 in-doubt connection-lost body
body         silence  nothing  finished 0 in-doubt connection-timeout body
body         noise    nothing  finished 0 in-doubt connection-lost body
quit         4yz      nothing  closed ok
quit         5yz      nothing  closed ok
quit         421      nothing  closed ok
quit         end      nothing  closed ok
quit         silence  nothing  closed ok
quit         noise    nothing  closed ok
helo         4yz      quit     closed temporary ehlo temporary
helo         5yz      quit     closed sender-refused ehlo permanent
helo         421      nothing  closed temporary ehlo temporary
helo         end      nothing  closed connection-lost ehlo temporary
helo         silence  nothing  closed connection-timeout ehlo temporary
helo         noise    nothing  closed protocol ehlo permanent
ehlo-in-tls  4yz      quit     closed temporary ehlo temporary
ehlo-in-tls  5yz      quit     closed sender-refused ehlo permanent
ehlo-in-tls  421      nothing  closed temporary ehlo temporary
ehlo-in-tls  end      nothing  closed tls handshake permanent
ehlo-in-tls  silence  nothing  closed connection-timeout ehlo temporary
ehlo-in-tls  noise    nothing  closed protocol ehlo permanent
response     4yz      quit     closed authentication auth temporary
response     5yz      quit     closed authentication auth permanent
response     421      nothing  closed authentication auth temporary
response     end      nothing  closed connection-lost auth temporary
response     silence  nothing  closed connection-timeout auth temporary
response     noise    nothing  closed protocol auth permanent
group        4yz      session  finished 0 refused mail 450
group        5yz      session  finished 0 refused mail 550
group        421      nothing  closed temporary mail temporary
group        end      nothing  closed connection-lost mail temporary
group        silence  nothing  closed connection-timeout mail temporary
group        noise    nothing  closed protocol mail permanent
within-body  4yz      nothing  finished 0 refused body 450
within-body  5yz      nothing  finished 0 refused body 550
within-body  421      nothing  finished 0 refused body 421
within-body  end      nothing  finished 0 not-sent connection-lost body
within-body  noise    nothing  finished 0 not-sent protocol body
chunk        4yz      session  finished 0 refused body 450
chunk        5yz      session  finished 0 refused body 550
chunk        421      nothing  finished 0 refused body 421
chunk        end      nothing  finished 0 not-sent connection-lost body
chunk        silence  nothing  finished 0 not-sent connection-timeout body
chunk        noise    nothing  finished 0 not-sent protocol body
last-chunk   4yz      session  finished 0 refused body 450
last-chunk   5yz      session  finished 0 refused body 550
last-chunk   421      nothing  finished 0 refused body 421
last-chunk   end      nothing  finished 0 in-doubt connection-lost body
last-chunk   silence  nothing  finished 0 in-doubt connection-timeout body
last-chunk   noise    nothing  finished 0 in-doubt connection-lost body
lmtp-body    4yz      session  finished 0 accepted 250, refused body 450
lmtp-body    5yz      session  finished 0 accepted 250, refused body 550
lmtp-body    421      nothing  finished 0 accepted 250, refused body 421
lmtp-body    end      nothing  finished 0 accepted 250, in-doubt connection-lost body
lmtp-body    silence  nothing  finished 0 accepted 250, in-doubt connection-timeout body
lmtp-body    noise    nothing  finished 0 accepted 250, in-doubt connection-lost body
rset         4yz      quit     closed protocol mail temporary
rset         5yz      quit     closed protocol mail permanent
rset         421      nothing  closed temporary mail temporary
rset         end      nothing  closed connection-lost mail temporary
rset         silence  nothing  closed connection-timeout mail temporary
rset         noise    nothing  closed protocol mail permanent
idle         4yz      nothing  closed connection-lost mail temporary
idle         5yz      nothing  closed protocol mail permanent
idle         421      nothing  closed connection-lost mail temporary
idle         end      nothing  closed connection-lost mail temporary
idle         noise    nothing  closed protocol mail permanent
";

/// A test for each row.
pub(crate) fn trials() -> Vec<Trial> {
    let rows = TABLE.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (at, goes_wrong, may_follow) = (word(), word(), word());
        let expected = words.collect::<Vec<_>>().join(" ");
        let stage = named(&STAGES, at);
        let fault = named(&FAULTS, goes_wrong);
        let rest = named(&RESTS, may_follow);
        Trial::test(format!("matrix::{at}::{goes_wrong}"), move || {
            let mut peer = Peer::at(stage);
            peer.fail(stage, fault);
            Ok::<(), Failed>(peer.judge(&expected, rest)?)
        })
    });
    rows.collect()
}

fn named<T: Copy>(all: &[(&str, T)], name: &str) -> T {
    let found = all.iter().find(|(known, _)| *known == name);
    found.map_or_else(|| panic!("the table has {name:?}"), |(_, value)| *value)
}

/// An engine that has come to a stage.
pub(super) struct Peer {
    connection: Connection,
    now: Instant,
    pub(super) said: Vec<u8>,
    pub(super) words: Vec<String>,
    pub(super) log: String,
    ids: Vec<TransactionId>,
}

impl Peer {
    fn at(stage: Stage) -> Self {
        let now = Instant::now();
        let security = match stage {
            Stage::StartTls | Stage::Handshake | Stage::EhloInTls => Security::StartTls,
            _ => Security::Plaintext,
        };
        let mut config = Config::new(security);
        if matches!(stage, Stage::Auth | Stage::Response) {
            let credentials = Credentials::password("alice", "password");
            config = config
                .with_credentials(credentials.expect("there is no control character"))
                .with_plaintext_auth(PlaintextAuth::Allow);
        }
        if stage == Stage::LmtpBody {
            config = config.with_protocol(Protocol::Lmtp);
        }
        let mut peer = Self {
            connection: Connection::new(Arc::new(config), Context::default(), now),
            now,
            said: Vec::new(),
            words: Vec::new(),
            log: String::new(),
            ids: Vec::new(),
        };
        peer.open(stage);
        peer.said.clear();
        peer.words.clear();
        peer
    }

    /// An engine in whose session these lines are on offer, and that has two messages to send: one
    /// to two recipients, and one to another.
    pub(super) fn with_two_messages(offers: &str) -> Self {
        let mut peer = Self::at(Stage::Greeting);
        peer.hear("220 mx\r\n");
        peer.hear(&format!("250-mx\r\n{offers}"));
        peer.said.clear();
        peer.words.clear();
        let mailbox = |text: &str| text.parse::<Mailbox>().expect("that is a mailbox");
        for recipients in [&["b@example.org", "c@example.org"][..], &["d@example.org"]] {
            let recipients = recipients.iter().map(|text| mailbox(text));
            let envelope = Envelope::new(mailbox("a@example.org"), recipients);
            let content = Content::check("Hi\r\n", BareNewlines::Reject);
            let content = content.expect("there is no bare newline");
            let id = peer.connection.submit(envelope, content.into(), peer.now);
            peer.ids.push(id.expect("the session is open"));
        }
        peer.drain();
        peer
    }

    fn open(&mut self, stage: Stage) {
        if stage == Stage::Greeting {
            return;
        }
        self.hear("220 mx\r\n");
        let hello = match stage {
            Stage::Greeting | Stage::Ehlo => return,
            Stage::Helo => "502 what\r\n",
            Stage::StartTls | Stage::Handshake | Stage::EhloInTls => "250-mx\r\n250 STARTTLS\r\n",
            Stage::Auth => "250-mx\r\n250 AUTH PLAIN\r\n",
            Stage::Response => "250-mx\r\n250 AUTH LOGIN\r\n",
            Stage::Group => "250-mx\r\n250 PIPELINING\r\n",
            Stage::Chunk | Stage::LastChunk => "250-mx\r\n250 CHUNKING\r\n",
            Stage::Idle
            | Stage::Mail
            | Stage::Rcpt
            | Stage::Rset
            | Stage::Data
            | Stage::WithinBody
            | Stage::Body
            | Stage::LmtpBody
            | Stage::Quit => "250 mx\r\n",
        };
        self.hear(hello);
        match stage {
            Stage::Handshake => self.hear("220 go\r\n"),
            Stage::EhloInTls => {
                self.hear("220 go\r\n");
                let tls =
                    TlsSession::new("TLSv1.3", "TLS_AES_128_GCM_SHA256", Verification::Trusted);
                self.connection.tls_established(tls, self.now);
                self.drain();
            }
            Stage::Response => self.hear("334 VXNlcm5hbWU6\r\n"),
            Stage::Quit => {
                self.connection.quit(self.now);
                self.drain();
            }
            Stage::Greeting
            | Stage::Ehlo
            | Stage::Helo
            | Stage::StartTls
            | Stage::Auth
            | Stage::Idle => {}
            Stage::Mail
            | Stage::Rcpt
            | Stage::Rset
            | Stage::Data
            | Stage::Group
            | Stage::WithinBody
            | Stage::Body
            | Stage::LmtpBody
            | Stage::Chunk
            | Stage::LastChunk => self.transaction(stage),
        }
    }

    fn transaction(&mut self, stage: Stage) {
        let mailbox: Mailbox = "a@example.org".parse().expect("that is a mailbox");
        let recipients = match stage {
            Stage::LmtpBody => vec![mailbox.clone(), mailbox.clone()],
            _ => vec![mailbox.clone()],
        };
        let content = Content::check("Hi\r\n", BareNewlines::Reject);
        let body = match stage {
            Stage::WithinBody | Stage::Chunk => Body::Streamed(Streamed::default()),
            _ => content.expect("there is no bare newline").into(),
        };
        let envelope = Envelope::new(mailbox, recipients);
        let submitted = self.connection.submit(envelope, body, self.now);
        self.ids.push(submitted.expect("the session is open"));
        self.drain();
        let replies: &[&str] = match stage {
            Stage::Rcpt => &["250 ok\r\n"],
            Stage::Rset => &["250 ok\r\n", "550 no\r\n"],
            Stage::Data | Stage::Chunk | Stage::LastChunk => &["250 ok\r\n", "250 ok\r\n"],
            Stage::Body | Stage::WithinBody => &["250 ok\r\n", "250 ok\r\n", "354 go\r\n"],
            Stage::LmtpBody => &[
                "250 ok\r\n",
                "250 ok\r\n",
                "250 ok\r\n",
                "354 go\r\n",
                "250 ok\r\n",
            ],
            _ => &[],
        };
        for reply in replies {
            self.hear(reply);
        }
        if let Some(mut writer) = self.connection.body_writer() {
            writer.write(Bytes::from("Hello.\r\n".repeat(9_000)), self.now);
            self.drain();
        }
    }

    fn fail(&mut self, stage: Stage, fault: Fault) {
        match fault {
            Fault::Transient => self.hear("450 4.0.0 not now\r\n"),
            Fault::Permanent => self.hear("550 5.0.0 never\r\n"),
            Fault::Closing => self.hear("421 4.3.2 closing\r\n"),
            Fault::Eof => {
                self.connection.receive_eof(self.now);
                self.drain();
            }
            Fault::Stall => {
                let due = self.connection.poll_timeout();
                self.now = due.unwrap_or(self.now) + Duration::from_millis(1);
                self.connection.handle_timeout(self.now);
                self.drain();
            }
            Fault::Garbage => self.hear("** noise **\r\n"),
        }
        if stage == Stage::Group && matches!(fault, Fault::Transient | Fault::Permanent) {
            self.hear("503 MAIL first\r\n503 MAIL first\r\n");
        }
    }

    fn judge(mut self, expected: &str, rest: Rest) -> Result<(), String> {
        let said = String::from_utf8_lossy(&self.said).into_owned();
        let allowed: &[&str] = match rest {
            Rest::Session => &["", "RSET\r\n"],
            Rest::Quit => &["QUIT\r\n"],
            Rest::Nothing => &[""],
        };
        if !allowed.contains(&said.as_str()) {
            return Err(format!("the client then said {said:?}\n{}", self.log));
        }
        if rest == Rest::Quit {
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
        if closed == (rest == Rest::Session) {
            return Err(format!("closed: {closed}\n{}", self.log));
        }
        Ok(())
    }

    pub(super) fn hear(&mut self, lines: &str) {
        let _ = write!(self.log, "S: {lines}");
        self.connection.receive(lines.as_bytes(), self.now);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            while let Some(event) = self.connection.poll_event() {
                self.words.push(event::words(&event, &self.ids));
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
