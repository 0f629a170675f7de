//! Who waits, and who is aboard which connection.
//!
//! One lock holds it all. It is taken before a connection's own, never after it; what wakes others
//! or may come back here is done when it is free again.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::desk::{Cargo, Deed, Desk, Growth, Server, Todo, Waiting, unattended};
use super::errand::Passage;
use super::keeper::Place;
use super::line::{Ending, Fare, Line, Phase, Wants};
use super::options::{PoolOptions, PoolStats};
use crate::error::{Category, Error, Party};
use crate::net::client::Client;
use crate::net::config::ClientConfig;
use crate::net::shared::now;
use crate::proto::transaction::Body;

/// The books of a pool.
pub(super) struct Books {
    options: PoolOptions,
    state: Mutex<State>,
    /// Told when the last message or the last connection may be gone.
    quiet: Notify,
}

struct State {
    season: Season,
    desks: BTreeMap<u64, Desk>,
    /// Numbers given so far: to servers, connections and messages, ascending.
    numbers: u64,
    /// Connections, those included that are being made or closed.
    connections: usize,
    /// Messages that have come and have no outcome.
    messages: usize,
    opened: u64,
    sent_again: u64,
    /// Where connections are kept when nobody who is in a runtime asks for one.
    runtime: Option<Handle>,
}

/// Where a pool is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Season {
    Open,
    /// What is there is done.
    Closing,
    /// Nothing sets out any more.
    Withdrawn,
}

impl Books {
    pub(super) fn new(options: PoolOptions) -> Self {
        Self {
            options,
            state: Mutex::new(State {
                season: Season::Open,
                desks: BTreeMap::new(),
                numbers: 0,
                connections: 0,
                messages: 0,
                opened: 0,
                sent_again: 0,
                runtime: None,
            }),
            quiet: Notify::new(),
        }
    }

    pub(super) fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// The server of this configuration: the one that is there, if it is equivalent.
    pub(super) fn server(&self, config: ClientConfig) -> Arc<Server> {
        let mut state = self.lock();
        state.desks.retain(|_, desk| desk.is_needed());
        let desks = state.desks.values();
        let servers: Vec<_> = desks.filter_map(|desk| desk.server.upgrade()).collect();
        let mut known = servers.iter();
        let server = match known.find(|server| server.config.is_equivalent(&config)) {
            Some(server) => Arc::clone(server),
            None => {
                let number = state.number();
                let server = Arc::new(Server { number, config });
                state.desks.insert(number, Desk::new(&server));
                server
            }
        };
        // By now this may be the last that holds one of the others, whose parts are the caller's.
        drop(state);
        drop(servers);
        server
    }

