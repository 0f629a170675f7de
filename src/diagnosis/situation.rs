//! What was asked for when an error arose.

use crate::net::Route;
use crate::net::config::ClientConfig;
use crate::net::resolve::shown;
use crate::proto::address::Mailbox;
use crate::proto::config::{Login, Security};
use crate::proto::sasl::{Credentials, MechanismName};
use crate::proto::session::Session;
use crate::providers::{self, Provider};

/// What was asked for when an error arose: the settings, as far as they bear on its cause. It holds
/// no secret.
///
/// ```
/// use ehlo::diagnosis::Situation;
/// use ehlo::{ClientConfig, Security};
///
/// let config = ClientConfig::new("mail.example.org", Security::StartTls);
/// let situation = Situation::of(&config).with_sender("alice@example.org".parse()?);
/// # Ok::<(), ehlo::AddressError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Situation {
    /// As it may be shown.
    pub(super) host: String,
    pub(super) written: Written,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) certificate_name: Option<String>,
    pub(super) way: Way,
    pub(super) login: LoginAs,
    pub(super) username: Option<String>,
    /// What the credentials can be used with, as far as the configuration allows it.
    pub(super) mechanisms: Vec<MechanismName>,
    pub(super) session: Option<Session>,
    pub(super) sender: Option<Mailbox>,
    pub(super) provider: Option<&'static Provider>,
}

/// What stands where a host's name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Name,
    Url,
    MailAddress,
    /// Nothing that could be a name.
    Malformed,
}

impl Written {
    fn of(host: &str) -> Self {
        let host = host.trim();
        if host.contains('/') {
            Self::Url
        } else if host.contains('@') {
            Self::MailAddress
        } else if host.is_empty() || host.contains(|c: char| c.is_control() || c.is_whitespace()) {
            Self::Malformed
        } else {
            Self::Name
        }
    }
}

/// The way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    Proxy,
    Socket,
}

/// Who was to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginAs {
    Nobody,
    ByPassword,
    ByToken,
    ByCertificate,
    /// By what is asked for later.
    Asked,
}

impl Situation {
    /// What a client with this configuration asks for.
    pub fn of(config: &ClientConfig) -> Self {
        let (login, username, mechanisms) = match &config.session.login {
            Login::Nobody => (LoginAs::Nobody, None, Vec::new()),
            Login::Ask => (LoginAs::Asked, None, config.session.mechanisms.clone()),
            Login::With(credentials) => {
                let username = Some(credentials.username().to_owned());
                let usable = usable(&config.session.mechanisms, credentials);
                (login_by(credentials), username, usable)
            }
        };
        Self {
            host: shown(&config.host).trim().to_owned(),
            written: Written::of(&config.host),
            port: config.port,
            security: config.session.security,
            certificate_name: config.certificate_name.clone(),
            way: match &config.route {
                Route::Direct => Way::Direct,
                Route::Proxy(_) => Way::Proxy,
                #[cfg(unix)]
                Route::UnixSocket(_) => Way::Socket,
            },
            login,
            username: username.filter(|name| !name.is_empty()),
            mechanisms,
            session: None,
            sender: None,
            provider: None,
        }
    }

    /// In this session: what the server offered, and whether TLS and a log-in had come about. An
    /// error that ended a connection knows the offers by itself; that of a message does not.
    #[must_use]
    pub fn with_session(mut self, session: Session) -> Self {
        self.session = Some(session);
        self
    }

    /// With mail from this sender.
    #[must_use]
    pub fn with_sender(mut self, sender: Mailbox) -> Self {
        self.sender = Some(sender);
        self
    }

    /// With the provider whose server it is, where that is known from elsewhere, as from MX records.
    /// By default it is looked up by the host, and by the domains of user name and sender.
    #[must_use]
    pub fn with_provider(mut self, provider: &'static Provider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// The provider whose server it is.
    pub(super) fn provider(&self) -> Option<&'static Provider> {
        self.provider.or_else(|| providers::by_host(&self.host))
    }

    /// The provider that the settings are meant for: whose server it is, or whose user it is.
    pub(super) fn intended_provider(&self) -> Option<&'static Provider> {
        let username = self.username.as_deref();
        let domain = username.and_then(|name| name.rsplit_once('@'));
        let by_user = || providers::by_domain(domain?.1);
        let by_sender = || {
            let sender = self.sender.as_ref()?.to_string();
            providers::by_domain(sender.rsplit_once('@')?.1)
        };
        self.provider().or_else(by_user).or_else(by_sender)
    }
}

fn usable(allowed: &[MechanismName], credentials: &Credentials) -> Vec<MechanismName> {
    let takes = |name: &&MechanismName| name.known().is_some_and(|known| known.takes(credentials));
    allowed.iter().filter(takes).cloned().collect()
}

fn login_by(credentials: &Credentials) -> LoginAs {
    let takes = |name: MechanismName| name.known().is_some_and(|known| known.takes(credentials));
    if takes(MechanismName::PLAIN) {
        LoginAs::ByPassword
    } else if takes(MechanismName::OAUTHBEARER) {
        LoginAs::ByToken
    } else {
        LoginAs::ByCertificate
    }
}
