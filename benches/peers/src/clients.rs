//! The clients. Each connects first; the clock is around the sending, but for sessions.

use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ehlo::net::{PoolOptions, TlsOptions, Trust};
use ehlo::proto::{Chunking, Config, Pipelining};
use ehlo::{
    BareNewlines, Client, ClientConfig, Content, Envelope, Mailbox, Pool, Security, Streamed,
};
use futures_core::Stream;
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use mail_send::{SmtpClient, SmtpClientBuilder};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, RootCertStore};

use crate::work::{Job, Peer, SENDER};

type Failure = Box<dyn Error + Send + Sync>;

/// Does the work, and prints seconds and the peak of memory in KiB.
pub async fn run(job: &Job) -> Result<(), Failure> {
    let elapsed = match (job.peer.is_ours(), job.sessions) {
        (_, true) => sessions(job).await?,
        (true, false) => ours(job).await?,
        (false, false) => theirs(job).await?,
    };
    println!("{} {}", elapsed.as_secs_f64(), peak_memory().unwrap_or(0));
    Ok(())
}

/// A connection by one of the peers.
enum Line {
    Lettre(AsyncSmtpConnection),
    MailSend(SmtpClient<TcpStream>),
    MailSendTls(SmtpClient<tokio_rustls::client::TlsStream<TcpStream>>),
    AsyncSmtp(async_smtp::SmtpTransport<Box<dyn Wire>>),
    Ehlo(Client),
}

trait Wire: AsyncBufRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncBufRead + AsyncWrite + Send + Unpin> Wire for T {}

impl std::fmt::Debug for dyn Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a stream")
    }
}

/// What is sent, in each peer's own words.
struct Mail {
    raw: Vec<u8>,
    lettre: lettre::address::Envelope,
    recipients: Vec<String>,
    by_hand: Vec<String>,
    ehlo: (Envelope, Content),
}

impl Mail {
    fn of(job: &Job) -> Result<Self, Failure> {
        let recipients = job.recipients();
        let parse = |address: &String| address.parse::<lettre::Address>();
        let to = recipients.iter().map(parse).collect::<Result<_, _>>()?;
        let mut by_hand = vec![format!("MAIL FROM:<{SENDER}>\r\n")];
        by_hand.extend(recipients.iter().map(|to| format!("RCPT TO:<{to}>\r\n")));
        let raw = job.message();
        Ok(Self {
            lettre: lettre::address::Envelope::new(Some(SENDER.parse()?), to)?,
            by_hand,
            ehlo: (
                envelope(job)?,
                Content::check(raw.clone(), BareNewlines::Reject)?,
            ),
            recipients,
            raw,
        })
    }
}

fn envelope(job: &Job) -> Result<Envelope, Failure> {
    let to: Vec<Mailbox> = job
        .recipients()
        .iter()
        .map(|address| address.parse())
        .collect::<Result<_, _>>()?;
    Ok(Envelope::new(SENDER.parse::<Mailbox>()?, to))
}

