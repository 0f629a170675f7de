//! The TLS handshake: what comes of it, and what it means when it fails.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{FallibleConnect, TlsConnector, rustls};

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ProtocolVersion};

use super::certificate::{date, end_point, facts};
use super::config::ClientConfig;
use super::tls::Prepared;
use super::verify::{PinMismatch, is_authoritys_own};
use crate::error::{Category, Error, Party, Stage};
use crate::proto::config::Security;
use crate::proto::session::{ChannelBinding, TlsSession, TransportError, TransportErrorKind};

/// Starts TLS on one connection.
pub(super) struct Starter {
    prepared: Prepared,
    name: ServerName<'static>,
    start: Start,
}

/// What the server has said before the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Nothing: TLS is due at once.
    AtOnce,
    /// That it is ready for TLS.
    AfterStartTls,
}

impl Starter {
    /// What the configuration asks for; `None` in clear text.
    ///
    /// # Errors
    /// Options that cannot be used, or a host that no certificate can name.
    pub(super) async fn prepare(config: &ClientConfig) -> Result<Option<Self>, Error> {
        let start = match config.session.security {
            Security::Plaintext => return Ok(None),
            Security::Implicit => Start::AtOnce,
            Security::StartTls | Security::Opportunistic => Start::AfterStartTls,
        };
        let host = config.certificate_name.as_deref().unwrap_or(&config.host);
        Ok(Some(Self {
            prepared: config.tls.prepare().await?,
            name: server_name(host)?,
            start,
        }))
    }

    pub(super) fn start<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S) -> Handshake<S> {
        let connector = TlsConnector::from(self.prepared.config.clone());
        let recorder = Recorder::new(stream);
        Handshake {
            connect: connector
                .connect(self.name.clone(), recorder)
                .into_fallible(),
            starter: self,
        }
    }
}

/// A handshake in progress.
pub(super) struct Handshake<S> {
    connect: FallibleConnect<Recorder<S>>,
    starter: Starter,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<S> {
    /// The secured stream and its facts, or why there is none. A failed handshake closes the
    /// stream.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Secured<S>, TlsSession), TransportError>> {
        match ready!(Pin::new(&mut self.connect).poll(cx)) {
            Ok(stream) => {
                let session = session(&stream, &self.starter.prepared);
                let first = match stream.get_ref().1.protocol_version() {
                    Some(ProtocolVersion::TLSv1_3) => FirstRead::MayRefuse,
                    Some(_) | None => FirstRead::Ordinary,
                };
                Poll::Ready(Ok((Secured { stream, first }, session)))
            }
            Err((error, recorder)) => {
                Poll::Ready(Err(failure(error, recorder.first(), self.starter.start)))
            }
        }
    }
}

/// A stream within TLS.
pub(super) struct Secured<S> {
    stream: TlsStream<Recorder<S>>,
    first: FirstRead,
}

/// What the next end of the stream may mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FirstRead {
    /// With TLS 1.3 a client's handshake is complete before the server has judged it, so its
    /// refusal comes with the first read.
    MayRefuse,
    Ordinary,
}

impl<S> Secured<S> {
    /// What it means that reading has ended so; `None` for an orderly end.
    pub(super) fn ended(&self, error: Option<io::Error>) -> Option<TransportError> {
        let refused = self.first == FirstRead::MayRefuse;
        let Some(error) = error else {
            return refused.then(|| closed_at_first_read("the server closed the connection"));
        };
        if let Some(tls) = tls_error(&error) {
            return Some(tls_failure(tls).with_source(error));
        }
        if refused && is_end(&error) {
            return Some(
                closed_at_first_read("the server broke the connection off").with_source(error),
            );
        }
        Some(match error.kind() {
            // RFC 8446 §6.1 asks for close_notify; many servers leave it out after QUIT.
            io::ErrorKind::UnexpectedEof => TransportError::new(
                TransportErrorKind::Lost,
                "the server closed the connection within TLS, without close_notify",
            ),
            _ => super::transport::lost(error),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.first = FirstRead::Ordinary;
        }
        Poll::Ready(Ok(()))
    }
}

/// Each flight is one write of the socket: rustls takes up to 64 KiB of a vectored write, and gives
/// its records out in one.
impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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

/// Remembers the first octets that the peer sent: rustls does not tell what it could not read.
pub(super) struct Recorder<S> {
    stream: S,
    first: [u8; FIRST],
    length: usize,
}

impl<S> Recorder<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            first: [0; FIRST],
            length: 0,
        }
    }

    fn first(&self) -> &[u8] {
        &self.first[..self.length]
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorder<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let this = &mut *self;
        for (to, from) in this.first[this.length..]
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
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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

fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare.to_owned()).map_err(|_| {
        Error::new(
            Category::Usage,
            Stage::Connect,
            Party::Caller,
            format!("no certificate can be checked against {host:?}: it is not a host name"),
        )
    })
}

