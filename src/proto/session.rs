//! What a session knows of its server: greeting, offers, TLS and log-in.

use std::fmt;
use std::sync::Arc;

use super::evidence::{Evidence, Witness};
use super::extensions::Extensions;
use super::reply::Reply;
use super::sasl::MechanismName;

/// The facts of a session. A clone is a reference.
#[derive(Clone, Debug)]
pub struct Session(pub(crate) Arc<Facts>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    pub(crate) greeting: Reply,
    pub(crate) extensions: Extensions,
    pub(crate) tls: Option<Arc<TlsSession>>,
    pub(crate) auth: Option<MechanismName>,
    pub(crate) refuses_behind_message: bool,
}

impl Session {
    /// The octets of what the server has said of itself, greeting and offers.
    pub(crate) fn texts(&self) -> [&[u8]; 2] {
        let offers = self.0.extensions.reply().map(Reply::raw);
        [self.0.greeting.raw(), offers.unwrap_or_default()]
    }

    /// Shares with another session what is equal in both.
    pub(crate) fn share(&mut self, other: &Self) {
        if *self.0 == *other.0 {
            *self = other.clone();
            return;
        }
        let facts = Arc::make_mut(&mut self.0);
        if facts.greeting == other.0.greeting {
            facts.greeting = other.0.greeting.clone();
        }
        if facts.extensions == other.0.extensions {
            facts.extensions = other.0.extensions.clone();
        }
        if let (Some(own), Some(other)) = (&mut facts.tls, &other.0.tls)
            && own.certificate == other.certificate
        {
            Arc::make_mut(own).certificate = other.certificate.clone();
        }
    }

    /// The server's greeting.
    pub fn greeting(&self) -> &Reply {
        &self.0.greeting
    }

    /// What the server offers, by its last EHLO reply.
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// The facts of the TLS session; `None` in clear.
    pub fn tls(&self) -> Option<&TlsSession> {
        self.0.tls.as_deref()
    }

    /// The SASL mechanism that logged in.
    pub fn auth(&self) -> Option<&MechanismName> {
        self.0.auth.as_ref()
    }

    /// Whether the server refused a transaction because it began behind an unanswered message. The
    /// next connection should then be told so by `BehindMessage::Wait`.
    pub fn refuses_behind_message(&self) -> bool {
        self.0.refuses_behind_message
    }
}

/// The facts of a TLS session, as the driver found them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSession {
    /// Protocol version, as `TLSv1.3`.
    pub version: &'static str,
    /// Cipher suite, by its IANA name.
    pub cipher: String,
    /// How the certificate was judged.
    pub verification: Verification,
    /// The server's certificate. Sessions with one server share it.
    pub certificate: Option<Arc<Certificate>>,
    /// Data that binds a SASL exchange to this session.
    pub binding: ChannelBinding,
}

impl TlsSession {
    /// The facts, without a certificate or a channel binding.
    pub fn new(
        version: &'static str,
        cipher: impl Into<String>,
        verification: Verification,
    ) -> Self {
        Self {
            version,
            cipher: cipher.into(),
            verification,
            certificate: None,
            binding: ChannelBinding::None,
        }
    }

    /// With the server's certificate.
    #[must_use]
    pub fn with_certificate(mut self, certificate: impl Into<Arc<Certificate>>) -> Self {
        self.certificate = Some(certificate.into());
        self
    }

    /// With channel-binding data.
    #[must_use]
    pub fn with_binding(mut self, binding: ChannelBinding) -> Self {
        self.binding = binding;
        self
    }
}

/// How a server's certificate was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verification {
    /// Its chain ends in a trusted root, and it names the host.
    Trusted,
    /// It is exactly the one that was asked for.
    Pinned,
    /// Not at all: the connection is encrypted, but to whom is not known.
    Off,
}

impl Verification {
    /// Whether the peer is known to be the one that was meant.
    pub fn is_verified(self) -> bool {
        match self {
            Self::Trusted | Self::Pinned => true,
            Self::Off => false,
        }
    }
}

/// What a certificate says, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The host names and addresses it is for.
    pub names: Vec<String>,
    /// Start of its validity, in seconds since 1970 (UTC).
    pub not_before: i64,
    /// End of its validity, in seconds since 1970 (UTC).
    pub not_after: i64,
    /// The kind and the length of its key, as `RSA, 2048 bits`.
    pub key: String,
    /// Whether it may issue certificates, or is a server's or a client's.
    pub role: CertificateRole,
    /// Where its issuer's certificate is to be found, as public authorities say (RFC 5280 §4.2.2.1).
    pub issuer_location: Option<String>,
    /// SHA-256 of the whole certificate in DER.
    pub sha256: [u8; 32],
}

