//! Plays a transcript through the driver: over loopback TCP and TLS, or, where the clock moves, over
//! a stream in memory whose clock the test owns. The server is the sandbox's script player.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use ehlo::net::{Connecting, CredentialSource, CredentialsFuture, TlsOptions, Trust};
use ehlo::proto::{Entry, Login, MechanismName, Observer, TransportErrorKind, Verification};
use ehlo::sandbox::CertificateOptions;
use ehlo::sandbox::script::{Certificate, Player, Turn};
use ehlo::{Body, Client, ClientConfig, Credentials, Delivery, Error, Outcome, Reply};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::event;
use super::parse::{Block, Stimulus, Transcript};
use super::settings::Submission;

/// Why a file cannot be played over a network; `None` if it can.
pub(crate) fn hindrance(transcript: &Transcript) -> Option<&'static str> {
    if transcript.settings.local.is_some() {
        return Some("the local end has another address");
    }
    let mut ready = false;
    let mut upgrading = false;
    for block in &transcript.blocks {
        let reason = match &block.stimulus {
            Stimulus::Hold(_) | Stimulus::Release => Some("the transport is held"),
            Stimulus::Failed(kind) if *kind != TransportErrorKind::Certificate => {
                Some("the transport fails by word alone")
            }
            Stimulus::Submit(_) | Stimulus::Probe(_) | Stimulus::Quit if !ready => {
                Some("a client exists only when the session is ready")
            }
            Stimulus::Receive(octets) if mentions(octets, b"SCRAM") => {
                Some("the nonce is another one each time")
            }
            Stimulus::Tls(_, Verification::Off) => Some("the driver checks the certificate"),
            Stimulus::Receive(octets) if octets.windows(8).any(|word| word == b"RCPTMAX=") => {
                Some("the driver spreads recipients over transactions")
            }
            Stimulus::Receive(_) if upgrading => Some("the driver is within its handshake"),
            Stimulus::Wait(_) if upgrading => Some("the driver is within its handshake"),
            _ => None,
        };
        if reason.is_some() {
            return reason;
        }
        if block
            .events
            .iter()
            .any(|event| event.contains(", deferred"))
        {
            return Some("the driver sends again to those who were put off");
        }
        ready |= block.events.iter().any(|event| event.starts_with("ready"));
        upgrading = block.events.iter().any(|event| event == "starttls");
    }
    None
}

fn mentions(octets: &[u8], word: &[u8]) -> bool {
    octets.windows(word.len()).any(|window| window == word)
}

/// Plays the file.
pub(crate) fn play(transcript: &Transcript) -> Result<(), String> {
    let clock_moves = transcript.waits();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(clock_moves)
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        // Where the clock is paused, this passes as soon as everybody waits for nothing.
        let limit = match clock_moves {
            true => Duration::from_secs(100 * 60 * 60),
            false => Duration::from_secs(20),
        };
        let playing = async {
            match clock_moves {
                true => in_memory(transcript).await,
                false => over_tcp(transcript).await,
            }
        };
        timeout(limit, playing)
            .await
            .unwrap_or_else(|_| Err("the two wait for each other".into()))
    })
}

async fn over_tcp(transcript: &Transcript) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(show)?;
    let port = listener.local_addr().map_err(show)?.port();
    let (ear, lines) = Ear::new();
    let (config, asked) = config(transcript)?;
    let opening = Client::open(config.with_port(port), Some(Box::new(ear)));
    let (opened, accepted) = tokio::join!(opening, listener.accept());
    let (stream, _) = accepted.map_err(show)?;
    stream.set_nodelay(true).map_err(show)?;
    let connecting = opened.map_err(show)?;
    Stage::new(transcript, connecting, Player::new(stream), lines, asked)?
        .run()
        .await
}

