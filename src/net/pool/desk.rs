//! What concerns one configuration: its connections, and who waits for one.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::books::Seat;
use super::errand::Passage;
use super::keeper::{self, Place};
use super::line::{Line, Phase, Wants};
use super::options::PoolOptions;
use crate::error::{Category, Error, Party, Stage};
use crate::net::client::Client;
use crate::net::config::ClientConfig;
use crate::net::shared::now;
use crate::proto::transaction::{Body, Envelope};

/// A configuration that connections are made with, and its number.
pub(super) struct Server {
    pub(super) number: u64,
    pub(super) config: ClientConfig,
}

impl Server {
    pub(super) fn config(&self) -> &ClientConfig {
        &self.config
    }
}

/// What concerns one configuration.
pub(super) struct Desk {
    pub(super) server: Weak<Server>,
    pub(super) lines: Vec<Line>,
    /// By number, so that who came first goes first, also for the second time.
    pub(super) waiting: BTreeMap<u64, Waiting>,
    /// The demands of all who wait.
    pub(super) demand: usize,
    /// The number of the connection that was opened last.
    pub(super) turn: u64,
    /// No connection is tried before, as long as there is another, be it one that ends.
    pub(super) resting_until: Option<Instant>,
}

/// A message that wants a connection.
pub(super) struct Cargo {
    pub(super) envelope: Envelope,
    pub(super) body: Body,
    pub(super) wants: Wants,
    /// How many messages are about to set out, this one included.
    pub(super) demand: usize,
}

impl Cargo {
    /// Submits it to the connection on which it has a seat.
    pub(super) fn set_out(self, (client, seat): (Client, Seat)) -> Passage {
        let delivery = client.submit(self.envelope, self.body);
        Passage::new(delivery, client, seat)
    }
}

/// One that waits for it.
pub(super) struct Waiting {
    pub(super) cargo: Cargo,
    pub(super) reply: oneshot::Sender<Result<Passage, Error>>,
}

/// What is to be done when the books are closed again. Some of it are parts of the caller's, which may
/// come back to the books when they are dropped.
pub(super) type Todo = Vec<Deed>;

/// One thing that is to be done then.
pub(super) enum Deed {
    Board(oneshot::Sender<Result<Passage, Error>>, Passage),
    Fail(Waiting, Error),
    Open(Place),
    GivenUp(Waiting),
    Over(Line),
}

impl Desk {
    pub(super) fn new(server: &Arc<Server>) -> Self {
        Self {
            server: Arc::downgrade(server),
            lines: Vec::new(),
            waiting: BTreeMap::new(),
            demand: 0,
            turn: 0,
            resting_until: None,
        }
    }

    pub(super) fn is_needed(&self) -> bool {
        self.server.strong_count() > 0 || !self.lines.is_empty() || !self.waiting.is_empty()
    }

