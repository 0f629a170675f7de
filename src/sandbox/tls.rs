//! The certificate that is made when a sandbox starts, and the acceptor that shows it.

use std::fmt;
use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::hash::HashAlgorithm;
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    version,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::login::TlsFacts;
use super::options::{CertificateOptions, TlsVersions, Validity};

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("the feature `sandbox` makes certificates: it needs `aws-lc-rs` or `ring`");

/// A certificate authority of one certificate, and a server that shows it.
pub(super) struct Identity {
    pub(super) acceptor: TlsAcceptor,
    /// The authority's own certificate: what a client has to trust.
    pub(super) authority_pem: String,
    /// The SHA-256 of the server's certificate.
    pub(super) sha256: [u8; 32],
    issuer: Issuer<'static, KeyPair>,
}

/// Whether clients are asked for a certificate. None has to have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCertificates {
    Ignored,
    Asked,
}

/// A certificate for a client, and its key.
#[derive(Clone)]
pub struct ClientCertificate {
    certificate_pem: String,
    key_pem: String,
}

impl ClientCertificate {
    /// The certificate in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its private key in PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

impl Identity {
    pub(super) fn make(
        options: &CertificateOptions,
        versions: TlsVersions,
        clients: ClientCertificates,
    ) -> io::Result<Self> {
        let provider = provider()?;
        let made = Made::new(options).map_err(io::Error::other)?;
        let sha256 = sha256(&provider, &made.certificate)?;
        let verifier = match clients {
            ClientCertificates::Ignored => WebPkiClientVerifier::no_client_auth(),
            ClientCertificates::Asked => {
                let mut roots = RootCertStore::empty();
                roots.add(made.authority).map_err(io::Error::other)?;
                let provider = Arc::clone(&provider);
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(io::Error::other)?
            }
        };
        let spoken: &[&SupportedProtocolVersion] = match versions {
            TlsVersions::All => &[&version::TLS13, &version::TLS12],
            TlsVersions::Tls12 => &[&version::TLS12],
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(spoken)
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(vec![made.certificate], made.key)
            })
            .map_err(io::Error::other)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            authority_pem: made.authority_pem,
            sha256,
            issuer: made.issuer,
        })
    }

    /// What the mechanisms of AUTH may need of a connection.
    pub(super) fn facts(&self, connection: &ServerConnection) -> TlsFacts {
        let exporter = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => connection
                .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
                .ok(),
            Some(_) | None => None,
        };
        TlsFacts {
            exporter,
            // The certificate is signed with ECDSA and SHA-256.
            end_point: Some(self.sha256.to_vec()),
            client: connection
                .peer_certificates()
                .and_then(|chain| common_name(chain.first()?)),
        }
    }

    /// A certificate with this common name, signed by the authority.
    pub(super) fn client_certificate(&self, name: &str) -> io::Result<ClientCertificate> {
        let make = || -> Result<ClientCertificate, rcgen::Error> {
            let mut client = CertificateParams::new(Vec::new())?;
            client.distinguished_name.push(DnType::CommonName, name);
            client.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            client.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            Ok(ClientCertificate {
                certificate_pem: client.signed_by(&key, &self.issuer)?.pem(),
                key_pem: key.serialize_pem(),
            })
        };
        make().map_err(io::Error::other)
    }
}

fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

struct Made {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    authority: CertificateDer<'static>,
    authority_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Made {
    fn new(options: &CertificateOptions) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority
            .distinguished_name
            .push(DnType::CommonName, "sandbox authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let signed = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::new(options.names.clone())?;
        let name = options.names.first().map_or("sandbox", String::as_str);
        server.distinguished_name.push(DnType::CommonName, name);
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        (server.not_before, server.not_after) = match options.validity {
            Validity::Current => (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1)),
            Validity::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1)),
            Validity::NotYet => (date_time_ymd(3000, 1, 1), date_time_ymd(3001, 1, 1)),
        };
        let server_key = KeyPair::generate()?;
        let certificate = server.signed_by(&server_key, &issuer)?;
        Ok(Self {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(server_key.serialize_der()).into(),
            authority: signed.der().clone(),
            authority_pem: signed.pem(),
            issuer,
        })
    }
}

/// The process default if there is one, so that a program with its own provider gets it here too.
pub(super) fn provider() -> io::Result<Arc<CryptoProvider>> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Ok(Arc::clone(provider));
    }
    #[cfg(feature = "ring")]
    return Ok(Arc::new(crypto::ring::default_provider()));
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    return Ok(Arc::new(crypto::aws_lc_rs::default_provider()));
}

/// By the provider's own hash, so that no other is needed.
pub(super) fn sha256(provider: &CryptoProvider, octets: &[u8]) -> io::Result<[u8; 32]> {
    let suites = provider.cipher_suites.iter();
    let hash = suites
        .filter_map(|suite| suite.tls13())
        .map(|suite| suite.common.hash_provider)
        .find(|hash| hash.algorithm() == HashAlgorithm::SHA256)
        .ok_or_else(|| io::Error::other("the crypto provider has no SHA-256"))?;
    let output = hash.hash(octets);
    output
        .as_ref()
        .try_into()
        .map_err(|_| io::Error::other("the crypto provider's SHA-256 is no SHA-256"))
}
