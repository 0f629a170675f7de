//! Message content: what one scan finds, the policy on line ends, and dot-stuffing.

use std::fmt;

use bytes::Bytes;

/// What becomes of a CR or LF that is not part of a CRLF (RFC 5321 §2.3.8 forbids to send one).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareNewlines {
    /// The message is refused before anything of it is sent.
    #[default]
    Reject,
    /// Each becomes CRLF.
    Normalise,
}

/// A whole message in memory: shared octets and what one scan found in them. A clone is a reference.
#[derive(Clone)]
pub struct Content {
    bytes: Bytes,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} octets)", self.bytes.len())
    }
}

impl Content {
    /// Scans a message once.
    ///
    /// # Errors
    /// A bare CR or LF, where those are refused: names the offset of the first.
    pub fn check(bytes: impl Into<Bytes>, newlines: BareNewlines) -> Result<Self, ContentError> {
        let _ = newlines;
        Ok(Self {
            bytes: bytes.into(),
        })
    }

    /// The octets, as they were given.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the scan found.
    pub fn facts(&self) -> &ContentFacts {
        todo!()
    }
}

/// What one scan of a message finds. Made piece by piece by a [`Scanner`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContentFacts {
    /// Octets on the wire: each line end as CRLF, the last line ended; no dot-stuffing (RFC 1870 §3).
    pub wire_size: u64,
    /// Whether an octet is above 127.
    pub eight_bit: bool,
    /// Whether one is above 127 in the header section.
    pub utf8_headers: bool,
    /// Offset of the first NUL.
    pub nul: Option<u64>,
    /// Offset of the first CR or LF that is not part of a CRLF.
    pub bare_newline: Option<u64>,
    /// Octets in the longest line, without its end.
    pub longest_line: u64,
    /// Lines that begin with a dot.
    pub dotted_lines: u64,
}

/// Scans a message that comes in pieces.
#[derive(Clone, Debug, Default)]
pub struct Scanner {}

impl Scanner {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        let _ = piece;
        todo!()
    }

    /// The facts of all pieces together.
    pub fn finish(self) -> ContentFacts {
        todo!()
    }
}

/// A message that cannot be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentError {
    /// A CR or LF that is not part of a CRLF.
    BareNewline {
        /// Octets before it.
        offset: u64,
    },
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareNewline { offset } => {
                write!(f, "the message has a bare CR or LF at offset {offset}")
            }
        }
    }
}

impl std::error::Error for ContentError {}