impl Certificate {
    /// A certificate of which only the fingerprint is known.
    pub fn new(sha256: [u8; 32]) -> Self {
        Self {
            subject: String::new(),
            issuer: String::new(),
            names: Vec::new(),
            not_before: 0,
            not_after: 0,
            key: String::new(),
            role: CertificateRole::default(),
            issuer_location: None,
            sha256,
        }
    }

    /// Whether it names itself as its issuer: nobody else vouches for it.
    pub fn is_self_issued(&self) -> bool {
        !self.subject.is_empty() && self.subject == self.issuer
    }

    /// The fingerprint: 64 hexadecimal digits in lower case.
    pub fn fingerprint(&self) -> String {
        use fmt::Write;
        self.sha256
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

/// What a certificate is for. Closed: it may issue others or it may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CertificateRole {
    /// A server's or a client's own.
    #[default]
    EndEntity,
    /// An authority's, which issues others.
    Authority,
}

/// Data that binds a SASL exchange to a TLS session. `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelBinding {
    /// None is available.
    #[default]
    None,
    /// RFC 9266, on TLS 1.3.
    TlsExporter([u8; 32]),
    /// RFC 5929 §4.
    TlsServerEndPoint(Vec<u8>),
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::TlsExporter(_) => "TlsExporter(…)",
            Self::TlsServerEndPoint(_) => "TlsServerEndPoint(…)",
        })
    }
}

/// Why a transport failed, as its owner tells the engine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TransportError {
    /// What kind of failure.
    pub kind: TransportErrorKind,
    /// What happened, as one sentence without a full stop.
    pub message: String,
    /// What to do next, as one sentence.
    pub hint: Option<String>,
    /// The error beneath.
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// A failure of this kind.
    pub fn new(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// With what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what was seen, above the error beneath: [`Error::evidence`](crate::Error::evidence) then
    /// has it.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Evidence) -> Self {
        let beneath = self.source.take();
        self.source = Some(Arc::new(Witness { evidence, beneath }));
        self
    }

    /// With the error beneath.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

/// Kinds of transport failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// Reset, broken pipe, or closed within a TLS record.
    Lost,
    /// The certificate was not accepted.
    Certificate,
    /// The handshake or TLS failed in another way.
    Tls,
    /// The peer spoke clear text where TLS was due, or the reverse.
    Mismatch,
    /// The peer speaks another protocol altogether.
    Protocol,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_names_a_channel_binding_and_does_not_show_it() {
        let exporter = ChannelBinding::TlsExporter([77; 32]);
        assert_eq!(format!("{exporter:?}"), "TlsExporter(…)");
        let end_point = ChannelBinding::TlsServerEndPoint(vec![77; 32]);
        assert_eq!(format!("{end_point:?}"), "TlsServerEndPoint(…)");
        assert_eq!(format!("{:?}", ChannelBinding::None), "None");
    }

    #[test]
    fn a_fingerprint_is_hexadecimal_with_its_zeros() {
        let mut sha256 = [0; 32];
        (sha256[0], sha256[1], sha256[31]) = (0xa5, 0x07, 0xff);
        let expected = format!("a507{}ff", "00".repeat(29));
        assert_eq!(Certificate::new(sha256).fingerprint(), expected);
    }

    #[test]
    fn a_certificate_that_names_itself_as_its_issuer_is_self_issued() {
        let named = |subject: &str, issuer: &str| Certificate {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            ..Certificate::new([0; 32])
        };
        assert!(named("CN=mx", "CN=mx").is_self_issued());
        assert!(!named("CN=mx", "CN=authority").is_self_issued());
        // Of a nameless one nothing is known.
        assert!(!named("", "").is_self_issued());
    }

    #[test]
    fn a_tls_session_keeps_what_it_is_given() {
        let tls = TlsSession::new("TLSv1.2", "ECDHE", Verification::Pinned)
            .with_certificate(Certificate::new([7; 32]))
            .with_binding(ChannelBinding::TlsServerEndPoint(vec![1]));
        assert_eq!((tls.version, tls.cipher.as_str()), ("TLSv1.2", "ECDHE"));
        assert_eq!(tls.certificate.map(|shown| shown.sha256), Some([7; 32]));
        assert_eq!(tls.binding, ChannelBinding::TlsServerEndPoint(vec![1]));
        assert!(tls.verification.is_verified() && Verification::Trusted.is_verified());
        assert!(!Verification::Off.is_verified());
    }
}
