//! Other ways to the same host, tried where the one that was asked for leads nowhere.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::error::{Category, Error, Party, Stage};
use crate::net::Route;
use crate::net::client::Client;
use crate::net::config::ClientConfig;
use crate::proto::config::{Login, Protocol, Security};
use crate::proto::timer::Timeouts;
use crate::proto::{Evidence, TlsProblem};
use crate::providers::{Encryption, Endpoint};

/// Settings that were seen to work, as far as EHLO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Working {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When TLS starts there.
    pub encryption: Encryption,
    /// Whether the server's certificate is good, as far as the configuration wants to know.
    pub certificate_accepted: bool,
}

impl Working {
    /// The error that it is instead of a failure at this stage.
    pub(super) fn mismatch(&self, stage: Stage) -> Error {
        let (host, port) = (&self.host, self.port);
        let (message, hint) = match self.encryption {
            Encryption::Tls => (
                format!(
                    "{host} says nothing in clear on port {port}: it speaks TLS from the first octet \
                     there"
                ),
                format!("Switch encryption to TLS (implicit) for port {port}."),
            ),
            Encryption::StartTls | Encryption::None => (
                format!("{host} does not begin with TLS on port {port}: it speaks SMTP in clear"),
                format!("Switch encryption to STARTTLS for port {port}."),
            ),
        };
        Error::new(Category::EncryptionMismatch, stage, Party::Caller, message).with_hint(hint)
    }
}

/// Looks for ways to a host.
pub(super) struct Search<'a> {
    config: &'a ClientConfig,
}

impl<'a> Search<'a> {
    pub(super) fn new(config: &'a ClientConfig) -> Self {
        Self { config }
    }

    /// What works while this step stays silent.
    pub(super) async fn while_silent(&self, stage: Stage) -> Option<Working> {
        self.first_of(self.ways(self.other_mode(stage))).await
    }

    /// What works where this has failed.
    pub(super) async fn after(&self, error: &Error) -> Option<Working> {
        self.first_of(self.ways(self.hope(error)?)).await
    }

    /// What may help against this; `None` where nothing that could be found would.
    pub(super) fn hope(&self, error: &Error) -> Option<OtherMode> {
        let category = error.category();
        Some(match error.stage() {
            Stage::Connect if is_unreachable(category) => OtherMode::Hopeless,
            stage @ (Stage::Greeting | Stage::Handshake) if is_wrong_port(error) => {
                self.other_mode(stage)
            }
            Stage::StartTls if category == Category::StartTlsUnavailable => OtherMode::Hopeless,
            Stage::Resolve
            | Stage::Connect
            | Stage::Greeting
            | Stage::Ehlo
            | Stage::StartTls
            | Stage::Handshake
            | Stage::Auth
            | Stage::Mail
            | Stage::Rcpt
            | Stage::Data
            | Stage::Body
            | Stage::Quit => return None,
        })
    }

    /// Whether it is the same port, with TLS at another time.
    pub(super) fn is_other_mode(&self, working: &Working) -> bool {
        working.port == self.config.port
    }

    /// Whether this may come of TLS at the wrong time, and only a trial can tell.
    pub(super) fn may_be_mismatch(&self, error: &Error) -> bool {
        is_silence(error) && self.is_before_mode_is_known(error.stage())
    }

    /// Whether the server may still turn out to start TLS at another time: it has said nothing yet.
    fn is_before_mode_is_known(&self, stage: Stage) -> bool {
        match self.config.session.security {
            Security::Implicit => stage == Stage::Handshake,
            Security::StartTls | Security::Opportunistic | Security::Plaintext => {
                stage == Stage::Greeting
            }
        }
    }

    /// TLS at another time too, where that is not known to be hopeless.
    fn other_mode(&self, stage: Stage) -> OtherMode {
        match self.is_before_mode_is_known(stage) {
            true => OtherMode::Too,
            false => OtherMode::Hopeless,
        }
    }

