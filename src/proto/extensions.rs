//! What a server offers, by its EHLO reply (RFC 5321 §4.1.1.1): typed where the engine uses it,
//! and as it came for everything else.

use super::reply::Reply;
use super::sasl::MechanismName;

/// The offers of the last EHLO reply. Nothing is lost: unknown keywords, their parameters, order and
/// repeats are kept.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    reply: Option<Reply>,
}

impl Extensions {
    /// Whether this keyword is offered, in any case.
    pub fn offers(&self, keyword: &str) -> bool {
        let _ = keyword;
        todo!()
    }

    /// What follows this keyword on its line, trimmed; the first of its lines if it is repeated.
    pub fn parameters(&self, keyword: &str) -> Option<&[u8]> {
        let _ = (keyword, &self.reply);
        todo!()
    }

    /// Every offered line: keyword and parameters, as sent.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }

    /// The largest message in octets (RFC 1870); `None` where none is stated.
    pub fn size(&self) -> Option<u64> {
        todo!()
    }

    /// The SASL mechanisms (RFC 4954), the legacy `AUTH=` line included.
    pub fn auth_mechanisms(&self) -> impl Iterator<Item = MechanismName> {
        std::iter::empty()
    }
}
