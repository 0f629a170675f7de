//! Messages with more recipients than a server takes in one transaction.

use ehlo::proto::Notice;
use ehlo::sandbox::{Extension, Options, Sandbox, TlsMode};
use ehlo::{
    Category, Client, ClientConfig, Commitment, Envelope, Notify, Outcome, Recipient, Security,
    Streamed, Verdict,
};

use super::{hello, mailbox};
use crate::strict::Strict;

async fn connected(options: Options) -> (Strict, Client) {
    let sandbox = Strict::start(options.with_tls(TlsMode::None)).await;
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
async fn the_connection_is_not_closed_between_the_rounds_of_a_message() {
    for way in ["close", "dropped", "last"] {
        let (sandbox, client) = connected(Options::default().with_recipient_limit(2)).await;
        let delivery = client.submit(to_each(&FIVE), hello());
        let outcome = match way {
            "close" => {
                // Nobody polls the delivery meanwhile.
                client.close().await.unwrap();
                delivery.await
            }
            "dropped" => {
                drop(client);
                delivery.await
            }
            _ => {
                let last = client.clone().send_last(to_each(&["z@x.org"]), hello());
                let (outcome, last) = tokio::join!(delivery, last);
                assert!(last.is_accepted(), "{last:?}");
                let late = client.send(to_each(&FIVE[..1]), hello()).await;
                assert_eq!(letters(&late), "n", "{late:?}");
                outcome
            }
        };
        assert_eq!(letters(&outcome), "aaaaa", "{way}: {outcome:?}");
        drop(sandbox);
    }
}

#[tokio::test]
async fn a_limit_that_showed_is_kept_to_from_then_on() {
    let (sandbox, client) = connected(Options::default().with_recipient_limit(10)).await;
    let many: Vec<String> = (0..200).map(|n| format!("u{n}@x.org")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let outcome = client.send(to_each(&many), hello()).await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    // Each once more than needed at the first try, and then in twenty transactions.
    let commands = sandbox.counters().commands;
    assert!(commands < 450, "{commands} commands");
    let outcome = client.send(to_each(&many), hello()).await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    let more = sandbox.counters().commands - commands;
    assert!(more <= 240, "{more} commands");
    assert_eq!(sandbox.received().len(), 40);
    client.close().await.unwrap();
}

#[tokio::test]
async fn one_who_is_put_off_for_another_reason_is_no_limit() {
    let options =
        Options::default().with_refused_recipient("b@x.org", "452 4.3.1 later".parse().unwrap());
    for recipients in [
        ["a@x.org", "b@x.org", "c@x.org"],
        ["a@x.org", "c@x.org", "b@x.org"],
    ] {
        let (sandbox, client) = connected(options.clone()).await;
        client.send(to_each(&recipients), hello()).await;
        let others = ["d@x.org", "e@x.org", "f@x.org", "g@x.org"];
        client.send(to_each(&others), hello()).await;
        assert_eq!(arrived(&sandbox)[1].len(), 4);
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_for_now_is_not_hidden_by_a_recipient_that_was_left_out() {
    let options =
        Options::default().with_refused_recipient("b@x.org", "451 4.3.0 later".parse().unwrap());
    let (_sandbox, client) = connected(options).await;
    let outcome = client
        .send(to_each(&["\u{e9}@x.org", "b@x.org"]), hello())
        .await;
    let error = outcome.error().expect("nobody has it");
    assert_eq!(error.category(), Category::Temporary, "{error}");
    client.close().await.unwrap();
}

#[tokio::test]
async fn for_all_or_nobody_a_refusal_for_now_is_temporary_wherever_it_stands() {
    let options = Options::default()
        .with_refused_recipient("b@x.org", "550 5.1.1 no".parse().unwrap())
        .with_refused_recipient("c@x.org", "451 4.3.0 later".parse().unwrap());
    let (_sandbox, client) = connected(options).await;
    for order in [
        ["a@x.org", "b@x.org", "c@x.org"],
        ["a@x.org", "c@x.org", "b@x.org"],
    ] {
        let all = to_each(&order).with_commitment(Commitment::AllOrNothing);
        let outcome = client.send(all, hello()).await;
        let error = outcome.error().expect("nobody has it");
        assert_eq!(error.category(), Category::Temporary, "{error}");
    }
    client.close().await.unwrap();
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
async fn who_is_beyond_the_messages_of_a_session_is_reached_by_another() {
    let options = Options::default()
        .with_recipient_limit(1)
        .with_message_limit(2)
        .with_extension(Extension::Limits);
    let (sandbox, client) = connected(options).await;
    let envelope = to_each(&FIVE[..3]);
    let outcome = client.send(envelope.clone(), hello()).await;
    assert_eq!(letters(&outcome), "aan", "{outcome:?}");
    let rest = envelope.rest(&outcome).expect("one is left");
    let client = reconnected(&sandbox).await;
    let outcome = outcome.with_rest(client.send(rest, hello()).await);
    assert_eq!(letters(&outcome), "aaa", "{outcome:?}");
}

#[tokio::test]
async fn a_message_for_all_or_for_nobody_goes_by_another_session_whole_or_not_at_all() {
    let options = Options::default()
        .with_domain_limit(1)
        .with_extension(Extension::Limits);
    let (sandbox, client) = connected(options.clone()).await;
    let all = |recipients| to_each(recipients).with_commitment(Commitment::AllOrNothing);
    let before = sandbox.counters().commands;
    let envelope = all(&["a@x.org", "b@y.org"]);
    let outcome = client.send(envelope, hello()).await;
    assert_eq!(letters(&outcome), "nn", "{outcome:?}");
    assert_eq!(sandbox.counters().commands, before);
    // Used up by another: all of it may go by another session.
    assert!(
        client
            .send(to_each(&["a@x.org"]), hello())
            .await
            .is_accepted()
    );
    let envelope = all(&["b@y.org", "c@y.org"]);
    let outcome = client.send(envelope.clone(), hello()).await;
    assert_eq!(letters(&outcome), "nn", "{outcome:?}");
    assert_eq!(envelope.rest(&outcome), Some(envelope));
    client.close().await.unwrap();
    let refused = options.with_refused_recipient("b@x.org", "550 5.1.1 no".parse().unwrap());
    let (_sandbox, client) = connected(refused).await;
    let envelope = all(&["a@x.org", "b@x.org"]);
    let outcome = client.send(envelope.clone(), hello()).await;
    assert_eq!(letters(&outcome), "nr", "{outcome:?}");
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
