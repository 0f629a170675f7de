//! The engine's one public value: inputs, commands, outputs.

#[allow(
    dead_code,
    reason = "whoever builds the engine alone has no driver that puts by"
)]
pub(crate) mod dormant;

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::command::Command;
use super::config::{Config, Context};
use super::dialogue::Observer;
use super::event::{Event, Stats};
use super::evidence::{Evidence, TlsProblem};
use super::fault;
use super::handshake::{self, Handshake, Input, Progress, Step};
use super::link::{Expect, Link};
use super::offers::Offers;
use super::pipeline::{Flow, Pipeline, Quit, Welcome};
use super::refusal::{Circumstances, refusal};
use super::reply::{Class, Code, Reply, Statuses};
use super::sasl::Credentials;
use super::session::{Session, TlsSession, TransportError, TransportErrorKind};
use super::transaction::{Body, Envelope, SubmitError, SubmitProblem, TransactionId};
use crate::error::{Category, Error, Party, Stage};

/// One SMTP connection as a value: no socket, clock, task or random source, and no type parameters.
///
/// Its owner tells it what the world did, by the inputs; says what it wants, by the commands; and
/// does what the outputs ask for: after each input and command, write what [`Self::transmit`] has
/// and take events until there are none. Inputs never fail, and come in any order: a verdict comes
/// out as an event.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Instant;
///
/// use ehlo::Security;
/// use ehlo::proto::{Config, Connection, Context, Event};
///
/// let now = Instant::now();
/// let config = Arc::new(Config::new(Security::Plaintext));
/// let mut connection = Connection::new(config, Context::default(), now);
/// connection.receive(b"220 mx.example.org ESMTP\r\n", now);
/// let mut slices = [std::io::IoSlice::new(&[])];
/// assert_eq!(connection.transmit(&mut slices), 1);
/// assert_eq!(&*slices[0], b"EHLO [127.0.0.1]\r\n");
/// connection.sent(18, now);
/// connection.receive(b"250-mx.example.org\r\n250 PIPELINING\r\n", now);
/// while let Some(event) = connection.poll_event() {
///     if let Event::Ready(session) = event {
///         assert!(session.extensions().offers("PIPELINING"));
///     }
/// }
/// ```
pub struct Connection {
    phase: Phase,
    link: Link,
    progress: Progress,
    pipeline: Pipeline,
    /// Replies that had come when TLS began.
    replies_before_tls: Option<u64>,
}

/// ```text
/// Handshake ──▶ Ready ──▶ Closed
///     └──▶ Ending ──▶────────┘
/// ```
enum Phase {
    Handshake(Handshake),
    Ready,
    /// It failed with this error, and QUIT is on its way.
    Ending(Error),
    /// It is over, and this is said to whoever still asks.
    Closed(Error),
}

impl Connection {
    /// A connection whose transport has just connected. With implicit TLS the first thing it
    /// expects is [`Self::tls_established`], else the greeting.
    pub fn new(config: Arc<Config>, context: Context, now: Instant) -> Self {
        let progress = Progress::new(&config, &context);
        let mut link = Link::new(config, context.entropy);
        let handshake = Handshake::begin(&mut link, now);
        Self {
            phase: Phase::Handshake(handshake),
            link,
            progress,
            pipeline: Pipeline::new(),
            replies_before_tls: None,
        }
    }

    /// Shows the dialogue to an observer from here on.
    pub fn observe(&mut self, observer: Box<dyn Observer + Send>) {
        self.link.dialogue.observe(observer);
    }

