//! PLAIN (RFC 4616): name and password in one message.

use super::{Credentials, Mechanism, MechanismError, Starts};

/// ```abnf
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd      ; RFC 4616 §2
/// ```
pub(super) struct Plain {
    message: Option<Vec<u8>>,
}

impl Plain {
    pub(super) fn new(credentials: &Credentials) -> Self {
        let parts = ["", credentials.username(), credentials.secret()];
        Self {
            message: Some(parts.join("\0").into_bytes()),
        }
    }
}

impl Mechanism for Plain {
    fn starts(&self) -> Starts {
        Starts::Client
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        self.message.take().ok_or(MechanismError::UNEXPECTED)
    }

    fn has_used_secret(&self) -> bool {
        self.message.is_none()
    }
}
