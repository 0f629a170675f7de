//! What handshake and transactions share: the octets in and out, the queue of expected replies, the
//! clocks, the events, the dialogue.

pub(crate) mod quiet;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::{COMMAND_LINE, Chunk, Command, put_rcpt, stage_verb};
use super::config::{Config, RecipientEvents};
use super::dialogue::{Dialogue, Side};
use super::event::{Event, Stats};
use super::framing::Framing;
use super::offers::Offers;
use super::output::Output;
use super::reply::{Class, Code, Reply, Statuses};
use super::sasl::Nonces;
use super::transaction::{Recipient, TransactionId};
use crate::error::{Category, Error, Party, Progress, Stage};

/// The shared parts of a connection.
pub(crate) struct Link {
    pub(crate) config: Arc<Config>,
    pub(crate) input: Framing,
    pub(crate) output: Output,
    pub(crate) dialogue: Dialogue,
    pub(crate) events: VecDeque<Event>,
    pub(crate) nonces: Nonces,
    expected: VecDeque<Expected>,
    /// Expected replies to whole messages.
    bodies: usize,
    /// Octets of commands that wait for their reply.
    unanswered: usize,
    /// Octets of content behind BDAT LAST that wait for their reply.
    overlapped: u64,
    /// When the head of the queue began to be waited for; `None` until its last octet is sent.
    waiting_since: Option<Instant>,
    /// When the transport last took something, while it has something to take.
    writing_since: Option<Instant>,
    turn: Turn,
    flights: u64,
    replies: u64,
    received: u64,
    last_command: Option<&'static str>,
    /// Whether the text of the last reply may be seen.
    text: Text,
    /// Octets of commands at the output's end that the dialogue does not have.
    unrecorded: usize,
    /// Stream offset at which the last message began.
    body_start: u64,
    /// When the last reply came.
    heard_at: Option<Instant>,
    /// Stream offset by which the command that was answered last was complete.
    answered_end: u64,
}

/// Whether the text of a reply may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    /// But for the secrets in it.
    Shown,
    /// A SASL challenge is nobody's business.
    Hidden,
}

/// A reply that is due, and the stream offset by which its command is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) what: Expect,
    /// Where the content that it answers begins; for a command its end.
    start: u64,
    end: u64,
    length: usize,
    /// Octets of content that count against the window of overlapping messages.
    content: u64,
}

/// What a reply will answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// Not a reply, but the end of the TLS handshake.
    Handshake,
    Auth,
    Mail(TransactionId),
    Rcpt(TransactionId, usize),
    Data(TransactionId),
    Body(TransactionId),
    /// A chunk that is not the last.
    Chunk(TransactionId),
    Rset,
    Quit,
}

impl Expect {
    /// Greeting and EHLO reply have no enhanced status codes (RFC 2034 §3).
    pub(crate) fn statuses(self) -> Statuses {
        match self {
            Self::Greeting | Self::Ehlo | Self::Helo => Statuses::Ignore,
            Self::StartTls
            | Self::Handshake
            | Self::Auth
            | Self::Mail(_)
            | Self::Rcpt(..)
            | Self::Data(_)
            | Self::Body(_)
            | Self::Chunk(_)
            | Self::Rset
            | Self::Quit => Statuses::Read,
        }
    }

    /// Whether it answers a whole message.
    fn is_body(self) -> bool {
        matches!(self, Self::Body(_))
    }

    pub(crate) fn stage(self) -> Stage {
        match self {
            Self::Greeting => Stage::Greeting,
            Self::Ehlo | Self::Helo => Stage::Ehlo,
            Self::StartTls => Stage::StartTls,
            Self::Handshake => Stage::Handshake,
            Self::Auth => Stage::Auth,
            Self::Mail(_) | Self::Rset => Stage::Mail,
            Self::Rcpt(..) => Stage::Rcpt,
            Self::Data(_) => Stage::Data,
            Self::Body(_) | Self::Chunk(_) => Stage::Body,
            Self::Quit => Stage::Quit,
        }
    }
}

