//! A message's content as it comes: dots undone, kept or counted.

use bytes::Bytes;
use memchr::memmem;

use super::options::{Contents, LineEnds};
use super::violation::Nature;

/// Content received so far.
#[derive(Debug)]
pub(super) struct Content {
    contents: Contents,
    kept: Vec<u8>,
    /// Not looked at where nothing is kept: there speed is what counts.
    nature: Nature,
    size: u64,
    limit: u64,
}

impl Content {
    /// `expected` is what the client said of its size, and `limit` the size from which on there is
    /// no point in keeping it.
    pub(super) fn new(contents: Contents, expected: u64, limit: u64) -> Self {
        let expected = usize::try_from(expected.min(limit)).unwrap_or(usize::MAX);
        let capacity = match contents {
            Contents::Keep => expected.min(MOST_RESERVED),
            Contents::Discard => 0,
        };
        Self {
            contents,
            kept: Vec::with_capacity(capacity),
            nature: Nature::default(),
            size: 0,
            limit,
        }
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        self.size += octets.len() as u64;
        match self.contents {
            Contents::Keep => self.nature.push(octets),
            Contents::Discard => {}
        }
        match self.contents {
            Contents::Keep if self.size <= self.limit => self.kept.extend_from_slice(octets),
            Contents::Keep => self.kept = Vec::new(),
            Contents::Discard => {}
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What it is like, when all of it is there.
    pub(super) fn nature(&self) -> Nature {
        self.nature.finished()
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.kept.into()
    }
}

/// Finds the end of a message sent with DATA, and undoes its dots (RFC 5321 §4.5.2).
#[derive(Debug)]
pub(super) struct Unstuffer {
    line_ends: LineEnds,
    place: Place,
}

/// Where in a line the next octet is. What is pending in a place was not given out yet.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// At the start.
    Start,
    /// Behind a dot at the start: pending.
    Dot,
    /// Behind a dot and a CR at the start: both pending.
    DotCr,
    /// Anywhere else.
    Text,
    /// Behind a CR that was given out.
    Cr,
}

/// How far a piece of input was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of it; the message goes on.
    All,
    /// So many octets; the message ended with them.
    Ended(usize),
}

impl Unstuffer {
    pub(super) fn new(line_ends: LineEnds) -> Self {
        Self {
            line_ends,
            place: Place::Start,
        }
    }

    /// Takes a piece of input, in time linear in its length however it was cut.
    pub(super) fn take(&mut self, input: &[u8], content: &mut Content) -> Taken {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            let next = rest[0];
            let (used, place) = match self.place {
                Place::Start if next == b'.' => (1, Place::Dot),
                Place::Start => (0, Place::Text),
                Place::Dot => match (next, self.line_ends) {
                    (b'\r', _) => (1, Place::DotCr),
                    (b'\n', LineEnds::OrLf) => return Taken::Ended(at + 1),
                    _ => (0, Place::Text),
                },
                Place::DotCr => match (next, self.line_ends) {
                    (b'\n', _) => return Taken::Ended(at + 1),
                    (_, LineEnds::OrCr) => return Taken::Ended(at),
                    (_, LineEnds::CrLf | LineEnds::OrLf) => {
                        content.push(b"\r");
                        (0, Place::Cr)
                    }
                },
                Place::Cr => match (next, self.line_ends) {
                    (b'\n', _) => {
                        content.push(b"\n");
                        (1, Place::Start)
                    }
                    (_, LineEnds::OrCr) => (0, Place::Start),
                    (_, LineEnds::CrLf | LineEnds::OrLf) => (0, Place::Text),
                },
                Place::Text => self.text(rest, content),
            };
            at += used;
            self.place = place;
        }
        Taken::All
    }

    /// Takes text as far as a dot at the start of a line, or all of it.
    fn text(&self, rest: &[u8], content: &mut Content) -> (usize, Place) {
        let (stop, before) = match self.line_ends {
            LineEnds::CrLf => (memmem::find(rest, b"\r\n."), 2),
            LineEnds::OrLf => (memmem::find(rest, b"\n."), 1),
            // Every CR may matter here: this is the way of a broken server, and may be slow.
            LineEnds::OrCr => match memchr::memchr(b'\r', rest) {
                Some(cr) => {
                    content.push(&rest[..=cr]);
                    return (cr + 1, Place::Cr);
                }
                None => (None, 0),
            },
        };
        if let Some(stop) = stop {
            content.push(&rest[..stop + before]);
            return (stop + before + 1, Place::Dot);
        }
        content.push(rest);
        let place = match (rest, self.line_ends) {
            ([.., b'\r', b'\n'], _) | ([.., b'\n'], LineEnds::OrLf) => Place::Start,
            ([.., b'\r'], _) => Place::Cr,
            _ => Place::Text,
        };
        (rest.len(), place)
    }
}

