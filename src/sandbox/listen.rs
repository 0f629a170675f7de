//! The sandbox on a socket: a tokio listener, and a task for each connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::login::Mechanism;
use super::options::Options;
use super::plan::Plan;
use super::received::{Counters, Happening, Received};
use super::session::Session;
use super::socket::{Listener, Socket};
use super::tally::Tally;
use super::tls::{ClientCertificate, ClientCertificates, Identity};
use super::violation::Violation;
use super::voice::Action;

/// A running server, on loopback unless told otherwise. It stops when dropped.
pub struct Sandbox {
    address: SocketAddr,
    #[cfg(unix)]
    unix_socket: Option<PathBuf>,
    shared: Arc<Shared>,
    accepting: Vec<JoinHandle<()>>,
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

    /// A certificate for a client, signed by the sandbox's authority, with this name for its common
    /// name: for [`Mechanism::External`](super::Mechanism::External).
    ///
    /// # Errors
    /// A name that no certificate can hold.
    pub fn client_certificate(&self, name: &str) -> io::Result<ClientCertificate> {
        self.shared.identity.client_certificate(name)
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

    /// The rules that clients have broken so far, in order, on all connections. Content is looked at
    /// where it is kept: see [`Contents`](super::Contents).
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.violations().clone()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters.read()
    }

    async fn launch(
        options: Options,
        watcher: Option<mpsc::UnboundedSender<Happening>>,
    ) -> io::Result<Self> {
        let asks = match options.mechanisms.contains(&Mechanism::External) {
            true => ClientCertificates::Asked,
            false => ClientCertificates::Ignored,
        };
        let identity = Identity::make(
            &options.certificate,
            options.tls_versions,
            &options.faults,
            asks,
        )?;
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        #[cfg(unix)]
        let unix_socket = options.unix_socket.clone();
        #[cfg(unix)]
        let unix = unix_socket.as_ref().map(UnixListener::bind).transpose()?;
        let shared = Arc::new(Shared {
            plan: Arc::new(Plan::new(options)),
            identity,
            messages: Mutex::default(),
            violations: Mutex::default(),
            stored: watch::Sender::new(0),
            counters: Totals::default(),
            watcher,
        });
        let mut accepting = vec![tokio::spawn(accept(listener, Arc::clone(&shared)))];
        #[cfg(unix)]
        accepting.extend(unix.map(|listener| tokio::spawn(accept(listener, Arc::clone(&shared)))));
        Ok(Self {
            address,
            #[cfg(unix)]
            unix_socket,
            shared,
            accepting,
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The tasks own those of the connections: they end with them.
        for task in &self.accepting {
            task.abort();
        }
        #[cfg(unix)]
        if let Some(path) = &self.unix_socket {
            // Somebody else may have removed it before.
            let _ = std::fs::remove_file(path);
        }
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
    violations: Mutex<Vec<Violation>>,
    stored: watch::Sender<usize>,
    counters: Totals,
    watcher: Option<mpsc::UnboundedSender<Happening>>,
}

impl Shared {
    fn messages(&self) -> MutexGuard<'_, Vec<Received>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn violations(&self) -> MutexGuard<'_, Vec<Violation>> {
        let locked = self.violations.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
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

async fn accept<L: Listener>(listener: L, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        // A connection that was gone before it was accepted is not the listener's end, and too many
        // open files are not for ever.
        let Ok((stream, peer)) = listener.next().await else {
            tokio::time::sleep(RETRY).await;
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

async fn serve<S: Socket>(stream: S, shared: &Shared, number: u64) -> io::Result<()> {
    stream.hurry()?;
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
    let end = connection.run(&mut stream).await?;
    if end != End::StartTls {
        return connection.finish(stream, end).await;
    }
    if let Some(octets) = shared.identity.instead {
        return connection.say_instead(stream, octets).await;
    }
    let mut stream = shared.identity.acceptor.accept(stream).await?;
    let facts = shared.identity.facts(stream.get_ref().1);
    connection.session.tls_established_with(facts);
    let end = connection.run(&mut stream).await?;
    let (stream, _) = stream.into_inner();
    connection.finish(stream, end).await
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

/// How a stretch of a connection ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// TLS comes next.
    StartTls,
    /// The TCP connection is to be closed, by nothing but TCP.
    Truncate,
    /// The TCP connection is to be reset.
    Reset,
    /// It is closed, or the client has closed it.
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
                Action::Truncate => return Ok(Some(End::Truncate)),
                Action::Reset => return Ok(Some(End::Reset)),
                Action::Freeze => std::future::pending().await,
            }
        }
        Ok(None)
    }

    /// Answers the client's hello with these octets, and closes.
    async fn say_instead<S: Socket>(&mut self, stream: S, octets: &[u8]) -> io::Result<()> {
        let mut stream = stream;
        if stream.read(&mut self.buffer).await? > 0 {
            stream.write_all(octets).await?;
        }
        stream.shutdown().await?;
        drain(&mut stream, &mut self.buffer).await;
        Ok(())
    }

    async fn finish<S: Socket>(&mut self, stream: S, end: End) -> io::Result<()> {
        let mut stream = stream;
        match end {
            End::Truncate => {
                stream.shutdown().await?;
                drain(&mut stream, &mut self.buffer).await;
                Ok(())
            }
            // The reset goes out as the stream is dropped.
            End::Reset => stream.reset_at_end(),
            End::StartTls | End::Over => Ok(()),
        }
    }

    fn report(&mut self) {
        let connection = self.number;
        while let Some(line) = self.session.poll_line() {
            self.shared.tell(|| Happening::Line { connection, line });
        }
        while let Some(violation) = self.session.poll_violation() {
            self.shared.violations().push(violation);
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

/// When to accept again where it failed.
const RETRY: Duration = Duration::from_millis(50);
