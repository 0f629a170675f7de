//! The server's side of AUTH: the exchange of each mechanism.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::options::Account;
use super::plan::Plan;

mod bearer;
mod cram_md5;
pub(crate) mod scram;

use bearer::Form;
use cram_md5::CramMd5;
use scram::{Opened, Scram};

/// The SASL mechanisms that a sandbox has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN.
    Login,
    /// CRAM-MD5 (RFC 2195).
    CramMd5,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-256-PLUS, bound by tls-exporter (RFC 9266) with TLS 1.3, else by
    /// tls-server-end-point. On offer inside TLS only.
    ScramSha256Plus,
    /// OAUTHBEARER (RFC 7628).
    OAuthBearer,
    /// XOAUTH2.
    XOAuth2,
    /// EXTERNAL (RFC 4422 appendix A): the name is the common name of the client's certificate. On
    /// offer to clients that have shown one; see
    /// [`Sandbox::client_certificate`](super::Sandbox::client_certificate).
    External,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Plain,
        Self::Login,
        Self::CramMd5,
        Self::ScramSha256,
        Self::ScramSha256Plus,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::External,
    ];

    /// The name in AUTH.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::External => "EXTERNAL",
        }
    }
}

impl FromStr for Mechanism {
    type Err = MechanismError;

    fn from_str(text: &str) -> Result<Self, MechanismError> {
        let named = |mechanism: &Self| mechanism.as_str().eq_ignore_ascii_case(text);
        let found = Self::ALL.into_iter().find(named);
        found.ok_or_else(|| MechanismError(text.chars().take(40).collect()))
    }
}

/// A mechanism that a sandbox has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MechanismError(String);

impl fmt::Display for MechanismError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Mechanism::ALL.map(Mechanism::as_str).join(", ");
        write!(f, "there is no mechanism '{}'; there are {names}", self.0)
    }
}

impl std::error::Error for MechanismError {}

/// What a session may know of its TLS, for the mechanisms that depend on it. `Debug` shows no keys.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The exporter's value of RFC 9266, with TLS 1.3.
    pub exporter: Option<[u8; 32]>,
    /// The digest of the server's certificate (RFC 5929 §4).
    pub end_point: Option<Vec<u8>>,
    /// The common name of the client's certificate, if it has shown one.
    pub client: Option<String>,
}

impl fmt::Debug for TlsFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFacts")
            .field("exporter", &self.exporter.is_some())
            .field("end_point", &self.end_point.is_some())
            .field("client", &self.client)
            .finish()
    }
}

impl TlsFacts {
    /// The channel binding that the server takes, and its name.
    fn binding(&self) -> Option<(&'static str, &[u8])> {
        match (&self.exporter, &self.end_point) {
            (Some(exporter), _) => Some(("tls-exporter", exporter)),
            (None, Some(end_point)) => Some(("tls-server-end-point", end_point)),
            (None, None) => None,
        }
    }
}

/// What an exchange may look at.
#[derive(Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tls: &'a TlsFacts,
    pub(super) connection: u64,
}

impl<'a> Desk<'a> {
    /// Whether the mechanism is on offer on this connection.
    pub(super) fn offers(self, mechanism: Mechanism) -> bool {
        let possible = match mechanism {
            Mechanism::ScramSha256Plus => self.tls.binding().is_some(),
            Mechanism::External => self.tls.client.is_some(),
            Mechanism::Plain
            | Mechanism::Login
            | Mechanism::CramMd5
            | Mechanism::ScramSha256
            | Mechanism::OAuthBearer
            | Mechanism::XOAuth2 => true,
        };
        possible && self.plan.options().mechanisms.contains(&mechanism)
    }

    fn account(self, name: &[u8]) -> Option<&'a Account> {
        let mut accounts = self.plan.options().accounts.iter();
        accounts.find(|account| account.name().as_bytes() == name)
    }

    fn check(self, name: &[u8], password: &[u8]) -> Next {
        let account = self.account(name);
        Next::of(account.filter(|account| account.is(name, password)))
    }
}

/// An exchange that waits for the client's next response.
#[derive(Debug)]
pub(super) enum Exchange {
    Plain,
    LoginName,
    LoginPassword {
        name: Vec<u8>,
    },
    CramMd5(CramMd5),
    ScramOpening(Scram),
    Scram(Opened),
    /// The server has proven itself: the client has nothing more to say.
    Proven {
        name: String,
    },
    Bearer(Form),
    /// The client was told why its token is refused.
    Explained(Form),
    External,
}

