//! The server without its sockets: octets in, octets and actions out.
//!
//! What is absent here, and held absent by a test: sockets, clocks, tasks, files, the environment.

mod receipt;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, BytesMut};

use super::command::{self, Chunk, Command, Complaint, Parameter};
use super::content::{Content, Unstuffer};
use super::fault::{Quirk, Step};
use super::login::{Exchange, Next, TlsFacts};
use super::options::{Auth, Extension, TlsMode};
use super::plan::Plan;
use super::quota::Quota;
use super::received::{Line, Received, Transfer};
use super::tally::Tally;
use super::terms::{Channel, Greeted, NEEDS_UTF8, Terms};
use super::transaction::{Addresses, Progress, Transaction};
use super::violation::Violation;
use super::voice::{Action, Course, MASK, Transcript, Usual, Voice, masked};
use crate::proto::Protocol;

/// A server's side of one connection.
///
/// ```text
/// Handshake ←──→ Command ←──→ Auth     until the exchange is over
///                   ↑ ←─────→ Data     until CRLF dot CRLF
///                   └ ←─────→ Chunk    until all its octets have come
///
/// any ──→ Over                         where the connection ends, or no answer follows
/// ```
///
/// It takes octets in any pieces and in time linear in their number, and answers all commands of one
/// piece in one write. `Debug` shows neither credentials nor mail.
pub struct Session {
    plan: Arc<Plan>,
    connection: u64,
    phase: Phase,
    terms: Terms,
    authenticated: Option<String>,
    transaction: Option<Transaction>,
    quota: Quota,
    /// The start of a line whose end has not come.
    input: BytesMut,
    voice: Voice,
    messages: VecDeque<Received>,
    violations: VecDeque<Violation>,
    tally: Tally,
    body_answer: BodyAnswer,
    reset: Reset,
}

#[derive(Debug)]
enum Phase {
    Command,
    Auth(Exchange),
    Data(Unstuffer),
    Chunk { left: u64, chunk: Chunk, fate: Fate },
    Handshake,
    Over,
}

/// What becomes of a chunk's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// They are a message's.
    Wanted,
    /// They are read, and answered with this.
    Refused(Usual<'static>),
}

/// Whether the answer to the end of a message was handed out: what else came with that end is
/// behind an unanswered final dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyAnswer {
    Given,
    Waiting,
}

/// Whether RSET has to come before MAIL, since BDAT was refused (RFC 3030 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reset {
    NotDue,
    /// The refusal is not handed out yet: what comes meanwhile cannot know of it.
    Unsaid,
    Due,
}

impl Session {
    /// A session whose first action is the greeting, or the TLS handshake where TLS is implicit.
    /// `connection` is for [`Received::connection`].
    pub fn new(plan: Arc<Plan>, connection: u64) -> Self {
        Self::begin(plan, connection, Transcript::Off)
    }

    /// As [`new`](Self::new), with the dialogue's lines to be had by [`poll_line`](Self::poll_line).
    pub fn watched(plan: Arc<Plan>, connection: u64) -> Self {
        Self::begin(plan, connection, Transcript::On(VecDeque::new()))
    }

    /// What the client sent, in whatever pieces.
    pub fn receive(&mut self, octets: &[u8]) {
        if self.input.is_empty() {
            let used = self.process(octets);
            self.input.extend_from_slice(&octets[used..]);
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(octets);
            let used = self.process(&input);
            input.advance(used);
            self.input = input;
        }
        self.voice.flush();
    }

    /// The handshake that [`Action::StartTls`] asked for is done.
    pub fn tls_established(&mut self) {
        self.tls_established_with(TlsFacts::default());
    }

    /// As [`tls_established`](Self::tls_established), with what some mechanisms of AUTH need.
    pub fn tls_established_with(&mut self, facts: TlsFacts) {
        self.phase = Phase::Command;
        self.terms.tls = facts;
        self.terms.channel = Channel::Tls;
        self.terms.greeted = Greeted::No;
        self.authenticated = None;
        self.transaction = None;
        self.input.clear();
        self.voice.note(|| "TLS established".into());
        if self.plan.options().tls == TlsMode::Implicit {
            self.greet();
        }
        self.voice.flush();
    }

