//! The sandbox on its socket, against clients that are no more than a socket themselves.

use std::io;
use std::str::from_utf8;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::tls::{provider, sha256};
use super::super::{
    CertificateOptions, Counters, Happening, Line, Options, Sandbox, TlsMode, Validity,
};

const MESSAGE: &str = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";

/// A client without any mind of its own.
struct Raw<S: AsyncRead + AsyncWrite>(BufStream<S>);

impl Raw<TcpStream> {
    async fn connect(sandbox: &Sandbox) -> Self {
        let stream = TcpStream::connect(sandbox.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufStream::new(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The last line of the next reply.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    async fn replies(&mut self, count: usize) -> String {
        let mut codes = Vec::new();
        for _ in 0..count {
            codes.push(self.reply().await[..3].to_owned());
        }
        codes.join(" ")
    }

    async fn rest(&mut self) -> io::Result<String> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await?;
        Ok(from_utf8(&rest).unwrap().to_owned())
    }
}

async fn handshake(
    sandbox: &Sandbox,
    stream: TcpStream,
    name: &'static str,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let pem = sandbox.certificate_pem().as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(pem).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(provider().unwrap())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn start(fault: &str) -> Sandbox {
    let options = Options::default().with_tls(TlsMode::None);
    let options = match fault {
        "" => options,
        fault => options.with_fault(fault.parse().unwrap()),
    };
    Sandbox::start(options).await.unwrap()
}

#[tokio::test]
async fn mail_sent_in_clear_is_received_and_counted() {
    let sandbox = start("").await;
    let mut client = Raw::connect(&sandbox).await;
    assert_eq!(client.replies(1).await, "220");
    client.send("EHLO me\r\n").await;
    assert_eq!(client.replies(1).await, "250");
    client.send(MESSAGE).await;
    assert_eq!(client.replies(3).await, "250 250 354");
    client.send("hi\r\n.\r\nQUIT\r\n").await;
    assert_eq!(client.replies(2).await, "250 221");
    assert_eq!(client.rest().await.unwrap(), "");
    let received = sandbox.wait_for(1).await;
    assert_eq!(&received[0].content[..], b"hi\r\n");
    assert_eq!(
        sandbox.counters(),
        Counters {
            connections: 1,
            flights: 3,
            commands: 5,
            messages: 1,
            bytes: 9 + MESSAGE.len() as u64 + 13,
            out_of_turn: 0,
        }
    );
}

#[tokio::test]
async fn starttls_leads_to_a_session_inside_tls() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let mut client = Raw::connect(&sandbox).await;
    client.send("EHLO me\r\n").await;
    assert_eq!(client.replies(2).await, "220 250");
    client.send("STARTTLS\r\n").await;
    assert_eq!(client.replies(1).await, "220");
    let stream = handshake(&sandbox, client.0.into_inner(), "localhost")
        .await
        .unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let provider = provider().unwrap();
    let fingerprint = sha256(&provider, &shown).unwrap();
    assert_eq!(fingerprint, sandbox.certificate_sha256());
    let mut client = Raw(BufStream::new(stream));
    client.send("EHLO me\r\n").await;
    assert_eq!(client.replies(1).await, "250");
    client.send("AUTH PLAIN AGFsaWNlAHBhc3N3b3Jk\r\n").await;
    assert_eq!(client.replies(1).await, "235");
    client.send(MESSAGE).await;
    client.send(".\r\nQUIT\r\n").await;
    assert_eq!(client.replies(5).await, "250 250 354 250 221");
    // The end is a close_notify: rustls takes any other for an error.
    assert_eq!(client.rest().await.unwrap(), "");
    let received = &sandbox.wait_for(1).await[0];
    assert!(received.tls);
    assert_eq!(received.authenticated.as_deref(), Some("alice"));
}

#[tokio::test]
async fn implicit_tls_can_be_cut_without_a_close_notify() {
    let options = Options::default().with_tls(TlsMode::Implicit);
    let options = options.with_fault("truncate@quit".parse().unwrap());
    let sandbox = Sandbox::start(options).await.unwrap();
    let stream = TcpStream::connect(sandbox.address()).await.unwrap();
    let stream = handshake(&sandbox, stream, "127.0.0.1").await.unwrap();
    let mut client = Raw(BufStream::new(stream));
    assert_eq!(client.replies(1).await, "220");
    client.send("QUIT\r\n").await;
    let error = client.rest().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn certificates_can_be_wrong_in_name_and_time() {
    let certificate = CertificateOptions::default();
    let cases = [
        (
            certificate.clone().with_names(["mx.test"]),
            "NotValidForName",
        ),
        (
            certificate.clone().with_validity(Validity::Expired),
            "Expired",
        ),
        (certificate.with_validity(Validity::NotYet), "NotValidYet"),
    ];
    for (certificate, expected) in cases {
        let options = Options::default().with_tls(TlsMode::Implicit);
        let sandbox = Sandbox::start(options.with_certificate(certificate))
            .await
            .unwrap();
        let stream = TcpStream::connect(sandbox.address()).await.unwrap();
        let error = handshake(&sandbox, stream, "localhost").await.unwrap_err();
        assert!(format!("{error:?}").contains(expected), "{error:?}");
    }
}

#[tokio::test]
async fn a_name_that_no_certificate_can_have_is_an_error() {
    let certificate = CertificateOptions::default().with_names(["müller"]);
    let options = Options::default().with_certificate(certificate);
    assert!(Sandbox::start(options).await.is_err());
}

#[tokio::test]
async fn closed_reset_and_split_connections_look_like_it() {
    let sandbox = start("close@mail").await;
    let mut client = Raw::connect(&sandbox).await;
    client.send("EHLO me\r\nMAIL FROM:<>\r\n").await;
    assert_eq!(client.replies(2).await, "220 250");
    assert_eq!(client.rest().await.unwrap(), "");

    let sandbox = start("reset@greeting").await;
    let mut client = Raw::connect(&sandbox).await;
    let error = client.rest().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let sandbox = start("split").await;
    let mut client = Raw::connect(&sandbox).await;
    let mut first = [0; 1];
    let read = client.0.get_mut().read(&mut first).await.unwrap();
    assert_eq!((read, first), (1, *b"2"));
    client.send("QUIT\r\n").await;
    assert!(
        client
            .rest()
            .await
            .unwrap()
            .ends_with("\r\n221 2.0.0 bye\r\n")
    );
}

#[tokio::test(start_paused = true)]
async fn stalled_and_delayed_replies_cost_no_real_time() {
    let sandbox = start("delay@ehlo=3600").await;
    let mut client = Raw::connect(&sandbox).await;
    client.send("EHLO me\r\n").await;
    let before = tokio::time::Instant::now();
    assert_eq!(client.replies(2).await, "220 250");
    assert!(before.elapsed() >= Duration::from_secs(3_600));

    let sandbox = start("stall@ehlo").await;
    let mut client = Raw::connect(&sandbox).await;
    assert_eq!(client.replies(1).await, "220");
    client.send("EHLO me\r\nNOOP\r\n").await;
    let never = tokio::time::timeout(Duration::from_secs(3_600), client.reply());
    assert!(never.await.is_err());
}

#[tokio::test]
async fn many_wait_for_messages_of_many_connections() {
    let sandbox = start("").await;
    let sending = async {
        for _ in 0..3 {
            let mut client = Raw::connect(&sandbox).await;
            client.send("EHLO me\r\n").await;
            client.send(MESSAGE).await;
            client.send(".\r\n").await;
            assert_eq!(client.replies(6).await, "220 250 250 250 354 250");
        }
    };
    let (one, three, ()) = tokio::join!(sandbox.wait_for(1), sandbox.wait_for(3), sending);
    assert!(!one.is_empty());
    let connections: Vec<_> = three.iter().map(|message| message.connection).collect();
    assert_eq!(connections, [1, 2, 3]);
}

#[tokio::test]
async fn a_watched_sandbox_tells_what_happens() {
    let options = Options::default().with_tls(TlsMode::None);
    let (sandbox, mut happenings) = Sandbox::start_watched(options).await.unwrap();
    let mut client = Raw::connect(&sandbox).await;
    client.send("QUIT\r\n").await;
    client.rest().await.unwrap();
    drop(client);
    let mut told = Vec::new();
    loop {
        match happenings.recv().await.unwrap() {
            Happening::Connected { connection, .. } => told.push(format!("+{connection}")),
            Happening::Line { line, .. } => told.push(match line {
                Line::Client(line) => format!("C: {line}"),
                Line::Server(line) => format!("S: {line}"),
                Line::Note(line) => format!("({line})"),
            }),
            Happening::Stored(_) => told.push("stored".into()),
            Happening::Disconnected { .. } => break,
        }
    }
    let expected = [
        "+1",
        "S: 220 sandbox.example ESMTP sandbox",
        "C: QUIT",
        "S: 221 2.0.0 bye",
        "(connection closed)",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_dropped_sandbox_ends_its_connections_and_listens_no_more() {
    let sandbox = start("").await;
    let mut client = Raw::connect(&sandbox).await;
    assert_eq!(client.replies(1).await, "220");
    let address = sandbox.address();
    drop(sandbox);
    assert_eq!(client.rest().await.unwrap(), "");
    assert!(TcpStream::connect(address).await.is_err());
}
