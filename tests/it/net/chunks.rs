//! Messages by BDAT, and LMTP, through the driver against the sandbox: what arrives, and in how many
//! round trips.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ehlo::proto::{Chunking, Config, Pipelining, Protocol};
use ehlo::sandbox::{Extension, Options, Sandbox, TlsMode, Transfer};
use ehlo::{
    BareNewlines, Body, Category, Client, ClientConfig, Content, Encoding, Envelope, Mailbox,
    Security, Stage, Streamed, Verdict,
};
use tokio::io::{AsyncRead, ReadBuf};

use super::{hello, to};
use crate::strict::Strict;

async fn sandbox(options: Options) -> Strict {
    let sandbox = Strict::start(options.with_tls(TlsMode::None)).await;
    sandbox.expect("a port on loopback is free")
}

async fn client(sandbox: &Sandbox, session: Config) -> Client {
    let config = ClientConfig::new("127.0.0.1", Security::Plaintext)
        .with_port(sandbox.address().port())
        .with_session(session);
    Client::connect(config).await.unwrap()
}

fn session() -> Config {
    Config::new(Security::Plaintext)
}

fn kibibyte() -> Content {
    let line = format!("{}\r\n", "x".repeat(501));
    let message = format!("Subject: Hello\r\n\r\n{line}{line}");
    let content = Content::check(message, BareNewlines::Reject).unwrap();
    assert_eq!(content.facts().wire_size, 1024);
    content
}

/// Round trips behind `ready` for 200 messages of 1 KiB, all submitted at once.
async fn round_trips(session: Config) -> u64 {
    let sandbox = sandbox(Options::default()).await;
    let client = client(&sandbox, session).await;
    let before = sandbox.counters().flights;
    let content = kibibyte();
    let deliveries: Vec<_> = (0..200)
        .map(|_| client.submit(to("bob@example.org"), content.clone()))
        .collect();
    for delivery in deliveries {
        assert!(delivery.await.is_accepted());
    }
    let flights = sandbox.counters().flights - before;
    let received = sandbox.received();
    assert_eq!(received.len(), 200);
    assert!(received.iter().all(|one| one.content == content.bytes()));
    flights
}

#[tokio::test]
async fn two_hundred_messages_take_so_many_round_trips() {
    let data = round_trips(session().with_chunking(Chunking::Off)).await;
    assert!(data <= 201, "{data} by DATA");
    let chunks = round_trips(session()).await;
    assert!(chunks <= 200, "{chunks} by BDAT");
    let overlapping = round_trips(session().with_pipelining(Pipelining::Overlapping)).await;
    assert!(overlapping <= 10, "{overlapping} by BDAT, overlapping");
}

#[tokio::test]
async fn a_message_that_is_waited_for_takes_one_round_trip() {
    let sandbox = sandbox(Options::default()).await;
    let client = client(&sandbox, session()).await;
    for _ in 0..20 {
        let before = sandbox.counters().flights;
        assert!(
            client
                .send(to("bob@example.org"), kibibyte())
                .await
                .is_accepted()
        );
        assert_eq!(sandbox.counters().flights - before, 1);
    }
    assert_eq!(sandbox.received()[0].transfer, Transfer::Bdat);
}

#[tokio::test]
async fn a_streamed_message_of_20_mib_arrives_whole() {
    for pipelining in [Pipelining::Groups, Pipelining::Off] {
        let sandbox = sandbox(Options::default()).await;
        let client = client(&sandbox, session().with_pipelining(pipelining)).await;
        let size = 20 << 20;
        let streamed = Streamed::default().with_size(size);
        let source = Lines {
            left: size as usize,
        };
        let outcome = client
            .send_from(to("bob@example.org"), streamed, source)
            .await;
        assert!(outcome.is_accepted(), "{outcome:?}");
        let received = &sandbox.received()[0];
        assert_eq!((received.size, received.transfer), (size, Transfer::Bdat));
        assert!(received.content.chunks(LINE.len()).all(|line| line == LINE));
        let chunks = sandbox.counters().commands;
        assert!(chunks < 5 + size / (32 * 1024), "{chunks} commands");
    }
}

