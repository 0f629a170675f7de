//! What a client has to do, as the arguments of a process of its own.

use std::error::Error;

pub type Failure = Box<dyn Error + Send + Sync>;

/// Who sends, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Lettre,
    LettreNodelay,
    MailSend,
    MailSendNodelay,
    /// By its lower calls: the envelope in one group.
    MailSendByHandData,
    MailSendByHandBdat,
    AsyncSmtp,
    AsyncSmtpNodelay,
    /// Each message waits for the answer to the one before.
    EhloAwaitedData,
    EhloAwaited,
    /// Messages are queued on one connection; those by BDAT overlap.
    EhloStreamData,
    EhloStream,
    /// The same by `Pool::send_all`.
    EhloPoolData,
    EhloPool,
    /// A message that is read piece by piece.
    EhloReaderData,
    EhloReader,
    /// The least that a program on tokio can do: a queue by DATA, awaited by BDAT, streamed by BDAT.
    FloorData,
    FloorBdat,
    FloorStream,
}

/// Whose a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Theirs,
    Ours,
    Floor,
}

/// What is between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Clear,
    StartTls,
    Implicit,
    /// No server: a stream in memory that swallows what is written.
    Swallow,
}

/// Who does the cryptography of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crypto {
    Ring,
    AwsLcRs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Connections first; the clock is around the sending.
    Messages,
    /// A connection and a log-in for each message, connecting in the clock.
    Sessions,
    /// Connections that do nothing.
    Idle,
}

/// The lines of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Nothing to be changed.
    Clean,
    /// Every 100th begins with a dot.
    Dots,
    /// Every 50th begins with a dot, every 20th ends in a bare LF.
    Mixed,
}

impl Peer {
    const ALL: [(Self, &'static str); 19] = [
        (Self::Lettre, "lettre"),
        (Self::LettreNodelay, "lettre-nodelay"),
        (Self::MailSend, "mail-send"),
        (Self::MailSendNodelay, "mail-send-nodelay"),
        (Self::MailSendByHandData, "mail-send-by-hand-data"),
        (Self::MailSendByHandBdat, "mail-send-by-hand-bdat"),
        (Self::AsyncSmtp, "async-smtp"),
        (Self::AsyncSmtpNodelay, "async-smtp-nodelay"),
        (Self::EhloAwaitedData, "ehlo-awaited-data"),
        (Self::EhloAwaited, "ehlo-awaited"),
        (Self::EhloStreamData, "ehlo-stream-data"),
        (Self::EhloStream, "ehlo-stream"),
        (Self::EhloPoolData, "ehlo-pool-data"),
        (Self::EhloPool, "ehlo-pool"),
        (Self::EhloReaderData, "ehlo-reader-data"),
        (Self::EhloReader, "ehlo-reader"),
        (Self::FloorData, "floor-data"),
        (Self::FloorBdat, "floor-bdat"),
        (Self::FloorStream, "floor-stream"),
    ];

    pub fn name(self) -> &'static str {
        name_in(&Self::ALL, self)
    }

    pub fn side(self) -> Side {
        match self.name().split_once('-') {
            Some(("ehlo", _)) => Side::Ours,
            Some(("floor", _)) => Side::Floor,
            _ => Side::Theirs,
        }
    }

    /// Whether it stalls at each message: Nagle waits for an acknowledgement that the server delays.
    pub fn stalls(self) -> bool {
        matches!(self, Self::Lettre | Self::MailSend)
    }

    /// Whether many messages are on their way at once.
    pub fn overlaps(self) -> bool {
        matches!(self, Self::EhloStream | Self::EhloPool | Self::FloorStream)
    }

    /// Whether messages go by DATA, though the server takes BDAT.
    pub fn by_data(self) -> bool {
        self.name().ends_with("-data")
    }

    /// The same with TCP_NODELAY set by the caller, or from a stream of the caller's own.
    pub fn sets_nodelay(self) -> bool {
        !matches!(self, Self::Lettre | Self::MailSend | Self::AsyncSmtp)
    }
}

/// What a client has to do.
#[derive(Clone, Debug)]
pub struct Job {
    pub peer: Peer,
    pub task: Task,
    pub wire: Wire,
    pub crypto: Crypto,
    pub port: u16,
    /// The roots of the server, where TLS is spoken.
    pub ca_file: Option<String>,
    pub connections: usize,
    pub messages: usize,
    pub size: usize,
    pub recipients: usize,
    pub text: Text,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            peer: Peer::EhloAwaited,
            task: Task::Messages,
            wire: Wire::Clear,
            crypto: Crypto::Ring,
            port: 2525,
            ca_file: None,
            connections: 1,
            messages: 1000,
            size: 1024,
            recipients: 1,
            text: Text::Clean,
        }
    }
}

