//! Message content: what one scan finds, the policy on line ends, and the forms in which it follows
//! DATA (dots stuffed, RFC 5321 §4.5.2) and BDAT (exact octets, RFC 3030).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memchr2};

use super::output::Output;
use super::transaction::Encoding;

/// What becomes of a CR or LF that is not part of a CRLF (RFC 5321 §2.3.8 forbids to send one).
/// Closed: there is nothing else to do with one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareNewlines {
    /// The message is refused before anything of it is sent.
    #[default]
    Reject,
    /// Each becomes CRLF.
    Normalise,
}

/// A whole message in memory: shared octets and what one scan found in them. A clone is a reference,
/// and it can be sent any number of times.
///
/// ```
/// use ehlo::{BareNewlines, Content};
///
/// let content = Content::check("Subject: hi\r\n\r\nHello\r\n", BareNewlines::Reject)?;
/// assert_eq!(content.facts().wire_size, 22);
/// assert!(Content::check("Hello\n", BareNewlines::Reject).is_err());
/// # Ok::<(), ehlo::ContentError>(())
/// ```
#[derive(Clone)]
pub struct Content {
    bytes: Bytes,
    facts: ContentFacts,
    kind: Kind,
    /// Where it is to be changed, unless those are too many.
    marks: Option<Arc<[u32]>>,
}

/// Whether line ends mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

impl Content {
    /// Scans a message once.
    ///
    /// # Errors
    /// A bare CR or LF, where those are refused: names the offset of the first.
    pub fn check(bytes: impl Into<Bytes>, newlines: BareNewlines) -> Result<Self, ContentError> {
        let bytes = bytes.into();
        let mut scanner = Scanner {
            marks: Some(Vec::new()),
            ..Scanner::default()
        };
        scanner.push(&bytes);
        let (facts, marks) = scanner.end();
        match (facts.bare_newline, newlines) {
            (Some(offset), BareNewlines::Reject) => Err(ContentError::BareNewline { offset }),
            (Some(_), BareNewlines::Normalise) | (None, _) => Ok(Self {
                bytes,
                facts,
                kind: Kind::Text,
                marks: marks.filter(|marks| !marks.is_empty()).map(Arc::from),
            }),
        }
    }

    /// Content whose octets mean themselves: nothing is changed, and nothing but BINARYMIME
    /// (RFC 3030 §3) can carry it. Its MIME parts must say so.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut scanner = Scanner::default();
        scanner.push(&bytes);
        let mut facts = scanner.finish();
        facts.wire_size = bytes.len() as u64;
        Self {
            bytes,
            facts,
            kind: Kind::Binary,
            marks: None,
        }
    }

    /// With headers beyond ASCII in a MIME part, which the scan does not look for: it would have to
    /// follow the boundaries of every message for the sake of very few. Such a message needs SMTPUTF8
    /// as one does whose own headers are beyond ASCII (RFC 6531 §3.2), and is not sent where that is
    /// not on offer.
    #[must_use]
    pub fn with_utf8_headers(mut self) -> Self {
        self.facts.utf8_headers = true;
        self
    }

    /// What the octets are.
    pub fn encoding(&self) -> Encoding {
        match self.kind {
            Kind::Binary => Encoding::Binary,
            Kind::Text if self.facts.nul.is_some() => Encoding::TextWithNul,
            Kind::Text if self.facts.eight_bit => Encoding::EightBit,
            Kind::Text => Encoding::SevenBit,
        }
    }

    /// The octets, as they were given.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the scan found.
    pub fn facts(&self) -> &ContentFacts {
        &self.facts
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} octets)", self.bytes.len())
    }
}

/// What one scan of a message finds. Made of a message in pieces by a [`Scanner`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContentFacts {
    /// Octets on the wire: each line end as CRLF, the last line ended; no dot-stuffing (RFC 1870 §3).
    pub wire_size: u64,
    /// Whether an octet is above 127.
    pub eight_bit: bool,
    /// Whether one is above 127 in the header section. Those of MIME parts are not looked at: see
    /// [`Content::with_utf8_headers`](crate::Content::with_utf8_headers).
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

