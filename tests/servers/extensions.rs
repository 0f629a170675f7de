//! Extensions that only some servers have: delivery reports, and addresses beyond ASCII.

use ehlo::proto::SmtpUtf8;
use ehlo::{
    Client, ClientConfig, Envelope, EnvelopeId, Mailbox, Notify, Occasion, OriginalRecipient,
    Recipient, Return, Security,
};
use libtest_mimic::Trial;

use crate::cases::{assert_same, block_on, content};
use crate::server::{Fixture, Mode, Server};

pub(crate) fn all(fixture: &'static Fixture) -> Vec<Trial> {
    vec![
        fixture.trial("dsn", report),
        fixture.trial("smtputf8", |server| {
            let sender = "jö@bücher.example";
            send(server, SmtpUtf8::WhereNeeded, sender);
            assert_same(&server.stored(sender), FOREIGN.as_bytes());
        }),
        fixture.trial("smtputf8_always", |server| {
            let sender = "always@example.test";
            send(server, SmtpUtf8::Always, sender);
            assert_same(&server.stored(sender), FOREIGN.as_bytes());
        }),
        fixture.trial("a_labels", a_labels),
        fixture.trial("too_many_recipients", too_many),
    ]
}

const FOREIGN: &str = "Subject: Grüße\r\n\r\nÄ\r\n";

async fn connect(server: &Server, utf8: SmtpUtf8) -> Client {
    let mut config =
        ClientConfig::new("localhost", Security::Plaintext).with_port(server.port(Mode::Clear));
    config.session.smtputf8 = utf8;
    Client::connect(config).await.expect("it may connect")
}

fn mailbox(address: &str) -> Mailbox {
    address.parse().expect("an address")
}

fn send(server: &Server, utf8: SmtpUtf8, sender: &str) {
    block_on(async {
        let client = connect(server, utf8).await;
        let envelope = Envelope::new(mailbox(sender), [mailbox("alice@example.test")]);
        let outcome = client.send(envelope, content(FOREIGN)).await;
        assert!(outcome.is_accepted(), "{outcome:?}");
        client.close().await.expect("the session ends well");
    });
}

/// Where SMTPUTF8 is not used, the sender's domain is written as A-labels.
fn a_labels(server: &Server) {
    let message = "Subject: x\r\n\r\n";
    block_on(async {
        let client = connect(server, SmtpUtf8::Never).await;
        let envelope = Envelope::new(
            mailbox("jo@bücher.example"),
            [mailbox("alice@example.test")],
        );
        let outcome = client.send(envelope, content(message)).await;
        assert!(outcome.is_accepted(), "{outcome:?}");
        client.close().await.expect("the session ends well");
    });
    let sender = "jo@xn--bcher-kva.example";
    assert_same(&server.stored(sender), message.as_bytes());
}

/// The server takes 50 recipients in one transaction, and does not say so beforehand.
fn too_many(server: &Server) {
    block_on(async {
        let client = connect(server, SmtpUtf8::WhereNeeded).await;
        let recipients = (0..120).map(|_| mailbox("alice@example.test"));
        let envelope = Envelope::new(mailbox("many@example.test"), recipients);
        let outcome = client.send(envelope, content("Subject: x\r\n")).await;
        assert_eq!(outcome.verdicts().len(), 120);
        assert!(outcome.is_accepted(), "{outcome:?}");
        // A reply for the queue's name: as many as there were transactions.
        let mut replies: Vec<_> = outcome
            .verdicts()
            .iter()
            .filter_map(|verdict| verdict.reply().map(ToString::to_string))
            .collect();
        replies.dedup();
        assert_eq!(replies.len(), 3, "{replies:?}");
        client.close().await.expect("the session ends well");
    });
}

/// A report of success is asked for, and comes, with the names that were given.
fn report(server: &Server) {
    let sender = "alice@example.test";
    let message = "Subject: with a report\r\n\r\nnot to be returned\r\n";
    block_on(async {
        let client = connect(server, SmtpUtf8::WhereNeeded).await;
        let id: EnvelopeId = "a+b = c".parse().expect("an id");
        let notify = Notify::when([Occasion::Success]).expect("an occasion");
        let original = OriginalRecipient::new(&mailbox("a+b@example.org")).expect("not long");
        let recipient = Recipient::new(mailbox(sender))
            .with_notify(notify)
            .with_original(original);
        let envelope = Envelope::new(mailbox(sender), [recipient])
            .with_return(Return::Headers)
            .with_envelope_id(id);
        let outcome = client.send(envelope, content(message)).await;
        assert!(outcome.is_accepted(), "{outcome:?}");
        assert!(outcome.notices().is_empty(), "{outcome:?}");
        client.close().await.expect("the session ends well");
    });
    assert_same(&server.stored(sender), message.as_bytes());
    let report = String::from_utf8(server.stored("")).expect("UTF-8");
    for line in [
        "Original-Envelope-Id: a+b = c\r\n",
        "Original-Recipient: rfc822;a+b@example.org\r\n",
        "Action: delivered\r\n",
        "Subject: with a report\r\n",
    ] {
        assert!(report.contains(line), "{line:?} is not in {report}");
    }
    assert!(!report.contains("not to be returned"), "{report}");
}
