//! What certificates, offers and settings mean, in words for people who have never read an RFC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::server::printable;
use crate::net::certificate::date;
use crate::net::config::ClientConfig;
use crate::net::{Route, Trust};
use crate::proto::config::{Login, PlaintextAuth, Security};
use crate::proto::session::{Certificate, Session, TlsSession};
use crate::providers::{LoginForm, Provider, UsernameForm};

/// An offer of the server, and what it is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Meaning {
    /// The line, as the server said it.
    pub offer: String,
    /// What it means. `None` for what has no common meaning.
    pub meaning: Option<String>,
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.meaning {
            Some(meaning) => write!(f, "{}: {meaning}", self.offer),
            None => f.write_str(&self.offer),
        }
    }
}

/// The offers, in the server's order.
pub(super) fn offers(session: &Session) -> Vec<Meaning> {
    let extensions = session.extensions();
    extensions
        .lines()
        .map(|line| {
            let offer = printable(line);
            let keyword = offer.split([' ', '=']).next().unwrap_or_default();
            let meaning = match keyword.to_ascii_uppercase().as_str() {
                "SIZE" => Some(size(extensions.size())),
                "AUTH" => Some(auth(session)),
                keyword => fixed(keyword).map(str::to_owned),
            };
            Meaning { offer, meaning }
        })
        .collect()
}

/// Names, issuer and dates.
pub(super) fn certificate(certificate: &Certificate) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match certificate.names.is_empty() {
        true => format!("for no host at all ({})", certificate.subject),
        false => format!("for {}", shortened(&certificate.names)),
    });
    lines.push(match certificate.issuer == certificate.subject {
        true => "issued by itself (self-signed)".to_owned(),
        false => format!("issued by {}", certificate.issuer),
    });
    if let Ok(end) = u64::try_from(certificate.not_after) {
        let left = days_left(certificate);
        lines.push(match left {
            ..0 => format!("expired on {}", date(end)),
            left => format!("valid until {}: {left} more {}", date(end), days(left)),
        });
    }
    lines.push(format!("SHA-256 {}", certificate.fingerprint()));
    lines
}

/// What works, but should not stay as it is.
pub(super) fn warnings(
    config: &ClientConfig,
    session: Option<&Session>,
    tls: Option<&TlsSession>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let logs_in = !matches!(config.session.login, Login::Nobody);
    let may_be_secure = config.session.security != Security::Plaintext;
    if config.tls.trust() == Trust::Off && may_be_secure {
        warnings.push(
            "The server's certificate is not checked: anybody between here and there can read and \
             change everything, the password included. Pin the certificate by its SHA-256 instead."
                .to_owned(),
        );
    }
    let may_be_clear = match config.session.security {
        Security::Plaintext | Security::Opportunistic => true,
        Security::StartTls | Security::Implicit => false,
    };
    if let (Some(session), None, true) = (session, tls, may_be_clear) {
        let abroad = matches!(config.route, Route::Direct | Route::Proxy(_));
        if session.auth().is_some()
            || logs_in && config.session.plaintext_auth == PlaintextAuth::Allow
        {
            warnings.push(
                "The log-in goes without TLS: everybody on the way can read the password."
                    .to_owned(),
            );
        } else if abroad {
            warnings.push(
                "The connection is not encrypted: everybody on the way can read the mail."
                    .to_owned(),
            );
        }
        if session.extensions().offers("STARTTLS") {
            warnings.push("The server offers STARTTLS: switch encryption to it.".to_owned());
        }
    }
    if let Some(certificate) = tls.and_then(|tls| tls.certificate.as_ref()) {
        let left = days_left(certificate);
        if (0..SOON).contains(&left) {
            warnings.push(format!(
                "The certificate expires in {left} {}: whoever runs the server must renew it.",
                days(left)
            ));
        }
    }
    if tls.is_some_and(|tls| tls.version != "TLSv1.3") {
        warnings.push(
            "The server speaks no newer TLS than 1.2. That is safe as it is used here, and due for \
             an update."
                .to_owned(),
        );
    }
    warnings
}

/// How a provider wants people to log in, and how much it lets them send.
pub(super) fn provider(provider: &Provider) -> Vec<String> {
    let mut lines = Vec::new();
    let secrets: Vec<_> = provider.login.iter().map(|form| secret(*form)).collect();
    lines.push(format!(
        "{}: log in with {}, by {}",
        provider.name,
        match &provider.username {
            UsernameForm::Address => "the whole address".to_owned(),
            UsernameForm::LocalPart => "the part of the address before the @".to_owned(),
            UsernameForm::Fixed(name) => format!("the user name {name}"),
            UsernameForm::Credential => "the user name made for sending mail".to_owned(),
            UsernameForm::Any => "the account's name".to_owned(),
        },
        secrets.join(", or ")
    ));
    if let Some(app_password) = &provider.app_password {
        lines.push(format!("app passwords are made at {}", app_password.url));
    }
    for limit in &provider.limits {
        let note = limit
            .note
            .as_ref()
            .map_or_else(String::new, |note| format!(" ({note})"));
        lines.push(format!("at most {} {}{note}", limit.most, limit.of.words()));
    }
    lines.extend(provider.notes.iter().cloned());
    lines.push(format!(
        "as of {}, by {}",
        provider.checked,
        provider.sources.join(", ")
    ));
    lines
}

fn secret(form: LoginForm) -> &'static str {
    match form {
        LoginForm::AccountPassword => "the account's password",
        LoginForm::AppPassword => "an app password",
        LoginForm::OAuth => "an OAuth 2.0 access token",
        LoginForm::Credential => "a key or password made for sending mail",
    }
}

