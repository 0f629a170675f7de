//! What can be wrong with a sandbox's TLS: its certificate, and its manners.

/// What is wrong with the sandbox's certificate, for a client that trusts
/// [`Sandbox::certificate_pem`](super::Sandbox::certificate_pem) and connects to `localhost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateFault {
    /// It was valid in January 2020.
    Expired,
    /// It will be valid from the year 3000 on.
    NotYetValid,
    /// It is for `mx.sandbox.example` and `*.mail.sandbox.example`.
    WrongName,
    /// It is its own issuer.
    SelfSigned,
    /// Another authority has issued it than the one to trust.
    UnknownIssuer,
    /// The authority to trust vouches for one that vouches for it, and whose certificate is not
    /// shown.
    IncompleteChain,
}

impl CertificateFault {
    pub(super) const ALL: [Self; 6] = [
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::SelfSigned,
        Self::UnknownIssuer,
        Self::IncompleteChain,
    ];

    /// The fault's name, as behind `certificate=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::WrongName => "wrong-name",
            Self::SelfSigned => "self-signed",
            Self::UnknownIssuer => "unknown-issuer",
            Self::IncompleteChain => "incomplete-chain",
        }
    }
}

/// What is peculiar about the sandbox's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFault {
    /// It answers as a server that speaks no version above TLS 1.1.
    Old,
    /// It answers as a server that has no cipher suite in common with the client.
    NoCipher,
    /// It answers as a server that does not know the host name that it was asked for.
    UnknownName,
    /// It answers with octets that are not TLS.
    Garbage,
    /// It takes only clients with a certificate of the sandbox's authority.
    ClientCertificate,
}

impl TlsFault {
    pub(super) const ALL: [Self; 5] = [
        Self::Old,
        Self::NoCipher,
        Self::UnknownName,
        Self::Garbage,
        Self::ClientCertificate,
    ];

    /// The fault's name, as behind `tls=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::NoCipher => "no-cipher",
            Self::UnknownName => "unknown-name",
            Self::Garbage => "garbage",
            Self::ClientCertificate => "client-certificate",
        }
    }

    /// What answers the client's hello instead of a handshake: an alert (RFC 8446 §6) in a record of
    /// its own. Such servers cannot be had from the TLS library.
    pub(super) fn instead(self) -> Option<&'static [u8]> {
        match self {
            Self::Old => Some(b"\x15\x03\x01\x00\x02\x02\x46"),
            Self::NoCipher => Some(b"\x15\x03\x03\x00\x02\x02\x28"),
            Self::UnknownName => Some(b"\x15\x03\x03\x00\x02\x02\x70"),
            Self::Garbage => Some(b"\x00\xff\xfe\x80 this is no handshake\r\n"),
            Self::ClientCertificate => None,
        }
    }
}
