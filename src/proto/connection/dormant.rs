//! A connection that has nothing to do, as the little that it cannot do without.

use std::sync::Arc;

use super::{Connection, Phase, Progress};
use crate::proto::config::Context;
use crate::proto::link::Link;
use crate::proto::link::quiet::Quiet;
use crate::proto::offers::Offers;
use crate::proto::pipeline::{Pipeline, Quit};
use crate::proto::session::Session;
use crate::proto::settling::Settled;

/// What is kept of a connection that is ready and has nothing to do. All else, as queues, buffers and
/// places in them, is the same for each: one [`Connection`] serves many of them in turn.
pub(crate) struct Dormant {
    session: Session,
    link: Quiet,
    pipeline: Settled,
}

/// What a connection has in common with others to the same server, as long as that says the same to
/// each of them.
#[derive(Debug)]
pub(crate) struct Likeness {
    session: Session,
    offers: Arc<Offers>,
}

impl Connection {
    /// Leaves what must be kept, if there is nothing to do, and is vacant then.
    pub(crate) fn put_by(&mut self) -> Option<Dormant> {
        let quiet = matches!(self.phase, Phase::Ready)
            && self.link.is_quiet()
            && self.pipeline.quit == Quit::No;
        if !quiet || !self.pipeline.is_settled() {
            return None;
        }
        let session = self.progress.session.take()?;
        self.progress.tls = None;
        Some(Dormant {
            link: self.link.put_by(&session),
            pipeline: self.pipeline.put_by(),
            session,
        })
    }

    /// Goes on as the one that was put by. Only for a vacant connection.
    pub(crate) fn take_up(&mut self, dormant: Dormant) {
        let Dormant {
            session,
            link,
            pipeline,
        } = dormant;
        self.phase = Phase::Ready;
        self.replies_before_tls = None;
        self.link.take_up(link, &session);
        self.pipeline.take_up(pipeline);
        self.progress.session = Some(session);
    }

    /// What others to the same server may have in common with it, once it is ready.
    pub(crate) fn likeness(&self) -> Option<Likeness> {
        Some(Likeness {
            session: self.progress.session.clone()?,
            offers: Arc::clone(&self.pipeline.offers),
        })
    }

    /// Shares with another connection what is equal in both.
    pub(crate) fn share(&mut self, other: &Likeness) {
        if let Some(session) = &mut self.progress.session {
            session.share(&other.session);
        }
        if *self.pipeline.offers == *other.offers {
            self.pipeline.offers = Arc::clone(&other.offers);
        }
    }
}

impl Dormant {
    /// A vacant connection: it can go on as this one, or as any other.
    pub(crate) fn vacant(&self) -> Connection {
        let config = Arc::clone(&self.link.config);
        Connection {
            phase: Phase::Ready,
            progress: Progress::new(&config, &Context::default()),
            // Nonces are drawn before a session is ready.
            link: Link::new(config, [0; 32]),
            pipeline: Pipeline::new(),
            replies_before_tls: None,
        }
    }

    /// The facts of the session.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::time::Instant;

    use proptest::prelude::any;
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::Error;
    use crate::proto::body::{BareNewlines, Content};
    use crate::proto::config::{Config, Security};
    use crate::proto::event::Event;
    use crate::proto::session::{TlsSession, Verification};
    use crate::proto::transaction::{Body, Envelope, Outcome, Streamed};

    /// A reading of the clock; which one does not matter.
    fn now() -> Instant {
        let time = any::<Instant>().new_tree(&mut TestRunner::deterministic());
        time.expect("every reading is a valid one").current()
    }

    fn connection(security: Security, now: Instant) -> Connection {
        Connection::new(Arc::new(Config::new(security)), Context::default(), now)
    }

    fn take(connection: &mut Connection, now: Instant) -> String {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = connection.transmit(&mut slices);
        let flight = slices[..count].iter().flat_map(|slice| slice.to_vec());
        let flight: Vec<u8> = flight.collect();
        connection.sent(flight.len(), now);
        String::from_utf8(flight).unwrap()
    }

