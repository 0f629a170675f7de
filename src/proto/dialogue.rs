//! The dialogue as people read it: lines with secrets masked before anyone can see them.

use std::time::Instant;

/// Sees every line of a dialogue, and what else happened to the connection.
///
/// Credentials are masked before a line gets here, both ways, even where the server repeats them. A
/// message is one note of its size, never its content.
pub trait Observer {
    /// One entry, at the time it was written or read.
    fn observe(&mut self, entry: Entry<'_>, now: Instant);
}

/// One entry of a dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// A command line or other text of the client, without CRLF.
    Client(&'a str),
    /// A reply line of the server, without CRLF; control characters replaced.
    Server(&'a str),
    /// Something that is not a line: TLS began, so many octets of message went out, the end.
    Note(&'a str),
}
