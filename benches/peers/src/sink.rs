//! The least that is a server: it takes any message, keeps none, and answers what has come in one
//! write.

use std::error::Error;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use memchr::memmem::Finder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Serves until it is ended: `[CA_FILE]`, which it writes, makes it speak TLS. The first line that it
/// prints is its port.
pub async fn serve(arguments: &[String]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let acceptor = match arguments.first() {
        Some(path) => Some(acceptor(path)?),
        None => None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // However a client leaves, the others are served.
            match acceptor {
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = session(stream).await;
                    }
                }
                None => {
                    let _ = session(stream).await;
                }
            }
        });
    }
}

fn acceptor(path: &str) -> Result<TlsAcceptor, Box<dyn Error + Send + Sync>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(path, made.cert.pem())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

enum Mode {
    Command,
    /// After DATA.
    Message,
    /// So many octets of a chunk are to come.
    Chunk {
        left: usize,
    },
    Over,
}

async fn session<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> std::io::Result<()> {
    let end = Finder::new(b"\r\n.\r\n");
    let mut input = BytesMut::with_capacity(BUFFER);
    let mut output = b"220 sink ESMTP\r\n".to_vec();
    let mut mode = Mode::Command;
    loop {
        stream.write_all(&output).await?;
        stream.flush().await?;
        output.clear();
        if let Mode::Over = mode {
            return stream.shutdown().await;
        }
        while output.is_empty() {
            input.reserve(BUFFER / 2);
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            while advance(&mut mode, &mut input, &mut output, &end) {}
        }
    }
}

/// Takes one thing from the input; false where it is not there as a whole.
fn advance(mode: &mut Mode, input: &mut BytesMut, output: &mut Vec<u8>, end: &Finder<'_>) -> bool {
    match mode {
        Mode::Command => {
            let Some(length) = memchr::memchr(b'\n', input) else {
                return false;
            };
            let line = input.split_to(length + 1);
            *mode = command(&line, output);
            true
        }
        Mode::Message => match end.find(input) {
            Some(at) => {
                input.advance(at + 5);
                output.extend_from_slice(OK);
                *mode = Mode::Command;
                true
            }
            None => {
                // The end may have begun.
                input.advance(input.len().saturating_sub(4));
                false
            }
        },
        Mode::Chunk { left } => {
            let length = input.len().min(*left);
            input.advance(length);
            *left -= length;
            if *left > 0 {
                return false;
            }
            output.extend_from_slice(OK);
            *mode = Mode::Command;
            true
        }
        Mode::Over => false,
    }
}

fn command(line: &[u8], output: &mut Vec<u8>) -> Mode {
    let mut next = Mode::Command;
    let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
    match verb.as_slice() {
        b"EHLO" => output.extend_from_slice(
            b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 0\r\n250 CHUNKING\r\n",
        ),
        b"DATA" => {
            output.extend_from_slice(b"354 go on\r\n");
            next = Mode::Message;
        }
        b"BDAT" => {
            let text = String::from_utf8_lossy(line);
            let size = text.split_ascii_whitespace().nth(1);
            let left = size.and_then(|size| size.parse().ok()).unwrap_or(0);
            next = Mode::Chunk { left };
        }
        b"QUIT" => {
            output.extend_from_slice(b"221 bye\r\n");
            next = Mode::Over;
        }
        _ => output.extend_from_slice(OK),
    }
    next
}

const OK: &[u8] = b"250 2.0.0 ok\r\n";
const BUFFER: usize = 256 * 1024;
