//! What a connection tells of each recipient, as it is asked to.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use ehlo::proto::{Config, Connection, Context, Event, RecipientEvents};
use ehlo::{Envelope, Mailbox, Reply, Security, Verdict};

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
