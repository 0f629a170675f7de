//! The server without its sockets: octets in, octets and actions out.
use super::plan::Plan;
use super::received::{Line, Received};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A server's side of one connection.
#[derive(Debug)]
pub struct Session;

impl Session {
    /// A session whose first action is the greeting, or the TLS handshake where TLS is implicit.
    pub fn new(_plan: Arc<Plan>, _connection: u64) -> Self {
        todo!()
    }

    /// As [`new`](Self::new), with the dialogue's lines to be had by [`poll_line`](Self::poll_line).
    pub fn watched(_plan: Arc<Plan>, _connection: u64) -> Self {
        todo!()
    }

    /// What the client sent, in whatever pieces.
    pub fn receive(&mut self, _octets: &[u8]) {
        todo!()
    }

    /// The handshake that [`Action::StartTls`] asked for is done.
    pub fn tls_established(&mut self) {
        todo!()
    }

    /// What to do next, in order.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// The next line of the dialogue; always `None` unless the session is watched.
    pub fn poll_line(&mut self) -> Option<Line> {
        todo!()
    }

    /// The next message stored. A message is here before the reply that says so is an action.
    pub fn poll_message(&mut self) -> Option<Received> {
        todo!()
    }

    /// What was counted since the last call.
    pub fn take_tally(&mut self) -> Tally {
        todo!()
    }

    /// Whether more input can be taken before the actions are done.
    pub fn wants_input(&self) -> bool {
        todo!()
    }
}

/// What a session asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Write these octets at once.
    Write(Bytes),
    /// Write these octets one by one.
    Trickle(Bytes),
    /// Wait for so long before the next action.
    Delay(Duration),
    /// Begin the TLS handshake with the next octet, then call [`Session::tls_established`].
    StartTls,
    /// Close in good order: inside TLS with a close_notify.
    Close,
    /// Close, inside TLS without a close_notify.
    Truncate,
    /// Reset the connection.
    Reset,
    /// Neither read nor write any more, and keep the connection open.
    Freeze,
}

/// What a session counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Commands, well-formed or not.
    pub commands: u64,
    /// Input behind a command that has to be the last of its group.
    pub out_of_turn: u64,
}
