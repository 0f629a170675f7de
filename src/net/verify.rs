//! Judging a server's certificate.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::hash::Hash;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::VerifierBuilderError;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::certificate::hexadecimal;

/// By a chain to one of these roots, and by name.
pub(super) fn trusted(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
    Ok(verifier.build()?)
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
        _intermediates: &[CertificateDer<'_>],
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
