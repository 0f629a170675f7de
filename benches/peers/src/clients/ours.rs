//! This client.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ehlo::net::{PoolOptions, TlsOptions, Trust};
use ehlo::proto::{Chunking, Config, Pipelining};
use ehlo::{
    BareNewlines, Client, ClientConfig, Content, Credentials, Envelope, Pool, Security, Streamed,
};
use tokio::task::JoinSet;

use super::Start;
use super::line::{Mail, Setup, envelope};
use super::reader::Reader;
use super::swallow::Swallow;
use crate::work::{Failure, HOST, Job, PASSWORD, Peer, Task, USER, Wire};

pub fn config(job: &Job) -> Result<ClientConfig, Failure> {
    let security = match job.wire {
        Wire::Clear | Wire::Swallow => Security::Plaintext,
        Wire::StartTls => Security::StartTls,
        Wire::Implicit => Security::Implicit,
    };
    let mut session = Config::new(security);
    if job.peer.by_data() {
        session.chunking = Chunking::Off;
    }
    if job.peer.overlaps() {
        session.pipelining = Pipelining::Overlapping;
    }
    let mut config = ClientConfig::new(HOST, security)
        .with_port(job.port)
        .with_session(session);
    if job.task == Task::Sessions {
        config = config.with_credentials(Credentials::password(USER, PASSWORD)?);
    }
    if let Some(path) = &job.ca_file {
        let tls = TlsOptions::default().with_trust(Trust::Webpki);
        config = config.with_tls(tls.with_ca_pem(&std::fs::read(path)?)?);
    }
    Ok(config)
}

pub async fn connect(setup: &Setup) -> Result<Client, Failure> {
    let config = setup.ehlo.clone();
    Ok(match setup.job.wire {
        Wire::Swallow => Client::attach(Swallow::new(), config).await?,
        Wire::Clear | Wire::StartTls | Wire::Implicit => Client::connect(config).await?,
    })
}

pub async fn send(job: &Job) -> Result<Duration, Failure> {
    match job.peer {
        Peer::EhloPool | Peer::EhloPoolData => pooled(job).await,
        _ => one_client_each(job).await,
    }
}

/// One message, and its answer.
pub async fn send_one(client: &Client, job: &Job, mail: &Mail) -> Result<(), Failure> {
    let (envelope, mut content) = mail.ehlo.clone();
    if job.peer.by_data() && job.size >= LARGE {
        // What the others find while they send is found before: it belongs to the work.
        content = Content::check(content.bytes().clone(), BareNewlines::Normalise)?;
    }
    client.send(envelope, content).await.into_result()?;
    Ok(())
}

/// A session whose last flight has QUIT.
pub async fn session(setup: &Setup, mail: &Mail) -> Result<(), Failure> {
    let client = Client::connect(setup.ehlo.clone()).await?;
    let (envelope, content) = mail.ehlo.clone();
    client.send_last(envelope, content).await.into_result()?;
    Ok(())
}

async fn one_client_each(job: &Job) -> Result<Duration, Failure> {
    let setup = Setup::of(job)?;
    let reads = matches!(job.peer, Peer::EhloReader | Peer::EhloReaderData);
    let start = Start::new(job.connections);
    for number in 0..job.connections {
        let setup = setup.clone();
        // One that is read is nowhere as a whole.
        let mail = match reads {
            true => None,
            false => Some(Mail::of(job)?),
        };
        start.task(move |start| async move {
            let client = connect(&setup).await?;
            let job = &setup.job;
            start.wait().await;
            match (job.peer, mail) {
                (_, None) => from_reader(&client, job).await,
                (Peer::EhloStream | Peer::EhloStreamData, Some(mail)) => {
                    queued(&client, job.share(number), &mail).await
                }
                (_, Some(mail)) => {
                    for _ in 0..job.share(number) {
                        send_one(&client, job, &mail).await?;
                    }
                    Ok(())
                }
            }
        });
    }
    start.finish().await
}

async fn from_reader(client: &Client, job: &Job) -> Result<(), Failure> {
    let block = Bytes::from(job.block());
    let envelope = envelope(job)?;
    for _ in 0..job.messages {
        let facts = Streamed::default().with_newlines(BareNewlines::Normalise);
        let reader = Reader::new(&block, job.size);
        let sent = client.send_from(envelope.clone(), facts, reader).await;
        sent.into_result()?;
    }
    Ok(())
}

/// Submits without waiting, with some messages on their way.
async fn queued(client: &Client, messages: usize, mail: &Mail) -> Result<(), Failure> {
    let mut submitted = VecDeque::with_capacity(DEPTH);
    for _ in 0..messages {
        if submitted.len() == DEPTH
            && let Some(oldest) = submitted.pop_front()
        {
            outcome(oldest).await?;
        }
        let (envelope, content) = mail.ehlo.clone();
        submitted.push_back(client.submit(envelope, content));
    }
    for delivery in submitted {
        outcome(delivery).await?;
    }
    Ok(())
}

async fn outcome(delivery: ehlo::Delivery) -> Result<(), Failure> {
    delivery.await.into_result()?;
    Ok(())
}

async fn pooled(job: &Job) -> Result<Duration, Failure> {
    let options = PoolOptions::default()
        .with_connections(job.connections)
        .with_connections_per_server(job.connections)
        .with_messages_per_connection(None)
        .with_share(1)
        .with_depth(DEPTH);
    let pool = Pool::with_options(config(job)?, options);
    let mail = Mail::of(job)?;
    // All connections are there before the clock starts.
    let mut first = JoinSet::new();
    for _ in 0..job.connections {
        let pool = pool.clone();
        let (envelope, content) = mail.ehlo.clone();
        first.spawn(async move { pool.send(envelope, content).await.into_result() });
    }
    while let Some(done) = first.join_next().await {
        done??;
    }
    let begun = Instant::now();
    let mut outcomes = pin!(pool.send_all(Same {
        mail: mail.ehlo,
        left: job.messages,
    }));
    while let Some(((), outcome)) =
        poll_fn(|cx| futures_core::Stream::poll_next(outcomes.as_mut(), cx)).await
    {
        outcome.into_result()?;
    }
    let elapsed = begun.elapsed();
    pool.close().await;
    Ok(elapsed)
}

/// The same message so many times.
struct Same {
    mail: (Envelope, Content),
    left: usize,
}

impl futures_core::Stream for Same {
    type Item = ((), Envelope, Content);

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        let (envelope, content) = self.mail.clone();
        Poll::Ready(Some(((), envelope, content)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Messages on their way on one connection.
const DEPTH: usize = 64;
/// From this many octets the scan of a message is part of its sending.
const LARGE: usize = 1 << 20;
