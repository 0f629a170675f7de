//! What the handles and the driver of one connection have in common.

pub(super) mod asleep;
mod owner;
mod room;
mod woken;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::sync::Semaphore;

use super::config::Lessons;
use super::rounds::Rounds;
use crate::error::{Category, Error, Party, Stage};
use crate::proto::body::Content;
use crate::proto::connection::Connection;
use crate::proto::notice::Notice;
use crate::proto::session::{Session, TransportError, TransportErrorKind};
use crate::proto::transaction::{Body, Envelope, Outcome, SubmitProblem, TransactionId, Verdict};
use asleep::{Awake, Resident};
pub(super) use owner::Owner;
use room::PERMITS;
use woken::Woken;

/// The engine, and who waits for it. Wakers are called when the lock is free again, so that a woken
/// thread does not run into it.
pub(super) struct Shared {
    resident: Mutex<Resident>,
    /// Room for more transactions: see [`room`].
    room: Semaphore,
    peer: Option<SocketAddr>,
    pub(super) lessons: Arc<Lessons>,
}

/// The part of [`Shared`] that needs its lock.
pub(super) struct State {
    pub(super) connection: Connection,
    pub(super) life: Life,
    /// The driver's own waker: whoever gives the engine something to say calls it.
    pub(super) driver: Option<Waker>,
    pub(super) departure: Departure,
    /// Submitted transactions by ascending id.
    slots: VecDeque<Slot>,
    /// Unfinished transactions.
    unfinished: usize,
    /// Messages that may take several transactions, until their verdicts are taken, by
    /// ascending number. Boxed, since they are taken out and put back.
    rounds: VecDeque<Box<Rounds>>,
    next_rounds: u64,
    /// How many recipients the server was found to take in one transaction.
    found_limit: Option<usize>,
    leave: Leave,
    /// Transactions that the server has answered.
    answered: u64,
    /// The first message that had no answer when the connection ended.
    casualty: Option<Name>,
    /// Unfinished transactions whose body is streamed.
    streamed: usize,
    /// Who waits for the end of the connection.
    mourners: Vec<Waker>,
    pub(super) mood: Mood,
    woken: Woken,
}

/// Whether a state that has nothing to do may fall asleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Not yet: it is for the driver to say.
    Alert,
    Drowsy,
}

/// Where a connection is in its life.
pub(super) enum Life {
    /// Not ready yet; who waits for it.
    Opening(Option<Waker>),
    /// Transactions can go out.
    Ready(Session),
    /// Over.
    Closed(Result<(), Error>),
}

/// What the driver does when nobody needs the connection any longer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// It waits for the server's good-bye.
    Polite,
    /// It closes as soon as all transactions are finished and everything is written.
    WhenIdle,
    /// It closes at once.
    AtOnce,
}

/// Whether the session is to end once everything submitted so far is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leave {
    No,
    Wanted,
    Done,
}

/// How a transaction stands for the one who waits for it.
pub(super) enum Standing {
    Finished(Outcome),
    /// The engine wants so many octets of its streamed body.
    Room,
}

/// By which a connection knows a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Alone(TransactionId),
    /// In several transactions, and its number among those.
    InRounds(u64),
}

struct Slot {
    id: TransactionId,
    progress: Progress,
    kind: Kind,
    permits: u32,
    notices: Vec<Notice>,
}

enum Progress {
    Waiting(Option<Waker>),
    /// It is part of the message in rounds of this number.
    Part(u64),
    /// Nobody waits for it any longer.
    Abandoned,
    Finished(Vec<Verdict>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Streamed,
}

impl Shared {
    pub(super) fn new(
        connection: Connection,
        peer: Option<SocketAddr>,
        lessons: Arc<Lessons>,
    ) -> Self {
        Self {
            resident: Mutex::new(Resident::new(connection)),
            room: Semaphore::new(PERMITS as usize),
            peer,
            lessons,
        }
    }

    pub(super) fn lock(&self) -> Awake<'_> {
        Resident::lock(&self.resident, &self.lessons.spares)
    }

