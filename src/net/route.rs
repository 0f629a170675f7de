//! The ways to a server.

#[cfg(unix)]
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::sync::Arc;

use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::Instant;
#[cfg(unix)]
use tokio::time::timeout_at;

use super::config::ClientConfig;
use super::connect::{Dial, deadline};
use super::driver::Endpoints;
use super::milestone::Milestone;
use super::proxy::Proxy;
use super::tunnel;
use crate::error::Error;
#[cfg(unix)]
use crate::error::{Category, Party, Stage};

/// The way to a server. There is never another one instead of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// Straight to the host and the port.
    #[default]
    Direct,
    /// Through a proxy, which connects to the host and the port. TLS is between here and the
    /// server.
    ///
    /// The proxy is given the host's name, and looks it up. Where an
    /// [`AddressPolicy`](super::AddressPolicy) has to see the addresses, the name is looked up here,
    /// and the proxy is given one address after another of those that may be connected to.
    ///
    /// Set a name for EHLO where the server must not see this machine's own address.
    Proxy(Proxy),
    /// To a socket of this machine; the host is only the name that a certificate must have.
    #[cfg(unix)]
    UnixSocket(PathBuf),
}

/// What is at the end of a route.
pub(super) enum Reached {
    /// A TCP stream whose next octet is the server's, though it may come through a proxy.
    Tcp(TcpStream, Endpoints),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Reached {
    /// The server's address, where it is known.
    fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, endpoints) => endpoints.peer,
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

/// Goes the configured way, within the configured time.
///
/// # Errors
/// The host or the proxy has no address that may be connected to, nothing answers there, or the
/// proxy finds no way.
pub(super) async fn reach(config: &ClientConfig) -> Result<Reached, Error> {
    let deadline = deadline(config.connect_timeout);
    let reached = match &config.route {
        Route::Direct => direct(config, deadline).await?,
        Route::Proxy(proxy) => {
            let (stream, server) = tunnel::open(config, proxy, deadline).await?;
            let endpoints = Endpoints {
                local: stream.local_addr().ok(),
                peer: server,
            };
            Reached::Tcp(stream, endpoints)
        }
        #[cfg(unix)]
        Route::UnixSocket(path) => {
            config.address_policy.permit_local(path)?;
            let connected = timeout_at(deadline, UnixStream::connect(path)).await;
            let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            Reached::Unix(connected.map_err(|error| no_socket(path, error))?)
        }
    };
    config.reached(Milestone::Connected(reached.peer()));
    Ok(reached)
}

async fn direct(config: &ClientConfig, deadline: Instant) -> Result<Reached, Error> {
    let (stream, peer) = Dial::to_server(config, deadline).connect().await?;
    let endpoints = Endpoints {
        local: stream.local_addr().ok(),
        peer: Some(peer),
    };
    Ok(Reached::Tcp(stream, endpoints))
}

#[cfg(unix)]
fn no_socket(path: &Path, error: io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not connect to it".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    };
    let (category, party) = match error.kind() {
        io::ErrorKind::TimedOut => (Category::ConnectionTimeout, Party::Server),
        io::ErrorKind::ConnectionRefused => (Category::ConnectionRefused, Party::Server),
        _ => (Category::ConnectionRefused, Party::Caller),
    };
    let message = format!("no connection to the socket {}: {why}", path.display());
    Error::new(category, Stage::Connect, party, message)
        .with_hint("Check the path, that the server runs, and who may connect to its socket.")
        .with_source(Arc::new(error))
}