/// What follows from a response.
#[derive(Debug)]
pub(super) enum Next {
    /// Give this challenge, and go on with the exchange.
    Challenge(Exchange, Vec<u8>),
    /// The client is who it says: this name.
    Passed(String),
    Refused,
    /// It is refused, and the client did not acknowledge that as it has to.
    Unacknowledged,
    /// The client cancelled.
    Cancelled,
    /// The response is malformed.
    Malformed,
}

impl Next {
    fn of(account: Option<&Account>) -> Self {
        match account {
            Some(account) => Self::Passed(account.name().to_owned()),
            None => Self::Refused,
        }
    }
}

impl Exchange {
    /// The exchange of a mechanism, if it is on offer.
    pub(super) fn of(name: &str, desk: Desk<'_>) -> Option<Self> {
        let mechanism: Mechanism = name.parse().ok()?;
        if !desk.offers(mechanism) {
            return None;
        }
        Some(match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::LoginName,
            Mechanism::CramMd5 => Self::CramMd5(CramMd5::new(desk)),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                Self::ScramOpening(Scram::new(mechanism))
            }
            Mechanism::OAuthBearer => Self::Bearer(Form::OAuthBearer),
            Mechanism::XOAuth2 => Self::Bearer(Form::XOAuth2),
            Mechanism::External => Self::External,
        })
    }

    /// Takes an initial response, where `=` stands for an empty one (RFC 4954 §4).
    pub(super) fn start(self, initial: Option<&str>, desk: Desk<'_>) -> Next {
        match (initial, &self) {
            (None, _) => {
                let prompt = self.prompt();
                Next::Challenge(self, prompt)
            }
            // RFC 4954 §4: not for a mechanism in which the server speaks first.
            (Some(_), Self::CramMd5(_)) => Next::Malformed,
            (Some("="), _) => self.take("", desk),
            (Some(response), _) => self.take(response, desk),
        }
    }

    /// Takes a response.
    pub(super) fn take(self, response: &str, desk: Desk<'_>) -> Next {
        if response == "*" {
            return Next::Cancelled;
        }
        let Ok(octets) = BASE64_STANDARD.decode(response) else {
            return Next::Malformed;
        };
        match self {
            Self::Plain => plain(&octets, desk),
            Self::LoginName => Self::LoginPassword { name: octets }.ask(),
            Self::LoginPassword { name } => desk.check(&name, &octets),
            Self::CramMd5(exchange) => exchange.take(&octets, desk),
            Self::ScramOpening(exchange) => exchange.take(&octets, desk),
            Self::Scram(exchange) => exchange.take(&octets, desk),
            Self::Proven { name } if octets.is_empty() => Next::Passed(name),
            Self::Proven { .. } => Next::Malformed,
            Self::Bearer(form) => form.take(&octets, desk),
            Self::Explained(form) => form.refuse(&octets),
            Self::External => external(&octets, desk),
        }
    }

    fn ask(self) -> Next {
        let prompt = self.prompt();
        Next::Challenge(self, prompt)
    }

    /// What asks for the response.
    fn prompt(&self) -> Vec<u8> {
        match self {
            // As nearly every server says it.
            Self::LoginName => b"Username:".to_vec(),
            Self::LoginPassword { .. } => b"Password:".to_vec(),
            Self::CramMd5(exchange) => exchange.challenge().to_vec(),
            Self::Plain
            | Self::ScramOpening(_)
            | Self::Scram(_)
            | Self::Proven { .. }
            | Self::Bearer(_)
            | Self::Explained(_)
            | Self::External => Vec::new(),
        }
    }
}

/// `[authzid] NUL authcid NUL passwd`. To act for another than oneself is refused, as a wrong
/// password is.
fn plain(octets: &[u8], desk: Desk<'_>) -> Next {
    let mut fields = octets.split(|octet| *octet == 0);
    let (Some(identity), Some(name), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Next::Malformed;
    };
    if identity.is_empty() || identity == name {
        desk.check(name, password)
    } else {
        Next::Refused
    }
}

/// `[authzid]`: nobody, or the one that the certificate names.
fn external(octets: &[u8], desk: Desk<'_>) -> Next {
    match &desk.tls.client {
        Some(name) if octets.is_empty() || octets == name.as_bytes() => Next::Passed(name.clone()),
        Some(_) | None => Next::Refused,
    }
}
