//! What a pool may do, and what it tells of itself.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::dialogue::Observer;

/// What a pool may do. A number of 0 counts as 1.
#[derive(Clone)]
#[non_exhaustive]
pub struct PoolOptions {
    /// Connections in all. Default 100.
    pub connections: usize,
    /// Connections for one configuration. Default 3: what large providers allow an account at a
    /// time.
    pub connections_per_server: usize,
    /// Messages on their way by each connection before another is opened. Default 8: a connection
    /// costs about as many round trips until it is ready (TCP, TLS, EHLO, STARTTLS, EHLO, AUTH) as
    /// that many messages behind one another take on one that is there.
    pub share: usize,
    /// Messages on their way by one connection, where there can be no other. Default 32: enough to
    /// fill a round trip where messages need not wait for each other.
    pub depth: usize,
    /// How long a connection is kept that nobody uses. Default 60 seconds: servers wait for the
    /// next command for 5 minutes by RFC 5321 §4.5.3.2.7, and busy ones for less.
    pub idle_timeout: Duration,
    /// Messages by one connection; the server's own limit, where it tells one (MAILMAX, RFC 9422),
    /// is kept in any case. Default 1,000: what Exim takes. `None`: as many as there are.
    pub messages_per_connection: Option<NonZeroU64>,
    /// Makes an observer of the dialogue for each connection. Default: none.
    pub(super) observers: Option<Arc<Observers>>,
}

/// Makes an observer for each connection.
pub(super) type Observers = dyn Fn() -> Box<dyn Observer + Send> + Send + Sync;

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            connections: 100,
            connections_per_server: 3,
            share: 8,
            depth: 32,
            idle_timeout: Duration::from_secs(60),
            messages_per_connection: NonZeroU64::new(1000),
            observers: None,
        }
    }
}

impl PoolOptions {
    /// With so many connections in all.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// With so many connections for one configuration.
    #[must_use]
    pub fn with_connections_per_server(mut self, connections: usize) -> Self {
        self.connections_per_server = connections;
        self
    }

    /// With another connection once each has so many messages on their way.
    #[must_use]
    pub fn with_share(mut self, messages: usize) -> Self {
        self.share = messages;
        self
    }

    /// With at most so many messages on their way by one connection.
    #[must_use]
    pub fn with_depth(mut self, messages: usize) -> Self {
        self.depth = messages;
        self
    }

    /// With another time for which an unused connection is kept.
    #[must_use]
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// With so many messages by one connection.
    #[must_use]
    pub fn with_messages_per_connection(mut self, messages: Option<NonZeroU64>) -> Self {
        self.messages_per_connection = messages;
        self
    }

    /// With an observer of the dialogue for each connection. It is called while the connection is
    /// locked: it must not use the pool.
    #[must_use]
    pub fn with_observers<F>(mut self, observers: F) -> Self
    where
        F: Fn() -> Box<dyn Observer + Send> + Send + Sync + 'static,
    {
        self.observers = Some(Arc::new(observers));
        self
    }
}

impl fmt::Debug for PoolOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolOptions")
            .field("connections", &self.connections)
            .field("connections_per_server", &self.connections_per_server)
            .field("share", &self.share)
            .field("depth", &self.depth)
            .field("idle_timeout", &self.idle_timeout)
            .field("messages_per_connection", &self.messages_per_connection)
            .finish_non_exhaustive()
    }
}

/// What a pool has, and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections, those included that are being made or closed: never more than the options
    /// allow.
    pub connections: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// Messages on their way.
    pub under_way: usize,
    /// Messages that wait for a connection.
    pub waiting: usize,
    /// Connections that were ready, since the pool was made.
    pub opened: u64,
    /// How often a message set out again, because its connection had ended.
    pub sent_again: u64,
}
