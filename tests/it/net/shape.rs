//! The shape of what is written: one vectored write a flight, and the caller's own octets in it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use ehlo::{BareNewlines, Client, Content, Streamed};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::peer::Peer;
use super::{clear, hello, to};

/// One write as the stream saw it: address and length of each slice.
type Write = Vec<(usize, usize)>;

/// A stream that notes each write.
pub(crate) struct Noting<S> {
    stream: S,
    writes: Arc<Mutex<Vec<Write>>>,
}

impl<S> Noting<S> {
    pub(crate) fn new(stream: S) -> (Self, Arc<Mutex<Vec<Write>>>) {
        let writes = Arc::new(Mutex::new(Vec::new()));
        let noting = Self {
            stream,
            writes: Arc::clone(&writes),
        };
        (noting, writes)
    }

    fn note(&self, slices: &[IoSlice<'_>]) {
        let write = slices
            .iter()
            .map(|slice| (slice.as_ptr() as usize, slice.len()))
            .collect();
        self.writes.lock().unwrap().push(write);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            self.note(&[IoSlice::new(buf)]);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if written.is_ready() {
            self.note(bufs);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn noting_pair() -> (
    Peer<DuplexStream>,
    Noting<DuplexStream>,
    Arc<Mutex<Vec<Write>>>,
) {
    let (peer, stream) = Peer::pair(1 << 20);
    let (noting, writes) = Noting::new(stream);
    (peer, noting, writes)
}

#[tokio::test]
async fn a_flight_is_one_write_and_messages_share_flights() {
    let (mut peer, stream, writes) = noting_pair();
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        for _ in 1..10 {
            peer.message().await;
            peer.expect("MAIL FROM:").await;
            peer.expect("RCPT TO:").await;
            peer.expect("DATA").await;
            peer.say(&["250 taken", "250 ok", "250 ok", "354 go on"])
                .await;
        }
        peer.message().await;
        peer.say(&["250 taken"]).await;
        peer.expect("QUIT").await;
        peer.say(&["221 bye"]).await;
    });
    let client = Client::attach(stream, clear()).await.unwrap();
    let deliveries: Vec<_> = (0..10)
        .map(|_| client.submit(to("bob@example.org"), hello()))
        .collect();
    for delivery in deliveries {
        assert!(delivery.await.is_accepted());
    }
    // EHLO, the first envelope, then each body together with the next envelope.
    assert_eq!(client.stats().flights, 2 + 10);
    client.close().await.unwrap();
    server.await.unwrap();
    assert_eq!(writes.lock().unwrap().len(), 2 + 10 + 1);
}

#[tokio::test]
async fn a_clean_message_goes_out_from_where_the_caller_has_it() {
    let (mut peer, stream, writes) = noting_pair();
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        let message = peer.message().await;
        peer.say(&["250 taken"]).await;
        message
    });
    let text = "Subject: Long\r\n\r\n".to_owned() + &"All of it is clean.\r\n".repeat(20_000);
    let bytes = bytes::Bytes::from(text.clone());
    let (start, length) = (bytes.as_ptr() as usize, bytes.len());
    let client = Client::attach(stream, clear()).await.unwrap();
    let message = Content::check(bytes, BareNewlines::Reject).unwrap();
    assert!(
        client
            .send(to("bob@example.org"), message)
            .await
            .is_accepted()
    );
    assert_eq!(server.await.unwrap(), text);
    let writes = writes.lock().unwrap();
    let shared: usize = writes
        .iter()
        .flatten()
        .filter(|(at, _)| (start..start + length).contains(at))
        .map(|(_, length)| length)
        .sum();
    // A short write gives the rest again, so it may be more, but never less.
    assert!(
        shared >= length,
        "{shared} of {length} octets were not copied"
    );
}

#[tokio::test]
async fn a_streamed_message_takes_four_writes_for_each_mebibyte() {
    let (mut peer, stream) = Peer::pair(8 << 20);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        let message = peer.message().await;
        peer.say(&["250 taken"]).await;
        message
    });
    let text = "A line of 32 octets, with CRLF.\r\n".repeat(4 * 32 * 1024);
    let (noting, writes) = Noting::new(stream);
    let client = Client::attach(noting, clear()).await.unwrap();
    let outcome = client
        .send_from(
            to("bob@example.org"),
            Streamed::default(),
            Halting::new(&text),
        )
        .await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    assert!(server.await.unwrap() == text);
    let written = writes.lock().unwrap().len();
    // EHLO, the envelope, and the end of the message beside.
    assert!(written <= 4 * text.len().div_ceil(1 << 20) + 3, "{written}");
}

#[tokio::test]
async fn a_stream_without_vectored_writes_still_gets_each_flight_in_one() {
    let (mut peer, stream) = Peer::pair(1 << 20);
    let server = tokio::spawn(async move {
        peer.greet(&[]).await;
        peer.envelope().await;
        peer.message().await;
        peer.say(&["250 taken"]).await;
    });
    let (noting, writes) = Noting::new(Plain(stream));
    let client = Client::attach(noting, clear()).await.unwrap();
    let message = client.send(to("bob@example.org"), hello()).await;
    assert!(message.is_accepted());
    server.await.unwrap();
    assert_eq!(
        writes.lock().unwrap().len(),
        3,
        "EHLO, the envelope, the message"
    );
}

/// A reader that lets others run before each read, as a file does.
struct Halting<'a> {
    text: &'a [u8],
    halted: bool,
}

impl<'a> Halting<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            halted: false,
        }
    }
}

impl AsyncRead for Halting<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.halted = !self.halted;
        if self.halted {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.text).poll_read(cx, buf)
    }
}

/// A stream that cannot write several slices at once.
struct Plain(DuplexStream);

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
