//! A server for tests: it accepts mail, says what came, and can be told to misbehave.
//!
//! It listens on loopback, needs nothing installed, and makes its own certificate. Whoever sends
//! mail by any library can test against it: what was received can be read and awaited, and each
//! thing that goes wrong with real servers can be made to happen at the step where it matters.
//!
//! ```no_run
//! use ehlo::sandbox::{Options, Sandbox};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::start(
//!     Options::default()
//!         .with_refused_recipient("nobody@example.org", "550 5.1.1 no such user".parse()?)
//!         .with_fault("close@body#2".parse()?),
//! )
//! .await?;
//!
//! // … send mail to `sandbox.address()`, as `alice` with `password`, trusting
//! // `sandbox.certificate_pem()` …
//!
//! let received = sandbox.wait_for(1).await;
//! assert_eq!(received[0].recipients, ["bob@example.org"]);
//! # Ok(())
//! # }
//! ```
//!
//! [`Session`] is the server without its sockets: octets in, octets and [`Action`]s out. It shares no
//! code with this crate's client but the reply code, reads strictly (a message ends at CRLF, dot,
//! CRLF and at nothing else), and so serves as the other side in tests of the engine itself.

mod answer;
mod command;
mod content;
mod fault;
mod listen;
mod login;
mod options;
mod plan;
mod received;
mod session;
mod tls;
mod transaction;
mod voice;

pub use answer::{Answer, AnswerError};
pub use fault::{Act, Fault, FaultError, Quirk, Step};
pub use listen::Sandbox;
pub use options::{
    Account, Auth, CertificateOptions, ClearAuth, Contents, Extension, LineEnds, Options, TlsMode,
    Validity,
};
pub use plan::Plan;
pub use received::{Counters, Happening, Line, Received, Transfer};
pub use session::{Session, Tally};
pub use voice::Action;

#[cfg(test)]
mod tests;
