//! Why a handshake failed, in words and as evidence.

use std::io;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use tokio_rustls::rustls;

use super::certificate::{date, untrusted};
use super::verify::{PinMismatch, is_authoritys_own};
use crate::proto::evidence::{
    CertificateProblem, Evidence, RefusedCertificate, Spoken, TlsProblem,
};
use crate::proto::session::{Certificate, TransportError, TransportErrorKind};

/// A handshake that has failed, as far as it had come.
pub(super) struct Failed<'a> {
    pub(super) start: Start,
    /// What the server sent first.
    pub(super) first: &'a [u8],
    /// The name that the certificate was to have.
    pub(super) expected: &'a str,
    /// The certificates that were refused, if that was it.
    pub(super) chain: Vec<Certificate>,
}

/// What the server has said before the handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing: TLS is due at once.
    AtOnce,
    /// That it is ready for TLS.
    AfterStartTls,
}

impl Failed<'_> {
    /// Why it failed. What the server said first decides, where it was not TLS.
    pub(super) fn explain(self, error: io::Error) -> TransportError {
        if let Some((spoken, evidence)) = other_protocol(self.first, self.start) {
            return spoken.with_source(error).with_evidence(evidence);
        }
        match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                let (kind, failure) = certificate_failure(problem, &self.chain);
                let refused = RefusedCertificate::new(kind, self.expected, self.chain);
                failure
                    .with_source(error)
                    .with_evidence(Evidence::Certificate(refused))
            }
            Some(rustls::Error::NoCertificatesPresented) => {
                let message = "the server has shown no certificate";
                let kind = CertificateProblem::Missing;
                let refused = RefusedCertificate::new(kind, self.expected, self.chain);
                TransportError::new(TransportErrorKind::Certificate, message)
                    .with_source(error)
                    .with_evidence(Evidence::Certificate(refused))
            }
            Some(tls) => tls_failure(tls).over(error),
            None => self.broken_off(error),
        }
    }

    fn broken_off(&self, error: io::Error) -> TransportError {
        let (message, problem) = match is_end(&error) {
            true => (
                "the server closed the connection during the TLS handshake".to_owned(),
                TlsProblem::ClosedWithin,
            ),
            false => (
                format!("the connection failed during the TLS handshake: {error}"),
                TlsProblem::Other,
            ),
        };
        let hint = match self.start {
            Start::AtOnce => {
                "Check that the port speaks TLS at once, as 465 does; 587 and 25 mostly want \
                 STARTTLS."
            }
            Start::AfterStartTls => {
                "The server offers STARTTLS but cannot do it: tell its administrator."
            }
        };
        Explained {
            message,
            hint: Some(hint),
            problem,
        }
        .over(error)
    }
}

/// What it means that reading failed so, within TLS; `None` where it is not for TLS to say.
pub(super) fn within(error: io::Error) -> Result<TransportError, io::Error> {
    match tls_error(&error).map(tls_failure) {
        Some(explained) => Ok(explained.over(error)),
        None => Err(error),
    }
}

/// The server has ended the connection before it said a word within TLS.
pub(super) fn closed_at_first_read(what: &str) -> TransportError {
    TransportError::new(
        TransportErrorKind::Tls,
        format!("{what} right after the TLS handshake"),
    )
    .with_hint("The server may want a client certificate, or takes no more connections now.")
}

/// Whether the other side has ended the connection.
pub(super) fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// A failure of TLS itself.
struct Explained {
    message: String,
    hint: Option<&'static str>,
    problem: TlsProblem,
}

impl Explained {
    fn over(self, error: io::Error) -> TransportError {
        let failure = TransportError::new(TransportErrorKind::Tls, self.message).with_source(error);
        let failure = match self.hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        };
        failure.with_evidence(Evidence::Tls(self.problem))
    }
}

/// What the server spoke instead of TLS.
fn other_protocol(first: &[u8], start: Start) -> Option<(TransportError, Evidence)> {
    if let Some(spoken) = Spoken::foreign(first) {
        let name = spoken.as_str();
        let failure = TransportError::new(
            TransportErrorKind::Protocol,
            format!("the server speaks {name} on this port, not SMTP"),
        )
        .with_hint("Check the port: submission is on 465 (TLS at once) or 587 (STARTTLS).");
        return Some((failure, Evidence::Spoken(spoken)));
    }
    let [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', ..] = first else {
        return None;
    };
    Some(match start {
        Start::AtOnce => (
            TransportError::new(
                TransportErrorKind::Mismatch,
                "the server speaks clear text on this port: use STARTTLS",
            )
            .with_hint(
                "Ask for STARTTLS on this port, or use the port for TLS at once, mostly 465.",
            ),
            Evidence::Spoken(Spoken::SmtpInClear),
        ),
        Start::AfterStartTls => (
            TransportError::new(
                TransportErrorKind::Tls,
                "the server went on in clear text where it had agreed to start TLS",
            )
            .with_hint("The server's STARTTLS is broken: tell its administrator."),
            Evidence::Tls(TlsProblem::NotTls),
        ),
    })
}

