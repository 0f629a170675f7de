//! Settings from a URL.

use super::read::ReadError;
use super::remark::Field;
use super::{Password, Settings};
use crate::net::proxy::percent_decoded;
use crate::providers::Encryption;

impl Settings {
    /// Reads a URL: `smtp://[USER[:PASSWORD]@]HOST[:PORT][?FIELD=VALUE&…]` for STARTTLS, `smtps://…`
    /// for TLS from the first octet. `?encryption=none` with `smtp:` is clear text.
    ///
    /// User, password and values are percent-encoded (RFC 3986 §2.1): `@` is `%40`, `:` is `%3A`, `/`
    /// is `%2F`, `%` is `%25`. A `+` is a plus.
    ///
    /// # Errors
    /// A URL of another form, or a name behind the `?` that is no field. No error shows any part of
    /// the URL.
    ///
    /// ```
    /// use ehlo::settings::Settings;
    ///
    /// let url = "smtps://jo%40example.org:p%2Fss@mail.example.org?sender_email=jo@example.org";
    /// let settings = Settings::from_url(url)?;
    /// assert_eq!(settings.username, "jo@example.org");
    /// assert_eq!(settings.account()?.port(), 465);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_url(url: &str) -> Result<Self, ReadError> {
        let url = url.trim();
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| wrong(&format!("this is no URL: write {FORM}")))?;
        let encryption = match scheme.to_ascii_lowercase().as_str() {
            "smtp" => Encryption::StartTls,
            "smtps" => Encryption::Tls,
            _ => return Err(wrong(&format!("the scheme is not known: write {FORM}"))),
        };
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let authority = place.strip_suffix('/').unwrap_or(place);
        if authority.contains(['/', '#']) || query.is_some_and(|query| query.contains('#')) {
            return Err(wrong(&format!(
                "there is something behind the host; {ENCODED}"
            )));
        }
        let mut settings = Self::default().with_encryption(encryption);
        settings.read_authority(authority)?;
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            if !pair.is_empty() {
                settings.read_pair(pair, encryption)?;
            }
        }
        Ok(settings)
    }

    /// RFC 3986 §3.2: `[ userinfo "@" ] host [ ":" port ]`.
    fn read_authority(&mut self, authority: &str) -> Result<(), ReadError> {
        let (userinfo, place) = match authority.rsplit_once('@') {
            Some((userinfo, place)) => (userinfo, place),
            None => ("", authority),
        };
        let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        self.username = decoded(username, Field::Username)?;
        self.password = Password::new(decoded(password, Field::Password)?);
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if host.ends_with(']') || !host.starts_with('[') => (host, port),
            Some(_) | None => (place, ""),
        };
        // It may be a piece of a password that is not encoded.
        if !port.bytes().all(|octet| octet.is_ascii_digit()) {
            let message = format!("what stands behind the host's ':' is no port; {ENCODED}");
            return Err(wrong(&message).of(Field::Port));
        }
        let host = decoded(host, Field::Host)?;
        self.host = host.trim_matches(['[', ']']).to_owned();
        self.port = port.to_owned();
        Ok(())
    }

    fn read_pair(&mut self, pair: &str, scheme: Encryption) -> Result<(), ReadError> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(field) = Field::named(name) else {
            let fields = BEHIND.map(Field::as_str).join(", ");
            let message = format!("a name behind the '?' is no field; there are {fields}");
            return Err(wrong(&message));
        };
        if !BEHIND.contains(&field) {
            return Err(wrong("it has a place of its own in the URL, before the '?'").of(field));
        }
        let value = decoded(value, field)?;
        if field == Field::Encryption && scheme == Encryption::Tls {
            return match value.parse() {
                Ok(Encryption::Tls) => Ok(()),
                Ok(Encryption::StartTls | Encryption::None) | Err(_) => Err(wrong(
                    "'smtps' is TLS from the first octet; write 'smtp' for anything else",
                )
                .of(field)),
            };
        }
        self.set(field, value);
        Ok(())
    }
}

fn decoded(text: &str, field: Field) -> Result<String, ReadError> {
    percent_decoded(text)
        .ok_or_else(|| wrong("a '%' escape is malformed; '%' itself is written %25").of(field))
}

fn wrong(message: &str) -> ReadError {
    ReadError::new(None, message)
}

const FORM: &str = "smtp://USER:PASSWORD@HOST:PORT or smtps://USER:PASSWORD@HOST:PORT";

const ENCODED: &str =
    "in a user name or a password '/' is written %2F, '?' %3F, '#' %23 and '@' %40";

/// The fields that have no place of their own in a URL.
const BEHIND: [Field; 5] = [
    Field::SenderEmail,
    Field::FromName,
    Field::Encryption,
    Field::ValidateCertificate,
    Field::CertificateSha256,
];
