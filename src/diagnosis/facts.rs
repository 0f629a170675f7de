//! What is known of an error: signs, which rules and conditions name, and words, which texts hold.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::situation::{LoginAs, Situation, Way, Written};
use crate::error::{Error, Stage};
use crate::net::certificate::date;
use crate::proto::config::Security;
use crate::proto::evidence::{Attempt, Evidence, Resolution, Spoken, TlsProblem};
use crate::proto::extensions::Extensions;
use crate::proto::preflight::Need;
use crate::providers::{self, Encryption};

/// What is known of an error in its situation.
pub(super) struct Facts<'a> {
    pub(super) error: &'a Error,
    pub(super) situation: &'a Situation,
    signs: BTreeSet<&'static str>,
    words: BTreeMap<&'static str, String>,
    offers: Option<Extensions>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(error: &'a Error, situation: &'a Situation) -> Self {
        let mut facts = Self {
            error,
            situation,
            signs: BTreeSet::new(),
            words: BTreeMap::new(),
            offers: offers(error, situation),
        };
        facts.settings();
        facts.host();
        facts.login();
        facts.dialogue();
        if let Some(evidence) = error.evidence() {
            facts.evidence(evidence);
        }
        facts
    }

    /// Whether every sign of a condition is there, and none of those behind a `!`.
    pub(super) fn meet(&self, condition: &str) -> bool {
        condition
            .split_whitespace()
            .all(|sign| match sign.strip_prefix('!') {
                Some(absent) => !self.signs.contains(absent),
                None => self.signs.contains(sign),
            })
    }

    /// A template with its facts filled in; `None` where one of them is not known.
    pub(super) fn fill(&self, template: &str) -> Option<String> {
        let mut text = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}')?;
            text.push_str(before);
            text.push_str(self.words.get(name)?);
            rest = after;
        }
        text.push_str(rest);
        Some(text)
    }

    pub(super) fn word(&self, name: &str) -> Option<&str> {
        self.words.get(name).map(String::as_str)
    }

    pub(super) fn sign(&mut self, sign: &'static str) {
        debug_assert!(SIGNS.contains(&sign), "{sign} is not among the signs");
        self.signs.insert(sign);
    }

    /// A fact for texts: what a peer says is shortened, and has no control characters.
    pub(super) fn say(&mut self, name: &'static str, text: &str) {
        debug_assert!(WORDS.contains(&name), "{name} is not among the words");
        let text = printable(text);
        if !text.is_empty() {
            self.words.insert(name, text);
        }
    }

    fn settings(&mut self) {
        let situation = self.situation;
        self.say("host", &situation.host);
        self.say("port", &situation.port.to_string());
        self.say("stage", moment(self.error.stage()));
        self.say("message", self.error.message());
        if let Some(hint) = self.error.hint() {
            self.say("hint", hint);
        }
        if let Some(encryption) = Encryption::of(situation.security) {
            self.say("encryption", &encryption.to_string());
        }
        self.sign(match situation.port {
            25 => "port-25",
            465 => "port-465",
            587 => "port-587",
            _ => "other-port",
        });
        if situation.security == Security::Implicit {
            self.sign("tls-at-once");
        }
        match situation.way {
            Way::Direct | Way::Socket => {}
            Way::Proxy => self.sign("proxy"),
        }
        if self.error.is_temporary() {
            self.sign("temporary");
        }
        match self.error.stage() {
            Stage::Greeting => self.sign("at-greeting"),
            Stage::Auth => self.sign("at-auth"),
            Stage::Resolve
            | Stage::Connect
            | Stage::Ehlo
            | Stage::StartTls
            | Stage::Handshake
            | Stage::Mail
            | Stage::Rcpt
            | Stage::Data
            | Stage::Body
            | Stage::Quit => {}
        }
        if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
            self.say("today", &date(now.as_secs()));
        }
    }

    fn host(&mut self) {
        let host = self.situation.host.as_str();
        match self.situation.written {
            Written::Url => {
                self.sign("host-is-url");
                let place = host.split('/').next().unwrap_or(host);
                let kept = match place.rsplit_once(':') {
                    Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
                    Some(_) | None => place,
                };
                self.say("kept", kept);
            }
            Written::MailAddress => self.sign("host-is-mail-address"),
            Written::Malformed => self.sign("host-malformed"),
            Written::Name => {
                if let Some(near) = providers::near_host(host) {
                    self.sign("near-host");
                    self.say("near", near);
                }
            }
        }
        let Some(provider) = self.situation.intended_provider() else {
            return;
        };
        self.say("provider", &provider.name);
        if let Some(endpoint) = provider.endpoints.first() {
            let settings = format!(
                "host {}, port {}, {}",
                endpoint.host, endpoint.port, endpoint.encryption
            );
            self.say("provider-settings", &settings);
        }
    }

    fn login(&mut self) {
        let situation = self.situation;
        match situation.login {
            LoginAs::Nobody => {}
            LoginAs::ByPassword => self.sign("password"),
            LoginAs::ByToken => self.sign("token"),
            LoginAs::ByCertificate | LoginAs::Asked => {}
        }
        if situation.login != LoginAs::Nobody {
            self.sign("credentials-given");
        }
        if let Some(username) = &situation.username {
            self.say("username", username);
            match username.contains('@') {
                true => self.say("account", username),
                false => self.sign("username-is-no-address"),
            }
        }
        if let Some(sender) = &situation.sender {
            let sender = sender.to_string();
            self.say("sender", &sender);
            let account = situation.username.as_deref();
            let is_other = |name: &str| name.contains('@') && !name.eq_ignore_ascii_case(&sender);
            if account.is_some_and(is_other) {
                self.sign("sender-differs");
            }
        }
    }

    /// What the server has said of itself.
    fn dialogue(&mut self) {
        let session = self.situation.session.as_ref();
        let greeting = session.map(|session| session.greeting());
        if let Some(greeting) = greeting.or(self.error.progress().greeting.as_ref()) {
            let text = greeting.text();
            let lower = text.to_lowercase();
            if lower.contains("ftp") && !lower.contains("smtp") {
                self.sign("greeting-ftp");
            }
            if is_masked(&text) {
                self.sign("greeting-masked");
            }
            self.say("greeting", &text);
        }
        self.replied();
        let clear = match (session, self.situation.security) {
            (Some(session), _) => session.tls().is_none(),
            (None, Security::Plaintext) => true,
            (None, Security::Implicit | Security::StartTls | Security::Opportunistic) => false,
        };
        if clear {
            self.sign("in-clear");
        }
        if let Some(offers) = self.offers.take() {
            self.offered(&offers);
            self.offers = Some(offers);
        }
    }

    /// What the refusal itself says.
    fn replied(&mut self) {
        let Some(reply) = self.error.reply() else {
            return;
        };
        if reply.enhanced().is_some_and(|code| code.subject() == 2) {
            self.sign("status-mailbox");
        }
        let text = reply.text().to_lowercase();
        if text.contains("lhlo") || text.contains("this is lmtp") {
            self.sign("spoken-lmtp");
        }
        if DOMAIN_LISTS.iter().any(|list| text.contains(list)) {
            self.sign("domain-listed");
        }
    }

    fn offered(&mut self, offers: &Extensions) {
        if offers.offers("STARTTLS") {
            self.sign("offers-starttls");
        }
        let is_crossed_out = |line: &[u8]| line.len() >= 8 && line.iter().all(is_cross);
        if offers.lines().any(is_crossed_out) {
            self.sign("starttls-masked");
        }
        if let Some(limit) = offers.size() {
            self.say("size-limit", &in_megabytes(limit));
        }
        let mechanisms: Vec<_> = offers.auth_mechanisms().collect();
        let names: Vec<_> = mechanisms.iter().map(|name| name.as_str()).collect();
        self.say("mechanisms", &names.join(", "));
        let usable = |name| self.situation.mechanisms.contains(name);
        let all = |known: &[&str]| names.iter().all(|name| known.contains(name));
        if mechanisms.is_empty() {
            self.sign("offers-no-auth");
        } else if mechanisms.iter().any(usable) {
            self.sign("offers-usable");
        } else if all(&OAUTH) {
            self.sign("offers-only-oauth");
        } else if all(&WINDOWS) {
            self.sign("offers-only-windows");
        }
    }

    fn evidence(&mut self, evidence: &Evidence) {
        match evidence {
            Evidence::Certificate(refused) => self.certificate(refused),
            Evidence::Tls(problem) => self.tls(*problem),
            Evidence::Spoken(spoken) => match spoken {
                Spoken::SmtpInClear => {}
                Spoken::Tls => self.sign("spoken-tls"),
                Spoken::Http => self.spoken("spoken-http"),
                Spoken::Imap => self.spoken("spoken-imap"),
                Spoken::Pop3 => self.spoken("spoken-pop3"),
                Spoken::Ssh => self.spoken("spoken-ssh"),
            },
            Evidence::Resolution(problem) => match problem {
                Resolution::NoSuchName => {}
                Resolution::NoAddress => self.sign("no-address"),
                Resolution::Failed | Resolution::TimedOut => self.sign("resolver-failed"),
            },
            Evidence::Attempts(attempts) => self.attempts(attempts),
            Evidence::AddressPolicy => self.sign("address-policy"),
            Evidence::Shortfall(shortfall) => match shortfall.need {
                Need::Size => self.sign("too-large"),
                Need::EightBit
                | Need::Binary
                | Need::Utf8
                | Need::RequireTls
                | Need::Parameter
                | Need::Time
                | Need::Recipients
                | Need::RecipientDomains
                | Need::Transaction
                | Need::LongLines
                | Need::Newlines
                | Need::LongAddress
                | Need::LongCommand
                | Need::OneReply => {}
            },
            Evidence::ReplyLost => self.sign("reply-lost"),
        }
    }

    fn spoken(&mut self, sign: &'static str) {
        self.sign(sign);
        self.sign("spoken-other");
    }

    fn attempts(&mut self, attempts: &[Attempt]) {
        self.sign("attempts");
        let unreachable = |attempt: &Attempt| {
            matches!(
                attempt.problem,
                io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::AddrNotAvailable
                    | io::ErrorKind::NetworkDown
            )
        };
        if attempts.iter().all(unreachable) {
            self.sign("unreachable");
        }
        let addresses: Vec<_> = attempts
            .iter()
            .map(|attempt| attempt.address.ip().to_string())
            .collect();
        self.say("addresses", &addresses.join(", "));
    }

    fn tls(&mut self, problem: TlsProblem) {
        // The alerts of RFC 8446 §6.2, and of the versions before.
        match problem {
            TlsProblem::Alert(41 | 42 | 116) => self.sign("alert-client-certificate"),
            TlsProblem::Alert(70 | 86) | TlsProblem::Version => self.sign("tls-version"),
            TlsProblem::Alert(40 | 71) | TlsProblem::Cipher => self.sign("tls-cipher"),
            TlsProblem::Alert(112) => self.sign("alert-name"),
            TlsProblem::ClosedWithin => self.sign("tls-closed-within"),
            TlsProblem::ClosedAfter => self.sign("tls-closed-after"),
            TlsProblem::NotTls => self.sign("tls-not-tls"),
            TlsProblem::Alert(_) | TlsProblem::Other => {}
        }
        self.say("expected", self.expected_name());
    }

    fn expected_name(&self) -> &'a str {
        let name = self.situation.certificate_name.as_deref();
        name.unwrap_or(&self.situation.host)
    }
}

