//! Handles and their ends: dropping, closing, waiting.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use ehlo::net::{Connecting, CredentialSource, CredentialsFuture};
use ehlo::proto::{Config, Login, MechanismName, PlaintextAuth, Timeouts};
use ehlo::{Category, Client, Credentials, Envelope, Reply, Security, Stage, Verdict};

use super::peer::Peer;
use super::{clear, content, hello, mailbox, to};

#[tokio::test]
async fn dropping_the_last_handle_says_quit() {
    let (mut peer, stream) = Peer::pair(4096);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.expect("QUIT").await;
        peer.say(&["221 bye"]).await;
        peer.rest().await
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let other = client.clone();
    drop(client);
    drop(other);
    assert_eq!(server.await.unwrap(), b"");
}

#[tokio::test]
async fn a_delivery_keeps_the_connection_until_it_is_done() {
    let (mut peer, stream) = Peer::pair(4096);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        peer.message().await;
        peer.say(&["250 taken"]).await;
        peer.expect("QUIT").await;
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let delivery = client.submit(to("bob@example.org"), hello());
    drop(client);
    assert!(delivery.await.is_accepted());
    server.await.unwrap();
}

#[tokio::test]
async fn dropping_a_client_that_is_not_ready_closes_without_a_word() {
    let (mut peer, stream) = Peer::pair(4096);
    let connecting = tokio::spawn(Client::attach(stream, clear()));
    peer.say(&["220 mx.example.org ESMTP"]).await;
    peer.expect("EHLO ").await;
    connecting.abort();
    assert_eq!(peer.rest().await, b"");
}

#[tokio::test]
async fn a_message_dropped_before_its_turn_never_reaches_the_wire() {
    let (mut peer, stream) = Peer::pair(1 << 16);
    let client = tokio::spawn(Client::attach(stream, clear()));
    peer.greet(&[]).await;
    let client = client.await.unwrap().unwrap();
    let first = client.submit(to("first@example.org"), hello());
    let second = client.submit(to("second@example.org"), hello());
    let third = client.submit(to("third@example.org"), hello());
    drop(second);
    let server = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let line = peer.line().await;
            match line.split([' ', ':']).next().unwrap_or_default() {
                "DATA" => {
                    peer.say(&["354 go on"]).await;
                    peer.message().await;
                    peer.say(&["250 taken"]).await;
                }
                "" => return seen,
                "QUIT" => {
                    peer.say(&["221 bye"]).await;
                    return seen;
                }
                _ => peer.say(&["250 ok"]).await,
            }
            seen.push(line);
        }
    });
    assert!(first.await.is_accepted());
    assert!(third.await.is_accepted());
    client.close().await.unwrap();
    let seen = server.await.unwrap().join("\n");
    assert!(seen.contains("third@"), "{seen}");
    assert!(!seen.contains("second@"), "{seen}");
}

