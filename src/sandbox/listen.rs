//! The sandbox on a socket: a tokio listener, and a task for each connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::options::Options;
use super::plan::Plan;
use super::received::{Counters, Happening, Received};
use super::session::{Session, Tally};
use super::tls::Identity;
use super::voice::Action;

/// A running server, on loopback unless told otherwise. It stops when dropped.
pub struct Sandbox {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Sandbox {
    /// Starts a server on the current tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on, or no certificate can be made for the names.
    ///
    /// # Panics
    /// Outside a tokio runtime, as everything in tokio that needs one.
    pub async fn start(options: Options) -> io::Result<Self> {
        Self::launch(options, None).await
    }

    /// Starts a server, and tells what happens there as it happens. Nothing is lost between the
    /// start and the first look.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_watched(
        options: Options,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<Happening>)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let sandbox = Self::launch(options, Some(sender)).await?;
        Ok((sandbox, receiver))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate to trust, in PEM: that of an authority which issued the server's and nothing
    /// else.
    pub fn certificate_pem(&self) -> &str {
        &self.shared.identity.authority_pem
    }

    /// The SHA-256 of the server's own certificate, to be pinned.
    pub fn certificate_sha256(&self) -> [u8; 32] {
        self.shared.identity.sha256
    }

    /// The messages stored so far, in order. The contents are shared, not copied.
    pub fn received(&self) -> Vec<Received> {
        self.shared.messages().clone()
    }

    /// The messages stored, as soon as there are at least so many.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut stored = self.shared.stored.subscribe();
        // The sender lives in `shared`, which `self` holds.
        let _ = stored.wait_for(|stored| *stored >= count).await;
        self.received()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters.read()
    }

    async fn launch(
        options: Options,
        watcher: Option<mpsc::UnboundedSender<Happening>>,
    ) -> io::Result<Self> {
        let identity = Identity::make(&options.certificate)?;
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            plan: Arc::new(Plan::new(options)),
            identity,
            messages: Mutex::default(),
            stored: watch::Sender::new(0),
            counters: Totals::default(),
            watcher,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The task owns those of the connections: they end with it.
        self.accepting.abort();
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

struct Shared {
    plan: Arc<Plan>,
    identity: Identity,
    messages: Mutex<Vec<Received>>,
    stored: watch::Sender<usize>,
    counters: Totals,
    watcher: Option<mpsc::UnboundedSender<Happening>>,
}

impl Shared {
    fn messages(&self) -> MutexGuard<'_, Vec<Received>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, message: Received) {
        self.tell(|| Happening::Stored(message.clone()));
        self.counters.messages.fetch_add(1, Ordering::Relaxed);
        let count = {
            let mut messages = self.messages();
            messages.push(message);
            messages.len()
        };
        self.stored
            .send_modify(|stored| *stored = (*stored).max(count));
    }

    fn tell(&self, happening: impl FnOnce() -> Happening) {
        if let Some(watcher) = &self.watcher {
            // Nobody has to listen to the end.
            let _ = watcher.send(happening());
        }
    }
}

#[derive(Default)]
struct Totals {
    connections: AtomicU64,
    flights: AtomicU64,
    commands: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    out_of_turn: AtomicU64,
}

impl Totals {
    fn read(&self) -> Counters {
        Counters {
            connections: self.connections.load(Ordering::Relaxed),
            flights: self.flights.load(Ordering::Relaxed),
            commands: self.commands.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            out_of_turn: self.out_of_turn.load(Ordering::Relaxed),
        }
    }

    fn add(&self, tally: Tally) {
        self.commands.fetch_add(tally.commands, Ordering::Relaxed);
        self.out_of_turn
            .fetch_add(tally.out_of_turn, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        // A connection that was gone before it was accepted is not the listener's end.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let connection = shared.counters.connections.fetch_add(1, Ordering::Relaxed) + 1;
        shared.tell(|| Happening::Connected { connection, peer });
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // However a connection ends, it is its client that has to say why.
            let _ = serve(stream, &shared, connection).await;
            shared.tell(|| Happening::Disconnected { connection });
        });
    }
}

