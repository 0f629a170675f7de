//! Wakers that wait for a lock to be free.

use std::task::Waker;

/// Who is to be woken when the lock is free: mostly nobody or one.
#[derive(Default)]
pub(in crate::net) struct Woken {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Woken {
    pub(super) fn extend(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        for waker in wakers {
            match &self.first {
                None => self.first = Some(waker),
                Some(_) => self.others.push(waker),
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(in crate::net) fn wake(self) {
        for waker in self.first.into_iter().chain(self.others) {
            waker.wake();
        }
    }
}
