//! An asynchronous SMTP client engine.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod error;
#[cfg(feature = "message")]
pub mod message;
#[cfg(feature = "tokio")]
pub mod net;
pub mod proto;
#[cfg(feature = "sandbox")]
pub mod sandbox;

pub use error::{Category, Error, Party, Progress, Stage};
#[cfg(feature = "tokio")]
pub use net::client::{Client, Delivery};
#[cfg(feature = "tokio")]
pub use net::config::ClientConfig;
pub use proto::address::{AddressError, Domain, Mailbox, ReversePath};
pub use proto::body::{BareNewlines, Content, ContentError};
pub use proto::config::Security;
pub use proto::params::{Param, ParamError, Params};
pub use proto::reply::{Code, EnhancedCode, Reply};
pub use proto::sasl::{Credentials, CredentialsError};
pub use proto::transaction::{
    Body, Commitment, Encoding, Envelope, Outcome, Recipient, Streamed, Verdict,
};
