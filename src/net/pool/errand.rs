//! One message, by as many connections as it takes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::Sent;
use super::books::{Boarding, Books, Entry, Seat};
use super::desk::Server;
use super::line::{Ending, Fare};
use crate::error::{Category, Error, Stage};
use crate::net::client::{Client, Delivery};
use crate::proto::body::Content;
use crate::proto::notice::Notice;
use crate::proto::transaction::{Body, Commitment, Envelope, Outcome, Streamed, Verdict};

/// A message that is to be sent.
pub(super) struct Errand {
    entry: Entry,
    server: Arc<Server>,
    envelope: Envelope,
    manner: Manner,
    /// In envelope order, what is known of each recipient; empty where nothing is.
    known: Vec<Option<Verdict>>,
    notices: Vec<Notice>,
    /// Losses of a connection that it may still suffer, of those that count.
    retries: u32,
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
                known: Vec::new(),
                notices: Vec::new(),
                retries: RETRIES,
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
        let envelope = match self.known.is_empty() {
            true => self.envelope.clone(),
            false => self.envelope.part(&self.places()),
        };
        let body = match &self.manner {
            Manner::Whole(content) => Body::Whole(content.clone()),
            Manner::Streamed(streamed) => Body::Streamed(streamed.clone()),
            Manner::Spent => Body::Streamed(Streamed::default()),
        };
        self.entry.board(&self.server, envelope, body, demand)
    }

    /// What has become of the message by this passage; `None` where it must set out again.
    pub(super) fn land(&mut self, landed: Landed) -> Option<Sent> {
        let Landed {
            outcome,
            client,
            seat,
        } = landed;
        let session = match client.is_open() {
            true => State::Open,
            false => State::Over,
        };
        let all = outcome.verdicts().len();
        let lost = outcome
            .verdicts()
            .iter()
            .filter(|verdict| is_lost(verdict, session))
            .count();
        let fare = match (lost, self.envelope.commitment()) {
            (0, _) => seat.leave(Ending::Answered),
            (lost, _) if lost == all => seat.leave(Ending::Lost),
            (_, Commitment::AllOrNothing) => seat.leave(Ending::Answered),
            (_, Commitment::Each) => seat.leave(Ending::UsedUp),
        };
        let again = match (&self.manner, fare) {
            (Manner::Spent, _) | (_, Fare::Final) => false,
            // Who has got it would get it a second time.
            (Manner::Streamed(_), _) if lost < all => false,
            (Manner::Whole(_) | Manner::Streamed(_), Fare::Free) => true,
            (Manner::Whole(_) | Manner::Streamed(_), Fare::Counted) => self.retries > 0,
        };
        if !again {
            return Some(self.conclude(outcome, client));
        }
        if let Fare::Counted = fare {
            self.retries -= 1;
        }
        if lost < all {
            self.take(&outcome, |verdict| !is_lost(verdict, session));
        }
        self.entry.note_sent_again();
        None
    }

    /// It cannot be sent, or not any further.
    pub(super) fn fail(&mut self, error: &Error) -> Sent {
        let outcome = match self.known.is_empty() {
            true => not_sent(&self.envelope, error),
            false => {
                let verdict = Verdict::NotSent(error.clone());
                let known = std::mem::take(&mut self.known).into_iter();
                Outcome::new(
                    known
                        .map(|known| known.unwrap_or(verdict.clone()))
                        .collect(),
                )
            }
        };
        Sent {
            outcome: outcome.with_notices(std::mem::take(&mut self.notices)),
            client: None,
        }
    }

    /// Its reader was asked for octets.
    pub(super) fn was_read(&mut self) {
        self.manner = Manner::Spent;
    }

    fn conclude(&mut self, outcome: Outcome, client: Client) -> Sent {
        let outcome = match self.known.is_empty() {
            true => outcome,
            false => {
                self.take(&outcome, |_| true);
                let verdicts = std::mem::take(&mut self.known);
                Outcome::new(verdicts.into_iter().flatten().collect())
                    .with_notices(std::mem::take(&mut self.notices))
                    .in_session(&client.session())
            }
        };
        Sent {
            outcome,
            client: Some(client),
        }
    }

    /// Takes those verdicts of a passage that are to be kept.
    fn take(&mut self, outcome: &Outcome, is_kept: impl Fn(&Verdict) -> bool) {
        let places = self.places();
        self.known.resize(self.envelope.recipients().len(), None);
        let last = outcome.verdicts().last();
        for (index, place) in places.into_iter().enumerate() {
            // A connection that ended without the engine has one verdict for all.
            if let Some(verdict) = outcome.verdicts().get(index).or(last)
                && is_kept(verdict)
            {
                self.known[place] = Some(verdict.clone());
            }
        }
        for notice in outcome.notices() {
            if !self.notices.contains(notice) {
                self.notices.push(notice.clone());
            }
        }
    }

    /// The recipients of whom nothing is known.
    fn places(&self) -> Vec<usize> {
        let known = |place: &usize| self.known.get(*place).is_some_and(Option::is_some);
        (0..self.envelope.recipients().len())
            .filter(|place| !known(place))
            .collect()
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
}

impl Passage {
    pub(super) fn new(delivery: Delivery, client: Client, seat: Seat) -> Self {
        Self {
            delivery,
            client,
            seat,
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
        let Self { client, seat, .. } = self;
        Landed {
            outcome,
            client,
            seat,
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

/// How a session stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Over,
}

/// Whether the message was kept from this recipient by the connection, not by anything about the
/// message.
fn is_lost(verdict: &Verdict, session: State) -> bool {
    match verdict {
        // RFC 5321 §3.8: the server closes, whatever the command was.
        Verdict::Refused { stage, reply } => *stage < Stage::Body && reply.code().number() == 421,
        Verdict::NotSent(error) => match error.category() {
            // Also where the session has used up what the server takes in one (RFC 9422).
            Category::Temporary => true,
            Category::ConnectionLost
            | Category::ConnectionTimeout
            | Category::Tls
            | Category::Protocol => session == State::Over,
            Category::Dns
            | Category::ConnectionRefused
            | Category::EncryptionMismatch
            | Category::StartTlsUnavailable
            | Category::Certificate
            | Category::Authentication
            | Category::AuthUnavailable
            | Category::SenderRefused
            | Category::RecipientRefused
            | Category::MessageRefused
            | Category::RateLimited
            | Category::Usage => false,
        },
        Verdict::Accepted(_) | Verdict::Deferred(_) | Verdict::InDoubt(_) => false,
    }
}

fn not_sent(envelope: &Envelope, error: &Error) -> Outcome {
    let count = envelope.recipients().len().max(1);
    Outcome::new(vec![Verdict::NotSent(error.clone()); count])
}

/// How often a message sets out again after a loss that counts.
const RETRIES: u32 = 1;
