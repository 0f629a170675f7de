//! One message, by as many connections as it takes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::Sent;
use super::books::{Boarding, Books, Entry, Seat};
use super::desk::{Cargo, Server};
use super::line::{Ending, Fare, Wants};
use crate::error::Error;
use crate::net::client::{Client, Delivery};
use crate::net::shared::Name;
use crate::proto::body::Content;
use crate::proto::transaction::{Body, Envelope, Outcome, Streamed, Verdict};

/// A message that is to be sent.
pub(super) struct Errand {
    entry: Entry,
    server: Arc<Server>,
    /// What is left of the envelope.
    envelope: Envelope,
    manner: Manner,
    /// What became of the message so far, where there is more to come.
    before: Option<Outcome>,
    /// Losses of a connection that it may still suffer, of those that count.
    retries: u32,
    wants: Wants,
}

/// How the message comes.
pub(super) enum Manner {
    Whole(Content),
    Streamed(Streamed),
    /// As it came, it is partly read: there is no second time.
    Spent,
}

impl Errand {
    /// # Errors
    /// A pool that takes no more: what became of the message.
    pub(super) fn new(
        books: &Arc<Books>,
        server: &Arc<Server>,
        envelope: Envelope,
        manner: Manner,
    ) -> Result<Self, Sent> {
        match books.enter() {
            Ok(entry) => Ok(Self {
                entry,
                server: Arc::clone(server),
                envelope,
                manner,
                before: None,
                retries: RETRIES,
                wants: Wants::Any,
            }),
            Err(error) => Err(Sent {
                outcome: not_sent(&envelope, &error),
                client: None,
            }),
        }
    }

    /// Waits for a connection, and sets out with it. `demand` is how many messages are about to do
    /// so, this one included.
    pub(super) fn board(&self, demand: usize) -> Boarding {
        let body = match &self.manner {
            Manner::Whole(content) => Body::Whole(content.clone()),
            Manner::Streamed(streamed) => Body::Streamed(streamed.clone()),
            Manner::Spent => Body::Streamed(Streamed::default()),
        };
        let cargo = Cargo {
            envelope: self.envelope.clone(),
            body,
            wants: self.wants,
            demand,
        };
        self.entry.board(&self.server, cargo)
    }

    /// What has become of the message by this passage; `None` where it must set out again.
    pub(super) fn land(&mut self, landed: Landed) -> Option<Sent> {
        let Landed {
            outcome,
            client,
            seat,
            name,
        } = landed;
        let rest = self.envelope.rest(&outcome);
        let all = self.envelope.recipients().len();
        let ending = match &rest {
            None => Ending::Answered,
            Some(rest) if rest.recipients().len() < all => Ending::Partly,
            Some(_) if client.is_open() => Ending::UsedUp,
            Some(_) if name.is_some() && client.casualty() == name => Ending::Hit,
            Some(_) => Ending::Lost,
        };
        let fare = seat.leave(ending);
        let Some(rest) = rest.filter(|_| self.may_set_out_again(ending, fare)) else {
            return Some(self.conclude(outcome, Some(client)));
        };
        if ending == Ending::Partly {
            self.envelope = rest;
            self.before = Some(self.with_before(outcome));
        }
        self.wants = match fare {
            Fare::Free | Fare::Final => Wants::Any,
            Fare::Counted(wants) => {
                self.retries -= 1;
                wants
            }
        };
        self.entry.note_sent_again();
        None
    }

    /// It cannot be sent, or not any further.
    pub(super) fn fail(&mut self, error: &Error) -> Sent {
        self.conclude(not_sent(&self.envelope, error), None)
    }

    /// Its reader was asked for octets.
    pub(super) fn was_read(&mut self) {
        self.manner = Manner::Spent;
    }

    fn may_set_out_again(&self, ending: Ending, fare: Fare) -> bool {
        let replayable = match (&self.manner, ending) {
            (Manner::Whole(_), _) => true,
            // Who has got it would get something else the second time.
            (Manner::Streamed(_), Ending::Partly) | (Manner::Spent, _) => false,
            (Manner::Streamed(_), _) => true,
        };
        replayable
            && match fare {
                Fare::Free => true,
                Fare::Counted(_) => self.retries > 0,
                Fare::Final => false,
            }
    }

    fn conclude(&mut self, outcome: Outcome, client: Option<Client>) -> Sent {
        Sent {
            outcome: self.with_before(outcome),
            client,
        }
    }

    fn with_before(&mut self, outcome: Outcome) -> Outcome {
        match self.before.take() {
            Some(before) => before.with_rest(outcome),
            None => outcome,
        }
    }
}

/// A message on its way by one connection.
///
/// Dropped, it is withdrawn, and then its seat is given up.
#[must_use = "dropping it withdraws the message"]
pub(super) struct Passage {
    delivery: Delivery,
    client: Client,
    seat: Seat,
    name: Option<Name>,
}

impl Passage {
    pub(super) fn new(delivery: Delivery, client: Client, seat: Seat) -> Self {
        let name = delivery.name();
        Self {
            delivery,
            client,
            seat,
            name,
        }
    }

    /// The number of its connection.
    pub(super) fn line(&self) -> u64 {
        self.seat.line()
    }

    /// Whether it is over; then it can be landed with this outcome.
    pub(super) fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.delivery).poll(cx)
    }

    pub(super) fn land(self, outcome: Outcome) -> Landed {
        let Self {
            client, seat, name, ..
        } = self;
        Landed {
            outcome,
            client,
            seat,
            name,
        }
    }

    /// Waits for what becomes of it.
    pub(super) async fn over(mut self) -> Landed {
        let outcome = (&mut self.delivery).await;
        self.land(outcome)
    }

    /// Writes a streamed body, and waits for what becomes of it.
    pub(super) async fn feed<R: AsyncRead + Unpin>(mut self, reader: &mut R) -> Landed {
        let outcome = self.delivery.feed(reader).await;
        self.land(outcome)
    }
}

/// A message whose passage is over.
pub(super) struct Landed {
    outcome: Outcome,
    client: Client,
    seat: Seat,
    name: Option<Name>,
}

/// A reader that remembers whether it was asked for anything.
pub(super) struct Source<R> {
    reader: R,
    used: Used,
}

#[derive(PartialEq, Eq)]
enum Used {
    No,
    Yes,
}

impl<R> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        let used = Used::No;
        Self { reader, used }
    }

    pub(super) fn was_read(&self) -> bool {
        self.used == Used::Yes
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Source<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.used = Used::Yes;
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

fn not_sent(envelope: &Envelope, error: &Error) -> Outcome {
    let count = envelope.recipients().len().max(1);
    Outcome::new(vec![Verdict::NotSent(error.clone()); count])
}

/// How often a message sets out again after a loss that counts.
const RETRIES: u32 = 1;
