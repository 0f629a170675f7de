//! What stands for TLS where it is not built in: it never starts.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::config::ClientConfig;
use crate::error::{Category, Error, Party, Stage};
use crate::proto::config::Security;
use crate::proto::session::{TlsSession, TransportError};

/// Starts TLS: there is no such value.
pub(super) struct Starter(Infallible);

impl Starter {
    /// Nothing for clear text.
    ///
    /// # Errors
    /// Any other security.
    pub(super) async fn prepare(config: &ClientConfig) -> Result<Option<Self>, Error> {
        match config.session.security {
            Security::Plaintext => Ok(None),
            Security::Implicit | Security::StartTls | Security::Opportunistic => Err(Error::new(
                Category::Usage,
                Stage::Connect,
                Party::Caller,
                "TLS was asked for, but this program was built without it",
            )
            .with_hint("Build with the feature `tls`, or ask for clear text.")),
        }
    }

    pub(super) fn start<S>(self, _stream: S) -> Handshake<S> {
        match self.0 {}
    }
}

/// A handshake in progress: there is no such value.
pub(super) struct Handshake<S>(Infallible, PhantomData<S>);

impl<S> Handshake<S> {
    #[expect(clippy::needless_pass_by_ref_mut, reason = "the shape of the real one")]
    pub(super) fn poll(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<(Secured<S>, TlsSession), TransportError>> {
        match self.0 {}
    }
}

/// A stream within TLS: there is no such value.
pub(super) struct Secured<S>(Infallible, PhantomData<S>);

impl<S> Secured<S> {
    pub(super) fn ended(&self, _error: Option<io::Error>) -> Option<TransportError> {
        match self.0 {}
    }
}

impl<S: Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}

impl<S: Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.0 {}
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}
