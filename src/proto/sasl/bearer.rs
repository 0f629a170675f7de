//! OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's forerunner of it): an OAuth 2.0 access token.
//!
//! A token that the server does not take is answered by a challenge, a JSON object that says why;
//! when the client has acknowledged that, the refusal follows.

use super::{Credentials, Mechanism, MechanismError, Starts};
use crate::proto::reply::push_printable;

/// ```abnf
/// oauthbearer = "n,a=" saslname "," %x01 "auth=Bearer " token %x01 %x01   ; RFC 7628 §3.1
/// xoauth2     = "user=" name %x01 "auth=Bearer " token %x01 %x01
/// ```
///
/// The `host` and `port` of RFC 7628 are for signed tokens; a bearer token does not need them.
pub(super) struct Bearer {
    state: State,
    acknowledgement: &'static [u8],
}

enum State {
    Start(Vec<u8>),
    Sent,
    /// The server has said why it will refuse.
    Refused(String),
}

impl Bearer {
    pub(super) fn oauthbearer(credentials: &Credentials) -> Self {
        let name = credentials
            .username()
            .replace('=', "=3D")
            .replace(',', "=2C");
        Self::new(format!("n,a={name},"), credentials, b"\x01")
    }

    pub(super) fn xoauth2(credentials: &Credentials) -> Self {
        Self::new(format!("user={}", credentials.username()), credentials, b"")
    }

    fn new(head: String, credentials: &Credentials, acknowledgement: &'static [u8]) -> Self {
        let message = format!("{head}\x01auth=Bearer {}\x01\x01", credentials.secret());
        Self {
            state: State::Start(message.into_bytes()),
            acknowledgement,
        }
    }
}

impl Mechanism for Bearer {
    fn starts(&self) -> Starts {
        Starts::Client
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        match std::mem::replace(&mut self.state, State::Sent) {
            State::Start(message) => Ok(message),
            State::Sent => {
                self.state = State::Refused(reason(challenge));
                Ok(self.acknowledgement.to_vec())
            }
            State::Refused(reason) => {
                self.state = State::Refused(reason);
                Err(MechanismError::UNEXPECTED)
            }
        }
    }

    fn has_used_secret(&self) -> bool {
        match self.state {
            State::Start(_) => false,
            State::Sent | State::Refused(_) => true,
        }
    }

    fn succeeded(&mut self, _data: Option<&[u8]>) -> Result<(), MechanismError> {
        match self.state {
            State::Sent => Ok(()),
            State::Start(_) => Err(MechanismError("reported success before it had the token")),
            State::Refused(_) => Err(MechanismError("reported success after it had refused")),
        }
    }

    fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Refused(reason) if !reason.is_empty() => Some(reason),
            State::Start(_) | State::Sent | State::Refused(_) => None,
        }
    }
}

/// What the error object says to people: status and scope (RFC 7628 §3.2.2). Of an object that
/// cannot be read, nothing.
fn reason(challenge: &[u8]) -> String {
    let members = members(challenge);
    let mut text = String::new();
    for wanted in ["status", "scope"] {
        let value = members.iter().find(|(name, _)| name == wanted);
        if let Some((_, value)) = value.filter(|(_, value)| !value.is_empty()) {
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(wanted);
            text.push(' ');
            let value: String = value.chars().take(LONGEST_REASON).collect();
            push_printable(&mut text, value.as_bytes());
        }
    }
    text
}

/// The members of a JSON object whose values are strings or numbers, in order, up to the first
/// thing that is neither.
fn members(json: &[u8]) -> Vec<(String, String)> {
    let mut members = Vec::new();
    let Ok(text) = std::str::from_utf8(json) else {
        return members;
    };
    let mut rest = text.trim_start().strip_prefix('{');
    while let Some(at) = rest {
        let Some((name, after)) = string(at.trim_start()) else {
            break;
        };
        let Some(after) = after.trim_start().strip_prefix(':') else {
            break;
        };
        let after = after.trim_start();
        let number = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (value, after) = match string(after) {
            Some((value, after)) => (value, after),
            None if number > 0 => (after[..number].to_owned(), &after[number..]),
            None => break,
        };
        members.push((name, value));
        rest = after.trim_start().strip_prefix(',');
    }
    members
}

