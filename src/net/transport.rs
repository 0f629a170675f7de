//! The octets' way: a stream in clear, in a handshake, or within TLS.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::secure::{Handshake, Secured, Starter};
use crate::proto::connection::Connection;
use crate::proto::session::{TlsSession, TransportError, TransportErrorKind};

/// A stream, and how far it is on the way to TLS.
pub(super) enum Transport<S> {
    Clear(S),
    /// Nothing may be read or written but by the handshake. Boxed, as is [`Self::Tls`], so that a
    /// connection in clear does not pay for it.
    Handshake(Box<Handshake<S>>),
    Tls(Box<Secured<S>>),
    Closed,
}

/// What reading came to.
pub(super) enum Heard {
    /// So many octets, all there were.
    Octets(usize),
    /// Octets, and there may be more.
    More,
    /// The peer has closed its side.
    End,
    Failure(TransportError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport<S> {
    /// Begins the handshake. The stream is gone where it cannot: nothing follows in clear.
    pub(super) fn start_tls(&mut self, starter: Option<Starter>) -> Result<(), TransportError> {
        match (std::mem::replace(self, Self::Closed), starter) {
            (Self::Clear(stream), Some(starter)) => {
                *self = Self::Handshake(Box::new(starter.start(stream)));
                Ok(())
            }
            (Self::Clear(_) | Self::Handshake(_) | Self::Tls(_) | Self::Closed, _) => {
                Err(TransportError::new(
                    TransportErrorKind::Tls,
                    "TLS cannot be started on this connection",
                ))
            }
        }
    }

    /// Goes on with the handshake, if there is one.
    pub(super) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<TlsSession, TransportError>> {
        let Self::Handshake(handshake) = self else {
            return Poll::Pending;
        };
        match ready!(handshake.poll(cx)) {
            Ok((secured, session)) => {
                *self = Self::Tls(Box::new(secured));
                Poll::Ready(Ok(session))
            }
            Err(error) => {
                *self = Self::Closed;
                Poll::Ready(Err(error))
            }
        }
    }

    /// Feeds the engine all that has come, up to a bound.
    pub(super) fn read(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Heard {
        match self {
            Self::Clear(stream) => match feed(stream, connection, cx, now) {
                Fed::Octets(count) => Heard::Octets(count),
                Fed::More => Heard::More,
                Fed::End => Heard::End,
                Fed::Failure(error) => Heard::Failure(lost(error)),
            },
            Self::Tls(stream) => match feed(&mut **stream, connection, cx, now) {
                Fed::Octets(count) => Heard::Octets(count),
                Fed::More => Heard::More,
                Fed::End => stream.ended(None).map_or(Heard::End, Heard::Failure),
                Fed::Failure(error) => {
                    let message = describe(&error);
                    let failure = stream.ended(Some(error));
                    Heard::Failure(failure.unwrap_or_else(|| lost_because(&message)))
                }
            },
            Self::Handshake(_) | Self::Closed => Heard::Octets(0),
        }
    }

    /// Writes what the engine has to say, with one vectored write. Ready with 0 when it has nothing
    /// to say.
    pub(super) fn poll_write(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Clear(stream) => poll_flight(stream, connection, cx, now),
            Self::Tls(stream) => poll_flight(&mut **stream, connection, cx, now),
            Self::Handshake(_) | Self::Closed => Poll::Ready(Ok(0)),
        }
    }

    /// Pushes out what the stream itself holds back: TLS records, or a caller's buffer.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Self::Handshake(_) | Self::Closed => Poll::Ready(Ok(())),
        }
    }

    /// Says good-bye as far as that goes without waiting, and closes.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Clear(stream) => {
                let _ = Pin::new(stream).poll_shutdown(cx);
            }
            Self::Tls(stream) => {
                let _ = Pin::new(&mut **stream).poll_shutdown(cx);
            }
            Self::Handshake(_) | Self::Closed => {}
        }
        *self = Self::Closed;
    }

    /// Closes without a word.
    pub(super) fn abort(&mut self) {
        *self = Self::Closed;
    }
}