#[tokio::test]
async fn a_refused_chunk_ends_its_message_and_not_the_session() {
    let options = Options::default().with_fault("reply@data#2=552 5.3.4 full".parse().unwrap());
    let sandbox = sandbox(options).await;
    let client = client(&sandbox, session()).await;
    let source = Lines { left: 4 << 20 };
    let outcome = client
        .send_from(to("bob@example.org"), Streamed::default(), source)
        .await;
    let [
        Verdict::Refused {
            stage: Stage::Body,
            reply,
        },
    ] = outcome.verdicts()
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(reply.code().number(), 552);
    assert!(
        client
            .send(to("bob@example.org"), hello())
            .await
            .is_accepted()
    );
    assert_eq!(sandbox.received().len(), 1);
}

#[tokio::test]
async fn a_refused_message_costs_none_of_those_behind_it() {
    let options = Options::default().with_fault("reply@body#3=554 5.7.1 no".parse().unwrap());
    let sandbox = sandbox(options).await;
    let client = client(&sandbox, session().with_pipelining(Pipelining::Overlapping)).await;
    let deliveries: Vec<_> = (0..50)
        .map(|n| client.submit(to(&format!("r{n}@example.org")), kibibyte()))
        .collect();
    for (n, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.is_accepted(), n != 2, "message {n}");
    }
    let names = sandbox
        .received()
        .into_iter()
        .map(|one| one.recipients[0].clone());
    let expected = (0..50)
        .filter(|n| *n != 2)
        .map(|n| format!("r{n}@example.org"));
    assert!(names.eq(expected));
}

#[tokio::test]
async fn a_message_that_left_with_its_envelope_is_in_doubt() {
    let sandbox = sandbox(Options::default().with_fault("close@mail".parse().unwrap())).await;
    let client = client(&sandbox, session()).await;
    let outcome = client.send(to("bob@example.org"), hello()).await;
    let [Verdict::InDoubt(error)] = outcome.verdicts() else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.stage(), Stage::Body);
}

#[tokio::test]
async fn binary_content_arrives_octet_by_octet() {
    let octets = b"A: b\r\n\r\n\0\n\r.\xff\r".as_slice();
    let sandbox = sandbox(Options::default().with_extension(Extension::BinaryMime)).await;
    let client = client(&sandbox, session()).await;
    let whole = client
        .send(to("bob@example.org"), Content::binary(octets))
        .await;
    assert!(whole.is_accepted(), "{whole:?}");
    let streamed = Streamed::default().with_encoding(Encoding::Binary);
    let streamed = client
        .send_from(to("bob@example.org"), streamed, octets)
        .await;
    assert!(streamed.is_accepted(), "{streamed:?}");
    for received in sandbox.received() {
        assert_eq!(received.content, octets);
        let body = ("BODY".to_owned(), Some("BINARYMIME".to_owned()));
        assert!(received.parameters.contains(&body));
    }
}

#[tokio::test]
async fn text_with_a_nul_is_the_same_whole_and_streamed() {
    let options = Options::default().with_extension(Extension::BinaryMime);
    let sandbox = sandbox(options).await;
    let client = client(&sandbox, session()).await;
    let text = b"Subject: x\n\na\0b".as_slice();
    let content = Content::check(text, BareNewlines::Normalise).unwrap();
    let streamed = Streamed::default()
        .with_size(content.facts().wire_size)
        .with_encoding(content.encoding())
        .with_newlines(BareNewlines::Normalise);
    assert!(
        client
            .send(to("bob@example.org"), content)
            .await
            .is_accepted()
    );
    let outcome = client
        .send_from(to("bob@example.org"), streamed, text)
        .await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    let received = sandbox.received();
    assert_eq!(received[0].content, received[1].content);
    assert_eq!(received[0].parameters, received[1].parameters);
}