/// A JSON string (RFC 8259 §7), and what follows it. Surrogates are left out.
fn string(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match rest.next()? {
            '"' => return Some((value, rest.as_str())),
            '\\' => match rest.next()? {
                'b' | 'f' | 'n' | 'r' | 't' => value.push(' '),
                'u' => {
                    let digits = rest.as_str().get(..4)?;
                    rest = rest.as_str()[4..].chars();
                    value.extend(
                        u32::from_str_radix(digits, 16)
                            .ok()
                            .and_then(char::from_u32),
                    );
                }
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

/// Characters of status or scope that an error shows.
const LONGEST_REASON: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str) -> Credentials {
        Credentials::token(name, "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==").unwrap()
    }

    #[test]
    fn the_examples_of_the_rfc_and_of_google() {
        let first = Bearer::oauthbearer(&credentials("user@example.com")).respond(b"");
        let expected = "n,a=user@example.com,\x01\
                        auth=Bearer vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==\x01\x01";
        assert_eq!(first, Ok(expected.into()));

        let google = Credentials::token(
            "someuser@example.com",
            "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg",
        );
        let first = Bearer::xoauth2(&google.unwrap()).respond(b"");
        let expected = "user=someuser@example.com\x01\
                        auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01";
        assert_eq!(first, Ok(expected.into()));
    }

    #[test]
    fn a_name_with_separators_is_escaped() {
        let first = Bearer::oauthbearer(&credentials("a=b,c")).respond(b"");
        assert!(first.unwrap().starts_with(b"n,a=a=3Db=2Cc,\x01"));
    }

    #[test]
    fn the_error_object_is_acknowledged_and_read() {
        let mut mechanism = Bearer::oauthbearer(&credentials("user"));
        let _ = mechanism.respond(b"");
        let challenge = br#"{"status":"invalid_token","scope":"example_scope",
            "openid-configuration":"https://example.com/.well-known/openid-configuration"}"#;
        assert_eq!(mechanism.respond(challenge), Ok(vec![1]));
        assert_eq!(
            mechanism.reason(),
            Some("status invalid_token, scope example_scope")
        );
        assert_eq!(mechanism.respond(b""), Err(MechanismError::UNEXPECTED));
        assert!(mechanism.succeeded(None).is_err());

        let mut mechanism = Bearer::xoauth2(&credentials("user"));
        let _ = mechanism.respond(b"");
        assert_eq!(mechanism.respond(b"{}"), Ok(Vec::new()));
        assert_eq!(mechanism.reason(), None);
    }

    #[test]
    fn odd_objects_are_read_as_far_as_they_can_be() {
        let cases: [(&str, &str); 12] = [
            ("{status:1}", ""),
            (r#"{"status","1"}"#, ""),
            (r#"{"scope":"a","other":1,"status":2}"#, "status 2, scope a"),
            ("", ""),
            ("{", ""),
            ("not json", ""),
            (r#"{"status":"4"#, ""),
            (r#"{"status":401}"#, "status 401"),
            (
                r#"{ "schemes" : "Bearer" , "status" : "400" }"#,
                "status 400",
            ),
            (r#"{"x":{"status":"1"},"status":"2"}"#, ""),
            (r#"{"status":"a\"\u0062\ud800\u00","#, ""),
            (r#"{"status":"a\"\u0062\r\n"}"#, "status a\"b  "),
        ];
        for (json, expected) in cases {
            assert_eq!(reason(json.as_bytes()), expected, "{json}");
        }
        assert_eq!(reason(b"\xff\xfe"), "");
    }
}
