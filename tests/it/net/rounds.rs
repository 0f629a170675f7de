//! Messages with more recipients than a server takes in one transaction.

use ehlo::proto::Notice;
use ehlo::sandbox::{Extension, Options, Sandbox, TlsMode};
use ehlo::{
    Category, Client, ClientConfig, Commitment, Envelope, Notify, Outcome, Recipient, Security,
    Streamed, Verdict,
};

use super::{hello, mailbox};

async fn connected(options: Options) -> (Sandbox, Client) {
    let sandbox = Sandbox::start(options.with_tls(TlsMode::None)).await;
    let sandbox = sandbox.expect("a port on loopback is free");
    let client = reconnected(&sandbox).await;
    (sandbox, client)
}

async fn reconnected(sandbox: &Sandbox) -> Client {
    let config =
        ClientConfig::new("localhost", Security::Plaintext).with_port(sandbox.address().port());
    Client::connect(config).await.expect("the sandbox is there")
}

fn to_each(recipients: &[&str]) -> Envelope {
    Envelope::new(
        mailbox("alice@example.com"),
        recipients.iter().map(|address| mailbox(address)),
    )
}

const FIVE: [&str; 5] = ["a@x.org", "b@x.org", "c@x.org", "d@x.org", "e@x.org"];

/// The recipients of each message that arrived.
fn arrived(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let received = sandbox.received();
    received.into_iter().map(|one| one.recipients).collect()
}

/// The verdicts in a letter each.
fn letters(outcome: &Outcome) -> String {
    let letter = |verdict: &Verdict| match verdict {
        Verdict::Accepted(_) => 'a',
        Verdict::Refused { .. } => 'r',
        Verdict::Deferred(_) => 'd',
        Verdict::NotSent(_) => 'n',
        _ => '?',
    };
    outcome.verdicts().iter().map(letter).collect()
}

#[tokio::test]
async fn a_limit_that_is_stated_is_kept_and_costs_no_refusal() {
    let options = Options::default()
        .with_recipient_limit(2)
        .with_extension(Extension::Limits)
        .with_refused_recipient("d@x.org", "550 5.1.1 no".parse().unwrap());
    let (sandbox, client) = connected(options).await;
    let outcome = client.send(to_each(&FIVE), hello()).await;
    assert_eq!(letters(&outcome), "aaara", "{outcome:?}");
    assert_eq!(
        arrived(&sandbox),
        [vec!["a@x.org", "b@x.org"], vec!["c@x.org"], vec!["e@x.org"]]
    );
    client.close().await.unwrap();
}

#[tokio::test]
async fn who_was_put_off_gets_another_transaction_until_none_is_left() {
    let (sandbox, client) = connected(Options::default().with_recipient_limit(2)).await;
    let outcome = client.send(to_each(&FIVE), hello()).await;
    assert_eq!(letters(&outcome), "aaaaa", "{outcome:?}");
    assert_eq!(
        arrived(&sandbox),
        [
            vec!["a@x.org", "b@x.org"],
            vec!["c@x.org", "d@x.org"],
            vec!["e@x.org"]
        ]
    );
    // The session is in step.
    let outcome = client.send(to_each(&FIVE[..1]), hello()).await;
    assert!(outcome.is_accepted());
    client.close().await.unwrap();
}

#[tokio::test]
async fn the_last_message_of_a_connection_reaches_all_too() {
    let (sandbox, client) = connected(Options::default().with_recipient_limit(1)).await;
    let outcome = client.send_last(to_each(&FIVE), hello()).await;
    assert_eq!(letters(&outcome), "aaaaa", "{outcome:?}");
    assert_eq!(sandbox.received().len(), 5);
}

