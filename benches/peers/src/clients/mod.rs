//! The clients: each in a process of its own, which does one job and prints what it took.

mod floor;
mod line;
mod ours;
mod reader;
mod swallow;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use self::line::{Line, Mail, Setup};
use crate::work::{Crypto, Failure, Job, Side, Task};

/// Does the work. Prints seconds and the peak of memory in KiB; of idle connections the KiB of one
/// after EHLO and after a message.
pub async fn run(job: &Job) -> Result<(), Failure> {
    let provider = match job.crypto {
        Crypto::Ring => ring::default_provider(),
        Crypto::AwsLcRs => aws_lc_rs::default_provider(),
    };
    provider
        .install_default()
        .map_err(|_| "there is a provider already")?;
    let elapsed = match (job.task, job.peer.side()) {
        (Task::Idle, _) => return idle(job).await,
        (Task::Sessions, _) => sessions(job).await?,
        (Task::Messages, Side::Ours) => ours::send(job).await?,
        (Task::Messages, Side::Floor) => floor::send(job).await?,
        (Task::Messages, Side::Theirs) => theirs(job).await?,
    };
    let peak = memory("VmHWM").unwrap_or(0);
    println!("{} {peak}", elapsed.as_secs_f64());
    Ok(())
}

/// What octets travel over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// Each connection sends its part, one message after the other.
async fn theirs(job: &Job) -> Result<Duration, Failure> {
    let setup = Setup::of(job)?;
    let mail = Arc::new(Mail::of(job)?);
    let start = Start::new(job.connections);
    for number in 0..job.connections {
        let (setup, mail) = (setup.clone(), Arc::clone(&mail));
        start.task(move |start| async move {
            let mut line = Line::connect(&setup).await?;
            start.wait().await;
            for _ in 0..setup.job.share(number) {
                line.send(&setup, &mail).await?;
            }
            Ok(())
        });
    }
    start.finish().await
}

/// Tasks that begin together, once each is connected.
struct Start {
    gate: Arc<Gate>,
    tasks: std::sync::Mutex<JoinSet<Result<(), Failure>>>,
}

impl Start {
    fn new(tasks: usize) -> Self {
        Self {
            gate: Arc::new(Gate {
                barrier: Barrier::new(tasks + 1),
                begun: OnceLock::new(),
            }),
            tasks: std::sync::Mutex::default(),
        }
    }

    fn task<F>(&self, make: impl FnOnce(Arc<Gate>) -> F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let work = make(Arc::clone(&self.gate));
        if let Ok(mut tasks) = self.tasks.lock() {
            tasks.spawn(work);
        }
    }

    /// The time from the common beginning to the last one's end.
    async fn finish(self) -> Result<Duration, Failure> {
        let mut tasks = self.tasks.into_inner()?;
        // A task that fails before the beginning would leave the others waiting.
        tokio::select! {
            () = self.gate.wait() => {}
            Some(Ok(Err(error))) = tasks.join_next() => return Err(error),
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let begun = self.gate.begun.get().ok_or("somebody has begun")?;
        Ok(begun.elapsed())
    }
}

/// Where tasks wait for each other. The first to go on starts the clock: one that never has to wait
/// would be done before anybody else had a turn.
struct Gate {
    barrier: Barrier,
    begun: OnceLock<Instant>,
}

impl Gate {
    async fn wait(&self) {
        self.barrier.wait().await;
        self.begun.get_or_init(Instant::now);
    }
}

/// A connection for each message: connecting is part of it.
async fn sessions(job: &Job) -> Result<Duration, Failure> {
    let setup = Setup::of(job)?;
    let mail = Mail::of(job)?;
    let begun = Instant::now();
    for _ in 0..job.messages {
        match job.peer.side() {
            Side::Ours => ours::session(&setup, &mail).await?,
            Side::Floor => floor::session(&setup, &mail).await?,
            Side::Theirs => {
                let mut line = Line::connect(&setup).await?;
                line.send(&setup, &mail).await?;
                line.quit().await?;
            }
        }
    }
    Ok(begun.elapsed())
}

/// Opens connections that then do nothing, and prints the KiB of each after EHLO and after a message.
async fn idle(job: &Job) -> Result<(), Failure> {
    let setup = Setup::of(job)?;
    let mail = Mail::of(job)?;
    // What all have in common is there before the count begins.
    let mut first = Line::connect(&setup).await?;
    first.send(&setup, &mail).await?;
    let mut lines = Vec::with_capacity(job.connections);
    let anonymous = || memory("RssAnon").ok_or("this system does not tell");
    let before = anonymous()?;
    for _ in 0..job.connections {
        lines.push(Line::connect(&setup).await?);
    }
    let greeted = anonymous()?;
    for line in &mut lines {
        line.send(&setup, &mail).await?;
    }
    let used = anonymous()?;
    let each = |after: u64| after.saturating_sub(before) as f64 / job.connections as f64;
    println!("{} {}", each(greeted), each(used));
    drop((first, lines));
    Ok(())
}

/// The peers' TLS, and the floor's: the server's certificate is the only root.
fn connector(job: &Job) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &job.ca_file {
        for certificate in CertificateDer::pem_slice_iter(&std::fs::read(path)?) {
            roots.add(certificate?)?;
        }
    }
    let provider = CryptoProvider::get_default().ok_or("a provider is installed")?;
    let config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Memory in KiB, as Linux tells it: its own that there is (`RssAnon`), or the most that there was at
/// once (`VmHWM`).
fn memory(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().split(' ').next()?.parse().ok()
}