fn size(limit: Option<u64>) -> String {
    match limit {
        Some(octets) => format!(
            "messages may have up to {}, attachments counted a third larger than their files",
            amount(octets)
        ),
        None => "the size of a message is told beforehand; no limit is stated".to_owned(),
    }
}

fn amount(octets: u64) -> String {
    match octets {
        ..1_000 => format!("{octets} octets"),
        1_000..1_000_000 => format!("{:.1} kB", octets as f64 / 1e3),
        _ => format!("{:.1} MB", octets as f64 / 1e6),
    }
}

fn auth(session: &Session) -> String {
    let usable: Vec<_> = session
        .extensions()
        .auth_mechanisms()
        .filter(|name| name.is_known())
        .map(|name| name.to_string())
        .collect();
    match usable.is_empty() {
        true => "ways to log in, none of which is known here".to_owned(),
        false => format!("ways to log in; usable here: {}", usable.join(", ")),
    }
}

fn fixed(keyword: &str) -> Option<&'static str> {
    let meaning = match keyword {
        "8BITMIME" => "text beyond ASCII may be sent as it is",
        "BINARYMIME" => "attachments may be sent without being encoded",
        "CHUNKING" => "messages are sent in counted pieces, which is faster and safer",
        "DELIVERBY" => "a message can be given up if it is not delivered in time",
        "DSN" => "reports of delivery can be asked for",
        "ENHANCEDSTATUSCODES" => "errors come with precise codes",
        "ETRN" | "ATRN" | "TURN" => "for servers that fetch their mail; of no use here",
        "EXPN" | "VRFY" => "addresses could be asked for; most servers do not tell",
        "FUTURERELEASE" => "a message can be held until a time in the future",
        "HELP" => "the server can tell its commands",
        "LIMITS" => "the server states how much it takes in one session",
        "MT-PRIORITY" => "messages can have a priority",
        "PIPELINING" => "several commands travel at once, which is faster",
        "REQUIRETLS" => "encryption on the whole way to the recipient can be demanded",
        "SMTPUTF8" => "addresses may have letters beyond ASCII",
        "STARTTLS" => "the connection can be encrypted",
        _ => return None,
    };
    Some(meaning)
}

fn shortened(names: &[String]) -> String {
    let shown = names.iter().take(NAMES).cloned().collect::<Vec<_>>();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Whole days until it expires; negative once it has.
fn days_left(certificate: &Certificate) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    });
    certificate.not_after.saturating_sub(now).div_euclid(86_400)
}

fn days(count: i64) -> &'static str {
    match count {
        1 => "day",
        _ => "days",
    }
}

/// Names of a certificate that are listed.
const NAMES: usize = 5;
/// Days before the end of a certificate at which it should have been renewed.
const SOON: i64 = 21;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::session::Verification;
    use crate::providers;

    /// A certificate that expires in so many days and an hour.
    fn expiring(days: i64) -> Certificate {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let mut certificate = Certificate::new([7; 32]);
        certificate.subject = "CN=mail.example.org".into();
        certificate.issuer = "CN=an authority".into();
        certificate.names = (0..7).map(|n| format!("{n}.example.org")).collect();
        certificate.not_after = now as i64 + days * 86_400 + 3_600;
        certificate
    }

    #[test]
    fn a_certificate_that_expires_soon_is_warned_of() {
        let config = ClientConfig::new("mail.example.org", Security::Implicit);
        for (left, expected) in [(0, true), (1, true), (20, true), (21, false), (400, false)] {
            let tls = TlsSession::new("TLSv1.3", "x", Verification::Trusted)
                .with_certificate(expiring(left));
            let warnings = warnings(&config, None, Some(&tls));
            assert_eq!(
                warnings.len(),
                usize::from(expected),
                "{left}: {warnings:?}"
            );
            assert!(
                warnings
                    .iter()
                    .all(|warning| warning.contains("expires in"))
            );
        }
    }

    #[test]
    fn a_certificate_is_read_out_in_a_few_lines() {
        let lines = certificate(&expiring(1)).join("\n");
        for wanted in [
            "0.example.org",
            "and 2 more",
            "an authority",
            "1 more day",
            "SHA-256 07",
        ] {
            assert!(lines.contains(wanted), "{wanted} is missing: {lines}");
        }
        let lines = certificate(&expiring(-2)).join("\n");
        assert!(lines.contains("expired on"), "{lines}");
    }

    #[test]
    fn old_tls_is_warned_of() {
        let config = ClientConfig::new("mail.example.org", Security::StartTls);
        let tls = TlsSession::new("TLSv1.2", "x", Verification::Trusted);
        let [warning] = warnings(&config, None, Some(&tls)).try_into().unwrap();
        assert!(warning.contains("1.2"), "{warning}");
    }

    #[test]
    fn amounts_are_in_units_that_people_use() {
        for (octets, expected) in [
            (999, "999 octets"),
            (1_500, "1.5 kB"),
            (26_214_400, "26.2 MB"),
        ] {
            assert_eq!(amount(octets), expected);
        }
    }

    #[test]
    fn of_every_provider_there_is_something_to_say() {
        for known in providers::all() {
            let lines = provider(known);
            assert!(lines[0].contains(&known.name), "{lines:?}");
            assert!(lines.iter().all(|line| !line.is_empty()), "{lines:?}");
        }
        let gmail = provider(providers::by_id("gmail").unwrap()).join("\n");
        assert!(
            gmail.contains("app password") && gmail.contains("at most"),
            "{gmail}"
        );
    }
}
