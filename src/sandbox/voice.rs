//! What a session says: its replies, or what the plan has instead of them, and the transcript.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::answer::Answer;
use super::fault::{Act, Quirk, Step};
use super::options::Extension;
use super::plan::Plan;
use super::received::Line;

/// What a session asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Write these octets at once.
    Write(Bytes),
    /// Write these octets one by one.
    Trickle(Bytes),
    /// Wait for so long before the next action.
    Delay(Duration),
    /// Begin the TLS handshake with the next octet, then call
    /// [`tls_established`](super::Session::tls_established).
    StartTls,
    /// Close in good order: inside TLS with a close_notify.
    Close,
    /// Close, inside TLS without a close_notify.
    Truncate,
    /// Reset the connection.
    Reset,
    /// Neither read nor write any more, and keep the connection open.
    Freeze,
}

/// The reply of a step that goes as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usual<'a> {
    /// Code, enhanced status code, text.
    Line(u16, &'static str, &'a str),
    /// An EHLO reply: the lines after the code.
    Ehlo(&'a [String]),
    /// No reply.
    Nothing,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// As it should.
    Took,
    /// Another reply was given.
    Refused,
    /// Another reply was given, a 3yz, which asks for more.
    Asked,
    /// Something was written that is no reply.
    Garbled,
    /// There was no reply, and nothing follows.
    Cut,
    /// A last reply was given, and nothing follows.
    Shut,
}

/// The server's half of a dialogue, as far as it was said and not heard yet.
#[derive(Debug)]
pub(super) struct Voice {
    plan: Arc<Plan>,
    /// Replies that are not an action yet.
    output: BytesMut,
    actions: VecDeque<Action>,
    transcript: Transcript,
}

/// The lines of the dialogue, if anybody wants them.
#[derive(Debug)]
pub(super) enum Transcript {
    Off,
    On(VecDeque<Line>),
}

impl Voice {
    pub(super) fn new(plan: Arc<Plan>, transcript: Transcript) -> Self {
        Self {
            plan,
            output: BytesMut::new(),
            actions: VecDeque::new(),
            transcript,
        }
    }

    /// Answers a step, as planned or else as usual. `address` is whom it names.
    pub(super) fn respond(&mut self, step: Step, address: &str, usual: Usual<'_>) -> Course {
        let acts = self.plan.reach(step, address);
        if acts.is_empty() {
            self.write(usual);
            return Course::Took;
        }
        let mut chosen = None;
        let mut injected = Bytes::new();
        let mut pace = Pace::Whole;
        for act in acts {
            match act {
                Act::Delay(delay) => self.act(Action::Delay(delay)),
                Act::Inject(octets) => injected = octets,
                Act::Split => pace = Pace::Trickle,
                Act::Close
                | Act::Reset
                | Act::Truncate
                | Act::Stall
                | Act::Freeze
                | Act::Shutdown
                | Act::Reply(_)
                | Act::Garbage(_) => chosen = chosen.or(Some(act)),
            }
        }
        if pace == Pace::Trickle {
            self.flush();
        }
        let course = match chosen {
            None => {
                self.write(usual);
                Course::Took
            }
            Some(act) => self.misbehave(act, usual),
        };
        self.output.extend_from_slice(&injected);
        if pace == Pace::Trickle {
            self.flush_at(pace);
        }
        course
    }

    /// Gives a reply.
    pub(super) fn write(&mut self, usual: Usual<'_>) {
        let start = self.output.len();
        match usual {
            Usual::Line(code, enhanced, text) => {
                let options = self.plan.options();
                let enhanced = match options.offers(Extension::EnhancedStatusCodes) {
                    true => enhanced,
                    false => "",
                };
                put_line(&mut self.output, code, b' ', &[enhanced, text]);
            }
            Usual::Ehlo(lines) => {
                for (index, line) in lines.iter().enumerate() {
                    let separator = if index + 1 == lines.len() { b' ' } else { b'-' };
                    put_line(&mut self.output, 250, separator, &[line]);
                }
            }
            Usual::Nothing => {}
        }
        self.transcribe_replies(start);
    }

    /// Asks for the end of the connection.
    pub(super) fn end(&mut self, action: Action) {
        self.note(|| match action {
            Action::Reset => "connection reset".into(),
            Action::Freeze => "neither read nor written any more".into(),
            Action::Close
            | Action::Truncate
            | Action::Write(_)
            | Action::Trickle(_)
            | Action::Delay(_)
            | Action::StartTls => "connection closed".into(),
        });
        self.act(action);
    }

    /// Asks for something behind all that was said.
    pub(super) fn act(&mut self, action: Action) {
        self.flush();
        self.actions.push_back(action);
    }

