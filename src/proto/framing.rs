//! Octets to complete lines to complete replies, within limits (RFC 5321 §4.2).
//!
//! A reply is handed out only when its last line is complete, so nothing behind this module can
//! depend on how the octets arrived.

use memchr::memchr;

use super::config::Limits;
use super::grammar::{self, ReplyLine};
use super::reply::{Code, Reply, Statuses};

/// Collects octets until they are replies.
///
/// The last reply stays where it came until more arrives: whoever needs its text makes a [`Reply`]
/// of it, and most replies need no more than their code.
#[derive(Debug)]
pub(crate) struct Framing {
    buffer: Vec<u8>,
    /// Where the last reply begins, its code, and whether it may have statuses.
    last: usize,
    last_code: Option<Code>,
    statuses: Statuses,
    /// Where what comes behind the last reply begins.
    rest: usize,
    /// Where the line in work begins.
    line: usize,
    /// Octets known to hold no further line end: a line that comes octet by octet is still searched
    /// once.
    searched: usize,
    /// Octets that the dialogue has.
    recorded: usize,
    code: Option<Code>,
    limits: Limits,
}

impl Framing {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            buffer: Vec::new(),
            last: 0,
            last_code: None,
            statuses: Statuses::Read,
            rest: 0,
            line: 0,
            searched: 0,
            recorded: 0,
            code: None,
            limits,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.forget();
        self.buffer.extend_from_slice(bytes);
    }

    /// Drops what came before the last reply.
    fn forget(&mut self) {
        let gone = self.last.min(self.recorded);
        if gone > 0 {
            self.buffer.drain(..gone);
            self.last -= gone;
            self.rest -= gone;
            self.line -= gone;
            self.searched -= gone;
            self.recorded -= gone;
        }
    }

    /// The code of the next complete reply; [`Self::reply`] is the whole of it.
    pub(crate) fn next(&mut self, statuses: Statuses) -> Result<Option<Code>, FramingError> {
        loop {
            let Some(length) = memchr(b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                return self.check_unfinished().map(|()| None);
            };
            let end = self.searched + length + 1;
            let line = &self.buffer[self.line..end];
            if line.len() > self.limits.reply_line {
                return Err(FramingError::LineTooLong);
            }
            if end - self.rest > self.limits.reply {
                return Err(FramingError::ReplyTooLong);
            }
            let Some(ReplyLine { code, last }) = grammar::reply_line(line) else {
                return Err(FramingError::Malformed(first_octets(line)));
            };
            if self.code.is_some_and(|first| first != code) {
                return Err(FramingError::CodesDiffer);
            }
            self.searched = end;
            self.line = end;
            if last {
                self.code = None;
                (self.last_code, self.statuses) = (Some(code), statuses);
                self.last = self.rest;
                self.rest = end;
                return Ok(Some(code));
            }
            self.code = Some(code);
        }
    }

    /// Takes the next reply where it is one complete line and says that its command was done; any
    /// other is left to [`Self::next`].
    #[inline]
    pub(crate) fn next_done(&mut self, statuses: Statuses) -> Option<Code> {
        let [b'2', b, c, b' ', text @ ..] = &self.buffer[self.rest..] else {
            return None;
        };
        let code = Code::done(*b, *c)?;
        let length = memchr(b'\n', text)? + 5;
        // Within a reply of several lines the line in work is not the first.
        if length > self.limits.reply_line.min(self.limits.reply) || self.line != self.rest {
            return None;
        }
        self.last = self.rest;
        self.rest += length;
        (self.line, self.searched) = (self.rest, self.rest);
        (self.last_code, self.statuses) = (Some(code), statuses);
        Some(code)
    }

    /// The code of the last reply.
    pub(crate) fn last_code(&self) -> Option<Code> {
        self.last_code
    }

    /// The last reply, whose code this is, copied.
    pub(crate) fn reply(&self, code: Code) -> Reply {
        Reply::new(code, self.statuses, self.octets())
    }

    /// The octets of the last reply.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.buffer[self.last..self.rest]
    }

    /// The octets of replies that the dialogue does not have.
    pub(crate) fn unrecorded(&self) -> &[u8] {
        &self.buffer[self.recorded..self.rest]
    }

    /// Whether the dialogue has all replies.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded == self.rest
    }

    /// The dialogue has all replies.
    pub(crate) fn recorded(&mut self) {
        self.recorded = self.rest;
    }

    /// Gives back memory, but for the last reply and so many octets.
    pub(crate) fn rest(&mut self, keep: usize) {
        if self.buffer.capacity() > keep {
            self.forget();
            self.buffer.shrink_to(keep);
        }
    }

    /// Begins anew, without the last reply.
    pub(crate) fn begin_again(&mut self, limits: Limits) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        *self = Self {
            buffer,
            ..Self::new(limits)
        };
    }

    /// Whether no octet is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest == self.buffer.len()
    }

    /// What is there of an unfinished reply.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.buffer[self.rest..]
    }

    /// Drops what is there of an unfinished reply: the connection is over.
    pub(crate) fn clear(&mut self) {
        self.buffer.truncate(self.rest);
        (self.line, self.searched, self.code) = (self.rest, self.rest, None);
    }

    fn check_unfinished(&self) -> Result<(), FramingError> {
        if self.buffer.len() - self.line >= self.limits.reply_line {
            Err(FramingError::LineTooLong)
        } else if self.buffer.len() - self.rest >= self.limits.reply {
            Err(FramingError::ReplyTooLong)
        } else {
            Ok(())
        }
    }
}