/// What an error of the stream means to the engine.
pub(super) fn lost(error: io::Error) -> TransportError {
    lost_because(&describe(&error)).with_source(error)
}

fn lost_because(message: &str) -> TransportError {
    TransportError::new(TransportErrorKind::Lost, message)
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset => "the server reset the connection".to_owned(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::WriteZero => {
            "the server had closed the connection before everything was sent".to_owned()
        }
        _ => format!("the connection failed: {error}"),
    }
}

/// What feeding the engine from a stream came to.
enum Fed {
    Octets(usize),
    More,
    End,
    Failure(io::Error),
}

/// Reads into a buffer on the stack, so that an idle connection has none.
fn feed<R: AsyncRead + Unpin>(
    stream: &mut R,
    connection: &mut Connection,
    cx: &mut Context<'_>,
    now: Instant,
) -> Fed {
    let mut space = [const { MaybeUninit::uninit() }; READ];
    let mut total = 0;
    for _ in 0..READS {
        let mut buffer = ReadBuf::uninit(&mut space);
        match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Fed::End,
            Poll::Ready(Ok(())) => {
                total += buffer.filled().len();
                connection.receive(buffer.filled(), now);
            }
            Poll::Ready(Err(error)) => return Fed::Failure(error),
            Poll::Pending => return Fed::Octets(total),
        }
    }
    Fed::More
}

/// Most flights have few slices: an array for the longest would cost more to fill than to send.
fn poll_flight<W: AsyncWrite + Unpin>(
    stream: &mut W,
    connection: &mut Connection,
    cx: &mut Context<'_>,
    now: Instant,
) -> Poll<io::Result<usize>> {
    if !connection.has_unsent() {
        return Poll::Ready(Ok(0));
    }
    poll_slices_of::<FEW, W>(stream, connection, cx, now)
        .or_else(|| poll_slices_of::<SOME, W>(stream, connection, cx, now))
        .or_else(|| poll_slices_of::<MANY, W>(stream, connection, cx, now))
        .unwrap_or(Poll::Ready(Ok(0)))
}

/// Writes a flight of up to so many slices; the longest may have more. `None` where it has more.
fn poll_slices_of<const COUNT: usize, W: AsyncWrite + Unpin>(
    stream: &mut W,
    connection: &mut Connection,
    cx: &mut Context<'_>,
    now: Instant,
) -> Option<Poll<io::Result<usize>>> {
    let mut slices = [IoSlice::new(&[]); COUNT];
    let count = connection.transmit(&mut slices);
    if count == COUNT && COUNT < MANY {
        return None;
    }
    let written = poll_slices(stream, &slices[..count], cx);
    if let Poll::Ready(Ok(sent)) = written {
        connection.sent(sent, now);
    }
    Some(written)
}

fn poll_slices<W: AsyncWrite + Unpin>(
    stream: &mut W,
    slices: &[IoSlice<'_>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let written = if slices.len() == 1 || stream.is_write_vectored() {
        ready!(Pin::new(stream).poll_write_vectored(cx, slices))?
    } else {
        let gathered = gather(slices);
        ready!(Pin::new(stream).poll_write(cx, &gathered))?
    };
    if written == 0 {
        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
    }
    Poll::Ready(Ok(written))
}

/// The first octets of a flight in one piece, for a stream that cannot write several at once.
fn gather(slices: &[IoSlice<'_>]) -> Vec<u8> {
    let length: usize = slices.iter().map(|slice| slice.len()).sum();
    let mut gathered = Vec::with_capacity(length.min(GATHERED));
    for slice in slices {
        let room = GATHERED - gathered.len();
        gathered.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    gathered
}

/// Octets of one read.
const READ: usize = 8 * 1024;
/// Reads in a row, before anything else has its turn.
const READS: usize = 16;
/// Slices of an ordinary flight.
const FEW: usize = 8;
/// Slices of a flight of many short messages.
const SOME: usize = 64;
/// Slices that one write may have (IOV_MAX of Linux and of the BSDs).
const MANY: usize = 1024;
/// Octets that are gathered for a stream without vectored writes.
const GATHERED: usize = 64 * 1024;
