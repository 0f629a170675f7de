//! The driver over TCP, against the sandbox: mail that arrives, and servers that misbehave.

use ehlo::net::{TlsOptions, Trust};
use ehlo::proto::{Chunking, Config, Timeouts};
use ehlo::sandbox::{Extension, Options, Sandbox, TlsMode};
use ehlo::{
    Category, Client, ClientConfig, Credentials, Envelope, Error, Security, Stage, Verdict,
};
use std::time::Duration;

use super::{hello, mailbox, to};
use crate::strict::Strict;

/// A configuration for this sandbox, which trusts it.
pub(crate) fn config(sandbox: &Sandbox, security: Security) -> ClientConfig {
    let tls = TlsOptions::default()
        .with_trust(Trust::Webpki)
        .with_ca_pem(sandbox.certificate_pem().as_bytes())
        .expect("a sandbox has a certificate");
    ClientConfig::new("localhost", security)
        .with_port(sandbox.address().port())
        .with_tls(tls)
}

pub(crate) async fn sandbox(faults: &[&str], tls: TlsMode) -> Strict {
    let options = faults.iter().fold(Options::default(), |options, fault| {
        options.with_fault(fault.parse().expect("a test's fault is one"))
    });
    let sandbox = Strict::start(options.with_tls(tls)).await;
    sandbox.expect("a port on loopback is free")
}

#[tokio::test]
async fn mail_arrives_in_each_mode() {
    for (mode, security) in [
        (TlsMode::None, Security::Plaintext),
        (TlsMode::None, Security::Opportunistic),
        (TlsMode::StartTls, Security::Opportunistic),
        (TlsMode::StartTlsRequired, Security::StartTls),
        (TlsMode::Implicit, Security::Implicit),
    ] {
        let sandbox = sandbox(&[], mode).await;
        let mut config = config(&sandbox, security);
        let tls = !matches!(mode, TlsMode::None);
        if tls {
            let credentials = Credentials::password("alice", "password").unwrap();
            config = config.with_credentials(credentials);
        }
        let client = Client::connect(config).await.unwrap();
        assert_eq!(client.peer_addr(), Some(sandbox.address()));
        let outcome = client.send(to("bob@example.org"), hello()).await;
        assert!(outcome.is_accepted(), "{security:?}: {outcome:?}");
        client.close().await.unwrap();
        let received = &sandbox.wait_for(1).await[0];
        assert_eq!(received.recipients, ["bob@example.org"]);
        assert_eq!(received.content, "Subject: Hello\r\n\r\nHello.\r\n");
        assert_eq!(received.tls, tls);
        assert_eq!(received.authenticated.is_some(), tls);
    }
}

#[tokio::test]
async fn the_fingerprint_is_the_certificates_own() {
    let sandbox = sandbox(&[], TlsMode::Implicit).await;
    let pin = sandbox.certificate_sha256();
    let tls = TlsOptions::default().with_trust(Trust::Pinned(pin));
    let config = config(&sandbox, Security::Implicit).with_tls(tls);
    let client = Client::connect(config).await.unwrap();
    let session = client.session();
    let certificate = session.tls().unwrap().certificate.as_ref().unwrap();
    assert_eq!(certificate.sha256, pin);
}

#[tokio::test]
async fn many_tasks_share_round_trips() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    let client = Client::connect(config(&sandbox, Security::Plaintext))
        .await
        .unwrap();
    let before = sandbox.counters().flights;
    let deliveries: Vec<_> = (0..100)
        .map(|_| client.submit(to("bob@example.org"), hello()))
        .collect();
    for delivery in deliveries {
        assert!(delivery.await.is_accepted());
    }
    let flights = sandbox.counters().flights - before;
    assert!(flights <= 101, "{flights} round trips for 100 messages");
    assert_eq!(sandbox.received().len(), 100);
}