async fn in_memory(transcript: &Transcript) -> Result<(), String> {
    let (ours, theirs) = tokio::io::duplex(1024 * 1024);
    let (ear, lines) = Ear::new();
    let (config, asked) = config(transcript)?;
    let opened = Client::undriven(theirs, config, Some(Box::new(ear))).await;
    let (connecting, driver) = opened.map_err(show)?;
    tokio::spawn(driver);
    Stage::new(transcript, connecting, Player::new(ours), lines, asked)?
        .run()
        .await
}

/// One performance.
struct Stage<'a, S> {
    transcript: &'a Transcript,
    client: Handle,
    player: Player<'a, S>,
    pending: Vec<Pending>,
    /// The streamed body that is being written.
    body: Option<mpsc::UnboundedSender<io::Result<Bytes>>>,
    closing: Option<JoinHandle<Result<(), Error>>>,
    /// What the client has heard.
    heard: watch::Receiver<Heard>,
    /// Lines that were said.
    said: usize,
    asked: mpsc::UnboundedSender<Option<Credentials>>,
}

enum Handle {
    Connecting(JoinHandle<Result<Client, Error>>),
    Ready(Client),
    Gone,
}

enum Pending {
    Delivery(Delivery),
    Task(JoinHandle<Outcome>),
    /// Its verdicts were seen, or nobody waits for them.
    Gone,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Stage<'a, S> {
    fn new(
        transcript: &'a Transcript,
        connecting: Connecting,
        player: Player<'a, S>,
        heard: watch::Receiver<Heard>,
        asked: mpsc::UnboundedSender<Option<Credentials>>,
    ) -> Result<Self, String> {
        Ok(Self {
            transcript,
            client: Handle::Connecting(tokio::spawn(connecting)),
            player: player.with_certificate(certificate()?),
            pending: Vec::new(),
            body: None,
            closing: None,
            heard,
            said: 0,
            asked,
        })
    }

    async fn run(mut self) -> Result<(), String> {
        for (place, block) in self.transcript.blocks.iter().enumerate() {
            let at = |problem: String| format!("line {}: {problem}", block.line + 1);
            self.happen(block).await.map_err(at)?;
            let flight = Turn::client(block.flight.clone());
            self.player.turn(&flight).await.map_err(show).map_err(at)?;
            for event in &block.events {
                self.expect(event).await.map_err(at)?;
            }
            let next = self.transcript.blocks.get(place + 1);
            if next.is_some_and(|next| is_the_callers(&next.stimulus)) {
                self.listen().await;
            }
        }
        Ok(())
    }

    async fn happen(&mut self, block: &Block) -> Result<(), String> {
        match &block.stimulus {
            Stimulus::Start | Stimulus::Hold(_) | Stimulus::Release => {}
            Stimulus::Receive(octets) => {
                self.said += octets.iter().filter(|&&octet| octet == b'\n').count();
                // A client that has closed already does not hear the rest.
                let _ = self.player.turn(&Turn::server(octets.clone())).await;
            }
            Stimulus::Failed(_) => {
                // The client, which was told to trust another, ends the handshake.
                let _ = self.player.turn(&Turn::Tls).await;
            }
            Stimulus::Tls(..) => self.player.turn(&Turn::Tls).await.map_err(show)?,
            Stimulus::Eof => self.player.turn(&Turn::Close).await.map_err(show)?,
            Stimulus::Submit(submission) => self.submit(submission).await?,
            Stimulus::Probe(submission) => {
                let delivery = self.ready()?.probe(submission.envelope.clone());
                self.pending.push(Pending::Delivery(delivery));
            }
            Stimulus::Write(piece) => {
                let body = self.body.as_ref().ok_or("no streamed body")?;
                body.send(Ok(piece.clone())).map_err(show)?;
            }
            Stimulus::Finish => self.body = None,
            Stimulus::Abandon => {
                let body = self.body.take().ok_or("no streamed body")?;
                body.send(Err(io::Error::other("the source failed")))
                    .map_err(show)?;
            }
            Stimulus::Cancel(ordinal) => {
                let pending = self
                    .pending
                    .get_mut(*ordinal)
                    .ok_or("no such transaction")?;
                match std::mem::replace(pending, Pending::Gone) {
                    Pending::Task(task) => {
                        task.abort();
                        let _ = task.await;
                    }
                    Pending::Delivery(delivery) => drop(delivery),
                    Pending::Gone => {}
                }
            }
            Stimulus::Quit => {
                let closing = self.ready()?.clone().close();
                self.closing = Some(begun(closing).await);
            }
            Stimulus::Wait(time) => sleep(*time).await,
            Stimulus::Credentials(credentials) => {
                // The engine no longer asks where it has closed.
                let _ = self.asked.send(credentials.clone());
            }
        }
        Ok(())
    }

