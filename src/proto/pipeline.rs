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
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::Fill;
use super::command::{Chunk, Command};
use super::config::{BehindMessage, Pipelining, Protocol};
use super::fault;
use super::limits::Used;
use super::link::{Expect, Link};
use super::offers::{Offers, Way};
use super::ongoing::{Fate, Opened, Place, Slot, Step, Transaction, Work};
use super::preflight;
use super::reply::Code;
use super::stream::{Flushed, StreamState};
use super::transaction::{Body, Commitment, Envelope, TransactionId};
use crate::error::{Error, Stage};

/// The transactions of a connection, oldest first.
pub(crate) struct Pipeline {
    pub(crate) transactions: VecDeque<Transaction>,
    pub(super) next_id: u64,
    /// The transaction that the sender is at.
    pub(super) cursor: u64,
    pub(super) offers: Arc<Offers>,
    /// What this session has used up of the server's limits.
    pub(super) used: Used,
    pub(super) behind: BehindMessage,
    pub(super) overlap: Overlap,
    pub(super) last_message: LastMessage,
    pub(super) welcome: Welcome,
    /// Transactions that are to begin again once nothing else is on its way.
    pub(super) restarting: usize,
    /// Whether the server holds an open transaction that nothing will complete.
    pub(super) leftover: Leftover,
    pub(crate) quit: Quit,
    pub(super) held: Held,
}

/// What the sender waits for before it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// A reply, or something to do: it is no use to ask again before.
    ByOthers,
    /// Perhaps for the transport to take more.
    ByTransport,
}

/// Whether the server will take mail in this session at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    Sure,
    /// It offers TLS or AUTH, and has neither: it may answer 530 to whatever it is told, and so does
    /// Postfix to BDAT, whose octets it then reads as commands.
    Doubtful,
}

/// How the server left the transaction of the message that it answered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastMessage {
    Closed,
    /// Open, since its BDAT was refused: MAIL gets 503 there, whoever sends it when.
    Refused,
}

