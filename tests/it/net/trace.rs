//! What a subscriber to `tracing` gets to see: connections and stages, and nothing that was said.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use ehlo::proto::{Config, PlaintextAuth};
use ehlo::{Client, ClientConfig, Credentials, Security};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::peer::Peer;
use super::{hello, to};

/// Every span and every event with all of its fields.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    spans: Vec<Fields>,
    /// Each with the number of its span, from 1.
    events: Vec<(u64, Fields)>,
}

/// Names and values. A field that is recorded again has all its values, in order.
#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, Vec<String>>);

impl Fields {
    fn value(&self, name: &str) -> Option<&str> {
        Some(self.0.get(name)?.last()?)
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let values = self.0.entry(field.name()).or_default();
        values.push(format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Subscriber for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ehlo")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let mut entries = self.0.lock().unwrap();
        entries.spans.push(fields);
        Id::from_u64(entries.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut entries = self.0.lock().unwrap();
        values.record(&mut entries.spans[span.into_u64() as usize - 1]);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = event.parent().map_or(0, Id::into_u64);
        self.0.lock().unwrap().events.push((span, fields));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_connection_is_a_span_with_its_number_and_stages_and_nothing_that_was_said() {
    let journal = Journal::default();
    let _guard = tracing::subscriber::set_default(journal.clone());
    for recipient in ["bob@example.org", "carol@example.org"] {
        let (mut peer, stream) = Peer::pair(1 << 16);
        let server = tokio::spawn(async move {
            peer.greet(&["AUTH PLAIN"]).await;
            peer.expect("AUTH PLAIN ").await;
            peer.say(&["235 welcome, alice"]).await;
            peer.expect("MAIL FROM:").await;
        });
        let session = Config::new(Security::Plaintext).with_plaintext_auth(PlaintextAuth::Allow);
        let config = ClientConfig::new("mx.example.org", Security::Plaintext)
            .with_session(session)
            .with_credentials(Credentials::password("alice", "open sesame").unwrap());
        let client = Client::attach(stream, config).await.unwrap();
        assert!(!client.send(to(recipient), hello()).await.is_accepted());
        server.await.unwrap();
    }
    let entries = journal.0.lock().unwrap();
    let ids: Vec<_> = entries.spans.iter().map(|span| span.value("id")).collect();
    assert_eq!(ids.len(), 2, "{:?}", entries.spans);
    assert!(ids[0].is_some() && ids[1].is_some() && ids[0] != ids[1]);
    for (number, span) in (1..).zip(&entries.spans) {
        assert_eq!(span.value("host"), Some("mx.example.org"));
        assert_eq!(
            span.0["stage"],
            ["greeting", "ehlo", "auth", "mail"],
            "{span:?}"
        );
        let events = entries
            .events
            .iter()
            .filter(|(parent, _)| *parent == number);
        let told: Vec<_> = events
            .map(|(_, fields)| (fields.value("message"), fields.value("stage")))
            .collect();
        assert_eq!(
            told,
            [
                (Some("connected"), None),
                (Some("reached"), Some("greeting")),
                (Some("reached"), Some("ehlo")),
                (Some("reached"), Some("auth")),
                (Some("ready"), None),
                (Some("failed"), Some("mail")),
            ]
        );
    }
    let events = entries.events.iter().map(|(_, fields)| fields);
    let all = format!(
        "{:?}",
        entries.spans.iter().chain(events).collect::<Vec<_>>()
    );
    for said in [
        "alice", "sesame", "AGFsaWNl", "bob", "carol", "Hello", "ESMTP",
    ] {
        assert!(!all.contains(said), "{said:?} in {all}");
    }
}
