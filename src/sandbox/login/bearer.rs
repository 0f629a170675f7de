//! The server's side of OAUTHBEARER (RFC 7628) and XOAUTH2.

use super::{Desk, Exchange, Next};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Form {
    OAuthBearer,
    XOAuth2,
}

impl Form {
    /// What follows from the answer to the challenge that explains a refusal: RFC 7628 §3.2.3 has a
    /// single ^A there, Google nothing for XOAUTH2.
    pub(super) fn refuse(self, octets: &[u8]) -> Next {
        let acknowledged: &[u8] = match self {
            Self::OAuthBearer => b"\x01",
            Self::XOAuth2 => b"",
        };
        match octets == acknowledged {
            true => Next::Refused,
            false => Next::Unacknowledged,
        }
    }

    pub(super) fn take(self, octets: &[u8], desk: Desk<'_>) -> Next {
        let Some((name, token)) = std::str::from_utf8(octets)
            .ok()
            .and_then(|text| self.read(text))
        else {
            return Next::Malformed;
        };
        let mut tokens = desk.plan.options().tokens.iter();
        match tokens.find(|known| known.is(name.as_bytes(), token.as_bytes())) {
            Some(known) => Next::Passed(known.name().to_owned()),
            None => Next::Challenge(Exchange::Explained(self), self.error().into()),
        }
    }

    fn read(self, text: &str) -> Option<(String, &str)> {
        let (head, rest) = text.split_once('\x01')?;
        let fields = rest.strip_suffix("\x01\x01")?;
        let token = fields
            .split('\x01')
            .find_map(|field| field.strip_prefix("auth=Bearer "))?;
        let name = match self {
            Self::XOAuth2 => head.strip_prefix("user=")?.to_owned(),
            Self::OAuthBearer => {
                let name = head.strip_prefix("n,a=")?.strip_suffix(',')?;
                name.replace("=2C", ",").replace("=3D", "=")
            }
        };
        Some((name, token))
    }

    /// Why a token is refused.
    fn error(self) -> &'static str {
        match self {
            Self::OAuthBearer => r#"{"status":"invalid_token","scope":"mail"}"#,
            Self::XOAuth2 => r#"{"status":"401","schemes":"bearer","scope":"mail"}"#,
        }
    }
}
