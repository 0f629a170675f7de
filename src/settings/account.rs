//! Settings that can be used.

use std::fmt;

use super::remark::Remark;
use crate::message::Message;
use crate::net::config::ClientConfig;
use crate::net::{TlsOptions, Trust};
use crate::proto::address::Mailbox;
use crate::proto::config::{Config, PlaintextAuth};
use crate::proto::sasl::Credentials;
use crate::providers::{Encryption, Provider};

/// An account on a server: settings of which every field is well-formed.
///
/// [`Settings::account`](super::Settings::account) makes it. `Debug` does not show the password, and
/// `Display` is a line for people, which says so where the certificate is not checked.
///
/// ```
/// use ehlo::settings::Settings;
///
/// let settings = Settings::new("jo@example.org", "mail.example.org").with_login("jo", "secret");
/// let account = settings.account()?;
/// assert_eq!(account.to_string(), "jo at mail.example.org, port 587, STARTTLS");
/// let client = ehlo::Client::connect(account.client_config());
/// # Ok::<(), ehlo::settings::Problems>(())
/// ```
#[derive(Clone)]
pub struct Account {
    pub(super) sender: Mailbox,
    pub(super) from_name: Option<String>,
    pub(super) server: Server,
    pub(super) credentials: Option<Credentials>,
    pub(super) plaintext_auth: PlaintextAuth,
    pub(super) warnings: Vec<Remark>,
}

/// Where it is, and how it is reached.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) trust: Trust,
    pub(super) provider: Option<&'static Provider>,
}

impl Account {
    /// The configuration of a client that connects with this account.
    ///
    /// Each call makes one of its own: keep it, or clones of it, for all connections (see
    /// [`ClientConfig`]).
    pub fn client_config(&self) -> ClientConfig {
        let security = self.server.encryption.into();
        let mut session = Config::new(security).with_plaintext_auth(self.plaintext_auth);
        if let Some(credentials) = &self.credentials {
            session = session.with_credentials(credentials.clone());
        }
        ClientConfig::new(self.server.host.as_str(), security)
            .with_port(self.server.port)
            .with_session(session)
            .with_tls(TlsOptions::default().with_trust(self.server.trust))
    }

    /// An empty message from this account, with the sender's name.
    pub fn message(&self) -> Message {
        let message = Message::new(self.sender.clone());
        match &self.from_name {
            Some(name) => message.with_from_name(name.as_str()),
            None => message,
        }
    }

    /// The address that mail comes from.
    pub fn sender(&self) -> &Mailbox {
        &self.sender
    }

    /// The name beside it. It has no control character, and can go into a header as it is.
    pub fn from_name(&self) -> Option<&str> {
        self.from_name.as_deref()
    }

    /// The server: a host name in ASCII, or an IP address.
    pub fn host(&self) -> &str {
        &self.server.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// How the connection is protected.
    pub fn encryption(&self) -> Encryption {
        self.server.encryption
    }

    /// How the server's certificate is judged: [`Trust::Off`] where validation is switched off.
    pub fn trust(&self) -> Trust {
        self.server.trust
    }

    /// Who logs in.
    pub fn username(&self) -> Option<&str> {
        self.credentials.as_ref().map(Credentials::username)
    }

    /// What works, or may work, but is likely not meant.
    pub fn warnings(&self) -> &[Remark] {
        &self.warnings
    }

    /// The provider whose server it is, where it is known.
    pub fn provider(&self) -> Option<&'static Provider> {
        self.server.provider
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = self.server.provider.map(|provider| &provider.id);
        f.debug_struct("Account")
            .field("sender", &self.sender)
            .field("from_name", &self.from_name)
            .field("host", &self.server.host)
            .field("port", &self.server.port)
            .field("encryption", &self.server.encryption)
            .field("trust", &self.server.trust)
            .field("provider", &provider)
            .field("credentials", &self.credentials)
            .field("plaintext_auth", &self.plaintext_auth)
            .field("warnings", &self.warnings)
            .finish()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server {
            host,
            port,
            encryption,
            trust,
            ..
        } = &self.server;
        match self.username() {
            Some(username) => write!(f, "{username} at {host}, port {port}, {encryption}")?,
            None => write!(f, "{host}, port {port}, {encryption}")?,
        }
        match (encryption, trust) {
            (Encryption::None, _) | (_, Trust::Native | Trust::Webpki) => Ok(()),
            (_, Trust::Pinned(_)) => f.write_str(", one certificate only"),
            (_, Trust::Off) => f.write_str(", CERTIFICATE NOT CHECKED"),
        }
    }
}
