//! The limits that a server states (RFC 9422), and what a session has used up of them.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::extensions::Extensions;
use super::transaction::Recipient;

/// What the LIMITS line of the last EHLO reply says. A limit that is not there, or malformed, is not
/// known: that does not mean that there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerLimits {
    /// MAIL commands in one session.
    pub mails: Option<NonZeroU32>,
    /// RCPT commands in one transaction.
    pub recipients: Option<NonZeroU32>,
    /// Domains of recipients in one session, each counted once.
    pub recipient_domains: Option<NonZeroU32>,
}

impl ServerLimits {
    /// ```abnf
    /// limits            = "LIMITS" SP limit-name-value 0*[SP limit-name-value]   ; RFC 9422 §3
    /// limit-name-value  = limit-name ["=" limit-value]
    /// MAILMAX, RCPTMAX, RCPTDOMAINMAX = %x31-39 0*5DIGIT                         ; §4
    /// ```
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let mut limits = Self::default();
        let words = extensions
            .parameters("LIMITS")
            .unwrap_or_default()
            .split(|&b| matches!(b, b' ' | b'\t'));
        for word in words {
            let Some((name, value)) = split(word) else {
                continue;
            };
            let limit = match name.to_ascii_uppercase().as_slice() {
                b"MAILMAX" => &mut limits.mails,
                b"RCPTMAX" => &mut limits.recipients,
                b"RCPTDOMAINMAX" => &mut limits.recipient_domains,
                _ => continue,
            };
            // Of one that is stated twice, what is safe.
            *limit = Some(limit.map_or(value, |known| known.min(value)));
        }
        limits
    }
}

/// Name and value of a limit that is a number.
fn split(word: &[u8]) -> Option<(&[u8], NonZeroU32)> {
    let equals = memchr::memchr(b'=', word)?;
    let (name, value) = (&word[..equals], &word[equals + 1..]);
    let valid = matches!(value, [b'1'..=b'9', rest @ ..]
        if rest.len() <= 5 && rest.iter().all(u8::is_ascii_digit));
    let value = str::from_utf8(value).ok().filter(|_| valid)?;
    Some((name, value.parse().ok()?))
}

/// What a session has used up.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// MAIL commands.
    mails: u32,
    /// Domains of recipients, in lower case; kept only where they are limited.
    domains: Option<Box<BTreeSet<Box<str>>>>,
}

impl Used {
    /// A MAIL command is sent.
    pub(crate) fn mail(&mut self) {
        self.mails = self.mails.saturating_add(1);
    }

    /// Whether another MAIL command may be sent.
    pub(crate) fn may_mail(&self, limits: &ServerLimits) -> bool {
        limits.mails.is_none_or(|limit| self.mails < limit.get())
    }

    /// Whether the domains of all these recipients may be named in this session. Counts none.
    pub(crate) fn may_name_all(&self, recipients: &[Recipient], limits: &ServerLimits) -> bool {
        let Some(limit) = limits.recipient_domains else {
            return true;
        };
        let mut domains = self.domains.as_deref().cloned().unwrap_or_default();
        let lower = |one: &Recipient| one.mailbox().domain().to_lowercase().into_boxed_str();
        domains.extend(recipients.iter().map(lower));
        u32::try_from(domains.len()).is_ok_and(|known| known <= limit.get())
    }

    /// Counts the recipient's domain, if it may be named in this session.
    pub(crate) fn may_name(&mut self, recipient: &Recipient, limits: &ServerLimits) -> bool {
        let Some(limit) = limits.recipient_domains else {
            return true;
        };
        let domain = recipient.mailbox().domain().to_lowercase();
        let domains = self.domains.get_or_insert_default();
        if domains.contains(domain.as_str()) {
            return true;
        }
        let room = u32::try_from(domains.len()).is_ok_and(|known| known < limit.get());
        if room {
            domains.insert(domain.into_boxed_str());
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Limits;
    use super::super::framing::Framing;
    use super::super::reply::Statuses;
    use super::*;

    fn limits(line: &str) -> [Option<u32>; 3] {
        let mut framing = Framing::new(Limits::default());
        framing.push(format!("250-a\r\n250 {line}\r\n").as_bytes());
        let code = framing.next(Statuses::Ignore).unwrap().unwrap();
        let limits = ServerLimits::of(&Extensions::new(framing.reply(code)));
        [limits.mails, limits.recipients, limits.recipient_domains]
            .map(|limit| limit.map(NonZeroU32::get))
    }

    #[test]
    fn limits_are_read_one_by_one_and_bad_ones_ignored() {
        assert_eq!(
            limits("LIMITS RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1"),
            [Some(5), Some(20), Some(1)]
        );
        assert_eq!(
            limits("limits rcptmax=999999 XNEW=1  XOTHER mailmax=0"),
            [None, Some(999_999), None]
        );
        assert_eq!(
            limits("LIMITS RCPTMAX=01 MAILMAX=1000000 RCPTDOMAINMAX="),
            [None; 3]
        );
        assert_eq!(limits("LIMITS RCPTMAX=-1 MAILMAX=x =3 ="), [None; 3]);
        assert_eq!(limits("LIMITS RCPTMAX=9 RCPTMAX=7"), [None, Some(7), None]);
        assert_eq!(limits("LIMITS"), [None; 3]);
        assert_eq!(limits("SIZE 1"), [None; 3]);
    }
}