#[tokio::test]
async fn nothing_goes_out_that_a_server_would_only_put_up_with() {
    let options = Options::default()
        .with_extension(Extension::SmtpUtf8)
        .with_fault("reply@body#2=452 4.3.1 full".parse().unwrap());
    for chunking in [Chunking::Off, Chunking::WhereOffered] {
        let sandbox = sandbox(options.clone()).await;
        let client = client(&sandbox, session().with_chunking(chunking)).await;
        let mut verdicts = Vec::new();
        for text in [
            "Subject: 8-bit\r\n\r\n\u{e9}\r\n",
            "Subject: refused\r\n\r\n",
            "Subject: \u{e9}\r\n\r\n",
            "Subject: longer than the others\r\n\r\n",
        ] {
            let content = Content::check(text, BareNewlines::Reject).unwrap();
            let outcome = client.send(to("bob@example.org"), content).await;
            verdicts.extend(outcome.verdicts().iter().map(short));
        }
        let taken = "accepted 250";
        assert_eq!(verdicts, [taken, "body 452", taken, taken]);
        // What was wrong with it, if anything was, the sandbox says at its end.
    }
}

#[tokio::test]
async fn lmtp_delivers_to_some() {
    for chunking in [Chunking::Off, Chunking::WhereOffered] {
        let options = Options::default()
            .with_protocol(Protocol::Lmtp)
            .with_refused_recipient("nobody@example.org", "550 5.1.1 no".parse().unwrap())
            .with_undelivered_recipient("full@example.org", "452 4.2.2 full".parse().unwrap());
        let sandbox = sandbox(options).await;
        let session = session()
            .with_protocol(Protocol::Lmtp)
            .with_chunking(chunking);
        let client = client(&sandbox, session).await;
        for body in [Body::from(hello()), Body::from(kibibyte())] {
            let names = ["full", "nobody", "bob"].map(|name| format!("{name}@example.org"));
            let recipients = names.map(|name| name.parse::<Mailbox>().unwrap());
            let sender: Mailbox = "alice@example.com".parse().unwrap();
            let outcome = client.send(Envelope::new(sender, recipients), body).await;
            let verdicts: Vec<_> = outcome.verdicts().iter().map(short).collect();
            assert_eq!(verdicts, ["body 452", "rcpt 550", "accepted 250"]);
        }
        client.close().await.unwrap();
        let received = sandbox.received();
        assert_eq!(received.len(), 2);
        assert!(
            received
                .iter()
                .all(|one| one.recipients == ["bob@example.org"])
        );
    }
}

#[tokio::test]
async fn lmtp_knows_who_was_answered_when_the_connection_breaks() {
    let options = Options::default()
        .with_protocol(Protocol::Lmtp)
        .without_extension(Extension::Chunking)
        .with_fault("close@body#2".parse().unwrap());
    let sandbox = sandbox(options).await;
    let client = client(&sandbox, session().with_protocol(Protocol::Lmtp)).await;
    let recipients = ["a@example.org", "b@example.org"].map(|name| name.parse().unwrap());
    let recipients: [Mailbox; 2] = recipients;
    let sender: Mailbox = "alice@example.com".parse().unwrap();
    let outcome = client
        .send(Envelope::new(sender, recipients), hello())
        .await;
    let verdicts: Vec<_> = outcome.verdicts().iter().map(short).collect();
    assert_eq!(verdicts, ["accepted 250", "in doubt"]);
}

#[tokio::test]
async fn smtp_is_not_spoken_to_an_lmtp_server() {
    let sandbox = sandbox(Options::default().with_protocol(Protocol::Lmtp)).await;
    let config =
        ClientConfig::new("127.0.0.1", Security::Plaintext).with_port(sandbox.address().port());
    let error = Client::connect(config).await.map(drop).unwrap_err();
    assert_eq!(error.stage(), Stage::Ehlo, "{error}");
    assert_eq!(error.category(), Category::SenderRefused, "{error}");
}

fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted(reply) => format!("accepted {}", reply.code()),
        Verdict::Refused { stage, reply } => format!("{stage} {}", reply.code()),
        Verdict::InDoubt(_) => "in doubt".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Octets of a message that is made as it is read.
struct Lines {
    left: usize,
}

impl AsyncRead for Lines {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left >= LINE.len() && buffer.remaining() >= LINE.len() {
            buffer.put_slice(LINE);
            self.left -= LINE.len();
        }
        Poll::Ready(Ok(()))
    }
}

/// 64 octets.
const LINE: &[u8] = b"..34567890123456789012345678901234567890123456789012345678901.\r\n";
