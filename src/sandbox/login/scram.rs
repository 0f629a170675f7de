//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Desk, Exchange, Mechanism, Next};
use crate::sandbox::fault::Quirk;
use crate::sandbox::options::Account;

/// An exchange that waits for the client's first message.
#[derive(Debug)]
pub(in crate::sandbox) struct Scram {
    mechanism: Mechanism,
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub(in crate::sandbox) struct Opened {
    name: String,
    /// What `c=` must hold.
    bound: Vec<u8>,
    nonce: String,
    /// Both first messages, with a comma between.
    opening: String,
    salt: [u8; 16],
    iterations: u32,
}

impl Scram {
    pub(super) fn new(mechanism: Mechanism) -> Self {
        Self { mechanism }
    }

    pub(super) fn take(self, octets: &[u8], desk: Desk<'_>) -> Next {
        let Ok(text) = std::str::from_utf8(octets) else {
            return Next::Malformed;
        };
        let mut fields = text.splitn(3, ',');
        let (Some(flag), Some(""), Some(bare)) = (fields.next(), fields.next(), fields.next())
        else {
            return Next::Malformed;
        };
        let Some(bound) = self.bound(flag, desk) else {
            return Next::Refused;
        };
        let Some((name, theirs)) = bare
            .strip_prefix("n=")
            .and_then(|rest| rest.split_once(",r="))
            .filter(|(_, nonce)| !nonce.is_empty() && !nonce.contains(','))
        else {
            return Next::Malformed;
        };
        let name = name.replace("=2C", ",").replace("=3D", "=");
        let Some(account) = desk.account(name.as_bytes()) else {
            return Next::Refused;
        };
        let iterations = match desk.plan.has(Quirk::ScramFewIterations) {
            true => 1_000,
            false => 4_096,
        };
        // A test server's nonces may be foretold: tests can be repeated then.
        let ours = hmac(&desk.connection.to_be_bytes(), theirs.as_bytes());
        let ours = BASE64_STANDARD.encode(&ours[..18]);
        let nonce = match desk.plan.has(Quirk::ScramWrongNonce) {
            true => ours,
            false => format!("{theirs}{ours}"),
        };
        let salt = salt(account);
        let first = format!(
            "r={nonce},s={},i={iterations}",
            BASE64_STANDARD.encode(salt)
        );
        let opened = Opened {
            name,
            bound,
            nonce,
            opening: format!("{bare},{first}"),
            salt,
            iterations,
        };
        Next::Challenge(Exchange::Scram(opened), first.into_bytes())
    }

    /// What the client has to bind to, by its flag; `None` where the flag is wrong here.
    fn bound(&self, flag: &str, desk: Desk<'_>) -> Option<Vec<u8>> {
        let mut bound = format!("{flag},,").into_bytes();
        match (self.mechanism, flag) {
            (Mechanism::ScramSha256Plus, flag) => {
                let (name, data) = desk.tls.binding()?;
                if flag.strip_prefix("p=") != Some(name) {
                    return None;
                }
                bound.extend_from_slice(data);
            }
            (_, "n") => {}
            // The client did not see what is on offer: somebody changed it (RFC 5802 §6).
            (_, "y") if desk.offers(Mechanism::ScramSha256Plus) => return None,
            (_, "y") => {}
            _ => return None,
        }
        Some(bound)
    }
}

impl Opened {
    pub(super) fn take(self, octets: &[u8], desk: Desk<'_>) -> Next {
        let Ok(text) = std::str::from_utf8(octets) else {
            return Next::Malformed;
        };
        let Some((without_proof, proof)) = text.rsplit_once(",p=") else {
            return Next::Malformed;
        };
        let expected = format!("c={},r={}", BASE64_STANDARD.encode(&self.bound), self.nonce);
        let Some(account) = desk.account(self.name.as_bytes()) else {
            return Next::Refused;
        };
        let salted = salted(account.password().as_bytes(), &self.salt, self.iterations);
        let message = format!("{},{without_proof}", self.opening);
        let client_key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(client_key), message.as_bytes());
        let right: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(key, mask)| key ^ mask)
            .collect();
        if without_proof != expected || proof != BASE64_STANDARD.encode(right) {
            return Next::Refused;
        }
        if desk.plan.has(Quirk::ScramNoSignature) {
            return Next::Passed(self.name);
        }
        let mut signature = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());
        if desk.plan.has(Quirk::ScramWrongSignature) {
            signature[0] ^= 1;
        }
        let last = format!("v={}", BASE64_STANDARD.encode(signature));
        Next::Challenge(Exchange::Proven { name: self.name }, last.into_bytes())
    }
}

/// The same for an account each time, so that nothing has to be kept.
fn salt(account: &Account) -> [u8; 16] {
    let digest = hmac(b"salt", account.name().as_bytes());
    let mut salt = [0; 16];
    salt.copy_from_slice(&digest[..16]);
    salt
}

pub(crate) fn salted(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut round = hmac(password, &[salt, &[0, 0, 0, 1]].concat());
    let mut sum = round;
    for _ in 1..iterations {
        round = hmac(password, &round);
        for (octet, more) in sum.iter_mut().zip(round) {
            *octet ^= more;
        }
    }
    sum
}

pub(crate) fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_salted_password_is_that_of_pbkdf2() {
        // RFC 7914 §11, its first 32 octets.
        let expected = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc";
        let hex: String = salted(b"passwd", b"salt", 1)
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        assert_eq!(hex, expected);
    }
}