fn offers(error: &Error, situation: &Situation) -> Option<Extensions> {
    match &situation.session {
        Some(session) => Some(session.extensions().clone()),
        None => error.progress().offers.clone().map(Extensions::new),
    }
}

/// When it happened, as a phrase.
fn moment(stage: Stage) -> &'static str {
    match stage {
        Stage::Resolve => "while the name was looked up",
        Stage::Connect => "while connecting",
        Stage::Greeting => "before its greeting",
        Stage::Ehlo => "at the introduction",
        Stage::StartTls => "when encryption was asked for",
        Stage::Handshake => "while the encryption was set up",
        Stage::Auth => "during the log-in",
        Stage::Mail => "when the sender was named",
        Stage::Rcpt => "when a recipient was named",
        Stage::Data => "before the message",
        Stage::Body => "while the message was sent",
        Stage::Quit => "at the end",
    }
}

/// Cisco's PIX and ASA put asterisks over a greeting, all but a few characters of it.
fn is_masked(greeting: &str) -> bool {
    let stars = greeting.chars().filter(|c| *c == '*').count();
    stars >= 8 && stars * 2 > greeting.chars().count()
}

/// They put crosses over an offer that they don't let pass, the last one sometimes another letter.
fn is_cross(octet: &u8) -> bool {
    matches!(octet, b'X' | b'A' | b'B')
}

