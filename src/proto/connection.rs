//! The engine's one public value: inputs, commands, outputs.

use std::io::IoSlice;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::config::{Config, Context};
use super::dialogue::Observer;
use super::reply::Reply;
use super::sasl::{Credentials, MechanismName};
use super::session::{Session, TlsSession, TransportError};
use super::transaction::{Body, Envelope, SubmitError, TransactionId, Verdict};
use crate::error::{Error, Stage};

/// One SMTP connection as a value: no socket, clock, task or random source.
pub struct Connection {}

#[expect(
    unused_variables,
    clippy::needless_pass_by_ref_mut,
    reason = "skeleton"
)]
impl Connection {
    /// A connection whose transport has just connected. With implicit TLS the first thing it
    /// expects is [`Self::tls_established`], else the greeting.
    pub fn new(config: Arc<Config>, context: Context, now: Instant) -> Self {
        todo!()
    }

    /// Shows the dialogue to an observer from here on.
    pub fn observe(&mut self, observer: Box<dyn Observer + Send>) {
        todo!()
    }

    /// Octets have arrived.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        todo!()
    }

    /// The peer has closed its side.
    pub fn receive_eof(&mut self, now: Instant) {
        todo!()
    }

    /// The transport has failed.
    pub fn failed(&mut self, cause: TransportError, now: Instant) {
        todo!()
    }

    /// The transport has taken the first `len` octets of [`Self::transmit`].
    pub fn sent(&mut self, len: usize, now: Instant) {
        todo!()
    }

    /// The TLS handshake is complete.
    pub fn tls_established(&mut self, tls: TlsSession, now: Instant) {
        todo!()
    }

    /// Answers [`Event::CredentialsWanted`]; `None` gives up.
    pub fn credentials(&mut self, credentials: Option<Credentials>, now: Instant) {
        todo!()
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }

    /// Queues a message. What depends on the session comes as an event.
    ///
    /// # Errors
    /// An envelope without recipients, or a connection that has ended.
    pub fn submit(
        &mut self,
        envelope: Envelope,
        body: Body,
        now: Instant,
    ) -> Result<TransactionId, SubmitError> {
        todo!()
    }

    /// Asks for each recipient whether the server would accept it: MAIL, RCPT…, RSET, no content.
    ///
    /// # Errors
    /// As for [`Self::submit`].
    pub fn probe(
        &mut self,
        envelope: Envelope,
        now: Instant,
    ) -> Result<TransactionId, SubmitError> {
        todo!()
    }

    /// The writer of a streamed body; `Some` only while one is wanted and there is room.
    pub fn body_writer(&mut self) -> Option<BodyWriter<'_>> {
        todo!()
    }

    /// Withdraws a transaction as far as the protocol still allows.
    pub fn cancel(&mut self, id: TransactionId, now: Instant) {
        todo!()
    }

    /// Ends the session when everything submitted so far is done. Nothing can be submitted after.
    pub fn quit(&mut self, now: Instant) {
        todo!()
    }

    /// What to write next: fills slices from the front, and returns how many.
    #[must_use]
    pub fn transmit<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        todo!()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// When [`Self::handle_timeout`] is due, if the peer stays silent.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// The session's facts, once the greeting is there.
    pub fn session(&self) -> Option<&Session> {
        todo!()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        todo!()
    }
}

/// Writes the streamed body that the server waits for.
pub struct BodyWriter<'a> {
    connection: PhantomData<&'a mut Connection>,
}

#[expect(
    unused_variables,
    clippy::needless_pass_by_ref_mut,
    reason = "skeleton"
)]
impl BodyWriter<'_> {
    /// The transaction whose body this is.
    pub fn id(&self) -> TransactionId {
        todo!()
    }

    /// Octets that may be written before the transport has taken more; above 0.
    pub fn room(&self) -> usize {
        todo!()
    }

    /// Takes the next piece; it is shared, not copied. A piece may exceed the room.
    pub fn write(&mut self, piece: Bytes, now: Instant) {
        todo!()
    }

    /// The body is complete.
    pub fn finish(self, now: Instant) {
        todo!()
    }

    /// The body cannot be completed: the message is not sent, and the connection ends.
    pub fn abandon(self, now: Instant) {
        todo!()
    }
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A step of the handshake is done: greeting, EHLO, STARTTLS, AUTH.
    Reached {
        /// The step.
        stage: Stage,
        /// The reply that ended it.
        reply: Reply,
    },
    /// Wrap the socket in TLS, then call [`Connection::tls_established`].
    StartTls,
    /// Call [`Connection::credentials`]. No deadline of the peer runs meanwhile.
    CredentialsWanted {
        /// The mechanism that will use them.
        mechanism: MechanismName,
        /// The refusal, when it asks a second time.
        previous: Option<Reply>,
    },
    /// Transactions can go out.
    Ready(Session),
    /// One RCPT was answered.
    Recipient {
        /// The transaction.
        id: TransactionId,
        /// The recipient's place in the envelope.
        index: usize,
        /// RCPT; with LMTP again the body.
        stage: Stage,
        /// The answer.
        reply: Reply,
    },
    /// A transaction is over: one verdict a recipient, in envelope order. Exactly once a submission.
    Finished {
        /// The transaction.
        id: TransactionId,
        /// The verdicts.
        recipients: Vec<Verdict>,
    },
    /// The connection is over. Exactly once, and last.
    Closed(Result<(), Error>),
}

/// Counters of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Times that the client spoke after it had listened: round trips, but for those of TCP and TLS.
    pub flights: u64,
    /// Octets that the transport has taken.
    pub bytes_sent: u64,
    /// Octets received.
    pub bytes_received: u64,
    /// Replies received.
    pub replies: u64,
}