async fn serve(stream: TcpStream, shared: &Shared, number: u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let session = match &shared.watcher {
        Some(_) => Session::watched(Arc::clone(&shared.plan), number),
        None => Session::new(Arc::clone(&shared.plan), number),
    };
    let mut connection = Connection {
        session,
        shared,
        number,
        turn: Turn::Client,
        buffer: vec![0; BUFFER],
    };
    let mut stream = stream;
    match connection.run(&mut stream).await? {
        End::StartTls => {}
        end => return finish(&stream, end),
    }
    let mut stream = shared.identity.acceptor.accept(stream).await?;
    connection.session.tls_established();
    let end = connection.run(&mut stream).await?;
    finish(stream.get_ref().0, end)
}

fn finish(stream: &TcpStream, end: End) -> io::Result<()> {
    match end {
        // Dropped next: the reset goes out then.
        End::Reset => stream.set_zero_linger(),
        End::StartTls | End::Over => Ok(()),
    }
}

struct Connection<'a> {
    session: Session,
    shared: &'a Shared,
    number: u64,
    turn: Turn,
    buffer: Vec<u8>,
}

/// Whose octets came last: a change from the server's to the client's is a round trip.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Client,
    Server,
}

enum End {
    StartTls,
    Reset,
    Over,
}

impl Connection<'_> {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<End> {
        loop {
            if let Some(end) = self.act(stream).await? {
                return Ok(end);
            }
            let read = stream.read(&mut self.buffer).await?;
            if read == 0 {
                return Ok(End::Over);
            }
            self.received(read);
            // What has arrived already is one flight, however many reads it takes.
            while self.session.wants_input() {
                let Some(read) = read_ready(stream, &mut self.buffer).await? else {
                    break;
                };
                if read == 0 {
                    break;
                }
                self.received(read);
            }
        }
    }

    fn received(&mut self, read: usize) {
        let counters = &self.shared.counters;
        counters.bytes.fetch_add(read as u64, Ordering::Relaxed);
        if self.turn == Turn::Server {
            self.turn = Turn::Client;
            counters.flights.fetch_add(1, Ordering::Relaxed);
        }
        self.session.receive(&self.buffer[..read]);
        counters.add(self.session.take_tally());
    }

    /// Does what the session asks for; `Some` where the connection ends or changes.
    async fn act<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> io::Result<Option<End>> {
        self.report();
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Write(octets) => {
                    self.turn = Turn::Server;
                    stream.write_all(&octets).await?;
                    stream.flush().await?;
                }
                Action::Trickle(octets) => {
                    self.turn = Turn::Server;
                    for octet in octets.chunks(1) {
                        stream.write_all(octet).await?;
                        stream.flush().await?;
                    }
                }
                Action::Delay(delay) => tokio::time::sleep(delay).await,
                Action::StartTls => return Ok(Some(End::StartTls)),
                Action::Close => {
                    stream.shutdown().await?;
                    drain(stream, &mut self.buffer).await;
                    return Ok(Some(End::Over));
                }
                Action::Truncate => return Ok(Some(End::Over)),
                Action::Reset => return Ok(Some(End::Reset)),
                Action::Freeze => std::future::pending().await,
            }
        }
        Ok(None)
    }

    fn report(&mut self) {
        let connection = self.number;
        while let Some(line) = self.session.poll_line() {
            self.shared.tell(|| Happening::Line { connection, line });
        }
        while let Some(message) = self.session.poll_message() {
            self.shared.store(message);
        }
    }
}

/// What can be read without waiting; `None` where that is nothing.
async fn read_ready<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut [u8],
) -> io::Result<Option<usize>> {
    tokio::select! {
        biased;
        read = stream.read(buffer) => read.map(Some),
        () = std::future::ready(()) => Ok(None),
    }
}

/// Reads what the client still sends, so that the kernel doesn't turn a close into a reset, which
/// could overtake the last reply.
async fn drain<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) {
    let rest = async { while matches!(stream.read(buffer).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// One read's worth: a flight of a client that writes 64 KiB at a time.
const BUFFER: usize = 64 << 10;

/// How long a client may go on after the server has closed.
const LINGER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::str::from_utf8;

    use tokio::io::{AsyncBufReadExt, BufStream};
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::{TlsConnector, client::TlsStream};

    use super::*;
    use crate::sandbox::{CertificateOptions, Line, TlsMode, Validity};

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
        let config = ClientConfig::builder_with_provider(super::super::tls::provider().unwrap())
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
        let provider = super::super::tls::provider().unwrap();
        let fingerprint = super::super::tls::sha256(&provider, &shown).unwrap();
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
}