    /// All that comes of these octets.
    fn hear(connection: &mut Connection, replies: &str, now: Instant) -> String {
        connection.receive(replies.as_bytes(), now);
        let flight = take(connection, now);
        let events: Vec<Event> = std::iter::from_fn(|| connection.poll_event()).collect();
        let told: Vec<_> = events.iter().map(told).collect();
        format!("{flight:?} {told:?} {:?}", connection.stats())
    }

    /// An event, without how far the dialogue had come.
    fn told(event: &Event) -> String {
        match event {
            Event::Finished { recipients, .. } => {
                let outcome = Outcome::new(recipients.clone());
                let error = outcome.error().map(|error| error.to_string());
                format!("{:?} {error:?}", outcome.is_accepted())
            }
            Event::Closed(Err(error)) => error.to_string(),
            other => format!("{other:?}"),
        }
    }

    fn submit(connection: &mut Connection, now: Instant) {
        let mailbox = |text: &str| text.parse::<crate::Mailbox>().unwrap();
        let envelope = Envelope::new(mailbox("a@x.org"), [mailbox("b@x.org")]);
        let hello = Content::check("Hi\r\n", BareNewlines::Reject).unwrap();
        connection
            .submit(envelope, Body::Whole(hello), now)
            .unwrap();
    }

    /// One that was put by and taken up again, by a value that another session has left.
    fn woken(connection: &mut Connection, now: Instant) -> Connection {
        let dormant = connection.put_by().expect("it has nothing to do");
        assert!(connection.session().is_none());
        assert_eq!(dormant.session().greeting().text(), "mx");
        let mut other = dormant.vacant();
        other.take_up(dormant);
        let dormant = other.put_by().expect("it has nothing to do");
        let mut used = self::connection(Security::Plaintext, now);
        hear(&mut used, "220 used\r\n", now);
        hear(
            &mut used,
            "250-used\r\n250-CHUNKING\r\n250 PIPELINING\r\n",
            now,
        );
        submit(&mut used, now);
        take(&mut used, now);
        hear(&mut used, "250 c\r\n250 d\r\n250 stored\r\n", now);
        assert!(used.put_by().is_some());
        used.take_up(dormant);
        used
    }

    #[test]
    fn a_connection_that_was_put_by_goes_on_as_if_it_had_not_been() {
        let now = now();
        let [mut awake, mut woken_often] = [(), ()].map(|()| connection(Security::Plaintext, now));
        // Messages to submit, what the server says then, and whether all is done by then.
        for (messages, replies, done) in [
            (0, "220 mx\r\n", false),
            (
                0,
                "250-mx\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=4\r\n",
                true,
            ),
            (1, "250 a\r\n250 b\r\n354 go\r\n", false),
            (0, "250 stored\r\n", true),
            (2, "250 a\r\n250 b\r\n354 go\r\n", false),
            (0, "250 stored\r\n503 no\r\n503 no\r\n503 no\r\n", false),
            (0, "250 a\r\n250 b\r\n354 go\r\n", false),
            (0, "550 spam\r\n", true),
            // The limit of messages is not forgotten, nor that nothing begins behind one.
            (2, "", true),
        ] {
            for _ in 0..messages {
                submit(&mut awake, now);
                submit(&mut woken_often, now);
            }
            assert_eq!(take(&mut awake, now), take(&mut woken_often, now));
            let heard = hear(&mut awake, replies, now);
            assert_eq!(heard, hear(&mut woken_often, replies, now), "{replies}");
            if done && awake.link.is_quiet() {
                woken_often = woken(&mut woken_often, now);
            }
        }
        let ends = [awake, woken_often].map(|mut connection| {
            connection.receive_eof(now);
            match connection.poll_event() {
                Some(Event::Closed(Err(error))) => error,
                other => panic!("{other:?}"),
            }
        });
        let [awake, woken_often] = ends.each_ref().map(Error::progress);
        assert_eq!(ends[0].to_string(), ends[1].to_string());
        assert_eq!(awake.last_command, woken_often.last_command);
        assert_eq!(awake.bytes_sent, woken_often.bytes_sent);
        assert_eq!(ends[0].stage(), ends[1].stage());
        // The last reply may be forgotten; it is not taken for that of another session.
        let last = [awake, woken_often].map(|progress| progress.last_reply.as_ref());
        let [known, kept] = last.map(|reply| reply.map(ToString::to_string));
        assert!(kept.is_none() || kept == known, "{kept:?}");
        // Of the dialogue the end is kept.
        assert!(awake.transcript.ends_with(&woken_often.transcript));
        assert!(woken_often.transcript.ends_with("S: 550 spam\n"));
    }

