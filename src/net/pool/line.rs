//! One connection, as the books have it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::net::client::Client;
use crate::net::shared::now;
use crate::proto::transaction::Body;

/// A connection, and who is aboard.
pub(super) struct Line {
    number: u64,
    phase: Phase,
    past: Past,
    client: Option<Client>,
    /// Messages on their way.
    aboard: usize,
    /// Messages that have set out so far.
    boarded: u64,
    /// How many of them may.
    most: u64,
    freight: Freight,
    idle_since: Instant,
    /// Tells its keeper to look again.
    stop: Arc<Notify>,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    /// Messages may board.
    Ready,
    /// Nobody boards any more; when the last one has left, it is closed.
    Ending,
    /// Closed; there may be outcomes that nobody has taken yet.
    Gone,
}

/// What is aboard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Freight {
    Whole,
    /// A streamed message, which takes as long as its reader does: nobody goes behind it.
    Streamed,
}

/// Whether there was nobody to use a connection when it was ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Past {
    None,
    Rest,
}

/// How a message leaves its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With an answer to it, or in doubt.
    Answered,
    /// With an answer for some of its recipients: the session is of no use for the others.
    Partly,
    /// It was not sent, since the session has used up what the server takes in one.
    UsedUp,
    /// The connection ended with it, and it was not sent.
    Hit,
    /// The connection ended with another one, and it was not sent.
    Lost,
    /// It was withdrawn.
    Withdrawn,
}

/// What a passage counts as that came to nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fare {
    /// Nothing: the message can set out again.
    Free,
    /// One of the few times that it can; the next connection is to be such a one.
    Counted(Wants),
    /// It cannot.
    Final,
}

/// What connection a message wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Whichever there is.
    Any,
    /// One that has just been made.
    Fresh,
}

impl Line {
    pub(super) fn new(number: u64, stop: Arc<Notify>) -> Self {
        Self {
            number,
            phase: Phase::Opening,
            past: Past::None,
            client: None,
            aboard: 0,
            boarded: 0,
            most: u64::MAX,
            freight: Freight::Whole,
            idle_since: now(),
            stop,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Messages on their way.
    pub(super) fn load(&self) -> usize {
        self.aboard
    }

    /// Since when nobody uses it, if nobody does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.phase == Phase::Ready && self.aboard == 0).then_some(self.idle_since)
    }

    pub(super) fn takes(&self, wants: Wants) -> bool {
        let suits = match wants {
            Wants::Any => self.freight == Freight::Whole,
            Wants::Fresh => self.boarded == 0 && self.past == Past::None,
        };
        self.phase == Phase::Ready && suits
    }

    /// Whether messages can board now, or some time.
    pub(super) fn has_future(&self) -> bool {
        match self.phase {
            Phase::Opening | Phase::Ready => true,
            Phase::Ending | Phase::Gone => false,
        }
    }

    /// Whether neither side has ended the session.
    pub(super) fn is_alive(&self) -> bool {
        self.client.as_ref().is_some_and(Client::is_open)
    }

    /// Whether a message was answered.
    fn was_of_use(&self) -> bool {
        let client = self.client.as_ref();
        client.is_some_and(|client| client.answered() > 0)
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.phase == Phase::Gone && self.aboard == 0
    }

    /// The session has begun.
    pub(super) fn ready(&mut self, client: Client, most: Option<NonZeroU64>) {
        let session = client.session();
        let server = session.extensions().limits().mails.map(NonZeroU64::from);
        let most = most.into_iter().chain(server).min();
        self.most = most.map_or(u64::MAX, NonZeroU64::get);
        self.client = Some(client);
        self.idle_since = now();
        if self.phase == Phase::Opening {
            self.phase = Phase::Ready;
        }
    }

    /// Who was waiting for it has boarded.
    pub(super) fn settle(&mut self) {
        if self.boarded == 0 {
            self.past = Past::Rest;
        }
    }

    /// Takes a message aboard: what it goes by.
    pub(super) fn board(&mut self, body: &Body) -> Option<Client> {
        let client = self.client.clone()?;
        self.aboard += 1;
        self.boarded += 1;
        if let Body::Streamed(_) = body {
            self.freight = Freight::Streamed;
        }
        if self.boarded >= self.most {
            self.phase = Phase::Ending;
        }
        Some(client)
    }

    /// A message leaves.
    pub(super) fn leave(&mut self, ending: Ending) -> Fare {
        self.aboard = self.aboard.saturating_sub(1);
        let fare = self.fare(ending);
        if self.aboard == 0 {
            self.freight = Freight::Whole;
            self.idle_since = now();
            if self.phase == Phase::Ending {
                self.stop.notify_one();
            }
        }
        fare
    }

    /// Each connection that ends costs somebody one of a few tries, or has been of use to somebody:
    /// so there is an end to setting out again.
    fn fare(&mut self, ending: Ending) -> Fare {
        match ending {
            Ending::Answered | Ending::Withdrawn => Fare::Final,
            Ending::Partly => {
                self.end();
                Fare::Free
            }
            Ending::UsedUp => {
                self.end();
                match self.was_of_use() {
                    true => Fare::Free,
                    false => Fare::Counted(Wants::Any),
                }
            }
            Ending::Hit => {
                self.end();
                match self.was_of_use() || self.past == Past::Rest {
                    true => Fare::Counted(Wants::Fresh),
                    // It was the first thing that a new connection was to do.
                    false => Fare::Final,
                }
            }
            Ending::Lost => {
                self.end();
                match self.was_of_use() {
                    true => Fare::Free,
                    false => Fare::Counted(Wants::Any),
                }
            }
        }
    }

    /// Nobody boards any more.
    pub(super) fn end(&mut self) {
        match self.phase {
            Phase::Opening | Phase::Ready => self.phase = Phase::Ending,
            Phase::Ending | Phase::Gone => {}
        }
        if self.aboard == 0 {
            self.stop.notify_one();
        }
    }

    pub(super) fn end_if_idle(&mut self) {
        if self.idle_since().is_some() {
            self.end();
        }
    }

    /// It is closed.
    pub(super) fn gone(&mut self) {
        self.phase = Phase::Gone;
    }

    /// Until when there is nothing to do; `None` where it is to be closed.
    pub(super) fn rest(&mut self, idle_timeout: Duration, now: Instant) -> Option<Instant> {
        let until = match self.idle_since() {
            Some(since) => since.checked_add(idle_timeout),
            None => now.checked_add(idle_timeout),
        };
        // Too far away to be told is as good as never.
        let until = until.unwrap_or_else(|| now + FAR);
        if until <= now && self.idle_since().is_some() {
            self.end();
        }
        match (self.phase, self.aboard == 0) {
            (Phase::Ending | Phase::Gone, true) => None,
            (Phase::Opening | Phase::Ready | Phase::Ending | Phase::Gone, _) => {
                Some(until.max(now + SOON))
            }
        }
    }
}

/// A year.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// So that no time-out makes a keeper turn without rest.
const SOON: Duration = Duration::from_millis(1);