/// Scans a message that comes in pieces, of any size.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    facts: ContentFacts,
    offset: u64,
    line: u64,
    section: Section,
    carry: Carry,
    /// Offsets of dots that begin a line, and of bare newlines; `None` where nobody wants them, or
    /// they are too many.
    marks: Option<Vec<u32>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Header,
    Body,
}

/// Whether the last octet so far was a CR whose LF may still come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Carry {
    #[default]
    Nothing,
    Cr,
}

impl Scanner {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        // Blocks that stay in the cache while they are searched several times.
        for block in piece.chunks(32 * 1024) {
            self.block(block);
        }
    }

    /// The facts of all pieces together.
    pub fn finish(self) -> ContentFacts {
        self.end().0
    }

    fn end(mut self) -> (ContentFacts, Option<Vec<u32>>) {
        if self.carry == Carry::Cr {
            self.bare(self.offset - 1);
        }
        if self.line > 0 {
            self.end_line();
        }
        (self.facts, self.marks)
    }

    fn block(&mut self, block: &[u8]) {
        let ascii = block.is_ascii();
        self.facts.eight_bit |= !ascii;
        if self.facts.nul.is_none() {
            self.facts.nul = memchr(0, block).map(|at| self.offset + at as u64);
        }
        let mut at = 0;
        if self.carry == Carry::Cr {
            self.carry = Carry::Nothing;
            if block[0] == b'\n' {
                at = 1;
                self.end_line();
            } else {
                self.bare(self.offset - 1);
            }
        }
        while at < block.len() {
            let rest = &block[at..];
            if self.line == 0 && rest[0] == b'.' {
                self.facts.dotted_lines += 1;
                self.mark(self.offset + at as u64);
            }
            let length = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            self.line += length as u64;
            if !ascii && self.section == Section::Header {
                self.facts.utf8_headers |= !rest[..length].is_ascii();
            }
            at += length + 2;
            match rest.get(length..length + 2) {
                Some(b"\r\n") => self.end_line(),
                _ => at = self.unusual_end(block, at - 2),
            }
        }
        self.offset += block.len() as u64;
    }

    /// What is not a CRLF within the block: its end, a bare newline, or a CR at the very end.
    fn unusual_end(&mut self, block: &[u8], at: usize) -> usize {
        match block.get(at) {
            None => {}
            Some(b'\r') if at + 1 == block.len() => self.carry = Carry::Cr,
            Some(_) => self.bare(self.offset + at as u64),
        }
        at + 1
    }

    fn bare(&mut self, offset: u64) {
        self.facts.bare_newline.get_or_insert(offset);
        self.mark(offset);
        self.end_line();
    }

    fn mark(&mut self, offset: u64) {
        if let Some(marks) = &mut self.marks {
            match u32::try_from(offset) {
                Ok(offset) if marks.len() < MARKS => marks.push(offset),
                Ok(_) | Err(_) => self.marks = None,
            }
        }
    }

    fn end_line(&mut self) {
        if self.line == 0 {
            self.section = Section::Body;
        }
        self.facts.wire_size += self.line + 2;
        self.facts.longest_line = self.facts.longest_line.max(self.line);
        self.line = 0;
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
            Self::BareNewline { offset } => write!(
                f,
                "the message has a CR or LF that is not part of a CRLF, at offset {offset}"
            ),
        }
    }
}

impl std::error::Error for ContentError {}

/// The form in which content travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// Behind 354: line ends as CRLF, dots stuffed, the end marked by a dot.
    Dotted,
    /// Behind BDAT: line ends as CRLF, nothing added but the last of them.
    Counted,
    /// Behind BDAT, for BINARYMIME: the octets as they are.
    Verbatim,
}

