//! Integration tests: one binary, a module a subject.

mod architecture;
mod bench;
#[cfg(feature = "cli")]
mod cli;
#[path = "../transcript/event.rs"]
mod event;
mod model;
#[cfg(feature = "tokio")]
mod net;
mod oracles;
mod preflight;
mod properties;
mod rules;
mod samples;
mod sasl;
#[cfg(feature = "sandbox")]
mod simulation;
mod sizes;
#[cfg(feature = "sandbox")]
mod tls;
