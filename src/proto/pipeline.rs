//! Transactions: the sender that queues commands as far ahead as the server allows, and the replies
//! that come back for them (RFC 5321 §3.3, RFC 2920 §3.1).
//!
//! ```text
//! sender:   Begin ─▶ Recipients ─▶ Commit ─▶ AwaitData ─354─▶ Body ─▶ Ended ─▶ the next one
//!                        └──────────────┴────── refused, cancelled ──▶ Ended
//! replies:  MAIL, RCPT…, DATA, the message: each finds its transaction by id, whatever the sender
//!           is at by then
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use super::body::Fill;
use super::command::Command;
use super::config::{BehindMessage, Pipelining};
use super::event::Event;
use super::fault;
use super::link::{Expect, Link};
use super::ongoing::{Fate, Opened, Place, Slot, Step, Transaction, Work};
use super::preflight::{self, Offers};
use super::reply::{Class, Reply};
use super::stream::StreamState;
use super::transaction::{Body, Commitment, Envelope, TransactionId, Verdict};
use crate::error::{Category, Error, Party, Stage};

/// The transactions of a connection, oldest first.
pub(crate) struct Pipeline {
    transactions: VecDeque<Transaction>,
    next_id: u64,
    /// The transaction that the sender is at.
    cursor: u64,
    offers: Offers,
    behind: BehindMessage,
    /// Whether the server holds an open transaction that nothing will complete.
    leftover: Leftover,
    pub(crate) quit: Quit,
}

/// Whether QUIT is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quit {
    No,
    Wanted,
    Sent,
}

/// What the server keeps of a transaction that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leftover {
    Nothing,
    /// RSET is due before the next MAIL.
    Envelope,
}

/// What a reply means for the connection.
pub(crate) enum Flow {
    Continue,
    /// It cannot go on, and nothing more may be sent.
    Close(Error),
    /// It cannot go on, but can end in order.
    Fail(Error),
}

impl Pipeline {
    pub(crate) fn new() -> Self {
        Self {
            transactions: VecDeque::new(),
            next_id: 0,
            cursor: 0,
            offers: Offers::default(),
            behind: BehindMessage::Allowed,
            leftover: Leftover::Nothing,
            quit: Quit::No,
        }
    }

    /// The session is ready: this is what the server offers.
    pub(crate) fn ready(&mut self, offers: Offers, behind: BehindMessage) {
        self.offers = offers;
        self.behind = behind;
    }

    /// Queues a message.
    pub(crate) fn submit(&mut self, envelope: Envelope, body: Body) -> TransactionId {
        self.push(envelope, Work::Send(body))
    }

    /// Queues a probe.
    pub(crate) fn probe(&mut self, envelope: Envelope) -> TransactionId {
        self.push(envelope, Work::Probe)
    }

    fn push(&mut self, envelope: Envelope, work: Work) -> TransactionId {
        let id = TransactionId(self.next_id);
        self.next_id += 1;
        let mut slots = Vec::with_capacity(envelope.recipients().len());
        slots.resize_with(envelope.recipients().len(), || Slot::Waiting);
        self.transactions.push_back(Transaction {
            id,
            envelope,
            work,
            step: Step::Begin,
            fate: Fate::Open,
            slots,
            accepted: 0,
            unanswered: 0,
            outstanding: 0,
            place: Place::Clear,
            opened: Opened::No,
        });
        id
    }

    /// Whether the server was found to refuse what begins behind an unanswered message.
    pub(crate) fn refuses_behind_message(&self) -> bool {
        self.behind == BehindMessage::Wait
    }

    /// Queues all that may be queued now.
    pub(crate) fn advance(&mut self, link: &mut Link, now: Instant) {
        while self.may_speak(link) && self.advance_once(link, now) == Sender::Spoke {}
    }

