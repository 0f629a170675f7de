//! The one future that moves octets between the engine and a stream.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;
use tokio::time::Sleep;

use super::config::{ClientConfig, CredentialSource, CredentialsFuture};
use super::milestone::{Milestone, Watcher};
use super::resolve::shown;
use super::secure::Starter;
use super::shared::{Departure, Life, Mood, Owner, Shared, State, now};
use super::trace::Trace;
use super::transport::{Heard, Transport, lost};
use crate::error::{Category, Error, Party, Stage};
use crate::proto::Event;
use crate::proto::config::{Context as EngineContext, Security};
use crate::proto::connection::Connection;
use crate::proto::dialogue::Observer;
use crate::proto::session::{TransportError, TransportErrorKind};

/// Drives one connection until it is over; it resolves when the stream is closed.
///
/// Dropping it ends the connection: whatever is not finished gets its verdict at once.
///
/// A poll takes microseconds, but for one of a log-in by SCRAM: that counts as many iterations as the
/// server asks for ([`Limits::scram_iterations`](crate::proto::Limits::scram_iterations)), with the
/// connection locked.
#[must_use = "a connection does nothing unless its driver is polled"]
pub struct Driver<S> {
    shared: Arc<Shared>,
    wire: Wire<S>,
}

/// The driver's own part: what nobody else touches.
struct Wire<S> {
    transport: Transport<S>,
    reading: Reading,
    writing: Writing,
    timer: Timer,
    /// When there was nothing to do last.
    rested_at: Option<Instant>,
    /// Until the session is ready.
    opening: Option<Box<Opening>>,
    trace: Trace,
}

/// What is needed on the way to a session that can send.
struct Opening {
    starter: Option<Starter>,
    source: Option<Arc<dyn CredentialSource>>,
    asked: Option<CredentialsFuture>,
    watcher: Option<Arc<dyn Watcher>>,
}

/// The addresses of a TCP connection, where they are known.
#[derive(Default)]
pub(super) struct Endpoints {
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Open,
    /// Nothing more has come in this turn, and the stream will wake the driver when it does.
    Dry,
    /// The peer has closed its side, or reading failed.
    Over,
}

enum Writing {
    Idle,
    /// The stream may hold octets back.
    Unflushed,
    /// Nothing can be written any more; what the peer said before is still read.
    Failed(io::Error),
    Over,
}

/// Whether a step changed anything, so that another turn is due.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Progress,
    Nothing,
}

/// Whether the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    On,
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// A driver for a connected stream, and what all its handles hold.
    ///
    /// # Errors
    /// A system that gives no random octets.
    pub(super) fn new(
        stream: S,
        config: &ClientConfig,
        starter: Option<Starter>,
        endpoints: Endpoints,
        observer: Option<Box<dyn Observer + Send>>,
    ) -> Result<(Arc<Owner>, Self), Error> {
        let context = EngineContext::new(endpoints.local.map(|local| local.ip()), entropy()?);
        let session = config.next_session();
        let security = session.security;
        let mut connection = Connection::new(session, context, now());
        if let Some(observer) = observer {
            connection.observe(observer);
        }
        let mut wire = Wire {
            transport: Transport::Clear(stream),
            reading: Reading::Open,
            writing: Writing::Idle,
            timer: Timer::default(),
            rested_at: None,
            opening: Some(Box::new(Opening {
                starter,
                source: config.credentials.clone(),
                asked: None,
                watcher: config.watcher.clone(),
            })),
            trace: Trace::new(shown(&config.host)),
        };
        match security {
            Security::Implicit => wire.start_tls(&mut connection, now()),
            Security::StartTls | Security::Opportunistic | Security::Plaintext => {}
        }
        let shared = Arc::new(Shared::new(connection, endpoints.peer, config.lessons()));
        let owner = Arc::new(Owner {
            shared: Arc::clone(&shared),
        });
        Ok((owner, Self { shared, wire }))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, wire } = self.get_mut();
        let mut state = shared.lock();
        if matches!(state.life, Life::Closed(_)) {
            return Poll::Ready(());
        }
        state.register_driver(cx);
        let turn = wire.turn(shared, &mut state, cx);
        state.wake_writer();
        let woken = state.take_woken();
        let opened = match state.life {
            Life::Ready(_) => wire.opening.take(),
            Life::Opening(_) | Life::Closed(_) => None,
        };
        drop(state);
        // Its parts are the caller's, and may look at the connection when they go.
        drop(opened);
        woken.wake();
        turn
    }
}

