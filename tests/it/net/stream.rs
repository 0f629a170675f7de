//! Bodies that are read piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ehlo::{Category, Client, Party, Stage, Streamed, Verdict};
use tokio::io::{AsyncRead, ReadBuf, repeat};

use super::peer::Peer;
use super::{clear, to};

#[tokio::test]
async fn a_streamed_message_arrives_whole() {
    let (mut peer, stream) = Peer::pair(1 << 12);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        let message = peer.message().await;
        peer.say(&["250 taken"]).await;
        message
    });
    let text = "Subject: Long\r\n\r\n".to_owned() + &"A line of text.\r\n".repeat(100_000);
    let client = Client::attach(stream, clear()).await.unwrap();
    let outcome = client
        .send_from(to("bob@example.org"), Streamed::default(), text.as_bytes())
        .await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    assert_eq!(server.await.unwrap(), text);
}

#[tokio::test]
async fn an_empty_streamed_message_is_sent() {
    let (mut peer, stream) = Peer::pair(1 << 12);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        let message = peer.message().await;
        peer.say(&["250 taken"]).await;
        message
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let outcome = client
        .send_from(
            to("bob@example.org"),
            Streamed::default(),
            tokio::io::empty(),
        )
        .await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    assert_eq!(server.await.unwrap(), "");
}

/// Gives a few octets, then an error.
struct Broken {
    given: usize,
}

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.given += 1;
        if self.given > 3 {
            return Poll::Ready(Err(io::Error::other("the disk is gone")));
        }
        buf.put_slice(b"A line of text.\r\n");
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_reader_that_fails_is_named_and_its_message_is_not_sent() {
    let (mut peer, stream) = Peer::pair(1 << 12);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        peer.rest().await
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let outcome = client
        .send_from(
            to("bob@example.org"),
            Streamed::default(),
            Broken { given: 0 },
        )
        .await;
    let [Verdict::NotSent(error)] = outcome.verdicts() else {
        panic!("{outcome:?}");
    };
    assert_eq!(error.category(), Category::Usage);
    assert_eq!(error.stage(), Stage::Body);
    assert_eq!(error.party(), Party::Caller);
    assert!(error.message().contains("the disk is gone"));
    let rest = server.await.unwrap();
    assert!(
        !rest.ends_with(b"\r\n.\r\n"),
        "the message must not be complete"
    );
}

#[tokio::test]
async fn a_refusal_in_the_middle_ends_a_stream_that_has_no_end() {
    let (mut peer, stream) = Peer::pair(1 << 12);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        peer.say(&["552 5.3.4 too big"]).await;
        peer.rest().await;
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let outcome = client
        .send_from(to("bob@example.org"), Streamed::default(), repeat(b'x'))
        .await;
    let [Verdict::Refused { reply, .. }] = outcome.verdicts() else {
        panic!("{outcome:?}");
    };
    assert_eq!(reply.code().number(), 552);
    server.await.unwrap();
}

#[tokio::test]
async fn a_refused_sender_leaves_the_reader_unread() {
    let (mut peer, stream) = Peer::pair(1 << 12);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        for _ in 0..3 {
            peer.line().await;
        }
        peer.say(&["550 no", "503 no", "503 no"]).await;
        peer.part().await;
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let outcome = client
        .send_from(
            to("bob@example.org"),
            Streamed::default(),
            Broken { given: 3 },
        )
        .await;
    let [Verdict::Refused { stage, .. }] = outcome.verdicts() else {
        panic!("{outcome:?}");
    };
    assert_eq!(*stage, Stage::Mail);
    drop(client);
    server.await.unwrap();
}