fn session<S>(stream: &TlsStream<Recorder<S>>, prepared: &Prepared) -> TlsSession {
    let connection = stream.get_ref().1;
    let version = connection.protocol_version();
    let name = match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(_) | None => "TLS",
    };
    let cipher = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .map(|suite| suite.replacen("TLS13_", "TLS_", 1))
        .unwrap_or_default();
    let mut session = TlsSession::new(name, cipher, prepared.verification);
    if let Some([end_entity, ..]) = connection.peer_certificates() {
        session = session.with_certificate(facts(end_entity, prepared.sha256));
    }
    // RFC 9266 §4: with TLS 1.2 the exporter is unique only with an extended master secret.
    let binding = match version {
        Some(ProtocolVersion::TLSv1_3) => connection
            .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
            .ok()
            .map(ChannelBinding::TlsExporter),
        Some(_) | None => connection
            .peer_certificates()
            .and_then(|chain| end_point(chain.first()?))
            .map(ChannelBinding::TlsServerEndPoint),
    };
    match binding {
        Some(binding) => session.with_binding(binding),
        None => session,
    }
}

/// Why a handshake failed. What the server said first decides, where it was not TLS.
fn failure(error: io::Error, first: &[u8], start: Start) -> TransportError {
    if let Some(spoken) = other_protocol(first, start) {
        return spoken.with_source(error);
    }
    if let Some(tls) = tls_error(&error) {
        return tls_failure(tls).with_source(error);
    }
    let message = if is_end(&error) {
        "the server closed the connection during the TLS handshake".to_owned()
    } else {
        format!("the connection failed during the TLS handshake: {error}")
    };
    let hint = match start {
        Start::AtOnce => {
            "Check that the port speaks TLS at once, as 465 does; 587 and 25 mostly \
                          want STARTTLS."
        }
        Start::AfterStartTls => {
            "The server offers STARTTLS but cannot do it: tell its \
                                 administrator."
        }
    };
    TransportError::new(TransportErrorKind::Tls, message)
        .with_hint(hint)
        .with_source(error)
}

/// What the server spoke instead of TLS.
fn other_protocol(first: &[u8], start: Start) -> Option<TransportError> {
    let protocol = |name: &str, hint: &str| {
        Some(
            TransportError::new(
                TransportErrorKind::Protocol,
                format!("the server speaks {name} on this port, not SMTP"),
            )
            .with_hint(hint),
        )
    };
    let wrong_port = "Check the port: submission is on 465 (TLS at once) or 587 (STARTTLS).";
    match first {
        [b'H', b'T', b'T', b'P', b'/', ..] => protocol("HTTP", wrong_port),
        [b'*', b' ', b'O', b'K', ..] => protocol("IMAP", wrong_port),
        [b'+', b'O', b'K', ..] => protocol("POP3", wrong_port),
        [b'S', b'S', b'H', b'-', ..] => protocol("SSH", wrong_port),
        [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', ..] => Some(match start {
            Start::AtOnce => TransportError::new(
                TransportErrorKind::Mismatch,
                "the server speaks clear text on this port: use STARTTLS",
            )
            .with_hint(
                "Ask for STARTTLS on this port, or use the port for TLS at once, mostly 465.",
            ),
            Start::AfterStartTls => TransportError::new(
                TransportErrorKind::Tls,
                "the server went on in clear text where it had agreed to start TLS",
            )
            .with_hint("The server's STARTTLS is broken: tell its administrator."),
        }),
        _ => None,
    }
}

