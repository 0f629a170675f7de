//! Rules that a client broke and that no reply tells of, since servers mostly take what they get.

use std::fmt;

use memchr::{memchr, memchr2};

/// A rule that a client broke, where the server went on as if it had not: a real one may refuse the
/// message, change it, or read it in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Content above 127 without BODY=8BITMIME (RFC 6152 §3) or BODY=BINARYMIME.
    EightBit,
    /// A header section above 127 without SMTPUTF8 (RFC 6531 §3.4).
    Utf8Headers,
    /// A NUL in content without BODY=BINARYMIME (RFC 5321 §4.5.2, RFC 3030 §3).
    Nul,
    /// A CR or LF that is not part of a CRLF, in content without BODY=BINARYMIME (RFC 5321 §2.3.8).
    BareNewline,
    /// A line of content beyond 1,000 octets with its CRLF, without BODY=BINARYMIME
    /// (RFC 5321 §4.5.3.1.6).
    LongLine {
        /// Octets of the longest, with its CRLF.
        octets: u64,
    },
    /// More content than SIZE had said (RFC 1870 §6.1).
    Understated {
        /// What SIZE had said.
        declared: u64,
        /// What came, in octets.
        octets: u64,
    },
    /// A command line beyond 512 octets, or one of MAIL or RCPT beyond 1,024 (RFC 5321 §4.5.3.1.4).
    LongCommand {
        /// Octets with the line end.
        octets: u64,
    },
    /// MAIL without RSET where BDAT had been refused (RFC 3030 §2).
    NoReset,
    /// Another answer to the challenge that refuses a token than the one that ends the exchange
    /// (RFC 7628 §3.2.3; nothing at all with XOAUTH2).
    Unacknowledged,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EightBit => f.write_str("8-bit content without BODY=8BITMIME"),
            Self::Utf8Headers => f.write_str("headers beyond ASCII without SMTPUTF8"),
            Self::Nul => f.write_str("a NUL without BODY=BINARYMIME"),
            Self::BareNewline => f.write_str("a bare CR or LF without BODY=BINARYMIME"),
            Self::LongLine { octets } => write!(f, "a line of {octets} octets"),
            Self::Understated { declared, octets } => {
                write!(f, "SIZE={declared}, and a message of {octets} octets")
            }
            Self::LongCommand { octets } => write!(f, "a command line of {octets} octets"),
            Self::NoReset => f.write_str("no RSET behind a refused BDAT"),
            Self::Unacknowledged => f.write_str("the refusal of a token was not acknowledged"),
        }
    }
}

/// What a message's content is like, found as it comes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nature {
    /// Pieces of lines with octets above 127.
    pub(super) eight_bit: u64,
    /// Those of them in the header section.
    pub(super) utf8_headers: u64,
    /// Pieces of lines with a NUL.
    pub(super) nuls: u64,
    pub(super) bare_newlines: u64,
    /// Octets of the longest line, without its end.
    pub(super) longest_line: u64,
    line: u64,
    place: Place,
    section: Section,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Line,
    /// Behind a CR at the end of a piece.
    Cr,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Headers,
    Body,
}

impl Nature {
    /// Takes the next piece.
    pub(super) fn push(&mut self, octets: &[u8]) {
        let mut rest = octets;
        if self.place == Place::Cr && !rest.is_empty() {
            self.place = Place::Line;
            match rest.strip_prefix(b"\n") {
                Some(behind) => rest = behind,
                None => self.bare_newlines += 1,
            }
            self.end_line();
        }
        while let Some(at) = memchr2(b'\r', b'\n', rest) {
            self.text(&rest[..at]);
            rest = match &rest[at..] {
                [b'\r', b'\n', behind @ ..] => behind,
                [b'\r'] => {
                    self.place = Place::Cr;
                    return;
                }
                [_, behind @ ..] => {
                    self.bare_newlines += 1;
                    behind
                }
                [] => return,
            };
            self.end_line();
        }
        self.text(rest);
    }

    /// There is no more.
    pub(super) fn finished(mut self) -> Self {
        self.bare_newlines += u64::from(self.place == Place::Cr);
        self.end_line();
        self
    }

    fn text(&mut self, octets: &[u8]) {
        self.line += octets.len() as u64;
        self.nuls += u64::from(memchr(0, octets).is_some());
        if !octets.is_ascii() {
            self.eight_bit += 1;
            self.utf8_headers += u64::from(self.section == Section::Headers);
        }
    }

    fn end_line(&mut self) {
        if self.line == 0 {
            self.section = Section::Body;
        }
        self.longest_line = self.longest_line.max(self.line);
        self.line = 0;
    }
}
