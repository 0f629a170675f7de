//! The least that is a server: it takes any message, keeps none, and answers what has come in one
//! write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::memmem::Finder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::relay::{self, Depth};
use crate::work::{Failure, HOST, Wire};

/// How a sink serves.
#[derive(Clone, Debug)]
pub struct Options {
    pub wire: Wire,
    /// Where it writes its certificate, if it speaks TLS.
    pub ca_file: String,
    pub tickets: Tickets,
    /// The round-trip time of the line before it; 0 is none.
    pub delay: Duration,
}

/// Whether it gives tickets, with which TLS sessions are resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tickets {
    Given,
    Refused,
}

impl Options {
    pub fn from_arguments(arguments: &[String]) -> Result<Self, Failure> {
        let [wire, ca_file, tickets, delay] = arguments else {
            return Err("serve WIRE CA_FILE TICKETS DELAY_MS".into());
        };
        Ok(Self {
            wire: Wire::parse(wire)?,
            ca_file: ca_file.clone(),
            tickets: match tickets.as_str() {
                "given" => Tickets::Given,
                _ => Tickets::Refused,
            },
            delay: Duration::from_millis(delay.parse()?),
        })
    }

    pub fn arguments(&self) -> Vec<String> {
        let tickets = match self.tickets {
            Tickets::Given => "given",
            Tickets::Refused => "refused",
        };
        let delay = self.delay.as_millis().to_string();
        [self.wire.name(), &self.ca_file, tickets, &delay]
            .map(str::to_owned)
            .into()
    }
}

/// Serves until its standard input ends. Its first line is its port, its second, at the end, how many
/// connections there were and the most round trips of one, where there is a delay.
pub async fn serve(options: Options) -> Result<(), Failure> {
    let acceptor = match options.wire.is_secure() {
        true => Some(acceptor(&options)?),
        false => None,
    };
    let listener = TcpListener::bind((HOST, 0)).await?;
    let depth = Arc::new(Depth::default());
    let port = match options.delay.is_zero() {
        true => listener.local_addr()?.port(),
        false => relay::start(options.delay, listener.local_addr()?, Arc::clone(&depth))?,
    };
    println!("{port}");
    let count = Arc::new(AtomicUsize::new(0));
    let served = accept(&listener, &options, acceptor, &count);
    tokio::select! {
        result = served => return result,
        _ = end_of_input() => {}
    }
    println!("{} {}", count.load(Ordering::Relaxed), depth.deepest());
    Ok(())
}

async fn end_of_input() {
    let (over, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = over.send(());
    });
    let _ = end.await;
}

async fn accept(
    listener: &TcpListener,
    options: &Options,
    acceptor: Option<TlsAcceptor>,
    count: &AtomicUsize,
) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        count.fetch_add(1, Ordering::Relaxed);
        let (wire, acceptor) = (options.wire, acceptor.clone());
        // However a client leaves, the others are served.
        tokio::spawn(async move {
            let _ = connection(stream, wire, acceptor).await;
        });
    }
}

async fn connection(
    mut stream: TcpStream,
    wire: Wire,
    acceptor: Option<TlsAcceptor>,
) -> std::io::Result<()> {
    match (wire, acceptor) {
        (Wire::StartTls, Some(acceptor)) => {
            Session::new(STARTTLS_OFFERS)
                .run(&mut stream, GREETING)
                .await?;
            let mut stream = acceptor.accept(stream).await?;
            Session::new(OFFERS).run(&mut stream, b"").await
        }
        (Wire::Implicit, Some(acceptor)) => {
            let mut stream = acceptor.accept(stream).await?;
            Session::new(OFFERS).run(&mut stream, GREETING).await
        }
        _ => Session::new(OFFERS).run(&mut stream, GREETING).await,
    }
}

fn acceptor(options: &Options) -> Result<TlsAcceptor, Failure> {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    std::fs::write(&options.ca_file, made.cert.pem())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    if options.tickets == Tickets::Refused {
        config.send_tls13_tickets = 0;
    }
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Session {
    offers: &'static [u8],
    mode: Mode,
    input: BytesMut,
    output: Vec<u8>,
    end: Finder<'static>,
}

enum Mode {
    Command,
    /// After DATA.
    Message,
    /// So many octets of a chunk are to come.
    Chunk {
        left: usize,
    },
    /// After QUIT, or STARTTLS: nothing more is read here.
    Over,
}

impl Session {
    fn new(offers: &'static [u8]) -> Self {
        Self {
            offers,
            mode: Mode::Command,
            input: BytesMut::new(),
            output: Vec::new(),
            end: Finder::new(b"\r\n.\r\n"),
        }
    }

    async fn run<S>(mut self, stream: &mut S, greeting: &[u8]) -> std::io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.output.extend_from_slice(greeting);
        loop {
            if !self.output.is_empty() {
                stream.write_all(&self.output).await?;
                stream.flush().await?;
                self.output.clear();
            }
            if let Mode::Over = self.mode {
                return Ok(());
            }
            while self.output.is_empty() {
                self.input.reserve(BUFFER / 2);
                if stream.read_buf(&mut self.input).await? == 0 {
                    return Ok(());
                }
                while self.advance() {}
            }
        }
    }

    /// Takes one thing from the input; false where it is not there as a whole.
    fn advance(&mut self) -> bool {
        match &mut self.mode {
            Mode::Command => {
                let Some(length) = memchr::memchr(b'\n', &self.input) else {
                    return false;
                };
                let line = self.input.split_to(length + 1);
                self.mode = self.command(&line);
                true
            }
            Mode::Message => match self.end.find(&self.input) {
                Some(at) => {
                    self.input.advance(at + 5);
                    self.output.extend_from_slice(OK);
                    self.mode = Mode::Command;
                    true
                }
                None => {
                    // The end may have begun.
                    self.input.advance(self.input.len().saturating_sub(4));
                    false
                }
            },
            Mode::Chunk { left } => {
                let length = self.input.len().min(*left);
                self.input.advance(length);
                *left -= length;
                if *left > 0 {
                    return false;
                }
                self.output.extend_from_slice(OK);
                self.mode = Mode::Command;
                true
            }
            Mode::Over => false,
        }
    }

    fn command(&mut self, line: &[u8]) -> Mode {
        let mut next = Mode::Command;
        let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
        let reply = match verb.as_slice() {
            b"EHLO" => self.offers,
            b"AUTH" => b"235 2.7.0 ok\r\n",
            b"DATA" => {
                next = Mode::Message;
                b"354 go on\r\n"
            }
            b"BDAT" => {
                let text = String::from_utf8_lossy(line);
                let size = text.split_ascii_whitespace().nth(1);
                let left = size.and_then(|size| size.parse().ok()).unwrap_or(0);
                return Mode::Chunk { left };
            }
            b"STAR" => {
                next = Mode::Over;
                b"220 go on\r\n"
            }
            b"QUIT" => {
                next = Mode::Over;
                b"221 bye\r\n"
            }
            _ => OK,
        };
        self.output.extend_from_slice(reply);
        next
    }
}

const GREETING: &[u8] = b"220 sink ESMTP\r\n";
const OFFERS: &[u8] = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 0\r\n\
    250-AUTH PLAIN\r\n250 CHUNKING\r\n";
const STARTTLS_OFFERS: &[u8] = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 0\r\n\
    250-STARTTLS\r\n250 CHUNKING\r\n";
const OK: &[u8] = b"250 2.0.0 ok\r\n";
const BUFFER: usize = 256 * 1024;
