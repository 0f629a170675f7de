//! The dialogue as people read it: lines with secrets masked before anyone can see them.

use std::fmt::Write;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr, memmem, memrchr};

use super::command::MASK;
use super::grammar;
use super::reply::{Reply, Statuses, push_printable, whole_lines};
use super::sasl::Credentials;

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

/// The observer, the end of the dialogue for errors, and what both must not see.
#[derive(Default)]
pub(crate) struct Dialogue {
    observer: Option<Box<dyn Observer + Send>>,
    recent: Recent,
    secrets: Vec<Box<[u8]>>,
}

/// What is kept of a dialogue while nothing is said.
pub(crate) struct Kept {
    /// Observer and secrets, where there are any.
    audience: Option<Box<Audience>>,
    recent: Box<[u8]>,
}

/// Who listens, and what they must not hear.
type Audience = (Option<Box<dyn Observer + Send>>, Vec<Box<[u8]>>);

impl Dialogue {
    /// Leaves what is to be kept while nothing is said: of the dialogue only the end, without what
    /// others remember.
    pub(crate) fn put_by(&mut self, known: [&[u8]; 2]) -> Kept {
        let nobody = self.observer.is_none() && self.secrets.is_empty();
        let audience =
            (!nobody).then(|| Box::new((self.observer.take(), std::mem::take(&mut self.secrets))));
        Kept {
            audience,
            recent: self.recent.shortened(known),
        }
    }

    /// Goes on from what was kept.
    pub(crate) fn take_up(&mut self, kept: Kept, known: [&[u8]; 2]) {
        (self.observer, self.secrets) = kept.audience.map_or_else(Default::default, |all| *all);
        self.recent.restore(&kept.recent, known);
    }

    pub(crate) fn observe(&mut self, observer: Box<dyn Observer + Send>) {
        self.observer = Some(observer);
    }

    /// From here on the peer may know this secret, and repeat it.
    pub(crate) fn hide(&mut self, credentials: &Credentials) {
        let secret = credentials.secret().as_bytes();
        if !secret.is_empty() {
            self.hide_octets(secret);
            self.hide_octets(STANDARD.encode(secret).as_bytes());
        }
    }

    /// As [`Self::hide`], for what was made of a secret.
    pub(crate) fn hide_octets(&mut self, secret: &[u8]) {
        if !secret.is_empty() && !self.secrets.iter().any(|known| **known == *secret) {
            self.secrets.push(secret.into());
        }
    }

    /// A line that was queued, CRLF and all: shown at once.
    pub(crate) fn client(&mut self, line: &[u8], now: Instant) {
        if let Some(observer) = &mut self.observer {
            observer.observe(Entry::Client(&printable(line.trim_ascii_end())), now);
        }
    }

    /// Whether anybody sees what is shown.
    #[inline]
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// The octets of a reply that came: shown at once.
    pub(crate) fn server(&mut self, reply: &[u8], now: Instant) {
        let masked = self.masked_reply(reply);
        let reply = masked.as_deref().unwrap_or(reply);
        if let Some(observer) = &mut self.observer {
            for line in whole_lines(reply) {
                observer.observe(Entry::Server(&printable(line)), now);
            }
        }
    }

    /// Keeps what one side said, for errors: lines of several commands or replies in a row. The
    /// server's are masked when somebody reads them.
    pub(crate) fn record(&mut self, side: Side, lines: &[u8]) {
        let masked = match side {
            // What is cut could be a secret that is known no more.
            Side::Server if lines.len() > RECORD => self.masked_reply(lines),
            Side::Server | Side::Client => None,
        };
        self.recent.push(side, masked.as_deref().unwrap_or(lines));
    }

