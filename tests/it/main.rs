//! Integration tests: one binary, a module a subject.

mod architecture;
mod bench;
#[cfg(all(feature = "diagnosis", feature = "sandbox"))]
mod check;
#[cfg(feature = "cli")]
mod cli;
mod connection;
#[cfg(all(feature = "sandbox", feature = "diagnosis"))]
mod diagnosis;
mod dialogue;
#[path = "../transcript/event.rs"]
mod event;
mod model;
#[cfg(feature = "tokio")]
mod net;
mod oracles;
mod preflight;
mod properties;
mod recipients;
mod reference;
mod rules;
mod samples;
mod sasl;
mod seeds;
#[cfg(feature = "diagnosis")]
mod settings;
#[cfg(feature = "sandbox")]
mod simulation;
mod sizes;
#[cfg(all(feature = "sandbox", feature = "tokio"))]
mod strict;
#[path = "../../fuzz/src/targets.rs"]
mod targets;
#[cfg(feature = "sandbox")]
mod tls;
