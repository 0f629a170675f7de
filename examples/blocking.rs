//! The engine driven by hand over blocking sockets and rustls: it needs no runtime.
//!
//! It writes or reads, one at a time, which will do for a few recipients. A driver for any number of
//! them reads while it writes, as `ehlo::Client` does.
//!
//! ```sh
//! cargo run --example blocking -- mail.example.org 587 alice@example.org bob@example.org [CA.pem]
//! ```

use std::error::Error;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ehlo::proto::{Config, Connection, Context, Event, TlsSession, Verification};
use ehlo::proto::{TransportError, TransportErrorKind};
use ehlo::{BareNewlines, Content, Envelope, Mailbox, Security};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, from, to, authorities @ ..] = arguments.as_slice() else {
        return Err("usage: blocking HOST PORT FROM TO [CA.pem]".into());
    };
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    for file in authorities {
        roots.add(CertificateDer::from_pem_file(file)?)?;
    }
    let tcp = TcpStream::connect((host.as_str(), port.parse()?))?;
    tcp.set_nodelay(true)?;
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)?;
    let context = Context::new(Some(tcp.local_addr()?.ip()), entropy);

    let config = Arc::new(Config::new(Security::StartTls));
    let mut connection = Connection::new(config, context, Instant::now());
    let text = format!("From: {from}\r\nTo: {to}\r\nSubject: Hello\r\n\r\nHello from ehlo.\r\n");
    let envelope = Envelope::new(from.parse::<Mailbox>()?, [to.parse::<Mailbox>()?]);
    let content = Content::check(text, BareNewlines::Reject)?;
    connection.submit(envelope, content.into(), Instant::now())?;
    connection.quit(Instant::now());

    let mut stream: Box<dyn Stream> = Box::new(tcp.try_clone()?);
    loop {
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Reached { stage, reply } => println!("{stage}: {reply}"),
                Event::StartTls => {
                    let (tls, facts) = start_tls(tcp.try_clone()?, roots.clone(), host)?;
                    stream = Box::new(tls);
                    connection.tls_established(facts, Instant::now());
                }
                Event::Finished { recipients, .. } => println!("{recipients:?}"),
                Event::Closed(result) => return Ok(result?),
                _ => {}
            }
        }
        // A read time-out of zero would mean none.
        let left = |at: Instant| at.saturating_duration_since(Instant::now()) + MILLISECOND;
        tcp.set_read_timeout(connection.poll_timeout().map(left))?;
        step(&mut connection, &mut *stream);
    }
}

/// Writes what there is to write; if there is nothing, waits for the peer.
fn step(connection: &mut Connection, stream: &mut dyn Stream) {
    let mut slices = [IoSlice::new(&[]); 16];
    let count = connection.transmit(&mut slices);
    let result = if count > 0 {
        let written = stream.write_vectored(&slices[..count]);
        written.map(|length| connection.sent(length, Instant::now()))
    } else {
        let mut buffer = [0; 4096];
        stream.read(&mut buffer).map(|length| match length {
            0 => connection.receive_eof(Instant::now()),
            _ => connection.receive(&buffer[..length], Instant::now()),
        })
    };
    match result {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            connection.handle_timeout(Instant::now());
        }
        Err(error) => {
            let cause = TransportError::new(TransportErrorKind::Lost, error.to_string());
            connection.failed(cause, Instant::now());
        }
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn start_tls(
    mut tcp: TcpStream,
    roots: RootCertStore,
    host: &str,
) -> Result<(Tls, TlsSession), Box<dyn Error>> {
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = Arc::new(config.with_no_client_auth());
    let mut tls = ClientConnection::new(config, host.to_owned().try_into()?)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    let version = match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let suite = tls.negotiated_cipher_suite();
    let cipher = suite.map_or(String::new(), |suite| format!("{:?}", suite.suite()));
    let facts = TlsSession::new(version, cipher, Verification::Trusted);
    Ok((StreamOwned::new(tls, tcp), facts))
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

const MILLISECOND: Duration = Duration::from_millis(1);
