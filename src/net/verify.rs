//! Judging a server's certificate.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::hash::Hash;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::certificate::hexadecimal;

/// By a chain to one of these roots, and by name. A server may have one of `named` as its own
/// certificate.
pub(super) fn trusted(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    named: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build()?;
    Ok(Arc::new(Chained { chain, named }))
}

/// By the SHA-256 of its DER alone.
pub(super) fn pinned(
    provider: &CryptoProvider,
    sha256: &'static dyn Hash,
    pin: [u8; 32],
) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Unchained {
        rule: Rule::Exactly { pin, sha256 },
        algorithms: provider.signature_verification_algorithms,
    })
}

/// Not at all.
pub(super) fn anyone(provider: &CryptoProvider) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Unchained {
        rule: Rule::Anyone,
        algorithms: provider.signature_verification_algorithms,
    })
}

/// Whether the server has an authority's certificate where its own is due.
pub(super) fn is_authoritys_own(problem: &CertificateError) -> bool {
    // The error's type is that of a crate below rustls, of which rustls names no version.
    match problem {
        CertificateError::Other(other) => other.to_string().contains("CaUsedAsEndEntity"),
        _ => false,
    }
}

/// Runs a part of a handshake, and tells the chain that was refused in it.
///
/// rustls hands on a verifier's error, and not what it judged. One verifier serves all connections,
/// since only then do they resume each other's sessions; and an error of one's own would change the
/// alert that the server gets. So what was refused is put aside for whoever runs the handshake, on
/// the same thread: rustls asks the verifier while it is fed.
pub(super) fn witnessed<T>(part: impl FnOnce() -> T) -> (T, Vec<CertificateDer<'static>>) {
    REFUSED.take();
    let result = part();
    (result, REFUSED.take())
}

thread_local! {
    static REFUSED: RefCell<Vec<CertificateDer<'static>>> = const { RefCell::new(Vec::new()) };
}

fn note(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) {
    let chain = std::iter::once(end_entity).chain(intermediates);
    REFUSED.set(chain.map(|it| it.clone().into_owned()).collect());
}

/// A certificate with another fingerprint than was pinned.
#[derive(Debug)]
pub(super) struct PinMismatch {
    found: [u8; 32],
}

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it is not the pinned one: its SHA-256 is {}",
            hexadecimal(&self.found)
        )
    }
}

impl std::error::Error for PinMismatch {}

/// A verifier of chains that also takes a certificate which the caller named, though it is an
/// authority's. `openssl req -x509` marks a certificate so that only one server has and nobody else
/// vouches for, and every other TLS library takes it where it is trusted.
#[derive(Debug)]
struct Chained {
    chain: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Chained {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verdict {
            // This comes only after its dates were found good.
            Err(rustls::Error::InvalidCertificate(problem))
                if is_authoritys_own(&problem) && self.named.iter().any(|it| it == end_entity) =>
            {
                let named = ParsedCertificate::try_from(end_entity)
                    .and_then(|parsed| verify_server_name(&parsed, server_name));
                if named.is_err() {
                    note(end_entity, intermediates);
                }
                named.map(|()| ServerCertVerified::assertion())
            }
            Err(_) => {
                note(end_entity, intermediates);
                verdict
            }
            Ok(_) => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A verifier that asks nobody about the certificate. It still checks that the peer has its key:
/// without that a pin would pin nothing.
#[derive(Debug)]
struct Unchained {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
}

enum Rule {
    Exactly {
        pin: [u8; 32],
        sha256: &'static dyn Hash,
    },
    Anyone,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exactly { .. } => "Exactly",
            Self::Anyone => "Anyone",
        })
    }
}

impl ServerCertVerifier for Unchained {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.rule {
            Rule::Anyone => Ok(ServerCertVerified::assertion()),
            Rule::Exactly { pin, sha256 } => {
                let digest = sha256.hash(end_entity);
                if digest.as_ref() == pin {
                    return Ok(ServerCertVerified::assertion());
                }
                note(end_entity, intermediates);
                let mut found = [0; 32];
                for (to, from) in found.iter_mut().zip(digest.as_ref()) {
                    *to = *from;
                }
                let mismatch = OtherError(Arc::new(PinMismatch { found }));
                Err(CertificateError::Other(mismatch).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
