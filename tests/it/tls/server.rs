//! A TLS server whose certificate and manners a test chooses.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tokio::io::DuplexStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio_rustls::server::TlsStream;

use crate::net::peer::Peer;

use super::HOST;

pub(crate) type Secured = Peer<TlsStream<DuplexStream>>;

/// What is odd about a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Ordinary,
    Tls12,
    OtherName,
    Expired,
    NotYetValid,
    /// Its certificate is an authority's own, that of `openssl req -x509`.
    SelfSigned,
    SelfSignedOtherName,
    SelfSignedExpired,
    WantsClientCertificate,
}

impl Manner {
    fn has_authoritys_own(self) -> bool {
        matches!(
            self,
            Self::SelfSigned | Self::SelfSignedOtherName | Self::SelfSignedExpired
        )
    }
}

/// A certificate, and the authority that made it.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) authority_pem: String,
}

impl Identity {
    pub(crate) fn new(manner: Manner) -> Self {
        let mut authority = match manner.has_authoritys_own() {
            true => leaf(manner),
            false => CertificateParams::new(Vec::new()).unwrap(),
        };
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let authority_key = KeyPair::generate().unwrap();
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let authority_pem = authority_certificate.pem();
        let authority_der = authority_certificate.der().clone();
        let (certificate, key) = match manner.has_authoritys_own() {
            true => (authority_der.clone(), authority_key.serialize_der()),
            false => {
                let key = KeyPair::generate().unwrap();
                let issuer = Issuer::new(authority, authority_key);
                let certificate = leaf(manner).signed_by(&key, &issuer).unwrap();
                (certificate.der().clone(), key.serialize_der())
            }
        };
        let config = config(manner, authority_der, certificate, key);
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            authority_pem,
        }
    }

    /// Takes a client's handshake.
    pub(crate) async fn accept(&self, stream: DuplexStream) -> std::io::Result<Secured> {
        Ok(Peer::new(self.acceptor.accept(stream).await?))
    }

    /// Greets in clear, takes STARTTLS, and then the handshake.
    pub(crate) async fn accept_starttls(&self, mut peer: Peer<DuplexStream>) -> Secured {
        peer.greet(&["STARTTLS"]).await;
        peer.expect("STARTTLS").await;
        peer.say(&["220 go on"]).await;
        let mut secured = self.accept(peer.into_inner()).await.unwrap();
        secured.expect("EHLO ").await;
        secured.say(&["250-mx.example.org", "250 PIPELINING"]).await;
        secured
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "ring")]
    return Arc::new(crypto::ring::default_provider());
    #[cfg(not(feature = "ring"))]
    return Arc::new(crypto::aws_lc_rs::default_provider());
}

fn leaf(manner: Manner) -> CertificateParams {
    let names = match manner {
        Manner::OtherName | Manner::SelfSignedOtherName => vec!["other.example.net".to_owned()],
        _ => vec![HOST.to_owned(), "192.0.2.7".to_owned()],
    };
    let mut leaf = CertificateParams::new(names).unwrap();
    leaf.distinguished_name
        .push(DnType::CommonName, "test server");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (leaf.not_before, leaf.not_after) = match manner {
        Manner::Expired | Manner::SelfSignedExpired => {
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 2, 3))
        }
        Manner::NotYetValid => (date_time_ymd(2999, 4, 5), date_time_ymd(3000, 1, 1)),
        _ => (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1)),
    };
    leaf
}

fn config(
    manner: Manner,
    authority: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
) -> ServerConfig {
    let versions: &[&SupportedProtocolVersion] = match manner {
        Manner::Tls12 => &[&version::TLS12],
        _ => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match manner {
        Manner::WantsClientCertificate => {
            let mut roots = RootCertStore::empty();
            roots.add(authority).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    builder
        .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key).into())
        .unwrap()
}
