//! Messages out of an mbox (RFC 4155), one at a time.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Reads the messages of an mbox.
///
/// A line that begins with `From ` begins a message at the start, and behind an empty line if it ends in
/// a date as RFC 4155 has it: not all who write an mbox quote what only looks like one. The empty line
/// before it is the mbox's, not the message's. `>From `, with as many `>` as there are, has one too
/// many (mboxrd). What a header says of the length is not looked at: it is often wrong, and never
/// needed.
pub(crate) struct Mbox<R> {
    reader: R,
    /// Messages begun so far.
    count: u64,
    state: State,
}

enum State {
    /// The next line is to be a postmark.
    Before,
    /// It was read.
    Inside,
    Over,
}

/// What the mbox had next.
pub(crate) enum Next {
    Message(Bytes),
    /// It has more octets than may be kept, and was passed over.
    TooLarge,
    End,
}

impl<R: AsyncBufRead + Unpin> Mbox<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            count: 0,
            state: State::Before,
        }
    }

    /// The number of the message that was read last, counted from 1.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The next message, if it has at most so many octets.
    ///
    /// # Errors
    /// What the reader says; a text that does not begin with a postmark.
    pub(crate) async fn next(&mut self, most: usize) -> io::Result<Next> {
        let mut line = Vec::new();
        match self.state {
            State::Before => match self.line(&mut line, most).await? {
                0 => self.state = State::Over,
                _ if is_postmark(&line) => self.state = State::Inside,
                _ => return Err(io::Error::other("it does not begin with 'From '")),
            },
            State::Inside | State::Over => {}
        }
        if let State::Over = self.state {
            return Ok(Next::End);
        }
        self.count += 1;
        let mut message = BytesMut::new();
        let mut size = 0;
        // An empty line that is the message's only if no postmark follows.
        let mut held = Vec::new();
        loop {
            if self.line(&mut line, most).await? == 0 {
                self.state = State::Over;
                break;
            }
            // The first line may be a postmark, too: of a message without a single line.
            let may_end = !held.is_empty() || size == 0;
            if may_end && is_postmark(&line) && is_dated(&line) {
                break;
            }
            let text = match is_quoted(&line) {
                true => &line[1..],
                false => &line[..],
            };
            size += text.len();
            if size <= most {
                message.extend_from_slice(&held);
            }
            held.clear();
            match is_empty(text) {
                true => held.extend_from_slice(text),
                false if size <= most => message.extend_from_slice(text),
                false => {}
            }
        }
        match size <= most {
            true => Ok(Next::Message(message.freeze())),
            false => Ok(Next::TooLarge),
        }
    }

    /// Reads a line with its end, if it has one; a part of one that alone is too large.
    async fn line(&mut self, line: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        line.clear();
        let mut reader = (&mut self.reader).take(most as u64 + 1);
        reader.read_until(b'\n', line).await
    }
}

/// Whether a text is an mbox.
pub(crate) fn is_postmark(line: &[u8]) -> bool {
    line.starts_with(b"From ")
}

/// Whether there is a time of day in it, and behind that a year. Programs differ in what else they
/// write: names of zones, seconds, a dash for the sender.
fn is_dated(line: &[u8]) -> bool {
    let mut words = line.split(|octet| octet.is_ascii_whitespace());
    words.any(is_time) && words.any(|word| matches!(word, [_, _, _, _]) && is_number(word))
}

/// `hh:mm` or `hh:mm:ss`.
fn is_time(word: &[u8]) -> bool {
    let parts: Vec<&[u8]> = word.split(|octet| *octet == b':').collect();
    matches!(parts.len(), 2 | 3)
        && parts
            .iter()
            .all(|part| matches!(part.len(), 1 | 2) && is_number(part))
}

fn is_number(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

fn is_quoted(line: &[u8]) -> bool {
    let marks = line.iter().take_while(|&&octet| octet == b'>').count();
    marks > 0 && is_postmark(&line[marks..])
}

fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn messages(text: &str, most: usize) -> Vec<Option<String>> {
        let mut mbox = Mbox::new(text.as_bytes());
        let mut all = Vec::new();
        loop {
            match mbox.next(most).await.unwrap() {
                Next::Message(message) => {
                    all.push(Some(String::from_utf8(message.to_vec()).unwrap()))
                }
                Next::TooLarge => all.push(None),
                Next::End => break,
            }
            assert_eq!(mbox.count(), all.len() as u64);
        }
        all
    }

    #[tokio::test]
    async fn messages_are_told_apart_and_their_quotes_undone() {
        for (text, expected) in [
            ("", &[][..]),
            ("From a\nA: b\n\nx\n\n", &["A: b\n\nx\n"]),
            ("From a\nA: b\n\nx\n", &["A: b\n\nx\n"]),
            ("From a\nA: b\n\nx", &["A: b\n\nx"]),
            (
                "From a\nA: b\n\nx\n\n\nFrom c Thu Jan  1 00:00:00 1970\nD: e\n\n\n",
                &["A: b\n\nx\n\n", "D: e\n\n"],
            ),
            (
                "From a\r\nA: b\r\n\r\nx\r\n\r\nFrom c Thu Jan  1 00:00:00 1970\r\nD: e\r\n\r\n",
                &["A: b\r\n\r\nx\r\n", "D: e\r\n"],
            ),
            (
                "From a\nA: b\n\n>From x\n>>From y\n> From z\n>Fromage\n\n",
                &["A: b\n\nFrom x\n>From y\n> From z\n>Fromage\n"],
            ),
            // Behind an empty line, too, where it has no date.
            (
                "From a\nA: b\n\nx\n\nFrom 10:30 on we met.\n\nFrom then on: 1970.\n\n",
                &["A: b\n\nx\n\nFrom 10:30 on we met.\n\nFrom then on: 1970.\n"],
            ),
            // As several programs write it.
            (
                "From - Mon Sep 17 00:00:00 2001\nA: 1\n\nFrom a@x.org Fri Jul  8 12:08 MET DST 2011\nA: 2\n\n\
                 From 0123abcd Mon Sep 17 00:00:00 2001\nA: 3\n\nFrom \"a b\"@x.org Sat, 1 Jan 2000 1:02:03 2000 +0100\nA: 4\n",
                &["A: 1\n", "A: 2\n", "A: 3\n", "A: 4\n"],
            ),
            // Within a paragraph it is the message's own, whoever forgot to quote it.
            ("From a\nA: b\n\nx\nFrom y\n\n", &["A: b\n\nx\nFrom y\n"]),
            (
                "From a\nContent-Length: 100\n\nx\n\nFrom c Thu Jan  1 00:00:00 1970\nD: e\n\n",
                &["Content-Length: 100\n\nx\n", "D: e\n"],
            ),
            (
                "From a\nFrom c Thu Jan  1 00:00:00 1970\nD: e\n\n",
                &["", "D: e\n"],
            ),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|text| Some((*text).to_owned()))
                .collect();
            assert_eq!(messages(text, 1000).await, expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn one_that_is_too_large_is_passed_over() {
        let text = format!(
            "From a\nA: b\n\n{}\n\nFrom c Thu Jan  1 00:00:00 1970\nD: e\n\n",
            "x".repeat(100)
        );
        let expected = [None, Some("D: e\n".to_owned())];
        assert_eq!(messages(&text, 50).await, expected);
    }

    #[tokio::test]
    async fn what_is_no_mbox_is_not_read_as_one() {
        let mut mbox = Mbox::new(b"Subject: x\n\nx\n".as_slice());
        assert!(mbox.next(100).await.is_err());
    }
}
