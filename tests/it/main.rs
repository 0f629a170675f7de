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
mod reference;
mod rules;
mod samples;
mod sasl;
mod seeds;
#[cfg(feature = "sandbox")]
mod simulation;
mod sizes;
#[path = "../../fuzz/src/targets.rs"]
mod targets;
#[cfg(feature = "sandbox")]
mod tls;
