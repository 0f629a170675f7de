//! Settings to use instead.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::situation::Written;
use crate::providers::{Encryption, Provider};

/// Settings to use instead of those that failed. Each field is to be set as it is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// The server's name. A name that only a certificate has is suggested if it is of the same domain,
    /// or of the provider that is meant; and right only if the provider names it too.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is to be protected.
    pub encryption: Encryption,
    /// The SHA-256 fingerprint of the one certificate to accept, in hexadecimal digits. It is right
    /// only if whoever runs the server confirms it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_sha256: Option<String>,
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encryption = self.encryption;
        write!(
            f,
            "host {}, port {}, encryption {encryption}",
            self.host, self.port
        )?;
        match &self.certificate_sha256 {
            Some(fingerprint) => write!(f, ", certificate {fingerprint}"),
            None => Ok(()),
        }
    }
}

/// Where a suggestion comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Source {
    /// A known host that differs by a slip of the keyboard.
    NearHost,
    /// The host within a URL.
    KeptHost,
    /// What the provider has.
    Provider,
    /// TLS on the same port.
    TlsHere,
    /// TLS on the same port, unless it is one that is known to begin in clear.
    TlsPerhaps,
    /// STARTTLS on the same port.
    #[serde(rename = "starttls-here")]
    StartTlsHere,
    /// Port 465, by TLS.
    #[serde(rename = "tls-465")]
    Tls465,
    /// Port 587, by STARTTLS.
    #[serde(rename = "starttls-587")]
    StartTls587,
    /// A name that the certificate has.
    CertificateName,
    /// Exactly the certificate that was shown.
    Pin,
}

/// The first that can be given, and is not what is set already.
pub(super) fn first(sources: &[Source], facts: &Facts<'_>) -> Option<Suggestion> {
    let now = current(facts);
    sources
        .iter()
        .filter_map(|source| source.settings(&now, facts))
        .find(|settings| *settings != now || facts.situation.written != Written::Name)
}

impl Source {
    fn settings(self, now: &Suggestion, facts: &Facts<'_>) -> Option<Suggestion> {
        let at_port = |port, encryption| Suggestion {
            port,
            encryption,
            ..now.clone()
        };
        let at_host = |host: &str| Suggestion {
            host: host.to_owned(),
            ..now.clone()
        };
        Some(match self {
            Self::NearHost => at_host(facts.word("near")?),
            Self::KeptHost => at_host(facts.word("kept")?),
            Self::Provider => return provided(facts.situation.intended_provider()?, now),
            Self::TlsHere => at_port(now.port, Encryption::Tls),
            Self::TlsPerhaps if matches!(now.port, 25 | 587) => return None,
            Self::TlsPerhaps => at_port(now.port, Encryption::Tls),
            Self::StartTlsHere => at_port(now.port, Encryption::StartTls),
            Self::Tls465 => at_port(465, Encryption::Tls),
            Self::StartTls587 => at_port(587, Encryption::StartTls),
            // A stranger's certificate must not say where to send the password.
            Self::CertificateName if !facts.meet("certified-own") => return None,
            Self::CertificateName => at_host(facts.word("certified")?),
            // A certificate made by something in between is nobody's to be pinned.
            Self::Pin if facts.meet("inspected") => return None,
            Self::Pin => Suggestion {
                certificate_sha256: Some(facts.word("fingerprint")?.to_owned()),
                ..now.clone()
            },
        })
    }
}

/// What is set now. Opportunistic encryption is no setting of a form: what it tries is STARTTLS.
fn current(facts: &Facts<'_>) -> Suggestion {
    let situation = facts.situation;
    Suggestion {
        host: situation.host.clone(),
        port: situation.port,
        encryption: Encryption::of(situation.security).unwrap_or(Encryption::StartTls),
        certificate_sha256: None,
    }
}

/// The provider's best settings: those of the same host, if it is one of its own. None, where what is
/// set is one of them.
fn provided(provider: &Provider, now: &Suggestion) -> Option<Suggestion> {
    let mut endpoints = provider.endpoints_at(&now.host);
    if endpoints.is_empty() {
        endpoints.clone_from(&provider.endpoints);
    }
    let settings = |endpoint: &crate::providers::Endpoint| Suggestion {
        host: endpoint.host.clone(),
        port: endpoint.port,
        encryption: endpoint.encryption,
        certificate_sha256: None,
    };
    match endpoints.iter().any(|endpoint| settings(endpoint) == *now) {
        // What is set is right, and failed: the next best, if there is one.
        true => endpoints.iter().map(settings).find(|other| other != now),
        false => endpoints.first().map(settings),
    }
}