/// How many recipients were named to the server, and the place from which on they are left.
pub(crate) struct Named {
    pub(crate) count: usize,
    pub(crate) left: Option<usize>,
}

/// Who spoke last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Client,
    Server,
}

impl Link {
    pub(crate) fn new(config: Arc<Config>, entropy: [u8; 32]) -> Self {
        Self {
            input: Framing::new(config.limits),
            config,
            output: Output::default(),
            dialogue: Dialogue::default(),
            events: VecDeque::new(),
            nonces: Nonces::new(entropy),
            expected: VecDeque::new(),
            bodies: 0,
            unanswered: 0,
            overlapped: 0,
            waiting_since: None,
            writing_since: None,
            turn: Turn::Server,
            flights: 0,
            replies: 0,
            received: 0,
            last_command: None,
            text: Text::Shown,
            unrecorded: 0,
            body_start: 0,
            heard_at: None,
            answered_end: 0,
        }
    }

    /// Queues a command and the expectation of its reply.
    pub(crate) fn command(&mut self, command: Command<'_>, expect: Expect, now: Instant) {
        let length = self.say(command, now);
        self.expected.push_back(Expected {
            what: expect,
            start: self.output.queued_total(),
            end: self.output.queued_total(),
            length,
            content: 0,
        });
        self.unanswered += length;
        self.began_writing(now);
    }

    /// Queues RCPT for one recipient after the other, as long as there may be more: what they have in
    /// common is done once. Returns how many there were, and whether that was all.
    pub(crate) fn recipients<'a>(
        &mut self,
        id: TransactionId,
        named: impl Iterator<Item = (usize, &'a Recipient)>,
        offers: &Offers,
        now: Instant,
    ) -> Named {
        self.record_replies();
        let mut count = 0;
        let mut left = None;
        for (index, recipient) in named {
            let (mailbox, params) = (recipient.mailbox(), recipient.params());
            let line = self.output.write(|text| put_rcpt(text, mailbox, params));
            let length = line.len();
            if self.dialogue.is_observed() {
                self.dialogue.client(line, now);
            }
            self.unrecorded += length;
            self.unanswered += length;
            self.expected.push_back(Expected {
                what: Expect::Rcpt(id, index),
                start: self.output.queued_total(),
                end: self.output.queued_total(),
                length,
                content: 0,
            });
            count += 1;
            if !offers.may_speak(self) {
                left = Some(index + 1);
                break;
            }
        }
        if count > 0 {
            self.last_command = Some(stage_verb(Stage::Rcpt));
            self.began_writing(now);
        }
        Named { count, left }
    }

    /// Expects a reply (or an event) that no command of ours asks for, from now on.
    pub(crate) fn expect(&mut self, what: Expect, now: Instant) {
        self.expected.push_back(Expected {
            what,
            start: self.output.queued_total(),
            end: self.output.queued_total(),
            length: 0,
            content: 0,
        });
        self.start_waiting(now);
    }

    /// Queues a command whose reply is not due before the content behind it is sent.
    pub(crate) fn announce(&mut self, command: Command<'_>, now: Instant) {
        self.say(command, now);
        self.record_commands();
    }

    /// Queues a command's line. Returns its length.
    #[inline]
    fn say(&mut self, command: Command<'_>, now: Instant) -> usize {
        self.record_replies();
        self.last_command = Some(command.verb());
        if let Some(masked) = command.masked() {
            self.record_commands();
            self.dialogue.record(Side::Client, masked.as_bytes());
            self.dialogue.client(masked.as_bytes(), now);
            return self.output.write(|text| command.encode(text)).len();
        }
        let line = self.output.write(|text| command.encode(text));
        self.unrecorded += line.len();
        if self.dialogue.is_observed() {
            self.dialogue.client(line, now);
        }
        line.len()
    }

