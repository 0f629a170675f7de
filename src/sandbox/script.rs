//! The server's side of a dialogue, played exactly as it is written.
//!
//! Where [`Session`](super::Session) is a server that thinks, a [`Player`] is one that does not: it waits for
//! the octets that a client must send, complains if others come, and says what its script says,
//! however wrong. So any misbehaviour can be put before a client, and any dialogue of a real server
//! played again.
//!
//! ```
//! use ehlo::sandbox::script::{Player, Turn};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let script = [
//!     Turn::server("220 mx.example.org\r\n"),
//!     Turn::client("EHLO client.example\r\n"),
//!     Turn::server("421 too busy\r\n"),
//!     Turn::Close,
//! ];
//! let (server, mut client) = tokio::io::duplex(1024);
//! let mut player = Player::new(server);
//! let playing = async { player.play(&script).await };
//! let talking = async {
//!     client.write_all(b"EHLO client.example\r\n").await?;
//!     let mut heard = String::new();
//!     client.read_to_string(&mut heard).await?;
//!     Ok::<_, std::io::Error>(heard)
//! };
//! let (played, heard) = tokio::join!(playing, talking);
//! played?;
//! assert_eq!(heard?, "220 mx.example.org\r\n421 too busy\r\n");
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::server::TlsStream;

use super::options::{CertificateOptions, TlsVersions};
use super::tls::{ClientCertificates, Identity};

/// One turn of a dialogue, seen from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// The client must send exactly these octets.
    Client(Bytes),
    /// The server sends these octets.
    Server(Bytes),
    /// The client must begin TLS, and complete the handshake.
    Tls,
    /// The server closes its side; in TLS with close_notify.
    Close,
}

impl Turn {
    /// The client must send exactly these octets.
    pub fn client(octets: impl Into<Bytes>) -> Self {
        Self::Client(octets.into())
    }

    /// The server sends these octets.
    pub fn server(octets: impl Into<Bytes>) -> Self {
        Self::Server(octets.into())
    }
}

/// The certificate that scripted servers show, made at run time.
pub struct Certificate(Identity);

impl Certificate {
    /// A new certificate.
    ///
    /// # Errors
    /// None can be made for the names, or there is no crypto provider.
    pub fn make(options: &CertificateOptions) -> io::Result<Self> {
        Identity::make(options, TlsVersions::All, &[], ClientCertificates::Ignored).map(Self)
    }

    /// The certificate to trust, in PEM.
    pub fn pem(&self) -> &str {
        &self.0.authority_pem
    }

    /// The SHA-256 of the server's own certificate, to be pinned.
    pub fn sha256(&self) -> [u8; 32] {
        self.0.sha256
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// Plays the server over a stream: a whole script, or turn by turn.
///
/// The octets that the client sent so far can be read at any time, also after a failure.
pub struct Player<'a, S> {
    stream: Stream<S>,
    certificate: Option<&'a Certificate>,
    heard: Vec<u8>,
}

enum Stream<S> {
    Clear(S),
    Tls(Box<TlsStream<S>>),
    /// Between the two, or for good when the handshake failed.
    Gone,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Player<'a, S> {
    /// A player that has no TLS.
    pub fn new(stream: S) -> Self {
        Self {
            stream: Stream::Clear(stream),
            certificate: None,
            heard: Vec::new(),
        }
    }

    /// With a certificate to show at [`Turn::Tls`].
    #[must_use]
    pub fn with_certificate(mut self, certificate: &'a Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Plays a script to its end.
    ///
    /// # Errors
    /// The first turn that could not be played as written.
    pub async fn play(&mut self, script: &[Turn]) -> Result<(), PlayError> {
        for turn in script {
            self.turn(turn).await?;
        }
        Ok(())
    }

    /// Plays one turn.
    ///
    /// # Errors
    /// Octets that the turn does not have, the end of the stream before they were there, or a
    /// failure of the stream.
    pub async fn turn(&mut self, turn: &Turn) -> Result<(), PlayError> {
        match turn {
            Turn::Client(expected) => self.hear(expected).await,
            Turn::Server(octets) => Ok(self.stream.write(octets).await?),
            Turn::Tls => self.start_tls().await,
            Turn::Close => Ok(self.stream.close().await?),
        }
    }

    /// Takes whatever the client sends next: nothing where it has closed its side.
    ///
    /// # Errors
    /// The stream failed. A reset is an end too.
    pub async fn hear_some(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; BUFFER];
        let length = match self.stream.read(&mut buffer).await {
            Ok(length) => length,
            Err(error) if is_end(&error) => 0,
            Err(error) => return Err(error),
        };
        buffer.truncate(length);
        self.heard.extend_from_slice(&buffer);
        Ok(buffer)
    }