    /// The state of the streamed body that the server waits for.
    pub(crate) fn stream(&mut self) -> Option<(TransactionId, &mut StreamState)> {
        let transaction = find(&mut self.transactions, self.cursor)?;
        match &mut transaction.step {
            Step::Streamed(state) => Some((transaction.id, state)),
            Step::Begin
            | Step::Recipients(_)
            | Step::Commit
            | Step::AwaitData
            | Step::Whole(_)
            | Step::Restarting
            | Step::Ended => None,
        }
    }

    /// The streamed body is queued to its end.
    pub(crate) fn stream_ended(&mut self, link: &mut Link, now: Instant) {
        if let Some(transaction) = find(&mut self.transactions, self.cursor) {
            link.body_queued(transaction.id, now);
            transaction.step = Step::Ended;
        }
    }

    /// The streamed body will not be completed.
    pub(crate) fn give_up_stream(&mut self, error: Error, link: &Link) -> Flow {
        if let Some(transaction) = find(&mut self.transactions, self.cursor) {
            transaction.fate = Fate::Cancelled(error);
        }
        Flow::Close(fault::half_sent(link))
    }

    /// Takes the reply to one of a transaction's commands.
    pub(crate) fn handle(
        &mut self,
        expect: Expect,
        reply: Reply,
        link: &mut Link,
        now: Instant,
    ) -> Flow {
        match expect {
            Expect::Mail(id) => self.mail_answered(id, reply, link),
            Expect::Rcpt(id, index) => self.rcpt_answered(id, index, reply, link),
            Expect::Data(id) => self.data_answered(id, reply, link, now),
            Expect::Body(id) => self.body_answered(id, reply, link),
            Expect::Rset => reset_answered(reply, link),
            Expect::Greeting
            | Expect::Ehlo
            | Expect::Helo
            | Expect::StartTls
            | Expect::Handshake
            | Expect::Auth
            | Expect::Quit => Flow::Continue,
        }
    }

    /// The server refuses a message that is still on its way. Its verdict is final; the connection
    /// is not worth keeping, since the rest of the message would have to be sent first.
    pub(crate) fn refused_early(&mut self, id: TransactionId, reply: &Reply) {
        if let Some(transaction) = find(&mut self.transactions, id.0) {
            transaction.refuse(Stage::Body, reply);
        }
    }