#[tokio::test]
async fn a_message_dropped_in_the_middle_of_its_body_is_never_completed() {
    let (mut peer, stream) = Peer::pair(1024);
    let client = tokio::spawn(Client::attach(stream, clear()));
    peer.greet(&[]).await;
    let client = client.await.unwrap().unwrap();
    let long = content("Subject: Long\r\n\r\n".to_owned() + &"A line of text.\r\n".repeat(10_000));
    let delivery = client.submit(to("bob@example.org"), long);
    peer.envelope().await;
    peer.expect("Subject: Long").await;
    drop(delivery);
    let rest = peer.rest().await;
    assert!(
        !rest.ends_with(b"\r\n.\r\n"),
        "the message must not be complete"
    );
    let outcome = client.send(to("bob@example.org"), hello()).await;
    assert!(
        matches!(outcome.verdicts(), [Verdict::NotSent(_)]),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn the_last_message_takes_quit_along_and_does_not_wait_for_its_answer() {
    let (mut peer, stream) = Peer::pair(4096);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        peer.message().await;
        // QUIT is here before the message is answered, and is never answered itself.
        peer.expect("QUIT").await;
        peer.say(&["250 taken"]).await;
        peer.rest().await
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let outcome = client.send_last(to("bob@example.org"), hello()).await;
    assert!(outcome.is_accepted());
    assert_eq!(server.await.unwrap(), b"");
}

#[tokio::test]
async fn an_end_instead_of_the_answer_to_quit_is_a_good_end() {
    let (mut peer, stream) = Peer::pair(4096);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.expect("QUIT").await;
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    client.close().await.unwrap();
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_greets_times_out() {
    let (peer, stream) = Peer::pair(4096);
    let begun = tokio::time::Instant::now();
    let error = Client::attach(stream, clear()).await.unwrap_err();
    assert_eq!(error.category(), Category::ConnectionTimeout);
    assert_eq!(error.stage(), Stage::Greeting);
    let waited = begun.elapsed();
    assert!(waited >= Timeouts::default().greeting, "{waited:?}");
    assert!(
        waited < Timeouts::default().greeting + Duration::from_secs(1),
        "{waited:?}"
    );
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_had_its_share_of_time_keeps_its_deadlines() {
    let (_peer, stream) = Peer::pair(4096);
    let (connecting, mut driver) = Client::undriven(stream, clear(), None).await.unwrap();
    let mut used_up = false;
    // What else the task did leaves nothing of tokio's budget for the driver's first turn.
    let driving = poll_fn(|cx| {
        while !used_up {
            used_up = pin!(tokio::task::consume_budget()).poll(cx).is_pending();
        }
        Pin::new(&mut driver).poll(cx)
    });
    let hour = Duration::from_secs(3600);
    let (client, ()) = tokio::time::timeout(hour, async { tokio::join!(connecting, driving) })
        .await
        .expect("the time for the greeting runs out before that");
    assert_eq!(client.unwrap_err().stage(), Stage::Greeting);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_moves_away_does_not_fire_early() {
    let (mut peer, stream) = Peer::pair(1 << 16);
    let server = tokio::spawn(async move {
        let minutes = |n: u64| tokio::time::sleep(Duration::from_secs(60 * n));
        minutes(4).await;
        peer.greet(&[]).await;
        peer.expect("MAIL FROM:").await;
        peer.expect("RCPT TO:").await;
        peer.expect("DATA").await;
        minutes(4).await;
        peer.say(&["250 ok"]).await;
        minutes(4).await;
        peer.say(&["250 ok", "354 go on"]).await;
        peer.message().await;
        minutes(9).await;
        peer.say(&["250 taken"]).await;
        peer.part().await;
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    assert!(
        client
            .send(to("bob@example.org"), hello())
            .await
            .is_accepted()
    );
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn a_driver_that_is_dropped_leaves_nobody_waiting() {
    let (mut peer, stream) = Peer::pair(4096);
    let (connecting, driver) = Client::undriven(stream, clear(), None).await.unwrap();
    let driving = tokio::spawn(driver);
    peer.greet(&[]).await;
    let client = connecting.await.unwrap();
    let sent = client.submit(to("bob@example.org"), hello());
    peer.envelope().await;
    peer.message().await;
    let queued = client.submit(to("carol@example.org"), hello());
    driving.abort();
    let sent = sent.await;
    assert!(matches!(sent.verdicts(), [Verdict::InDoubt(_)]), "{sent:?}");
    let queued = queued.await;
    assert!(
        matches!(queued.verdicts(), [Verdict::NotSent(_)]),
        "{queued:?}"
    );
    let late = client.send(to("dave@example.org"), hello()).await;
    assert!(matches!(late.verdicts(), [Verdict::NotSent(_)]), "{late:?}");
    assert!(client.close().await.is_err());
}

#[tokio::test]
async fn an_envelope_without_recipients_is_the_callers_mistake() {
    let (mut peer, stream) = Peer::pair(4096);
    let client = tokio::spawn(Client::attach(stream, clear()));
    peer.greet(&[]).await;
    let client = client.await.unwrap().unwrap();
    let nobody: [ehlo::Mailbox; 0] = [];
    let envelope = Envelope::new(mailbox("alice@example.com"), nobody);
    let outcome = client.send(envelope, hello()).await;
    assert!(!outcome.is_accepted());
    assert_eq!(outcome.error().unwrap().category(), Category::Usage);
}

#[tokio::test]
async fn a_thousand_recipients_cannot_deadlock_over_small_buffers() {
    let (mut peer, stream) = Peer::pair(128);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        let mut recipients = 0;
        loop {
            let line = peer.line().await;
            match line.split([' ', ':']).next().unwrap_or_default() {
                "DATA" => {
                    peer.say(&["354 go on"]).await;
                    peer.message().await;
                    peer.say(&["250 taken"]).await;
                    return recipients;
                }
                "RCPT" => {
                    recipients += 1;
                    peer.say(&["250 a reply that is a good deal longer than the command was"])
                        .await;
                }
                _ => peer.say(&["250 ok"]).await,
            }
        }
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let recipients = (0..1000).map(|n| mailbox(&format!("r{n}@example.org")));
    let envelope = Envelope::new(mailbox("alice@example.com"), recipients);
    let outcome = client.send(envelope, hello()).await;
    assert!(outcome.is_accepted());
    assert_eq!(outcome.verdicts().len(), 1000);
    assert_eq!(server.await.unwrap(), 1000);
}

#[tokio::test]
async fn senders_wait_for_room_and_all_get_their_turn() {
    let (mut peer, stream) = Peer::pair(1 << 16);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        let mut messages = 0;
        loop {
            let line = peer.line().await;
            match line.split([' ', ':']).next().unwrap_or_default() {
                "DATA" => {
                    peer.say(&["354 go on"]).await;
                    peer.message().await;
                    messages += 1;
                    peer.say(&["250 taken"]).await;
                }
                "QUIT" => {
                    peer.say(&["221 bye"]).await;
                    return messages;
                }
                _ => peer.say(&["250 ok"]).await,
            }
        }
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let tasks: Vec<_> = (0..2000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(to("bob@example.org"), hello()).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().is_accepted());
    }
    client.close().await.unwrap();
    assert_eq!(server.await.unwrap(), 2000);
}

struct Vault;

impl CredentialSource for Vault {
    fn credentials(&self, mechanism: MechanismName, previous: Option<Reply>) -> CredentialsFuture {
        assert_eq!(mechanism, MechanismName::PLAIN);
        assert!(previous.is_none());
        Box::pin(async {
            tokio::task::yield_now().await;
            Credentials::password("alice", "secret").ok()
        })
    }
}

#[tokio::test]
async fn credentials_are_asked_for_when_they_are_needed() {
    let session = Config::new(Security::Plaintext)
        .with_login(Login::Ask)
        .with_plaintext_auth(PlaintextAuth::Allow);
    let config = clear()
        .with_session(session)
        .with_credential_source(Arc::new(Vault));
    let (mut peer, stream) = Peer::pair(4096);
    let server = tokio::spawn(async move {
        peer.greet(&["AUTH PLAIN"]).await;
        peer.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==").await;
        peer.say(&["235 welcome"]).await;
        peer.part().await;
    });
    let client = Client::attach(stream, config).await.unwrap();
    assert_eq!(client.session().auth(), Some(&MechanismName::PLAIN));
    drop(client);
    server.await.unwrap();
}

/// Asks for the connection's counters when it goes, and tells whether they were to be had.
struct Parting {
    connecting: Arc<OnceLock<Connecting>>,
    told: Option<tokio::sync::oneshot::Sender<bool>>,
}

impl CredentialSource for Parting {
    fn credentials(&self, mechanism: MechanismName, previous: Option<Reply>) -> CredentialsFuture {
        Vault.credentials(mechanism, previous)
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        let (answer, answered) = mpsc::channel();
        let connecting = Arc::clone(&self.connecting);
        thread::spawn(move || answer.send(connecting.get().map(Connecting::stats).is_some()));
        let known = answered.recv_timeout(Duration::from_secs(10));
        if let Some(told) = self.told.take() {
            let _ = told.send(known == Ok(true));
        }
    }
}

#[tokio::test]
async fn a_source_of_credentials_may_look_at_the_connection_when_it_goes() {
    let session = Config::new(Security::Plaintext)
        .with_login(Login::Ask)
        .with_plaintext_auth(PlaintextAuth::Allow);
    let slot = Arc::new(OnceLock::new());
    let (told, gone) = tokio::sync::oneshot::channel();
    let config = clear()
        .with_session(session)
        .with_credential_source(Arc::new(Parting {
            connecting: Arc::clone(&slot),
            told: Some(told),
        }));
    let (mut peer, stream) = Peer::pair(4096);
    let (connecting, driver) = Client::undriven(stream, config, None).await.unwrap();
    assert!(slot.set(connecting).is_ok());
    let driving = tokio::spawn(driver);
    peer.greet(&["AUTH PLAIN"]).await;
    peer.expect("AUTH PLAIN ").await;
    peer.say(&["235 welcome"]).await;
    assert!(gone.await.unwrap(), "it went with the connection locked");
    driving.abort();
}

#[tokio::test]
async fn the_facts_of_a_session_that_failed_are_still_known() {
    let config = clear().with_credentials(Credentials::password("alice", "secret").unwrap());
    let (mut peer, stream) = Peer::pair(4096);
    let (mut connecting, driver) = Client::undriven(stream, config, None).await.unwrap();
    let driving = tokio::spawn(driver);
    let server = tokio::spawn(async move {
        peer.greet(&["SIZE 1000"]).await;
        peer.part().await;
    });
    let error = (&mut connecting).await.unwrap_err();
    assert_eq!(error.category(), Category::AuthUnavailable);
    let session = connecting.session().expect("the greeting has come");
    assert_eq!(session.extensions().size(), Some(1000));
    driving.await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn an_error_says_how_far_the_dialogue_had_come() {
    let session = Config::new(Security::Plaintext).with_plaintext_auth(PlaintextAuth::Allow);
    let config = clear()
        .with_session(session)
        .with_credentials(Credentials::password("alice", "open sesame").unwrap());
    let (mut peer, stream) = Peer::pair(4096);
    let server = tokio::spawn(async move {
        peer.greet(&["AUTH PLAIN"]).await;
        let auth = peer.expect("AUTH PLAIN ").await;
        // A server that repeats what it should not.
        peer.say(&[&format!("235 got {auth}")]).await;
        peer.expect("MAIL FROM:").await;
        peer.expect("RCPT TO:").await;
        peer.expect("DATA").await;
        peer.say(&["250 2.1.0 sender ok"]).await;
        auth
    });
    let client = Client::attach(stream, config).await.unwrap();
    let outcome = client.send(to("bob@example.org"), hello()).await;
    let auth = server.await.unwrap();
    let error = outcome.error().expect("the server is gone");
    assert_eq!(error.category(), Category::ConnectionLost);
    let progress = error.progress();
    assert_eq!(progress.last_command, Some("DATA"));
    let reply = progress.last_reply.as_ref().expect("there were several");
    assert_eq!(reply.text(), "sender ok");
    assert_eq!(progress.bytes_sent, client.stats().bytes_sent);
    let transcript = &progress.transcript;
    for said in ["C: MAIL FROM:<alice@example.com>", "S: 250 2.1.0 sender ok"] {
        assert!(transcript.contains(said), "{said:?} is not in {transcript}");
    }
    assert!(transcript.len() <= 8 * 1024);
    let secret = auth.trim_start_matches("AUTH PLAIN ");
    for text in [transcript, &format!("{error:?}")] {
        assert!(!text.contains(secret), "{text}");
        assert!(!text.contains("sesame"), "{text}");
    }
}
