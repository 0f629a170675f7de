//! The cases for a server that speaks LMTP: a verdict for each recipient, behind the message.

use ehlo::proto::{Chunking, Config, Protocol};
use ehlo::{BareNewlines, Client, ClientConfig, Outcome, Security, Stage, Streamed};
use libtest_mimic::Trial;

use crate::cases::{assert_refused, assert_same, block_on, content, envelope};
use crate::server::{Fixture, Mode, Server};

pub(crate) fn all(fixture: &'static Fixture) -> Vec<Trial> {
    let ways = [("chunks", Chunking::WhereOffered), ("data", Chunking::Off)];
    let trials = ways.map(|(way, chunking)| {
        let delivered = format!("{way}::delivered_to_one_of_three");
        let streamed = format!("{way}::streamed");
        let nobody = format!("{way}::nobody_has_it");
        [
            fixture.trial(&delivered, move |server| one_of_three(server, chunking)),
            fixture.trial(&streamed, move |server| in_pieces(server, chunking)),
            fixture.trial(&nobody, move |server| none_of_two(server, chunking)),
        ]
    });
    trials.into_iter().flatten().collect()
}

fn one_of_three(server: &Server, chunking: Chunking) {
    let sender = format!("one-of-three.{chunking:?}@example.test");
    let message = "Subject: to one of three\r\n\r\n.\r\n";
    let outcome = block_on(async {
        let client = connect(server, chunking).await;
        let envelope = envelope(&sender, &["full", "nobody", "alice"]);
        let outcome = client.send(envelope, content(message)).await;
        client.close().await.expect("the session ends well");
        outcome
    });
    let [full, nobody, alice] = outcome.verdicts() else {
        panic!("{outcome:?}");
    };
    assert_refused(full, Stage::Body, 552);
    assert_refused(nobody, Stage::Rcpt, 550);
    assert!(alice.is_accepted(), "{alice:?}");
    assert_same(&server.stored(&sender), message.as_bytes());
}

fn in_pieces(server: &Server, chunking: Chunking) {
    let sender = format!("streamed.{chunking:?}@example.test");
    let message = format!("Subject: streamed\r\n\r\n{}", ".line\r\n".repeat(40_000));
    let outcome = block_on(async {
        let client = connect(server, chunking).await;
        let facts = Streamed::default().with_newlines(BareNewlines::Reject);
        let envelope = envelope(&sender, &["full", "alice"]);
        let outcome = client.send_from(envelope, facts, message.as_bytes()).await;
        client.close().await.expect("the session ends well");
        outcome
    });
    assert_partial(&outcome);
    assert_same(&server.stored(&sender), message.as_bytes());
}

/// The session goes on behind a message that nobody has.
fn none_of_two(server: &Server, chunking: Chunking) {
    let sender = format!("none-of-two.{chunking:?}@example.test");
    let message = "Subject: to nobody\r\n\r\n";
    block_on(async {
        let client = connect(server, chunking).await;
        let lost = client.submit(
            envelope("x@example.test", &["full", "nobody"]),
            content(message),
        );
        let kept = client.submit(envelope(&sender, &["full", "alice"]), content(message));
        let lost = lost.await;
        assert_refused(&lost.verdicts()[0], Stage::Body, 552);
        assert_refused(&lost.verdicts()[1], Stage::Rcpt, 550);
        assert_partial(&kept.await);
        client.close().await.expect("the session ends well");
    });
    assert_same(&server.stored(&sender), message.as_bytes());
}

#[track_caller]
fn assert_partial(outcome: &Outcome) {
    let [full, alice] = outcome.verdicts() else {
        panic!("{outcome:?}");
    };
    assert_refused(full, Stage::Body, 552);
    assert!(alice.is_accepted(), "{alice:?}");
}

async fn connect(server: &Server, chunking: Chunking) -> Client {
    let session = Config::new(Security::Plaintext)
        .with_protocol(Protocol::Lmtp)
        .with_chunking(chunking);
    let config = ClientConfig::new("127.0.0.1", Security::Plaintext)
        .with_port(server.port(Mode::Clear))
        .with_session(session);
    Client::connect(config).await.expect("the server takes it")
}