fn tls_failure(error: &rustls::Error) -> Explained {
    match error {
        rustls::Error::AlertReceived(alert) => alert_failure(*alert),
        rustls::Error::PeerIncompatible(why) => Explained {
            message: format!(
                "the server and this client have no way to speak TLS in common{}",
                in_common(incompatibility(why))
            ),
            hint: Some(MODERN),
            problem: incompatibility(why),
        },
        _ => Explained {
            message: format!("TLS failed: {}", in_words(error)),
            hint: None,
            problem: match error {
                rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
                    TlsProblem::NotTls
                }
                _ => TlsProblem::Other,
            },
        },
    }
}

/// What they do not have in common, as the end of a sentence.
fn in_common(problem: TlsProblem) -> &'static str {
    match problem {
        TlsProblem::Version => ": there is no version that both speak",
        TlsProblem::Cipher => ": there is no cipher suite that both have",
        TlsProblem::Alert(_)
        | TlsProblem::ClosedWithin
        | TlsProblem::ClosedAfter
        | TlsProblem::NotTls
        | TlsProblem::Other => "",
    }
}

/// What rustls says, for people: its own words hold names of its types. They stay in the source.
fn in_words(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidMessage(_) => "what the server sent is not TLS, or was damaged",
        rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. } => {
            "what the server sent is not due at this point"
        }
        rustls::Error::PeerMisbehaved(_) => "the server does not keep to the rules of TLS",
        rustls::Error::DecryptError => "what the server sent cannot be decrypted",
        rustls::Error::PeerSentOversizedRecord => "the server sent more at once than TLS allows",
        rustls::Error::FailedToGetCurrentTime => "this machine does not tell the time",
        rustls::Error::FailedToGetRandomBytes => "this machine gives no random numbers",
        _ => "the server and this client could not agree",
    }
}

fn incompatibility(why: &PeerIncompatible) -> TlsProblem {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => TlsProblem::Version,
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon => TlsProblem::Cipher,
        _ => TlsProblem::Other,
    }
}

fn alert_failure(alert: AlertDescription) -> Explained {
    let name = alert.as_str().map_or_else(
        || format!("alert {}", u8::from(alert)),
        |name| format!("the alert {name}"),
    );
    let hint = match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::NoCertificate => "The server wants a client certificate.",
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => MODERN,
        AlertDescription::UnrecognisedName => {
            "The server does not know the host name that was asked for: check the host."
        }
        _ => "The server refused this client's TLS: its log may say why.",
    };
    Explained {
        message: format!("the server ended TLS with {name}"),
        hint: Some(hint),
        problem: TlsProblem::Alert(u8::from(alert)),
    }
}

fn certificate_failure(
    problem: &CertificateError,
    chain: &[Certificate],
) -> (CertificateProblem, TransportError) {
    let kind = kind(problem, chain);
    let (message, hint) = match problem {
        _ if kind == CertificateProblem::SelfSigned && !is_authoritys_own(problem) => (
            "it is self-signed: nobody else vouches for it".to_owned(),
            "Trust exactly this certificate by a CA file, or pin it by its SHA-256 fingerprint.",
        ),
        CertificateError::ExpiredContext { not_after, .. } => (
            format!("it expired on {}", date(not_after.as_secs())),
            "The server's administrator must renew it; check this machine's clock too.",
        ),
        CertificateError::Expired => (
            "it has expired".to_owned(),
            "The server's administrator must renew it; check this machine's clock too.",
        ),
        CertificateError::NotValidYetContext { not_before, .. } => (
            format!("it is not valid before {}", date(not_before.as_secs())),
            "Check this machine's clock.",
        ),
        CertificateError::NotValidYet => (
            "it is not valid yet".to_owned(),
            "Check this machine's clock.",
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => (
            format!(
                "it is not for {}, but for {}",
                expected.to_str(),
                presented_names(presented)
            ),
            "Connect to a name that the certificate has, or say which name it must have.",
        ),
        CertificateError::NotValidForName => (
            "it is not for this host".to_owned(),
            "Connect to a name that the certificate has, or say which name it must have.",
        ),
        CertificateError::UnknownIssuer => (
            "its issuer is not trusted here".to_owned(),
            "Trust the issuer by a CA file, or pin the certificate by its SHA-256 fingerprint.",
        ),
        CertificateError::Other(other) if other.0.is::<PinMismatch>() => (
            other.0.to_string(),
            "If the server's certificate was renewed, pin the new one; if not, somebody may be in \
             between.",
        ),
        problem if is_authoritys_own(problem) => (
            "it is a certificate authority's own, and it is not trusted here by itself".to_owned(),
            "Trust exactly this certificate by a CA file, or pin it by its SHA-256 fingerprint.",
        ),
        _ => (
            at_fault(problem).to_owned(),
            "The server's certificate is at fault: tell its administrator.",
        ),
    };
    let failure = TransportError::new(
        TransportErrorKind::Certificate,
        format!("the server's certificate was not accepted: {message}"),
    )
    .with_hint(hint);
    (kind, failure)
}

/// What is wrong with a certificate, for people: rustls's own words hold names of its types.
fn at_fault(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::BadEncoding => "it cannot be read",
        CertificateError::Revoked => "its issuer has revoked it",
        CertificateError::UnhandledCriticalExtension => {
            "it has a restriction that this client does not know"
        }
        CertificateError::BadSignature => "its signature is not that of its issuer",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not meant for servers"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed in a way that is out of date, or unknown here"
        }
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            "whether its issuer has revoked it cannot be told"
        }
        CertificateError::ApplicationVerificationFailure => "this program does not accept it",
        _ => "it does not keep to the rules for certificates",
    }
}