    /// Withdraws a transaction as far as the protocol still allows.
    pub(crate) fn cancel(&mut self, id: TransactionId, error: Error, link: &Link) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        match (&transaction.fate, &transaction.step) {
            (Fate::Open, Step::Begin) => {
                transaction.decide(&error);
                transaction.step = Step::Ended;
                Flow::Continue
            }
            // It was to begin again: it does not.
            (Fate::Restart, _) => {
                transaction.decide(&error);
                transaction.stop_envelope();
                Flow::Continue
            }
            (Fate::Open, Step::Recipients(_) | Step::Commit) => {
                transaction.fate = Fate::Cancelled(error);
                transaction.stop_envelope();
                transaction.opened = Opened::Reset;
                self.leftover = Leftover::Envelope;
                Flow::Continue
            }
            (Fate::Open, Step::AwaitData | Step::Restarting) => {
                transaction.fate = Fate::Cancelled(error);
                Flow::Continue
            }
            (Fate::Open, Step::Whole(_) | Step::Streamed(_)) => {
                transaction.decide(&error);
                Flow::Close(fault::half_sent(link))
            }
            // Its last octets wait behind a slow transport: they must not go out.
            (Fate::Open, Step::Ended) if link.body_is_leaving(id) => {
                transaction.decide(&error);
                Flow::Close(fault::half_sent(link))
            }
            // Sent to its end: the reply is still read. Or decided already.
            (Fate::Open, Step::Ended) | (Fate::Decided | Fate::Cancelled(_), _) => Flow::Continue,
        }
    }

    /// The connection is over: every transaction gets its verdicts, and its event.
    pub(crate) fn close(&mut self, error: &Error, link: &mut Link) {
        while let Some(mut transaction) = self.transactions.pop_front() {
            // Only what the sender is done with can be sent: the queue is not searched for the rest.
            let sent = matches!(
                (&transaction.fate, &transaction.step),
                (Fate::Open, Step::Ended)
            ) && link.body_is_sent(transaction.id);
            transaction.close(sent, error);
            transaction.finish(link);
        }
        self.cursor = self.next_id;
    }

    fn may_speak(&self, link: &Link) -> bool {
        match self.offers.pipelining {
            Pipelining::Groups => link.has_window(),
            // A body is the one thing that is sent while its reply is awaited.
            Pipelining::Off => link.is_idle() || self.is_in_body(),
        }
    }

    fn is_in_body(&self) -> bool {
        let first = self
            .transactions
            .front()
            .map_or(0, |transaction| transaction.id.0);
        self.cursor
            .checked_sub(first)
            .and_then(|index| self.transactions.get(index as usize))
            .is_some_and(|transaction| matches!(transaction.step, Step::Whole(_)))
    }

    fn advance_once(&mut self, link: &mut Link, now: Instant) -> Sender {
        let Some(transaction) = find(&mut self.transactions, self.cursor) else {
            return self.between_transactions(link, now);
        };
        match std::mem::replace(&mut transaction.step, Step::Ended) {
            Step::Begin => self.begin(link, now),
            Step::Recipients(index) => {
                transaction.step = transaction.recipient(index, link, now);
                Sender::Spoke
            }
            Step::Commit => self.commit(link, now),
            Step::AwaitData => {
                transaction.step = Step::AwaitData;
                Sender::Waits
            }
            Step::Whole(cursor) => match cursor.fill(&mut link.output) {
                Fill::More(cursor) => {
                    transaction.step = Step::Whole(cursor);
                    link.began_writing(now);
                    Sender::Waits
                }
                Fill::Done => {
                    link.body_queued(transaction.id, now);
                    Sender::Spoke
                }
            },
            waiting @ (Step::Streamed(_) | Step::Restarting) => {
                transaction.step = waiting;
                Sender::Waits
            }
            Step::Ended => {
                self.cursor += 1;
                self.settle(link);
                Sender::Spoke
            }
        }
    }

    /// RSET where something is left over, and QUIT where it is wanted.
    fn between_transactions(&mut self, link: &mut Link, now: Instant) -> Sender {
        match (self.quit, self.leftover) {
            (Quit::Wanted, _) => {
                if self.behind == BehindMessage::Wait && link.expects_body() {
                    return Sender::Waits;
                }
                self.quit = Quit::Sent;
                link.command(Command::Quit, Expect::Quit, now);
                Sender::Waits
            }
            (Quit::No, Leftover::Envelope) if !link.expects_body() => {
                self.reset(link, now);
                Sender::Waits
            }
            (Quit::No, Leftover::Envelope | Leftover::Nothing) | (Quit::Sent, _) => Sender::Waits,
        }
    }

    fn reset(&mut self, link: &mut Link, now: Instant) {
        self.leftover = Leftover::Nothing;
        link.command(Command::Rset, Expect::Rset, now);
    }

    /// MAIL, if this session can carry the message.
    fn begin(&mut self, link: &mut Link, now: Instant) -> Sender {
        let Some(transaction) = find(&mut self.transactions, self.cursor) else {
            return Sender::Waits;
        };
        let behind_message = link.expects_body();
        let waits = match (&transaction.work, self.leftover) {
            (Work::Send(_), Leftover::Nothing) => self.behind == BehindMessage::Wait,
            // A RSET that is refused could not be told from a refusal to talk behind a message.
            (Work::Probe, _) | (_, Leftover::Envelope) => true,
        };
        if behind_message && waits {
            transaction.step = Step::Begin;
            return Sender::Waits;
        }
        if self.leftover == Leftover::Envelope {
            transaction.step = Step::Begin;
            self.reset(link, now);
            return Sender::Spoke;
        }
        let body = match &transaction.work {
            Work::Send(body) => Some(body),
            Work::Probe => None,
        };
        let params = match preflight::check(&transaction.envelope, body, &self.offers, link) {
            Ok(params) => params,
            Err(error) => {
                transaction.decide(&error);
                self.settle(link);
                return Sender::Spoke;
            }
        };
        if transaction.leave_out_foreign(params.utf8, link) == 0 {
            transaction.fate = Fate::Decided;
            self.settle(link);
            return Sender::Spoke;
        }
        let command = Command::Mail {
            from: transaction.envelope.reverse_path(),
            size: params.size,
            body: params.body,
            utf8: params.utf8,
            params: transaction.envelope.params(),
        };
        link.command(command, Expect::Mail(transaction.id), now);
        transaction.outstanding += 1;
        transaction.place = if behind_message {
            Place::BehindMessage
        } else {
            Place::Clear
        };
        transaction.step = Step::Recipients(0);
        Sender::Spoke
    }

    /// DATA, or what else ends the envelope.
    fn commit(&mut self, link: &mut Link, now: Instant) -> Sender {
        let Some(transaction) = find(&mut self.transactions, self.cursor) else {
            return Sender::Waits;
        };
        if matches!(transaction.work, Work::Probe) {
            transaction.opened = Opened::Reset;
            self.reset(link, now);
            self.settle(link);
            return Sender::Spoke;
        }
        if transaction.unanswered > 0 {
            if transaction.envelope.commitment() == Commitment::AllOrNothing {
                transaction.step = Step::Commit;
                return Sender::Waits;
            }
        } else if let Some(error) = transaction.nothing_to_send(link) {
            transaction.decide(&error);
            self.settle(link);
            return Sender::Spoke;
        }
        link.command(Command::Data, Expect::Data(transaction.id), now);
        transaction.outstanding += 1;
        transaction.step = Step::AwaitData;
        Sender::Waits
    }

    fn mail_answered(&mut self, id: TransactionId, reply: Reply, link: &Link) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        transaction.outstanding -= 1;
        let refused_for_place =
            reply.code().number() == 503 && transaction.place == Place::BehindMessage;
        match reply.code().class() {
            Class::Completed => {
                transaction.was_opened();
                Flow::Continue
            }
            Class::Intermediate => Flow::Close(unexpected(Stage::Mail, "250", reply, link)),
            Class::Transient | Class::Permanent => {
                if refused_for_place {
                    self.behind = BehindMessage::Wait;
                }
                match transaction.fate {
                    Fate::Open if refused_for_place => transaction.restart_later(),
                    Fate::Open => {
                        transaction.refuse(Stage::Mail, &reply);
                        transaction.stop_envelope();
                    }
                    Fate::Decided | Fate::Restart | Fate::Cancelled(_) => {}
                }
                Flow::Continue
            }
        }
    }

    fn rcpt_answered(
        &mut self,
        id: TransactionId,
        index: usize,
        reply: Reply,
        link: &mut Link,
    ) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        // Left unanswered, so that its recipient has a verdict when the connection closes.
        if reply.code().class() == Class::Intermediate {
            return Flow::Close(unexpected(Stage::Rcpt, "250", reply, link));
        }
        transaction.outstanding -= 1;
        transaction.unanswered -= 1;
        if reply.is_positive() {
            // Whatever was decided here, the server has a transaction open, and DATA can get 354.
            transaction.accepted += 1;
            transaction.was_opened();
        }
        if !matches!(transaction.fate, Fate::Open) {
            return Flow::Continue;
        }
        let slot = match (&transaction.work, reply.code().class()) {
            (Work::Send(_), Class::Completed | Class::Intermediate) => Slot::Taken,
            (Work::Probe, Class::Completed | Class::Intermediate) => {
                Slot::Decided(Verdict::Accepted(reply.clone()))
            }
            (_, Class::Transient | Class::Permanent) => {
                Slot::Decided(if transaction.accepted > 0 && is_over_limit(&reply) {
                    Verdict::Deferred(reply.clone())
                } else {
                    Verdict::Refused {
                        stage: Stage::Rcpt,
                        reply: reply.clone(),
                    }
                })
            }
        };
        if let Some(place) = transaction.slots.get_mut(index) {
            *place = slot;
        }
        link.events.push_back(Event::Recipient {
            id,
            index,
            stage: Stage::Rcpt,
            reply,
        });
        Flow::Continue
    }

    fn data_answered(
        &mut self,
        id: TransactionId,
        reply: Reply,
        link: &mut Link,
        now: Instant,
    ) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        transaction.outstanding -= 1;
        match (reply.code().number(), reply.code().class()) {
            (354, _) => transaction.data_invited(link, now),
            (_, Class::Completed | Class::Intermediate) => {
                Flow::Close(unexpected(Stage::Data, "354", reply, link))
            }
            (_, Class::Transient | Class::Permanent) => {
                if matches!(transaction.fate, Fate::Open) {
                    transaction.refuse(Stage::Data, &reply);
                }
                transaction.step = Step::Ended;
                Flow::Continue
            }
        }
    }

    fn body_answered(&mut self, id: TransactionId, reply: Reply, link: &Link) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        match reply.code().class() {
            // Neither taken nor refused: the server may have it, and may still read text.
            Class::Intermediate => {
                let error = unexpected(Stage::Body, "250", reply, link);
                transaction.doubt(&error);
                return Flow::Close(error);
            }
            Class::Completed => transaction.accept(&reply),
            Class::Transient | Class::Permanent => transaction.refuse(Stage::Body, &reply),
        }
        transaction.outstanding -= 1;
        // RFC 5321 §4.1.1.4: the end of data closes the transaction, whatever the reply.
        transaction.opened = Opened::No;
        Flow::Continue
    }

    /// Finishes what has its last reply, begins again what has to.
    pub(crate) fn settle(&mut self, link: &mut Link) {
        while let Some(transaction) = self.transactions.front_mut() {
            if transaction.outstanding > 0 {
                return;
            }
            let restarts = matches!(transaction.fate, Fate::Restart);
            if !restarts && !matches!(transaction.step, Step::Ended) {
                return;
            }
            if transaction.opened == Opened::Yes {
                self.leftover = Leftover::Envelope;
            }
            if restarts {
                transaction.restart();
                return;
            }
            let Some(mut transaction) = self.transactions.pop_front() else {
                return;
            };
            self.cursor = self.cursor.max(transaction.id.0 + 1);
            transaction.give_up();
            transaction.finish(link);
        }
    }
}

