//! SASL (RFC 4422, RFC 4954): credentials, the mechanisms, and which of them is used.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

mod login;
mod plain;

/// The name of a SASL mechanism, in upper case: any name of RFC 4422's grammar, whether or not the
/// engine knows the mechanism.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MechanismName(Cow<'static, str>);

impl MechanismName {
    /// RFC 4616: name and password in one message.
    pub const PLAIN: Self = Self(Cow::Borrowed("PLAIN"));
    /// Never standardised, and offered everywhere: name, then password.
    pub const LOGIN: Self = Self(Cow::Borrowed("LOGIN"));

    /// The mechanisms that the engine knows, the preferred first.
    pub fn by_strength() -> Vec<Self> {
        vec![Self::PLAIN, Self::LOGIN]
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the engine has this mechanism.
    pub fn is_known(&self) -> bool {
        Self::by_strength().contains(self)
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

/// One SASL exchange, from the client's side. A mechanism is a file of its own, a name in
/// [`MechanismName::by_strength`], and an arm of [`begin`].
pub(crate) trait Mechanism: Send {
    /// Who speaks first.
    fn starts(&self) -> Starts;

    /// The answer to a challenge. An initial response is the answer to none, given as empty.
    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, MechanismError>;

    /// The server says that the exchange has succeeded: whether the client agrees.
    fn succeeded(&mut self) -> Result<(), MechanismError> {
        Ok(())
    }
}

/// Who speaks first in a SASL exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starts {
    Client,
    /// The server, though most let the client do so.
    Either,
}

/// A challenge that the mechanism has no answer to, or a proof that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MechanismError;

/// The exchange of a known mechanism; `None` for one that the engine does not have.
pub(crate) fn begin(name: &MechanismName, credentials: &Credentials) -> Option<Box<dyn Mechanism>> {
    match name.as_str() {
        "PLAIN" => Some(Box::new(plain::Plain::new(credentials))),
        "LOGIN" => Some(Box::new(login::Login::new(credentials))),
        _ => None,
    }
}

/// What to log in with. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// A user name and a password.
    ///
    /// # Errors
    /// A control character in either (RFC 4616 forbids NUL, RFC 4013 all of them): mostly the line
    /// end of the file it was read from.
    pub fn password(
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Result<Self, CredentialsError> {
        let (username, password) = (username.into(), password.into());
        if username.is_empty() || username.chars().any(char::is_control) {
            return Err(CredentialsError::Username);
        }
        if password.chars().any(char::is_control) {
            return Err(CredentialsError::Password);
        }
        Ok(Self { username, password })
    }

    /// The user name.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// What must not be seen.
    pub(crate) fn secret(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Credentials that no mechanism can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The user name is empty or has a control character.
    Username,
    /// The password has a control character.
    Password,
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "the user name is empty or has a control character",
            Self::Password => "the password has a control character, such as a line end",
        })
    }
}

impl std::error::Error for CredentialsError {}
