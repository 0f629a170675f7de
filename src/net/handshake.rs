//! The TLS handshake: what comes of it, and what it means when it fails.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{FallibleConnect, TlsConnector, rustls};

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;

use super::certificate::{end_point, facts};
use super::config::ClientConfig;
use super::failed::{Failed, Start, closed_at_first_read, is_end, within};
use super::recorder::Recorder;
use super::resolve::shown;
use super::tls::Prepared;
use super::verify::witnessed;
use crate::error::{Category, Error, Party, Stage};
use crate::proto::config::Security;
use crate::proto::evidence::{Evidence, TlsProblem};
use crate::proto::session::{ChannelBinding, TlsSession, TransportError, TransportErrorKind};

/// Starts TLS on one connection.
pub(super) struct Starter {
    prepared: Prepared,
    name: ServerName<'static>,
    start: Start,
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
        let connect = Pin::new(&mut self.connect);
        let (polled, refused) = witnessed(|| connect.poll(cx));
        match ready!(polled) {
            Ok(mut stream) => {
                stream.get_mut().0.let_go();
                let session = session(&stream, &self.starter.prepared);
                let first = match stream.get_ref().1.protocol_version() {
                    Some(ProtocolVersion::TLSv1_3) => FirstRead::MayRefuse,
                    Some(_) | None => FirstRead::Ordinary,
                };
                Poll::Ready(Ok((Secured { stream, first }, session)))
            }
            Err((error, mut recorder)) => {
                recorder.send_alert(cx);
                let sha256 = self.starter.prepared.sha256;
                let failed = Failed {
                    start: self.starter.start,
                    first: recorder.first(),
                    expected: &self.starter.name.to_str(),
                    chain: refused.iter().map(|der| facts(der, sha256)).collect(),
                };
                Poll::Ready(Err(failed.explain(error)))
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
        let closed_after = Evidence::Tls(TlsProblem::ClosedAfter);
        let Some(error) = error else {
            let failure = closed_at_first_read("the server closed the connection");
            return refused.then(|| failure.with_evidence(closed_after));
        };
        let error = match within(error) {
            Ok(failure) => return Some(failure),
            Err(error) => error,
        };
        if refused && is_end(&error) {
            let failure = closed_at_first_read("the server broke the connection off");
            return Some(failure.with_source(error).with_evidence(closed_after));
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
            format!(
                "no certificate can be checked against {:?}: it is not a host name",
                shown(host)
            ),
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
        session = session.with_certificate(prepared.facts(end_entity));
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
