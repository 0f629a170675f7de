//! What comes out of a connection.

use super::notice::Notice;
use super::reply::Reply;
use super::sasl::MechanismName;
use super::session::Session;
use super::transaction::{TransactionId, Verdict};
use crate::error::{Error, Stage};

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
    /// Wrap the socket in TLS, then call `Connection::tls_established`.
    StartTls,
    /// Call `Connection::credentials`. No deadline of the peer runs meanwhile.
    CredentialsWanted {
        /// The preferred mechanism. Credentials of another kind than it needs are used with the
        /// first mechanism that takes them.
        mechanism: MechanismName,
        /// The refusal, when it asks a second time: a token that the server refused has expired,
        /// most likely.
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
    /// Something to know of a transaction that decides nothing.
    Noticed {
        /// The transaction.
        id: TransactionId,
        /// What.
        notice: Notice,
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
