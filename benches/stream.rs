//! A client to be measured from outside: it sends messages to a server in another process, so that
//! what callgrind and strace count is the client's alone. With `--mode serve` it is that server. See
//! README.md beside this file.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use ehlo::net::TlsOptions;
use ehlo::proto::{Chunking, Pipelining};
use ehlo::sandbox::{self, Contents, Sandbox, TlsMode};
use ehlo::{
    BareNewlines, Client, ClientConfig, Content, Delivery, Envelope, Mailbox, Security, Streamed,
};
use tokio::io::{AsyncRead, ReadBuf};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::from_arguments(std::env::args().skip(1))?;
    if matches!(options.mode, Mode::Serve) {
        return serve(&options).await;
    }
    if matches!(options.mode, Mode::Idle) {
        return idle(&options).await;
    }
    let client = Client::connect(options.config()?).await?;
    let (envelope, content) = options.message();
    let before = client.stats();
    let start = Instant::now();
    match options.mode {
        Mode::Queued => queued(&client, options.messages, envelope, content).await?,
        Mode::Awaited => awaited(&client, options.messages, envelope, content).await?,
        Mode::Streamed => streamed(&client, &options, envelope, content).await?,
        Mode::Idle | Mode::Serve => {}
    }
    let elapsed = start.elapsed().as_secs_f64();
    let after = client.stats();
    client.close().await?;

    let sent = after.bytes_sent - before.bytes_sent;
    println!(
        "{} messages, {} flights, {sent} octets in {elapsed:.3} s: {:.0} messages/s, {:.1} MB/s",
        options.messages,
        after.flights - before.flights,
        options.messages as f64 / elapsed,
        sent as f64 / elapsed / 1e6,
    );
    if let Some(peak) = memory("VmHWM") {
        println!("peak resident memory: {peak} KiB");
    }
    Ok(())
}

/// Opens connections that have nothing to do, and tells what each takes of memory.
async fn idle(options: &Options) -> Result<(), Box<dyn Error>> {
    let config = options.config()?;
    let send = |client: Client| async move {
        let (envelope, content) = options.message();
        client.send(envelope, content).await.into_result()?;
        Ok::<_, ehlo::Error>(client)
    };
    // What all have in common is there before the count begins.
    let first = send(Client::connect(config.clone()).await?).await?;
    let before = memory("RssAnon").ok_or("this system does not tell")?;
    let mut clients = Vec::with_capacity(options.connections);
    let start = Instant::now();
    for _ in 0..options.connections {
        // Each has sent a message: so buffers have grown as they do.
        clients.push(send(Client::connect(config.clone()).await?).await?);
    }
    let elapsed = start.elapsed().as_secs_f64();
    let after = memory("RssAnon").ok_or("this system does not tell")?;
    let each = (after - before) as f64 / options.connections as f64;
    println!(
        "{} idle connections, {each:.2} KiB of memory each; opened at {:.0} a second",
        options.connections,
        options.connections as f64 / elapsed,
    );
    drop((first, clients));
    Ok(())
}

/// Takes messages of any size, and keeps none.
async fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let address = format!("{}:{}", options.host, options.port).parse()?;
    let tls = match options.security {
        Security::Implicit => TlsMode::Implicit,
        Security::StartTls | Security::Opportunistic | Security::Plaintext => TlsMode::StartTls,
    };
    let sandbox = Sandbox::start(
        sandbox::Options::default()
            .with_listen(address)
            .with_tls(tls)
            .with_contents(Contents::Discard)
            .with_size_limit(u64::MAX),
    )
    .await?;
    if let Some(path) = &options.ca_file {
        std::fs::write(path, sandbox.certificate_pem())?;
    }
    println!("ready at {}", sandbox.address());
    std::future::pending().await
}

/// All messages are submitted without waiting for an answer, up to a number that waits at once.
async fn queued(
    client: &Client,
    messages: u64,
    envelope: Envelope,
    content: Content,
) -> Result<(), ehlo::Error> {
    const WAITING: usize = 64;
    let mut deliveries: VecDeque<Delivery> = VecDeque::with_capacity(WAITING);
    for _ in 0..messages {
        if deliveries.len() == WAITING
            && let Some(first) = deliveries.pop_front()
        {
            first.await.into_result()?;
        }
        deliveries.push_back(client.submit(envelope.clone(), content.clone()));
    }
    for delivery in deliveries {
        delivery.await.into_result()?;
    }
    Ok(())
}

/// Each message waits for the answer to the one before.
async fn awaited(
    client: &Client,
    messages: u64,
    envelope: Envelope,
    content: Content,
) -> Result<(), ehlo::Error> {
    for _ in 0..messages {
        let outcome = client.send(envelope.clone(), content.clone()).await;
        outcome.into_result()?;
    }
    Ok(())
}

/// As awaited, but each message comes from a reader and never lies in memory as a whole.
async fn streamed(
    client: &Client,
    options: &Options,
    envelope: Envelope,
    content: Content,
) -> Result<(), ehlo::Error> {
    for _ in 0..options.messages {
        let reader = Text {
            block: content.bytes().clone(),
            at: 0,
            left: options.size / LINE * LINE,
        };
        let facts = Streamed::default();
        let outcome = client.send_from(envelope.clone(), facts, reader).await;
        outcome.into_result()?;
    }
    Ok(())
}

