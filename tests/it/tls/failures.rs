//! Handshakes that fail: what is said of them, and that nothing follows in clear.

use ehlo::net::{TlsConfigError, TlsOptions, Trust};
use ehlo::{Category, Client, ClientConfig, Error, Security, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::server::{Identity, Manner};
use super::{HOST, trusting, with_trust};
use crate::net::peer::Peer;

/// Connects by implicit TLS to a server whose handshake must fail.
async fn refused(identity: &Identity, config: ClientConfig) -> Error {
    let (peer, stream) = Peer::pair(1 << 16);
    let serve = async {
        if let Ok(mut secured) = identity.accept(peer.into_inner()).await {
            assert_eq!(secured.rest().await, b"", "nothing may follow");
        }
    };
    let (client, ()) = tokio::join!(Client::attach(stream, config), serve);
    client.expect_err("the handshake must fail")
}

#[track_caller]
fn assert_certificate(error: &Error, parts: &[&str]) {
    assert_eq!(error.category(), Category::Certificate, "{error:?}");
    assert_eq!(error.stage(), Stage::Handshake, "{error:?}");
    assert!(error.hint().is_some(), "{error:?}");
    for part in parts {
        assert!(error.message().contains(part), "{part} in {error}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_accepted_says_why() {
    for (manner, parts) in [
        (Manner::OtherName, &[HOST, "other.example.net"][..]),
        (Manner::Expired, &["expired", "2021-02-03"]),
        (Manner::NotYetValid, &["not valid before", "2999-04-05"]),
        (Manner::SelfSignedOtherName, &[HOST, "other.example.net"]),
        (Manner::SelfSignedExpired, &["expired", "2021-02-03"]),
    ] {
        let identity = Identity::new(manner);
        let config = trusting(Security::Implicit, &identity.authority_pem);
        assert_certificate(&refused(&identity, config).await, parts);
    }
}

#[tokio::test]
async fn an_authoritys_own_certificate_that_nobody_named_is_refused() {
    let identity = Identity::new(Manner::SelfSigned);
    let other = Identity::new(Manner::SelfSigned);
    for config in [
        with_trust(Security::Implicit, Trust::Webpki),
        trusting(Security::Implicit, &other.authority_pem),
    ] {
        assert_certificate(&refused(&identity, config).await, &["authority"]);
    }
}

#[tokio::test]
async fn an_unknown_issuer_is_not_trusted() {
    for trust in [Trust::Webpki, Trust::Native] {
        let identity = Identity::new(Manner::Ordinary);
        let error = refused(&identity, with_trust(Security::Implicit, trust)).await;
        assert_certificate(&error, &["issuer"]);
    }
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused() {
    let identity = Identity::new(Manner::Ordinary);
    let config = with_trust(Security::Implicit, Trust::Pinned([7; 32]));
    assert_certificate(&refused(&identity, config).await, &["pinned", "SHA-256"]);
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_fails_in_the_handshake() {
    let identity = Identity::new(Manner::WantsClientCertificate);
    let config = trusting(Security::Implicit, &identity.authority_pem);
    let error = refused(&identity, config).await;
    assert_eq!(error.category(), Category::Tls, "{error:?}");
    assert_eq!(error.stage(), Stage::Handshake);
    assert!(
        error.hint().unwrap().contains("client certificate"),
        "{error:?}"
    );
}

/// Plays a server that answers the ClientHello with these octets, then closes.
async fn answered_with(octets: &'static [u8]) -> Error {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let server = tokio::spawn(async move {
        let mut hello = [0; 5];
        ours.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello[0], 22, "a handshake record");
        ours.write_all(octets).await.unwrap();
        ours.shutdown().await.unwrap();
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        let length = usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        assert_only_records(&rest[length..]);
    });
    let config = with_trust(Security::Implicit, Trust::Webpki);
    let error = Client::attach(theirs, config).await.unwrap_err();
    server.await.unwrap();
    error
}

/// What a client sends of TLS begins with a content type and the version, and nothing else may
/// come.
#[track_caller]
fn assert_only_records(mut octets: &[u8]) {
    while let [kind, major, _, high, low, rest @ ..] = octets {
        assert!(
            (20..=23).contains(kind) && *major == 3,
            "in clear: {octets:?}"
        );
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        octets = &rest[length.min(rest.len())..];
    }
    assert!(octets.is_empty(), "in clear: {octets:?}");
}

#[tokio::test]
async fn what_is_not_tls_is_named() {
    for (octets, category, part) in [
        (
            &b"220 mx.example.org ESMTP\r\n"[..],
            Category::EncryptionMismatch,
            "STARTTLS",
        ),
        (b"421 busy\r\n", Category::EncryptionMismatch, "clear text"),
        (b"554 no\r\n", Category::EncryptionMismatch, "clear text"),
        (b"HTTP/1.1 400 Bad Request\r\n", Category::Protocol, "HTTP"),
        (b"* OK IMAP4rev1 ready\r\n", Category::Protocol, "IMAP"),
        (b"+OK POP3 ready\r\n", Category::Protocol, "POP3"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Category::Protocol, "SSH"),
        (
            b"\x15\x03\x03\x00\x02\x02\x28",
            Category::Tls,
            "HandshakeFailure",
        ),
        (b"\0\0\0\0\0\0\0\0", Category::Tls, "TLS"),
        (b"", Category::Tls, "closed"),
    ] {
        let error = answered_with(octets).await;
        assert_eq!(error.category(), category, "{error:?}");
        assert!(error.message().contains(part), "{part} in {error}");
        assert!(
            error.hint().is_some() || category == Category::Tls,
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn nothing_in_clear_follows_a_handshake_that_failed_after_starttls() {
    let identity = Identity::new(Manner::Expired);
    let config = trusting(Security::StartTls, &identity.authority_pem);
    let (mut peer, stream) = Peer::pair(1 << 16);
    let client = tokio::spawn(Client::attach(stream, config));
    peer.greet(&["STARTTLS"]).await;
    peer.expect("STARTTLS").await;
    peer.say(&["220 go on"]).await;
    let tapped = Tap::default();
    let stream = tapped.over(peer.into_inner());
    assert!(identity.acceptor.accept(stream).await.is_err());
    let error = client.await.unwrap().unwrap_err();
    assert_certificate(&error, &["expired"]);
    assert_only_records(&tapped.read());
}

#[tokio::test]
async fn opportunistic_tls_does_not_fall_back_after_a_failed_handshake() {
    let identity = Identity::new(Manner::Expired);
    let config = trusting(Security::Opportunistic, &identity.authority_pem);
    let (mut peer, stream) = Peer::pair(1 << 16);
    let client = tokio::spawn(Client::attach(stream, config));
    peer.greet(&["STARTTLS"]).await;
    peer.expect("STARTTLS").await;
    peer.say(&["220 go on"]).await;
    let tapped = Tap::default();
    let stream = tapped.over(peer.into_inner());
    assert!(identity.acceptor.accept(stream).await.is_err());
    client.await.unwrap().unwrap_err();
    assert_only_records(&tapped.read());
}

#[tokio::test]
async fn clear_text_after_starttls_is_the_servers_fault() {
    let (mut peer, stream) = Peer::pair(1 << 16);
    let config = with_trust(Security::StartTls, Trust::Webpki);
    let client = tokio::spawn(Client::attach(stream, config));
    peer.greet(&["STARTTLS"]).await;
    peer.expect("STARTTLS").await;
    peer.say(&["220 go on"]).await;
    let mut stream = peer.into_inner();
    stream.read_exact(&mut [0; 64]).await.unwrap();
    stream.write_all(b"250 and on\r\n").await.unwrap();
    let error = client.await.unwrap().unwrap_err();
    assert_eq!(error.category(), Category::Tls, "{error:?}");
    assert_eq!(error.stage(), Stage::Handshake);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_times_out() {
    let (_peer, stream) = Peer::pair(1 << 16);
    let config = with_trust(Security::Implicit, Trust::Off);
    let error = Client::attach(stream, config).await.unwrap_err();
    assert_eq!(error.category(), Category::ConnectionTimeout, "{error:?}");
    assert_eq!(error.stage(), Stage::Handshake);
}

#[tokio::test]
async fn a_host_that_no_certificate_can_name_is_the_callers_mistake() {
    let (_peer, stream) = Peer::pair(64);
    let mut config = with_trust(Security::Implicit, Trust::Webpki);
    config.host = "not a host".to_owned();
    let error = Client::attach(stream, config).await.unwrap_err();
    assert_eq!(error.category(), Category::Usage);
}

#[test]
fn a_file_without_certificates_is_refused() {
    let nothing = TlsOptions::default().with_ca_pem(b"# nothing here\n");
    assert!(matches!(nothing, Err(TlsConfigError::NoCertificate)));
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = TlsOptions::default().with_ca_pem(broken);
    assert!(matches!(broken, Err(TlsConfigError::Certificate(_))));
}

/// Keeps what a server reads.
#[derive(Clone, Default)]
struct Tap(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Tap {
    fn over(&self, stream: DuplexStream) -> Tapped {
        Tapped {
            stream,
            tap: self.clone(),
        }
    }

    fn read(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

struct Tapped {
    stream: DuplexStream,
    tap: Tap,
}

impl tokio::io::AsyncRead for Tapped {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let read = std::pin::Pin::new(&mut self.stream).poll_read(cx, buf);
        let mut tap = self.tap.0.lock().unwrap();
        tap.extend_from_slice(&buf.filled()[before..]);
        read
    }
}

impl tokio::io::AsyncWrite for Tapped {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