    /// Queues a chunk and the expectation of its reply.
    pub(crate) fn chunk(&mut self, chunk: &mut Output, expect: Expect, now: Instant) {
        let last = match expect {
            Expect::Chunk(_) => Chunk::More,
            _ => Chunk::Last,
        };
        let octets = chunk.unsent() as u64;
        self.announce(Command::Bdat(octets, last), now);
        let start = self.output.queued_total();
        self.output.append(chunk);
        self.dialogue
            .note(now, || format!("{octets} octets of message"));
        let end = self.output.queued_total();
        self.bodies += usize::from(expect.is_body());
        self.expected.push_back(Expected {
            what: expect,
            start,
            end,
            length: 0,
            content: 0,
        });
        self.began_writing(now);
    }

    /// Expects the reply to a message whose end is not queued yet.
    pub(crate) fn expect_body(&mut self, id: TransactionId) {
        self.body_start = self.output.queued_total();
        self.bodies += 1;
        self.expected.push_back(Expected {
            what: Expect::Body(id),
            start: self.body_start,
            end: u64::MAX,
            length: 0,
            content: 0,
        });
    }

    /// Queues a message that is nothing but its end.
    pub(crate) fn lone_dot(&mut self, id: TransactionId, now: Instant) {
        self.record_replies();
        self.expect_body(id);
        let line = self.output.write(|text| text.extend_from_slice(b".\r\n"));
        self.dialogue.record(Side::Client, line);
        self.dialogue.client(line, now);
        self.body_queued(id, 0, now);
    }

    /// The message is queued to its end: its reply is due when that is sent.
    pub(crate) fn body_queued(&mut self, id: TransactionId, content: u64, now: Instant) {
        let end = self.output.queued_total();
        for expected in self.expected.iter_mut().rev() {
            if expected.what == Expect::Body(id) {
                expected.end = end;
                expected.content = content;
                self.overlapped += content;
                break;
            }
        }
        let octets = end - self.body_start;
        self.dialogue
            .note(now, || format!("{octets} octets of message"));
        self.began_writing(now);
    }

    /// Something was queued: the time for the transport to take it begins.
    pub(crate) fn began_writing(&mut self, now: Instant) {
        if self.output.unsent() > 0 && self.writing_since.is_none() {
            self.writing_since = Some(now);
        }
    }

    /// The transport took octets.
    pub(crate) fn sent(&mut self, len: usize, now: Instant) {
        if len == 0 {
            return;
        }
        self.record_commands();
        self.output.sent(len);
        self.writing_since = (self.output.unsent() > 0).then_some(now);
        if self.turn == Turn::Server {
            self.turn = Turn::Client;
            self.flights += 1;
        }
        if self.waiting_since.is_none() {
            self.start_waiting(now);
        }
    }

    /// Octets came in.
    pub(crate) fn received(&mut self, octets: &[u8]) {
        self.record_replies();
        self.received += octets.len() as u64;
        self.input.push(octets);
    }

    /// A complete reply came: takes note of it.
    pub(crate) fn replied(&mut self, head: Option<Expect>, code: Code, now: Instant) {
        self.record_commands();
        self.turn = Turn::Server;
        self.heard_at = Some(now);
        self.replies += 1;
        if matches!(head, Some(Expect::Auth)) && code.class() == Class::Intermediate {
            self.hide_challenge(code, now);
            return;
        }
        self.text = Text::Shown;
        self.show_reply(now);
    }

    #[inline]
    fn show_reply(&mut self, now: Instant) {
        if self.dialogue.is_observed() {
            self.dialogue.server(self.input.octets(), now);
        }
    }

    /// Takes a run of replies that accept recipients of this transaction, one place after the other.
    /// Returns how many.
    pub(crate) fn accepted_run(
        &mut self,
        id: TransactionId,
        now: Instant,
        mut accepted: impl FnMut(usize),
    ) -> usize {
        let sent = self.output.sent_total();
        let mut count = 0;
        while let Some(expected) = self.expected.front()
            && let Expect::Rcpt(of, index) = expected.what
            && of == id
            && sent >= expected.end
            && let Some(code) = self.input.next_done(Statuses::Read)
        {
            self.unanswered -= expected.length;
            self.answered_end = expected.end;
            self.expected.pop_front();
            self.text = Text::Shown;
            self.show_reply(now);
            self.tell_recipient(id, index, (Stage::Rcpt, code));
            accepted(index);
            count += 1;
        }
        if count > 0 {
            self.record_commands();
            self.turn = Turn::Server;
            self.heard_at = Some(now);
            self.replies += count as u64;
            self.waiting_since = None;
            self.start_waiting(now);
        }
        count
    }