struct Options {
    host: String,
    port: u16,
    security: Security,
    ca_file: Option<String>,
    mode: Mode,
    connections: usize,
    messages: u64,
    size: usize,
    recipients: usize,
    dots_every: usize,
    chunking: Chunking,
    pipelining: Pipelining,
}

enum Mode {
    Queued,
    Awaited,
    Streamed,
    Idle,
    Serve,
}

impl Options {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            host: "127.0.0.1".to_owned(),
            port: 2525,
            security: Security::Plaintext,
            ca_file: None,
            mode: Mode::Queued,
            connections: 1000,
            messages: 10_000,
            size: 1024,
            recipients: 1,
            dots_every: 0,
            chunking: Chunking::default(),
            pipelining: Pipelining::default(),
        };
        while let Some(name) = arguments.next() {
            if name == "--bench" {
                continue; // `cargo bench` adds it
            }
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--server" => {
                    let (host, port) = value.rsplit_once(':').ok_or("--server HOST:PORT")?;
                    options.host = host.to_owned();
                    options.port = port.parse()?;
                }
                "--encryption" => options.security = security(&value)?,
                "--ca-file" => options.ca_file = Some(value),
                "--mode" => options.mode = mode(&value)?,
                "--messages" => options.messages = value.parse()?,
                "--size" => options.size = value.parse()?,
                "--recipients" => options.recipients = value.parse()?,
                "--connections" => options.connections = value.parse()?,
                "--dots-every" => options.dots_every = value.parse()?,
                "--chunking" => options.chunking = chunking(&value)?,
                "--pipelining" => options.pipelining = pipelining(&value)?,
                _ => return Err(format!("there is no option {name}").into()),
            }
        }
        Ok(options)
    }

    fn config(&self) -> Result<ClientConfig, Box<dyn Error>> {
        let mut config = ClientConfig::new(&self.host, self.security).with_port(self.port);
        config.session = config
            .session
            .with_chunking(self.chunking)
            .with_pipelining(self.pipelining);
        if let Some(path) = &self.ca_file {
            config = config.with_tls(TlsOptions::default().with_ca_pem(&std::fs::read(path)?)?);
        }
        Ok(config)
    }

    /// The envelope and the message; of a streamed one the lines that it is made of.
    fn message(&self) -> (Envelope, Content) {
        let mailbox = |name: &str| Mailbox::new(name, "example.org").expect("a valid address");
        let recipients = (0..self.recipients).map(|number| mailbox(&format!("r{number}")));
        let envelope = Envelope::new(mailbox("sender"), recipients);
        let size = match self.mode {
            Mode::Queued | Mode::Awaited | Mode::Idle => self.size,
            Mode::Streamed | Mode::Serve => BLOCK,
        };
        let lines = lines(size, self.dots_every);
        let content = Content::check(lines, BareNewlines::Reject).expect("no bare newlines");
        (envelope, content)
    }
}

/// A message that is made while it is read: the same lines again and again.
struct Text {
    block: Bytes,
    at: usize,
    left: usize,
}

impl AsyncRead for Text {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let at = self.at;
        let length = self.left.min(buffer.remaining()).min(self.block.len() - at);
        buffer.put_slice(&self.block[at..at + length]);
        self.at = (at + length) % self.block.len();
        self.left -= length;
        Poll::Ready(Ok(()))
    }
}

/// Whole lines of up to `size` octets together; every so many begin with a dot, none if that is 0.
fn lines(size: usize, dots_every: usize) -> Vec<u8> {
    (0..size / LINE)
        .flat_map(|number| {
            let dotted = dots_every > 0 && number % dots_every == 0;
            let first = if dotted { '.' } else { '-' };
            format!("{first}{number:0width$}\r\n", width = LINE - 3).into_bytes()
        })
        .collect()
}

/// Memory in KiB, as Linux tells it: its own that there is (`RssAnon`), or the most that there was at
/// once (`VmHWM`).
fn memory(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().split(' ').next()?.parse().ok()
}

/// Octets in a line, CRLF included.
const LINE: usize = 64;
const BLOCK: usize = 64 * 1024;

fn security(name: &str) -> Result<Security, String> {
    match name {
        "none" => Ok(Security::Plaintext),
        "starttls" => Ok(Security::StartTls),
        "tls" => Ok(Security::Implicit),
        _ => Err(format!("--encryption none|starttls|tls, not {name}")),
    }
}

fn chunking(name: &str) -> Result<Chunking, String> {
    match name {
        "where-offered" => Ok(Chunking::WhereOffered),
        "off" => Ok(Chunking::Off),
        _ => Err(format!("--chunking where-offered|off, not {name}")),
    }
}

fn pipelining(name: &str) -> Result<Pipelining, String> {
    match name {
        "groups" => Ok(Pipelining::Groups),
        "overlapping" => Ok(Pipelining::Overlapping),
        _ => Err(format!("--pipelining groups|overlapping, not {name}")),
    }
}

fn mode(name: &str) -> Result<Mode, String> {
    match name {
        "queued" => Ok(Mode::Queued),
        "awaited" => Ok(Mode::Awaited),
        "streamed" => Ok(Mode::Streamed),
        "idle" => Ok(Mode::Idle),
        "serve" => Ok(Mode::Serve),
        _ => Err(format!(
            "--mode queued|awaited|streamed|idle|serve, not {name}"
        )),
    }
}
