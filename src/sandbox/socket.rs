//! The sockets that a sandbox can listen on, and what they have in common.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// Where connections come from.
pub(super) trait Listener: Send + Sync + 'static {
    type Socket: Socket;

    /// The next connection, and the client's address where it has one.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Socket, Option<SocketAddr>)>> + Send;
}

/// One connection.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Has replies go out as soon as they are written.
    fn hurry(&self) -> io::Result<()>;

    /// Has the connection end in a reset, where it knows such a thing, once it is dropped.
    fn reset_at_end(&self) -> io::Result<()>;
}

impl Listener for TcpListener {
    type Socket = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, peer) = self.accept().await?;
        Ok((stream, Some(peer)))
    }
}

impl Socket for TcpStream {
    fn hurry(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }

    fn reset_at_end(&self) -> io::Result<()> {
        self.set_zero_linger()
    }
}

#[cfg(unix)]
impl Listener for UnixListener {
    type Socket = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, None))
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn hurry(&self) -> io::Result<()> {
        Ok(())
    }

    fn reset_at_end(&self) -> io::Result<()> {
        Ok(())
    }
}