    /// A message comes in.
    ///
    /// # Errors
    /// The pool takes no more.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Entry, Error> {
        let mut state = self.lock();
        match state.season {
            Season::Open => {}
            Season::Closing | Season::Withdrawn => return Err(closed()),
        }
        state.messages += 1;
        Ok(Entry {
            books: Arc::clone(self),
            number: state.number(),
        })
    }

    /// Nothing more comes in.
    pub(super) fn close(self: &Arc<Self>) {
        self.change(|state, todo| {
            if state.season == Season::Open {
                state.season = Season::Closing;
            }
            let numbers: Vec<u64> = state.desks.keys().copied().collect();
            for number in numbers {
                self.serve(state, number, todo);
            }
        });
    }

    /// Nothing more comes in, and nothing sets out. Returns the connections there are.
    pub(super) fn withdraw(&self) -> Vec<Client> {
        let mut todo = Todo::default();
        let mut clients = Vec::new();
        let mut state = self.lock();
        state.season = Season::Withdrawn;
        for desk in state.desks.values_mut() {
            desk.fail_all(&withdrawn(), &mut todo);
            for line in &mut desk.lines {
                clients.extend(line.client().cloned());
                line.end();
            }
        }
        drop(state);
        todo.into_iter().for_each(|deed| deed.run(None));
        clients
    }

    /// Waits until every message has its outcome, and every connection is closed.
    pub(super) async fn quiet(&self) {
        loop {
            let mut told = std::pin::pin!(self.quiet.notified());
            told.as_mut().enable();
            if self.lock().is_quiet() {
                return;
            }
            told.await;
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.lock();
        let lines = || state.desks.values().flat_map(|desk| &desk.lines);
        PoolStats {
            connections: state.connections,
            idle: lines().filter_map(Line::idle_since).count(),
            under_way: lines().map(Line::load).sum(),
            waiting: state.desks.values().map(|desk| desk.waiting.len()).sum(),
            opened: state.opened,
            sent_again: state.sent_again,
        }
    }

    /// A connection is there.
    pub(super) fn ready(self: &Arc<Self>, place: &Place, client: Client) {
        self.change(|state, todo| {
            state.opened += 1;
            if let Some(desk) = state.desks.get_mut(&place.server().number)
                && let Some(line) = desk.line(place.line())
            {
                line.ready(client, self.options.messages_per_connection);
            }
            self.serve(state, place.server().number, todo);
            if let Some(desk) = state.desks.get_mut(&place.server().number)
                && let Some(line) = desk.line(place.line())
            {
                line.settle();
            }
            self.make_room(state);
        });
    }

    /// A connection is over, or there will be none.
    pub(super) fn gone(self: &Arc<Self>, place: &Place, error: Option<&Error>) {
        self.change(|state, todo| {
            state.connections = state.connections.saturating_sub(1);
            if let Some(desk) = state.desks.get_mut(&place.server().number) {
                desk.gone(place.line(), error, todo);
            }
            // Who has no connection at all goes first, then who had one longest ago, then who has
            // waited longest.
            let mut in_want: Vec<_> = state
                .desks
                .iter()
                .filter_map(|(number, desk)| {
                    let (first, _) = desk.waiting.first_key_value()?;
                    Some((desk.has_line(), desk.turn, *first, *number))
                })
                .collect();
            in_want.sort_unstable();
            for (.., number) in in_want {
                self.serve(state, number, todo);
            }
        });
    }

    /// Until when a connection has nothing to do; `None` where it is to be closed.
    pub(super) fn rest(self: &Arc<Self>, place: &Place) -> Option<Instant> {
        self.change(|state, todo| {
            let server = place.server().number;
            // What could not be opened a while ago may be possible now.
            self.serve(state, server, todo);
            let desk = state.desks.get_mut(&server)?;
            let line = desk.line(place.line())?;
            line.rest(self.options.idle_timeout, now())
        })
    }

    fn leave(self: &Arc<Self>, seat: &Seat, ending: Ending) -> Fare {
        self.change(|state, todo| {
            let mut fare = Fare::Final;
            if let Some(desk) = state.desks.get_mut(&seat.server) {
                if let Some(line) = desk.line(seat.line) {
                    fare = line.leave(ending);
                }
                desk.forget(todo);
            }
            self.serve(state, seat.server, todo);
            match state.season {
                Season::Open | Season::Closing => fare,
                Season::Withdrawn => Fare::Final,
            }
        })
    }

    /// Lets those board who can, and opens connections for the others.
    fn serve(self: &Arc<Self>, state: &mut State, number: u64, todo: &mut Todo) {
        let Some(desk) = state.desks.get_mut(&number) else {
            return;
        };
        if desk.waiting.is_empty() {
            if state.season != Season::Open {
                desk.lines.iter_mut().for_each(Line::end_if_idle);
            }
            return;
        }
        let ceiling = self.options.connections.max(1);
        let mut next = 0;
        while let Some((&message, waiting)) = desk.waiting.range(next..).next() {
            next = message + 1;
            if waiting.reply.is_closed() {
                todo.extend(desk.take(message).map(Deed::GivenUp));
                continue;
            }
            let wants = waiting.cargo.wants;
            let growth = desk.growth(&self.options, state.connections < ceiling);
            let Some(index) = desk.choose(wants, &self.options, growth) else {
                match wants {
                    // Who needs a new connection keeps nobody from the others.
                    Wants::Fresh => continue,
                    Wants::Any => break,
                }
            };
            let Some(Waiting { cargo, reply }) = desk.take(message) else {
                break;
            };
            if let Some(place) = self.seat(number, &mut desk.lines[index], &cargo.body) {
                todo.push(Deed::Board(reply, cargo.set_out(place)));
            }
        }
        let share = self.options.share.max(1);
        while desk.opening() * share < desk.demand
            && state.connections < ceiling
            && desk.growth(&self.options, true) == Growth::Possible
            && let Some(server) = desk.server.upgrade()
        {
            state.connections += 1;
            state.numbers += 1;
            desk.turn = state.numbers;
            let stop = Arc::new(Notify::new());
            desk.lines.push(Line::new(state.numbers, Arc::clone(&stop)));
            let place = Place::new(Arc::clone(self), server, state.numbers, stop);
            todo.push(Deed::Open(place));
        }
        desk.renew();
        if !desk.waiting.is_empty() && !desk.has_line() {
            self.make_room(state);
        }
    }

    /// A seat on a connection that is ready, and the connection.
    fn seat(self: &Arc<Self>, server: u64, line: &mut Line, body: &Body) -> Option<(Client, Seat)> {
        let client = line.board(body)?;
        let seat = Seat {
            books: Arc::clone(self),
            server,
            line: line.number(),
            taken: Taken::Yes,
        };
        Some((client, seat))
    }

    /// Where servers have nobody to serve those who wait, others give up a connection: the one that
    /// was idle longest; where none is, the oldest of the server that has most.
    fn make_room(&self, state: &mut State) {
        if state.connections < self.options.connections.max(1) {
            return;
        }
        let claims = state
            .desks
            .values()
            .filter(|desk| !desk.waiting.is_empty() && !desk.has_line())
            .count();
        let ending = state
            .desks
            .values()
            .flat_map(|desk| &desk.lines)
            .filter(|line| line.phase() == Phase::Ending)
            .count();
        for _ in ending..claims {
            let victim = state
                .desks
                .values_mut()
                .flat_map(|desk| {
                    let lines = desk.lines.len();
                    desk.lines.iter_mut().map(move |line| (lines, line))
                })
                .filter(|(_, line)| line.phase() == Phase::Ready)
                .min_by_key(|(lines, line)| match line.idle_since() {
                    Some(since) => (0, Some(since), 0, line.number()),
                    None => (1, None, usize::MAX - lines, line.number()),
                });
            match victim {
                Some((_, line)) => line.end(),
                None => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the books, and then does what follows of it.
    fn change<T>(&self, change: impl FnOnce(&mut State, &mut Todo) -> T) -> T {
        let mut todo = Todo::default();
        let mut state = self.lock();
        let result = change(&mut state, &mut todo);
        let quiet = state.is_quiet();
        let opens = todo.iter().any(|deed| matches!(deed, Deed::Open(_)));
        let runtime = match opens {
            true => state.runtime(),
            false => None,
        };
        drop(state);
        for deed in todo {
            deed.run(runtime.as_ref());
        }
        if quiet {
            self.quiet.notify_waiters();
        }
        result
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn is_quiet(&self) -> bool {
        self.season != Season::Open && self.messages == 0 && self.connections == 0
    }

    /// The runtime of whoever asks; where that is none, the one of who asked last.
    fn runtime(&mut self) -> Option<Handle> {
        if let Ok(runtime) = Handle::try_current() {
            self.runtime = Some(runtime);
        }
        self.runtime.clone()
    }
}

/// A message that has come in. Dropped, it has its outcome, or wants none.
pub(super) struct Entry {
    books: Arc<Books>,
    number: u64,
}

impl Entry {
    /// Takes a seat for the message, or a place among those who wait.
    pub(super) fn board(&self, server: &Arc<Server>, cargo: Cargo) -> Boarding {
        let books = &self.books;
        books.change(|state, todo| {
            let below_ceiling = state.connections < books.options.connections.max(1);
            let desk = match (state.season, state.desks.get_mut(&server.number)) {
                (Season::Open | Season::Closing, Some(desk)) => desk,
                (Season::Withdrawn, _) => return Boarding::refused(withdrawn()),
                // The desk is there as long as its server is.
                (Season::Open | Season::Closing, None) => return Boarding::refused(unattended()),
            };
            if desk.waiting.is_empty() {
                let growth = desk.growth(&books.options, below_ceiling);
                if let Some(index) = desk.choose(cargo.wants, &books.options, growth)
                    && let line = &mut desk.lines[index]
                    && let Some(place) = books.seat(server.number, line, &cargo.body)
                {
                    return Boarding::at_once(cargo.set_out(place));
                }
            }
            let (reply, passage) = oneshot::channel();
            desk.demand = desk.demand.saturating_add(cargo.demand);
            desk.waiting.insert(self.number, Waiting { cargo, reply });
            books.serve(state, server.number, todo);
            Boarding(Turn::Waiting {
                passage,
                books: Arc::clone(books),
                server: server.number,
                message: self.number,
            })
        })
    }

    pub(super) fn note_sent_again(&self) {
        self.books.lock().sent_again += 1;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.books.lock();
        state.messages -= 1;
        if state.is_quiet() {
            drop(state);
            self.books.quiet.notify_waiters();
        }
    }
}

/// Waits for a seat. Dropped before that, it waits no longer.
pub(super) struct Boarding(Turn);

enum Turn {
    Waiting {
        passage: oneshot::Receiver<Result<Passage, Error>>,
        books: Arc<Books>,
        server: u64,
        message: u64,
    },
    Done(Option<Result<Passage, Error>>),
}

impl Boarding {
    fn at_once(passage: Passage) -> Self {
        Self(Turn::Done(Some(Ok(passage))))
    }

    fn refused(error: Error) -> Self {
        Self(Turn::Done(Some(Err(error))))
    }
}

impl Future for Boarding {
    type Output = Result<Passage, Error>;

    /// Pending for ever once the passage was taken.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            Turn::Waiting { passage, .. } => match Pin::new(passage).poll(cx) {
                Poll::Ready(result) => result.unwrap_or_else(|_| Err(unattended())),
                Poll::Pending => return Poll::Pending,
            },
            Turn::Done(result) => match result.take() {
                Some(result) => result,
                None => return Poll::Pending,
            },
        };
        self.0 = Turn::Done(None);
        Poll::Ready(result)
    }
}

impl Drop for Boarding {
    fn drop(&mut self) {
        if let Turn::Waiting {
            books,
            server,
            message,
            ..
        } = &self.0
        {
            let mut state = books.lock();
            let desk = state.desks.get_mut(server);
            let waiting = desk.and_then(|desk| desk.take(*message));
            drop(state);
            drop(waiting);
        }
    }
}

/// What a message takes of a connection. Dropped, it was given up on the way.
pub(super) struct Seat {
    books: Arc<Books>,
    server: u64,
    line: u64,
    taken: Taken,
}

#[derive(PartialEq, Eq)]
enum Taken {
    Yes,
    No,
}

impl Seat {
    /// Gives it up. Returns what the passage counts as, where it came to nothing.
    pub(super) fn leave(mut self, ending: Ending) -> Fare {
        self.taken = Taken::No;
        let books = Arc::clone(&self.books);
        books.leave(&self, ending)
    }

    /// The number of the connection.
    pub(super) fn line(&self) -> u64 {
        self.line
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.taken == Taken::Yes {
            self.books.leave(self, Ending::Withdrawn);
        }
    }
}

fn closed() -> Error {
    Error::new(
        Category::ConnectionLost,
        crate::error::Stage::Connect,
        Party::Caller,
        "the pool was closed by this side",
    )
}

fn withdrawn() -> Error {
    Error::new(
        Category::ConnectionLost,
        crate::error::Stage::Connect,
        Party::Caller,
        "the message was withdrawn by this side before it was sent",
    )
}
