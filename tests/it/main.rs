//! Integration tests: one binary, a module a subject.

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "tokio")]
mod net;
#[cfg(feature = "sandbox")]
mod tls;