impl Job {
    pub fn from_arguments(arguments: &[String]) -> Result<Self, Failure> {
        let mut job = Self::default();
        for pair in arguments.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("{} needs a value", pair[0]).into());
            };
            match name.as_str() {
                "--peer" => job.peer = named(&Peer::ALL, value)?,
                "--task" => job.task = named(&TASKS, value)?,
                "--wire" => job.wire = named(&WIRES, value)?,
                "--crypto" => job.crypto = named(&CRYPTOS, value)?,
                "--port" => job.port = value.parse()?,
                "--ca-file" => job.ca_file = Some(value.clone()),
                "--connections" => job.connections = value.parse()?,
                "--messages" => job.messages = value.parse()?,
                "--size" => job.size = value.parse()?,
                "--recipients" => job.recipients = value.parse()?,
                "--text" => job.text = named(&TEXTS, value)?,
                _ => return Err(format!("there is no option {name}").into()),
            }
        }
        Ok(job)
    }

    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["client".to_owned()];
        let mut option = |name: &str, value: &str| {
            arguments.extend([name.to_owned(), value.to_owned()]);
        };
        option("--peer", self.peer.name());
        option("--task", name_in(&TASKS, self.task));
        option("--wire", self.wire.name());
        option("--crypto", self.crypto.name());
        option("--port", &self.port.to_string());
        if let Some(file) = &self.ca_file {
            option("--ca-file", file);
        }
        option("--connections", &self.connections.to_string());
        option("--messages", &self.messages.to_string());
        option("--size", &self.size.to_string());
        option("--recipients", &self.recipients.to_string());
        option("--text", name_in(&TEXTS, self.text));
        arguments
    }

    /// How many messages this connection has to send.
    pub fn share(&self, connection: usize) -> usize {
        let more = usize::from(connection < self.messages % self.connections);
        self.messages / self.connections + more
    }

    /// A message of about this size: lines of 64 octets.
    pub fn message(&self) -> Vec<u8> {
        let head = b"Subject: benchmark\r\n\r\n";
        let lines = (self.size.saturating_sub(head.len()) / LINE).max(1);
        let mut message = Vec::with_capacity(head.len() + lines * LINE);
        message.extend_from_slice(head);
        let block = self.block();
        while message.len() + block.len() <= head.len() + lines * LINE {
            message.extend_from_slice(&block);
        }
        let rest = head.len() + lines * LINE - message.len();
        message.extend_from_slice(&block[..rest / LINE * LINE]);
        message
    }

    /// A hundred lines.
    pub fn block(&self) -> Vec<u8> {
        (0..100).flat_map(|number| self.line(number)).collect()
    }

    fn line(&self, number: usize) -> Vec<u8> {
        let (dotted, bare) = match self.text {
            Text::Clean => (false, false),
            Text::Dots => (number % 100 == 50, false),
            Text::Mixed => (number % 50 == 25, number % 20 == 10),
        };
        let first = if dotted { '.' } else { '-' };
        let end = if bare { "\n" } else { "\r\n" };
        format!("{first}{number:0width$}{end}", width = LINE - 1 - end.len()).into_bytes()
    }

    pub fn recipients(&self) -> Vec<String> {
        (0..self.recipients)
            .map(|number| format!("recipient{number}@example.org"))
            .collect()
    }
}

impl Wire {
    pub fn name(self) -> &'static str {
        name_in(&WIRES, self)
    }

    pub fn is_secure(self) -> bool {
        matches!(self, Self::StartTls | Self::Implicit)
    }

    pub fn parse(name: &str) -> Result<Self, Failure> {
        named(&WIRES, name)
    }
}

impl Crypto {
    pub fn name(self) -> &'static str {
        name_in(&CRYPTOS, self)
    }
}

fn named<T: Copy>(all: &[(T, &str)], name: &str) -> Result<T, Failure> {
    let found = all.iter().find(|(_, known)| *known == name);
    Ok(found.ok_or_else(|| format!("there is no {name}"))?.0)
}

fn name_in<T: Copy + PartialEq>(all: &[(T, &'static str)], one: T) -> &'static str {
    let found = all.iter().find(|(known, _)| *known == one);
    found.map_or("?", |(_, name)| name)
}

pub const SENDER: &str = "sender@example.org";
/// Whom sessions log in as.
pub const USER: &str = "user";
pub const PASSWORD: &str = "password";
/// The server's name and address.
pub const HOST: &str = "127.0.0.1";

/// Octets in a line, CRLF included.
const LINE: usize = 64;

const TASKS: [(Task, &str); 3] = [
    (Task::Messages, "messages"),
    (Task::Sessions, "sessions"),
    (Task::Idle, "idle"),
];
const WIRES: [(Wire, &str); 4] = [
    (Wire::Clear, "clear"),
    (Wire::StartTls, "starttls"),
    (Wire::Implicit, "implicit"),
    (Wire::Swallow, "swallow"),
];
const CRYPTOS: [(Crypto, &str); 2] = [(Crypto::Ring, "ring"), (Crypto::AwsLcRs, "aws-lc-rs")];
const TEXTS: [(Text, &str); 3] = [
    (Text::Clean, "clean"),
    (Text::Dots, "dots"),
    (Text::Mixed, "mixed"),
];
