//! Connections that are used again: as many as are wanted, never more, shared fairly.
//!
//! Reading order: this file (what callers hold), `errand` (one message, and how often it sets out),
//! `books` (who waits, and who is aboard which connection), `desk` (those of one configuration),
//! `line` (one connection as the books have it), `keeper` (the task of each connection) and `stream`
//! (many messages).

mod books;
mod desk;
mod errand;
mod keeper;
mod line;
mod options;
mod stream;

use std::fmt;
use std::sync::Arc;

use tokio::io::AsyncRead;

use self::books::Books;
use self::desk::Server;
use self::errand::{Errand, Manner};
use super::client::Client;
use super::config::ClientConfig;
use crate::proto::body::Content;
use crate::proto::transaction::{Envelope, Outcome, Streamed};

pub use options::{PoolOptions, PoolStats};
pub use stream::SendAll;

/// Connections to servers, opened when messages need them and used again.
///
/// A clone is another handle to the same pool. When the last one is dropped, connections that
/// nobody uses say QUIT and close.
///
/// ```no_run
/// use ehlo::{BareNewlines, ClientConfig, Content, Envelope, Mailbox, Pool, Security};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(ClientConfig::new("mail.example.org", Security::StartTls));
/// let from: Mailbox = "alice@example.org".parse()?;
/// let to: Mailbox = "bob@example.com".parse()?;
/// let message = Content::check("Subject: Hello\r\n\r\nHello.\r\n", BareNewlines::Reject)?;
/// pool.send(Envelope::new(from, [to]), message).await.into_result()?;
/// pool.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Which connection a message takes
///
/// A connection is used for those configurations alone that are equal in all that is configured:
/// server, way and local address, security, whom to trust, client certificate, log-in, and
/// every rule of the session. A connection that was made in clear, or by another rule for TLS, is
/// never taken instead.
///
/// Messages share connections, and their round trips: the one with the fewest on their way
/// takes the next. Another is opened where each has [`PoolOptions::share`] of them, and the ceilings
/// allow it; where they don't, each takes up to [`PoolOptions::depth`], and the others wait. Who has
/// waited longest goes first.
///
/// # What happens when a connection ends
///
/// The end of a connection is seen when it comes, 421 or not, and such a one is not used; nothing is
/// asked to find out (a NOOP would cost each message a round trip, and prove nothing of the next
/// moment). What was on its way, and was not sent, goes by another connection, if it lies in
/// memory: once, by a new connection, for the message that the end came upon, where the connection
/// had been of use before, or had waited for something to do; for those behind it as often as a
/// connection was of use to somebody, and once where it was not. A message in doubt is never sent
/// again, nor is one that is streamed once its reader was asked for an octet. Recipients that a
/// session has no room for (RFC 9422) go by the next one.
///
/// A connection that cannot be made is the error of all messages that wait, unless there is another
/// one to the same server: it takes them, or the next one is tried when it has ended.
#[derive(Clone)]
pub struct Pool {
    owner: Arc<Owner>,
    server: Arc<Server>,
}

/// What all handles have in common.
struct Owner {
    books: Arc<Books>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.books.close();
    }
}

impl Pool {
    /// A pool for this configuration, with the default options. Nothing is connected yet.
    pub fn new(config: ClientConfig) -> Self {
        Self::with_options(config, PoolOptions::default())
    }

    /// A pool for this configuration, with these options.
    pub fn with_options(config: ClientConfig, options: PoolOptions) -> Self {
        let books = Arc::new(Books::new(options));
        let server = books.server(config);
        Self {
            owner: Arc::new(Owner { books }),
            server,
        }
    }

    /// The same pool for another configuration: another server, or other rules for the same one.
    /// The ceiling on connections in all is one for both.
    #[must_use]
    pub fn with_config(&self, config: ClientConfig) -> Self {
        Self {
            owner: Arc::clone(&self.owner),
            server: self.owner.books.server(config),
        }
    }

    /// Sends a message and waits for the verdicts; before that it waits for its turn.
    ///
    /// Dropping the future withdraws the message as far as the protocol still allows.
    pub async fn send(&self, envelope: Envelope, content: Content) -> Outcome {
        self.send_by(envelope, content).await.outcome
    }

    /// Sends a message that is read piece by piece, when the server asks for it. Nothing else
    /// travels behind it on its connection meanwhile. At most some hundred KiB of it are in memory
    /// at any time.
    ///
    /// A reader that fails ends the connection; its error is the source of the verdicts' error.
    pub async fn send_from<R>(&self, envelope: Envelope, streamed: Streamed, reader: R) -> Outcome
    where
        R: AsyncRead + Unpin,
    {
        self.send_from_by(envelope, streamed, reader).await.outcome
    }

    /// Ends the pool: nothing more can be sent, what was given before is done, and every connection
    /// says QUIT. It waits for all of it, so what is being sent has to be awaited meanwhile.
    pub async fn close(&self) {
        self.owner.books.close();
        self.owner.books.quiet().await;
    }

    /// Lets nothing more in.
    #[cfg(feature = "cli")]
    pub(crate) fn end(&self) {
        self.owner.books.close();
    }

    /// Ends the pool, and withdraws what is not finished, as far as the protocol still allows. Each
    /// outcome still comes, and says what became of its message.
    pub fn withdraw(&self) {
        for client in self.owner.books.withdraw() {
            client.withdraw();
        }
    }

    /// Ends the pool and its connections at once, without QUIT. Each outcome still comes: a message
    /// whose end was sent, and not answered, is in doubt.
    pub fn abort(&self) {
        for client in self.owner.books.withdraw() {
            client.abort();
        }
    }

    /// What the pool has, and what it has done.
    pub fn stats(&self) -> PoolStats {
        self.owner.books.stats()
    }

    /// As [`Self::send`], and tells the connection too.
    pub(crate) async fn send_by(&self, envelope: Envelope, content: Content) -> Sent {
        let mut errand = match self.errand(envelope, Manner::Whole(content)) {
            Ok(errand) => errand,
            Err(sent) => return sent,
        };
        loop {
            let passage = match errand.board(1).await {
                Ok(passage) => passage,
                Err(error) => return errand.fail(&error),
            };
            if let Some(sent) = errand.land(passage.over().await) {
                return sent;
            }
        }
    }

    /// As [`Self::send_from`], and tells the connection too.
    pub(crate) async fn send_from_by<R>(
        &self,
        envelope: Envelope,
        streamed: Streamed,
        reader: R,
    ) -> Sent
    where
        R: AsyncRead + Unpin,
    {
        let mut errand = match self.errand(envelope, Manner::Streamed(streamed)) {
            Ok(errand) => errand,
            Err(sent) => return sent,
        };
        let mut reader = errand::Source::new(reader);
        loop {
            let passage = match errand.board(1).await {
                Ok(passage) => passage,
                Err(error) => return errand.fail(&error),
            };
            let landed = passage.feed(&mut reader).await;
            if reader.was_read() {
                errand.was_read();
            }
            if let Some(sent) = errand.land(landed) {
                return sent;
            }
        }
    }

    /// A message that is to be sent, if the pool still takes any.
    fn errand(&self, envelope: Envelope, manner: Manner) -> Result<Errand, Sent> {
        Errand::new(&self.owner.books, &self.server, envelope, manner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("config", self.server.config())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// What became of a message, and the last connection that it took.
pub(crate) struct Sent {
    pub(crate) outcome: Outcome,
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) client: Option<Client>,
}
