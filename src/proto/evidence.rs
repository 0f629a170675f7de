//! What was seen that explains an error, as data: for programs that say more about it than its
//! sentence does.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::preflight::Shortfall;
use super::session::Certificate;
use crate::error::Error;

/// What was seen that explains an [`Error`].
///
/// ```
/// use ehlo::Error;
/// use ehlo::proto::{CertificateProblem, Evidence};
///
/// /// The fingerprint to pin, where a server vouches for itself.
/// fn fingerprint(error: &Error) -> Option<String> {
///     match error.evidence()? {
///         Evidence::Certificate(refused) if refused.problem == CertificateProblem::SelfSigned => {
///             Some(refused.chain.first()?.fingerprint())
///         }
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// The server's certificate was not accepted.
    Certificate(RefusedCertificate),
    /// TLS failed in another way.
    Tls(TlsProblem),
    /// Something else than what was due was spoken.
    Spoken(Spoken),
    /// The host's name led nowhere.
    Resolution(Resolution),
    /// The addresses that were tried, in order, and what came of each.
    Attempts(Vec<Attempt>),
    /// None of the host's addresses is one that may be connected to.
    AddressPolicy,
    /// What the server lacks that the message needs: it was not sent.
    Shortfall(Shortfall),
    /// The reply to a message that was sent to its end was lost: the server may have the message.
    ReplyLost,
}

impl Error {
    /// What was seen that explains the error; `None` where its category, stage and reply say all.
    pub fn evidence(&self) -> Option<&Evidence> {
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(witness) = error.downcast_ref::<Witness>() {
                return Some(&witness.evidence);
            }
            source = error.source();
        }
        None
    }

    /// With what was seen, above the error beneath.
    pub(crate) fn with_evidence(self, evidence: Evidence) -> Self {
        let beneath = self.beneath();
        self.with_source(Arc::new(Witness { evidence, beneath }))
    }
}

/// A certificate that was not accepted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedCertificate {
    /// What is wrong with it.
    pub problem: CertificateProblem,
    /// The name that it was to have.
    pub expected: String,
    /// What the server has shown: its own certificate first, then those of its issuers. Empty where
    /// it has shown none.
    pub chain: Vec<Certificate>,
}

impl RefusedCertificate {
    /// A refusal of this chain.
    pub fn new(
        problem: CertificateProblem,
        expected: impl Into<String>,
        chain: Vec<Certificate>,
    ) -> Self {
        Self {
            problem,
            expected: expected.into(),
            chain,
        }
    }
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// Its time is over, or that of one of its issuers.
    Expired,
    /// Its time has not come, or this machine's clock is wrong.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// It is its own issuer.
    SelfSigned,
    /// Its issuer is not trusted here.
    UnknownIssuer,
    /// Its issuer was not shown, and is not trusted here. That the server leaves out a certificate
    /// which it should show is likelier than that nobody trusts the issuer: its own says where the
    /// issuer's is to be found, as those of public authorities do.
    IncompleteChain,
    /// It is an authority's own, and not meant for a server.
    AuthoritysOwn,
    /// It is another than the pinned one.
    PinMismatch,
    /// It was revoked by its issuer.
    Revoked,
    /// A signature is wrong, or made in a way that is not taken any more.
    BadSignature,
    /// There is none.
    Missing,
    /// Something else.
    Other,
}

impl CertificateProblem {
    /// Its name, in lower case, words joined by hyphens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::WrongName => "wrong-name",
            Self::SelfSigned => "self-signed",
            Self::UnknownIssuer => "unknown-issuer",
            Self::IncompleteChain => "incomplete-chain",
            Self::AuthoritysOwn => "authoritys-own",
            Self::PinMismatch => "pin-mismatch",
            Self::Revoked => "revoked",
            Self::BadSignature => "bad-signature",
            Self::Missing => "missing",
            Self::Other => "other",
        }
    }
}

/// How TLS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The server has ended TLS with this alert (RFC 8446 §6).
    Alert(u8),
    /// The server speaks only versions of TLS that are not spoken here.
    Version,
    /// The server has no cipher suite, group or signature in common with this side.
    Cipher,
    /// The server has closed the connection during the handshake.
    ClosedWithin,
    /// The server has closed the connection right after the handshake, as one does that wants
    /// another client certificate.
    ClosedAfter,
    /// What the server sent is not TLS.
    NotTls,
    /// Something else.
    Other,
}

