//! The driver: sockets, name resolution, TLS and time for the engine, by tokio and rustls.
//!
//! [`Client`](crate::Client) is what programs use; it is a handle, and a clone of it is another handle to the same
//! connection. Behind it one future, the [`Driver`], moves octets between the engine and the
//! socket: in each turn it reads what has come, hands out what came of it, and writes everything
//! that the engine has to say with one vectored write. It reads while it writes, so a long
//! recipient list cannot deadlock, and a refusal in the middle of a message is seen at once.
//!
//! A [`Pool`](crate::Pool) has several connections, and uses them again.
//!
//! Reading order: `client` (what callers hold), `shared` (what handles and driver have in common),
//! `driver`, `transport`, then `route` (the ways to a server) with `resolve`, `policy`, `connect` and
//! `tunnel`, then `tls` with its parts, then `pool`, which stands on `client` alone. `milestone` is for
//! those who want to know how a connection gets on.
//!
//! What is decided here is how octets travel, never which: that is the engine's.

#[cfg(feature = "tls")]
pub(crate) mod certificate;
#[cfg(not(feature = "tls"))]
mod cleartext;
pub(crate) mod client;
pub(crate) mod config;
mod connect;
mod driver;
#[cfg(feature = "tls")]
mod failed;
#[cfg(feature = "tls")]
mod handshake;
mod milestone;
mod policy;
pub(crate) mod pool;
pub(crate) mod proxy;
#[cfg(feature = "tls")]
mod recorder;
pub(crate) mod resolve;
mod rounds;
mod route;
mod shared;
#[cfg(feature = "tls")]
mod tls;
mod trace;
mod transport;
mod tunnel;
#[cfg(feature = "tls")]
mod verify;

#[cfg(not(feature = "tls"))]
use cleartext as secure;
#[cfg(feature = "tls")]
use handshake as secure;

pub use client::Connecting;
pub use config::{CredentialSource, CredentialsFuture};
pub use driver::Driver;
pub use milestone::{Milestone, Watcher};
pub use policy::AddressPolicy;
pub use pool::{PoolOptions, PoolStats, SendAll};
pub use proxy::{Proxy, ProxyError};
pub use route::Route;
#[cfg(feature = "tls")]
pub use tls::{TlsConfigError, TlsOptions, Trust};