    /// Makes one write of all replies since the last one.
    pub(super) fn flush(&mut self) {
        match self.plan.has(Quirk::Split) {
            true => self.flush_at(Pace::Trickle),
            false => self.flush_at(Pace::Whole),
        }
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn poll_line(&mut self) -> Option<Line> {
        match &mut self.transcript {
            Transcript::Off => None,
            Transcript::On(lines) => lines.pop_front(),
        }
    }

    /// A line of the client's, as it may be shown.
    pub(super) fn heard(&mut self, line: impl FnOnce() -> String) {
        self.transcribe(|| Line::Client(line()));
    }

    /// Something that is no line.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        self.transcribe(|| Line::Note(text()));
    }

    /// What is to be done is nothing, or to write.
    pub(super) fn only_writes(&self) -> bool {
        let writes = |action: &Action| matches!(action, Action::Write(_) | Action::Trickle(_));
        self.actions.iter().all(writes)
    }

    pub(super) fn is_done(&self) -> bool {
        self.actions.is_empty()
    }

    fn misbehave(&mut self, act: Act, usual: Usual<'_>) -> Course {
        match act {
            Act::Reply(answer) => {
                self.write_answer(&answer);
                match answer.class_digit() {
                    class if usual.class() == Some(class) => Course::Took,
                    3 => Course::Asked,
                    _ => Course::Refused,
                }
            }
            Act::Garbage(octets) => {
                self.note(|| format!("{} octets of garbage", octets.len()));
                self.output.extend_from_slice(&octets);
                Course::Garbled
            }
            Act::Shutdown => {
                self.write(Usual::Line(421, "4.3.2", "shutting down"));
                self.end(Action::Close);
                Course::Shut
            }
            Act::Close => self.cut(Action::Close),
            Act::Reset => self.cut(Action::Reset),
            Act::Truncate => self.cut(Action::Truncate),
            Act::Freeze => self.cut(Action::Freeze),
            Act::Stall | Act::Inject(_) | Act::Delay(_) | Act::Split => {
                self.note(|| "no answer any more".into());
                Course::Cut
            }
        }
    }

    fn cut(&mut self, action: Action) -> Course {
        self.end(action);
        Course::Cut
    }

    fn write_answer(&mut self, answer: &Answer) {
        let start = self.output.len();
        answer.encode(&mut self.output);
        self.transcribe_replies(start);
    }

    fn flush_at(&mut self, pace: Pace) {
        if !self.output.is_empty() {
            let output = self.output.split().freeze();
            self.actions.push_back(match pace {
                Pace::Whole => Action::Write(output),
                Pace::Trickle => Action::Trickle(output),
            });
        }
    }

    fn transcribe(&mut self, line: impl FnOnce() -> Line) {
        if let Transcript::On(lines) = &mut self.transcript {
            lines.push_back(line());
        }
    }

    /// Transcribes the reply lines from here on.
    fn transcribe_replies(&mut self, start: usize) {
        let Transcript::On(lines) = &mut self.transcript else {
            return;
        };
        for line in self.output[start..].split_inclusive(|octet| *octet == b'\n') {
            let line = match line {
                b"334 \r\n" => "334 ".into(),
                [b'3', b'3', b'4', ..] => format!("334 {MASK}"),
                line => printable(line),
            };
            lines.push_back(Line::Server(line));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Whole,
    Trickle,
}

impl Usual<'_> {
    /// The first digit of its code.
    fn class(&self) -> Option<u16> {
        match self {
            Self::Line(code, ..) => Some(code / 100),
            Self::Ehlo(_) => Some(2),
            Self::Nothing => None,
        }
    }
}

/// A command as it may be shown: what follows AUTH and its mechanism is not.
pub(super) fn masked(line: &[u8]) -> String {
    let text = printable(line);
    let mut words = text.splitn(3, ' ');
    let verb = words.next().unwrap_or_default();
    match (
        verb.eq_ignore_ascii_case("AUTH"),
        words.next(),
        words.next(),
    ) {
        (true, Some(mechanism), Some(_)) => format!("{verb} {mechanism} {MASK}"),
        _ => text,
    }
}

/// A line as it may be shown: without its end, control characters replaced.
fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line).replace(char::is_control, "\u{fffd}")
}

/// A reply line of the parts that are not empty, a space apart.
fn put_line(output: &mut BytesMut, code: u16, separator: u8, parts: &[&str]) {
    let digit = |value: u16| b'0' + (value % 10) as u8;
    output.extend_from_slice(&[digit(code / 100), digit(code / 10), digit(code), separator]);
    let mut parts = parts.iter().filter(|part| !part.is_empty());
    if let Some(first) = parts.next() {
        output.extend_from_slice(first.as_bytes());
    }
    for part in parts {
        output.extend_from_slice(b" ");
        output.extend_from_slice(part.as_bytes());
    }
    output.extend_from_slice(b"\r\n");
}

/// What stands for a secret in the transcript.
pub(super) const MASK: &str = "***";