fn kind(problem: &CertificateError, chain: &[Certificate]) -> CertificateProblem {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateProblem::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            CertificateProblem::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateProblem::WrongName
        }
        CertificateError::UnknownIssuer => untrusted(chain),
        CertificateError::Revoked => CertificateProblem::Revoked,
        // It has the name of a trusted authority, and another key.
        CertificateError::BadSignature if is_self_issued(chain) => CertificateProblem::SelfSigned,
        CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            CertificateProblem::BadSignature
        }
        CertificateError::Other(other) if other.0.is::<PinMismatch>() => {
            CertificateProblem::PinMismatch
        }
        // `openssl req -x509` marks what it makes as an authority's.
        problem if is_authoritys_own(problem) => match untrusted(chain) {
            CertificateProblem::SelfSigned => CertificateProblem::SelfSigned,
            _ => CertificateProblem::AuthoritysOwn,
        },
        _ => CertificateProblem::Other,
    }
}

fn is_self_issued(chain: &[Certificate]) -> bool {
    chain.first().is_some_and(Certificate::is_self_issued)
}

/// The names of a certificate as webpki lists them, as one text.
fn presented_names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name at all".to_owned();
    }
    let names: Vec<&str> = presented
        .iter()
        .map(|name| {
            let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
            inner.trim_end_matches(')').trim_matches('"')
        })
        .take(NAMES)
        .collect();
    let more = presented.len() - names.len();
    match more {
        0 => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

const MODERN: &str = "The server must offer TLS 1.2 or 1.3 with a modern cipher suite.";
/// Names of a certificate that a message has at most.
const NAMES: usize = 5;

#[cfg(test)]
mod tests {
    use rustls::OtherError;
    use rustls::server::VerifierBuilderError;

    use super::*;

    fn own(subject: &str, issuer: &str) -> Vec<Certificate> {
        let mut certificate = Certificate::new([0; 32]);
        certificate.subject = subject.to_owned();
        certificate.issuer = issuer.to_owned();
        vec![certificate]
    }

    #[test]
    fn a_self_signed_certificate_with_the_name_of_a_trusted_authority_is_self_signed() {
        let problem = CertificateError::BadSignature;
        let (kind, failure) = certificate_failure(&problem, &own("CN=root", "CN=root"));
        assert_eq!(kind, CertificateProblem::SelfSigned);
        assert!(failure.message.contains("self-signed"), "{failure:?}");
        let (kind, _) = certificate_failure(&problem, &own("CN=mx", "CN=root"));
        assert_eq!(kind, CertificateProblem::BadSignature);
    }

    #[test]
    fn no_name_of_a_type_is_said_to_people() {
        let other = OtherError(std::sync::Arc::new(VerifierBuilderError::NoRootAnchors));
        for problem in [
            CertificateError::BadEncoding,
            CertificateError::BadSignature,
            CertificateError::Revoked,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownIssuer,
            CertificateError::InvalidPurpose,
            CertificateError::ApplicationVerificationFailure,
            CertificateError::InvalidOcspResponse,
            CertificateError::Other(other.clone()),
        ] {
            let (_, failure) = certificate_failure(&problem, &own("CN=mx", "CN=root"));
            assert!(is_plain(&failure.message), "{}", failure.message);
        }
        for error in [
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidCcs),
            rustls::Error::PeerMisbehaved(rustls::PeerMisbehaved::TooMuchEarlyDataReceived),
            rustls::Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ExtendedMasterSecretExtensionRequired,
            ),
            rustls::Error::General("InSide".to_owned()),
            rustls::Error::Other(other),
        ] {
            let message = tls_failure(&error).message;
            assert!(is_plain(&message), "{message}");
        }
    }

    /// Without a name such as `BadSignature`; TLS is no such.
    fn is_plain(message: &str) -> bool {
        !message.split_whitespace().any(|word| {
            let capitals = word.chars().filter(char::is_ascii_uppercase).count();
            capitals > 1 && word.chars().any(|c| c.is_ascii_lowercase())
        })
    }
}
