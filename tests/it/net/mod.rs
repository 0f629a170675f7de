//! The driver: over streams in memory whose other end a test plays, and against the sandbox.

#[cfg(feature = "sandbox")]
mod chunks;
#[cfg(feature = "sandbox")]
mod flights;
#[cfg(feature = "sandbox")]
mod login;
pub(crate) mod peer;
#[cfg(feature = "sandbox")]
mod pool;
#[cfg(feature = "sandbox")]
pub(crate) mod proxies;
#[cfg(feature = "sandbox")]
mod proxy;
#[cfg(feature = "sandbox")]
mod rounds;
#[cfg(feature = "sandbox")]
mod server;
pub(crate) mod shape;
mod stream;
mod task;
#[cfg(feature = "tracing")]
mod trace;
#[cfg(feature = "sandbox")]
mod ways;

#[cfg(feature = "sandbox")]
use std::net::{Ipv4Addr, SocketAddr};

use ehlo::{BareNewlines, ClientConfig, Content, Envelope, Mailbox, Security};
#[cfg(feature = "sandbox")]
use tokio::net::TcpSocket;

/// A configuration for a stream in clear.
fn clear() -> ClientConfig {
    ClientConfig::new("mx.example.org", Security::Plaintext)
}

fn mailbox(address: &str) -> Mailbox {
    address.parse().expect("a test's address is valid")
}

/// From alice to one recipient.
pub(crate) fn to(recipient: &str) -> Envelope {
    Envelope::new(mailbox("alice@example.com"), [mailbox(recipient)])
}

pub(crate) fn content(text: impl Into<Vec<u8>>) -> Content {
    Content::check(text.into(), BareNewlines::Reject).expect("a test's content is clean")
}

pub(crate) fn hello() -> Content {
    content("Subject: Hello\r\n\r\nHello.\r\n")
}

/// A port on which nothing listens, now or later: it stays bound until the tests are over.
#[cfg(feature = "sandbox")]
pub(crate) fn closed_port() -> u16 {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(address).expect("loopback has ports");
    let port = socket.local_addr().expect("it is bound").port();
    std::mem::forget(socket);
    port
}