impl<S> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if matches!(state.life, Life::Closed(_)) {
            return;
        }
        let cause = TransportError::new(
            TransportErrorKind::Lost,
            "the connection's driver was dropped: its runtime has shut down, or its task was ended",
        );
        let now = now();
        state.connection.failed(cause, now);
        let mut result = Ok(());
        while let Some(event) = state.connection.poll_event() {
            match event {
                Event::Finished { id, recipients } => {
                    state.finish(id, recipients, now);
                }
                Event::Noticed { id, notice } => state.notice(id, notice),
                Event::Closed(closed) => result = closed,
                Event::Reached { .. }
                | Event::StartTls
                | Event::CredentialsWanted { .. }
                | Event::Ready(_)
                | Event::Recipient { .. } => {}
            }
        }
        state.close(result, now);
        self.shared.close_room();
        let woken = state.take_woken();
        drop(state);
        woken.wake();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Reads, hands out what came of it, writes, and looks at the clock, until there is nothing
    /// left to do.
    fn turn(&mut self, shared: &Shared, state: &mut State, cx: &mut Context<'_>) -> Poll<()> {
        let now = now();
        if state.departure == Departure::AtOnce {
            return self.depart(shared, state, cx).into();
        }
        if self.reading == Reading::Dry {
            self.reading = Reading::Open;
        }
        for _ in 0..ROUNDS {
            let mut step = self.handshake(state, now, cx);
            step = step.or(self.read(state, now, cx));
            step = step.or(self.ask(state, now, cx));
            let (events, course) = self.events(shared, state, now, cx);
            step = step.or(events);
            if course == Course::Over {
                return Poll::Ready(());
            }
            state.leave_if_done(now);
            step = step.or(self.write(state, now, cx));
            if step == Step::Nothing && self.clock(state, now, cx) == Step::Nothing {
                return self.depart(shared, state, cx).into();
            }
        }
        // Others have a turn before this connection goes on.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn handshake(&mut self, state: &mut State, now: Instant, cx: &mut Context<'_>) -> Step {
        match self.transport.poll_handshake(cx) {
            Poll::Pending => return Step::Nothing,
            Poll::Ready(Ok(session)) => {
                self.reached(Milestone::Secured(&session));
                state.connection.tls_established(session, now);
                // The handshake's last octets.
                self.writing = Writing::Unflushed;
            }
            Poll::Ready(Err(error)) => state.connection.failed(error, now),
        }
        self.reading = Reading::Open;
        Step::Progress
    }

    fn read(&mut self, state: &mut State, now: Instant, cx: &mut Context<'_>) -> Step {
        match self.reading {
            Reading::Open => {}
            Reading::Dry | Reading::Over => return self.silence(state, now),
        }
        match self.transport.read(&mut state.connection, cx, now) {
            Heard::Octets(0) => {
                self.reading = Reading::Dry;
                return self.silence(state, now);
            }
            Heard::Octets(_) => self.reading = Reading::Dry,
            Heard::More => {}
            Heard::End => {
                self.reading = Reading::Over;
                state.connection.receive_eof(now);
            }
            Heard::Failure(error) => {
                self.reading = Reading::Over;
                state.connection.failed(error, now);
            }
        }
        Step::Progress
    }

    /// Nothing more has come: if writing failed before, that is the end now.
    fn silence(&mut self, state: &mut State, now: Instant) -> Step {
        match std::mem::replace(&mut self.writing, Writing::Over) {
            Writing::Failed(error) => {
                state.connection.failed(lost(error), now);
                Step::Progress
            }
            before @ (Writing::Idle | Writing::Unflushed | Writing::Over) => {
                self.writing = before;
                Step::Nothing
            }
        }
    }

    /// Waits for credentials that the session has asked for.
    fn ask(&mut self, state: &mut State, now: Instant, cx: &mut Context<'_>) -> Step {
        let Some(asked) = self.opening.as_mut().map(|opening| &mut opening.asked) else {
            return Step::Nothing;
        };
        match asked.as_mut().map(|future| future.as_mut().poll(cx)) {
            None | Some(Poll::Pending) => Step::Nothing,
            Some(Poll::Ready(credentials)) => {
                *asked = None;
                state.connection.credentials(credentials, now);
                Step::Progress
            }
        }
    }

    fn events(
        &mut self,
        shared: &Shared,
        state: &mut State,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> (Step, Course) {
        let mut step = Step::Nothing;
        while let Some(event) = state.connection.poll_event() {
            step = Step::Progress;
            match event {
                Event::Finished { id, recipients } => {
                    let permits = state.finish(id, recipients, now);
                    shared.give_room(permits);
                }
                Event::Noticed { id, notice } => state.notice(id, notice),
                Event::Recipient { .. } => {}
                Event::Reached { stage, reply } => {
                    self.trace.reached(stage, reply.code().number());
                    self.reached(Milestone::Granted(stage, &reply));
                }
                Event::StartTls => self.start_tls(&mut state.connection, now),
                Event::CredentialsWanted {
                    mechanism,
                    previous,
                } => match &mut self.opening {
                    Some(opening) if let Some(source) = &opening.source => {
                        opening.asked = Some(source.credentials(mechanism, previous));
                    }
                    Some(_) | None => state.connection.credentials(None, now),
                },
                Event::Ready(_) => {
                    self.trace.ready();
                    shared.lessons.liken(&mut state.connection);
                    state.ready();
                }
                Event::Closed(result) => {
                    match &result {
                        Ok(()) => self.transport.close(cx),
                        Err(_) => self.transport.abort(),
                    }
                    self.finish(shared, state, result);
                    return (step, Course::Over);
                }
            }
        }
        (step, Course::On)
    }

    /// Tells the watcher, by a clock that is read anew: a handshake takes time within a turn.
    fn reached(&self, milestone: Milestone<'_>) {
        let opening = self.opening.as_deref();
        if let Some(watcher) = opening.and_then(|opening| opening.watcher.as_ref()) {
            watcher.reached(milestone, now());
        }
    }

    fn start_tls(&mut self, connection: &mut Connection, now: Instant) {
        let starter = self
            .opening
            .as_mut()
            .and_then(|opening| opening.starter.take());
        if let Err(error) = self.transport.start_tls(starter) {
            connection.failed(error, now);
        }
    }

    /// One vectored write, and a flush behind it.
    fn write(&mut self, state: &mut State, now: Instant, cx: &mut Context<'_>) -> Step {
        if matches!(self.writing, Writing::Failed(_) | Writing::Over) {
            return Step::Nothing;
        }
        let written = match self.transport.poll_write(&mut state.connection, cx, now) {
            Poll::Ready(Ok(0)) | Poll::Pending => Step::Nothing,
            Poll::Ready(Ok(_)) => {
                self.writing = Writing::Unflushed;
                Step::Progress
            }
            Poll::Ready(Err(error)) => return self.cannot_write(error),
        };
        if let Writing::Unflushed = self.writing {
            match self.transport.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.writing = Writing::Idle,
                Poll::Ready(Err(error)) => return self.cannot_write(error),
                Poll::Pending => {}
            }
        }
        written
    }

    /// Remembers why, and has another read: the server may have said why it closed.
    fn cannot_write(&mut self, error: io::Error) -> Step {
        self.writing = Writing::Failed(error);
        if self.reading == Reading::Dry {
            self.reading = Reading::Open;
        }
        Step::Progress
    }

    fn clock(&mut self, state: &mut State, now: Instant, cx: &mut Context<'_>) -> Step {
        let Some(deadline) = state.connection.poll_timeout() else {
            self.rest(state, now, cx);
            return Step::Nothing;
        };
        if self.timer.poll(deadline, now, cx).is_pending() {
            return Step::Nothing;
        }
        state.connection.handle_timeout(deadline.max(now));
        Step::Progress
    }

    /// Nothing is waited for. A connection that has sent a message twice within a short time may well
    /// go on so: it stays awake until its timer has run down for nothing. Any other falls asleep.
    fn rest(&mut self, state: &mut State, now: Instant, cx: &mut Context<'_>) {
        if !state.is_idle() {
            return;
        }
        let ran_down = self.timer.has_run_down(now);
        if ran_down {
            self.timer = Timer::default();
        }
        if state.mood == Mood::Drowsy {
            return;
        }
        let before = self.rested_at.replace(now);
        let again = before.is_some_and(|before| now < before + SHORT) && state.answered() > 1;
        if ran_down || !again {
            // Before the first message the timer stays: mostly that follows at once, and would have
            // to make another.
            if state.answered() > 0 {
                self.timer = Timer::default();
            }
            state.mood = Mood::Drowsy;
        } else {
            // It is not due yet, and wakes this task when it is.
            let _ = self.timer.poll(now + SHORT, now, cx);
        }
    }

    /// Leaves, where nobody needs the connection any longer.
    fn depart(&mut self, shared: &Shared, state: &mut State, cx: &mut Context<'_>) -> Course {
        let leave = match state.departure {
            Departure::Polite => false,
            Departure::WhenIdle => {
                let silent = state.connection.transmit(&mut [io::IoSlice::new(&[])]) == 0;
                state.is_idle() && silent && matches!(self.writing, Writing::Idle)
            }
            Departure::AtOnce => true,
        };
        if !leave {
            return Course::On;
        }
        match state.departure {
            Departure::WhenIdle => self.transport.close(cx),
            Departure::Polite | Departure::AtOnce => self.transport.abort(),
        }
        self.finish(shared, state, Ok(()));
        Course::Over
    }

    fn finish(&self, shared: &Shared, state: &mut State, result: Result<(), Error>) {
        self.trace.closed(&result);
        if let Some(session) = state.connection.session()
            && session.refuses_behind_message()
        {
            shared.lessons.note_refusal_behind_message();
        }
        state.close(result, now());
        shared.close_room();
    }
}