impl TlsProblem {
    /// Its name, in lower case, words joined by hyphens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert(_) => "alert",
            Self::Version => "version",
            Self::Cipher => "cipher",
            Self::ClosedWithin => "closed-within",
            Self::ClosedAfter => "closed-after",
            Self::NotTls => "not-tls",
            Self::Other => "other",
        }
    }
}

/// What was spoken instead of what was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spoken {
    /// SMTP in clear, where TLS was due from the first octet.
    SmtpInClear,
    /// TLS, where a greeting in clear was due.
    Tls,
    /// HTTP.
    Http,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
    /// SSH.
    Ssh,
}

impl Spoken {
    /// The protocol's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SmtpInClear => "SMTP",
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Imap => "IMAP",
            Self::Pop3 => "POP3",
            Self::Ssh => "SSH",
        }
    }

    /// The other service that begins a dialogue so.
    pub(crate) fn foreign(first: &[u8]) -> Option<Self> {
        const BANNERS: [(&[u8], Spoken); 9] = [
            (b"HTTP/", Spoken::Http),
            (b"<!DOCTYPE", Spoken::Http),
            (b"<html", Spoken::Http),
            (b"* OK", Spoken::Imap),
            (b"* PREAUTH", Spoken::Imap),
            (b"* BYE", Spoken::Imap),
            (b"+OK", Spoken::Pop3),
            (b"-ERR", Spoken::Pop3),
            (b"SSH-", Spoken::Ssh),
        ];
        BANNERS
            .iter()
            .find(|(banner, _)| first.starts_with(banner))
            .map(|(_, spoken)| *spoken)
    }
}

/// Why a host's name led nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resolution {
    /// There is no such name. Some systems say so of a name without addresses too.
    NoSuchName,
    /// The name exists, and has no address.
    NoAddress,
    /// The resolver could not tell.
    Failed,
    /// The resolver did not answer in time.
    TimedOut,
}

impl Resolution {
    /// Its name, in lower case, words joined by hyphens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchName => "no-such-name",
            Self::NoAddress => "no-address",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
        }
    }
}

/// An attempt to connect to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The address.
    pub address: SocketAddr,
    /// What came of it; no answer in time is [`io::ErrorKind::TimedOut`].
    pub problem: io::ErrorKind,
}

impl Attempt {
    /// An attempt that failed.
    pub fn new(address: SocketAddr, problem: io::ErrorKind) -> Self {
        Self { address, problem }
    }
}

/// Evidence in the chain of an error's sources.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) evidence: Evidence,
    pub(crate) beneath: Option<Arc<dyn StdError + Send + Sync>>,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.evidence {
            Evidence::Certificate(refused) => {
                write!(
                    f,
                    "the certificate was refused: {}",
                    refused.problem.as_str()
                )
            }
            Evidence::Tls(TlsProblem::Alert(number)) => write!(f, "TLS ended with alert {number}"),
            Evidence::Tls(problem) => write!(f, "TLS failed: {}", problem.as_str()),
            Evidence::Spoken(spoken) => write!(f, "{} was spoken", spoken.as_str()),
            Evidence::Resolution(problem) => write!(f, "the look-up failed: {}", problem.as_str()),
            Evidence::Attempts(attempts) => write!(f, "{} attempts failed", attempts.len()),
            Evidence::AddressPolicy => f.write_str("the address policy forbids every address"),
            Evidence::Shortfall(shortfall) => fmt::Display::fmt(shortfall, f),
            Evidence::ReplyLost => f.write_str("the reply to the message was lost"),
        }
    }
}

impl StdError for Witness {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let beneath = self.beneath.as_ref()?;
        Some(&**beneath)
    }
}

#[cfg(test)]
mod tests {
    use super::super::session::{TransportError, TransportErrorKind};
    use super::*;
    use crate::error::{Category, Party, Stage};

