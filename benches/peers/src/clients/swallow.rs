//! A server that is no more than a stream in memory: it takes what is written, looks at as little of
//! it as it can, and answers. What is measured over it is the client's own work.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug)]
pub struct Swallow {
    state: State,
    /// The last octets of a message, or a command that has only begun.
    tail: Vec<u8>,
    replies: Vec<u8>,
    reader: Option<Waker>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Commands,
    /// After DATA.
    Message,
}

impl Swallow {
    pub fn new() -> Self {
        Self {
            state: State::Commands,
            tail: Vec::new(),
            replies: b"220 swallow ESMTP\r\n".to_vec(),
            reader: None,
        }
    }

    fn take(&mut self, written: &[u8]) {
        match self.state {
            State::Commands => {
                self.tail.extend_from_slice(written);
                while let Some(end) = memchr::memchr(b'\n', &self.tail) {
                    let line: Vec<u8> = self.tail.drain(..=end).collect();
                    self.command(&line);
                }
            }
            State::Message => {
                // No message that is sent has the end mark within.
                let kept = written.len().min(END.len());
                self.tail
                    .extend_from_slice(&written[written.len() - kept..]);
                let over = self.tail.len().saturating_sub(END.len());
                self.tail.drain(..over);
                if self.tail == END {
                    self.tail.clear();
                    self.state = State::Commands;
                    self.replies.extend_from_slice(b"250 2.0.0 ok\r\n");
                }
            }
        }
        if !self.replies.is_empty()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    fn command(&mut self, line: &[u8]) {
        let reply: &[u8] = match line.get(..4) {
            Some(b"EHLO") => b"250-swallow\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
            Some(b"DATA") => {
                self.state = State::Message;
                b"354 go on\r\n"
            }
            _ => b"250 2.0.0 ok\r\n",
        };
        self.replies.extend_from_slice(reply);
    }
}

impl AsyncRead for Swallow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.replies.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = self.replies.len().min(buffer.remaining());
        buffer.put_slice(&self.replies[..length]);
        self.replies.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Swallow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        for slice in slices {
            self.take(slice);
        }
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncTokioStream for Swallow {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 25)))
    }
}

const END: &[u8] = b"\r\n.\r\n";
