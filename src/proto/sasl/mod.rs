//! SASL (RFC 4422, RFC 4954): credentials, and the client's side of each mechanism.
//!
//! Which mechanism is used is decided in `auth`; how it talks is a file of its own here.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

mod bearer;
mod cram_md5;
mod credentials;
mod external;
mod login;
mod nonce;
mod plain;
mod scram;

use super::config::Limits;
use super::session::ChannelBinding;
use credentials::Kind;
pub use credentials::{Credentials, CredentialsError};
pub(crate) use nonce::Nonces;

/// The name of a SASL mechanism, in upper case: any name of RFC 4422's grammar, whether or not the
/// engine knows the mechanism.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MechanismName(Cow<'static, str>);

impl MechanismName {
    /// RFC 7677, bound to the TLS session: the password does not travel, the server proves that it
    /// knows it, and nobody can sit in between.
    pub const SCRAM_SHA_256_PLUS: Self = Self(Cow::Borrowed("SCRAM-SHA-256-PLUS"));
    /// RFC 7677: the password does not travel, and the server proves that it knows it.
    pub const SCRAM_SHA_256: Self = Self(Cow::Borrowed("SCRAM-SHA-256"));
    /// RFC 7628: an OAuth 2.0 bearer token.
    pub const OAUTHBEARER: Self = Self(Cow::Borrowed("OAUTHBEARER"));
    /// Google's forerunner of OAUTHBEARER, and all that Microsoft has.
    pub const XOAUTH2: Self = Self(Cow::Borrowed("XOAUTH2"));
    /// RFC 4422 appendix A: the identity is that of the TLS client certificate.
    pub const EXTERNAL: Self = Self(Cow::Borrowed("EXTERNAL"));
    /// RFC 4616: name and password in one message.
    pub const PLAIN: Self = Self(Cow::Borrowed("PLAIN"));
    /// Never standardised, and offered everywhere: name, then password.
    pub const LOGIN: Self = Self(Cow::Borrowed("LOGIN"));
    /// RFC 2195: a digest of the password.
    pub const CRAM_MD5: Self = Self(Cow::Borrowed("CRAM-MD5"));

    /// The mechanisms that the engine knows, the preferred first.
    ///
    /// PLAIN and LOGIN go before CRAM-MD5: they are used in TLS only, which hides the password
    /// better than MD5 does, while CRAM-MD5 needs a server that stores passwords in clear, and is
    /// refused by one that lists it without having them. In clear the order gives way to what is
    /// seen on the wire: see [`PlaintextAuth`](crate::proto::PlaintextAuth).
    pub fn by_strength() -> Vec<Self> {
        vec![
            Self::SCRAM_SHA_256_PLUS,
            Self::SCRAM_SHA_256,
            Self::OAUTHBEARER,
            Self::XOAUTH2,
            Self::EXTERNAL,
            Self::PLAIN,
            Self::LOGIN,
            Self::CRAM_MD5,
        ]
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the engine has this mechanism.
    pub fn is_known(&self) -> bool {
        self.known().is_some()
    }

    pub(crate) fn known(&self) -> Option<Known> {
        Some(match self.as_str() {
            "SCRAM-SHA-256-PLUS" => Known::ScramSha256Plus,
            "SCRAM-SHA-256" => Known::ScramSha256,
            "OAUTHBEARER" => Known::OAuthBearer,
            "XOAUTH2" => Known::XOAuth2,
            "EXTERNAL" => Known::External,
            "PLAIN" => Known::Plain,
            "LOGIN" => Known::Login,
            "CRAM-MD5" => Known::CramMd5,
            _ => return None,
        })
    }
}

impl FromStr for MechanismName {
    type Err = MechanismNameError;

    fn from_str(text: &str) -> Result<Self, MechanismNameError> {
        let valid = (1..=20).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !valid {
            return Err(MechanismNameError(text.chars().take(40).collect()));
        }
        Ok(Self(Cow::Owned(text.to_ascii_uppercase())))
    }
}

impl fmt::Display for MechanismName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MechanismName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no mechanism name (RFC 4422 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MechanismNameError(String);

impl fmt::Display for MechanismNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not the name of a SASL mechanism", self.0)
    }
}

impl std::error::Error for MechanismNameError {}

/// A mechanism that the engine has: a file of its own, a name in [`MechanismName::by_strength`], and
/// an arm of each match here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    ScramSha256Plus,
    ScramSha256,
    OAuthBearer,
    XOAuth2,
    External,
    Plain,
    Login,
    CramMd5,
}

/// What somebody who listens learns of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exposure {
    /// Nothing, or no more than a salted and slow hash gives away (RFC 7677 §4).
    Hidden,
    /// What a weak password can be guessed from at the speed of MD5.
    Guessable,
    /// The secret.
    Shown,
    /// A bearer token, which is all that its finder needs: within TLS alone (RFC 7628 §3).
    Barred,
}

impl Known {
    pub(crate) fn exposure(self) -> Exposure {
        match self {
            Self::ScramSha256Plus | Self::ScramSha256 | Self::External => Exposure::Hidden,
            Self::CramMd5 => Exposure::Guessable,
            Self::Plain | Self::Login => Exposure::Shown,
            Self::OAuthBearer | Self::XOAuth2 => Exposure::Barred,
        }
    }

