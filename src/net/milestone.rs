//! What happens on the way to a session that can send, for those who want to know how long each
//! part takes.

use std::net::SocketAddr;
use std::time::Instant;

use crate::error::Stage;
use crate::proto::reply::Reply;
use crate::proto::session::TlsSession;

/// Is told of each milestone of a connection, when it is reached.
///
/// It is called while the connection is locked: it must neither use the client nor wait.
pub trait Watcher: Send + Sync {
    /// This has happened at this time.
    fn reached(&self, milestone: Milestone<'_>, at: Instant);
}

/// Something that was achieved on the way to a session. What fails is no milestone, but the error of
/// the connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Milestone<'a> {
    /// What the connection needs of this machine is there: the roots to trust are read.
    Prepared,
    /// The server's host has these addresses that may be connected to, in the order they are tried.
    /// It is left out where nothing is looked up here: a proxy does it, or there is a Unix socket.
    Resolved(&'a [SocketAddr]),
    /// A connection was made, to this address where it is known.
    Connected(Option<SocketAddr>),
    /// The TLS handshake is done.
    Secured(&'a TlsSession),
    /// The server granted the greeting, EHLO, STARTTLS or AUTH by this reply.
    Granted(Stage, &'a Reply),
}
