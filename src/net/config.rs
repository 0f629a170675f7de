//! What a client needs to know before it connects.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::milestone::{Milestone, Watcher};
use super::policy::AddressPolicy;
use super::proxy::Proxy;
use super::resolve::shown;
use super::route::Route;
use super::shared::asleep::Spares;
use super::shared::now;
#[cfg(feature = "tls")]
use super::tls::TlsOptions;
use crate::proto::config::{BehindMessage, Config, RecipientEvents, Security};
use crate::proto::connection::Connection;
use crate::proto::connection::dormant::Likeness;
use crate::proto::labels;
use crate::proto::reply::Reply;
use crate::proto::sasl::{Credentials, MechanismName};

/// Where to connect, how to secure it, and who logs in.
///
/// Reuse one configuration (a clone is enough) for all connections to a server: they then resume
/// each other's TLS sessions, and remember that the server refuses transactions behind an unanswered
/// message ([`crate::proto::Session::refuses_behind_message`]).
///
/// ```
/// use ehlo::{ClientConfig, Credentials, Security};
///
/// let config = ClientConfig::new("mail.example.org", Security::StartTls)
///     .with_credentials(Credentials::password("alice", "secret")?);
/// assert_eq!(config.port, 587);
/// # Ok::<(), ehlo::CredentialsError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The server: a host name or an IP address.
    pub host: String,
    /// The server's port. Default: the one that goes with the security (465, 587 or 25).
    pub port: u16,
    /// The name that the certificate must have. Default `None`: the host.
    pub certificate_name: Option<String>,
    /// The policy of the session: security, log-in, time-outs.
    pub session: Config,
    /// Whom to trust.
    #[cfg(feature = "tls")]
    pub tls: TlsOptions,
    /// The way to the server. Default: straight to it.
    pub route: Route,
    /// Which of the host's addresses may be connected to. Default: all.
    pub address_policy: AddressPolicy,
    /// How long resolving and connecting may take together, a proxy's part included. Default 30
    /// seconds: several addresses fit in, and a person still waits for it.
    pub connect_timeout: Duration,
    /// The local address to connect from, to the server or to the proxy. Default `None`: the
    /// system's choice.
    pub source_address: Option<IpAddr>,
    /// Who is asked where the session's log-in is `Login::Ask`. Default `None`: nobody, and the
    /// connection fails there.
    pub credentials: Option<Arc<dyn CredentialSource>>,
    /// Who is told how each connection gets on. Default `None`: nobody.
    pub watcher: Option<Arc<dyn Watcher>>,
    lessons: Arc<Lessons>,
}

impl ClientConfig {
    /// A configuration for this host, with the port that goes with the security. A name beyond ASCII
    /// is written as A-labels, which is what resolvers and certificates have.
    pub fn new(host: impl Into<String>, security: Security) -> Self {
        let host = host.into();
        let ascii = match host.is_ascii() {
            true => None,
            false => labels::to_ascii(&host),
        };
        Self {
            host: ascii.unwrap_or(host),
            port: security.default_port(),
            certificate_name: None,
            session: Config::new(security),
            #[cfg(feature = "tls")]
            tls: TlsOptions::default(),
            route: Route::Direct,
            address_policy: AddressPolicy::Any,
            connect_timeout: Duration::from_secs(30),
            source_address: None,
            credentials: None,
            watcher: None,
            lessons: Arc::default(),
        }
    }

    /// With another port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// With the name that the certificate must have, where that is not the host.
    #[must_use]
    pub fn with_certificate_name(mut self, name: impl Into<String>) -> Self {
        self.certificate_name = Some(name.into());
        self
    }

