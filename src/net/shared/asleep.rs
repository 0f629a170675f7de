//! A connection's state: whole while there is something to do, and the little that must be kept while
//! there is nothing.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::{Departure, Leave, Life, Mood, State};
use crate::proto::connection::Connection;
use crate::proto::connection::dormant::Dormant;

/// What a connection has of its state: one of the two.
pub(super) struct Resident {
    awake: Option<Box<State>>,
    asleep: Option<Asleep>,
}

/// What is kept of a state in which nothing is unfinished.
struct Asleep {
    engine: Dormant,
    driver: Option<Waker>,
    mourners: Box<[Waker]>,
    next_rounds: u64,
    found_limit: Option<NonZeroUsize>,
    answered: u64,
}

/// A state under its lock. It is awake as long as that is held, and falls asleep behind it where
/// there is nothing to do.
pub(in crate::net) struct Awake<'a> {
    resident: MutexGuard<'a, Resident>,
    spares: &'a Spares,
}

/// States that nobody needs now. A connection that wakes takes one, with its queues and buffers, and
/// gives it back: so those that are idle have none.
#[derive(Default)]
pub(in crate::net) struct Spares {
    states: Mutex<Vec<Box<State>>>,
}

impl Resident {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            awake: Some(Box::new(State::new(connection))),
            asleep: None,
        }
    }

    /// The state. A panic elsewhere while it was held does not spread: the engine has no state that
    /// is broken half-way through a call.
    pub(super) fn lock<'a>(this: &'a Mutex<Self>, spares: &'a Spares) -> Awake<'a> {
        let mut resident = this.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asleep) = resident.asleep.take() {
            let mut state = spares
                .take()
                .unwrap_or_else(|| Box::new(State::new(asleep.engine.vacant())));
            state.take_up(asleep);
            resident.awake = Some(state);
        }
        Awake { resident, spares }
    }
}

impl Deref for Awake<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        let state = self.resident.awake.as_deref();
        state.expect("it is awake while it is locked")
    }
}

impl DerefMut for Awake<'_> {
    fn deref_mut(&mut self) -> &mut State {
        let state = self.resident.awake.as_deref_mut();
        state.expect("it is awake while it is locked")
    }
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        let resident = &mut *self.resident;
        let Some(asleep) = resident.awake.as_deref_mut().and_then(State::put_by) else {
            return;
        };
        resident.asleep = Some(asleep);
        if let Some(state) = resident.awake.take() {
            self.spares.give(state);
        }
    }
}

impl Spares {
    fn take(&self) -> Option<Box<State>> {
        self.lock().pop()
    }

    fn give(&self, mut state: Box<State>) {
        state.rest(1);
        let mut states = self.lock();
        if states.len() < SPARES {
            states.push(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<State>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares").finish_non_exhaustive()
    }
}

impl State {
    /// Leaves what must be kept, if there is nothing to do.
    fn put_by(&mut self) -> Option<Asleep> {
        let quiet = self.mood == Mood::Drowsy
            && self.unfinished == 0
            && self.slots.is_empty()
            && self.rounds.is_empty()
            && self.woken.is_empty()
            && self.leave == Leave::No
            && self.departure == Departure::Polite
            && matches!(self.life, Life::Ready(_));
        if !quiet {
            return None;
        }
        let engine = self.connection.put_by()?;
        self.life = Life::Opening(None);
        Some(Asleep {
            engine,
            driver: self.driver.take(),
            mourners: std::mem::take(&mut self.mourners).into(),
            next_rounds: self.next_rounds,
            found_limit: self.found_limit.and_then(NonZeroUsize::new),
            answered: self.answered,
        })
    }

    /// Goes on as the one that was put by.
    fn take_up(&mut self, asleep: Asleep) {
        self.life = Life::Ready(asleep.engine.session().clone());
        self.connection.take_up(asleep.engine);
        self.driver = asleep.driver;
        self.mourners = asleep.mourners.into();
        self.next_rounds = asleep.next_rounds;
        self.found_limit = asleep.found_limit.map(NonZeroUsize::get);
        self.answered = asleep.answered;
        self.mood = Mood::Drowsy;
    }

    /// Gives back memory, but for what so many short messages need.
    fn rest(&mut self, messages: usize) {
        self.connection.rest(messages);
        self.slots.shrink_to(messages);
        self.rounds.shrink_to(messages);
    }
}

/// As many as there may well be threads that each have a connection awake.
const SPARES: usize = 16;

#[cfg(test)]
mod tests {
    use super::Asleep;
    use crate::net::shared::Shared;

    #[test]
    fn a_connection_that_has_nothing_to_do_is_small() {
        for (name, size, limit) in [
            ("Asleep", size_of::<Asleep>(), 200),
            ("Shared", size_of::<Shared>(), 320),
        ] {
            assert!(size <= limit, "{name} has {size} octets, more than {limit}");
        }
    }
}