/// Whether the sender can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Spoke,
    Waits,
}

fn find(transactions: &mut VecDeque<Transaction>, id: u64) -> Option<&mut Transaction> {
    // Ids are given in order, and only the front is ever taken out.
    let first = transactions.front()?.id.0;
    transactions.get_mut(usize::try_from(id.checked_sub(first)?).ok()?)
}

fn reset_answered(reply: Reply, link: &Link) -> Flow {
    if reply.code().class() == Class::Completed {
        return Flow::Continue;
    }
    let message = "the server refused RSET, so that no further message can be sent";
    let error = link.error(Category::Protocol, Stage::Mail, Party::Server, message);
    Flow::Fail(error.with_reply(reply))
}

/// RFC 5321 §4.5.3.1.10: too many recipients, unless a status says that something else is full.
fn is_over_limit(reply: &Reply) -> bool {
    let full = reply
        .enhanced()
        .is_some_and(|code| matches!((code.subject(), code.detail()), (2, 2 | 3) | (3, 1 | 4)));
    matches!(reply.code().number(), 452 | 552) && !full
}

fn unexpected(stage: Stage, wanted: &str, reply: Reply, link: &Link) -> Error {
    let verb = super::command::stage_verb(stage);
    let message = format!("the server's reply to {verb} is not {wanted}, and no refusal");
    link.error(Category::Protocol, stage, Party::Server, message)
        .with_reply(reply)
}
