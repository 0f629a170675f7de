//! What is to be done, and by whom.

use std::error::Error;

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Lettre,
    LettreNodelay,
    MailSend,
    MailSendNodelay,
    /// By its lower calls: the envelope in one group, the message by BDAT.
    MailSendByHand,
    AsyncSmtp,
    /// Each message waits for the answer to the one before; BDAT.
    EhloAwaited,
    EhloAwaitedData,
    /// A stream of messages by DATA.
    EhloStreamData,
    /// A stream of messages by BDAT, overlapping.
    EhloStream,
    /// One message, read piece by piece.
    EhloReader,
}

impl Peer {
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::Lettre, "lettre"),
        (Self::LettreNodelay, "lettre-nodelay"),
        (Self::MailSend, "mail-send"),
        (Self::MailSendNodelay, "mail-send-nodelay"),
        (Self::MailSendByHand, "mail-send-by-hand"),
        (Self::AsyncSmtp, "async-smtp"),
        (Self::EhloAwaitedData, "ehlo-awaited-data"),
        (Self::EhloStreamData, "ehlo-stream-data"),
        (Self::EhloAwaited, "ehlo-awaited"),
        (Self::EhloStream, "ehlo-stream"),
        (Self::EhloReader, "ehlo-reader"),
    ];

    pub fn name(self) -> &'static str {
        let named = Self::ALL.into_iter().find(|(peer, _)| *peer == self);
        named.map_or("?", |(_, name)| name)
    }

    pub fn is_ours(self) -> bool {
        self.name().starts_with("ehlo")
    }

    /// Whether it stalls at each message: Nagle waits for an acknowledgement that the server delays.
    pub fn stalls(self) -> bool {
        matches!(self, Self::Lettre | Self::MailSend)
    }
}

/// What a client has to do.
#[derive(Clone)]
pub struct Job {
    pub peer: Peer,
    pub port: u16,
    /// The roots of the server, where TLS is spoken.
    pub ca_file: Option<String>,
    pub connections: usize,
    pub messages: usize,
    pub size: usize,
    pub recipients: usize,
    /// A connection for each message.
    pub sessions: bool,
}

impl Job {
    pub fn from_arguments(arguments: &[String]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut job = Self {
            peer: Peer::EhloAwaited,
            port: 2525,
            ca_file: None,
            connections: 1,
            messages: 1000,
            size: 1024,
            recipients: 1,
            sessions: false,
        };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("{} needs a value", pair[0]).into());
            };
            match name.as_str() {
                "--peer" => {
                    let named = Peer::ALL.into_iter().find(|(_, name)| name == value);
                    job.peer = named.ok_or_else(|| format!("there is no {value}"))?.0;
                }
                "--port" => job.port = value.parse()?,
                "--ca-file" => job.ca_file = Some(value.clone()),
                "--connections" => job.connections = value.parse()?,
                "--messages" => job.messages = value.parse()?,
                "--size" => job.size = value.parse()?,
                "--recipients" => job.recipients = value.parse()?,
                "--sessions" => job.sessions = value == "true",
                _ => return Err(format!("there is no option {name}").into()),
            }
        }
        Ok(job)
    }

    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["client".to_owned()];
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        option("--peer", self.peer.name().to_owned());
        option("--port", self.port.to_string());
        if let Some(file) = &self.ca_file {
            option("--ca-file", file.clone());
        }
        option("--connections", self.connections.to_string());
        option("--messages", self.messages.to_string());
        option("--size", self.size.to_string());
        option("--recipients", self.recipients.to_string());
        option("--sessions", self.sessions.to_string());
        arguments
    }

    /// A message of about this size: lines of 64 octets, nothing to be stuffed.
    pub fn message(&self) -> Vec<u8> {
        let mut message = b"Subject: benchmark\r\n\r\n".to_vec();
        let mut number = 0_u64;
        while message.len() + 64 <= self.size.max(88) {
            message.extend_from_slice(format!("{number:062}\r\n").as_bytes());
            number += 1;
        }
        message
    }

    pub fn recipients(&self) -> Vec<String> {
        (0..self.recipients)
            .map(|number| format!("recipient{number}@example.org"))
            .collect()
    }
}

pub const SENDER: &str = "sender@example.org";