    /// Octets that came and are no reply.
    pub(crate) fn server_octets(&mut self, octets: &[u8], now: Instant) {
        let octets = octets.trim_ascii_end();
        let masked = self.masked(octets);
        let octets = masked.as_deref().unwrap_or(octets);
        let octets = &octets[..octets.len().min(LINE)];
        self.recent.push(Side::Server, octets);
        if let Some(observer) = &mut self.observer {
            observer.observe(Entry::Server(&printable(octets)), now);
        }
    }

    /// Something that is not a line.
    pub(crate) fn note(&mut self, now: Instant, text: impl FnOnce() -> String) {
        if let Some(observer) = &mut self.observer {
            observer.observe(Entry::Note(&text()), now);
        }
    }

    /// The reply without the secrets that the server repeats in its text.
    pub(crate) fn mask(&self, reply: Reply) -> Reply {
        match self.masked_reply(reply.raw()) {
            Some(raw) => Reply::new(reply.code(), reply.statuses(), raw),
            None => reply,
        }
    }

    /// The reply without its text: a SASL challenge.
    pub(crate) fn mask_all(reply: &Reply) -> Reply {
        let raw = format!("{} {MASK}\r\n", reply.code());
        Reply::new(reply.code(), Statuses::Ignore, raw)
    }

    /// A text without the secrets in it.
    pub(crate) fn mask_text(&self, text: &str) -> String {
        match self.masked(text.as_bytes()) {
            Some(masked) => String::from_utf8_lossy(&masked).into_owned(),
            None => text.to_owned(),
        }
    }

    /// The end of the dialogue, as lines; last what is not recorded yet.
    pub(crate) fn recent(&self, unrecorded: [(Side, &[u8]); 2]) -> String {
        let mut text = String::new();
        let unrecorded = unrecorded.map(|(side, lines)| (side, end_of(lines)));
        for (side, lines) in self.recent.iter().chain(unrecorded) {
            let masked = match side {
                Side::Server => self.masked_reply(lines),
                Side::Client => None,
            };
            push_lines(&mut text, side, masked.as_deref().unwrap_or(lines));
        }
        text
    }

    /// The octets of replies without the secrets in their text, if there are any.
    fn masked_reply(&self, replies: &[u8]) -> Option<Vec<u8>> {
        if self.secrets.is_empty() {
            return None;
        }
        self.masked(replies)?;
        let mut raw = Vec::with_capacity(replies.len());
        for line in replies.split_inclusive(|&b| b == b'\n') {
            // Neither code nor status is text, whatever the secret is.
            let text = line.get(4..).unwrap_or_default();
            let text = grammar::enhanced_code(text).map_or(text, |(_, rest)| rest);
            raw.extend_from_slice(&line[..line.len() - text.len()]);
            raw.extend_from_slice(self.masked(text).as_deref().unwrap_or(text));
        }
        Some(raw)
    }

    /// The text without its secrets, if it has any. Servers shorten what they repeat, so the
    /// beginning of a long secret is enough to know it by.
    fn masked(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut masked: Option<Vec<u8>> = None;
        for secret in &self.secrets {
            let beginning = &secret[..secret.len().min(RECOGNISED)];
            let text = masked.as_deref().unwrap_or(text);
            let Some(first) = memmem::find(text, beginning) else {
                continue;
            };
            let mut out = text[..first].to_vec();
            let mut rest = &text[first..];
            while let Some(at) = memmem::find(rest, beginning) {
                out.extend_from_slice(&rest[..at]);
                out.extend_from_slice(MASK.as_bytes());
                let repeated = rest[at..].iter().zip(secret.iter());
                let length = repeated.take_while(|(seen, known)| seen == known).count();
                rest = &rest[at + length..];
            }
            out.extend_from_slice(rest);
            masked = Some(out);
        }
        masked
    }
}

/// The end of a dialogue. Kept as the octets it was, because nearly all of it is never read.
#[derive(Default)]
struct Recent {
    /// Side, length in two octets, octets; and so on.
    records: Vec<u8>,
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client = b'C' as isize,
    Server = b'S' as isize,
}

