//! What to log in with.

use std::fmt;

/// What to log in with. `Debug` does not show the secret.
///
/// ```
/// use ehlo::Credentials;
///
/// let by_password = Credentials::password("alice", "secret")?;
/// let by_token = Credentials::token("alice@example.org", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")?;
/// assert!(!format!("{by_password:?} {by_token:?}").contains("secret"));
/// # Ok::<(), ehlo::CredentialsError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    secret: Secret,
}

#[derive(Clone, PartialEq, Eq)]
enum Secret {
    Password(String),
    Token(String),
    /// The key of a client certificate, which the transport has.
    Elsewhere,
}

/// What kind of secret they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Password,
    Token,
    External,
}

impl Credentials {
    /// A user name and a password: for SCRAM, PLAIN, LOGIN and CRAM-MD5.
    ///
    /// SCRAM prepares both as RFC 5802 §2.2 says (SASLprep); the others send them as they are, since
    /// there the server does it (RFC 4616 §2).
    ///
    /// # Errors
    /// A control character in either (RFC 4616 forbids NUL, RFC 4013 all of them): mostly the line
    /// end of the file it was read from. Both together longer than a line of AUTH.
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
        fits_a_line(&username, &password)?;
        Ok(Self {
            username,
            secret: Secret::Password(password),
        })
    }

    /// A user name and an OAuth 2.0 access token (RFC 6750): for OAUTHBEARER and XOAUTH2.
    ///
    /// Tokens live for an hour or so. `Login::Ask` asks for one when it is needed, and once more
    /// when it was refused.
    ///
    /// # Errors
    /// A user name that is empty or has a control character; a token that is empty or has
    /// anything but visible ASCII characters. Both together longer than a line of AUTH.
    pub fn token(
        username: impl Into<String>,
        token: impl Into<String>,
    ) -> Result<Self, CredentialsError> {
        let (username, token) = (username.into(), token.into());
        if username.is_empty() || username.chars().any(char::is_control) {
            return Err(CredentialsError::Username);
        }
        if token.is_empty() || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(CredentialsError::Token);
        }
        fits_a_line(&username, &token)?;
        Ok(Self {
            username,
            secret: Secret::Token(token),
        })
    }

    /// The identity of the TLS client certificate: for EXTERNAL. `authzid` is whom to act for; empty,
    /// it is whom the certificate names.
    ///
    /// # Errors
    /// A control character; one longer than a line of AUTH.
    pub fn external(authzid: impl Into<String>) -> Result<Self, CredentialsError> {
        let username = authzid.into();
        if username.chars().any(char::is_control) {
            return Err(CredentialsError::Username);
        }
        fits_a_line(&username, "")?;
        Ok(Self {
            username,
            secret: Secret::Elsewhere,
        })
    }

    /// The user name; for EXTERNAL whom to act for.
    pub fn username(&self) -> &str {
        &self.username
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.secret {
            Secret::Password(_) => Kind::Password,
            Secret::Token(_) => Kind::Token,
            Secret::Elsewhere => Kind::External,
        }
    }

    /// What must not be seen; empty if there is nothing.
    pub(crate) fn secret(&self) -> &str {
        match &self.secret {
            Secret::Password(secret) | Secret::Token(secret) => secret,
            Secret::Elsewhere => "",
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("kind", &self.kind())
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
    /// The token is empty or has something else than visible ASCII characters.
    Token,
    /// User name and secret are longer than a line of AUTH may be (RFC 4954 §4).
    TooLong,
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "the user name is empty or has a control character",
            Self::Password => "the password has a control character, such as a line end",
            Self::Token => {
                "the token is empty or has a space, a line end or a character beyond ASCII"
            }
            Self::TooLong => {
                "user name and secret have more than 9000 octets, and so do not fit in a line of AUTH"
            }
        })
    }
}

impl std::error::Error for CredentialsError {}

fn fits_a_line(username: &str, secret: &str) -> Result<(), CredentialsError> {
    match username.len() + secret.len() <= LONGEST {
        true => Ok(()),
        false => Err(CredentialsError::TooLong),
    }
}

/// RFC 4954 §4: a line of AUTH has 12,288 octets of base64 at most, which are 9,216. The rest is for
/// what mechanisms add.
const LONGEST: usize = 9000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_mechanism_can_carry_is_refused_with_the_reason() {
        let password = |user: &str, secret: &str| Credentials::password(user, secret).err();
        let token = |user: &str, secret: &str| Credentials::token(user, secret).err();
        let external = |user: &str| Credentials::external(user).err();
        let long = "x".repeat(LONGEST - 5);
        for (refused, problem) in [
            (password("alice", &long), None),
            (
                password("alice", &format!("{long}y")),
                Some(CredentialsError::TooLong),
            ),
            (password("", "x"), Some(CredentialsError::Username)),
            (password("a\tb", "x"), Some(CredentialsError::Username)),
            (password("a", "x\r\n"), Some(CredentialsError::Password)),
            (token("alice", &long), None),
            (
                token("alice", &format!("{long}y")),
                Some(CredentialsError::TooLong),
            ),
            (token("", "x"), Some(CredentialsError::Username)),
            (token("a\0b", "x"), Some(CredentialsError::Username)),
            (token("alice", ""), Some(CredentialsError::Token)),
            (token("alice", "a b"), Some(CredentialsError::Token)),
            (token("alice", "é"), Some(CredentialsError::Token)),
            (external(""), None),
            (external("a\nb"), Some(CredentialsError::Username)),
            (
                external(&format!("alice{long}y")),
                Some(CredentialsError::TooLong),
            ),
        ] {
            assert_eq!(refused, problem);
        }
        let shown = format!(
            "{:?}",
            Credentials::password("alice", "five tables").unwrap()
        );
        assert!(
            shown.contains("alice") && !shown.contains("tables"),
            "{shown}"
        );
        let words = [
            (CredentialsError::Username, "user name"),
            (CredentialsError::Password, "password"),
            (CredentialsError::Token, "token"),
            (CredentialsError::TooLong, "9000"),
        ];
        for (problem, word) in words {
            assert!(problem.to_string().contains(word), "{problem}");
        }
    }
}
