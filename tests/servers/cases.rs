//! The cases, the same for every server.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use ehlo::proto::{Config, MechanismName, Timeouts};
use ehlo::{
    BareNewlines, Category, Client, ClientConfig, Code, Content, Credentials, Encoding, Envelope,
    Error, Mailbox, Outcome, ReversePath, Security, Stage, Streamed, Verdict,
};
use libtest_mimic::Trial;

use crate::messages::{self, Message};
use crate::server::{Fixture, Mode, Server};

pub(crate) fn all(fixture: &'static Fixture) -> Vec<Trial> {
    let mut trials = failures(fixture);
    for (mode, mechanism) in [
        (Mode::Clear, None),
        (Mode::StartTls, Some(MechanismName::PLAIN)),
        (Mode::Implicit, Some(MechanismName::PLAIN)),
    ] {
        trials.extend(deliveries(fixture, Way { mode, mechanism }));
    }
    for mode in [Mode::StartTls, Mode::Implicit] {
        let mechanism = Some(MechanismName::LOGIN);
        trials.push(session(fixture, Way { mode, mechanism }));
    }
    trials
}

/// How a delivery connects and logs in.
#[derive(Clone)]
struct Way {
    mode: Mode,
    mechanism: Option<MechanismName>,
}

impl Way {
    fn name(&self) -> String {
        match &self.mechanism {
            None => self.mode.name().to_owned(),
            Some(mechanism) => {
                format!(
                    "{}::{}",
                    self.mode.name(),
                    mechanism.as_str().to_lowercase()
                )
            }
        }
    }

    fn sender(&self, case: &str) -> String {
        format!("{}.{case}@example.test", self.name().replace("::", "."))
    }

    fn config(&self, server: &Server) -> ClientConfig {
        let security = self.mode.security();
        let mut session = Config::new(security);
        if let Some(mechanism) = &self.mechanism {
            session = session
                .with_credentials(credentials("password"))
                .with_mechanisms(vec![mechanism.clone()]);
        }
        ClientConfig::new("localhost", security)
            .with_port(server.port(self.mode))
            .with_session(session)
            .with_tls(server.tls())
    }

    async fn connect(&self, server: &Server) -> Client {
        Client::connect(self.config(server))
            .await
            .expect("the server takes this connection")
    }
}

fn deliveries(fixture: &'static Fixture, way: Way) -> Vec<Trial> {
    let trial = |name: &str, case: fn(&Server, &Way)| {
        let way = way.clone();
        fixture.trial(&format!("{}::{name}", way.name()), move |server| {
            case(server, &way);
        })
    };
    let mut trials = vec![
        session(fixture, way.clone()),
        trial("large", |server, way| {
            deliver(server, way, messages::large())
        }),
        trial("streamed", streamed),
        trial("queue", queue),
        trial("one_recipient_of_three_is_accepted", one_of_three),
        trial("every_recipient_is_refused", none_of_two),
    ];
    for message in messages::small() {
        let name = format!("{}::{}", way.name(), message.name);
        let way = way.clone();
        trials.push(fixture.trial(&name, move |server| deliver(server, &way, message)));
    }
    trials
}

fn deliver(server: &Server, way: &Way, message: Message) {
    let sender = way.sender(message.name);
    block_on(async {
        let client = way.connect(server).await;
        let outcome = client
            .send(envelope(&sender, &["alice"]), content(message.submitted))
            .await;
        assert!(outcome.is_accepted(), "{outcome:?}");
        client.close().await.expect("the session ends well");
    });
    assert_same(&server.stored(&sender), &message.stored);
}

/// What the session says of itself.
fn session(fixture: &'static Fixture, way: Way) -> Trial {
    let name = format!("{}::session", way.name());
    fixture.trial(&name, move |server| {
        let sender = way.sender("session");
        block_on(async {
            let client = way.connect(server).await;
            let session = client.session();
            assert_eq!(session.auth(), way.mechanism.as_ref());
            match (way.mode, session.tls()) {
                (Mode::Clear, None) => {}
                (Mode::StartTls | Mode::Implicit, Some(tls)) => {
                    assert!(tls.verification.is_verified());
                    let certificate = tls.certificate.as_ref().expect("a certificate");
                    assert_eq!(certificate.names, ["localhost"]);
                }
                (mode, tls) => panic!("{mode:?}: {tls:?}"),
            }
            let outcome = client
                .send(envelope(&sender, &["alice"]), content("Subject: x\r\n\r\n"))
                .await;
            assert!(outcome.is_accepted(), "{outcome:?}");
            client.close().await.expect("the session ends well");
        });
        assert_same(&server.stored(&sender), b"Subject: x\r\n\r\n");
    })
}