impl Recent {
    fn push(&mut self, side: Side, octets: &[u8]) {
        let octets = end_of(octets);
        if self.records.len() + octets.len() + HEAD > RECENT {
            self.forget_half();
        }
        let [high, low] = (octets.len() as u16).to_be_bytes();
        self.records.extend_from_slice(&[side as u8, high, low]);
        self.records.extend_from_slice(octets);
    }

    fn forget_half(&mut self) {
        let mut from = 0;
        while from < RECENT / 2
            && let Some([_, high, low]) = self.records.get(from..from + HEAD)
        {
            from += HEAD + usize::from(u16::from_be_bytes([*high, *low]));
        }
        self.records.drain(..from.min(self.records.len()));
    }

    fn iter(&self) -> impl Iterator<Item = (Side, &[u8])> {
        records(&self.records).map(|(side, octets)| match side {
            b'C' => (Side::Client, octets),
            _ => (Side::Server, octets),
        })
    }

    /// The end of the records in few octets: in the place of a text that is known stands its number.
    fn shortened(&self, known: [&[u8]; 2]) -> Box<[u8]> {
        let number = |octets: &[u8]| known.iter().position(|text| end_of(text) == octets);
        let short_of = |(side, octets)| match number(octets) {
            Some(number) => (number as u8, [].as_slice()),
            None => (side, octets),
        };
        let length = |octets: &[u8]| HEAD + octets.len();
        let shortened = || records(&self.records).map(short_of);
        let mut left: usize = shortened().map(|(_, octets)| length(octets)).sum();
        let mut short = Vec::new();
        for (side, octets) in shortened() {
            if left <= KEPT || left == length(octets) {
                short.reserve_exact(left);
                let [high, low] = (octets.len() as u16).to_be_bytes();
                short.extend_from_slice(&[side, high, low]);
                short.extend_from_slice(octets);
            }
            left -= length(octets);
        }
        short.into()
    }

    /// The records as they were before [`Self::shortened`].
    fn restore(&mut self, short: &[u8], known: [&[u8]; 2]) {
        self.records.clear();
        for (side, octets) in records(short) {
            match (side, known.get(usize::from(side))) {
                (_, Some(text)) => self.push(Side::Server, text),
                (b'C', None) => self.push(Side::Client, octets),
                (_, None) => self.push(Side::Server, octets),
            }
        }
    }
}

/// The octets of each record, behind the octet for its side.
fn records(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [side, high, low, after @ ..] = rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (octets, after) = after.split_at(after.len().min(length));
        rest = after;
        Some((*side, octets))
    })
}

/// What a record keeps of octets that are too many: the last whole lines, or the beginning of the
/// last line where that alone is too long.
fn end_of(octets: &[u8]) -> &[u8] {
    let Some(from) = octets.len().checked_sub(RECORD) else {
        return octets;
    };
    match memchr(b'\n', &octets[from..]) {
        Some(end) if from + end + 1 < octets.len() => &octets[from + end + 1..],
        Some(_) | None => {
            let before = memrchr(b'\n', &octets[..octets.len() - 1]);
            let line = &octets[before.map_or(0, |end| end + 1)..];
            &line[..line.len().min(RECORD)]
        }
    }
}

fn push_lines(text: &mut String, side: Side, octets: &[u8]) {
    if octets.is_empty() {
        return;
    }
    for line in octets.trim_ascii_end().split(|&octet| octet == b'\n') {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{}: ", char::from(side as u8));
        push_printable(text, line.strip_suffix(b"\r").unwrap_or(line));
        text.push('\n');
    }
}

fn printable(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    push_printable(&mut text, line);
    text
}

/// Octets of a secret by which it is known: so many are hardly there by chance.
const RECOGNISED: usize = 16;

/// Octets shown of what is no reply.
const LINE: usize = 200;

/// Octets kept of one command or reply, so that half of the dialogue has room for it; below 65,536,
/// for its length has two octets.
const RECORD: usize = RECENT / 2 - HEAD;

