//! Integration tests: one binary, a module a subject.

mod architecture;
mod bench;
#[cfg(all(feature = "diagnosis", feature = "sandbox"))]
mod check;
#[cfg(feature = "cli")]
mod cli;
#[cfg(all(feature = "sandbox", feature = "diagnosis"))]
mod diagnosis;
#[path = "../transcript/event.rs"]
mod event;
mod model;
#[cfg(feature = "tokio")]
mod net;
mod oracles;
mod preflight;
mod properties;
mod samples;
mod sasl;
#[cfg(feature = "diagnosis")]
mod settings;
mod sizes;
#[cfg(feature = "sandbox")]
mod tls;
