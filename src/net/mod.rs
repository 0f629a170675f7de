//! The driver: sockets, name resolution, TLS and time for the engine, by tokio and rustls.
//!
//! [`Client`](crate::Client) is what programs use; it is a handle, and a clone of it is another handle to the same
//! connection. Behind it one future, the [`Driver`], moves octets between the engine and the
//! socket: in each turn it reads what has come, hands out what came of it, and writes everything
//! that the engine has to say with one vectored write. It reads while it writes, so a long
//! recipient list cannot deadlock, and a refusal in the middle of a message is seen at once.
//!
//! Reading order: `client` (what callers hold), `shared` (what handles and driver have in common),
//! `driver`, `transport`, then `resolve` and `connect`, then `tls` with its parts.
//!
//! What is decided here is how octets travel, never which: that is the engine's.

#[cfg(feature = "tls")]
mod certificate;
#[cfg(not(feature = "tls"))]
mod cleartext;
pub(crate) mod client;
pub(crate) mod config;
mod connect;
mod driver;
#[cfg(feature = "tls")]
mod handshake;
mod resolve;
mod rounds;
mod shared;
#[cfg(feature = "tls")]
mod tls;
mod trace;
mod transport;
#[cfg(feature = "tls")]
mod verify;

#[cfg(not(feature = "tls"))]
use cleartext as secure;
#[cfg(feature = "tls")]
use handshake as secure;

pub use client::Connecting;
pub use config::{CredentialSource, CredentialsFuture};
pub use driver::Driver;
#[cfg(feature = "tls")]
pub use tls::{TlsConfigError, TlsOptions, Trust};
