//! The end of a connection's handles.

use std::sync::Arc;

use super::{Departure, Life, Shared, now};

/// What all handles of a connection hold; when the last one goes, so does the connection.
pub(in crate::net) struct Owner {
    pub(in crate::net) shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.change(|state| match state.life {
            Life::Opening(_) => state.departure = Departure::AtOnce,
            Life::Ready(_) => state.leave(now()),
            Life::Closed(_) => {}
        });
    }
}
