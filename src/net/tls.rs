//! Whom to trust, and the rustls configuration that comes of it.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio_rustls::rustls;

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::{Hash, HashAlgorithm};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, RootCertStore};

use super::{certificate, verify};
use crate::error::{Category, Error, Party, Stage};
use crate::proto::session::{Certificate, Verification};

/// Whom to trust.
///
/// A clone shares the TLS sessions that can be resumed, and the roots once they are loaded.
#[derive(Clone, Default)]
pub struct TlsOptions {
    trust: Trust,
    extra_roots: Vec<CertificateDer<'static>>,
    client: Option<Arc<ClientIdentity>>,
    prepared: Arc<OnceLock<Prepared>>,
}

/// What the client shows of itself.
struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl TlsOptions {
    /// With another way to judge the server's certificate.
    #[must_use]
    pub fn with_trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self.prepared = Arc::default();
        self
    }

    /// With the certificates of a PEM file as roots, besides those of [`Trust::Native`] or
    /// [`Trust::Webpki`]. They change nothing for the other two. One of them may be the server's own,
    /// as long as it names the host.
    ///
    /// # Errors
    /// No certificate in it, or one that cannot be read.
    pub fn with_ca_pem(mut self, pem: &[u8]) -> Result<Self, TlsConfigError> {
        let mut roots = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| TlsConfigError::Pem(pem_problem(&error)))?;
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| TlsConfigError::Certificate(certificate_problem(&error)))?;
            roots.push(certificate);
        }
        if roots.is_empty() {
            return Err(TlsConfigError::NoCertificate);
        }
        self.extra_roots.append(&mut roots);
        self.prepared = Arc::default();
        Ok(self)
    }

    /// With a certificate of the client's own, which it shows where the server asks for one: its
    /// chain, the own one first, and its key, both in PEM. To log in by it, give
    /// [`Credentials::external`](crate::Credentials::external) too.
    ///
    /// # Errors
    /// No certificate, no key, or one that cannot be read. Whether the two belong together shows
    /// when they are used.
    pub fn with_client_certificate(
        mut self,
        chain_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<Self, TlsConfigError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem)
            .collect::<Result<_, _>>()
            .map_err(|error| TlsConfigError::Pem(pem_problem(&error)))?;
        if chain.is_empty() {
            return Err(TlsConfigError::NoCertificate);
        }
        // The parser's own errors may quote what it read.
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsConfigError::Key)?;
        self.client = Some(Arc::new(ClientIdentity { chain, key }));
        self.prepared = Arc::default();
        Ok(self)
    }

    /// Without a certificate of the client's own.
    #[must_use]
    pub fn without_client_certificate(mut self) -> Self {
        self.client = None;
        self.prepared = Arc::default();
        self
    }

    /// Whether both trust the same servers, and show the same of the client.
    pub(super) fn is_equivalent(&self, other: &Self) -> bool {
        // Named one by one, so that a field to come is not forgotten.
        let Self {
            trust,
            extra_roots,
            client,
            prepared: _,
        } = self;
        let client = match (client, &other.client) {
            (None, None) => true,
            (Some(one), Some(other)) => one.chain == other.chain && one.key == other.key,
            (None, Some(_)) | (Some(_), None) => false,
        };
        client && *trust == other.trust && *extra_roots == other.extra_roots
    }

    /// How a server's certificate is judged.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// What the handshake needs. Loading the system's roots takes some milliseconds of file reading,
    /// once in a process, in a thread that may block.
    pub(super) async fn prepare(&self) -> Result<Prepared, Error> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared.clone());
        }
        let provider = provider()?;
        let sha256 = sha256(&provider)?;
        let (verification, verifier) = match self.trust {
            Trust::Native => {
                let roots = self.with_extra(native_roots().await?)?;
                let named = self.extra_roots.clone();
                (
                    Verification::Trusted,
                    verify::trusted(&provider, roots, named),
                )
            }
            Trust::Webpki => {
                let roots = self.with_extra(Arc::new(webpki_roots()))?;
                let named = self.extra_roots.clone();
                (
                    Verification::Trusted,
                    verify::trusted(&provider, roots, named),
                )
            }
            Trust::Pinned(pin) => (
                Verification::Pinned,
                Ok(verify::pinned(&provider, sha256, pin)),
            ),
            Trust::Off => (Verification::Off, Ok(verify::anyone(&provider))),
        };
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.map_err(unusable)?);
        let config = match &self.client {
            None => config.with_no_client_auth(),
            Some(client) => config
                .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
                .map_err(unusable)?,
        };
        let prepared = Prepared {
            config: Arc::new(config),
            sha256,
            verification,
            known: Arc::default(),
        };
        Ok(self.prepared.get_or_init(|| prepared).clone())
    }

    fn with_extra(&self, roots: Arc<RootCertStore>) -> Result<Arc<RootCertStore>, Error> {
        if self.extra_roots.is_empty() {
            return Ok(roots);
        }
        let mut all = RootCertStore {
            roots: roots.roots.clone(),
        };
        for certificate in &self.extra_roots {
            all.add(certificate.clone()).map_err(unusable)?;
        }
        Ok(Arc::new(all))
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("trust", &self.trust)
            .field("extra_roots", &self.extra_roots.len())
            .field("client_certificate", &self.client.is_some())
            .finish_non_exhaustive()
    }
}

