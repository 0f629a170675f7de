//! The engine's reading of replies, against a reader that was written for nothing but this test: no
//! buffer, no pieces, a page of plain loops.

use ehlo::proto::{Config, Event};
use ehlo::{Commitment, Reply, Security, Stage};

use crate::bench::{Action, Bench, Form, Mail};
use crate::model::Random;

/// Gives the octets to the engine as answers to RCPT, whole and in pieces cut by a seed: each time
/// it must have read the replies that the reference reads, and have ended where that ends.
pub(crate) fn agrees(input: &[u8], cuts: u64) -> Result<(), String> {
    let (expected, end) = read(input);
    let mut random = Random(cuts);
    let whole = [input].into_iter();
    compare(&expected, end, whole)?;
    let mut pieces = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(1 + random.below(rest.len().min(40)));
        pieces.push(piece);
        rest = tail;
    }
    compare(&expected, end, pieces.into_iter())
}

/// A reply, as far as anybody needs it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    code: u16,
    enhanced: Option<String>,
    lines: Vec<Vec<u8>>,
}

/// What stands behind the last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing, or what may yet become a reply.
    Open,
    /// What is none.
    Malformed,
}

/// All replies in the octets.
fn read(input: &[u8]) -> (Vec<Read>, End) {
    let limits = Config::new(Security::Plaintext).limits;
    let mut replies = Vec::new();
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut first_code = None;
    let mut size = 0;
    for line in input.split_inclusive(|&octet| octet == b'\n') {
        size += line.len();
        let is_whole = line.ends_with(b"\n");
        let most = match is_whole {
            true => (limits.reply_line, limits.reply),
            // It will be longer, by its end at least.
            false => (limits.reply_line - 1, limits.reply - 1),
        };
        if line.len() > most.0 || size > most.1 {
            return (replies, End::Malformed);
        }
        if !is_whole {
            return (replies, End::Open);
        }
        let mut text = &line[..line.len() - 1];
        if text.ends_with(b"\r") {
            text = &text[..text.len() - 1];
        }
        let Some(code) = code(text) else {
            return (replies, End::Malformed);
        };
        let separator = text.get(3).copied();
        let fits = matches!(separator, None | Some(b' ' | b'-'));
        if !fits || first_code.is_some_and(|first| first != code) {
            return (replies, End::Malformed);
        }
        first_code = Some(code);
        lines.push(text.get(4..).unwrap_or_default().to_vec());
        if separator != Some(b'-') {
            let lines = std::mem::take(&mut lines);
            replies.push(Read {
                code,
                enhanced: enhanced(code, &lines[0]),
                lines,
            });
            (first_code, size) = (None, 0);
        }
    }
    (replies, End::Open)
}

fn code(text: &[u8]) -> Option<u16> {
    let digits = text.get(..3)?;
    let mut code = 0;
    for digit in digits {
        match digit {
            b'0'..=b'9' => code = code * 10 + u16::from(digit - b'0'),
            _ => return None,
        }
    }
    matches!(code, 200..=599).then_some(code)
}

/// RFC 3463 §2: three numbers of one to three digits, the first that of the code.
fn enhanced(code: u16, text: &[u8]) -> Option<String> {
    let end = text.iter().position(u8::is_ascii_whitespace);
    let word = str::from_utf8(&text[..end.unwrap_or(text.len())]).ok()?;
    let parts: Vec<_> = word.split('.').collect();
    let is_number = |part: &&str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit())
    };
    if parts.len() != 3 || !parts.iter().all(is_number) {
        return None;
    }
    let class = ["2", "4", "5"]
        .into_iter()
        .find(|class| parts[0] == *class)?;
    if class.parse() != Ok(code / 100) {
        return None;
    }
    let numbers: Vec<u16> = parts.iter().filter_map(|part| part.parse().ok()).collect();
    Some(format!("{}.{}.{}", numbers[0], numbers[1], numbers[2]))
}

fn compare<'a>(
    expected: &[Read],
    end: End,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<(), String> {
    let mut bench = asking();
    for piece in pieces {
        bench.act(&Action::Receive(piece.to_vec()));
    }
    let found: Vec<Read> = bench
        .events
        .iter()
        .filter_map(answer)
        .map(Read::of)
        .collect();
    // Behind these the engine has more to say than what it has read.
    let telling = |read: &Read| read.code != 421 && read.code / 100 != 3;
    let comparable = expected
        .iter()
        .take(RECIPIENTS)
        .take_while(|read| telling(read));
    let comparable = comparable.count();
    let found = &found[..found.len().min(comparable)];
    if found != &expected[..comparable] {
        return Err(format!(
            "read {found:?}, and the reference {:?}",
            &expected[..comparable]
        ));
    }
    let is_all = comparable == expected.len() && comparable < RECIPIENTS;
    if is_all && bench.is_closed() != (end == End::Malformed) {
        return Err(format!("the reference ends {end:?}: {:?}", bench.words()));
    }
    Ok(())
}

impl Read {
    fn of(reply: &Reply) -> Self {
        Self {
            code: reply.code().number(),
            enhanced: reply.enhanced().map(|enhanced| enhanced.to_string()),
            lines: reply.lines().map(<[u8]>::to_vec).collect(),
        }
    }
}

fn answer(event: &Event) -> Option<&Reply> {
    match event {
        Event::Recipient {
            stage: Stage::Rcpt,
            reply,
            ..
        } => Some(reply),
        _ => None,
    }
}

/// An engine that waits for the answers to many RCPT.
fn asking() -> Bench {
    let mut bench = Bench::new(Config::new(Security::Plaintext));
    bench.act(&Action::Receive(b"220 mx\r\n".to_vec()));
    bench.take(usize::MAX);
    bench.act(&Action::Receive(b"250-mx\r\n250 PIPELINING\r\n".to_vec()));
    bench.act(&Action::Submit(Mail {
        recipients: (0..RECIPIENTS).map(|number| format!("r{number}")).collect(),
        content: b"Hi\r\n".to_vec(),
        form: Form::Whole,
        commitment: Commitment::Each,
    }));
    while !bench.take(usize::MAX).is_empty() {}
    bench.act(&Action::Receive(b"250 ok\r\n".to_vec()));
    bench
}

/// So many replies are compared.
const RECIPIENTS: usize = 20;