/// Brings content into the form in which it travels. It carries its state across pieces, so their
/// boundaries do not matter.
#[derive(Debug)]
pub(crate) struct Encoder {
    transfer: Transfer,
    newlines: BareNewlines,
    line: Line,
    stuffed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    Within,
    /// A CR is held back until it is known whether an LF follows.
    AfterCr,
}

impl Encoder {
    pub(crate) fn new(transfer: Transfer, newlines: BareNewlines) -> Self {
        Self {
            transfer,
            newlines,
            line: Line::Start,
            stuffed: 0,
        }
    }

    /// Adds the next piece to the output, in slices of its own memory where they are long.
    pub(crate) fn piece(&mut self, piece: &Bytes, output: &mut Output) -> Result<(), BareNewline> {
        if self.transfer == Transfer::Verbatim {
            output.share(piece.clone());
            return Ok(());
        }
        let mut from = 0;
        let mut at = 0;
        if self.line == Line::AfterCr && !piece.is_empty() {
            output.write(|text| text.extend_from_slice(b"\r\n"));
            self.line = Line::Start;
            if piece[0] == b'\n' {
                (from, at) = (1, 1);
            } else {
                self.bare()?;
            }
        }
        while at < piece.len() {
            if self.line == Line::Start && piece[at] == b'.' && self.transfer == Transfer::Dotted {
                // The dot goes out twice: with what is before it and with what follows.
                output.share(piece.slice(from..=at));
                self.stuffed += 1;
                from = at;
            }
            self.line = Line::Within;
            let Some(length) = memchr2(b'\r', b'\n', &piece[at..]) else {
                break;
            };
            let end = at + length;
            match &piece[end..] {
                [b'\r', b'\n', ..] => {
                    at = end + 2;
                    self.line = Line::Start;
                }
                [b'\r'] => {
                    output.share(piece.slice(from..end));
                    self.line = Line::AfterCr;
                    return Ok(());
                }
                _ => {
                    self.bare()?;
                    output.share(piece.slice(from..end));
                    output.write(|text| text.extend_from_slice(b"\r\n"));
                    at = end + 1;
                    from = at;
                    self.line = Line::Start;
                }
            }
        }
        output.share(piece.slice(from..));
        Ok(())
    }

    /// Ends the content: its last line, then what marks the end.
    pub(crate) fn finish(&self, output: &mut Output) -> Result<(), BareNewline> {
        if self.line == Line::AfterCr {
            self.bare()?;
        }
        let last_line: &[u8] = if self.unfinished() > 0 { b"\r\n" } else { b"" };
        let mark: &[u8] = match self.transfer {
            Transfer::Dotted => b".\r\n",
            Transfer::Counted | Transfer::Verbatim => b"",
        };
        output.write(|text| {
            text.extend_from_slice(last_line);
            text.extend_from_slice(mark);
        });
        Ok(())
    }

    /// Dots added so far.
    pub(crate) fn stuffed(&self) -> u64 {
        self.stuffed
    }

    /// Octets that the end of the content will add to its last line.
    pub(crate) fn unfinished(&self) -> u64 {
        match (self.transfer, self.line) {
            (Transfer::Verbatim, _) | (_, Line::Start) => 0,
            (Transfer::Dotted | Transfer::Counted, Line::Within | Line::AfterCr) => 2,
        }
    }

    fn bare(&self) -> Result<(), BareNewline> {
        match self.newlines {
            BareNewlines::Reject => Err(BareNewline),
            BareNewlines::Normalise => Ok(()),
        }
    }
}

/// A bare newline where those are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BareNewline;

/// Whole content on its way out: encoded only so far ahead of the transport as is useful.
#[derive(Debug)]
pub(crate) struct ContentCursor {
    rest: Bytes,
    encoder: Encoder,
    form: Form,
}

/// How whole content goes out.
#[derive(Debug)]
enum Form {
    /// As it is: nothing is copied, so it can be far ahead.
    Clean,
    /// Changed where the scan has found something to change.
    Marked(Marks),
    /// Searched once more for what is to be changed.
    Encoded,
}