impl Line {
    async fn connect(job: &Job, tls: Option<&TlsConnector>) -> Result<Self, Failure> {
        let address = ("127.0.0.1", job.port);
        let hour = Duration::from_secs(3600);
        Ok(match job.peer {
            Peer::Lettre => {
                let parameters = match &job.ca_file {
                    Some(path) => {
                        let certificate = Certificate::from_pem(&std::fs::read(path)?)?;
                        let builder = TlsParameters::builder("localhost".to_owned());
                        Some(builder.add_root_certificate(certificate).build_rustls()?)
                    }
                    None => None,
                };
                let hello = ClientId::default();
                let connected = AsyncSmtpConnection::connect_tokio1(
                    address,
                    Some(hour),
                    &hello,
                    parameters,
                    None,
                );
                Self::Lettre(connected.await?)
            }
            Peer::LettreNodelay => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let hello = ClientId::default();
                let connected =
                    AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await?;
                Self::Lettre(connected)
            }
            Peer::MailSend | Peer::MailSendNodelay | Peer::MailSendByHand => {
                let connector = match tls {
                    Some(tls) => tls.clone(),
                    None => connector(RootCertStore::empty())?,
                };
                let builder =
                    SmtpClientBuilder::new_with_tls_connector("localhost", job.port, connector);
                let nodelay = job.peer != Peer::MailSend;
                match tls {
                    Some(_) => {
                        let client = builder.implicit_tls(true).connect().await?;
                        client.stream.get_ref().0.set_nodelay(nodelay)?;
                        Self::MailSendTls(client)
                    }
                    None => {
                        let client = builder.connect_plain().await?;
                        client.stream.set_nodelay(nodelay)?;
                        Self::MailSend(client)
                    }
                }
            }
            Peer::AsyncSmtp => {
                let stream = TcpStream::connect(address).await?;
                let stream: Box<dyn Wire> = match tls {
                    Some(tls) => Box::new(BufStream::new(tls.connect(host()?, stream).await?)),
                    None => Box::new(BufStream::new(stream)),
                };
                let client = async_smtp::SmtpClient::new();
                Self::AsyncSmtp(async_smtp::SmtpTransport::new(client, stream).await?)
            }
            Peer::EhloAwaited
            | Peer::EhloAwaitedData
            | Peer::EhloStreamData
            | Peer::EhloStream
            | Peer::EhloReader => Self::Ehlo(Client::connect(config(job)?).await?),
        })
    }

    async fn send(&mut self, job: &Job, mail: &Mail) -> Result<(), Failure> {
        match self {
            Self::Lettre(connection) => {
                connection.send(&mail.lettre, &mail.raw).await?;
            }
            Self::MailSend(client) => mail_send_one(client, job.peer, mail).await?,
            Self::MailSendTls(client) => mail_send_one(client, job.peer, mail).await?,
            Self::AsyncSmtp(transport) => {
                let address = |text: &str| async_smtp::EmailAddress::new(text.to_owned());
                let to = mail.recipients.iter().map(|to| address(to));
                let to = to
                    .collect::<Result<_, _>>()
                    .map_err(|error| error.to_string())?;
                let from = address(SENDER).map_err(|error| error.to_string())?;
                let envelope = async_smtp::Envelope::new(Some(from), to);
                let envelope = envelope.map_err(|error| error.to_string())?;
                let email = async_smtp::SendableEmail::new(envelope, mail.raw.clone());
                transport.send(email).await?;
            }
            Self::Ehlo(client) => {
                let (envelope, content) = mail.ehlo.clone();
                client.send(envelope, content).await.into_result()?;
            }
        }
        Ok(())
    }

    async fn quit(self) -> Result<(), Failure> {
        match self {
            Self::Lettre(mut connection) => {
                connection.quit().await?;
            }
            Self::MailSend(client) => client.quit().await?,
            Self::MailSendTls(client) => client.quit().await?,
            Self::AsyncSmtp(mut transport) => transport.quit().await?,
            Self::Ehlo(client) => client.close().await?,
        }
        Ok(())
    }
}

async fn mail_send_one<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut SmtpClient<S>,
    peer: Peer,
    mail: &Mail,
) -> Result<(), Failure> {
    if peer == Peer::MailSendByHand {
        for reply in client.cmds(&mail.by_hand).await? {
            if !reply.is_positive_completion() {
                return Err(format!("{reply}").into());
            }
        }
        client.bdat(&mail.raw).await?;
        return Ok(());
    }
    let to: Vec<&str> = mail.recipients.iter().map(String::as_str).collect();
    let message = mail_send::smtp::message::Message::new(SENDER, to, mail.raw.as_slice());
    client.send(message).await?;
    Ok(())
}

/// The peers: each connection sends its part, one message after the other.
async fn theirs(job: &Job) -> Result<Duration, Failure> {
    let tls = tls(job)?;
    let mail = Arc::new(Mail::of(job)?);
    let start = Arc::new(Barrier::new(job.connections + 1));
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    for number in 0..job.connections {
        let (job, tls, mail, start) = (
            job.clone(),
            tls.clone(),
            Arc::clone(&mail),
            Arc::clone(&start),
        );
        let messages =
            job.messages / job.connections + usize::from(number < job.messages % job.connections);
        tasks.spawn(async move {
            let mut line = Line::connect(&job, tls.as_ref()).await?;
            start.wait().await;
            for _ in 0..messages {
                line.send(&job, &mail).await?;
            }
            Ok(())
        });
    }
    start.wait().await;
    let begun = Instant::now();
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(begun.elapsed())
}

/// A connection for each message: connecting is part of it.
async fn sessions(job: &Job) -> Result<Duration, Failure> {
    let tls = tls(job)?;
    let mail = Mail::of(job)?;
    let config = config(job)?;
    let begun = Instant::now();
    for _ in 0..job.messages {
        if job.peer.is_ours() {
            // By one configuration: what it has learnt is of use to the next connection, too.
            let client = Client::connect(config.clone()).await?;
            let (envelope, content) = mail.ehlo.clone();
            client.send_last(envelope, content).await.into_result()?;
            continue;
        }
        let mut line = Line::connect(job, tls.as_ref()).await?;
        line.send(job, &mail).await?;
        line.quit().await?;
    }
    Ok(begun.elapsed())
}

