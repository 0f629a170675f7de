//! The server's side of AUTH PLAIN (RFC 4616) and LOGIN.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// An exchange that waits for the client's next response.
#[derive(Debug)]
pub(super) enum Exchange {
    Plain,
    LoginName,
    LoginPassword { name: Vec<u8> },
}

/// What follows from a response.
#[derive(Debug)]
pub(super) enum Next {
    /// Give the challenge of this exchange.
    Challenge(Exchange),
    /// Check them.
    Check { name: Vec<u8>, password: Vec<u8> },
    /// The client cancelled.
    Cancelled,
    /// The response is malformed.
    Malformed,
}

impl Exchange {
    /// The exchange of a mechanism, if the sandbox has it.
    pub(super) fn of(mechanism: &str) -> Option<Self> {
        if mechanism.eq_ignore_ascii_case("PLAIN") {
            Some(Self::Plain)
        } else if mechanism.eq_ignore_ascii_case("LOGIN") {
            Some(Self::LoginName)
        } else {
            None
        }
    }

    /// What asks for the next response, in base64.
    pub(super) fn challenge(&self) -> &'static str {
        match self {
            Self::Plain => "",
            // "Username:" and "Password:", as nearly every server says it.
            Self::LoginName => "VXNlcm5hbWU6",
            Self::LoginPassword { .. } => "UGFzc3dvcmQ6",
        }
    }

    /// Takes an initial response, where `=` stands for an empty one (RFC 4954 §4).
    pub(super) fn start(self, initial: Option<&str>) -> Next {
        match initial {
            None => Next::Challenge(self),
            Some("=") => self.take(""),
            Some(response) => self.take(response),
        }
    }

    /// Takes a response.
    pub(super) fn take(self, response: &str) -> Next {
        if response == "*" {
            return Next::Cancelled;
        }
        let Ok(octets) = BASE64_STANDARD.decode(response) else {
            return Next::Malformed;
        };
        match self {
            Self::Plain => plain(&octets),
            Self::LoginName => Next::Challenge(Self::LoginPassword { name: octets }),
            Self::LoginPassword { name } => Next::Check {
                name,
                password: octets,
            },
        }
    }
}

/// `[authzid] NUL authcid NUL passwd`. To act for another than oneself is refused, as a wrong
/// password is.
fn plain(octets: &[u8]) -> Next {
    let mut fields = octets.split(|octet| *octet == 0);
    let (Some(identity), Some(name), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Next::Malformed;
    };
    let (name, password) = if identity.is_empty() || identity == name {
        (name, password)
    } else {
        Default::default()
    };
    Next::Check {
        name: name.to_vec(),
        password: password.to_vec(),
    }
}