    async fn submit(&mut self, submission: &Submission) -> Result<(), String> {
        let envelope = submission.envelope.clone();
        let client = self.ready()?.clone();
        let pending = match submission.body.clone().ok_or("submit wants body=")? {
            Body::Streamed(streamed) => {
                let (sender, receiver) = mpsc::unbounded_channel();
                self.body = Some(sender);
                let source = Source {
                    receiver,
                    piece: Bytes::new(),
                };
                let sending = async move { client.send_from(envelope, streamed, source).await };
                Pending::Task(begun(sending).await)
            }
            body => Pending::Delivery(client.submit(envelope, body)),
        };
        self.pending.push(pending);
        Ok(())
    }

    async fn expect(&mut self, wanted: &str) -> Result<(), String> {
        let (kind, rest) = wanted.split_once(' ').unwrap_or((wanted, ""));
        let seen = match kind {
            "ready" => {
                let client = self.connected().await?.map_err(show)?;
                let session = client.session();
                self.client = Handle::Ready(client);
                event::ready(&session)
            }
            "finished" => {
                let number = rest.split(' ').next().unwrap_or_default();
                let place: usize = number.parse().map_err(show)?;
                let pending = self.pending.get_mut(place).ok_or("no such transaction")?;
                let outcome = match std::mem::replace(pending, Pending::Gone) {
                    Pending::Delivery(delivery) => delivery.await,
                    Pending::Task(task) => task.await.map_err(show)?,
                    Pending::Gone => return Ok(()),
                };
                let verdicts: Vec<_> = outcome.verdicts().iter().map(event::verdict).collect();
                format!("finished {place} {}", verdicts.join(", "))
            }
            "closed" => {
                let closed = match self.closed().await? {
                    Ok(()) => "closed ok".to_owned(),
                    Err(error) => format!("closed {}", event::fault(&error)),
                };
                // Whatever the client sent behind its last listed flight would be heard here.
                self.player.wait_for_end().await.map_err(show)?;
                closed
            }
            // What only the engine's own events show.
            _ => return Ok(()),
        };
        if seen == wanted {
            Ok(())
        } else {
            Err(format!("expected: {wanted}\n    seen: {seen}"))
        }
    }

    async fn closed(&mut self) -> Result<Result<(), Error>, String> {
        if let Some(closing) = self.closing.take() {
            return closing.await.map_err(show);
        }
        if let Handle::Ready(client) = &self.client {
            let client = client.clone();
            // Nobody said QUIT in the file: the connection ends by itself.
            let _ = self.heard.wait_for(|heard| heard.end.is_some()).await;
            return Ok(client.close().await);
        }
        Ok(self.connected().await?.map(drop))
    }

    async fn connected(&mut self) -> Result<Result<Client, Error>, String> {
        match std::mem::replace(&mut self.client, Handle::Gone) {
            Handle::Connecting(connecting) => connecting.await.map_err(show),
            Handle::Ready(client) => Ok(Ok(client)),
            Handle::Gone => Err("the connection has ended already".into()),
        }
    }

    fn ready(&self) -> Result<&Client, String> {
        match &self.client {
            Handle::Ready(client) => Ok(client),
            Handle::Connecting(_) | Handle::Gone => Err("the session is not ready".into()),
        }
    }

    /// Waits until the client has heard all that was said.
    async fn listen(&mut self) {
        let said = self.said;
        // The ear is gone with the connection.
        let _ = self
            .heard
            .wait_for(|heard| heard.lines >= said || heard.end.is_some())
            .await;
    }
}

