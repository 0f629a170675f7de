//! An SMTP client engine: the protocol as a value without IO, a driver for tokio and rustls around
//! it, a server for tests, and a command line.
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn hello() -> Result<(), Box<dyn std::error::Error>> {
//! use ehlo::{BareNewlines, Client, ClientConfig, Content, Credentials, Envelope, Mailbox, Security};
//!
//! let config = ClientConfig::new("mail.example.org", Security::StartTls)
//!     .with_credentials(Credentials::password("alice", "secret")?);
//! let client = Client::connect(config).await?;
//!
//! let from: Mailbox = "alice@example.org".parse()?;
//! let to: Mailbox = "bob@example.com".parse()?;
//! let message = Content::check("Subject: Hello\r\n\r\nHello.\r\n", BareNewlines::Reject)?;
//! let outcome = client.send(Envelope::new(from, [to]), message).await;
//! for verdict in outcome.verdicts() {
//!     println!("{verdict:?}"); // one a recipient: accepted, refused, not sent, in doubt…
//! }
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to start
//!
//! - To send mail: `Client`, as above.
//!   Messages submitted by many tasks to clones of one client share its connection and its round
//!   trips.
//! - To send much mail, or now and then over a long time: `Pool`, which opens connections as they are
//!   needed and uses them again; it also takes a stream of messages.
//! - To connect with settings that somebody typed into a form: the `settings` module, which says all
//!   that is wrong with them at once, and the `providers` module, which knows what mail providers want.
//! - To try such settings, or to find some: the `check` module. Where customers choose the host, set a
//!   policy for addresses, so that they reach no machine of your own network.
//! - To drive the protocol over sockets of your own: [`proto::Connection`]. The example
//!   `blocking.rs` does so without a runtime.
//! - To test code that sends mail: the `sandbox` module, a server that can be told to misbehave.
//! - Every failure is an [`Error`]: its [`Category`] and [`Stage`] are a contract, its
//!   [`hint`](Error::hint) says what to do next, its [`evidence`](Error::evidence) is what was seen.
//!   The `diagnosis` module says more of it to people: likely causes, advice, and settings to use
//!   instead.
//!
//! # Layers
//!
//! A module names only modules to its left; a test holds that wall.
//!
//! ```text
//! reply, error ◀─ the rest of proto ◀─ { net, sandbox, message } ◀─ providers ◀─ settings ◀─ diagnosis
//!     ◀─ check ◀─ cli, and of the sandbox alone: conformance ◀─ cli
//! ```
//!
//! | module | in it |
//! | --- | --- |
//! | `error` | the one error type, its categories and stages |
//! | [`proto`] | the engine: no sockets, clocks, tasks or random source |
//! | `net` | resolving, dialling, proxies, TLS, and one future for each connection |
//! | `sandbox` | a server session as a value, its misbehaviour, and a listener |
//! | `message` | a small composer |
//! | `providers` | what mail providers want of a client, as data |
//! | `settings` | the fields of a settings form, and a client's configuration made of them |
//! | `diagnosis` | what an error most likely means, and what to change |
//! | `check` | the connection check, step by step, and the search for settings that work |
//! | `conformance` | the transcripts, played against other programs |
//! | `cli` | the `ehlo` program: options and reports, no protocol |
//!
//! Within `proto`, from the outside in: `connection` (the public value) forwards to `handshake`
//! (greeting to ready) with `auth` and `sasl` (the mechanisms), and to `pipeline` (what is sent, by DATA
//! or BDAT) with `answers` (what the replies mean, one a recipient where LMTP is spoken), `ongoing` (one
//! transaction), `preflight` (what a message needs of the session), `limits` (LIMITS, and what is used
//! up of them) and `stream` (a body in pieces). All speak through `link`: the queue of expected
//! replies, the clocks, the events, among them a `notice` of what else is worth knowing. `params`,
//! `dsn` and `schedule` are the parameters of MAIL and RCPT. `framing` and `grammar` turn octets into
//! replies, `command` and `body` write octets to `output`, `refusal` and `fault` turn what went wrong
//! into errors, `evidence` is what they know of it as data, `dialogue` shows it all to people, and
//! `status` says what enhanced codes mean.
//!
//! Within `net`: `client` (the handle) and `driver` (the future) share `shared`; `rounds` makes several
//! transactions of one message; `route` (the ways: TCP, a Unix socket, a `proxy` asked by `tunnel`) has
//! `resolve`, `policy` (which addresses are allowed) and `connect`; `tls`, `handshake`, `verify` and
//! `failed` (why there is no TLS) are TLS over a `transport`.
//!
//! What becomes of an extension that a server lists and does not have is a table in [`proto`].
//!
//! # What always holds
//!
//! - Each submission gets exactly one `Finished` event with a verdict for every recipient; `Closed`
//!   comes once, and last.
//! - A recipient is *in doubt* if and only if the end of the message was sent and its reply is not
//!   complete. *Not sent* means that another try cannot make a duplicate.
//! - A reply is paired with the command it answers, or ends the session; it is never carried over.
//! - Events and octets do not depend on how the peer's octets were cut into pieces.
//! - Octets once queued are never withdrawn but by closing.
//! - No command, name or parameter can hold a line end. No password travels in clear unless that
//!   was allowed, and none appears in an error, a trace or `Debug`.
//! - What a peer can make the engine keep is bounded, and every wait for a peer has a deadline.
//!
//! # Round trips
//!
//! What one message takes from the greeting to QUIT, with a log-in by PLAIN and PIPELINING on offer;
//! the round trips of TCP and TLS come before. Each line is one flight, and waits for the replies to
//! the one before:
//!
//! | flight | why it cannot be spared |
//! | --- | --- |
//! | EHLO | the greeting comes first, and EHLO ends a group (RFC 2920 §3.1): until its reply nothing is on offer |
//! | AUTH PLAIN with its response | a command of an extension ends a group, unless that says otherwise (RFC 2920 §3.1); without the initial response (RFC 4954 §4) it would be two |
//! | MAIL, RCPT…, DATA | DATA ends a group: the message waits for 354 |
//! | the message, QUIT | QUIT ends the session, and its reply is not waited for ([`Connection::quit`](proto::Connection::quit)) |
//!
//! So it is four flights inside implicit TLS (RFC 8314 §3.3). With CHUNKING the last two are one, since
//! BDAT waits for no invitation (RFC 3030 §2): three. STARTTLS takes two more: an EHLO in clear, and the
//! command itself, which ends its group and after which all that was said is forgotten (RFC 3207
//! §4.2). A test counts them at both ends. What follows on the same connection takes one flight a message.
//!
//! # Decisions worth knowing
//!
//! - **One round trip a message.** With PIPELINING the end of one message and the envelope of the
//!   next travel together (RFC 2920 §3.1); with CHUNKING an envelope and its message do, up to a
//!   size, once the server is known to let us in. A server that refuses what begins behind an unanswered
//!   message (Haraka: 503) gets it again in step, and the session remembers.
//! - **RSET is sent as soon as a transaction comes to nothing**, not when the next one begins: an
//!   idle connection then holds nothing, and with PIPELINING it costs no round trip. Before QUIT it
//!   is left out.
//! - **QUIT may follow the message**, and nothing depends on its answer: any reply, an end or five
//!   seconds of silence are success.
//! - **Recipients that need SMTPUTF8 where it is not on offer are left out one by one**; the others
//!   get the message.
//! - **What a message needs and a session lacks is one list**, [`proto::preflight`]: the engine judges
//!   by it before MAIL, and whoever wants to know beforehand asks for it. A parameter whose extension
//!   is not on offer is left out and told of, or keeps the message from being sent, as its
//!   [`Weight`] says; it is never sent.
//! - **Too many recipients are several transactions of one message**: `Client` spreads them as the
//!   server's LIMITS say, and sends again to those who were put off, as long as each round was of
//!   use to somebody. A streamed body is not sent twice: those recipients stay put off. QUIT then
//!   waits for the verdicts.
//! - **A pool asks nothing to find out whether a connection is alive.** Its end is seen when it comes;
//!   what it has kept from being sent goes by another one, once, and what is in doubt does not.
//!   Messages share a connection before another is opened, since that costs as many round trips as
//!   some messages do; a connection is shared by equal configurations alone.
//! - **`<` and `>` are refused in addresses even within quotes**, where the grammar has them: nobody
//!   uses them, and servers that search for the path's end can be led astray.
//! - **The strongest mechanism that the credentials allow is used, and no second one with the same
//!   secret**: SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN and CRAM-MD5 for a password; OAUTHBEARER
//!   and XOAUTH2 for a token; EXTERNAL for a client certificate. In clear only SCRAM is used unasked.
//!   A server that cannot prove by SCRAM that it knows the password is not believed.
//! - **Control characters are refused in credentials**; every other character is a password's own
//!   business, since SASL carries it in base64.
//! - **A failed TLS handshake, and an end right after it, are `tls` failures of the stage
//!   `handshake`**: with TLS 1.3 a client is done before the server has judged its certificate.
//! - **A way is never replaced by another.** A proxy that fails is an error of the stage `connect`,
//!   not a reason to go without it. Its user and password are refused where they have a control
//!   character, and the host it is asked for is an address or a plain name in ASCII.
//! - **The policy for addresses judges what a name has resolved to**, and the connection goes to what
//!   was judged. It is for the server's host, which customers may choose, and not for the proxy, which
//!   the operator chooses; behind a proxy the name is then looked up here, and the proxy is given
//!   the address.
//! - **CONNECT is written here, SOCKS5 is not**: `tokio-socks` reads exactly its replies, while the
//!   CONNECT of `hyper-util` loses what a server says at once, and an SMTP server speaks first.
//! - **Settings are what was typed, an account is what can be used**: a field that is wrong does not
//!   keep the others from being judged. What would work but is likely not meant is a warning; a password
//!   in clear is a problem, as the engine would refuse it later.
//! - **What providers want is data, with the page where it was found**; what was not found is left out.
//! - **Words that only the engine knows are closed enums; words of registries are not**: EHLO
//!   keywords, SASL mechanisms, parameters and enhanced status codes are kept as they come.
//!
//! # Features
//!
//! `tokio` (the driver), `tls` (STARTTLS and implicit TLS by rustls), `aws-lc-rs` (its crypto
//! provider) and `idna` (domains beyond ASCII as A-labels) are on by default; `ring` is the other
//! provider; `sandbox`, `message`, `tracing` and `cli` add what their names say, `diagnosis` adds
//! `providers`, `settings`, `diagnosis` and `check`, and `discover` the search for settings. Without
//! any, the engine alone is built, with neither tokio nor rustls.

#[cfg(feature = "diagnosis")]
pub mod check;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
mod conformance;
#[cfg(feature = "diagnosis")]
pub mod diagnosis;
mod error;
#[cfg(feature = "message")]
pub mod message;
#[cfg(feature = "tokio")]
pub mod net;
pub mod proto;
#[cfg(feature = "diagnosis")]
pub mod providers;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "diagnosis")]
pub mod settings;

pub use error::{Category, Error, Party, Progress, Stage};
#[cfg(feature = "tokio")]
pub use net::client::{Client, Delivery};
#[cfg(feature = "tokio")]
pub use net::config::ClientConfig;
#[cfg(feature = "tokio")]
pub use net::pool::Pool;
pub use proto::address::{AddressError, Domain, Mailbox, ReversePath};
pub use proto::body::{BareNewlines, Content, ContentError};
pub use proto::config::Security;
pub use proto::dsn::{EnvelopeId, Notify, Occasion, OriginalRecipient, Return};
pub use proto::params::{Param, ParamError, Params, Weight};
pub use proto::reply::{Code, EnhancedCode, Reply};
pub use proto::sasl::{Credentials, CredentialsError};
pub use proto::schedule::{DeliverBy, Hold, Late, Priority};
pub use proto::transaction::{
    Body, Commitment, Encoding, Envelope, Outcome, Recipient, Streamed, Verdict,
};

/// The README's examples are compiled as this one's are.
#[cfg(all(doctest, feature = "diagnosis"))]
#[doc = include_str!("../README.md")]
mod readme {}