/// This client: a pool, and as many senders or one stream.
async fn ours(job: &Job) -> Result<Duration, Failure> {
    let options = PoolOptions::default()
        .with_connections(job.connections)
        .with_connections_per_server(job.connections)
        .with_messages_per_connection(None)
        .with_share(1)
        .with_depth(64);
    let pool = Pool::with_options(config(job)?, options);
    let envelope = envelope(job)?;
    let content = match job.peer {
        Peer::EhloReader => Content::check(lines(), BareNewlines::Reject)?,
        _ => Content::check(job.message(), BareNewlines::Reject)?,
    };
    // All connections are there before the clock starts.
    let mut first = JoinSet::new();
    for _ in 0..job.connections {
        let (pool, envelope) = (pool.clone(), envelope.clone());
        let content = Content::check("Subject: first\r\n\r\n", BareNewlines::Reject)?;
        first.spawn(async move { pool.send(envelope, content).await.into_result() });
    }
    while let Some(done) = first.join_next().await {
        done??;
    }
    let begun = Instant::now();
    match job.peer {
        Peer::EhloStream | Peer::EhloStreamData => {
            let messages = Same {
                envelope,
                content,
                left: job.messages,
            };
            let mut outcomes = pin!(pool.send_all(messages));
            while let Some(((), outcome)) =
                std::future::poll_fn(|cx| outcomes.as_mut().poll_next(cx)).await
            {
                outcome.into_result()?;
            }
        }
        Peer::EhloReader => {
            for _ in 0..job.messages {
                let reader = Lines {
                    block: content.bytes().clone(),
                    at: 0,
                    left: job.size / LINE * LINE,
                };
                let outcome = pool
                    .send_from(envelope.clone(), Streamed::default(), reader)
                    .await;
                outcome.into_result()?;
            }
        }
        _ => {
            let mut tasks = JoinSet::new();
            for number in 0..job.connections {
                let messages = job.messages / job.connections
                    + usize::from(number < job.messages % job.connections);
                let (pool, envelope, content) = (pool.clone(), envelope.clone(), content.clone());
                tasks.spawn(async move {
                    for _ in 0..messages {
                        pool.send(envelope.clone(), content.clone())
                            .await
                            .into_result()?;
                    }
                    Ok::<_, ehlo::Error>(())
                });
            }
            while let Some(done) = tasks.join_next().await {
                done??;
            }
        }
    }
    let elapsed = begun.elapsed();
    pool.close().await;
    Ok(elapsed)
}

/// A message that is made while it is read: the same lines again and again.
struct Lines {
    block: Bytes,
    at: usize,
    left: usize,
}

impl AsyncRead for Lines {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let at = self.at;
        let length = self.left.min(buffer.remaining()).min(self.block.len() - at);
        buffer.put_slice(&self.block[at..at + length]);
        self.at = (at + length) % self.block.len();
        self.left -= length;
        Poll::Ready(Ok(()))
    }
}

/// 64 KiB of lines.
fn lines() -> Vec<u8> {
    let line = |number: usize| format!("{number:0width$}\r\n", width = LINE - 2).into_bytes();
    (0..1024).flat_map(line).collect()
}

/// Octets in a line, CRLF included.
const LINE: usize = 64;

/// The same message so many times.
struct Same {
    envelope: Envelope,
    content: Content,
    left: usize,
}

impl Stream for Same {
    type Item = ((), Envelope, Content);

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(((), self.envelope.clone(), self.content.clone())))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

fn config(job: &Job) -> Result<ClientConfig, Failure> {
    let security = match job.ca_file {
        Some(_) => Security::Implicit,
        None => Security::Plaintext,
    };
    let mut session = Config::new(security);
    match job.peer {
        Peer::EhloAwaitedData | Peer::EhloStreamData => session.chunking = Chunking::Off,
        Peer::EhloStream => session.pipelining = Pipelining::Overlapping,
        _ => {}
    }
    let mut config = ClientConfig::new("localhost", security)
        .with_port(job.port)
        .with_session(session);
    if let Some(path) = &job.ca_file {
        let tls = TlsOptions::default().with_trust(Trust::Webpki);
        config = config.with_tls(tls.with_ca_pem(&std::fs::read(path)?)?);
    }
    Ok(config)
}

fn tls(job: &Job) -> Result<Option<TlsConnector>, Failure> {
    let Some(path) = &job.ca_file else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&std::fs::read(path)?) {
        roots.add(certificate?)?;
    }
    connector(roots).map(Some)
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, Failure> {
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn host() -> Result<ServerName<'static>, Failure> {
    Ok(ServerName::try_from("localhost")?)
}

/// The largest amount of memory that the process has had at once, in KiB, as Linux tells it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().split(' ').next()?.parse().ok()
}