/// How a server's certificate is judged. The signatures of the handshake are checked in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// Its chain ends in a root of the system, and it names the host. Where the system has no
    /// roots, those of [`Self::Webpki`] are used.
    #[default]
    Native,
    /// Its chain ends in a root of Mozilla's programme as this build carries it, and it names the
    /// host.
    Webpki,
    /// It is the one whose DER has this SHA-256, whatever it says.
    Pinned([u8; 32]),
    /// Any will do: nothing protects against somebody in between.
    Off,
}

/// Certificates or a key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The PEM text is broken.
    Pem(String),
    /// The text has no certificate.
    NoCertificate,
    /// One of the certificates cannot be read.
    Certificate(String),
    /// There is no private key in the PEM text, or it cannot be read.
    Key,
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(why) => write!(f, "the PEM text is broken: {why}"),
            Self::NoCertificate => f.write_str("there is no certificate in the PEM text"),
            Self::Certificate(why) => write!(f, "a certificate cannot be read: {why}"),
            Self::Key => f.write_str("there is no private key in the PEM text"),
        }
    }
}

impl std::error::Error for TlsConfigError {}

/// What a handshake needs of the options.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) config: Arc<rustls::ClientConfig>,
    pub(super) sha256: &'static dyn Hash,
    pub(super) verification: Verification,
    /// The last server's certificate, and what it says: the next server's is mostly the same.
    known: Arc<Mutex<Option<(CertificateDer<'static>, Arc<Certificate>)>>>,
}

impl Prepared {
    /// What a server's certificate says.
    pub(super) fn facts(&self, der: &CertificateDer<'_>) -> Arc<Certificate> {
        let mut last = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, facts)) if known == der => Arc::clone(facts),
            Some(_) | None => {
                let facts = Arc::new(certificate::facts(der, self.sha256));
                *last = Some((der.clone().into_owned(), Arc::clone(&facts)));
                facts
            }
        }
    }
}

#[cfg(feature = "ring")]
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    Ok(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    CryptoProvider::get_default().cloned().ok_or_else(|| {
        usage("TLS has no crypto provider").with_hint(
            "Build with the feature `aws-lc-rs` or `ring`, or install a default provider of \
             rustls.",
        )
    })
}

/// The provider's SHA-256: that of a cipher suite, since a provider has it nowhere else.
fn sha256(provider: &CryptoProvider) -> Result<&'static dyn Hash, Error> {
    provider
        .cipher_suites
        .iter()
        .map(|suite| match suite {
            rustls::SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
            rustls::SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        })
        .find(|hash| hash.algorithm() == HashAlgorithm::SHA256)
        .ok_or_else(|| usage("the crypto provider of TLS has no cipher suite with SHA-256"))
}

/// The system's roots, loaded once in a process.
async fn native_roots() -> Result<Arc<RootCertStore>, Error> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let loaded = tokio::task::spawn_blocking(load_native_roots)
        .await
        .map_err(|error| usage(format!("the system's roots could not be loaded: {error}")))?;
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(loaded))))
}

fn load_native_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // A system's store often has a few that cannot be read; those are left out.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return webpki_roots();
    }
    roots
}

fn webpki_roots() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

/// What is wrong with a PEM text; the error itself shows lines as lists of numbers.
fn pem_problem(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a certificate in it has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a line '-----BEGIN' is malformed".to_owned(),
        _ => error.to_string(),
    }
}

fn certificate_problem(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
            "it is malformed".to_owned()
        }
        _ => error.to_string(),
    }
}

fn unusable(error: impl fmt::Display) -> Error {
    usage(format!("the TLS options cannot be used: {error}"))
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(Category::Usage, Stage::Connect, Party::Caller, message)
}
