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

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::proto::address::Mailbox;
    use crate::proto::config::{Config, Context, RecipientEvents, Security};
    use crate::proto::connection::Connection;
    use crate::proto::transaction::Envelope;

    #[test]
    fn recipients_have_no_events_of_their_own_where_nobody_wants_them() {
        for (wanted, count) in [(RecipientEvents::Each, 2), (RecipientEvents::Off, 0)] {
            let mut config = Config::new(Security::Plaintext);
            config.recipient_events = wanted;
            let now = Instant::now();
            let mut connection = Connection::new(Arc::new(config), Context::default(), now);
            let mailbox = |text: &str| text.parse::<Mailbox>().unwrap();
            let to = [mailbox("b@example.org"), mailbox("c@example.org")];
            let envelope = Envelope::new(mailbox("a@example.org"), to);
            connection.probe(envelope, now).unwrap();
            let mut events = Vec::new();
            for replies in [
                "220 x\r\n",
                "250-x\r\n250 PIPELINING\r\n",
                "250 a\r\n250 b\r\n550 5.1.1 c\r\n250 d\r\n",
            ] {
                connection.receive(replies.as_bytes(), now);
                let mut slices = [IoSlice::new(&[]); 8];
                let count = connection.transmit(&mut slices);
                let length = slices[..count].iter().map(|slice| slice.len()).sum();
                connection.sent(length, now);
                events.extend(std::iter::from_fn(|| connection.poll_event()));
                // Whatever is given back, what is still needed stays.
                connection.rest(0);
            }
            let told = |event: &&Event| matches!(event, Event::Recipient { .. });
            assert_eq!(events.iter().filter(told).count(), count);
            let Some(Event::Finished { recipients, .. }) = events.last() else {
                panic!("{events:?}");
            };
            let replies: Vec<_> = recipients.iter().filter_map(Verdict::reply).collect();
            assert_eq!(format!("{replies:?}"), "[Reply(250 b), Reply(550 5.1.1 c)]");
            connection.receive_eof(now);
            let Some(Event::Closed(Err(error))) = connection.poll_event() else {
                panic!("it is not closed");
            };
            let last = error.progress().last_reply.as_ref().map(Reply::text);
            assert_eq!(last.as_deref(), Some("d"));
        }
    }
}
