//! The stream below TLS: what the handshake needs of it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Remembers the first octets that the peer sent, since rustls does not tell what it could not read;
/// and holds what the handshake writes until that waits for an answer. So the last of it travels with
/// what follows: the client's Finished with EHLO.
pub(super) struct Recorder<S> {
    stream: S,
    first: [u8; FIRST],
    length: u8,
    held: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Handshake,
    Over,
}

impl<S> Recorder<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            first: [0; FIRST],
            length: 0,
            held: Vec::new(),
            stage: Stage::Handshake,
        }
    }

    pub(super) fn first(&self) -> &[u8] {
        &self.first[..usize::from(self.length)]
    }

    /// The handshake is over: what is held goes with the next octets, or when the stream is flushed.
    pub(super) fn let_go(&mut self) {
        self.stage = Stage::Over;
    }
}

impl<S: AsyncWrite + Unpin> Recorder<S> {
    /// The handshake has failed: why goes to the peer, as far as that is possible at once.
    pub(super) fn send_alert(&mut self, cx: &mut Context<'_>) {
        let _ = self.poll_held(cx, &[]);
    }

    /// Writes what is held, and behind it of these octets as many as go with it: tells how many.
    fn poll_held(
        &mut self,
        cx: &mut Context<'_>,
        behind: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            slices[0] = IoSlice::new(&self.held);
            let count = behind.len().min(SLICES - 1);
            slices[1..=count].copy_from_slice(&behind[..count]);
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write_vectored(cx, &slices[..=count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let held = written.min(self.held.len());
            self.held.drain(..held);
            if self.held.is_empty() {
                self.held = Vec::new();
                return Poll::Ready(Ok(written - held));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Recorder<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.stage {
            Stage::Handshake => {
                ready!(this.poll_held(cx, &[]))?;
                ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
            }
            Stage::Over => {}
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        for (to, from) in this.first[usize::from(this.length)..]
            .iter_mut()
            .zip(&buf.filled()[before..])
        {
            *to = *from;
            this.length += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorder<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.stage {
            Stage::Handshake => {
                let before = this.held.len();
                bufs.iter().for_each(|buf| this.held.extend_from_slice(buf));
                Poll::Ready(Ok(this.held.len() - before))
            }
            Stage::Over => match ready!(this.poll_held(cx, bufs))? {
                0 => Pin::new(&mut this.stream).poll_write_vectored(cx, bufs),
                written => Poll::Ready(Ok(written)),
            },
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.stage {
            Stage::Handshake => Poll::Ready(Ok(())),
            Stage::Over => {
                ready!(this.poll_held(cx, &[]))?;
                Pin::new(&mut this.stream).poll_flush(cx)
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_held(cx, &[]))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// Octets that are remembered of what the peer sent first.
const FIRST: usize = 8;

/// Slices of a write in which something held travels along.
const SLICES: usize = 8;