    /// Does something with the state, then wakes the driver, if there is something for it to do.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let concerned = state.departure != Departure::Polite
            || state.connection.has_unsent()
            || state.connection.has_events();
        let driver = match concerned {
            true => state.driver.clone(),
            false => None,
        };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// Ends the connection at once.
    pub(super) fn abort(&self) {
        let cause = TransportError::new(
            TransportErrorKind::Lost,
            "this side ended the connection before the dialogue was over",
        );
        self.change(|state| state.connection.failed(cause, now()));
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

impl State {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            life: Life::Opening(None),
            driver: None,
            departure: Departure::Polite,
            slots: VecDeque::new(),
            unfinished: 0,
            rounds: VecDeque::new(),
            next_rounds: 0,
            found_limit: None,
            leave: Leave::No,
            answered: 0,
            casualty: None,
            streamed: 0,
            mourners: Vec::new(),
            mood: Mood::Alert,
            woken: Woken::default(),
        }
    }

    /// Queues a message, or a probe where there is no body.
    ///
    /// # Errors
    /// One verdict for each recipient, or a single one where there is no recipient.
    pub(super) fn submit(
        &mut self,
        envelope: Envelope,
        body: Option<Body>,
        permits: u32,
        now: Instant,
    ) -> Result<TransactionId, Vec<Verdict>> {
        match self.leave {
            Leave::No => self.enqueue(envelope, body, permits, now),
            Leave::Wanted | Leave::Done => Err(not_sent(&envelope, &closed_error())),
        }
    }

    /// Queues one transaction of a message in rounds.
    ///
    /// # Errors
    /// As of [`Self::submit`].
    pub(super) fn submit_part(
        &mut self,
        number: u64,
        (envelope, body): (Envelope, Body),
        permits: u32,
        now: Instant,
    ) -> Result<TransactionId, Vec<Verdict>> {
        let id = self.enqueue(envelope, Some(body), permits, now)?;
        if let Some(slot) = self.slots.back_mut() {
            slot.progress = Progress::Part(number);
        }
        Ok(id)
    }

    /// Queues a message in as many transactions as it takes. Returns its number.
    ///
    /// # Errors
    /// As of [`Self::submit`].
    pub(super) fn submit_in_rounds(
        &mut self,
        envelope: Envelope,
        content: Content,
        permits: u32,
        now: Instant,
    ) -> Result<u64, Vec<Verdict>> {
        match self.leave {
            Leave::No => {}
            Leave::Wanted | Leave::Done => return Err(not_sent(&envelope, &closed_error())),
        }
        let number = self.next_rounds;
        self.next_rounds += 1;
        let rounds = Rounds::begin(self, number, (envelope, content), permits, now)?;
        self.rounds.push_back(Box::new(rounds));
        Ok(number)
    }

    fn enqueue(
        &mut self,
        envelope: Envelope,
        body: Option<Body>,
        permits: u32,
        now: Instant,
    ) -> Result<TransactionId, Vec<Verdict>> {
        let kind = match &body {
            Some(Body::Streamed(_)) => Kind::Streamed,
            Some(Body::Whole(_)) | None => Kind::Whole,
        };
        let submitted = match body {
            Some(body) => self.connection.submit(envelope, body, now),
            None => self.connection.probe(envelope, now),
        };
        let id = submitted
            .map_err(|refused| not_sent(&refused.envelope, &submit_error(refused.problem)))?;
        self.mood = Mood::Alert;
        self.unfinished += 1;
        self.streamed += usize::from(kind == Kind::Streamed);
        self.slots.push_back(Slot {
            id,
            progress: Progress::Waiting(None),
            kind,
            permits,
            notices: Vec::new(),
        });
        Ok(id)
    }

    /// Whether it takes new messages: nobody has ended it, and nobody is about to.
    pub(super) fn takes_messages(&self) -> bool {
        match self.leave {
            Leave::No => self.is_open(),
            Leave::Wanted | Leave::Done => false,
        }
    }