    pub(crate) fn takes(self, credentials: &Credentials) -> bool {
        let needed = match self {
            Self::ScramSha256Plus
            | Self::ScramSha256
            | Self::Plain
            | Self::Login
            | Self::CramMd5 => Kind::Password,
            Self::OAuthBearer | Self::XOAuth2 => Kind::Token,
            Self::External => Kind::External,
        };
        credentials.kind() == needed
    }

    /// The client's side of an exchange.
    pub(crate) fn begin(
        self,
        credentials: &Credentials,
        binding: Binding,
        nonces: &mut Nonces,
        limits: &Limits,
    ) -> Box<dyn Mechanism> {
        match self {
            Self::ScramSha256Plus | Self::ScramSha256 => {
                let most = limits.scram_iterations;
                Box::new(scram::Scram::new(credentials, binding, nonces.next(), most))
            }
            Self::OAuthBearer => Box::new(bearer::Bearer::oauthbearer(credentials)),
            Self::XOAuth2 => Box::new(bearer::Bearer::xoauth2(credentials)),
            Self::External => Box::new(external::External::new(credentials)),
            Self::Plain => Box::new(plain::Plain::new(credentials)),
            Self::Login => Box::new(login::Login::new(credentials)),
            Self::CramMd5 => Box::new(cram_md5::CramMd5::new(credentials)),
        }
    }
}

/// What SCRAM says of channel binding (the gs2-cbind-flag of RFC 5802 §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// `n`: the client cannot bind.
    Unable,
    /// `y`: it could, but does not see that the server can. A server that can knows by this that
    /// somebody has changed its offer.
    NotOffered,
    /// `p`: it does, with this.
    Bound(ChannelBinding),
}

/// One SASL exchange, from the client's side.
pub(crate) trait Mechanism: Send {
    /// Who speaks first.
    fn starts(&self) -> Starts;

    /// The answer to a challenge. An initial response is the answer to none, given as empty.
    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, MechanismError>;

    /// Whether a response was made of the secret, so that the server could judge it by now.
    fn has_used_secret(&self) -> bool;

    /// The server says that the exchange has succeeded: whether the client agrees. `data` is what
    /// the reply's text holds in base64, if anything; RFC 4954 has no place for it, and some
    /// servers put the last word of SCRAM there.
    fn succeeded(&mut self, _data: Option<&[u8]>) -> Result<(), MechanismError> {
        Ok(())
    }

    /// What the server has said of a refusal that is still to come.
    fn reason(&self) -> Option<&str> {
        None
    }
}

/// Who speaks first in a SASL exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starts {
    Client,
    /// The server, though most let the client do so.
    Either,
    /// The server, with a challenge that cannot be answered before it came.
    Server,
}

/// A challenge that the mechanism has no answer to, or a proof that does not hold: what the server
/// did, as in "the server …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MechanismError(pub(crate) &'static str);

impl MechanismError {
    pub(crate) const UNEXPECTED: Self = Self("sent a challenge that the mechanism has not");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preferred_mechanism_is_one_that_the_engine_has() {
        let names = MechanismName::by_strength();
        assert_eq!(names.len(), 8);
        for name in names {
            assert!(name.is_known(), "{name}");
            assert_eq!(name.as_str().to_lowercase().parse(), Ok(name));
        }
        let other: MechanismName = "x-other_1".parse().unwrap();
        assert!(!other.is_known());
        assert_eq!(format!("{other} {other:?}"), "X-OTHER_1 X-OTHER_1");
    }

    #[test]
    fn the_name_of_a_mechanism_has_one_to_twenty_letters() {
        assert!("A".repeat(20).parse::<MechanismName>().is_ok());
        for text in ["", "A B", "PLAIN\r", "ÄPFEL", &"A".repeat(21)] {
            let error = text.parse::<MechanismName>().unwrap_err();
            let said = format!("{text:?} is not the name of a SASL mechanism");
            assert_eq!(error.to_string(), said);
        }
    }

    /// On it depends whether another mechanism may be tried with the same secret.
    #[test]
    fn a_mechanism_knows_when_the_server_could_judge_the_secret() {
        let password = Credentials::password("alice", "secret").unwrap();
        let token = Credentials::token("alice", "secret").unwrap();
        for (known, credentials, challenges) in [
            (Known::Plain, &password, &[""][..]),
            (Known::Login, &password, &["Username:", "Password:"]),
            (Known::CramMd5, &password, &["<1@x>"]),
            (Known::OAuthBearer, &token, &[""]),
            (Known::XOAuth2, &token, &[""]),
        ] {
            let mut nonces = Nonces::new([7; 32]);
            let limits = Limits::default();
            let mut mechanism = known.begin(credentials, Binding::Unable, &mut nonces, &limits);
            for challenge in challenges {
                assert!(!mechanism.has_used_secret(), "{known:?} before {challenge}");
                mechanism.respond(challenge.as_bytes()).unwrap();
            }
            assert!(mechanism.has_used_secret(), "{known:?}");
        }
        let external = Credentials::external("alice").unwrap();
        let mut external = external::External::new(&external);
        external.respond(b"").unwrap();
        assert!(!external.has_used_secret(), "it has none");
    }
}
