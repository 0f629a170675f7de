//! What mail providers want of a client: hosts, ports, user names, limits, and what they mean by
//! their replies.
use serde::Serialize;

use crate::proto::config::Security;
use crate::proto::reply::Reply;

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provider {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

impl Provider {
    /// What one of its replies means.
    pub fn explain(&self, reply: &Reply) -> Option<&KnownReply> {
        explain(reply)
    }

    /// The endpoints at a host.
    pub fn endpoints_at(&self, _host: &str) -> Vec<Endpoint> {
        self.endpoints.clone()
    }
}

/// A known reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownReply {
    /// Kind.
    pub kind: String,
    /// Meaning.
    pub meaning: String,
    /// Advice.
    pub advice: String,
}

/// Endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Encryption.
    pub encryption: Encryption,
}

/// Encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// STARTTLS.
    StartTls,
    /// TLS.
    Tls,
    /// Clear.
    None,
}

impl Encryption {
    /// The one of this security.
    pub fn of(security: Security) -> Option<Self> {
        match security {
            Security::StartTls => Some(Self::StartTls),
            Security::Implicit => Some(Self::Tls),
            Security::Plaintext => Some(Self::None),
            Security::Opportunistic => None,
        }
    }
}

impl std::fmt::Display for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StartTls => "STARTTLS",
            Self::Tls => "TLS",
            Self::None => "none",
        })
    }
}

/// By host.
pub fn by_host(_host: &str) -> Option<&'static Provider> {
    None
}

/// By domain.
pub fn by_domain(_domain: &str) -> Option<&'static Provider> {
    None
}

/// Near.
pub fn near_host(_host: &str) -> Option<&'static str> {
    None
}

/// Explain.
pub fn explain(_reply: &Reply) -> Option<&'static KnownReply> {
    None
}