    /// A challenge came: the dialogue has no more than its code.
    fn hide_challenge(&mut self, code: Code, now: Instant) {
        self.text = Text::Hidden;
        let before = self.input.unrecorded().len() - self.input.octets().len();
        let before = &self.input.unrecorded()[..before];
        let shown = self.reply(code);
        self.dialogue.record(Side::Server, before);
        self.dialogue.record(Side::Server, shown.raw());
        self.dialogue.server(shown.raw(), now);
        self.input.recorded();
    }

    /// The last reply, whose code this is, as the rest of the engine may see it.
    pub(crate) fn reply(&self, code: Code) -> Reply {
        let reply = self.input.reply(code);
        match self.text {
            Text::Shown => self.dialogue.mask(reply),
            Text::Hidden => Dialogue::mask_all(&reply),
        }
    }

    /// One recipient's answer came, for whoever wants to know each.
    #[inline]
    pub(crate) fn tell_recipient(
        &mut self,
        id: TransactionId,
        index: usize,
        (stage, code): (Stage, Code),
    ) {
        match self.config.recipient_events {
            RecipientEvents::Each => self.events.push_back(Event::Recipient {
                id,
                index,
                stage,
                reply: self.reply(code),
            }),
            RecipientEvents::Off => {}
        }
    }

    /// Octets came that are no reply.
    pub(crate) fn heard_noise(&mut self, now: Instant) {
        self.record_commands();
        self.record_replies();
        self.dialogue.server_octets(self.input.unfinished(), now);
    }

    #[inline]
    fn record_commands(&mut self) {
        if self.unrecorded > 0 {
            let lines = self.output.last(self.unrecorded);
            self.dialogue.record(Side::Client, lines);
            self.unrecorded = 0;
        }
    }

    #[inline]
    fn record_replies(&mut self) {
        if !self.input.is_recorded() {
            self.dialogue.record(Side::Server, self.input.unrecorded());
            self.input.recorded();
        }
    }

    /// The peer finished a TLS handshake: whatever comes next is a new flight.
    pub(crate) fn handshake_done(&mut self) {
        self.turn = Turn::Server;
    }

    /// What the next reply answers.
    pub(crate) fn head(&self) -> Option<Expect> {
        self.expected.front().map(|expected| expected.what)
    }

    /// Whether the head's command is sent to its last octet.
    pub(crate) fn head_is_sent(&self) -> bool {
        self.expected
            .front()
            .is_some_and(|expected| self.is_sent(expected))
    }

    /// Whether the content that the head answers has begun to be sent. What comes before cannot be
    /// its reply, not even a refusal.
    pub(crate) fn head_is_begun(&self) -> bool {
        let sent = self.output.sent_total();
        self.expected
            .front()
            .is_some_and(|expected| sent >= expected.start)
    }

    /// Takes the head: it was answered.
    pub(crate) fn answered(&mut self, now: Instant) {
        if let Some(expected) = self.expected.pop_front() {
            self.unanswered -= expected.length;
            self.overlapped -= expected.content;
            self.bodies -= usize::from(expected.what.is_body());
            self.answered_end = expected.end;
            self.waiting_since = None;
            self.start_waiting(now);
        }
    }

    /// One more reply to the message that was answered last is due (LMTP). Where the first came
    /// before the message was sent, this one is not due before it is.
    pub(crate) fn expect_again(&mut self, id: TransactionId, now: Instant) {
        let what = Expect::Body(id);
        self.bodies += 1;
        self.expected.push_front(Expected {
            what,
            start: 0,
            end: self.answered_end,
            length: 0,
            content: 0,
        });
        self.waiting_since = None;
        self.start_waiting(now);
    }