    /// With credentials to log in with.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.session = self.session.with_credentials(credentials);
        self
    }

    /// With somebody to ask for credentials, where the session's log-in is `Login::Ask`.
    #[must_use]
    pub fn with_credential_source(mut self, source: Arc<dyn CredentialSource>) -> Self {
        self.credentials = Some(source);
        self
    }

    /// With somebody who is told how each connection gets on.
    #[must_use]
    pub fn with_watcher(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// With another policy of the session. The port stays as it is.
    #[must_use]
    pub fn with_session(mut self, session: Config) -> Self {
        self.session = session;
        self
    }

    /// With other TLS options.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: TlsOptions) -> Self {
        self.tls = tls;
        self
    }

    /// Through a proxy, instead of straight to the server or to a Unix socket.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.route = Route::Proxy(proxy);
        self
    }

    /// To a Unix socket, instead of to the host and the port. The host stays the name that a
    /// certificate must have.
    #[cfg(unix)]
    #[must_use]
    pub fn with_unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.route = Route::UnixSocket(path.into());
        self
    }

    /// With a policy for the addresses that may be connected to.
    #[must_use]
    pub fn with_address_policy(mut self, policy: AddressPolicy) -> Self {
        self.address_policy = policy;
        self
    }

    /// With another time for resolving and connecting together.
    #[must_use]
    pub fn with_connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// With a local address to connect from.
    #[must_use]
    pub fn with_source_address(mut self, source_address: IpAddr) -> Self {
        self.source_address = Some(source_address);
        self
    }

    /// Whether a connection by this configuration is as good as one by the other: all that is
    /// configured is equal. Nothing is taken for harmless, so that no connection is used by somebody
    /// who would not have made it.
    pub(super) fn is_equivalent(&self, other: &Self) -> bool {
        // Named one by one, so that a field to come is not forgotten.
        let Self {
            host,
            port,
            certificate_name,
            session,
            #[cfg(feature = "tls")]
            tls,
            route,
            address_policy,
            connect_timeout,
            source_address,
            credentials,
            watcher,
            lessons: _,
        } = self;
        #[cfg(feature = "tls")]
        let tls = tls.is_equivalent(&other.tls);
        #[cfg(not(feature = "tls"))]
        let tls = true;
        tls && is_same(credentials.as_ref(), other.credentials.as_ref())
            && is_same(watcher.as_ref(), other.watcher.as_ref())
            && *host == other.host
            && *port == other.port
            && *certificate_name == other.certificate_name
            && *session == other.session
            && *route == other.route
            && *address_policy == other.address_policy
            && *connect_timeout == other.connect_timeout
            && *source_address == other.source_address
    }

    /// The session's policy for the next connection, with what earlier ones have learnt.
    pub(super) fn next_session(&self) -> Arc<Config> {
        let mut session = self.session.clone();
        session.recipient_events = RecipientEvents::Off;
        if self.lessons.refuses_behind_message.load(Ordering::Relaxed) {
            session.behind_message = BehindMessage::Wait;
        }
        self.lessons.share(session)
    }

    /// Tells the watcher, if there is one.
    pub(super) fn reached(&self, milestone: Milestone<'_>) {
        if let Some(watcher) = &self.watcher {
            watcher.reached(milestone, now());
        }
    }

    pub(super) fn lessons(&self) -> Arc<Lessons> {
        Arc::clone(&self.lessons)
    }
}

/// Whether both are the same one, or there is none.
fn is_same<T: ?Sized>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ClientConfig");
        debug
            .field("host", &shown(&self.host))
            .field("port", &self.port)
            .field("certificate_name", &self.certificate_name)
            .field("session", &self.session);
        #[cfg(feature = "tls")]
        debug.field("tls", &self.tls);
        debug
            .field("route", &self.route)
            .field("address_policy", &self.address_policy)
            .field("connect_timeout", &self.connect_timeout)
            .field("source_address", &self.source_address)
            .finish_non_exhaustive()
    }
}

/// Gives credentials when a session asks for them: to fetch a token, or to ask a person.
///
/// A token that was refused has most likely expired, whatever its papers say. The session asks once
/// more, with the refusal, and logs in on the same connection:
///
/// ```
/// use std::sync::Arc;
///
/// use ehlo::net::{CredentialSource, CredentialsFuture};
/// use ehlo::proto::{Config, Login, MechanismName};
/// use ehlo::{ClientConfig, Credentials, Reply, Security};
///
/// # struct Cache;
/// # impl Cache {
/// #     async fn token(&self) -> String { String::new() }
/// #     async fn renewed(&self) -> String { String::new() }
/// # }
/// /// Holds a token, and can get a new one.
/// struct Tokens(Arc<Cache>);
///
/// impl CredentialSource for Tokens {
///     fn credentials(&self, _: MechanismName, refused: Option<Reply>) -> CredentialsFuture {
///         let cache = Arc::clone(&self.0);
///         Box::pin(async move {
///             let token = match refused {
///                 None => cache.token().await,
///                 Some(_) => cache.renewed().await,
///             };
///             Credentials::token("alice@example.org", token).ok()
///         })
///     }
/// }
///
/// let config = ClientConfig::new("mail.example.org", Security::StartTls)
///     .with_session(Config::new(Security::StartTls).with_login(Login::Ask))
///     .with_credential_source(Arc::new(Tokens(Arc::new(Cache))));
/// ```
pub trait CredentialSource: Send + Sync {
    /// Credentials for this mechanism, or `None` to give up. Credentials of another kind are used
    /// with the first mechanism that takes them. `previous` is the refusal, when they are asked for
    /// a second time.
    fn credentials(&self, mechanism: MechanismName, previous: Option<Reply>) -> CredentialsFuture;
}

/// What [`CredentialSource::credentials`] returns.
pub type CredentialsFuture = Pin<Box<dyn Future<Output = Option<Credentials>> + Send>>;

/// What connections have learnt about a server, for those after them.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    refuses_behind_message: AtomicBool,
    /// The policy of the last session: connections of one policy share it.
    session: Mutex<Option<Arc<Config>>>,
    /// What the server said last, which it may say to the next one too.
    likeness: Mutex<Option<Likeness>>,
    pub(super) spares: Spares,
}

impl Lessons {
    pub(super) fn note_refusal_behind_message(&self) {
        self.refuses_behind_message.store(true, Ordering::Relaxed);
    }

    /// Lets a connection that is ready share with the one before what is equal in both.
    pub(super) fn liken(&self, connection: &mut Connection) {
        let mut last = self.likeness.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*last {
            connection.share(known);
        }
        *last = connection.likeness();
    }

    fn share(&self, session: Config) -> Arc<Config> {
        let mut last = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(known) if **known == session => Arc::clone(known),
            Some(_) | None => {
                let session = Arc::new(session);
                *last = Some(Arc::clone(&session));
                session
            }
        }
    }
}
