//! Replies that say more than their codes.

use serde::{Deserialize, Serialize};

use crate::proto::reply::Reply;

/// A reply whose meaning is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KnownReply {
    /// Its code; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Its enhanced status code, `5.7.8`; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced: Option<String>,
    /// Words of its text, in any case; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What it comes to: one of [`KnownReply::KINDS`].
    pub kind: String,
    /// What the server means, in plain words: a sentence.
    pub meaning: String,
    /// What to do: a sentence or two.
    pub advice: String,
    /// The page where it was found; `None` where the words speak for themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl KnownReply {
    /// The kinds there are.
    pub const KINDS: [&str; 21] = [
        "password-wrong",
        "app-password-needed",
        "basic-auth-disabled",
        "smtp-auth-disabled",
        "oauth-needed",
        "browser-login-needed",
        "sender-not-allowed",
        "sender-not-verified",
        "relay-denied",
        "limit-reached",
        "throttled",
        "blocked-ip",
        "spam-refused",
        "greylisted",
        "account-suspended",
        "message-too-large",
        "mailbox-unknown",
        "mailbox-full",
        "authentication-required",
        "tls-required",
        "server-busy",
    ];

    /// Whether this is such a reply.
    pub fn fits(&self, reply: &Reply) -> bool {
        self.fits_parts(reply, &reply.text().to_lowercase())
    }

    fn fits_parts(&self, reply: &Reply, text: &str) -> bool {
        let enhanced = |wanted: &String| {
            let found = reply.enhanced();
            found.is_some_and(|found| found.to_string() == *wanted)
        };
        self.code.is_none_or(|code| code == reply.code().number())
            && self.enhanced.as_ref().is_none_or(enhanced)
            && self
                .text
                .as_ref()
                .is_none_or(|words| text.contains(&words.to_lowercase()))
    }
}

/// The first that fits. A reply that accepts something needs no explanation.
pub(super) fn find<'a>(known: &'a [KnownReply], reply: &Reply) -> Option<&'a KnownReply> {
    if reply.is_positive() {
        return None;
    }
    let text = reply.text().to_lowercase();
    known.iter().find(|known| known.fits_parts(reply, &text))
}