/// Octets before those of a record: side and length.
const HEAD: usize = 3;

/// Octets kept of the dialogue.
const RECENT: usize = 1024;

/// Octets kept of it while nothing is said; the last record, whatever its length.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::reply::Code;

    fn reply(raw: &'static str) -> Reply {
        Reply::new(Code::new(535).unwrap(), Statuses::Read, raw.as_bytes())
    }

    #[test]
    fn secrets_are_masked_wherever_the_server_repeats_them() {
        let mut dialogue = Dialogue::default();
        dialogue.hide(&Credentials::password("alice", "5 tables").unwrap());
        let masked = dialogue.mask(reply("535-no 5 tables, 5 tables\r\n535 NSB0YWJsZXM=\r\n"));
        assert_eq!(masked.text(), "no ****, **** ****");
        dialogue.hide_octets(b"5.7");
        let masked = dialogue.mask(reply("535 5.7.8 not 5.7\r\n"));
        assert_eq!(masked.to_string(), "535 5.7.8 not ****");
        dialogue.hide_octets(b"AGFsaWNlADUgdGFibGVzIGFuZCBjaGFpcnM=");
        let masked = dialogue.mask(reply("500 AUTH PLAIN AGFsaWNlADUgdGFibGVzIGFu...\r\n"));
        assert_eq!(masked.text(), "AUTH PLAIN ****...");
        let untouched = dialogue.mask(reply("535 no\r\n"));
        assert_eq!(untouched.text(), "no");
    }

    #[test]
    fn the_recent_dialogue_is_bounded_and_ends_with_the_newest() {
        let mut recent = Recent::default();
        for n in 0..1000 {
            recent.push(Side::Client, format!("NOOP {n}").as_bytes());
            recent.push(Side::Server, &[b'x'; 500]);
            assert!(recent.records.len() <= RECENT);
        }
        recent.push(Side::Server, b"250-a\r\n250 x\r\n");
        let dialogue = Dialogue {
            recent,
            ..Dialogue::default()
        };
        let text = dialogue.recent([(Side::Client, b""), (Side::Server, b"221 bye\r\n")]);
        assert!(text.contains("C: NOOP 999\n"));
        assert!(text.ends_with("S: 250-a\nS: 250 x\nS: 221 bye\n"));
    }

    #[test]
    fn what_is_put_by_comes_back_and_is_short() {
        let (greeting, offers) = (
            b"220 mx\r\n".as_slice(),
            [b"250-x\r\n".repeat(300).as_slice(), b"250 y\r\n"].concat(),
        );
        let known = [greeting, &offers];
        let mut dialogue = Dialogue::default();
        dialogue.record(Side::Server, greeting);
        dialogue.record(Side::Client, b"EHLO me\r\n");
        dialogue.record(Side::Server, &offers);
        let nothing = [
            (Side::Client, b"".as_slice()),
            (Side::Server, b"".as_slice()),
        ];
        let before = dialogue.recent(nothing);
        let kept = dialogue.put_by(known);
        assert_eq!(kept.recent.len(), 3 * HEAD + 9);
        let mut another = Dialogue::default();
        another.record(Side::Client, b"QUIT\r\n");
        another.take_up(kept, known);
        assert_eq!(another.recent(nothing), before);

        for n in 100..400 {
            another.record(Side::Client, format!("NOOP {n}\r\n").as_bytes());
            another.record(Side::Server, b"250 Ok\r\n");
            let kept = another.put_by(known);
            assert!(kept.recent.len() <= KEPT);
            another.take_up(kept, known);
            assert!(
                another
                    .recent(nothing)
                    .ends_with(&format!("C: NOOP {n}\nS: 250 Ok\n"))
            );
        }
        another.record(Side::Server, &[b'6'; 2 * KEPT]);
        let kept = another.put_by(known);
        another.take_up(kept, known);
        let last = another.recent(nothing);
        assert_eq!(last, format!("S: {}\n", "6".repeat(2 * KEPT)));
    }

    #[test]
    fn a_secret_is_masked_before_it_is_cut() {
        let mut dialogue = Dialogue::default();
        dialogue.hide(&Credentials::password("alice", "five tables").unwrap());
        for before in RECORD - 20..RECORD {
            let line = [vec![b'x'; before].as_slice(), b"five tables\r\n"].concat();
            dialogue.record(Side::Server, &line);
            let text = dialogue.recent([(Side::Client, b""), (Side::Server, b"")]);
            assert!(!text.contains("xf"), "{text}");
            dialogue.recent = Recent::default();
        }
    }

    #[test]
    fn of_many_lines_in_a_row_the_last_are_kept_whole() {
        let lines = b"RCPT TO:<a@example.org>\r\n".repeat(100);
        let kept = end_of(&lines);
        assert!(kept.len() <= RECORD && kept.len() > RECORD - 50);
        assert!(kept.starts_with(b"RCPT TO:<a@") && kept.ends_with(b">\r\n"));
        let long = [b"250-x\r\n".repeat(100), vec![b'y'; 2 * RECORD]].concat();
        assert_eq!(end_of(&long), &[b'y'; RECORD]);
        assert_eq!(end_of(b"250 x\r\n"), b"250 x\r\n");
    }

    #[test]
    fn what_is_kept_are_the_last_records_each_of_them_whole() {
        let mut recent = Recent::default();
        let (mut all, mut length) = (Vec::new(), 0);
        for n in 0..4000_usize {
            let before = recent.records.len();
            let known = recent.iter().count();
            length = (length * 37 + n) % (RECORD + 1);
            let side = if n % 3 == 0 {
                Side::Client
            } else {
                Side::Server
            };
            let octets = vec![b'a' + (n % 26) as u8; length];
            recent.push(side, &octets);
            all.push((side, octets));
            let kept: Vec<_> = recent.iter().map(|(side, o)| (side, o.to_vec())).collect();
            assert_eq!(kept, all[all.len() - kept.len()..]);
            assert!(recent.records.len() <= RECENT);
            // As little as has to be is forgotten, and at least half where something has.
            let fits = before + HEAD + length <= RECENT;
            assert_eq!(kept.len() == known + 1, fits, "{before} and {length}");
            assert!(fits || recent.records.len() - length - HEAD <= RECENT / 2);
        }
    }

    #[test]
    fn of_too_many_octets_the_last_whole_lines_are_kept_or_the_beginning_of_the_last() {
        for line in [1, 2, 3, 50, RECORD - 1, RECORD, RECORD + 1, 700] {
            for last in [0, 1, 7, RECORD - 2, RECORD - 1, RECORD, 600] {
                let mut lines = [vec![b'x'; line - 1], b"\n".to_vec()]
                    .concat()
                    .repeat(3 + 600 / line);
                lines.extend(vec![b'y'; last]);
                let from = lines.len() - RECORD;
                let whole = (from + 1..lines.len()).find(|&start| lines[start - 1] == b'\n');
                let expected = match whole {
                    Some(start) => &lines[start..],
                    None => {
                        let before = lines[..lines.len() - 1].iter().rposition(|&b| b == b'\n');
                        &lines[before.unwrap() + 1..][..RECORD]
                    }
                };
                assert_eq!(end_of(&lines), expected, "{line} and {last}");
            }
        }
        let just = vec![b'z'; RECORD];
        assert_eq!(end_of(&just), just);
    }

    #[test]
    fn nothing_is_no_secret() {
        let mut dialogue = Dialogue::default();
        dialogue.hide_octets(b"");
        dialogue.hide_octets(b"five");
        dialogue.hide_octets(b"five");
        assert_eq!(dialogue.secrets.len(), 1);
        assert_eq!(dialogue.mask(reply("535 no\r\n")).text(), "no");
    }
}