    /// How long ago the server last said something.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        self.heard_at
            .map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard))
    }

    /// Whether anything is expected.
    pub(crate) fn is_idle(&self) -> bool {
        self.expected.is_empty()
    }

    /// Whether a message is on its way or unanswered.
    pub(crate) fn expects_body(&self) -> bool {
        self.bodies > 0
    }

    /// Whether the reply to this message is due: it is sent to its end.
    pub(crate) fn body_is_sent(&self, id: TransactionId) -> bool {
        self.expected
            .iter()
            .any(|expected| expected.what == Expect::Body(id) && self.is_sent(expected))
    }

    /// Whether this message is queued to its end, and not yet sent so far.
    pub(crate) fn body_is_leaving(&self, id: TransactionId) -> bool {
        self.expected
            .iter()
            .any(|expected| expected.what == Expect::Body(id) && !self.is_sent(expected))
    }

    /// Whether one more command may be queued within the window.
    pub(crate) fn has_window(&self) -> bool {
        self.unanswered < WINDOW
            && self.overlapped < OVERLAP
            && self.output.unsent() < WINDOW + super::body::ENCODED_AHEAD
    }

    /// The next deadline and the stage that would miss it.
    pub(crate) fn deadline(&self) -> Option<(Instant, Stage)> {
        let timeouts = &self.config.timeouts;
        let stage = self.stage();
        // A time beyond what the clock can count to never comes.
        let reply = self
            .waiting_since
            .and_then(|since| since.checked_add(timeouts.reply(stage)));
        let writing = self
            .writing_since
            .and_then(|since| since.checked_add(timeouts.block));
        let deadline = [reply, writing].into_iter().flatten().min()?;
        Some((deadline, stage))
    }

    /// Whether a reply is waited for, and not only the transport.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// The stage that a failure now belongs to.
    pub(crate) fn stage(&self) -> Stage {
        self.head().map_or(Stage::Mail, Expect::stage)
    }

    /// An error that knows how far the dialogue had come.
    pub(crate) fn error(
        &self,
        category: Category,
        stage: Stage,
        party: Party,
        message: impl Into<String>,
    ) -> Error {
        Error::new(category, stage, party, message).with_progress(self.progress())
    }

    /// How far the dialogue has come.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            last_command: self.last_command,
            last_reply: self.input.last_code().map(|code| self.reply(code)),
            greeting: None,
            offers: None,
            bytes_sent: self.output.sent_total(),
            transcript: self.dialogue.recent([
                (Side::Client, self.output.last(self.unrecorded)),
                (Side::Server, self.input.unrecorded()),
            ]),
        }
    }

    /// Counters.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            flights: self.flights,
            bytes_sent: self.output.sent_total(),
            bytes_received: self.received,
            replies: self.replies,
        }
    }

    /// Nothing is written or waited for any more.
    pub(crate) fn shut(&mut self) {
        self.record_commands();
        self.output.clear();
        self.input.clear();
        self.expected.clear();
        self.bodies = 0;
        self.unanswered = 0;
        self.overlapped = 0;
        self.waiting_since = None;
        self.writing_since = None;
    }

    fn is_sent(&self, expected: &Expected) -> bool {
        self.output.sent_total() >= expected.end
    }

    fn start_waiting(&mut self, now: Instant) {
        if self.waiting_since.is_none() && self.head_is_sent() {
            self.waiting_since = Some(now);
        }
    }
}

/// Whether a base64 response of this length fits on an AUTH line of its mechanism.
pub(crate) fn fits_auth_line(mechanism: &str, response: &str) -> bool {
    "AUTH ".len() + mechanism.len() + 1 + response.len() + 2 <= COMMAND_LINE
}

/// Octets of commands that may wait for their replies: enough for any group in use, and no more than
/// what a peer's receive buffer holds.
const WINDOW: usize = 64 * 1024;

/// Octets of whole messages that may wait for their replies while further ones follow.
const OVERLAP: u64 = 256 * 1024;

#[cfg(test)]
mod tests;
