//! From what was typed to what can be used, and all that is wrong with it at once.

use std::net::IpAddr;

use super::account::{Account, Server};
use super::remark::{Field, Problems, Remark, RemarkKind};
use super::{Settings, advice};
use crate::net::{Trust, resolve};
use crate::proto::address::Mailbox;
use crate::proto::config::PlaintextAuth;
use crate::proto::labels;
use crate::proto::sasl::{Credentials, CredentialsError};
use crate::providers::{self, Encryption};

/// The account, or all problems.
pub(super) fn account(settings: &Settings) -> Result<Account, Problems> {
    let mut judge = Judge {
        settings,
        problems: Vec::new(),
    };
    let sender = judge.sender();
    let from_name = judge.sender_name();
    let host = judge.host();
    let (port, encryption) = judge.port_and_encryption();
    let credentials = judge.credentials();
    let trust = judge.trust();
    if encryption == Some(Encryption::None) {
        judge.password_in_clear();
    }
    // What is `None` has said why.
    match (sender, host, port, encryption, trust) {
        (Some(sender), Some(host), Some(port), Some(encryption), Some(trust))
            if judge.problems.is_empty() =>
        {
            let account = Account {
                sender,
                from_name,
                server: Server {
                    provider: providers::by_host(&host),
                    host,
                    port,
                    encryption,
                    trust,
                },
                credentials,
                plaintext_auth: settings.plaintext_auth,
                warnings: Vec::new(),
            };
            Ok(advice::with_warnings(account, &settings.password))
        }
        _ => Err(Problems::new(judge.problems)),
    }
}

struct Judge<'a> {
    settings: &'a Settings,
    problems: Vec<Remark>,
}

