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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::proto::reply::{Code, Statuses};
    use crate::providers;

    fn reply(text: &str) -> Reply {
        let code = text[..3].parse().ok().and_then(Code::new);
        let raw = Bytes::from(format!("{text}\r\n"));
        Reply::new(code.expect("a code"), Statuses::Read, raw)
    }

    #[test]
    fn replies_of_providers_are_explained() {
        for (id, text, kind) in [
            (
                "gmail",
                "535-5.7.8 Username and Password not accepted. For more information, go to\r\n535 \
                 5.7.8  https://support.google.com/mail/?p=BadCredentials - gsmtp",
                "password-wrong",
            ),
            (
                "gmail",
                "534-5.7.9 Application-specific password required. Learn more at\r\n534 5.7.9  \
                 https://support.google.com/mail/?p=InvalidSecondFactor - gsmtp",
                "app-password-needed",
            ),
            (
                "gmail",
                "534-5.7.14 <https://accounts.google.com/signin/continue>\r\n534-5.7.14 Please log \
                 in through your web browser and then try again.\r\n534 5.7.14 - gsmtp",
                "browser-login-needed",
            ),
            (
                "gmail",
                "534-5.7.14 <https://accounts.google.com/signin/continue>\r\n534-5.7.14 Please log \
                 in via your web browser and then try again.\r\n534 5.7.14 - gsmtp",
                "browser-login-needed",
            ),
            (
                "gmail",
                "534 5.7.14 <https://accounts.google.com/signin/continue> - gsmtp",
                "browser-login-needed",
            ),
            (
                "gmail",
                "550 5.4.5 Daily user sending limit exceeded. - gsmtp",
                "limit-reached",
            ),
            (
                "gmail",
                "421-4.7.28 Gmail has detected an unusual rate of mail originating\r\n421 4.7.28 \
                 from your IP address. - gsmtp",
                "throttled",
            ),
            (
                "microsoft-365",
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for \
                 the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.",
                "smtp-auth-disabled",
            ),
            (
                "microsoft-365",
                "535 5.7.139 Authentication unsuccessful, user is locked by your organization's \
                 security defaults policy. Contact your administrator.",
                "basic-auth-disabled",
            ),
            (
                "microsoft-365",
                "535 5.7.3 Authentication unsuccessful [AM0PR01.eurprd01.prod.exchangelabs.com]",
                "password-wrong",
            ),
            (
                "outlook-com",
                "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [A]",
                "oauth-needed",
            ),
            (
                "microsoft-365",
                "530 5.7.57 Client not authenticated to send mail. [A]",
                "authentication-required",
            ),
            (
                "microsoft-365",
                "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
                "sender-not-allowed",
            ),
            (
                "microsoft-365",
                "554 5.2.252 SendAsDenied; jo@acme.example not allowed to send as x@acme.example",
                "sender-not-allowed",
            ),
            (
                "microsoft-365",
                "554 5.2.0 STOREDRV.Submission.Exception:OutboundSpamException; Failed to process",
                "spam-refused",
            ),
            (
                "microsoft-365",
                "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/c",
                "throttled",
            ),
            (
                "microsoft-365",
                "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.",
                "blocked-ip",
            ),
            (
                "microsoft-365",
                "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (AS761)",
                "server-busy",
            ),
            (
                "zoho",
                "553 Relaying disallowed as jo@example.org",
                "sender-not-allowed",
            ),
            ("zoho", "535 Authentication Failed", "password-wrong"),
            (
                "zoho",
                "550 5.4.6 Unusual sending activity detected.",
                "account-suspended",
            ),
            (
                "amazon-ses",
                "554 Message rejected: Email address is not verified. The following identities \
                 failed the check in region EU-WEST-1: jo@example.org",
                "sender-not-verified",
            ),
            (
                "amazon-ses",
                "454 Throttling failure: Maximum sending rate exceeded.",
                "throttled",
            ),
            (
                "amazon-ses",
                "454 Throttling failure: Daily message quota exceeded.",
                "limit-reached",
            ),
            (
                "amazon-ses",
                "535 Authentication Credentials Invalid",
                "password-wrong",
            ),
            (
                "sendgrid",
                "451 Authentication failed: Maximum credits exceeded",
                "limit-reached",
            ),
            (
                "yandex",
                "535 5.7.8 Error: authentication failed: This user does not have access rights to \
                 this service",
                "app-password-needed",
            ),
            (
                "yandex",
                "553 5.7.1 Sender address rejected: not owned by auth user.",
                "sender-not-allowed",
            ),
            (
                "mail-ru",
                "535 5.7.0 NEOBHODIM parol prilozheniya https://help.mail.ru/ / Application \
                 password is REQUIRED",
                "app-password-needed",
            ),
            (
                "yahoo",
                "550 Request failed; Mailbox unavailable",
                "sender-not-allowed",
            ),
            (
                "icloud",
                "550 5.7.0 From address is not one of your addresses",
                "sender-not-allowed",
            ),
        ] {
            let provider = providers::by_id(id).expect("a provider");
            let found = provider.explain(&reply(text)).map(|known| &*known.kind);
            assert_eq!(found, Some(kind), "{id}: {text}");
        }
    }

    #[test]
    fn replies_of_many_makes_of_servers_are_explained() {
        for (text, kind) in [
            (
                "554 5.7.1 <ann@example.com>: Relay access denied",
                "relay-denied",
            ),
            ("550 relay not permitted", "relay-denied"),
            ("550 5.7.54 SMTP; Unable to relay", "relay-denied"),
            (
                "553 5.7.1 <x@acme.example>: Sender address rejected: not owned by user jo",
                "sender-not-allowed",
            ),
            (
                "450 4.2.0 <ann@example.com>: Recipient address rejected: Greylisted",
                "greylisted",
            ),
            (
                "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using \
                 zen.spamhaus.org",
                "blocked-ip",
            ),
            (
                "550 Domain acme.example has exceeded the max emails per hour (100/100) allowed.",
                "limit-reached",
            ),
            (
                "530 5.7.0 Must issue a STARTTLS command first",
                "tls-required",
            ),
        ] {
            let found = providers::explain(&reply(text)).map(|known| &*known.kind);
            assert_eq!(found, Some(kind), "{text}");
        }
        for text in [
            "550 5.1.1 no such user",
            "535 5.7.8 Error: authentication failed",
            "250 2.0.0 relay access denied",
            "354 greylist",
        ] {
            assert_eq!(providers::explain(&reply(text)), None, "{text}");
        }
    }

    /// A reply made of what an entry asks for leads to that entry, or to one that says the same.
    #[test]
    fn no_known_reply_is_hidden_by_another() {
        let all = providers::all().iter();
        let lists = all.map(|provider| &provider.replies);
        for list in lists.chain([&providers::book().replies]) {
            for known in list {
                assert!(
                    KnownReply::KINDS.contains(&known.kind.as_str()),
                    "{known:?}"
                );
                let enhanced = known.enhanced.clone().unwrap_or_default();
                let class = match enhanced.starts_with('4') {
                    true => 450,
                    false => 550,
                };
                let text = format!(
                    "{} {enhanced} {}",
                    known.code.unwrap_or(class),
                    known.text.clone().unwrap_or_default()
                );
                let found = find(list, &reply(&text)).map(|found| &found.kind);
                assert_eq!(found, Some(&known.kind), "{text}");
            }
        }
    }
}