/// Whether messages by BDAT follow each other without waiting, where that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    Allowed,
    /// A message was refused, and with it those behind it: the next goes alone.
    Paused,
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
pub(super) enum Leftover {
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
            offers: Arc::default(),
            used: Used::default(),
            behind: BehindMessage::Allowed,
            overlap: Overlap::Allowed,
            last_message: LastMessage::Closed,
            welcome: Welcome::Sure,
            restarting: 0,
            leftover: Leftover::Nothing,
            quit: Quit::No,
            held: Held::ByOthers,
        }
    }

    /// The session is ready: this is what the server offers.
    pub(crate) fn ready(&mut self, offers: Arc<Offers>, behind: BehindMessage, welcome: Welcome) {
        self.offers = offers;
        self.behind = behind;
        self.welcome = welcome;
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
        // A probe for the sender alone has one verdict too: on MAIL.
        let count = envelope.recipients().len().max(1);
        let mut slots = Vec::with_capacity(count);
        slots.resize_with(count, || Slot::Waiting);
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
            way: Way::Data,
            body_replies: 0,
            opened: Opened::No,
            notices: Vec::new(),
        });
        id
    }

    /// Whether a recipient is put off, or may be.
    pub(crate) fn may_defer(&self) -> bool {
        self.transactions.iter().any(Transaction::may_defer)
    }

    /// Whether the server was found to refuse what begins behind an unanswered message.
    pub(crate) fn refuses_behind_message(&self) -> bool {
        self.behind == BehindMessage::Wait
    }

    /// Whether there is nothing to queue before a reply has come, or somebody wants more.
    #[inline]
    pub(crate) fn is_silent(&self, link: &Link) -> bool {
        let Some(transaction) = self.current() else {
            return match self.quit {
                Quit::No => self.leftover == Leftover::Nothing,
                Quit::Wanted => false,
                Quit::Sent => true,
            };
        };
        match transaction.step {
            Step::Begin => self.must_wait_to_begin(transaction, link),
            Step::AwaitData | Step::Restarting => true,
            Step::Recipients(_)
            | Step::Commit
            | Step::Whole(_)
            | Step::Streamed(_)
            | Step::Ended => false,
        }
    }

    /// Queues all that may be queued now.
    #[inline(never)]
    pub(crate) fn advance(&mut self, link: &mut Link, now: Instant) {
        self.held = loop {
            if !self.may_speak(link) {
                break Held::ByTransport;
            }
            match self.advance_once(link, now) {
                Sender::Spoke => {}
                Sender::Waits => break Held::ByOthers,
                Sender::WaitsForTransport => break Held::ByTransport,
            }
        };
    }

    /// Whether it can change anything that the transport took something.
    pub(crate) fn waits_for_transport(&self) -> bool {
        self.held == Held::ByTransport
    }

    /// Whether the sender is at this transaction.
    pub(crate) fn is_at(&self, id: TransactionId) -> bool {
        self.cursor == id.0
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

    /// Octets of the streamed body that may be written now.
    pub(crate) fn stream_room(&self, link: &Link) -> usize {
        match self.current().map(|transaction| &transaction.step) {
            Some(Step::Streamed(state)) => state.room(&link.output),
            Some(
                Step::Begin
                | Step::Recipients(_)
                | Step::Commit
                | Step::AwaitData
                | Step::Whole(_)
                | Step::Restarting
                | Step::Ended,
            )
            | None => 0,
        }
    }

    /// The streamed body will not be completed. In counted octets the server can be told; a message
    /// behind DATA has no end but its own, so there the connection ends.
    pub(crate) fn give_up_stream(&mut self, error: Error, link: &mut Link) -> Flow {
        let Some(transaction) = find(&mut self.transactions, self.cursor) else {
            return Flow::Continue;
        };
        transaction.fate = Fate::Cancelled(error);
        match transaction.way {
            Way::Data => Flow::Close(fault::half_sent(link)),
            Way::Bdat => {
                transaction.stop_chunks();
                self.leftover = Leftover::Envelope;
                self.settle(link);
                Flow::Continue
            }
        }
    }

    /// Whether what is on its way for this reply is counted, so that the session survives its
    /// refusal: the octets announced are still sent, and nothing is lost.
    pub(crate) fn is_counted(&mut self, expect: Expect) -> bool {
        match expect {
            Expect::Chunk(_) => true,
            Expect::Body(id) => find(&mut self.transactions, id.0)
                .is_some_and(|transaction| transaction.way == Way::Bdat),
            Expect::Greeting
            | Expect::Ehlo
            | Expect::Helo
            | Expect::StartTls
            | Expect::Handshake
            | Expect::Auth
            | Expect::Mail(_)
            | Expect::Rcpt(..)
            | Expect::Data(_)
            | Expect::Rset
            | Expect::Quit => false,
        }
    }

    /// The server refuses a message that is still on its way. Its verdict is final; the connection
    /// is not worth keeping, since the rest of the message would have to be sent first.
    pub(crate) fn refused_early(&mut self, id: TransactionId, code: Code, link: &mut Link) {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return;
        };
        match self.offers.protocol {
            Protocol::Smtp => transaction.refuse(Stage::Body, &link.reply(code)),
            // It speaks for one recipient: nothing was sent to the others.
            Protocol::Lmtp => transaction.answer_next(code, link),
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
            // It was to begin again: it does not. If the server takes it all the same, that is a
            // doubt, so nothing is decided before its last reply.
            (Fate::Restart, _) => {
                transaction.fate = Fate::Cancelled(error);
                transaction.stop_envelope();
                self.restarting -= 1;
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
            // What is announced is sent, and the last of it cannot be taken back: the reply decides.
            // A large message is alone on its way, so that the end of the connection costs no other.
            (Fate::Open, Step::Whole(_))
                if transaction.way == Way::Bdat && !transaction.content_is_large() =>
            {
                Flow::Continue
            }
            (Fate::Open, Step::Streamed(_)) if transaction.way == Way::Bdat => {
                transaction.fate = Fate::Cancelled(error);
                transaction.stop_chunks();
                self.leftover = Leftover::Envelope;
                Flow::Continue
            }
            (Fate::Open, Step::Whole(_) | Step::Streamed(_)) => {
                transaction.decide(&error);
                Flow::Close(fault::half_sent(link))
            }
            // Its last octets wait behind a slow transport: they must not go out.
            (Fate::Open, Step::Ended)
                if transaction.way == Way::Data && link.body_is_leaving(id) =>
            {
                transaction.decide(&error);
                Flow::Close(fault::half_sent(link))
            }
            // Sent to its end: the reply is still read. Or decided already.
            (Fate::Open, Step::Ended) | (Fate::Decided | Fate::Cancelled(_), _) => Flow::Continue,
        }
    }

    fn may_speak(&self, link: &Link) -> bool {
        // A body is the one thing that is sent while its reply is awaited.
        self.offers.may_speak(link)
            || (self.offers.pipelining == Pipelining::Off && self.is_in_body())
    }

    fn is_in_body(&self) -> bool {
        self.current()
            .is_some_and(|transaction| match &transaction.step {
                Step::Whole(_) => true,
                Step::Streamed(_) => transaction.way == Way::Data,
                Step::Begin
                | Step::Recipients(_)
                | Step::Commit
                | Step::AwaitData
                | Step::Restarting
                | Step::Ended => false,
            })
    }

    /// The transaction that the sender is at.
    fn current(&self) -> Option<&Transaction> {
        let first = self.transactions.front()?.id.0;
        let index = self.cursor.checked_sub(first)?;
        self.transactions.get(usize::try_from(index).ok()?)
    }

    fn advance_once(&mut self, link: &mut Link, now: Instant) -> Sender {
        let Some(transaction) = find(&mut self.transactions, self.cursor) else {
            return self.between_transactions(link, now);
        };
        match &mut transaction.step {
            Step::Begin => self.begin(link, now),
            Step::Recipients(index) => {
                let from = *index;
                transaction.step = transaction.recipients(from, &self.offers, link, now);
                Sender::Spoke
            }
            Step::Commit => self.commit(link, now),
            Step::Whole(cursor) => match cursor.fill(&mut link.output) {
                Fill::More => {
                    link.began_writing(now);
                    Sender::WaitsForTransport
                }
                Fill::Done => {
                    let content = match (&transaction.work, transaction.way) {
                        (Work::Send(Body::Whole(content)), Way::Bdat) => content.facts().wire_size,
                        (Work::Send(_) | Work::Probe, _) => 0,
                    };
                    link.body_queued(transaction.id, content, now);
                    transaction.step = Step::Ended;
                    self.cursor += 1;
                    self.settle(link);
                    Sender::Spoke
                }
            },
            // How many replies come behind a refused chunk and the last one, RFC 2033 does not say.
            Step::Streamed(state)
                if self.offers.protocol == Protocol::Lmtp
                    && transaction.way == Way::Bdat
                    && transaction.outstanding > 0
                    && state.is_complete() =>
            {
                Sender::Waits
            }
            Step::Streamed(state) => match state.flush(transaction.id, link, now) {
                Flushed::All => {
                    match transaction.way {
                        Way::Data => link.body_queued(transaction.id, 0, now),
                        Way::Bdat => transaction.outstanding += 1,
                    }
                    transaction.step = Step::Ended;
                    Sender::Spoke
                }
                Flushed::Some => {
                    transaction.outstanding += 1;
                    Sender::Waits
                }
                Flushed::Nothing => Sender::Waits,
            },
            Step::AwaitData | Step::Restarting => Sender::Waits,
            Step::Ended => {
                self.cursor += 1;
                self.settle(link);
                Sender::Spoke
            }
        }
    }

    /// RSET where something is left over, and QUIT where it is wanted.
    fn between_transactions(&mut self, link: &mut Link, now: Instant) -> Sender {
        if self.restarting > 0 {
            return Sender::Waits;
        }
        match (self.quit, self.leftover) {
            (Quit::Wanted, _) => {
                if self.behind == BehindMessage::Wait && link.expects_body() || self.may_restart() {
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

    /// Whether a transaction may begin behind the message that was sent last. Behind a final dot it
    /// may (RFC 2920 §3.1); behind BDAT LAST servers disagree, so it is the caller's choice.
    fn may_overlap(&self) -> bool {
        match (self.offers.way, self.offers.pipelining) {
            (Way::Data, _) => true,
            (Way::Bdat, Pipelining::Overlapping) => self.overlap == Overlap::Allowed,
            (Way::Bdat, Pipelining::Off | Pipelining::Conservative | Pipelining::Groups) => false,
        }
    }

    /// Whether the server may still refuse a message on its way for its place, so that it has to
    /// begin again.
    fn may_restart(&self) -> bool {
        self.transactions.iter().any(|transaction| {
            transaction.place == Place::BehindMessage
                && transaction.opened == Opened::No
                && transaction.outstanding > 0
                && matches!(transaction.fate, Fate::Open)
                && transaction.body_replies == 0
        })
    }

    fn reset(&mut self, link: &mut Link, now: Instant) {
        self.leftover = Leftover::Nothing;
        link.command(Command::Rset, Expect::Rset, now);
    }

    /// Whether this transaction has to wait for what is on its way.
    #[inline]
    fn must_wait_to_begin(&self, transaction: &Transaction, link: &Link) -> bool {
        let waits = match (&transaction.work, self.leftover) {
            (Work::Send(_), Leftover::Nothing) => {
                self.behind == BehindMessage::Wait || !self.may_overlap()
            }
            // A RSET that is refused could not be told from a refusal to talk behind a message.
            (Work::Probe, _) | (_, Leftover::Envelope) => true,
        };
        (waits && link.expects_body()) || self.restarting > 0
    }

    /// MAIL, if this session can carry the message.
    fn begin(&mut self, link: &mut Link, now: Instant) -> Sender {
        let must_wait = |transaction| self.must_wait_to_begin(transaction, link);
        if self.current().is_some_and(must_wait) {
            return Sender::Waits;
        }
        if self.leftover == Leftover::Envelope {
            self.reset(link, now);
            return Sender::Spoke;
        }
        let Some(transaction) = find(&mut self.transactions, self.cursor) else {
            return Sender::Waits;
        };
        let behind_message = link.expects_body();
        let body = match &transaction.work {
            Work::Send(body) => Some(body),
            Work::Probe => None,
        };
        let judgement = preflight::judge(&transaction.envelope, body, &self.offers);
        let params = judgement.params;
        match transaction.apply(&judgement, &self.offers.limits, &mut self.used, link) {
            Ok(0) => {
                transaction.fate = Fate::Decided;
                transaction.step = Step::Ended;
                self.settle(link);
                return Sender::Spoke;
            }
            Ok(_) => {}
            Err(error) => {
                transaction.decide(&error);
                transaction.step = Step::Ended;
                self.settle(link);
                return Sender::Spoke;
            }
        }
        let command = Command::Mail {
            from: transaction.envelope.reverse_path(),
            size: params.size,
            body: params.body,
            utf8: params.utf8,
            params: transaction.envelope.params(),
        };
        link.command(command, Expect::Mail(transaction.id), now);
        self.used.mail();
        transaction.outstanding += 1;
        transaction.way = self.offers.way;
        transaction.place = if behind_message {
            Place::BehindMessage
        } else {
            Place::Clear
        };
        transaction.step = match self.offers.may_speak(link) {
            true => transaction.recipients(0, &self.offers, link, now),
            false => Step::Recipients(0),
        };
        Sender::Spoke
    }

    /// DATA, or what else ends the envelope.
    fn commit(&mut self, link: &mut Link, now: Instant) -> Sender {
        let Some(transaction) = find(&mut self.transactions, self.cursor) else {
            return Sender::Waits;
        };
        if matches!(transaction.work, Work::Probe) {
            transaction.opened = Opened::Reset;
            transaction.step = Step::Ended;
            self.reset(link, now);
            self.settle(link);
            return Sender::Spoke;
        }
        if transaction.unanswered > 0 {
            let waits = match (transaction.envelope.commitment(), transaction.way) {
                (Commitment::AllOrNothing, _) => true,
                (Commitment::Each, Way::Data) => false,
                (Commitment::Each, Way::Bdat) => {
                    // RFC 2033 §4.3 does not say whether a reply comes where nobody was accepted.
                    self.offers.protocol == Protocol::Lmtp
                        || self.offers.pipelining == Pipelining::Conservative
                        || self.welcome == Welcome::Doubtful
                        || transaction.content_is_large()
                        || link.silence(now) > STALE
                }
            };
            if waits {
                return Sender::Waits;
            }
        } else if let Some(error) = transaction.nothing_to_send(link) {
            transaction.decide(&error);
            transaction.step = Step::Ended;
            self.settle(link);
            return Sender::Spoke;
        }
        match (transaction.way, &transaction.work) {
            (Way::Data, _) => {
                link.command(Command::Data, Expect::Data(transaction.id), now);
                transaction.outstanding += 1;
                transaction.step = Step::AwaitData;
                return Sender::Waits;
            }
            (Way::Bdat, Work::Send(Body::Whole(content))) => {
                let octets = content.facts().wire_size;
                link.announce(Command::Bdat(octets, Chunk::Last), now);
                link.expect_body(transaction.id);
                transaction.outstanding += 1;
            }
            // Its chunks are counted, and announced, one by one.
            (Way::Bdat, Work::Send(Body::Streamed(_)) | Work::Probe) => {}
        }
        transaction.step = transaction.content_step(transaction.counted());
        Sender::Spoke
    }
}

/// Whether the sender can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Spoke,
    /// For a reply, or for the caller.
    Waits,
    WaitsForTransport,
}

pub(super) fn find(transactions: &mut VecDeque<Transaction>, id: u64) -> Option<&mut Transaction> {
    // Ids are given in order, and only the front is ever taken out.
    let first = transactions.front()?.id.0;
    transactions.get_mut(usize::try_from(id.checked_sub(first)?).ok()?)
}

/// A connection on which nobody spoke for so long may be dead: the end of a message is not sent
/// before the server has answered its envelope, so that a loss leaves no doubt.
const STALE: Duration = Duration::from_secs(5);