/// Whether the caller does it, who must not come before what the server has said.
fn is_the_callers(stimulus: &Stimulus) -> bool {
    match stimulus {
        Stimulus::Submit(_)
        | Stimulus::Probe(_)
        | Stimulus::Write(_)
        | Stimulus::Finish
        | Stimulus::Abandon
        | Stimulus::Cancel(_)
        | Stimulus::Quit => true,
        Stimulus::Start
        | Stimulus::Receive(_)
        | Stimulus::Tls(..)
        | Stimulus::Eof
        | Stimulus::Failed(_)
        | Stimulus::Wait(_)
        | Stimulus::Credentials(_)
        | Stimulus::Hold(_)
        | Stimulus::Release => false,
    }
}

/// Polls a future once, so that what it does first is done, and leaves the rest to a task.
async fn begun<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let mut future = Box::pin(future);
    let first = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    tokio::spawn(async move {
        match first {
            Poll::Ready(output) => output,
            Poll::Pending => future.await,
        }
    })
}

/// Listens to the client's dialogue.
struct Ear(watch::Sender<Heard>);

/// What a client has heard.
#[derive(Default)]
struct Heard {
    lines: usize,
    end: Option<End>,
}

/// The connection is over.
struct End;

impl Ear {
    fn new() -> (Self, watch::Receiver<Heard>) {
        let (sender, receiver) = watch::channel(Heard::default());
        (Self(sender), receiver)
    }
}

impl Observer for Ear {
    fn observe(&mut self, entry: Entry<'_>, _: std::time::Instant) {
        self.0.send_modify(|heard| match entry {
            Entry::Server(_) => heard.lines += 1,
            Entry::Note("closed") => heard.end = Some(End),
            _ => {}
        });
    }
}

/// A streamed body whose pieces come when the file says so.
struct Source {
    receiver: mpsc::UnboundedReceiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.piece.is_empty() {
            match self.receiver.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(piece))) => self.piece = piece,
            }
        }
        let length = self.piece.len().min(buffer.remaining());
        buffer.put_slice(&self.piece[..length]);
        self.piece.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// Gives the credentials of the file, when the file says so.
struct Answers(Arc<Mutex<mpsc::UnboundedReceiver<Option<Credentials>>>>);

impl CredentialSource for Answers {
    fn credentials(&self, _: MechanismName, _: Option<Reply>) -> CredentialsFuture {
        let answers = self.0.clone();
        Box::pin(async move { answers.lock().await.recv().await.flatten() })
    }
}

type Asked = mpsc::UnboundedSender<Option<Credentials>>;

fn config(transcript: &Transcript) -> Result<(ClientConfig, Asked), String> {
    let session = transcript.settings.config.clone();
    let (sender, receiver) = mpsc::unbounded_channel();
    let asks = matches!(session.login, Login::Ask);
    let distrusts = |block: &Block| matches!(block.stimulus, Stimulus::Failed(_));
    let trust = match transcript.blocks.iter().any(distrusts) {
        true => Trust::Pinned([0; 32]),
        false => Trust::Pinned(certificate()?.sha256()),
    };
    let config = ClientConfig::new("127.0.0.1", session.security)
        .with_session(session)
        .with_tls(TlsOptions::default().with_trust(trust));
    if asks {
        let answers = Answers(Arc::new(Mutex::new(receiver)));
        return Ok((config.with_credential_source(Arc::new(answers)), sender));
    }
    Ok((config, sender))
}

/// One certificate for all files: making it takes longer than most of them.
fn certificate() -> Result<&'static Certificate, String> {
    static CERTIFICATE: OnceLock<Result<Certificate, String>> = OnceLock::new();
    CERTIFICATE
        .get_or_init(|| Certificate::make(&CertificateOptions::default()).map_err(show))
        .as_ref()
        .map_err(Clone::clone)
}

fn show(problem: impl std::fmt::Display) -> String {
    problem.to_string()
}