    /// Octets have arrived.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() || self.is_closed() {
            return;
        }
        self.link.received(bytes);
        self.read_replies(now);
    }

    /// The peer has closed its side.
    pub fn receive_eof(&mut self, now: Instant) {
        let message = match self.link.head() {
            None => "the server closed the connection while nothing was asked of it".to_owned(),
            Some(head) => {
                format!(
                    "the server closed the connection {}",
                    fault::moment(head.stage())
                )
            }
        };
        self.lost(
            (Category::ConnectionLost, Party::Network),
            message,
            None,
            now,
        );
    }

    /// The transport has failed.
    pub fn failed(&mut self, cause: TransportError, now: Instant) {
        let kind = match cause.kind {
            TransportErrorKind::Lost => (Category::ConnectionLost, Party::Network),
            TransportErrorKind::Certificate => (Category::Certificate, Party::Server),
            TransportErrorKind::Tls => (Category::Tls, Party::Server),
            TransportErrorKind::Mismatch => (Category::EncryptionMismatch, Party::Caller),
            TransportErrorKind::Protocol => (Category::Protocol, Party::Server),
        };
        let message = cause.message.clone();
        self.lost(kind, message, Some(cause), now);
    }

    /// The transport has taken the first `len` octets of [`Self::transmit`].
    pub fn sent(&mut self, len: usize, now: Instant) {
        self.link.sent(len, now);
        if self.pipeline.waits_for_transport() {
            self.advance(now);
        }
    }

    /// The TLS handshake is complete.
    pub fn tls_established(&mut self, tls: TlsSession, now: Instant) {
        if self.link.head() == Some(Expect::Handshake) {
            self.replies_before_tls = Some(self.link.stats().replies);
            self.handshake(Input::Tls(Box::new(tls)), now);
        }
    }

    /// Answers [`Event::CredentialsWanted`]; `None` gives up.
    pub fn credentials(&mut self, credentials: Option<Credentials>, now: Instant) {
        self.handshake(Input::Credentials(credentials), now);
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((_, stage)) = self
            .link
            .deadline()
            .filter(|(deadline, _)| *deadline <= now)
        else {
            return;
        };
        let result = match self.link.head() {
            Some(Expect::Quit) => self.ending(),
            Some(_) | None => Err(fault::timed_out(stage, &self.link)),
        };
        self.close(result, now);
    }

    /// Queues a message. What depends on the session comes as an event.
    ///
    /// # Errors
    /// An envelope without recipients, or a connection that has ended or was told to. Both parts
    /// are handed back.
    pub fn submit(
        &mut self,
        envelope: Envelope,
        body: Body,
        now: Instant,
    ) -> Result<TransactionId, SubmitError> {
        let no_recipients = envelope.recipients().is_empty();
        let no_recipients = no_recipients.then_some(SubmitProblem::NoRecipients);
        if let Some(problem) = self.problem().or(no_recipients) {
            return Err(SubmitError::new(problem, envelope, Some(body)));
        }
        let id = self.pipeline.submit(envelope, body);
        if self.pipeline.is_at(id) {
            self.advance(now);
        }
        Ok(id)
    }

    /// Asks for each recipient whether the server would accept it: MAIL, RCPT…, RSET, no content. An
    /// envelope without recipients asks for the sender alone, and gets one verdict.
    ///
    /// # Errors
    /// A connection that has ended or was told to. The envelope is handed back.
    pub fn probe(
        &mut self,
        envelope: Envelope,
        now: Instant,
    ) -> Result<TransactionId, SubmitError> {
        if let Some(problem) = self.problem() {
            return Err(SubmitError::new(problem, envelope, None));
        }
        let id = self.pipeline.probe(envelope);
        self.advance(now);
        Ok(id)
    }

    /// The writer of a streamed body; `Some` only while one is wanted and there is room.
    pub fn body_writer(&mut self) -> Option<BodyWriter<'_>> {
        let room = self.pipeline.stream_room(&self.link);
        let (id, _) = self.pipeline.stream()?;
        (room > 0).then_some(BodyWriter {
            connection: self,
            id,
        })
    }

    /// Withdraws a transaction as far as the protocol still allows: one that is not on the wire yet
    /// is dropped, one whose envelope is gets RSET, one whose content has begun ends the connection
    /// (but for a streamed one by BDAT, which gets RSET, and a small one by BDAT, which is on the wire
    /// as soon as its envelope is). One that is sent to its end is not changed: its reply is still
    /// read.
    pub fn cancel(&mut self, id: TransactionId, now: Instant) {
        if self.is_closed() {
            return;
        }
        let stage = self.link.stage();
        let message = "the caller cancelled the message";
        let error = self
            .link
            .error(Category::Usage, stage, Party::Caller, message);
        let flow = self.pipeline.cancel(id, error, &self.link);
        self.follow(flow, now);
        self.advance(now);
    }

    /// Ends the session when everything submitted so far is done. Nothing can be submitted after.
    pub fn quit(&mut self, now: Instant) {
        if self.pipeline.quit == Quit::No {
            self.pipeline.quit = Quit::Wanted;
        }
        self.advance(now);
    }

    /// What to write next: fills slices from the front, and returns how many.
    #[must_use]
    pub fn transmit<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.link.output.slices(slices)
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.link.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due, if the peer stays silent.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.link.deadline().map(|(deadline, _)| deadline)
    }

    /// The session's facts, once the greeting is there.
    pub fn session(&self) -> Option<&Session> {
        self.progress.session.as_ref()
    }

    /// Whether it still takes transactions: it is neither over nor told to quit.
    pub fn is_open(&self) -> bool {
        let ending = matches!(self.phase, Phase::Closed(_) | Phase::Ending(_));
        self.pipeline.quit == Quit::No && !ending
    }

    /// Gives back memory that an idle connection does without, but for what so many short messages
    /// need.
    pub fn rest(&mut self, messages: usize) {
        self.link.rest(messages);
        self.pipeline.transactions.shrink_to(messages);
    }

    /// Whether [`Self::transmit`] has something to write.
    pub fn has_unsent(&self) -> bool {
        self.link.output.unsent() > 0
    }

    /// Whether [`Self::poll_event`] has an event.
    pub fn has_events(&self) -> bool {
        !self.link.events.is_empty()
    }

    /// Whether a message may yet need another transaction, since one of its recipients has been put
    /// off ([`Verdict::Deferred`](crate::Verdict::Deferred)), or may be: the answers are not there.
    pub fn may_defer(&self) -> bool {
        self.pipeline.may_defer()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.link.stats()
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    fn read_replies(&mut self, now: Instant) {
        while !self.is_closed() && !self.link.input.is_empty() {
            let head = self.link.head();
            if let (Some(Expect::Rcpt(id, _)), Phase::Ready) = (head, &self.phase)
                && self.pipeline.recipients_accepted(id, &mut self.link, now) > 0
            {
                self.follow(Flow::Continue, now);
                self.advance(now);
                continue;
            }
            let statuses = match head {
                Some(Expect::Greeting) if fault::is_tls(self.link.input.unfinished()) => {
                    return self.break_off(fault::mismatched, now);
                }
                Some(Expect::Handshake) => return self.injected(now),
                Some(head) => head.statuses(),
                None => Statuses::Read,
            };
            match self.link.input.next(statuses) {
                Ok(Some(code)) => {
                    self.reply(head, code, now);
                    // At once, and not after the last of them: events must not depend on how
                    // replies arrive.
                    self.advance(now);
                }
                Ok(None) => return,
                Err(fault) => {
                    let stage = self.stage();
                    self.break_off(|link| fault::malformed(&fault, stage, link), now);
                }
            }
        }
    }

    /// Most replies are read where they lie: only who needs more than the code makes a [`Reply`].
    fn reply(&mut self, head: Option<Expect>, code: Code, now: Instant) {
        self.link.replied(head, code, now);
        let Some(head) = head else {
            self.unasked(self.link.reply(code), now);
            return;
        };
        // Nothing depends on what answers QUIT: not even on whether QUIT had left by then.
        if head == Expect::Quit {
            self.close(self.ending(), now);
            return;
        }
        let refuses = || self.link.head_is_begun() && !code.is_positive();
        let is_due = self.link.head_is_sent() || (refuses() && self.pipeline.is_counted(head));
        if !is_due {
            self.early(head, self.link.reply(code), now);
            return;
        }
        self.link.answered(now);
        match self.phase {
            Phase::Handshake(_) => {
                // What a mechanism reads must reach it as it came: a short secret could well be a part
                // of it.
                let reply = match handshake::is_for_mechanism(code, head) {
                    true => self.link.input.reply(code),
                    false => self.link.reply(code),
                };
                self.handshake(Input::Reply(reply), now);
            }
            Phase::Ready | Phase::Ending(_) | Phase::Closed(_) => {
                let closing =
                    (code.number() == 421).then(|| self.refused(head, &self.link.reply(code)));
                let flow = self.pipeline.handle(head, code, &mut self.link, now);
                if self.pipeline.refuses_behind_message() {
                    self.progress.refuses_behind_message();
                }
                match closing {
                    Some(error) => self.close(Err(error), now),
                    None => self.follow(flow, now),
                }
            }
        }
    }

    fn handshake(&mut self, input: Input, now: Instant) {
        let state = match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Handshake(state) => state,
            other => {
                self.phase = other;
                return;
            }
        };
        match state.handle(input, &mut self.link, &mut self.progress, now) {
            Step::Next(state) => self.phase = Phase::Handshake(state),
            Step::Ready => self.ready(now),
            Step::Fail(error) => self.fail(error, now),
            Step::Broken(error) => self.close(Err(error), now),
        }
    }

    fn ready(&mut self, now: Instant) {
        let Some(session) = self.progress.session.clone() else {
            return;
        };
        let config = &self.link.config;
        let extensions = session.extensions();
        let lacks_tls = session.tls().is_none() && extensions.offers("STARTTLS");
        let lacks_login = session.auth().is_none() && extensions.offers("AUTH");
        let welcome = match lacks_tls || lacks_login {
            true => Welcome::Doubtful,
            false => Welcome::Sure,
        };
        let offers = Arc::new(Offers::new(&session, config));
        self.pipeline.ready(offers, config.behind_message, welcome);
        self.link.events.push_back(Event::Ready(session));
        self.advance(now);
    }

    fn follow(&mut self, flow: Flow, now: Instant) {
        match flow {
            Flow::Continue => self.pipeline.settle(&mut self.link),
            Flow::Close(error) => self.close(Err(error), now),
            Flow::Fail(error) => self.fail(error, now),
        }
    }

    #[inline]
    fn advance(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Ready) && !self.pipeline.is_silent(&self.link) {
            self.pipeline.advance(&mut self.link, now);
        }
    }

    /// A reply to something that was not sent to its end.
    fn early(&mut self, head: Expect, reply: Reply, now: Instant) {
        if let Expect::Body(id) = head
            && self.link.head_is_begun()
            && matches!(reply.code().class(), Class::Transient | Class::Permanent)
        {
            let error = self.refused(head, &reply);
            self.pipeline
                .refused_early(id, reply.code(), &mut self.link);
            self.close(Err(error), now);
            return;
        }
        let error = fault::early(head.stage(), reply, &self.link);
        self.close(Err(error), now);
    }

    /// A reply to nothing: servers announce so that they close an idle connection.
    fn unasked(&mut self, reply: Reply, now: Instant) {
        let error = fault::unasked(self.stage(), reply, &self.link);
        self.close(Err(error), now);
    }

    fn refused(&self, head: Expect, reply: &Reply) -> Error {
        let circumstances = self
            .progress
            .session
            .as_ref()
            .map(Circumstances::of)
            .unwrap_or_default();
        refusal(head.stage(), reply, circumstances).with_progress(self.link.progress())
    }

    /// Octets in clear where TLS is due.
    fn injected(&mut self, now: Instant) {
        self.link.heard_noise(now);
        let error = fault::injected(&self.link);
        self.close(Err(error), now);
    }

    /// What has come cannot be read as replies: it is shown, and the connection closed.
    fn break_off(&mut self, error: impl FnOnce(&Link) -> Error, now: Instant) {
        self.link.heard_noise(now);
        // Nothing depends on what answers QUIT.
        let result = match self.link.head() {
            Some(Expect::Quit) => self.ending(),
            Some(_) | None => Err(error(&self.link)),
        };
        self.close(result, now);
    }

    /// The transport is gone. After QUIT that is as good as its reply.
    fn lost(
        &mut self,
        (category, party): (Category, Party),
        message: String,
        cause: Option<TransportError>,
        now: Instant,
    ) {
        if self.is_closed() {
            return;
        }
        if self.link.head() == Some(Expect::Quit) {
            self.close(self.ending(), now);
            return;
        }
        // With TLS 1.3 a client is done before the server has judged its certificate.
        let fresh = self.replies_before_tls == Some(self.link.stats().replies)
            || self.link.head() == Some(Expect::Handshake);
        let by_tls = matches!(category, Category::ConnectionLost | Category::Tls);
        let (category, stage) = match fresh && by_tls {
            true => (Category::Tls, Stage::Handshake),
            false => (category, self.stage()),
        };
        let mut error = self.link.error(category, stage, party, message);
        if category == Category::Tls {
            let within = self.link.head() == Some(Expect::Handshake);
            error = error.with_evidence(Evidence::Tls(match within {
                true => TlsProblem::ClosedWithin,
                false => TlsProblem::ClosedAfter,
            }));
        }
        if let Some(cause) = cause {
            if let Some(hint) = cause.hint {
                error = error.with_hint(hint);
            }
            if let Some(source) = cause.source {
                error = error.with_source(source);
            }
        }
        self.close(Err(error), now);
    }

    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Handshake(Handshake::Credentials(_)) => Stage::Auth,
            Phase::Handshake(_) | Phase::Ready | Phase::Ending(_) | Phase::Closed(_) => {
                self.link.stage()
            }
        }
    }

    fn problem(&self) -> Option<SubmitProblem> {
        match (&self.phase, self.pipeline.quit) {
            (Phase::Closed(error) | Phase::Ending(error), _) => {
                Some(SubmitProblem::Closed(error.clone()))
            }
            (Phase::Handshake(_) | Phase::Ready, Quit::Wanted | Quit::Sent) => {
                Some(SubmitProblem::Closed(fault::told_to_quit(self.stage())))
            }
            (Phase::Handshake(_) | Phase::Ready, Quit::No) => None,
        }
    }

    /// The error with what the server has said of itself, for whoever has no session to look at.
    fn informed(&self, error: Error) -> Error {
        match &self.progress.session {
            Some(session) => {
                let offers = session.extensions().reply().cloned();
                error.with_server(session.greeting().clone(), offers)
            }
            None => error,
        }
    }

    /// It failed, but the server can be told in order.
    fn fail(&mut self, error: Error, now: Instant) {
        let error = self.informed(error);
        if !self.link.is_idle() {
            self.close(Err(error), now);
            return;
        }
        self.pipeline.close(&error, &mut self.link);
        self.phase = Phase::Ending(error);
        self.link.command(Command::Quit, Expect::Quit, now);
    }

    /// The result of a session whose QUIT is answered.
    fn ending(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Ending(error) => Err(error.clone()),
            Phase::Handshake(_) | Phase::Ready | Phase::Closed(_) => Ok(()),
        }
    }

    fn close(&mut self, result: Result<(), Error>, now: Instant) {
        let result = result.map_err(|error| self.informed(error));
        let error = match &result {
            Ok(()) => fault::told_to_quit(Stage::Quit),
            Err(error) => error.clone(),
        };
        // What was asked of the caller is void.
        self.link
            .events
            .retain(|event| !matches!(event, Event::StartTls | Event::CredentialsWanted { .. }));
        self.pipeline.close(&error, &mut self.link);
        self.link.shut();
        self.link.dialogue.note(now, || "closed".to_owned());
        self.link.events.push_back(Event::Closed(result));
        self.phase = Phase::Closed(error);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("stage", &self.stage())
            .field("closed", &self.is_closed())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Writes the streamed body that the server waits for. Once a piece breaks what was declared of the
/// body, the message is given up: the rest is ignored, and the verdicts say why.
#[derive(Debug)]
pub struct BodyWriter<'a> {
    connection: &'a mut Connection,
    id: TransactionId,
}