#[tokio::test]
async fn without_pipelining_each_command_takes_one_round_trip_and_no_more() {
    let options = Options::default()
        .with_tls(TlsMode::None)
        .without_extension(Extension::Pipelining)
        .without_extension(Extension::Chunking);
    let sandbox = Strict::start(options).await.unwrap();
    let client = Client::connect(config(&sandbox, Security::Plaintext))
        .await
        .unwrap();
    let both = ["bob@example.org", "carol@example.org"].map(mailbox);
    let before = sandbox.counters();
    let deliveries: Vec<_> = (0..20)
        .map(|_| {
            client.submit(
                Envelope::new(mailbox("alice@example.com"), both.clone()),
                hello(),
            )
        })
        .collect();
    for delivery in deliveries {
        assert!(delivery.await.is_accepted());
    }
    let after = sandbox.counters();
    // MAIL, two RCPT, DATA, and the message itself.
    assert_eq!(after.flights - before.flights, 20 * 5);
    assert_eq!(client.stats().flights, 1 + 20 * 5);
    assert_eq!(after.out_of_turn, 0);
    assert_eq!(sandbox.received().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_share_a_connection_and_each_verdict_is_true_though_some_give_up() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    let client = Client::connect(config(&sandbox, Security::Plaintext))
        .await
        .unwrap();
    let tasks: Vec<_> = (0..400)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let recipient = format!("r{n}@example.org");
                let delivery = client.submit(to(&recipient), hello());
                if n % 100 == 99 {
                    // At whatever point of its way it is: the connection may have to close.
                    tokio::task::yield_now().await;
                    return (recipient, None);
                }
                (recipient, Some(delivery.await))
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    let _ = client.close().await;
    let received = sandbox.received();
    for (recipient, outcome) in outcomes {
        let copies = received
            .iter()
            .filter(|message| message.recipients == [recipient.as_str()])
            .count();
        match outcome.as_ref().map(ehlo::Outcome::verdicts) {
            None | Some([Verdict::InDoubt(_)]) => assert!(copies <= 1, "{recipient}: {copies}"),
            Some([Verdict::Accepted(_)]) => assert_eq!(copies, 1, "{recipient}"),
            Some([Verdict::NotSent(error)]) => {
                assert_eq!(copies, 0, "{recipient}");
                assert_eq!(error.category(), Category::ConnectionLost, "{error:?}");
                assert!(error.is_temporary(), "{error:?}");
            }
            Some(other) => panic!("{recipient}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_lesson_about_a_server_is_kept_for_the_next_connection() {
    let sandbox = sandbox(&["refuse-behind-body"], TlsMode::None).await;
    let session = Config::new(Security::Plaintext).with_chunking(Chunking::Off);
    let config = config(&sandbox, Security::Plaintext).with_session(session);
    // EHLO, 5 envelopes and QUIT, and at first the envelope that was refused once more.
    for commands in [17 + 3, 17] {
        let before = sandbox.counters().commands;
        let client = Client::connect(config.clone()).await.unwrap();
        let deliveries: Vec<_> = (0..5)
            .map(|_| client.submit(to("bob@example.org"), hello()))
            .collect();
        for delivery in deliveries {
            assert!(delivery.await.is_accepted());
        }
        assert!(client.session().refuses_behind_message());
        client.close().await.unwrap();
        assert_eq!(sandbox.counters().commands - before, commands);
    }
    assert_eq!(sandbox.received().len(), 10);
}

/// What comes of one message through a server with these faults.
async fn failed(faults: &[&str], security: Security) -> (Error, Doubt) {
    let mode = match security {
        Security::Implicit => TlsMode::Implicit,
        Security::StartTls | Security::Opportunistic => TlsMode::StartTls,
        Security::Plaintext => TlsMode::None,
    };
    let sandbox = sandbox(faults, mode).await;
    let mut config = config(&sandbox, security);
    // A server that is silent is given up soon, so that no test has to wait; one that is not may be
    // on a busy machine.
    if faults.iter().any(|fault| fault.starts_with("stall")) {
        let handshake = config.session.timeouts.handshake;
        config.session.timeouts = Timeouts::default().capped(Duration::from_secs(1));
        if !faults.contains(&"stall@handshake") {
            config.session.timeouts.handshake = handshake;
        }
    }
    // A message that leaves with its envelope is in doubt from MAIL on.
    config.session.chunking = Chunking::Off;
    let client = match Client::connect(config).await {
        Ok(client) => client,
        Err(error) => return (error, Doubt::None),
    };
    let outcome = client.send(to("bob@example.org"), hello()).await;
    let doubt = match outcome.verdicts() {
        [Verdict::InDoubt(_)] => Doubt::Some,
        _ => Doubt::None,
    };
    let error = outcome.error();
    (
        error.unwrap_or_else(|| panic!("{faults:?}: {outcome:?}")),
        doubt,
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Doubt {
    Some,
    None,
}

#[tokio::test]
async fn each_way_to_misbehave_has_its_category_and_stage() {
    use Category as C;
    use Stage as S;
    let clear = Security::Plaintext;
    for (fault, security, category, stage, doubt) in [
        (
            "close@greeting",
            clear,
            C::ConnectionLost,
            S::Greeting,
            Doubt::None,
        ),
        (
            "reset@greeting",
            clear,
            C::ConnectionLost,
            S::Greeting,
            Doubt::None,
        ),
        (
            "stall@greeting",
            clear,
            C::ConnectionTimeout,
            S::Greeting,
            Doubt::None,
        ),
        (
            "shutdown@greeting",
            clear,
            C::Temporary,
            S::Greeting,
            Doubt::None,
        ),
        ("banner=http", clear, C::Protocol, S::Greeting, Doubt::None),
        ("close@ehlo", clear, C::ConnectionLost, S::Ehlo, Doubt::None),
        ("close@mail", clear, C::ConnectionLost, S::Mail, Doubt::None),
        ("reset@rcpt", clear, C::ConnectionLost, S::Rcpt, Doubt::None),
        (
            "stall@data",
            clear,
            C::ConnectionTimeout,
            S::Data,
            Doubt::None,
        ),
        ("close@body", clear, C::ConnectionLost, S::Body, Doubt::Some),
        ("reset@body", clear, C::ConnectionLost, S::Body, Doubt::Some),
        (
            "stall@body",
            clear,
            C::ConnectionTimeout,
            S::Body,
            Doubt::Some,
        ),
        ("shutdown@body", clear, C::Temporary, S::Body, Doubt::None),
        (
            "reply@body=550 no",
            clear,
            C::MessageRefused,
            S::Body,
            Doubt::None,
        ),
        (
            "inject@starttls",
            Security::StartTls,
            C::Protocol,
            S::StartTls,
            Doubt::None,
        ),
        (
            "close@handshake",
            Security::StartTls,
            C::Tls,
            S::Handshake,
            Doubt::None,
        ),
        (
            "reset@handshake",
            Security::Implicit,
            C::Tls,
            S::Handshake,
            Doubt::None,
        ),
        (
            "garbage@handshake",
            Security::Implicit,
            C::Tls,
            S::Handshake,
            Doubt::None,
        ),
        (
            "stall@handshake",
            Security::StartTls,
            C::ConnectionTimeout,
            S::Handshake,
            Doubt::None,
        ),
        (
            "truncate@greeting",
            Security::Implicit,
            C::Tls,
            S::Handshake,
            Doubt::None,
        ),
        (
            "truncate@body",
            Security::StartTls,
            C::ConnectionLost,
            S::Body,
            Doubt::Some,
        ),
        (
            "reset@mail",
            Security::StartTls,
            C::ConnectionLost,
            S::Mail,
            Doubt::None,
        ),
    ] {
        let (error, actual) = failed(&[fault], security).await;
        assert_eq!(
            error.category(),
            category,
            "{fault} {security:?}: {error:?}"
        );
        assert_eq!(error.stage(), stage, "{fault} {security:?}: {error:?}");
        assert_eq!(actual, doubt, "{fault} {security:?}: {error:?}");
    }
}

#[tokio::test]
async fn split_replies_change_nothing() {
    let sandbox = sandbox(&["split"], TlsMode::StartTls).await;
    let client = Client::connect(config(&sandbox, Security::StartTls))
        .await
        .unwrap();
    assert!(
        client
            .send(to("bob@example.org"), hello())
            .await
            .is_accepted()
    );
    client.close().await.unwrap();
}

#[tokio::test]
async fn an_end_after_quit_without_close_notify_is_a_good_end() {
    for fault in ["truncate@quit", "reset@quit", "close@quit"] {
        let sandbox = sandbox(&[fault], TlsMode::Implicit).await;
        let client = Client::connect(config(&sandbox, Security::Implicit))
            .await
            .unwrap();
        assert!(
            client
                .send(to("bob@example.org"), hello())
                .await
                .is_accepted()
        );
        client
            .close()
            .await
            .unwrap_or_else(|error| panic!("{fault}: {error:?}"));
    }
}

#[tokio::test]
async fn clear_text_on_a_port_for_tls_times_out_and_the_reverse_is_a_mismatch() {
    let plain = sandbox(&[], TlsMode::StartTls).await;
    let error = Client::connect(config(&plain, Security::Implicit))
        .await
        .unwrap_err();
    assert_eq!(error.category(), Category::EncryptionMismatch, "{error:?}");
    let secure = sandbox(&[], TlsMode::Implicit).await;
    let mut config = config(&secure, Security::Plaintext);
    config.session.timeouts = Timeouts::default().capped(Duration::from_millis(300));
    let error = Client::connect(config).await.unwrap_err();
    assert_eq!(error.category(), Category::ConnectionTimeout, "{error:?}");
    assert_eq!(error.stage(), Stage::Greeting);
}