    #[test]
    fn a_connection_that_has_something_to_do_is_not_put_by() {
        let now = now();
        let mut connection = connection(Security::Plaintext, now);
        assert!(connection.put_by().is_none(), "the greeting is due");
        hear(&mut connection, "220 mx\r\n", now);
        connection.receive(b"250-mx\r\n250 PIPELINING\r\n", now);
        assert!(
            connection.put_by().is_none(),
            "nobody was told that it is ready"
        );
        hear(&mut connection, "", now);
        connection = woken(&mut connection, now);
        submit(&mut connection, now);
        assert!(connection.put_by().is_none(), "a message is to be sent");
        take(&mut connection, now);
        hear(&mut connection, "250 a\r\n550 b\r\n", now);
        assert!(connection.put_by().is_none(), "an answer is due");
        hear(&mut connection, "554 nobody\r\n", now);
        hear(&mut connection, "250 reset\r\n", now);
        connection = woken(&mut connection, now);
        hear(&mut connection, "421", now);
        assert!(connection.put_by().is_none(), "half a reply is there");
        hear(&mut connection, " bye\r\n", now);
        assert!(connection.put_by().is_none(), "it is over");

        let mut connection = self::connection(Security::Plaintext, now);
        hear(&mut connection, "220 mx\r\n", now);
        hear(&mut connection, "250-mx\r\n250 CHUNKING\r\n", now);
        let mailbox: crate::Mailbox = "a@x.org".parse().unwrap();
        let envelope = Envelope::new(mailbox.clone(), [mailbox]);
        let body = Body::Streamed(Streamed::default());
        connection.submit(envelope, body, now).unwrap();
        hear(&mut connection, "", now);
        hear(&mut connection, "250 a\r\n", now);
        hear(&mut connection, "250 b\r\n", now);
        assert!(connection.body_writer().is_some() && connection.link.is_quiet());
        assert!(connection.put_by().is_none(), "the caller owes the message");
    }

    #[test]
    fn two_sessions_share_what_their_servers_say_alike() {
        let now = now();
        let sessions = ["mx", "mx", "other"].map(|name| {
            let mut connection = connection(Security::Implicit, now);
            let tls = TlsSession::new("TLSv1.3", "suite", Verification::Trusted);
            connection.tls_established(tls, now);
            hear(&mut connection, &format!("220 {name}\r\n"), now);
            hear(&mut connection, "250-mx\r\n250 PIPELINING\r\n", now);
            connection
        });
        let [first, mut same, mut other] = sessions;
        let likeness = first.likeness().unwrap();
        let texts = |connection: &Connection| {
            let session = connection.session().unwrap();
            session.texts().map(<[u8]>::as_ptr)
        };
        for (connection, shares) in [(&mut same, [true, true]), (&mut other, [false, true])] {
            let before = texts(connection);
            connection.share(&likeness);
            let (own, its) = (texts(connection), texts(&first));
            assert_eq!([own[0] == its[0], own[1] == its[1]], shares);
            assert_eq!(own[0] == before[0], !shares[0]);
            let offers = &connection.pipeline.offers;
            assert!(Arc::ptr_eq(offers, &first.pipeline.offers));
        }
        assert_eq!(other.session().unwrap().greeting().text(), "other");
    }
}