impl BodyWriter<'_> {
    /// The transaction whose body this is.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// Octets that may be written before the transport has taken more; 0 once it should take some.
    pub fn room(&self) -> usize {
        self.connection.pipeline.stream_room(&self.connection.link)
    }

    /// Takes the next piece; it is shared, not copied. A piece may exceed the room.
    pub fn write(&mut self, piece: Bytes, now: Instant) {
        let connection = &mut *self.connection;
        let Some((_, stream)) = connection.pipeline.stream() else {
            return;
        };
        match stream.write(&piece) {
            Ok(()) => connection.advance(now),
            Err(fault) => connection.give_up_body(fault.message(), now),
        }
    }

    /// The body is complete.
    pub fn finish(self, now: Instant) {
        let connection = self.connection;
        let Some((_, stream)) = connection.pipeline.stream() else {
            return;
        };
        match stream.finish() {
            Ok(()) => connection.advance(now),
            Err(fault) => connection.give_up_body(fault.message(), now),
        }
    }

    /// The body cannot be completed: the message is not sent. Behind DATA the connection ends with it;
    /// behind BDAT the session goes on.
    pub fn abandon(self, now: Instant) {
        if self.connection.pipeline.stream().is_some() {
            let message = "the source of the streamed message failed before its end";
            self.connection.give_up_body(message, now);
        }
    }
}

impl Connection {
    /// Nothing can end a message that has begun but its end, so the connection ends instead.
    fn give_up_body(&mut self, message: &str, now: Instant) {
        let error = self
            .link
            .error(Category::Usage, Stage::Body, Party::Caller, message);
        let flow = self.pipeline.give_up_stream(error, &mut self.link);
        self.follow(flow, now);
        self.advance(now);
    }
}
