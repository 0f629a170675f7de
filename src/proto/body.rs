//! Message content: what one scan finds, the policy on line ends, and the forms in which it follows
//! DATA (dots stuffed, RFC 5321 §4.5.2) and BDAT (exact octets, RFC 3030).

use std::fmt;

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
        let mut scanner = Scanner::default();
        scanner.push(&bytes);
        let facts = scanner.finish();
        match (facts.bare_newline, newlines) {
            (Some(offset), BareNewlines::Reject) => Err(ContentError::BareNewline { offset }),
            (Some(_), BareNewlines::Normalise) | (None, _) => Ok(Self {
                bytes,
                facts,
                kind: Kind::Text,
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
    pub fn finish(mut self) -> ContentFacts {
        if self.carry == Carry::Cr {
            self.bare(self.offset - 1);
        }
        if self.line > 0 {
            self.end_line();
        }
        self.facts
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
        self.end_line();
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As it is: nothing is copied, so it can be far ahead.
    Clean,
    Encoded,
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
        let form = if as_it_is { Form::Clean } else { Form::Encoded };
        // A `Content` exists only if its newlines are in order or may be normalised.
        let encoder = Encoder::new(transfer, BareNewlines::Normalise);
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
                Form::Encoded => ENCODED_AHEAD,
            };
            let room = ahead.saturating_sub(output.unsent());
            if room == 0 {
                return Fill::More;
            }
            match self.form {
                Form::Clean => {
                    let piece = self.rest.split_to(room.min(self.rest.len()));
                    self.encoder.line = match &piece[..] {
                        [.., b'\n'] => Line::Start,
                        // Only at a cut within a CRLF: the CR is in the piece already.
                        _ => Line::Within,
                    };
                    output.share(piece);
                }
                Form::Encoded => {
                    let piece = self.rest.split_to(ENCODED_STEP.min(self.rest.len()));
                    // Normalising cannot meet a refused newline.
                    let _ = self.encoder.piece(&piece, output);
                }
            }
        }
        let _ = self.encoder.finish(output);
        Fill::Done
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

/// Octets encoded at a time.
const ENCODED_STEP: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;

    fn encode(input: &[u8], step: usize) -> Result<Vec<u8>, BareNewline> {
        let mut output = Output::default();
        let mut encoder = Encoder::new(Transfer::Dotted, BareNewlines::Normalise);
        for piece in input.chunks(step) {
            encoder.piece(&Bytes::copy_from_slice(piece), &mut output)?;
        }
        encoder.finish(&mut output)?;
        Ok(drain(&mut output))
    }

    fn drain(output: &mut Output) -> Vec<u8> {
        let mut wire = Vec::new();
        while output.unsent() > 0 {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = output.slices(&mut slices);
            let flight: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            output.sent(flight.len());
            wire.extend_from_slice(&flight);
        }
        wire
    }

    fn facts(input: &[u8], step: usize) -> ContentFacts {
        let mut scanner = Scanner::default();
        input.chunks(step).for_each(|piece| scanner.push(piece));
        scanner.finish()
    }

    const CASES: [(&[u8], &[u8]); 14] = [
        (b"", b".\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"\r\n\r\n..x", b"\r\n\r\n...x\r\n.\r\n"),
        (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r.\rb\r", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\r\n.b", b"a\r\n\r\n..b\r\n.\r\n"),
        (b"\n\r", b"\r\n\r\n.\r\n"),
        (b"\r", b"\r\n.\r\n"),
        (b"a\r\n\n.\r", b"a\r\n\r\n..\r\n.\r\n"),
        (b"x.\r\ny.", b"x.\r\ny.\r\n.\r\n"),
    ];

    #[test]
    fn content_is_encoded_alike_in_any_pieces() {
        for (input, expected) in CASES {
            for step in [1, 2, 3, 100] {
                assert_eq!(
                    encode(input, step).as_deref(),
                    Ok(expected),
                    "{input:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn whole_content_goes_out_as_pieces_do() {
        for (input, expected) in CASES {
            let content = Content::check(input, BareNewlines::Normalise).unwrap();
            let mut output = Output::default();
            let fill = ContentCursor::new(&content, Transfer::Dotted).fill(&mut output);
            assert_eq!(fill, Fill::Done);
            assert_eq!(drain(&mut output), expected, "{input:?}");
            let undotted = expected.len() as u64 - 3 - content.facts().dotted_lines;
            assert_eq!(content.facts().wire_size, undotted, "{input:?}");
        }
    }

    #[test]
    fn large_content_is_queued_piece_by_piece() {
        // Whatever stands at the edge of what is encoded at a time: text, dot, CR or LF.
        let lines = [b"0123456789abcdef\r\n".as_slice(), b".123456789abcdef\r\n"];
        let shifts = lines
            .iter()
            .flat_map(|line| (0..18).map(move |at| (line, at)));
        for (line, shift) in shifts {
            let input = [vec![b'x'; shift], line.repeat(30_000)].concat();
            let content = Content::check(input.clone(), BareNewlines::Reject).unwrap();
            let (mut output, mut wire) = (Output::default(), Vec::new());
            let mut cursor = ContentCursor::new(&content, Transfer::Dotted);
            let ahead = match line[0] {
                b'.' => 256 * 1024..=320 * 1024,
                _ => 1024 * 1024..=1024 * 1024,
            };
            while cursor.fill(&mut output) == Fill::More {
                assert!(ahead.contains(&output.unsent()), "{}", output.unsent());
                wire.extend_from_slice(&drain(&mut output));
            }
            wire.extend_from_slice(&drain(&mut output));
            let expected = encode(&input, 1 << 20).unwrap();
            assert!(wire == expected);
        }
    }

    #[test]
    fn bare_newlines_are_refused_on_demand() {
        for (input, offset) in [("a\nb", 1), ("a\r\nb\rc", 4), ("ab\r", 2), ("\r\r\n", 0)] {
            let refused = Content::check(input, BareNewlines::Reject).unwrap_err();
            assert_eq!(refused, ContentError::BareNewline { offset }, "{input:?}");
            let mut encoder = Encoder::new(Transfer::Dotted, BareNewlines::Reject);
            let mut output = Output::default();
            let result = encoder.piece(&Bytes::from(input), &mut output);
            let result = result.and_then(|()| encoder.finish(&mut output));
            assert_eq!(result, Err(BareNewline), "{input:?}");
        }
    }

    #[test]
    fn the_first_bare_newline_is_found_where_it_is_in_any_pieces() {
        for (input, offset) in [("ab\rcd\n", 2), ("a\r\nbcd\r", 6), ("abcd\n\r", 4)] {
            for step in [1, 2, 3, 100] {
                let found = facts(input.as_bytes(), step).bare_newline;
                assert_eq!(found, Some(offset), "{input:?} by {step}");
            }
        }
    }

    #[test]
    fn a_scan_finds_the_same_in_any_pieces() {
        let message = b"Subject: caf\xc3\xa9\r\nX: y\r\n\r\n.dot\r\nlonger line\r\n\0\xff\r\n..";
        for step in [1, 2, 5, 1000] {
            let facts = facts(message, step);
            assert_eq!(facts.wire_size, message.len() as u64 + 2);
            assert!(facts.eight_bit && facts.utf8_headers);
            assert_eq!((facts.nul, facts.bare_newline), (Some(43), None));
            assert_eq!((facts.longest_line, facts.dotted_lines), (14, 2));
        }
        let body_only = facts(b"A: b\r\n\r\n\xff", 3);
        assert!(body_only.eight_bit && !body_only.utf8_headers);
    }

    #[test]
    fn content_keeps_its_octets_and_shows_their_number_alone() {
        let content = Content::check("a secret\r\n", BareNewlines::Reject).unwrap();
        assert_eq!(&content.bytes()[..], b"a secret\r\n");
        assert_eq!(format!("{content:?}"), "Content(10 octets)");
        let refused = Content::check("a\nb", BareNewlines::Reject).unwrap_err();
        assert!(refused.to_string().ends_with("part of a CRLF, at offset 1"));
    }
}
