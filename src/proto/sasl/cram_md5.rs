//! CRAM-MD5 (RFC 2195): a digest of the server's challenge, keyed by the password.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::{Credentials, Mechanism, MechanismError, Starts};

/// ```abnf
/// response = username SP 32( DIGIT / "a"-"f" )     ; RFC 2195 §2
/// ```
pub(super) struct CramMd5 {
    credentials: Option<Credentials>,
}

impl CramMd5 {
    pub(super) fn new(credentials: &Credentials) -> Self {
        Self {
            credentials: Some(credentials.clone()),
        }
    }
}

impl Mechanism for CramMd5 {
    fn starts(&self) -> Starts {
        Starts::Server
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        let credentials = self.credentials.take().ok_or(MechanismError::UNEXPECTED)?;
        // Without a challenge the digest would be the same each time.
        if challenge.is_empty() {
            return Err(MechanismError("sent an empty challenge"));
        }
        let mut mac = Hmac::<Md5>::new_from_slice(credentials.secret().as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(challenge);
        let mut response = format!("{} ", credentials.username());
        for octet in mac.finalize().into_bytes() {
            // Writing to a `String` cannot fail.
            let _ = write!(response, "{octet:02x}");
        }
        Ok(response.into_bytes())
    }

    fn has_used_secret(&self) -> bool {
        self.credentials.is_none()
    }

    fn succeeded(&mut self, _data: Option<&[u8]>) -> Result<(), MechanismError> {
        match self.credentials {
            None => Ok(()),
            Some(_) => Err(MechanismError("reported success without a challenge")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let credentials = Credentials::password("tim", "tanstaaftanstaaf").unwrap();
        let mut mechanism = CramMd5::new(&credentials);
        let response = mechanism.respond(b"<1896.697170952@postoffice.reston.mci.net>");
        let expected = b"tim b913a602c7eda7a495b4e6e7334d3890".to_vec();
        assert_eq!(response, Ok(expected));
        assert_eq!(mechanism.respond(b"again"), Err(MechanismError::UNEXPECTED));
    }

    #[test]
    fn an_empty_challenge_is_not_answered() {
        let credentials = Credentials::password("tim", "tanstaaftanstaaf").unwrap();
        let mut mechanism = CramMd5::new(&credentials);
        assert!(mechanism.respond(b"").is_err());
    }

    #[test]
    fn success_without_a_challenge_is_none() {
        let credentials = Credentials::password("tim", "tanstaaftanstaaf").unwrap();
        let mut mechanism = CramMd5::new(&credentials);
        assert!(mechanism.succeeded(None).is_err());
        mechanism.respond(b"<1@x>").unwrap();
        assert_eq!(mechanism.succeeded(None), Ok(()));
    }
}
