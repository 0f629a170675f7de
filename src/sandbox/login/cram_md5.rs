//! The server's side of CRAM-MD5 (RFC 2195).

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::{Desk, Next};

#[derive(Debug)]
pub(in crate::sandbox) struct CramMd5 {
    challenge: String,
}

impl CramMd5 {
    pub(super) fn new(desk: Desk<'_>) -> Self {
        let (connection, host) = (desk.connection, &desk.plan.options().hostname);
        Self {
            challenge: format!("<{connection}.1896@{host}>"),
        }
    }

    pub(super) fn challenge(&self) -> &[u8] {
        self.challenge.as_bytes()
    }

    /// `username SP digest`, where the name may hold spaces.
    pub(super) fn take(self, octets: &[u8], desk: Desk<'_>) -> Next {
        let Some(space) = octets.iter().rposition(|octet| *octet == b' ') else {
            return Next::Malformed;
        };
        let (name, digest) = (&octets[..space], &octets[space + 1..]);
        let account = desk.account(name).filter(|account| {
            let mut mac = Hmac::<Md5>::new_from_slice(account.password().as_bytes())
                .expect("HMAC takes a key of any length");
            mac.update(self.challenge.as_bytes());
            let expected: String = mac
                .finalize()
                .into_bytes()
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .collect();
            expected.as_bytes() == digest
        });
        Next::of(account)
    }
}
