//! What a sandbox received, saw and counted.

use bytes::Bytes;
use std::net::SocketAddr;

/// A message that the sandbox accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The envelope's sender as it was written, without its angle brackets; empty for `<>`.
    pub reverse_path: String,
    /// The parameters of MAIL, keywords in upper case, as they came: `("SIZE", Some("100"))`.
    pub parameters: Vec<(String, Option<String>)>,
    /// The accepted recipients as they were written, in order, without their angle brackets.
    pub recipients: Vec<String>,
    /// The parameters of each recipient's RCPT, in the same order, as those of MAIL are kept.
    pub recipient_parameters: Vec<Vec<(String, Option<String>)>>,
    /// The content, dots undone; empty with [`Contents::Discard`](super::Contents::Discard).
    pub content: Bytes,
    /// The content's size in octets, dots undone, whether or not it was kept.
    pub size: u64,
    /// How the content came.
    pub transfer: Transfer,
    /// Who was logged in.
    pub authenticated: Option<String>,
    /// Whether it came inside TLS.
    pub tls: bool,
    /// Which connection it came by, counted from 1.
    pub connection: u64,
}

/// How a message's content was transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// With DATA.
    Data,
    /// With BDAT (RFC 3030).
    Bdat,
}

/// What a sandbox has counted so far, over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// Round trips seen: how often input came after the server had written something. A client that
    /// waits for the greeting and then sends EHLO has made one. The TLS handshake's own are not
    /// counted.
    pub flights: u64,
    /// Commands, well-formed or not; the lines of an AUTH exchange are part of one.
    pub commands: u64,
    /// Messages stored.
    pub messages: u64,
    /// Octets read, without what TLS adds.
    pub bytes: u64,
    /// How often input came together with, and behind, a command that has to be the last of its
    /// group (RFC 2920 §3.1), or a second command without PIPELINING on offer.
    pub out_of_turn: u64,
}

/// Something that happens in a sandbox, told as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// A client connected.
    Connected {
        /// Which connection, counted from 1.
        connection: u64,
        /// Where it comes from; `None` where that is a Unix socket.
        peer: Option<SocketAddr>,
    },
    /// A line of the dialogue.
    Line {
        /// Which connection.
        connection: u64,
        /// The line.
        line: Line,
    },
    /// A message was stored.
    Stored(Received),
    /// The connection is over.
    Disconnected {
        /// Which connection.
        connection: u64,
    },
}

/// A line of a dialogue, without its line end, credentials masked, control characters replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line {
    /// What the client sent.
    Client(String),
    /// What the server sent.
    Server(String),
    /// What is no line: TLS began, so many octets of a message came, the connection was cut.
    Note(String),
}