/// The most that is reserved on a client's word alone.
const MOST_RESERVED: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Content and what is left behind the end, fed in pieces of this size.
    fn unstuff(line_ends: LineEnds, input: &[u8], piece: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut unstuffer = Unstuffer::new(line_ends);
        let mut content = Content::new(Contents::Keep, 0, u64::MAX);
        let mut fed = 0;
        for chunk in input.chunks(piece) {
            match unstuffer.take(chunk, &mut content) {
                Taken::All => fed += chunk.len(),
                Taken::Ended(used) => {
                    let rest = input[fed + used..].to_vec();
                    return Some((content.into_bytes().to_vec(), rest));
                }
            }
        }
        None
    }

    #[track_caller]
    fn check(line_ends: LineEnds, input: &[u8], expected: Option<(&[u8], &[u8])>) {
        let expected = expected.map(|(content, rest)| (content.to_vec(), rest.to_vec()));
        for piece in 1..=input.len() {
            assert_eq!(
                unstuff(line_ends, input, piece),
                expected,
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn dots_are_undone_and_the_message_ends_at_crlf_dot_crlf() {
        let cases: [(&[u8], &[u8], &[u8]); 9] = [
            (b".\r\n", b"", b""),
            (b".\r\nQUIT\r\n", b"", b"QUIT\r\n"),
            (b"\r\n.\r\n", b"\r\n", b""),
            (b"a\r\n.\r\n.", b"a\r\n", b"."),
            (b"..\r\n.\r\n", b".\r\n", b""),
            (b"..a\r\n...\r\n.\r\n", b".a\r\n..\r\n", b""),
            (b".a\r\n.\r\n", b"a\r\n", b""),
            (b"a.b\r\r\n..\r\n.\r\n", b"a.b\r\r\n.\r\n", b""),
            (b"\r\r\n.\r\n", b"\r\r\n", b""),
        ];
        for (input, content, rest) in cases {
            check(LineEnds::CrLf, input, Some((content, rest)));
        }
    }

    #[test]
    fn nothing_else_ends_a_message() {
        let cases: [&[u8]; 9] = [
            b"a\n.\nMAIL FROM:<x@y>\r\n",
            b"a\r.\rMAIL FROM:<x@y>\r\n",
            b"a\r\n.\nMAIL FROM:<x@y>\r\n",
            b"a\r\n.\rMAIL FROM:<x@y>\r\n",
            b"a\n.\r\nMAIL FROM:<x@y>\r\n",
            b"a\r.\r\nMAIL FROM:<x@y>\r\n",
            b"a\r\n.\r\rMAIL",
            b"a\r\n..\r\nMAIL",
            b"a\r\n.\0\r\n",
        ];
        for input in cases {
            check(LineEnds::CrLf, input, None);
        }
    }

    #[test]
    fn a_broken_dot_line_is_content() {
        check(
            LineEnds::CrLf,
            b"\r\n.\n\r\n.\r.\r\n.\r\n",
            Some((b"\r\n\n\r\n\r.\r\n", b"")),
        );
    }

    #[test]
    fn lenient_servers_are_smuggled_past() {
        let after = b"MAIL\r\n";
        check(LineEnds::OrLf, b"a\n.\nMAIL\r\n", Some((b"a\n", after)));
        check(LineEnds::OrLf, b"a\n.\r\nMAIL\r\n", Some((b"a\n", after)));
        check(
            LineEnds::OrLf,
            b"a\r\n..\r\n.\r\n",
            Some((b"a\r\n.\r\n", b"")),
        );
        check(LineEnds::OrCr, b"a\r.\rMAIL\r\n", Some((b"a\r", after)));
        check(
            LineEnds::OrCr,
            b"a\r\n..\r\n.\r\n",
            Some((b"a\r\n.\r\n", b"")),
        );
        check(LineEnds::OrCr, b"a\n.\nMAIL\n", None);
    }

    #[test]
    fn content_beyond_its_limit_is_counted_and_not_kept() {
        let mut content = Content::new(Contents::Keep, u64::MAX, 4);
        content.push(b"abcd");
        content.push(b"e");
        assert_eq!(content.size(), 5);
        assert!(content.into_bytes().is_empty());
    }
}
