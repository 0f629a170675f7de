//! The server, as far as it is known, in the form of every JSON document.

use std::net::SocketAddr;

use serde::Serialize;

use crate::net::config::ClientConfig;
use crate::net::resolve::shown;
use crate::net::{Route, certificate};
use crate::proto::reply::push_printable;
use crate::proto::session::{Certificate, Session, TlsSession};

/// The server, as far as it is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Server {
    /// Its name or address, or the path of its socket.
    pub host: String,
    /// `None` on a Unix socket.
    pub port: Option<u16>,
    /// The address that was connected to.
    pub address: Option<SocketAddr>,
    /// The text of its greeting.
    pub greeting: Option<String>,
    /// What it offers, as it was said.
    pub extensions: Vec<String>,
    /// `None` in clear.
    pub tls: Option<Tls>,
    /// The SASL mechanism that logged in.
    pub auth: Option<String>,
}

/// The facts of a TLS session.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tls {
    /// As `TLSv1.3`.
    pub version: &'static str,
    /// By its IANA name.
    pub cipher: String,
    /// Whether the server is known to be the one that was meant.
    pub verified: bool,
    /// What it showed.
    pub certificate: Option<Shown>,
}

/// A certificate that was shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Shown {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The end of its validity in UTC, as `2030-01-31T12:00:00Z`.
    pub not_after: Option<String>,
    /// Its fingerprint in hexadecimal digits.
    pub sha256: String,
}

impl Server {
    /// A server of which nothing is known but what the configuration says.
    pub fn new(config: &ClientConfig) -> Self {
        let (host, port) = match &config.route {
            #[cfg(unix)]
            Route::UnixSocket(path) => (path.display().to_string(), None),
            Route::Direct | Route::Proxy(_) => (shown(&config.host).to_owned(), Some(config.port)),
        };
        Self {
            host,
            port,
            address: None,
            greeting: None,
            extensions: Vec::new(),
            tls: None,
            auth: None,
        }
    }

    /// With what a session has found.
    #[must_use]
    pub fn with_session(self, session: &Session) -> Self {
        let auth = session.auth();
        Self {
            greeting: Some(session.greeting().text()),
            extensions: session.extensions().lines().map(printable).collect(),
            tls: session.tls().map(Tls::of),
            auth: auth.map(|mechanism| mechanism.as_str().to_owned()),
            ..self
        }
    }
}

impl Tls {
    pub(super) fn of(session: &TlsSession) -> Self {
        Self {
            version: session.version,
            cipher: session.cipher.clone(),
            verified: session.verification.is_verified(),
            certificate: session.certificate.as_deref().map(Shown::of),
        }
    }
}

impl Shown {
    fn of(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            not_after: time(certificate.not_after),
            sha256: certificate.fingerprint(),
        }
    }
}

/// A peer's octets without control characters.
pub(super) fn printable(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    push_printable(&mut text, octets);
    text
}

/// RFC 3339; `None` for what is before 1970 or no year of four digits.
fn time(seconds: i64) -> Option<String> {
    let seconds = u64::try_from(seconds).ok().filter(|&s| s < YEAR_10000)?;
    let date = certificate::date(seconds);
    let of_day = seconds % 86_400;
    let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    Some(format!("{date}T{hours:02}:{minutes:02}:{seconds:02}Z"))
}

/// In seconds since 1970.
const YEAR_10000: u64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_to_the_second() {
        for (seconds, expected) in [
            (0, Some("1970-01-01T00:00:00Z")),
            (1_735_689_599, Some("2024-12-31T23:59:59Z")),
            (253_402_300_799, Some("9999-12-31T23:59:59Z")),
            (253_402_300_800, None),
            (-1, None),
        ] {
            assert_eq!(time(seconds).as_deref(), expected);
        }
    }
}
