//! A server for tests: it accepts mail, says what came, and can be told to misbehave.
//!
//! It listens on loopback, needs nothing installed, and makes its own certificate. Whoever sends
//! mail by any library can test against it: what was received can be read and awaited, and each
//! thing that goes wrong with real servers can be made to happen at the step where it matters.
//!
//! A whole unit test, of a function that tells two readers of a new post:
//!
//! ```
//! use ehlo::sandbox::{Options, Sandbox};
//! # use ehlo::net::TlsOptions;
//! # use ehlo::{BareNewlines, Client, ClientConfig, Content, Credentials, Envelope, Mailbox};
//! # use ehlo::{Outcome, Security};
//! # type Error = Box<dyn std::error::Error>;
//! # async fn tell_readers(config: ClientConfig, post: &str) -> Result<Outcome, Error> {
//! #     let client = Client::connect(config).await?;
//! #     let readers: Vec<Mailbox> = vec!["bob@example.org".parse()?, "gone@example.org".parse()?];
//! #     let envelope = Envelope::new("blog@example.com".parse::<Mailbox>()?, readers);
//! #     let message = format!("Subject: {post}\r\n\r\nIt is there.\r\n");
//! #     let message = Content::check(message, BareNewlines::Reject)?;
//! #     let outcome = client.send(envelope, message).await;
//! #     client.close().await?;
//! #     Ok(outcome)
//! # }
//!
//! // In a `#[tokio::test]`:
//! async fn a_reader_who_is_gone_does_not_keep_the_other_from_reading() -> Result<(), Error> {
//!     let gone = "550 5.1.1 no such user".parse()?;
//!     let options = Options::default().with_refused_recipient("gone@example.org", gone);
//!     let sandbox = Sandbox::start(options).await?;
//!
//!     let trust = TlsOptions::default().with_ca_pem(sandbox.certificate_pem().as_bytes())?;
//!     let config = ClientConfig::new("localhost", Security::StartTls)
//!         .with_port(sandbox.address().port())
//!         .with_tls(trust)
//!         .with_credentials(Credentials::password("alice", "password")?);
//!     tell_readers(config, "Spring").await?;
//!
//!     let received = sandbox.wait_for(1).await;
//!     assert_eq!(received[0].recipients, ["bob@example.org"]);
//!     assert!(received[0].content.starts_with(b"Subject: Spring\r\n"));
//!     assert_eq!(received[0].authenticated.as_deref(), Some("alice"));
//!     Ok(())
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! #     a_reader_who_is_gone_does_not_keep_the_other_from_reading().await
//! # }
//! ```
//!
//! What a bad day looks like is a [`Fault`], or several:
//!
//! ```
//! use ehlo::sandbox::{Act, Fault, Options, Step};
//!
//! let options = Options::default()
//!     // The second message is lost on the way back: was it received or not?
//!     .with_fault(Fault::nth(Step::Body, 2, Act::Close))
//!     // As text, for a command line or a table of cases.
//!     .with_fault("delay@rcpt=0.2".parse()?);
//! # Ok::<(), ehlo::sandbox::FaultError>(())
//! ```
//!
//! What a client does against the rules, without a server that would say so, is listed by
//! [`Sandbox::violations`]: a test of a client may ask that there is nothing.
//!
//! [`Session`] is the server without its sockets: octets in, octets and [`Action`]s out. It shares no
//! code with this crate's client but the reply code, reads strictly (a message ends at CRLF, dot,
//! CRLF and at nothing else, unless [`LineEnds`] says otherwise), and so serves as the other side in
//! tests of the engine itself.
//!
//! Reading order: `options` and `fault` (what can be asked for), `session` (the dialogue), `terms`
//! (what is on offer at one point of it), `command` and `content` (what is read), `login` (one file
//! for each mechanism), `voice` (what is said), then `listen` and `tls`.

mod answer;
mod command;
mod content;
mod fault;
mod listen;
mod login;
mod options;
mod parameters;
mod plan;
mod quota;
mod received;
pub mod script;
mod session;
mod socket;
mod tally;
mod terms;
mod tls;
mod tls_fault;
mod transaction;
mod violation;
mod voice;

pub use answer::{Answer, AnswerError};
pub use fault::{Act, Fault, FaultError, Quirk, Step};
pub use listen::Sandbox;
#[cfg(feature = "cli")]
pub(crate) use login::scram;
pub use login::{Mechanism, MechanismError, TlsFacts};
pub use options::{
    Account, Auth, CertificateOptions, ClearAuth, Contents, Extension, LineEnds, Options, TlsMode,
    TlsVersions, Validity,
};
pub use plan::Plan;
pub use received::{Counters, Happening, Line, Received, Transfer};
pub use session::Session;
pub use tally::Tally;
pub use tls::ClientCertificate;
pub use tls_fault::{CertificateFault, TlsFault};
pub use violation::Violation;
pub use voice::Action;

#[cfg(test)]
mod tests;
