//! Reply parsers by themselves: no socket, no task.

use std::hint::black_box;
use std::io::IoSlice;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ehlo::proto::{Chunking, Config, Connection, Context};
use ehlo::{BareNewlines, Content, Envelope, Mailbox, Security};
use lettre::transport::smtp::response::Response;
use smtp_proto::EhloResponse;
use smtp_proto::response::parser::ResponseReceiver;

use crate::work::Failure;

/// How often each reply is parsed in one piece of work.
pub const EACH: usize = 100;

/// Prints the nanoseconds of one reply: `PARSER REPLY TIMES`. For `ehlo` TIMES may have `-without`
/// behind it: everything but the replies, to be taken off where instructions are counted.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let [parser, reply, times, rest @ ..] = arguments else {
        return Err("parse PARSER REPLY TIMES [without]".into());
    };
    let reply = Reply::named(reply)?;
    let replies = match rest.is_empty() {
        true => EACH,
        false => 0,
    };
    let mut elapsed = Duration::ZERO;
    for _ in 0..times.parse::<usize>()? {
        elapsed += match parser.as_str() {
            "smtp-proto" => smtp_proto_replies(reply, replies)?,
            "lettre" => lettre_replies(reply, replies)?,
            "ehlo" => ehlo_replies(reply, replies),
            "ehlo-line" => ehlo_lines(reply, replies),
            other => return Err(format!("there is no parser {other}").into()),
        };
    }
    let each = elapsed.as_nanos() as f64 / times.parse::<f64>()? / replies.max(1) as f64;
    println!("{each}");
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Ok,
    Refused,
    /// Of eight lines.
    Ehlo,
}

impl Reply {
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Ok, "ok"),
        (Self::Refused, "refused"),
        (Self::Ehlo, "ehlo"),
    ];

    fn named(name: &str) -> Result<Self, Failure> {
        let found = Self::ALL.into_iter().find(|(_, known)| *known == name);
        Ok(found.ok_or("ok, refused or ehlo")?.0)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Ok => "250 2.1.0 Ok\r\n",
            Self::Refused => "550 5.1.1 <recipient@example.org>: Recipient address rejected\r\n",
            Self::Ehlo => OFFERS,
        }
    }
}

/// A reply as such, one of EHLO into what it offers.
fn smtp_proto_replies(reply: Reply, replies: usize) -> Result<Duration, Failure> {
    let text = reply.text().as_bytes();
    let begun = Instant::now();
    for _ in 0..replies {
        match reply {
            Reply::Ok | Reply::Refused => {
                let mut receiver = ResponseReceiver::default();
                let parsed = receiver.parse(&mut black_box(text).iter());
                black_box(parsed.map_err(|error| format!("{error:?}"))?);
            }
            Reply::Ehlo => {
                let parsed = EhloResponse::parse(&mut black_box(text).iter());
                black_box(parsed.map_err(|error| format!("{error:?}"))?);
            }
        }
    }
    Ok(begun.elapsed())
}

fn lettre_replies(reply: Reply, replies: usize) -> Result<Duration, Failure> {
    let begun = Instant::now();
    for _ in 0..replies {
        black_box(Response::from_str(black_box(reply.text()))?);
    }
    Ok(begun.elapsed())
}

/// The engine's whole work for a reply: it is parsed, matched to its command (RCPT), and becomes the
/// verdict on a recipient; one of EHLO makes the session ready.
fn ehlo_replies(reply: Reply, replies: usize) -> Duration {
    let now = Instant::now();
    match reply {
        Reply::Ok | Reply::Refused => {
            let mut connection = submitted(EACH);
            connection.receive(b"250 2.1.0 Ok\r\n", now);
            let text = reply.text().repeat(replies);
            received(&mut connection, text.as_bytes())
        }
        Reply::Ehlo => {
            let sessions = (0..EACH).map(|_| greeted()).collect::<Vec<_>>();
            let mut elapsed = Duration::ZERO;
            for mut connection in sessions.into_iter().take(replies) {
                elapsed += received(&mut connection, OFFERS.as_bytes());
                black_box(&connection);
            }
            elapsed
        }
    }
}

/// The engine's parsing alone: the lines of one long reply, which is only begun. Of EHLO eight lines
/// are counted as one reply.
fn ehlo_lines(reply: Reply, replies: usize) -> Duration {
    let mut connection = submitted(1);
    let lines: String = reply
        .text()
        .lines()
        .map(|line| format!("{}-{}\r\n", &line[..3], &line[4..]))
        .collect();
    received(&mut connection, lines.repeat(replies).as_bytes())
}

fn received(connection: &mut Connection, text: &[u8]) -> Duration {
    let begun = Instant::now();
    connection.receive(black_box(text), begun);
    begun.elapsed()
}

fn greeted() -> Connection {
    let config = Config::new(Security::Plaintext).with_chunking(Chunking::Off);
    let now = Instant::now();
    let mut connection = Connection::new(Arc::new(config), Context::new(None, [7; 32]), now);
    connection.receive(b"220 mx.example.org ESMTP\r\n", now);
    drain(&mut connection, now);
    connection
}

/// A session with so many recipients on their way.
fn submitted(recipients: usize) -> Connection {
    let mut connection = greeted();
    let now = Instant::now();
    connection.receive(OFFERS.as_bytes(), now);
    let mailbox = |name: String| Mailbox::new(&name, "example.org").ok();
    let to = (0..recipients.max(1)).filter_map(|number| mailbox(format!("recipient{number}")));
    let content = Content::check("Subject: x\r\n\r\n", BareNewlines::Normalise).ok();
    if let (Some(sender), Some(content)) = (mailbox("sender".to_owned()), content) {
        // It fails only without a recipient.
        let _ = connection.submit(Envelope::new(sender, to), content.into(), now);
    }
    drain(&mut connection, now);
    connection
}

fn drain(connection: &mut Connection, now: Instant) {
    loop {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = connection.transmit(&mut slices);
        let sent = slices[..count].iter().map(|slice| slice.len()).sum();
        if sent == 0 {
            return;
        }
        connection.sent(sent, now);
    }
}

const OFFERS: &str = "250-mx.example.org at your service\r\n250-PIPELINING\r\n\
    250-SIZE 36700160\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-DSN\r\n\
    250 SMTPUTF8\r\n";