impl Judge<'_> {
    fn say(&mut self, remark: Remark) {
        self.problems.push(remark);
    }

    fn sender(&mut self) -> Option<Mailbox> {
        let text = self.settings.sender_email.trim();
        if text.is_empty() {
            self.say(Remark::new(
                Field::SenderEmail,
                RemarkKind::Missing,
                "Write the address that mail comes from, such as jo@example.org.",
            ));
            return None;
        }
        let error = match text.parse::<Mailbox>() {
            Ok(mailbox) => return Some(mailbox),
            Err(error) => error,
        };
        let remark = match address_within(text) {
            Some(address) => Remark::new(
                Field::SenderEmail,
                RemarkKind::Surplus,
                format!(
                    "Write the address alone, {address}; a name goes into the field from_name."
                ),
            )
            .instead(address),
            None if text.contains([',', ';']) => Remark::new(
                Field::SenderEmail,
                RemarkKind::Surplus,
                "Mail comes from one address. Write one alone, such as jo@example.org.",
            ),
            None => Remark::new(
                Field::SenderEmail,
                RemarkKind::Malformed,
                format!(
                    "This is no address, since {}. Write one such as jo@example.org.",
                    error.problem()
                ),
            ),
        };
        self.say(remark);
        None
    }

    fn sender_name(&mut self) -> Option<String> {
        let text = self.settings.from_name.trim();
        if text.chars().any(char::is_control) {
            let cleaned: Vec<_> = text
                .split(|c: char| c.is_control() || c.is_whitespace())
                .filter(|word| !word.is_empty())
                .collect();
            let remark = Remark::new(
                Field::FromName,
                RemarkKind::Malformed,
                "The name has a line end or another control character. Write it on one line.",
            );
            self.say(remark.instead(cleaned.join(" ")));
            return None;
        }
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn host(&mut self) -> Option<String> {
        match host(self.settings.host.trim()) {
            Ok(host) => Some(host),
            Err(remark) => {
                self.say(remark);
                None
            }
        }
    }

    /// Each has a default that follows from the other.
    fn port_and_encryption(&mut self) -> (Option<u16>, Option<Encryption>) {
        let port = self.port();
        let text = self.settings.encryption.trim();
        let encryption = match text.is_empty() {
            true => Ok(None),
            false => text.parse().map(Some),
        };
        match (port, encryption) {
            (port, Err(_)) => {
                self.say(Remark::new(
                    Field::Encryption,
                    RemarkKind::UnknownValue,
                    format!(
                        "{} is not known. Write STARTTLS (port 587), TLS (port 465, also called \
                         SSL) or none (port 25).",
                        shown(text)
                    ),
                ));
                (port.unwrap_or_default(), None)
            }
            (None, Ok(encryption)) => (None, Some(encryption.unwrap_or(Encryption::StartTls))),
            (Some(port), Ok(encryption)) => {
                let encryption = encryption.unwrap_or(match port {
                    Some(465) => Encryption::Tls,
                    Some(_) | None => Encryption::StartTls,
                });
                (
                    Some(port.unwrap_or(encryption.default_port())),
                    Some(encryption),
                )
            }
        }
    }

    /// `None` where it is wrong, `Some(None)` where it is empty.
    fn port(&mut self) -> Option<Option<u16>> {
        let text = self.settings.port.trim();
        if text.is_empty() {
            return Some(None);
        }
        // `+25` is a number to Rust.
        let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
        match text.parse::<u16>() {
            Ok(port) if port > 0 && is_number => return Some(Some(port)),
            Ok(_) | Err(_) => {}
        }
        let remark = Remark::new(
            Field::Port,
            RemarkKind::Malformed,
            format!(
                "{} is no port. Write a number from 1 to 65535: 587 goes with STARTTLS, 465 with \
                 TLS, 25 with no encryption.",
                shown(text)
            ),
        );
        self.say(match number_within(text) {
            Some(port) => remark.instead(port.to_string()),
            None => remark,
        });
        None
    }

    fn credentials(&mut self) -> Option<Credentials> {
        let username = self.settings.username.trim();
        let password = &self.settings.password;
        match (username.is_empty(), password.is_empty()) {
            (true, true) => return None,
            (true, false) => {
                let remark = Remark::new(
                    Field::Username,
                    RemarkKind::Missing,
                    "There is a password, and nobody to log in with it. Write the account's user \
                     name, which mostly is its whole address; or leave the password out.",
                );
                let sender = self.settings.sender_email.trim();
                self.say(match sender.parse::<Mailbox>() {
                    Ok(_) => remark.instead(sender),
                    Err(_) => remark,
                });
                return None;
            }
            (false, true) => {
                self.say(Remark::new(
                    Field::Password,
                    RemarkKind::Missing,
                    "There is a user name, and no password. Write the password; or leave the user \
                     name out, for a server that asks for no log-in.",
                ));
                return None;
            }
            (false, false) => {}
        }
        let remark = match Credentials::password(username, password.expose()) {
            Ok(credentials) => return Some(credentials),
            Err(CredentialsError::Username) => Remark::new(
                Field::Username,
                RemarkKind::Malformed,
                "The user name has a line end or another control character. Write it on one line.",
            ),
            Err(CredentialsError::Password | CredentialsError::Token) => Remark::new(
                Field::Password,
                RemarkKind::Malformed,
                "The password has a line end or another control character, most likely from \
                 copying. Write it anew.",
            ),
            Err(CredentialsError::TooLong) => Remark::new(
                Field::Password,
                RemarkKind::Malformed,
                "User name and password together are longer than any server takes. Write the \
                 password alone.",
            ),
        };
        self.say(remark);
        None
    }

    /// The engine would refuse it later, with the connection open.
    fn password_in_clear(&mut self) {
        let has_login = !self.settings.username.trim().is_empty();
        match self.settings.plaintext_auth {
            PlaintextAuth::Refuse if has_login => self.say(
                Remark::new(
                    Field::Encryption,
                    RemarkKind::InClear,
                    "Without encryption everybody on the way can read the password. Choose STARTTLS \
                     (port 587) or TLS (port 465); or leave user name and password out, for a \
                     server that asks for no log-in.",
                )
                .instead(Encryption::StartTls.as_str()),
            ),
            PlaintextAuth::Refuse | PlaintextAuth::Allow => {}
        }
    }

    fn trust(&mut self) -> Option<Trust> {
        let validate = self.validate_certificate();
        let pin = self.settings.certificate_sha256.trim();
        if pin.is_empty() {
            return validate.map(|validate| match validate {
                true => Trust::Native,
                false => Trust::Off,
            });
        }
        if validate == Some(false) {
            self.say(
                Remark::new(
                    Field::ValidateCertificate,
                    RemarkKind::Contradiction,
                    "Validation is switched off, and one certificate is to be accepted only. Switch \
                     validation on: then the server must show exactly that certificate.",
                )
                .instead("true"),
            );
        }
        let fingerprint = fingerprint(pin);
        if fingerprint.is_none() {
            self.say(Remark::new(
                Field::CertificateSha256,
                RemarkKind::Malformed,
                "This is no SHA-256 fingerprint. Write its 64 hexadecimal digits, with or without \
                 colons.",
            ));
        }
        fingerprint.map(Trust::Pinned)
    }

    fn validate_certificate(&mut self) -> Option<bool> {
        let text = self.settings.validate_certificate.trim();
        match text.to_ascii_lowercase().as_str() {
            "" | "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => {
                let remark = Remark::new(
                    Field::ValidateCertificate,
                    RemarkKind::UnknownValue,
                    format!("{} is neither true nor false. Write true.", shown(text)),
                );
                self.say(remark.instead("true"));
                None
            }
        }
    }
}

