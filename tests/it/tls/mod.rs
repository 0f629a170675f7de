//! TLS in the driver: whom it trusts, what it says of a session, and what follows a failure.

mod failures;
pub(crate) mod server;
mod sessions;

use ehlo::net::{TlsOptions, Trust};
use ehlo::{ClientConfig, Security};

pub(crate) const HOST: &str = "mx.example.org";

/// A configuration that trusts this authority.
pub(crate) fn trusting(security: Security, authority_pem: &str) -> ClientConfig {
    let tls = TlsOptions::default()
        .with_trust(Trust::Webpki)
        .with_ca_pem(authority_pem.as_bytes())
        .expect("the authority of a test is a certificate");
    ClientConfig::new(HOST, security).with_tls(tls)
}

/// A configuration with this trust alone.
fn with_trust(security: Security, trust: Trust) -> ClientConfig {
    ClientConfig::new(HOST, security).with_tls(TlsOptions::default().with_trust(trust))
}
