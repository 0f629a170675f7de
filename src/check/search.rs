//! Other ways to the same host, tried where the one that was asked for leads nowhere.
//!
//! What is tried goes as far as EHLO: no credentials, and no mail.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::error::{Category, Error, Party, Stage};
use crate::net::Route;
use crate::net::client::Client;
use crate::net::config::ClientConfig;
use crate::proto::config::{Login, Protocol, Security};

/// Settings that were seen to work, as far as EHLO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Working {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When TLS starts there.
    #[serde(serialize_with = "by_name")]
    pub encryption: Security,
    /// Whether the server's certificate is good, as far as the configuration wants to know.
    pub certificate_accepted: bool,
}

impl Working {
    /// Whether it is the same port, with TLS at another time.
    pub(super) fn is_other_mode_of(&self, config: &ClientConfig) -> bool {
        self.port == config.port
    }

    /// Whether that the other mode works is why this failed.
    pub(super) fn explains(&self, error: &Error) -> bool {
        let before_dialogue = matches!(error.stage(), Stage::Greeting | Stage::Handshake);
        before_dialogue
            && matches!(
                error.category(),
                Category::ConnectionTimeout | Category::ConnectionLost | Category::Tls
            )
    }

    /// The error that it is instead of a failure at this stage.
    pub(super) fn mismatch(&self, stage: Stage) -> Error {
        let (host, port) = (&self.host, self.port);
        let (message, hint) = match self.encryption {
            Security::Implicit => (
                format!(
                    "{host} says nothing in clear on port {port}: it speaks TLS from the first octet \
                     there"
                ),
                format!("Switch encryption to TLS (implicit) for port {port}."),
            ),
            Security::StartTls | Security::Opportunistic | Security::Plaintext => (
                format!("{host} does not begin with TLS on port {port}: it speaks SMTP in clear"),
                format!("Switch encryption to STARTTLS for port {port}."),
            ),
        };
        Error::new(Category::EncryptionMismatch, stage, Party::Caller, message).with_hint(hint)
    }
}

/// The name of an encryption, as the command line has it.
pub(super) fn encryption_name(security: Security) -> &'static str {
    match security {
        Security::Implicit => "tls",
        Security::StartTls => "starttls",
        Security::Opportunistic => "opportunistic",
        Security::Plaintext => "none",
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
        let other_mode = matches!(stage, Stage::Greeting | Stage::Handshake);
        self.first_of(self.ways(other_mode)).await
    }

    /// What works where this has failed.
    pub(super) async fn after(&self, error: &Error) -> Option<Working> {
        let other_mode = match (error.category(), error.stage()) {
            (Category::ConnectionRefused | Category::ConnectionTimeout, Stage::Connect) => false,
            (Category::StartTlsUnavailable, _) => false,
            (Category::Protocol, Stage::Greeting) => false,
            (
                Category::ConnectionTimeout
                | Category::ConnectionLost
                | Category::EncryptionMismatch
                | Category::Tls
                | Category::Protocol,
                Stage::Greeting | Stage::Handshake,
            ) => true,
            _ => return None,
        };
        self.first_of(self.ways(other_mode)).await
    }

    /// The likeliest first.
    fn ways(&self, other_mode: bool) -> Vec<(u16, Security)> {
        let config = self.config;
        match (&config.route, config.session.protocol) {
            (Route::Direct | Route::Proxy(_), Protocol::Smtp) => {}
            #[cfg(unix)]
            (Route::UnixSocket(_), Protocol::Smtp) => return Vec::new(),
            (_, Protocol::Lmtp) => return Vec::new(),
        }
        let mut ways = Vec::new();
        if other_mode {
            let security = match config.session.security {
                Security::Implicit => Security::StartTls,
                Security::StartTls | Security::Opportunistic | Security::Plaintext => {
                    Security::Implicit
                }
            };
            ways.push((config.port, security));
        }
        let usual = [(587, Security::StartTls), (465, Security::Implicit)];
        ways.extend(usual.into_iter().filter(|(port, _)| *port != config.port));
        ways
    }

    /// All are tried at once; the first in the list that works is taken.
    async fn first_of(&self, ways: Vec<(u16, Security)>) -> Option<Working> {
        let mut trials = JoinSet::new();
        let mut results: Vec<Trial> = Vec::new();
        for (index, (port, security)) in ways.into_iter().enumerate() {
            results.push(Trial::Running);
            let config = bare(self.config, port, security);
            trials.spawn(async move { (index, attempt(config).await) });
        }
        while let Some(joined) = trials.join_next().await {
            // A trial that panicked has found nothing; it stays running, and the others decide.
            if let Ok((index, found)) = joined {
                results[index] = Trial::Over(found);
            }
            let settled = results.iter().find(|trial| match trial {
                Trial::Running | Trial::Over(Some(_)) => true,
                Trial::Over(None) => false,
            });
            if let Some(Trial::Over(found)) = settled {
                return found.clone();
            }
        }
        results.into_iter().find_map(|trial| match trial {
            Trial::Over(found) => found,
            Trial::Running => None,
        })
    }
}

enum Trial {
    Running,
    Over(Option<Working>),
}

/// The same way to the same host, with nobody to log in.
fn bare(config: &ClientConfig, port: u16, security: Security) -> ClientConfig {
    let mut config = config.clone().with_port(port);
    config.session.security = security;
    config.session.login = Login::Nobody;
    config.session.timeouts = config.session.timeouts.capped(TRIAL);
    config.connect_timeout = config.connect_timeout.min(TRIAL);
    config.credentials = None;
    config.watcher = None;
    config
}

async fn attempt(config: ClientConfig) -> Option<Working> {
    let working = |certificate_accepted| Working {
        host: config.host.clone(),
        port: config.port,
        encryption: config.session.security,
        certificate_accepted,
    };
    match Client::connect(config.clone()).await {
        // Dropped, it says QUIT.
        Ok(_) => Some(working(true)),
        Err(error) if error.category() == Category::Certificate => Some(working(false)),
        Err(_) => None,
    }
}

fn by_name<S: serde::Serializer>(security: &Security, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(encryption_name(*security))
}

/// How long a trial waits for anything.
const TRIAL: Duration = Duration::from_secs(10);