/// The host in ASCII.
fn host(text: &str) -> Result<String, Remark> {
    let say = |kind, message: String| Remark::new(Field::Host, kind, message);
    if text.is_empty() {
        return Err(say(
            RemarkKind::Missing,
            "Write the name of the server for outgoing mail, such as smtp.example.org.".to_owned(),
        ));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    if is_host_name(name) {
        return Ok(name.to_owned());
    }
    if !name.is_ascii()
        && let Some(name) = labels::to_ascii(name).filter(|name| is_host_name(name))
    {
        return Ok(name);
    }
    // A password may stand before an '@', and with it any sign that ends a host.
    let place = resolve::shown(text);
    Err(mended(text, place).unwrap_or_else(|| {
        say(
            RemarkKind::Malformed,
            format!(
                "{} is no host name. Write the name of the server for outgoing mail, such as \
                 smtp.example.org.",
                shown(place)
            ),
        )
    }))
}

/// What was most likely meant, where something was pasted besides the host, or a sign is wrong.
/// `place` is what may be shown of `text`.
fn mended(text: &str, place: &str) -> Option<Remark> {
    let say = |kind, message| Some(Remark::new(Field::Host, kind, message));
    let (host, port) = host_and_port(place.split('/').next().unwrap_or(place));
    let host = host.trim_matches(['[', ']']);
    if host.parse::<IpAddr>().is_err() && !is_host_name(host) {
        let corrected = corrected(host).filter(|host| is_host_name(host))?;
        let message = format!(
            "{} is no host name. Write {corrected}, if that was meant.",
            shown(place)
        );
        return Some(say(RemarkKind::Malformed, message)?.instead(corrected));
    }
    let before = text.rsplit_once('@').map(|(before, _)| before);
    if before.is_some_and(|name| !name.contains([':', '/'])) {
        let message = "This is an address, since it has an '@'. Write the name of the server for \
                       outgoing mail, such as smtp.example.org.";
        let remark = say(RemarkKind::Surplus, message.to_owned())?;
        let server = providers::by_domain(host).and_then(|provider| provider.endpoints.first());
        return Some(match server {
            Some(endpoint) => remark.instead(endpoint.host.as_str()),
            None => remark,
        });
    }
    let message = match (port, before) {
        (_, Some(_)) => format!(
            "Write the host alone, {host}; user name, password and port have fields of their own."
        ),
        (Some(port), None) => format!(
            "Write the host alone, {host}; the port, {}, goes into the field port.",
            shown(port)
        ),
        (None, None) if text.contains("://") => {
            format!("Write the host alone, {host}, without a scheme before it.")
        }
        (None, None) => format!("Write the host alone, {host}, with nothing behind it."),
    };
    Some(say(RemarkKind::Surplus, message)?.instead(host))
}

/// What stands before a `:` or a space, and the digits behind it.
fn host_and_port(place: &str) -> (&str, Option<&str>) {
    let is_port = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    let is_space = |c: char| c.is_whitespace();
    let split = place
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'))
        .or_else(|| {
            place
                .rsplit_once(is_space)
                .filter(|(_, port)| is_port(port))
        });
    match split {
        Some((host, port)) => {
            let port = port.trim();
            let is_number = !port.is_empty() && is_port(port);
            (host.trim(), is_number.then_some(port))
        }
        None => (place.trim(), None),
    }
}

/// With commas, double dots and dots at the ends put right.
fn corrected(host: &str) -> Option<String> {
    let labels: Vec<_> = host.split(['.', ',']).map(str::trim).collect();
    let labels: Vec<_> = labels
        .into_iter()
        .filter(|label| !label.is_empty())
        .collect();
    (labels.len() > 1).then(|| labels.join("."))
}

/// The address in what was written around it: a name and brackets, `mailto:`, spaces.
fn address_within(text: &str) -> Option<String> {
    let inner = text
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'))
        .map_or(text, |(_, address)| address);
    let scheme = inner.get(..MAILTO.len());
    let inner = match scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(MAILTO)) {
        true => &inner[MAILTO.len()..],
        false => inner,
    };
    let address: String = inner.chars().filter(|c| !c.is_whitespace()).collect();
    address.parse::<Mailbox>().is_ok().then_some(address)
}

const MAILTO: &str = "mailto:";

/// The port in what was written around it, where there is one number only.
fn number_within(text: &str) -> Option<u16> {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty());
    let number = numbers.next()?.parse().ok().filter(|port| *port > 0);
    match numbers.next() {
        Some(_) => None,
        None => number,
    }
}

/// RFC 1123 §2.1, and the underscores that people have all the same.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label) && !is_broken_address(text)
}

/// `192.168.1` and `1.2.3.4.5` are no names: a top-level domain is not all digits (RFC 3696 §2).
fn is_broken_address(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    last.bytes().all(|octet| octet.is_ascii_digit())
}

/// 64 hexadecimal digits in any case, with or without colons or spaces between.
pub(crate) fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !matches!(c, ':' | ' '))
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    if digits.len() != 64 {
        return None;
    }
    let octets: Vec<u8> = digits
        .chunks(2)
        .map(|pair| {
            pair.iter()
                .fold(0, |octet, digit| octet << 4 | *digit as u8)
        })
        .collect();
    octets.try_into().ok()
}

/// What was typed, for a message: in quotes, not too much of it.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