    /// What to do next, in order.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.voice.poll_action();
        if self.voice.is_done() {
            self.body_answer = BodyAnswer::Given;
            if self.reset == Reset::Unsaid {
                self.reset = Reset::Due;
            }
        }
        action
    }

    /// The next line of the dialogue; always `None` unless the session is watched.
    pub fn poll_line(&mut self) -> Option<Line> {
        self.voice.poll_line()
    }

    /// The next message stored. A message is here before the reply that says so is an action.
    pub fn poll_message(&mut self) -> Option<Received> {
        self.messages.pop_front()
    }

    /// The next rule that the client broke.
    pub fn poll_violation(&mut self) -> Option<Violation> {
        self.violations.pop_front()
    }

    /// What was counted since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Whether more input may be given before the actions are done. False as soon as the
    /// connection is to end, to pause or to change to TLS.
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Command | Phase::Auth(_) | Phase::Data(_) | Phase::Chunk { .. } => {
                self.voice.only_writes()
            }
            Phase::Handshake | Phase::Over => false,
        }
    }

    fn begin(plan: Arc<Plan>, connection: u64, transcript: Transcript) -> Self {
        let mut session = Self {
            voice: Voice::new(Arc::clone(&plan), transcript),
            terms: Terms::new(Arc::clone(&plan), connection),
            plan,
            connection,
            phase: Phase::Command,
            authenticated: None,
            transaction: None,
            quota: Quota::default(),
            input: BytesMut::new(),
            messages: VecDeque::new(),
            violations: VecDeque::new(),
            tally: Tally::default(),
            body_answer: BodyAnswer::Given,
            reset: Reset::NotDue,
        };
        if session.plan.options().tls == TlsMode::Implicit {
            session.shake_hands();
        } else {
            session.greet();
        }
        session.voice.flush();
        session
    }

    /// Takes all input but an unfinished line, and says how much that was.
    fn process(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            at += match self.phase {
                Phase::Command | Phase::Auth(_) => match self.take_line(rest) {
                    Some(used) => used,
                    None => break,
                },
                Phase::Data(_) => self.take_data(rest),
                Phase::Chunk { .. } => self.take_chunk(rest),
                // Octets behind STARTTLS are never commands (RFC 3207 §5).
                Phase::Handshake | Phase::Over => rest.len(),
            };
        }
        at
    }

    fn take_line(&mut self, rest: &[u8]) -> Option<usize> {
        let limit = match self.phase {
            Phase::Auth(_) => AUTH_LINE_LIMIT,
            _ => self.plan.options().line_limit.max(MIN_LINE_LIMIT),
        };
        let line = memchr::memchr(b'\n', rest).map(|end| &rest[..=end]);
        if line.map_or(rest.len(), <[u8]>::len) > limit {
            self.say(421, "4.7.0", "line too long, closing");
            self.end(Action::Close);
            return Some(rest.len());
        }
        let line = line?;
        let behind = &rest[line.len()..];
        match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Auth(exchange) => self.take_response(exchange, line),
            _ => self.take_command(line, behind),
        }
        Some(line.len())
    }

    fn take_command(&mut self, line: &[u8], behind: &[u8]) {
        self.tally.commands += 1;
        self.voice.heard(|| masked(line));
        if self.body_answer == BodyAnswer::Waiting {
            return self.say(503, "5.5.1", "bad sequence of commands");
        }
        let command = Command::parse(line);
        let longest = match &command {
            Ok(Command::Mail { .. } | Command::Rcpt { .. }) => LONGEST_EXTENDED,
            Ok(_) | Err(_) => LONGEST_COMMAND,
        };
        if line.len() > longest {
            let octets = line.len() as u64;
            self.note_violation(Violation::LongCommand { octets });
        }
        let ends_group = match &command {
            Ok(Command::Bdat { .. }) => false,
            Ok(command) => command.ends_group() || !self.terms.offers(Extension::Pipelining),
            Err(_) => !self.terms.offers(Extension::Pipelining),
        };
        if ends_group && !behind.is_empty() && self.turn_away() {
            return;
        }
        match command {
            Ok(command) => self.obey(command),
            Err(Complaint::Unrecognised) => self.say(500, "5.5.2", "command not recognised"),
            Err(Complaint::Unimplemented) => self.say(502, "5.5.1", "command not implemented"),
            Err(Complaint::Line(what)) => self.say(500, "5.5.2", what),
            Err(Complaint::Arguments(what)) => self.say(501, "5.5.4", what),
        }
    }

    /// Counts input that came too early; true where the connection ends for it.
    fn turn_away(&mut self) -> bool {
        self.tally.out_of_turn += 1;
        let closes =
            self.plan.has(Quirk::ClosePipelined) && !self.terms.offers(Extension::Pipelining);
        if closes {
            self.voice.note(|| "pipelining is not on offer".into());
            self.end(Action::Close);
        }
        closes
    }

    fn obey(&mut self, command: Command<'_>) {
        if self.terms.greeted == Greeted::Declined && command != Command::Quit {
            return self.say(503, "5.5.1", "no service here");
        }
        let speaks = self.plan.options().protocol;
        match (&command, speaks) {
            (Command::Ehlo | Command::Helo, Protocol::Lmtp) => {
                return self.say(500, "5.5.1", "this is LMTP: say LHLO");
            }
            (Command::Lhlo, Protocol::Smtp) => {
                return self.say(502, "5.5.1", "command not implemented");
            }
            (_, Protocol::Smtp | Protocol::Lmtp) => {}
        }
        match command {
            Command::Ehlo | Command::Lhlo => self.ehlo(),
            Command::Helo => self.helo(),
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial),
            Command::Mail { path, parameters } => self.mail(path, &parameters),
            Command::Rcpt { path, parameters } => self.rcpt(path, &parameters),
            Command::Data => self.data(),
            Command::Bdat { size, chunk } => self.bdat(size, chunk),
            Command::Rset => {
                if self.respond(Step::Rset, "", OK) == Course::Took {
                    self.reset = Reset::NotDue;
                    self.transaction = None;
                }
            }
            Command::Noop => self.say(250, "2.0.0", "ok"),
            Command::Vrfy => self.say(252, "2.5.2", "send some mail and see"),
            Command::Quit => {
                let usual = Usual::Line(221, "2.0.0", "bye");
                if self.respond(Step::Quit, "", usual) == Course::Took {
                    self.end(Action::Close);
                }
            }
        }
    }

    fn greet(&mut self) {
        let greeting = self.terms.greeting();
        let usual = Usual::Line(220, "", &greeting);
        if self.respond(Step::Greeting, "", usual) == Course::Refused {
            self.terms.greeted = Greeted::Declined;
        }
    }

    fn ehlo(&mut self) {
        let lines = self.terms.ehlo_lines();
        if self.respond(Step::Ehlo, "", Usual::Ehlo(&lines)) == Course::Took {
            self.terms.greeted = Greeted::Ehlo;
            self.reset = Reset::NotDue;
            self.transaction = None;
        }
    }

    fn helo(&mut self) {
        let plan = Arc::clone(&self.plan);
        let usual = Usual::Line(250, "", &plan.options().hostname);
        if self.respond(Step::Ehlo, "", usual) == Course::Took {
            self.terms.greeted = Greeted::Helo;
            self.transaction = None;
        }
    }

    fn start_tls(&mut self) {
        if self.terms.greeted != Greeted::Ehlo {
            return self.say(503, "5.5.1", "send EHLO first");
        }
        if self.terms.channel == Channel::Tls {
            return self.say(503, "5.5.1", "TLS is active already");
        }
        if !self.terms.can_start_tls() {
            return self.say(502, "5.5.1", "STARTTLS is not on offer");
        }
        let usual = Usual::Line(220, "2.0.0", "go ahead");
        if self.respond(Step::StartTls, "", usual) == Course::Took {
            self.shake_hands();
        }
    }

    fn shake_hands(&mut self) {
        match self.respond(Step::Handshake, "", Usual::Nothing) {
            Course::Took => {
                self.voice.act(Action::StartTls);
                self.phase = Phase::Handshake;
            }
            // What comes next is the client's half of a handshake: no commands.
            Course::Refused | Course::Asked | Course::Garbled | Course::Cut | Course::Shut => {
                self.phase = Phase::Over;
            }
        }
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&str>) {
        if self.terms.greeted != Greeted::Ehlo {
            return self.say(503, "5.5.1", "send EHLO first");
        }
        if self.authenticated.is_some() || self.transaction.is_some() {
            return self.say(503, "5.5.1", "AUTH is out of sequence");
        }
        if self.plan.options().auth == Auth::Off {
            return self.say(502, "5.5.1", "AUTH is not on offer");
        }
        if !self.terms.can_log_in() {
            let text = "encryption required for authentication";
            return self.say(538, "5.7.11", text);
        }
        let Some(exchange) = Exchange::of(mechanism, self.terms.desk()) else {
            return self.say(504, "5.5.4", "no such mechanism");
        };
        match self.respond(Step::Auth, "", Usual::Nothing) {
            Course::Took => {
                let next = exchange.start(initial, self.terms.desk());
                self.go_on(next);
            }
            Course::Asked => self.phase = Phase::Auth(exchange),
            Course::Refused | Course::Garbled | Course::Cut | Course::Shut => {}
        }
    }

    fn take_response(&mut self, exchange: Exchange, line: &[u8]) {
        let response = command::text(line);
        let shown = if response == Ok("*") { "*" } else { MASK };
        self.voice.heard(|| shown.into());
        match response {
            Ok(response) => {
                let next = exchange.take(response, self.terms.desk());
                self.go_on(next);
            }
            Err(_) => self.say(501, "5.5.2", "the response is malformed"),
        }
    }

    fn go_on(&mut self, next: Next) {
        match next {
            Next::Challenge(exchange, challenge) => {
                self.say(334, "", &BASE64_STANDARD.encode(challenge));
                self.phase = Phase::Auth(exchange);
            }
            Next::Passed(name) => {
                self.authenticated = Some(name);
                self.say(235, "2.7.0", "authenticated");
            }
            Next::Unacknowledged => {
                self.note_violation(Violation::Unacknowledged);
                self.say(535, "5.7.8", "authentication credentials invalid");
            }
            Next::Refused => self.say(535, "5.7.8", "authentication credentials invalid"),
            Next::Cancelled => self.say(501, "5.7.0", "authentication cancelled"),
            Next::Malformed => self.say(501, "5.5.2", "the response is malformed"),
        }
    }

    fn mail(&mut self, path: &str, parameters: &[Parameter<'_>]) {
        if let Err(refusal) = self.terms.admit(self.authenticated.as_deref()) {
            return self.voice.write(refusal);
        }
        if self.transaction.is_some() {
            return self.say(503, "5.5.1", "a transaction is open already");
        }
        if self.reset == Reset::Due {
            self.reset = Reset::NotDue;
            self.note_violation(Violation::NoReset);
        }
        let declared = match self.terms.declared(path, parameters) {
            Ok(declared) => declared,
            Err(refusal) => return self.voice.write(refusal),
        };
        if !self.quota.allows_mail(self.plan.options()) {
            self.say(421, "4.7.0", "too many messages, closing");
            return self.end(Action::Close);
        }
        if self.respond(Step::Mail, path, Usual::Line(250, "2.1.0", "sender ok")) == Course::Took {
            let contents = self.plan.options().contents;
            let content = Content::new(contents, declared.size, self.terms.size_limit());
            let mut transaction = Transaction::new(path, parameters, content);
            transaction.body = declared.body;
            self.transaction = Some(transaction);
        }
    }

    fn rcpt(&mut self, path: &str, parameters: &[Parameter<'_>]) {
        let Some(transaction) = &self.transaction else {
            return self.say(503, "5.5.1", "send MAIL first");
        };
        if transaction.progress != Progress::Envelope {
            return self.say(503, "5.5.1", "the message has begun");
        }
        let addresses = match transaction.is_utf8() {
            true => Addresses::Utf8,
            false => Addresses::Ascii,
        };
        if let Err(refusal) = self.terms.permitted().check_rcpt(parameters, addresses) {
            return self.voice.write(refusal);
        }
        let (recipients, options) = (transaction.recipients.len(), self.plan.options());
        if let Some(refusal) = self.quota.refuse_rcpt(path, recipients, options) {
            return self.voice.write(refusal);
        }
        if !path.is_ascii() && !transaction.is_utf8() {
            return self.voice.write(NEEDS_UTF8);
        }
        let usual = Usual::Line(250, "2.1.5", "recipient ok");
        if self.respond(Step::Rcpt, path, usual) == Course::Took
            && let Some(transaction) = &mut self.transaction
        {
            transaction.add(path, parameters);
        }
    }

    fn data(&mut self) {
        let Some(transaction) = &self.transaction else {
            return self.say(503, "5.5.1", "send MAIL first");
        };
        if transaction.progress != Progress::Envelope {
            return self.say(503, "5.5.1", "DATA and BDAT don't mix");
        }
        if transaction.is_binary() {
            return self.say(503, "5.5.1", "BINARYMIME needs BDAT");
        }
        if transaction.recipients.is_empty() && !self.plan.has(Quirk::DataWithoutRecipients) {
            return self.voice.write(NO_RECIPIENTS);
        }
        let usual = Usual::Line(354, "", "end with a dot on a line of its own");
        if self.respond(Step::Data, "", usual) == Course::Took
            && let Some(transaction) = &mut self.transaction
        {
            transaction.progress = Progress::Announced(Transfer::Data);
            self.phase = Phase::Data(Unstuffer::new(self.plan.options().line_ends));
        }
    }

    fn bdat(&mut self, size: u64, chunk: Chunk) {
        if !self.terms.extended(Extension::Chunking) {
            return self.say(502, "5.5.1", "CHUNKING is not on offer");
        }
        // From here on the octets follow, whatever the reply will be (RFC 3030 §2).
        let fate = match &mut self.transaction {
            None => Fate::Refused(Usual::Line(503, "5.5.1", "send MAIL first")),
            Some(transaction) if transaction.recipients.is_empty() => Fate::Refused(NO_RECIPIENTS),
            Some(transaction) => {
                if transaction.progress == Progress::Envelope {
                    transaction.progress = Progress::Announced(Transfer::Bdat);
                }
                Fate::Wanted
            }
        };
        self.phase = Phase::Chunk {
            left: size,
            chunk,
            fate,
        };
        if size == 0 {
            self.end_of_chunk(chunk, fate);
        }
    }

    /// Answers a step, as planned or else as usual. `address` is whom it names.
    fn respond(&mut self, step: Step, address: &str, usual: Usual<'_>) -> Course {
        let course = self.voice.respond(step, address, usual);
        match course {
            Course::Cut | Course::Shut => self.phase = Phase::Over,
            Course::Took | Course::Refused | Course::Asked | Course::Garbled => {}
        }
        course
    }

    fn note_violation(&mut self, violation: Violation) {
        self.voice
            .note(|| format!("against the rules: {violation}"));
        self.violations.push_back(violation);
    }

    fn say(&mut self, code: u16, enhanced: &'static str, text: &str) {
        self.voice.write(Usual::Line(code, enhanced, text));
    }

    /// Ends the session: whatever comes is read, and ignored.
    fn end(&mut self, action: Action) {
        self.voice.end(action);
        self.phase = Phase::Over;
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("connection", &self.connection)
            .field("authenticated", &self.authenticated)
            .finish_non_exhaustive()
    }
}

const NO_RECIPIENTS: Usual<'static> = Usual::Line(554, "5.5.1", "no valid recipients");

const OK: Usual<'static> = Usual::Line(250, "2.0.0", "ok");

/// A base64 line of 12,288 octets and its CRLF (RFC 4954 §4).
const AUTH_LINE_LIMIT: usize = 12_290;

/// RFC 5321 §4.5.3.1.4, with its CRLF.
const LONGEST_COMMAND: usize = 512;

/// The same with all that the extensions here may add to MAIL and RCPT, AUTH= and ORCPT= with 500
/// octets each before all.
const LONGEST_EXTENDED: usize = 1024;

/// No server can do with less.
const MIN_LINE_LIMIT: usize = 64;