fn streamed(server: &Server, way: &Way) {
    let sender = way.sender("streamed");
    let lines: Vec<u8> = (0..40_000)
        .flat_map(|number| format!(".line {number}\n").into_bytes())
        .collect();
    let message = [b"Subject: streamed\n\n".as_slice(), &lines].concat();
    block_on(async {
        let client = way.connect(server).await;
        let facts = Streamed::default()
            .with_newlines(BareNewlines::Normalise)
            .with_encoding(Encoding::SevenBit);
        let outcome = client
            .send_from(envelope(&sender, &["alice"]), facts, message.as_slice())
            .await;
        assert!(outcome.is_accepted(), "{outcome:?}");
        client.close().await.expect("the session ends well");
    });
    let text = String::from_utf8(message).expect("ASCII");
    assert_same(
        &server.stored(&sender),
        text.replace('\n', "\r\n").as_bytes(),
    );
}

/// Many messages handed over at once on one connection, where the server offers it in shared flights.
fn queue(server: &Server, way: &Way) {
    const MESSAGES: u64 = 30;
    let sender = |number| way.sender(&format!("queue.{number}"));
    let text = |number| format!("Subject: {number}\r\n\r\n.\r\n{number}\r\n");
    block_on(async {
        let client = way.connect(server).await;
        let before = client.stats().flights;
        let deliveries: Vec<_> = (0..MESSAGES)
            .map(|number| {
                client.submit(envelope(&sender(number), &["alice"]), content(text(number)))
            })
            .collect();
        for delivery in deliveries {
            let outcome = delivery.await;
            assert!(outcome.is_accepted(), "{outcome:?}");
        }
        let pipelining = client.session().extensions().offers("PIPELINING");
        let flights = client.stats().flights - before;
        assert!(
            !pipelining || flights <= MESSAGES + 1,
            "{flights} flights for {MESSAGES} messages"
        );
        client.close().await.expect("the session ends well");
    });
    for number in 0..MESSAGES {
        assert_same(&server.stored(&sender(number)), text(number).as_bytes());
    }
}

fn one_of_three(server: &Server, way: &Way) {
    let sender = way.sender("one-of-three");
    let message = "Subject: to one of three\r\n\r\n";
    let outcome = block_on(async {
        let client = way.connect(server).await;
        let envelope = envelope(&sender, &["bob", "alice", "carol"]);
        let outcome = client.send(envelope, content(message)).await;
        client.close().await.expect("the session ends well");
        outcome
    });
    let [first, second, third] = outcome.verdicts() else {
        panic!("{outcome:?}");
    };
    assert_refused(first, Stage::Rcpt, 550);
    assert!(second.is_accepted(), "{second:?}");
    assert_refused(third, Stage::Rcpt, 550);
    assert!(outcome.error().is_none());
    assert_same(&server.stored(&sender), message.as_bytes());
}

fn none_of_two(server: &Server, way: &Way) {
    let (refused, accepted) = (way.sender("none-of-two"), way.sender("after-none-of-two"));
    let message = "Subject: not to bob\r\n\r\n";
    block_on(async {
        let client = way.connect(server).await;
        let outcome = client
            .send(envelope(&refused, &["bob", "carol"]), content(message))
            .await;
        for verdict in outcome.verdicts() {
            assert_refused(verdict, Stage::Rcpt, 550);
        }
        assert_eq!(category(&outcome), Some(Category::RecipientRefused));
        // The session is still in step.
        let outcome = client
            .send(envelope(&accepted, &["alice"]), content(message))
            .await;
        assert!(outcome.is_accepted(), "{outcome:?}");
        client.close().await.expect("the session ends well");
    });
    assert_same(&server.stored(&accepted), message.as_bytes());
}

fn failures(fixture: &'static Fixture) -> Vec<Trial> {
    let mut trials = vec![
        fixture.trial("starttls::not_logged_in", not_logged_in),
        fixture.trial("starttls::mail_in_clear", mail_in_clear),
        fixture.trial("starttls::implicit_tls_is_a_mismatch", |server| {
            let way = plain(Mode::Implicit);
            let config = way.config(server).with_port(server.port(Mode::StartTls));
            let error = refused(config);
            assert_eq!(error.category(), Category::EncryptionMismatch, "{error:?}");
        }),
        fixture.trial("implicit::starttls_waits_for_a_greeting", |server| {
            let way = plain(Mode::StartTls);
            let mut timeouts = Timeouts::default();
            timeouts.greeting = Duration::from_millis(500);
            let session = Config::new(Security::StartTls).with_timeouts(timeouts);
            let config = way
                .config(server)
                .with_port(server.port(Mode::Implicit))
                .with_session(session);
            let error = refused(config);
            assert_eq!(error.category(), Category::ConnectionTimeout, "{error:?}");
            assert_eq!(error.stage(), Stage::Greeting, "{error:?}");
        }),
    ];
    for mode in [Mode::StartTls, Mode::Implicit] {
        let name = |case: &str| format!("{}::{case}", mode.name());
        trials.extend([
            fixture.trial(&name("wrong_password"), move |server| {
                let session = Config::new(mode.security()).with_credentials(credentials("wrong"));
                let error = refused(plain(mode).config(server).with_session(session));
                assert_eq!(error.category(), Category::Authentication, "{error:?}");
                assert_eq!(error.stage(), Stage::Auth, "{error:?}");
                assert_eq!(error.reply().map(|reply| reply.code()), Code::new(535));
            }),
            fixture.trial(&name("wrong_name"), move |server| {
                let mut config = plain(mode).config(server);
                config.host = "127.0.0.1".to_owned();
                let error = refused(config);
                assert_eq!(error.category(), Category::Certificate, "{error:?}");
                assert_eq!(error.stage(), Stage::Handshake, "{error:?}");
            }),
            fixture.trial(&name("unknown_authority"), move |server| {
                let config = plain(mode).config(server).with_tls(Default::default());
                let error = refused(config);
                assert_eq!(error.category(), Category::Certificate, "{error:?}");
                assert_eq!(error.stage(), Stage::Handshake, "{error:?}");
            }),
            fixture.trial(&name("too_large"), move |server| too_large(server, mode)),
        ]);
    }
    trials
}