/// The places where content is changed, and how far it has come.
#[derive(Debug)]
struct Marks {
    offsets: Arc<[u32]>,
    passed: usize,
    /// Octets of content before the next piece.
    at: usize,
}

impl ContentCursor {
    pub(crate) fn new(content: &Content, transfer: Transfer) -> Self {
        let as_it_is = match transfer {
            Transfer::Dotted => {
                content.facts.bare_newline.is_none() && content.facts.dotted_lines == 0
            }
            Transfer::Counted => content.facts.bare_newline.is_none(),
            Transfer::Verbatim => true,
        };
        let form = match &content.marks {
            _ if as_it_is => Form::Clean,
            Some(offsets) => Form::Marked(Marks {
                offsets: offsets.clone(),
                passed: 0,
                at: 0,
            }),
            None => Form::Encoded,
        };
        // A `Content` exists only if its newlines are in order or may be normalised.
        let mut encoder = Encoder::new(transfer, BareNewlines::Normalise);
        encoder.line = match (&form, content.bytes.last()) {
            // It does not see what goes out without it, and ends it; a last CR is a bare one.
            (Form::Encoded, _) | (_, None | Some(b'\r' | b'\n')) => Line::Start,
            (Form::Clean | Form::Marked(_), Some(_)) => Line::Within,
        };
        Self {
            rest: content.bytes.clone(),
            encoder,
            form,
        }
    }

    /// Queues as much as the output should hold. `Done` once the end mark is queued.
    pub(crate) fn fill(&mut self, output: &mut Output) -> Fill {
        while !self.rest.is_empty() {
            let ahead = match self.form {
                Form::Clean => CLEAN_AHEAD,
                Form::Marked(_) | Form::Encoded => ENCODED_AHEAD,
            };
            let room = ahead.saturating_sub(output.unsent());
            if room == 0 {
                return Fill::More;
            }
            let step = match self.form {
                Form::Clean => room,
                Form::Marked(_) | Form::Encoded => ENCODED_STEP,
            };
            let piece = self.rest.split_to(step.min(self.rest.len()));
            match &mut self.form {
                Form::Clean => output.share(piece),
                Form::Marked(marks) => marks.piece(&piece, self.encoder.transfer, output),
                Form::Encoded => {
                    // Normalising cannot meet a refused newline.
                    let _ = self.encoder.piece(&piece, output);
                }
            }
        }
        let _ = self.encoder.finish(output);
        Fill::Done
    }
}

impl Marks {
    /// Adds the next piece to the output, changed.
    fn piece(&mut self, piece: &Bytes, transfer: Transfer, output: &mut Output) {
        let begin = self.at;
        self.at += piece.len();
        let mut from = 0;
        while let Some(offset) = self.offsets.get(self.passed) {
            let at = *offset as usize - begin;
            match (piece.get(at), transfer) {
                (None, _) => break,
                // The dot goes out twice: with what is before it and with what follows.
                (Some(b'.'), Transfer::Dotted) => {
                    output.share(piece.slice(from..=at));
                    from = at;
                }
                (Some(b'.'), Transfer::Counted | Transfer::Verbatim) => {}
                (Some(_), _) => {
                    output.share(piece.slice(from..at));
                    output.write(|text| text.extend_from_slice(b"\r\n"));
                    from = at + 1;
                }
            }
            self.passed += 1;
        }
        output.share(piece.slice(from..));
    }
}

/// How far a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    More,
    Done,
}

/// Octets of dotted content encoded ahead of the transport: a refusal leaves little queued, and a
/// large message is never held twice.
pub(crate) const ENCODED_AHEAD: usize = 256 * 1024;

/// Octets of clean content ahead of the transport. They are the caller's own memory.
const CLEAN_AHEAD: usize = 1024 * 1024;

/// Changes of a message that are remembered: a quarter of a mebibyte.
const MARKS: usize = 64 * 1024;

/// Octets encoded at a time.
const ENCODED_STEP: usize = 64 * 1024;

#[cfg(test)]
mod tests;