    /// Waits for the client to close its side.
    ///
    /// # Errors
    /// It sent something instead, or the stream failed. A reset is an end too.
    pub async fn wait_for_end(&mut self) -> Result<(), PlayError> {
        let mut buffer = [0; 512];
        match self.stream.read(&mut buffer).await {
            Ok(0) => Ok(()),
            Ok(length) => {
                self.heard.extend_from_slice(&buffer[..length]);
                Err(PlayError::Different {
                    expected: Bytes::new(),
                    heard: Bytes::copy_from_slice(&buffer[..length]),
                })
            }
            Err(error) if is_end(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// All octets that the client sent so far, TLS undone.
    pub fn heard(&self) -> &[u8] {
        &self.heard
    }

    async fn hear(&mut self, expected: &Bytes) -> Result<(), PlayError> {
        let mut buffer = vec![0; expected.len().min(BUFFER)];
        let mut matched = 0;
        while matched < expected.len() {
            let most = buffer.len().min(expected.len() - matched);
            let length = self.stream.read(&mut buffer[..most]).await?;
            if length == 0 {
                return Err(PlayError::Ended {
                    expected: expected.slice(matched..),
                });
            }
            self.heard.extend_from_slice(&buffer[..length]);
            if buffer[..length] != expected[matched..matched + length] {
                return Err(PlayError::Different {
                    expected: expected.slice(matched..),
                    heard: Bytes::copy_from_slice(&buffer[..length]),
                });
            }
            matched += length;
        }
        Ok(())
    }

    async fn start_tls(&mut self) -> Result<(), PlayError> {
        let Some(certificate) = self.certificate else {
            return Err(io::Error::other("the player has no certificate").into());
        };
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Clear(stream) => {
                let stream = certificate.0.acceptor.accept(stream).await?;
                self.stream = Stream::Tls(Box::new(stream));
                Ok(())
            }
            other => {
                self.stream = other;
                Err(io::Error::other("TLS within TLS").into())
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer).await,
            Self::Tls(stream) => stream.read(buffer).await,
            Self::Gone => Ok(0),
        }
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Clear(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
            Self::Tls(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Gone => Ok(()),
        }
    }
}

impl<S> fmt::Debug for Player<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player")
            .field("heard", &self.heard.len())
            .finish_non_exhaustive()
    }
}

/// A turn that could not be played as written.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlayError {
    /// The client sent something else.
    Different {
        /// What was still to come in this turn.
        expected: Bytes,
        /// What came.
        heard: Bytes,
    },
    /// The client closed its side.
    Ended {
        /// What was still to come in this turn.
        expected: Bytes,
    },
    /// The stream, or the TLS handshake, failed.
    Io(io::Error),
}

impl From<io::Error> for PlayError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for PlayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Different { expected, heard } => {
                write!(f, "the client sent {heard:?} instead of {expected:?}")
            }
            Self::Ended { expected } => {
                write!(
                    f,
                    "the client closed its side instead of sending {expected:?}"
                )
            }
            Self::Io(error) => write!(f, "the stream failed: {error}"),
        }
    }
}

impl std::error::Error for PlayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Different { .. } | Self::Ended { .. } => None,
            Self::Io(error) => Some(error),
        }
    }
}

/// Ways in which a client ends a connection without having sent anything more.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Octets read at a time, at most.
const BUFFER: usize = 16 * 1024;