#[tokio::test]
async fn a_recipient_who_is_always_put_off_ends_it() {
    let options =
        Options::default().with_refused_recipient("b@x.org", "452 4.5.3 later".parse().unwrap());
    let (sandbox, client) = connected(options).await;
    let outcome = client.send(to_each(&FIVE[..3]), hello()).await;
    // Alone in its transaction it cannot be one too many: that is a refusal.
    assert_eq!(letters(&outcome), "ara", "{outcome:?}");
    assert_eq!(arrived(&sandbox), [["a@x.org", "c@x.org"]]);
    client.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_not() {
    let (sandbox, client) = connected(Options::default().with_recipient_limit(1)).await;
    let body = b"Subject: x\r\n\r\n".as_slice();
    let outcome = client
        .send_from(to_each(&FIVE[..2]), Streamed::default(), body)
        .await;
    assert_eq!(letters(&outcome), "ad", "{outcome:?}");
    let all = to_each(&FIVE[..2]).with_commitment(Commitment::AllOrNothing);
    let outcome = client.send(all, hello()).await;
    assert_eq!(letters(&outcome), "nd", "{outcome:?}");
    assert_eq!(sandbox.received().len(), 1);
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_message_beyond_the_limit_of_a_session_may_be_sent_by_another() {
    let options = Options::default()
        .with_message_limit(1)
        .with_extension(Extension::Limits);
    let (sandbox, client) = connected(options).await;
    assert!(client.send(to_each(&FIVE), hello()).await.is_accepted());
    let outcome = client.send(to_each(&FIVE), hello()).await;
    let error = outcome.error().expect("it is not sent");
    assert_eq!(error.category(), Category::Temporary);
    assert!(error.is_temporary() && error.message().contains("1 messages in one session"));
    assert_eq!(sandbox.counters().messages, 1);
    client.close().await.unwrap();
}

#[tokio::test]
async fn who_is_beyond_the_limits_of_a_session_is_reached_by_another() {
    let options = Options::default()
        .with_domain_limit(1)
        .with_extension(Extension::Limits)
        .with_refused_recipient("b@y.org", "550 5.1.1 no".parse().unwrap());
    let (sandbox, client) = connected(options).await;
    let envelope = to_each(&["a@x.org", "b@y.org", "c@z.org", "d@X.org"]);
    let mut outcome = client.send(envelope.clone(), hello()).await;
    assert_eq!(letters(&outcome), "anna", "{outcome:?}");
    client.close().await.unwrap();
    for expected in ["arna", "araa"] {
        let rest = envelope.rest(&outcome).expect("somebody is left");
        let client = reconnected(&sandbox).await;
        outcome = outcome.with_rest(client.send(rest, hello()).await);
        assert_eq!(letters(&outcome), expected, "{outcome:?}");
        client.close().await.unwrap();
    }
    assert!(envelope.rest(&outcome).is_none());
    assert_eq!(
        arrived(&sandbox),
        [vec!["a@x.org", "d@X.org"], vec!["c@z.org"]]
    );
}

#[tokio::test]
async fn a_message_for_all_or_for_nobody_has_no_rest() {
    let options = Options::default()
        .with_domain_limit(1)
        .with_extension(Extension::Limits);
    let (_sandbox, client) = connected(options).await;
    let envelope = to_each(&["a@x.org", "b@y.org"]).with_commitment(Commitment::AllOrNothing);
    let outcome = client.send(envelope.clone(), hello()).await;
    assert_eq!(letters(&outcome), "nn", "{outcome:?}");
    assert!(envelope.rest(&outcome).is_none(), "{outcome:?}");
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_wish_that_is_not_met_is_reported_once() {
    let options = Options::default()
        .without_extension(Extension::Dsn)
        .with_recipient_limit(1);
    let (_sandbox, client) = connected(options).await;
    let recipients =
        FIVE.map(|address| Recipient::new(mailbox(address)).with_notify(Notify::never()));
    let envelope = Envelope::new(mailbox("alice@example.com"), recipients);
    let outcome = client.send(envelope, hello()).await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    let left_out = Notice::LeftOut {
        keyword: "NOTIFY".to_owned(),
        extension: "DSN".to_owned(),
    };
    assert_eq!(outcome.notices(), [left_out]);
    client.close().await.unwrap();
}