fn tls_failure(error: &rustls::Error) -> TransportError {
    match error {
        rustls::Error::InvalidCertificate(problem) => certificate_failure(problem),
        rustls::Error::NoCertificatesPresented => TransportError::new(
            TransportErrorKind::Certificate,
            "the server has shown no certificate",
        ),
        rustls::Error::AlertReceived(alert) => alert_failure(*alert),
        rustls::Error::PeerIncompatible(why) => TransportError::new(
            TransportErrorKind::Tls,
            format!("the server and this client have no way to speak TLS in common: {why:?}"),
        )
        .with_hint("The server must offer TLS 1.2 or 1.3 with a modern cipher suite."),
        _ => TransportError::new(TransportErrorKind::Tls, format!("TLS failed: {error}")),
    }
}

fn alert_failure(alert: AlertDescription) -> TransportError {
    let name = alert.as_str().map_or_else(
        || format!("alert {}", u8::from(alert)),
        |name| format!("the alert {name}"),
    );
    let hint = match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::NoCertificate => "The server wants a client certificate.",
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            "The server must offer TLS 1.2 or 1.3 with a modern cipher suite."
        }
        AlertDescription::UnrecognisedName => {
            "The server does not know the host name that was asked for: check the host."
        }
        _ => "The server refused this client's TLS: its log may say why.",
    };
    TransportError::new(
        TransportErrorKind::Tls,
        format!("the server ended TLS with {name}"),
    )
    .with_hint(hint)
}

fn certificate_failure(problem: &CertificateError) -> TransportError {
    let (message, hint) = match problem {
        CertificateError::ExpiredContext { not_after, .. } => (
            format!("it expired on {}", date(not_after.as_secs())),
            "The server's administrator must renew it; check this machine's clock too.",
        ),
        CertificateError::Expired => (
            "it has expired".to_owned(),
            "The server's administrator must renew it; check this machine's clock too.",
        ),
        CertificateError::NotValidYetContext { not_before, .. } => (
            format!("it is not valid before {}", date(not_before.as_secs())),
            "Check this machine's clock.",
        ),
        CertificateError::NotValidYet => (
            "it is not valid yet".to_owned(),
            "Check this machine's clock.",
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => (
            format!(
                "it is not for {}, but for {}",
                expected.to_str(),
                presented_names(presented)
            ),
            "Connect to a name that the certificate has, or say which name it must have.",
        ),
        CertificateError::NotValidForName => (
            "it is not for this host".to_owned(),
            "Connect to a name that the certificate has, or say which name it must have.",
        ),
        CertificateError::UnknownIssuer => (
            "it is self-signed, or its issuer is not trusted here".to_owned(),
            "Trust the issuer by a CA file, or pin the certificate by its SHA-256 fingerprint.",
        ),
        CertificateError::Other(other) if other.0.is::<PinMismatch>() => (
            other.0.to_string(),
            "If the server's certificate was renewed, pin the new one; if not, somebody may be in \
             between.",
        ),
        problem if is_authoritys_own(problem) => (
            "it is a certificate authority's own, and it is not trusted here by itself".to_owned(),
            "Trust exactly this certificate by a CA file, or pin it by its SHA-256 fingerprint.",
        ),
        _ => (
            problem.to_string(),
            "The server's certificate is at fault: tell its administrator.",
        ),
    };
    TransportError::new(
        TransportErrorKind::Certificate,
        format!("the server's certificate was not accepted: {message}"),
    )
    .with_hint(hint)
}

/// The names of a certificate as webpki lists them, as one text.
fn presented_names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name at all".to_owned();
    }
    let names: Vec<&str> = presented
        .iter()
        .map(|name| {
            let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
            inner.trim_end_matches(')').trim_matches('"')
        })
        .take(NAMES)
        .collect();
    let more = presented.len() - names.len();
    match more {
        0 => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}

fn closed_at_first_read(what: &str) -> TransportError {
    TransportError::new(
        TransportErrorKind::Tls,
        format!("{what} right after the TLS handshake"),
    )
    .with_hint("The server may want a client certificate, or takes no more connections now.")
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Octets that are remembered of what the peer sent first.
const FIRST: usize = 8;
/// Names of a certificate that a message has at most.
const NAMES: usize = 5;
