//! Nonces, out of the entropy that a connection was given.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// An endless row of nonces, none of which comes twice or tells anything of the others.
pub(crate) struct Nonces {
    entropy: [u8; 32],
    drawn: u32,
}

impl Nonces {
    pub(crate) fn new(entropy: [u8; 32]) -> Self {
        Self { entropy, drawn: 0 }
    }

    /// 144 bits, as 24 printable characters without a comma.
    pub(crate) fn next(&mut self) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.entropy).expect("HMAC takes a key of any length");
        mac.update(b"ehlo SASL nonce");
        mac.update(&self.drawn.to_be_bytes());
        self.drawn = self.drawn.wrapping_add(1);
        STANDARD.encode(&mac.finalize().into_bytes()[..18])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nonce_comes_twice() {
        let mut nonces = Nonces::new([7; 32]);
        let (first, second) = (nonces.next(), nonces.next());
        assert_ne!(first, second);
        assert_eq!(first.len(), 24);
        assert_ne!(first, Nonces::new([8; 32]).next());
        assert_eq!(first, Nonces::new([7; 32]).next());
    }
}