impl From<Course> for Poll<()> {
    fn from(course: Course) -> Self {
        match course {
            Course::On => Self::Pending,
            Course::Over => Self::Ready(()),
        }
    }
}

impl Step {
    fn or(self, other: Self) -> Self {
        match self {
            Self::Progress => Self::Progress,
            Self::Nothing => other,
        }
    }
}

/// One timer, moved only when a deadline comes earlier: the usual one moves away with every reply,
/// and costs nothing.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Who is woken when it has run down.
    waker: Option<Waker>,
}

impl Timer {
    /// Whether the time to which it was set last has come.
    fn has_run_down(&self, now: Instant) -> bool {
        let sleep = self.sleep.as_ref();
        sleep.is_some_and(|sleep| sleep.deadline().into_std() <= now)
    }

    /// Whether the deadline has come.
    fn poll(&mut self, deadline: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        let deadline = tokio::time::Instant::from_std(deadline);
        // The first deadline is seldom the shortest of a session; to move the timer costs more than
        // to be woken once for nothing.
        let first = deadline.min(tokio::time::Instant::from_std(now + FIRST));
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(first)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
            self.waker = None;
        }
        let armed = self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()));
        if armed && sleep.deadline().into_std() > now {
            return Poll::Pending;
        }
        // A task without budget left would be told to come again, and the timer know nothing of it.
        let mut poll = |sleep: &mut Pin<Box<Sleep>>| pin!(unconstrained(sleep)).poll(cx);
        // An earlier deadline than is due: once it has passed, the timer moves on to the real one.
        while poll(sleep).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn entropy() -> Result<[u8; 32], Error> {
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(|error| {
        Error::new(
            Category::Temporary,
            Stage::Connect,
            Party::Caller,
            format!("the system gave no random octets: {error}"),
        )
    })?;
    Ok(entropy)
}

/// The longest time to which a timer is set first.
const FIRST: Duration = Duration::from_secs(10);

/// How long a connection stays awake of which more messages are expected.
const SHORT: Duration = Duration::from_secs(1);

/// Rounds of one poll, before other tasks have their turn.
const ROUNDS: usize = 8;
