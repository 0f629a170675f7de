//! The certificate that is made when a sandbox starts, and the acceptor that shows it.

use std::fmt;
use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rcgen::{Certificate, CustomExtension, ExtendedKeyUsagePurpose, date_time_ymd};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::hash::HashAlgorithm;
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    version,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::fault::{Fault, Kind};
use super::login::TlsFacts;
use super::options::{CertificateOptions, TlsVersions, Validity};
use super::tls_fault::{CertificateFault, TlsFault};

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("the feature `sandbox` makes certificates: it needs `aws-lc-rs` or `ring`");

/// A certificate authority of one certificate, and a server that shows it.
pub(super) struct Identity {
    pub(super) acceptor: TlsAcceptor,
    /// The authority's own certificate: what a client has to trust.
    pub(super) authority_pem: String,
    /// The SHA-256 of the server's certificate.
    pub(super) sha256: [u8; 32],
    /// What answers a client's hello, if not a handshake does.
    pub(super) instead: Option<&'static [u8]>,
    issuer: Issuer<'static, KeyPair>,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientCertificates {
    Ignored,
    /// And need not have one.
    Asked,
    /// And must have one.
    Demanded,
}

impl ClientCertificates {
    fn verifier(
        self,
        provider: &Arc<CryptoProvider>,
        authority: CertificateDer<'static>,
    ) -> io::Result<Arc<dyn ClientCertVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add(authority).map_err(io::Error::other)?;
        let provider = Arc::clone(provider);
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        match self {
            Self::Ignored => return Ok(WebPkiClientVerifier::no_client_auth()),
            Self::Asked => builder.allow_unauthenticated().build(),
            Self::Demanded => builder.build(),
        }
        .map_err(io::Error::other)
    }
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
        faults: &[Fault],
        clients: ClientCertificates,
    ) -> io::Result<Self> {
        let provider = provider()?;
        let made = Made::new(options, faults).map_err(io::Error::other)?;
        let sha256 = sha256(&provider, &made.certificate)?;
        let manner = faults.iter().find_map(|fault| match fault.0 {
            Kind::Tls(fault) => Some(fault),
            Kind::Quirk(_) | Kind::Certificate(_) | Kind::Act(..) => None,
        });
        let clients = match manner {
            Some(TlsFault::ClientCertificate) => ClientCertificates::Demanded,
            Some(_) | None => clients,
        };
        let verifier = clients.verifier(&provider, made.authority)?;
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
            instead: manner.and_then(TlsFault::instead),
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
    fn new(options: &CertificateOptions, faults: &[Fault]) -> Result<Self, rcgen::Error> {
        let fault = faults.iter().find_map(|fault| match fault.0 {
            Kind::Certificate(fault) => Some(fault),
            Kind::Quirk(_) | Kind::Tls(_) | Kind::Act(..) => None,
        });
        let (signed, issuer) = authority("sandbox authority")?;
        let server = server(options.clone(), fault)?;
        let server_key = KeyPair::generate()?;
        let certificate = match fault {
            Some(CertificateFault::SelfSigned) => server.self_signed(&server_key)?,
            Some(CertificateFault::UnknownIssuer) => {
                let (_, other) = authority("another authority")?;
                server.signed_by(&server_key, &other)?
            }
            Some(CertificateFault::IncompleteChain) => {
                // Nobody sees its certificate: it need not be made.
                let (_, between) = authority("sandbox intermediate")?;
                server.signed_by(&server_key, &between)?
            }
            Some(
                CertificateFault::Expired
                | CertificateFault::NotYetValid
                | CertificateFault::WrongName,
            )
            | None => server.signed_by(&server_key, &issuer)?,
        };
        Ok(Self {
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(server_key.serialize_der()).into(),
            authority: signed.der().clone(),
            authority_pem: signed.pem(),
            issuer,
        })
    }
}

fn authority(name: &str) -> Result<(Certificate, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let signed = authority.self_signed(&key)?;
    Ok((signed, Issuer::new(authority, key)))
}

/// What the server's certificate is to say.
fn server(
    options: CertificateOptions,
    fault: Option<CertificateFault>,
) -> Result<CertificateParams, rcgen::Error> {
    let options = match fault {
        Some(CertificateFault::Expired) => options.with_validity(Validity::Expired),
        Some(CertificateFault::NotYetValid) => options.with_validity(Validity::NotYet),
        Some(CertificateFault::WrongName) => {
            options.with_names(["mx.sandbox.example", "*.mail.sandbox.example"])
        }
        Some(
            CertificateFault::SelfSigned
            | CertificateFault::UnknownIssuer
            | CertificateFault::IncompleteChain,
        )
        | None => options,
    };
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
    if fault == Some(CertificateFault::IncompleteChain) {
        let extension = issuer_location("http://sandbox.example/intermediate.crt");
        server.custom_extensions.push(extension);
    }
    Ok(server)
}

/// Where the issuer's certificate is to be found: AuthorityInfoAccess (RFC 5280 §4.2.2.1) with one
/// id-ad-caIssuers, for a location of at most 100 octets.
fn issuer_location(location: &str) -> CustomExtension {
    let piece = |tag: u8, content: &[u8]| {
        let mut octets = vec![tag, content.len() as u8];
        octets.extend_from_slice(content);
        octets
    };
    let method = piece(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 2]);
    let location = piece(0x86, location.as_bytes());
    let description = piece(0x30, &[method, location].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], piece(0x30, &description))
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