    /// The likeliest first.
    fn ways(&self, other_mode: OtherMode) -> Vec<Endpoint> {
        let config = self.config;
        match (&config.route, config.session.protocol) {
            (Route::Direct | Route::Proxy(_), Protocol::Smtp) => {}
            #[cfg(unix)]
            (Route::UnixSocket(_), Protocol::Smtp) => return Vec::new(),
            (_, Protocol::Lmtp) => return Vec::new(),
        }
        let at = |port, encryption| Endpoint {
            host: config.host.clone(),
            port,
            encryption,
        };
        let mut ways = Vec::new();
        if other_mode == OtherMode::Too {
            ways.push(match config.session.security {
                Security::Implicit => at(config.port, Encryption::StartTls),
                Security::StartTls | Security::Opportunistic | Security::Plaintext => {
                    at(config.port, Encryption::Tls)
                }
            });
        }
        let usual = [at(587, Encryption::StartTls), at(465, Encryption::Tls)];
        ways.extend(usual.into_iter().filter(|way| way.port != config.port));
        ways
    }

    /// All are tried at once; the first in the list that works is taken.
    async fn first_of(&self, ways: Vec<Endpoint>) -> Option<Working> {
        let mut trials = JoinSet::new();
        let mut results: Vec<Attempt> = Vec::new();
        for (index, way) in ways.into_iter().enumerate() {
            results.push(Attempt::Running);
            let config = self.config.clone();
            trials.spawn(async move { (index, attempt(way, config).await) });
        }
        while let Some(joined) = trials.join_next().await {
            // A trial that panicked has found nothing; it stays running, and the others decide.
            if let Ok((index, found)) = joined {
                results[index] = Attempt::Over(found);
            }
            let settled = results.iter().find(|trial| match trial {
                Attempt::Running | Attempt::Over(Some(_)) => true,
                Attempt::Over(None) => false,
            });
            if let Some(Attempt::Over(found)) = settled {
                return found.clone();
            }
        }
        results.into_iter().find_map(|trial| match trial {
            Attempt::Over(found) => found,
            Attempt::Running => None,
        })
    }
}

fn is_unreachable(category: Category) -> bool {
    matches!(
        category,
        Category::ConnectionRefused | Category::ConnectionTimeout
    )
}

/// Whether the server has said nothing that shows what is due there.
fn is_silence(error: &Error) -> bool {
    let silent = matches!(
        error.category(),
        Category::ConnectionTimeout | Category::ConnectionLost | Category::Tls
    );
    silent && !speaks_tls(error)
}

/// Whether the port may be for something else, or for TLS at another time.
fn is_wrong_port(error: &Error) -> bool {
    is_silence(error)
        || matches!(
            error.category(),
            Category::EncryptionMismatch | Category::Protocol
        )
}

/// Whether the server has shown that TLS is due there.
fn speaks_tls(error: &Error) -> bool {
    let Some(Evidence::Tls(problem)) = error.evidence() else {
        return false;
    };
    match problem {
        TlsProblem::Alert(_)
        | TlsProblem::Version
        | TlsProblem::Cipher
        | TlsProblem::ClosedAfter => true,
        TlsProblem::ClosedWithin | TlsProblem::NotTls | TlsProblem::Other => false,
    }
}

/// Whether TLS at another time is tried on the same port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherMode {
    Too,
    Hopeless,
}

/// What is known of a way.
enum Attempt {
    Running,
    Over(Option<Working>),
}

async fn attempt(endpoint: Endpoint, config: ClientConfig) -> Option<Working> {
    let config = bare(&endpoint, &config, TRIAL);
    // Dropped, the client says QUIT.
    let certificate_accepted = match Client::connect(config).await {
        Ok(_) => true,
        Err(error) if error.category() == Category::Certificate => false,
        Err(_) => return None,
    };
    Some(Working {
        host: endpoint.host,
        port: endpoint.port,
        encryption: endpoint.encryption,
        certificate_accepted,
    })
}

/// What only shows whether an endpoint works: as far as EHLO, with nobody to log in, no certificate of
/// the client's, which tells who it is, and no mail; by the way, the trust and the policy for addresses
/// of this configuration.
pub(super) fn bare(endpoint: &Endpoint, config: &ClientConfig, longest: Duration) -> ClientConfig {
    let mut config = config.clone().with_port(endpoint.port);
    // A name that was to be in the certificate of one host is not for another.
    if config.host != endpoint.host {
        config.certificate_name = None;
        config.host.clone_from(&endpoint.host);
    }
    config.session.security = endpoint.encryption.into();
    config.session.login = Login::Nobody;
    config.session.timeouts = Timeouts::default().capped(longest);
    config.connect_timeout = config.connect_timeout.min(longest);
    config.credentials = None;
    config.watcher = None;
    config.tls = config.tls.without_client_certificate();
    config
}

/// How long a trial waits for anything.
const TRIAL: Duration = Duration::from_secs(6);