fn in_megabytes(octets: u64) -> String {
    match octets {
        0..1_000_000 => format!("{octets} bytes"),
        _ => format!("{}.{} MB", octets / 1_000_000, octets / 100_000 % 10),
    }
}

fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(LENGTH)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(LENGTH).is_some() {
        shown.push('…');
    }
    shown
}

/// Characters of a fact in a text.
const LENGTH: usize = 400;

/// Mechanisms that take a token.
const OAUTH: [&str; 2] = ["XOAUTH2", "OAUTHBEARER"];
/// Mechanisms of Windows domains.
const WINDOWS: [&str; 4] = ["NTLM", "GSSAPI", "GSS-SPNEGO", "NEGOTIATE"];

/// Block lists of domains: of senders, and of links in messages.
const DOMAIN_LISTS: [&str; 6] = [
    "dbl.spamhaus",
    "surbl.org",
    "uribl.com",
    "rhsbl",
    "ivmuri",
    "domain block list",
];

/// Every sign that rules and conditions may name.
pub(super) const SIGNS: [&str; 64] = [
    "address-policy",
    "alert-client-certificate",
    "alert-name",
    "at-auth",
    "at-greeting",
    "attempts",
    "certificate-authoritys-own",
    "certificate-bad",
    "certificate-expired",
    "certificate-incomplete-chain",
    "certificate-missing",
    "certificate-not-yet-valid",
    "certificate-pin-mismatch",
    "certificate-revoked",
    "certificate-self-signed",
    "certificate-unknown-issuer",
    "certificate-wrong-name",
    "certified-own",
    "credentials-given",
    "domain-listed",
    "greeting-ftp",
    "greeting-masked",
    "host-is-mail-address",
    "host-is-url",
    "host-malformed",
    "in-clear",
    "inspected",
    "issuer-expired",
    "near-host",
    "no-address",
    "offers-no-auth",
    "offers-only-oauth",
    "offers-only-windows",
    "offers-starttls",
    "offers-usable",
    "other-port",
    "password",
    "port-25",
    "port-465",
    "port-587",
    "proxy",
    "reply-lost",
    "resolver-failed",
    "sender-differs",
    "spoken-http",
    "spoken-imap",
    "spoken-lmtp",
    "spoken-other",
    "spoken-pop3",
    "spoken-ssh",
    "spoken-tls",
    "starttls-masked",
    "status-mailbox",
    "temporary",
    "tls-at-once",
    "tls-cipher",
    "tls-closed-after",
    "tls-closed-within",
    "tls-not-tls",
    "tls-version",
    "token",
    "too-large",
    "unreachable",
    "username-is-no-address",
];

/// Every fact that texts may hold.
pub(super) const WORDS: [&str; 27] = [
    "account",
    "addresses",
    "certified",
    "encryption",
    "expected",
    "fingerprint",
    "greeting",
    "hint",
    "host",
    "issuer",
    "issuer-location",
    "kept",
    "mechanisms",
    "message",
    "names",
    "near",
    "not-after",
    "not-before",
    "port",
    "provider",
    "provider-settings",
    "sender",
    "size-limit",
    "stage",
    "subject",
    "today",
    "username",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firewalls_marks_are_known_from_words() {
        assert!(is_masked("**************2******200****0*00"));
        assert!(!is_masked("mx.example.org *** no spam *** ESMTP"));
        for (line, expected) in [("XXXXXXXA", true), ("XXXXXXXX", true), ("XFORWARD", false)] {
            assert_eq!(
                line.bytes().all(|octet| is_cross(&octet)),
                expected,
                "{line}"
            );
        }
    }
}