/// A size above the server's limit is refused here: nothing is sent for it.
fn too_large(server: &Server, mode: Mode) {
    block_on(async {
        let client = plain(mode).connect(server).await;
        let before = client.stats().bytes_sent;
        let facts = Streamed::default().with_size(26_214_401);
        let outcome = client
            .send_from(envelope("large@example.test", &["alice"]), facts, &b""[..])
            .await;
        assert_eq!(category(&outcome), Some(Category::MessageRefused));
        assert!(matches!(outcome.verdicts(), [Verdict::NotSent(_)]));
        assert_eq!(client.stats().bytes_sent, before);
        client.close().await.expect("the session ends well");
    });
}

fn not_logged_in(server: &Server) {
    let nobody = Way {
        mode: Mode::StartTls,
        mechanism: None,
    };
    let outcome = send_one(nobody.config(server));
    let code = outcome.verdicts()[0].reply().map(|reply| reply.code());
    // aiosmtpd refuses MAIL, as RFC 4954 §6 has it; Postfix refuses RCPT, as to any stranger.
    let expected = [
        (Code::new(530), Some(Category::Authentication)),
        (Code::new(554), Some(Category::RecipientRefused)),
    ];
    assert!(
        expected.contains(&(code, category(&outcome))),
        "{outcome:?}"
    );
}

fn mail_in_clear(server: &Server) {
    let config =
        ClientConfig::new("localhost", Security::Plaintext).with_port(server.port(Mode::StartTls));
    let outcome = send_one(config);
    assert_refused(&outcome.verdicts()[0], Stage::Mail, 530);
    assert_eq!(category(&outcome), Some(Category::StartTlsUnavailable));
}

fn plain(mode: Mode) -> Way {
    Way {
        mode,
        mechanism: Some(MechanismName::PLAIN),
    }
}

fn send_one(config: ClientConfig) -> Outcome {
    block_on(async {
        let client = Client::connect(config).await.expect("it may connect");
        let envelope = envelope("nobody@example.test", &["alice"]);
        let outcome = client.send(envelope, content("Subject: x\r\n")).await;
        client.close().await.expect("the session ends well");
        outcome
    })
}

#[track_caller]
fn refused(config: ClientConfig) -> Error {
    match block_on(Client::connect(config)) {
        Ok(_) => panic!("this connection should have failed"),
        Err(error) => error,
    }
}

fn category(outcome: &Outcome) -> Option<Category> {
    outcome.error().map(|error| error.category())
}

fn credentials(password: &str) -> Credentials {
    Credentials::password("alice", password).expect("no control characters")
}

fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    let sender: ReversePath = sender.parse().expect("an address");
    let recipients = recipients
        .iter()
        .map(|name| Mailbox::new(name, "example.test").expect("an address"));
    Envelope::new(sender, recipients)
}

pub(crate) fn content(message: impl Into<Bytes>) -> Content {
    Content::check(message, BareNewlines::Normalise).expect("newlines are normalised")
}

#[track_caller]
fn assert_refused(verdict: &Verdict, stage: Stage, code: u16) {
    match verdict {
        Verdict::Refused { stage: at, reply } => {
            assert_eq!((*at, reply.code().number()), (stage, code), "{reply}");
        }
        other => panic!("{other:?}"),
    }
}

/// Equal, or a message of reasonable length about where they differ.
#[track_caller]
pub(crate) fn assert_same(stored: &[u8], expected: &[u8]) {
    if stored == expected {
        return;
    }
    let same = stored.iter().zip(expected).take_while(|(a, b)| a == b);
    let at = same.count();
    let near = |bytes: &[u8]| {
        let range = at.saturating_sub(20)..bytes.len().min(at + 60);
        bytes[range].escape_ascii().to_string()
    };
    panic!(
        "{} bytes were stored instead of {}; they differ at {at}:\n stored   {}\n expected {}",
        stored.len(),
        expected.len(),
        near(stored),
        near(expected)
    );
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(120), future)
                .await
                .expect("nothing here takes two minutes")
        })
}