    /// Whether the engine would take one transaction more.
    pub(super) fn is_open(&self) -> bool {
        match self.life {
            Life::Opening(_) | Life::Ready(_) => self.connection.is_open(),
            Life::Closed(_) => false,
        }
    }

    /// Transactions that the server has answered, one way or the other, and not by closing.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// The first message that had no answer when the connection ended.
    pub(super) fn casualty(&self) -> Option<Name> {
        self.casualty
    }

    /// How many recipients a transaction may have, as far as the server has said or shown it.
    pub(super) fn recipient_limit(&self) -> Option<usize> {
        let stated = self.connection.session().and_then(|session| {
            let limit = session.extensions().limits().recipients?;
            usize::try_from(limit.get()).ok()
        });
        stated.into_iter().chain(self.found_limit).min()
    }

    /// The limit that the server has shown.
    pub(super) fn found_limit(&self) -> Option<usize> {
        self.found_limit
    }

    /// The server was found to take no more recipients than so many.
    pub(super) fn note_limit(&mut self, limit: usize) {
        self.found_limit = Some(self.found_limit.map_or(limit, |found| found.min(limit)));
    }

    /// Ends the session once everything submitted so far is done.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.leave == Leave::No {
            self.leave = Leave::Wanted;
        }
        self.leave_if_done(now);
    }

    /// QUIT waits while a message may need another round, for the engine takes none behind it.
    pub(super) fn leave_if_done(&mut self, now: Instant) {
        let waits =
            || self.connection.may_defer() || self.rounds.iter().any(|rounds| rounds.has_put_off());
        if self.leave == Leave::Wanted && !waits() {
            self.leave = Leave::Done;
            self.connection.quit(now);
        }
    }

    /// Whether the transaction is finished; its verdicts can be taken once.
    pub(super) fn poll_finished(&mut self, id: TransactionId, cx: &Context<'_>) -> Poll<Outcome> {
        let Some(index) = self.position(id) else {
            return Poll::Pending;
        };
        match &mut self.slots[index].progress {
            Progress::Waiting(waker) => {
                register(waker, cx);
                Poll::Pending
            }
            Progress::Part(_) | Progress::Abandoned => Poll::Pending,
            Progress::Finished(verdicts) => {
                let verdicts = std::mem::take(verdicts);
                let notices = std::mem::take(&mut self.slots[index].notices);
                self.slots.remove(index);
                let outcome = Outcome::new(verdicts).with_notices(notices);
                Poll::Ready(match self.connection.session() {
                    Some(session) => outcome.in_session(session),
                    None => outcome,
                })
            }
        }
    }

    /// Whether the message in rounds is finished; its verdicts can be taken once.
    pub(super) fn poll_rounds(&mut self, number: u64, cx: &Context<'_>) -> Poll<Outcome> {
        let Ok(index) = self.rounds_position(number) else {
            return Poll::Pending;
        };
        if !self.rounds[index].is_finished() {
            self.rounds[index].register(cx);
            return Poll::Pending;
        }
        let Some(rounds) = self.rounds.remove(index) else {
            return Poll::Pending;
        };
        let outcome = rounds.into_outcome();
        Poll::Ready(match self.connection.session() {
            Some(session) => outcome.in_session(session),
            None => outcome,
        })
    }

    /// As [`Self::poll_finished`], but also ready when its streamed body can go on by so many octets.
    pub(super) fn poll_standing(
        &mut self,
        id: TransactionId,
        room: usize,
        cx: &Context<'_>,
    ) -> Poll<Standing> {
        if let Poll::Ready(outcome) = self.poll_finished(id, cx) {
            return Poll::Ready(Standing::Finished(outcome));
        }
        match self.connection.body_writer() {
            Some(writer) if writer.id() == id && writer.room() >= room => {
                Poll::Ready(Standing::Room)
            }
            Some(_) | None => Poll::Pending,
        }
    }

    /// Nobody waits for this transaction any longer: it is withdrawn as far as possible.
    pub(super) fn abandon(&mut self, id: TransactionId, now: Instant) {
        let Some(index) = self.position(id) else {
            return;
        };
        match &mut self.slots[index].progress {
            waiting @ (Progress::Waiting(_) | Progress::Part(_)) => {
                *waiting = Progress::Abandoned;
                self.connection.cancel(id, now);
            }
            Progress::Abandoned => {}
            Progress::Finished(_) => {
                self.slots.remove(index);
            }
        }
    }

    /// Nobody waits for this message in rounds any longer.
    pub(super) fn abandon_rounds(&mut self, number: u64, now: Instant) {
        let Ok(index) = self.rounds_position(number) else {
            return;
        };
        let Some(rounds) = self.rounds.remove(index) else {
            return;
        };
        for id in rounds.unfinished() {
            self.abandon(id, now);
        }
        self.leave_if_done(now);
    }

    /// Withdraws what is not finished; who waits for it still gets its verdicts.
    pub(super) fn withdraw(&mut self, now: Instant) {
        for rounds in &mut self.rounds {
            rounds.withdraw();
        }
        for slot in &self.slots {
            if let Progress::Waiting(_) | Progress::Part(_) = slot.progress {
                self.connection.cancel(slot.id, now);
            }
        }
    }

    /// Keeps what the engine says of a transaction, until its verdicts are there.
    pub(super) fn notice(&mut self, id: TransactionId, notice: Notice) {
        if let Some(index) = self.position(id) {
            self.slots[index].notices.push(notice);
        }
    }

    /// Takes the engine's verdicts. Returns the permits that are free again.
    pub(super) fn finish(
        &mut self,
        id: TransactionId,
        verdicts: Vec<Verdict>,
        now: Instant,
    ) -> u32 {
        let Some(index) = self.position(id) else {
            return 0;
        };
        let cut_off = self.casualty.is_none()
            && !self.connection.is_open()
            && !verdicts.iter().all(is_answer);
        let slot = &mut self.slots[index];
        if cut_off {
            self.casualty = Some(match slot.progress {
                Progress::Part(number) => Name::InRounds(number),
                Progress::Waiting(_) | Progress::Abandoned | Progress::Finished(_) => {
                    Name::Alone(id)
                }
            });
        }
        self.unfinished = self.unfinished.saturating_sub(1);
        self.answered += u64::from(verdicts.iter().any(is_answer));
        if slot.kind == Kind::Streamed {
            self.streamed = self.streamed.saturating_sub(1);
        }
        let permits = std::mem::take(&mut slot.permits);
        match std::mem::replace(&mut slot.progress, Progress::Abandoned) {
            Progress::Waiting(waker) => {
                slot.progress = Progress::Finished(verdicts);
                self.woken.extend(waker);
            }
            Progress::Part(number) => {
                let notices = std::mem::take(&mut slot.notices);
                self.slots.remove(index);
                self.finish_part(number, id, (verdicts, notices), now);
            }
            Progress::Abandoned => {
                self.slots.remove(index);
            }
            before @ Progress::Finished(_) => slot.progress = before,
        }
        permits
    }

    fn finish_part(
        &mut self,
        number: u64,
        id: TransactionId,
        outcome: (Vec<Verdict>, Vec<Notice>),
        now: Instant,
    ) {
        let Ok(index) = self.rounds_position(number) else {
            return;
        };
        let Some(mut rounds) = self.rounds.remove(index) else {
            return;
        };
        rounds.take(self, id, outcome, now);
        if rounds.is_finished() {
            self.woken.extend(rounds.take_waker());
        }
        self.rounds.insert(index, rounds);
    }

    /// Wakes whoever writes the streamed body that the engine wants now.
    pub(super) fn wake_writer(&mut self) {
        if self.streamed == 0 {
            return;
        }
        let Some(id) = self.connection.body_writer().map(|writer| writer.id()) else {
            return;
        };
        if let Some(index) = self.position(id)
            && let Progress::Waiting(waker) = &mut self.slots[index].progress
        {
            self.woken.extend(waker.take());
        }
    }

    /// The session has begun.
    pub(super) fn ready(&mut self) {
        let Some(session) = self.connection.session().cloned() else {
            return;
        };
        if let Life::Opening(waker) = std::mem::replace(&mut self.life, Life::Ready(session)) {
            self.woken.extend(waker);
        }
    }

    /// The connection is over. Returns the permits that are free again.
    pub(super) fn close(&mut self, result: Result<(), Error>, now: Instant) -> u32 {
        let error = match &result {
            Ok(()) => closed_error(),
            Err(error) => error.clone(),
        };
        if let Life::Opening(waker) = std::mem::replace(&mut self.life, Life::Closed(result)) {
            self.woken.extend(waker);
        }
        // The engine finishes every transaction before it closes; this is for a driver that leaves
        // without it.
        let left: Vec<TransactionId> = self
            .slots
            .iter()
            .filter(|slot| !matches!(slot.progress, Progress::Finished(_)))
            .map(|slot| slot.id)
            .collect();
        let mut permits = 0;
        for id in left {
            permits += self.finish(id, vec![Verdict::NotSent(error.clone())], now);
        }
        self.woken.extend(self.mourners.drain(..));
        permits
    }

    /// How the connection ended, once it has.
    pub(super) fn poll_closed(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        match &self.life {
            Life::Closed(result) => Poll::Ready(result.clone()),
            Life::Opening(_) | Life::Ready(_) => {
                if !self
                    .mourners
                    .iter()
                    .any(|waker| waker.will_wake(cx.waker()))
                {
                    self.mourners.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Remembers the driver's waker.
    pub(super) fn register_driver(&mut self, cx: &Context<'_>) {
        register(&mut self.driver, cx);
    }

    /// Whether every submitted transaction is finished.
    pub(super) fn is_idle(&self) -> bool {
        self.unfinished == 0
    }

    /// Who is to be woken when the lock is free.
    pub(super) fn take_woken(&mut self) -> Woken {
        std::mem::take(&mut self.woken)
    }

    fn rounds_position(&self, number: u64) -> Result<usize, usize> {
        self.rounds
            .binary_search_by_key(&number, |rounds| rounds.number())
    }

    fn position(&self, id: TransactionId) -> Option<usize> {
        match self.slots.front() {
            // Where none between them is gone, the place is known.
            Some(front) => {
                let place = usize::try_from(id.0.checked_sub(front.id.0)?).ok()?;
                match self.slots.get(place) {
                    Some(slot) if slot.id == id => Some(place),
                    Some(_) | None => self.slots.binary_search_by_key(&id, |slot| slot.id).ok(),
                }
            }
            None => None,
        }
    }
}

/// The time as tokio tells it, so that a test can own the clock.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(super) fn closed_error() -> Error {
    Error::new(
        Category::ConnectionLost,
        Stage::Quit,
        Party::Caller,
        "the connection was closed by this side",
    )
}

fn submit_error(problem: SubmitProblem) -> Error {
    match problem {
        SubmitProblem::NoRecipients => Error::new(
            Category::Usage,
            Stage::Rcpt,
            Party::Caller,
            "the envelope has no recipient",
        ),
        SubmitProblem::Closed(error) => error,
    }
}

/// A verdict for each recipient, or a single one where there is none.
fn not_sent(envelope: &Envelope, error: &Error) -> Vec<Verdict> {
    vec![Verdict::NotSent(error.clone()); envelope.recipients().len().max(1)]
}

/// Whether the server has had its say on the message: to close the session (RFC 5321 §3.8) says
/// nothing of it.
fn is_answer(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Accepted(_) | Verdict::Deferred(_) => true,
        Verdict::Refused { reply, .. } => reply.code().number() != 421,
        Verdict::NotSent(_) | Verdict::InDoubt(_) => false,
    }
}

pub(super) fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}