    pub(super) fn line(&mut self, number: u64) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.number() == number)
    }

    /// Whether there is a connection that takes messages, or one on its way.
    pub(super) fn has_line(&self) -> bool {
        self.lines.iter().any(Line::has_future)
    }

    /// Connections that are not over.
    fn open_lines(&self) -> usize {
        let open = |line: &&Line| line.phase() != Phase::Gone;
        self.lines.iter().filter(open).count()
    }

    pub(super) fn opening(&self) -> usize {
        let opening = |line: &&Line| line.phase() == Phase::Opening;
        self.lines.iter().filter(opening).count()
    }

    /// Whether another connection can be opened.
    pub(super) fn growth(&self, options: &PoolOptions, below_ceiling: bool) -> Growth {
        let lines = self.open_lines();
        let room = lines < options.connections_per_server.max(1);
        let rested = || lines == 0 || self.resting_until.is_none_or(|until| until <= now());
        match below_ceiling && room && rested() {
            true => Growth::Possible,
            false => Growth::Impossible,
        }
    }

    /// The connection with the fewest messages on their way, if it takes another.
    pub(super) fn choose(
        &mut self,
        wants: Wants,
        options: &PoolOptions,
        growth: Growth,
    ) -> Option<usize> {
        let most = match growth == Growth::Possible || self.opening() > 0 {
            true => options.share.max(1),
            false => options.depth.max(1),
        };
        loop {
            let lines = self.lines.iter().enumerate();
            let (index, _) = lines
                .filter(|(_, line)| line.takes(wants) && line.load() < most)
                .min_by_key(|(_, line)| line.load())?;
            if self.lines[index].is_alive() {
                return Some(index);
            }
            self.lines[index].end();
        }
    }

    /// A connection is over, or there will be none.
    pub(super) fn gone(&mut self, number: u64, error: Option<&Error>, todo: &mut Todo) {
        let Some(line) = self.line(number) else {
            return;
        };
        let was = line.phase();
        line.gone();
        self.forget(todo);
        match was {
            // A server that takes no more of them may take another when one of these is over.
            Phase::Opening if self.open_lines() > 0 => self.resting_until = Some(now() + REST),
            Phase::Opening => self.fail_all(error.unwrap_or(&unattended()), todo),
            Phase::Ready | Phase::Ending | Phase::Gone => {}
        }
    }

    /// Takes one of those who wait out of the queue.
    pub(super) fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.demand -= waiting.cargo.demand;
        Some(waiting)
    }

    /// Where somebody wants a connection that nobody has used, and there can be no other, one that
    /// is there makes room for it.
    pub(super) fn renew(&mut self) {
        let fresh = |waiting: &Waiting| waiting.cargo.wants == Wants::Fresh;
        let coming = |line: &Line| match line.phase() {
            Phase::Opening | Phase::Ending => true,
            Phase::Ready => line.takes(Wants::Fresh),
            Phase::Gone => false,
        };
        if !self.waiting.values().any(fresh) || self.lines.iter().any(coming) {
            return;
        }
        let ready = |line: &&mut Line| line.phase() == Phase::Ready;
        let lines = self.lines.iter_mut().filter(ready);
        if let Some(line) = lines.min_by_key(|line| line.load()) {
            line.end();
        }
    }

    /// Drops the connections that are over and have nobody aboard.
    pub(super) fn forget(&mut self, todo: &mut Todo) {
        while let Some(index) = self.lines.iter().position(Line::is_forgotten) {
            todo.push(Deed::Over(self.lines.remove(index)));
        }
    }

    pub(super) fn fail_all(&mut self, error: &Error, todo: &mut Todo) {
        self.demand = 0;
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            todo.push(Deed::Fail(waiting, error.clone()));
        }
    }
}

/// Whether another connection can be opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    Possible,
    Impossible,
}

impl Deed {
    /// Does it. Without a runtime there is nothing to connect with: a place is given up.
    pub(super) fn run(self, runtime: Option<&Handle>) {
        match (self, runtime) {
            // Whoever has given up waiting drops what comes, which may come back to the books.
            (Self::Board(reply, passage), _) => drop(reply.send(Ok(passage))),
            (Self::Fail(waiting, error), _) => drop(waiting.reply.send(Err(error))),
            (Self::Open(place), Some(runtime)) => drop(runtime.spawn(keeper::keep(place))),
            (Self::Open(place), None) => drop(place),
            (Self::GivenUp(waiting), _) => drop(waiting),
            (Self::Over(line), _) => drop(line),
        }
    }
}

/// The task that makes a connection is gone, and its runtime with it.
pub(super) fn unattended() -> Error {
    Error::new(
        Category::ConnectionLost,
        Stage::Connect,
        Party::Caller,
        "there is no runtime any longer to connect with",
    )
}

/// How long no further connection is tried after one could not be made, where others are there: a
/// server that limits them refuses by then as before.
const REST: Duration = Duration::from_secs(30);
