//! The engine.
//!
//! What is absent here, and held absent by a test: sockets, clocks, tasks, threads, files, the
//! environment, randomness, logging, and `async`. Time comes in as an argument, octets go in and
//! out, and everything else is an [`Event`].

pub(crate) mod address;
mod answers;
mod auth;
pub(crate) mod body;
mod command;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod dialogue;
pub(crate) mod dsn;
pub(crate) mod event;
pub(crate) mod extensions;
mod fault;
mod framing;
mod grammar;
mod handshake;
mod labels;
pub(crate) mod limits;
mod link;
pub(crate) mod notice;
mod ongoing;
mod output;
pub(crate) mod params;
mod pipeline;
pub(crate) mod preflight;
mod refusal;
pub(crate) mod reply;
pub(crate) mod sasl;
pub(crate) mod schedule;
pub(crate) mod session;
mod status;
mod stream;
pub(crate) mod timer;
pub(crate) mod transaction;

pub use body::{ContentFacts, Scanner};
pub use config::{
    BehindMessage, Chunking, Config, Context, InitialResponse, Limits, Login, Pipelining,
    PlaintextAuth, Protocol, SmtpUtf8, Unadvertised,
};
pub use connection::{BodyWriter, Connection};
pub use dialogue::{Entry, Observer};
pub use event::{Event, Stats};
pub use extensions::Extensions;
pub use limits::ServerLimits;
pub use notice::Notice;
pub use preflight::{Effect, Need, Shortfall, preflight};
pub use reply::Class;
pub use sasl::{MechanismName, MechanismNameError};
pub use session::{
    Certificate, ChannelBinding, Session, TlsSession, TransportError, TransportErrorKind,
    Verification,
};
pub use status::StatusMeaning;
pub use timer::Timeouts;
pub use transaction::{SubmitError, SubmitProblem, TransactionId};