/// Why octets are no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FramingError {
    LineTooLong,
    ReplyTooLong,
    CodesDiffer,
    /// The first octets of the line.
    Malformed(Vec<u8>),
}

fn first_octets(line: &[u8]) -> Vec<u8> {
    line.trim_ascii_end().iter().copied().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Framing {
        /// Octets that fit into the memory that it holds.
        pub(in crate::proto) fn room(&self) -> usize {
            self.buffer.capacity()
        }
    }

    fn replies(input: &[u8], step: usize) -> Result<Vec<String>, FramingError> {
        let mut framing = Framing::new(Limits::default());
        let mut replies = Vec::new();
        for piece in input.chunks(step) {
            framing.push(piece);
            while let Some(code) = framing.next(Statuses::Read)? {
                replies.push(framing.reply(code).to_string());
            }
        }
        Ok(replies)
    }

    #[track_caller]
    fn assert_replies(input: &[u8], expected: &[&str]) {
        for step in [1, 2, 3, input.len()] {
            assert_eq!(
                replies(input, step).as_deref(),
                Ok(expected.map_owned().as_slice())
            );
        }
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl MapOwned for [&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn replies_are_the_same_in_any_pieces() {
        assert_replies(b"250 2.1.0 Ok\r\n", &["250 2.1.0 Ok"]);
        assert_replies(b"334\r\n334 \r\n", &["334", "334"]);
        assert_replies(b"250-a\r\n250-\r\n250 c\r\n", &["250 a c"]);
        assert_replies(
            b"550-5.1.1 no\r\n550 5.1.1 user\r\n",
            &["550 5.1.1 no user"],
        );
        assert_replies(b"250 5.1.1 odd\r\n", &["250 5.1.1 odd"]);
        assert_replies(b"250 lf only\n", &["250 lf only"]);
    }

    #[test]
    fn one_line_that_says_done_is_taken_and_anything_else_is_left() {
        let taken = |input: &[u8]| {
            let mut framing = Framing::new(Limits::default());
            framing.push(input);
            let code = framing.next_done(Statuses::Read)?;
            Some(framing.reply(code).to_string())
        };
        let long = [b"250 ".as_slice(), &[b'x'; 20_000], b"\r\n"].concat();
        assert_eq!(taken(b"259 a\r\n250 b\r\n").as_deref(), Some("259 a"));
        for left in [
            b"250 a\r".as_slice(),
            b"250-a\r\n250 b\r\n",
            b"250\r\n",
            b"2x0 a\r\n",
            b"354 a\r\n",
            b"450 a\r\n",
            &long,
        ] {
            assert_eq!(taken(left), None, "{left:?}");
        }
        let mut framing = Framing::new(Limits::default());
        framing.push(b"250-a\r\n");
        assert_eq!(framing.next(Statuses::Read), Ok(None));
        framing.push(b"250 b\r\n");
        assert_eq!(framing.next_done(Statuses::Read), None, "within a reply");
        assert_eq!(framing.next(Statuses::Read), Ok(Code::new(250)));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for input in [
            b"25\r\n".as_slice(),
            b"2500 x\r\n",
            b"150 x\r\n",
            b"650 x\r\n",
            b"\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ] {
            assert!(
                matches!(replies(input, 1), Err(FramingError::Malformed(_))),
                "{input:?}"
            );
        }
        assert_eq!(
            replies(b"250-a\r\n251 b\r\n", 1),
            Err(FramingError::CodesDiffer)
        );
        assert_eq!(replies(&[b'2'; 13_000], 7), Err(FramingError::LineTooLong));
        assert_eq!(
            replies(&b"250-x\r\n".repeat(10_000), 100),
            Err(FramingError::ReplyTooLong)
        );
    }

    #[test]
    fn memory_is_given_back_but_for_the_last_reply_and_what_is_to_be_kept() {
        let mut framing = Framing::new(Limits::default());
        framing.push(&b"250 long ago\r\n".repeat(1000));
        framing.push(b"250-a\r\n250 b\r\n");
        let mut last = None;
        while let Some(code) = framing.next(Statuses::Read).unwrap() {
            last = Some(code);
        }
        // What the dialogue does not have yet is kept.
        framing.rest(100);
        assert!(framing.room() > 10_000);
        framing.recorded();
        framing.rest(100);
        assert!((100..200).contains(&framing.room()), "{}", framing.room());
        assert_eq!(framing.reply(last.unwrap()).to_string(), "250 a b");
    }
}