    #[test]
    fn evidence_is_found_above_what_lies_beneath_and_says_what_was_seen() {
        let refused = RefusedCertificate::new(CertificateProblem::SelfSigned, "mx", Vec::new());
        let address = SocketAddr::from(([127, 0, 0, 1], 25));
        let attempt = Attempt::new(address, io::ErrorKind::TimedOut);
        for (evidence, words) in [
            (
                Evidence::Certificate(refused),
                "the certificate was refused: self-signed",
            ),
            (
                Evidence::Tls(TlsProblem::Alert(40)),
                "TLS ended with alert 40",
            ),
            (Evidence::Tls(TlsProblem::Version), "TLS failed: version"),
            (Evidence::Spoken(Spoken::Imap), "IMAP was spoken"),
            (
                Evidence::Resolution(Resolution::NoAddress),
                "the look-up failed: no-address",
            ),
            (Evidence::Attempts(vec![attempt]), "1 attempts failed"),
            (
                Evidence::AddressPolicy,
                "the address policy forbids every address",
            ),
            (Evidence::ReplyLost, "the reply to the message was lost"),
        ] {
            let error = Error::new(Category::Tls, Stage::Handshake, Party::Server, "failed")
                .with_source(Arc::new(io::Error::other("beneath")))
                .with_evidence(evidence.clone());
            assert_eq!(error.evidence(), Some(&evidence));
            let source = error.source().unwrap();
            assert_eq!(source.to_string(), words);
            assert_eq!(source.source().unwrap().to_string(), "beneath");
        }
        let plain = Error::new(Category::Tls, Stage::Handshake, Party::Server, "failed")
            .with_source(Arc::new(io::Error::other("beneath")));
        assert_eq!(plain.evidence(), None);
    }

    #[test]
    fn each_kind_of_evidence_has_a_name_of_its_own() {
        use CertificateProblem as Certificate;
        let names = [
            Certificate::Expired.as_str(),
            Certificate::NotYetValid.as_str(),
            Certificate::WrongName.as_str(),
            Certificate::SelfSigned.as_str(),
            Certificate::UnknownIssuer.as_str(),
            Certificate::IncompleteChain.as_str(),
            Certificate::AuthoritysOwn.as_str(),
            Certificate::PinMismatch.as_str(),
            Certificate::Revoked.as_str(),
            Certificate::BadSignature.as_str(),
            Certificate::Missing.as_str(),
            TlsProblem::Alert(40).as_str(),
            TlsProblem::Version.as_str(),
            TlsProblem::Cipher.as_str(),
            TlsProblem::ClosedWithin.as_str(),
            TlsProblem::ClosedAfter.as_str(),
            TlsProblem::NotTls.as_str(),
            Resolution::NoSuchName.as_str(),
            Resolution::NoAddress.as_str(),
            Resolution::Failed.as_str(),
            Resolution::TimedOut.as_str(),
            // Of certificates and of TLS alike.
            Certificate::Other.as_str(),
        ];
        let known = "expired not-yet-valid wrong-name self-signed unknown-issuer incomplete-chain \
                     authoritys-own pin-mismatch revoked bad-signature missing alert version cipher \
                     closed-within closed-after not-tls no-such-name no-address failed timed-out \
                     other";
        assert_eq!(names.join(" "), known);
        assert_eq!(TlsProblem::Other.as_str(), "other");
        assert_eq!(Spoken::SmtpInClear.as_str(), "SMTP");
    }

    #[test]
    fn a_banner_of_another_protocol_is_known_by_its_beginning() {
        for (first, spoken) in [
            ("HTTP/1.1 400 Bad Request", "HTTP"),
            ("<!DOCTYPE html>", "HTTP"),
            ("<html>", "HTTP"),
            ("* OK ready", "IMAP"),
            ("* PREAUTH ready", "IMAP"),
            ("* BYE", "IMAP"),
            ("+OK ready", "POP3"),
            ("-ERR no", "POP3"),
            ("SSH-2.0-x", "SSH"),
        ] {
            let found = Spoken::foreign(first.as_bytes()).map(Spoken::as_str);
            assert_eq!(found, Some(spoken), "{first}");
        }
        assert_eq!(Spoken::foreign(b"220 HTTP/1.1"), None);
        assert_eq!(Spoken::Tls.as_str(), "TLS");
    }

    #[test]
    fn a_transport_says_what_it_saw_above_the_error_beneath() {
        let failed = TransportError::new(TransportErrorKind::Tls, "the handshake failed")
            .with_hint("Try again.")
            .with_source(io::Error::other("beneath"))
            .with_evidence(Evidence::Tls(TlsProblem::Cipher));
        assert_eq!(failed.hint.as_deref(), Some("Try again."));
        let witness = failed.source.unwrap();
        assert_eq!(witness.to_string(), "TLS failed: cipher");
        assert_eq!(witness.source().unwrap().to_string(), "beneath");
    }
}
