//! EXTERNAL (RFC 4422 appendix A): the server knows from the TLS client certificate who it is.

use super::{Credentials, Mechanism, MechanismError, Starts};

/// ```abnf
/// initial-response = *( UTF8-char-no-nul )     ; whom to act for; RFC 4422 §A.1
/// ```
pub(super) struct External {
    identity: Option<Vec<u8>>,
}

impl External {
    pub(super) fn new(credentials: &Credentials) -> Self {
        Self {
            identity: Some(credentials.username().as_bytes().to_vec()),
        }
    }
}

impl Mechanism for External {
    fn starts(&self) -> Starts {
        Starts::Client
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        self.identity.take().ok_or(MechanismError::UNEXPECTED)
    }

    fn has_used_secret(&self) -> bool {
        // There is none here.
        false
    }
}
