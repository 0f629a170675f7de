//! From the connection options to a client's configuration: what every command that connects needs.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::args::{ConnectionArguments, LoginArguments, Roots, RouteArguments, TlsArguments};
use super::failure::Failure;
#[cfg(unix)]
use super::server::Socket;
use super::server::{Secret, Target};
use super::terminal;
use crate::net::config::ClientConfig;
use crate::net::{AddressPolicy, Proxy, TlsOptions, Trust};
use crate::proto::address::Domain;
#[cfg(unix)]
use crate::proto::config::Protocol;
use crate::proto::config::{Chunking, Config, Pipelining, PlaintextAuth, Security};
use crate::proto::sasl::{Credentials, MechanismName};
use crate::proto::timer::Timeouts;
use crate::sandbox::{Auth, Extension, Options, Sandbox};
use crate::settings::judge::fingerprint;

/// A server to connect to, and how.
pub(crate) struct Setup {
    pub(crate) config: ClientConfig,
    /// The built-in server, which lives as long as this does.
    pub(crate) sandbox: Option<Sandbox>,
}

impl Setup {
    /// Reads what the options name (files, a variable, standard input), and starts the built-in
    /// server where that is the target.
    pub(crate) async fn prepare(
        target: Target,
        arguments: &ConnectionArguments,
    ) -> Result<Self, Failure> {
        let tls = tls_options(&arguments.tls).await?;
        match target {
            Target::Host(server) => {
                let session = session_config(server.security, arguments)?;
                let session = session.with_protocol(server.protocol);
                let in_url = (server.username.as_deref(), server.password.as_ref());
                let session = logged_in(session, in_url, &arguments.login).await?;
                let config = ClientConfig::new(server.host, server.security)
                    .with_port(server.port)
                    .with_session(session)
                    .with_tls(tls);
                Ok(Self {
                    config: with_route(config, arguments)?,
                    sandbox: None,
                })
            }
            #[cfg(unix)]
            Target::Socket(socket) => Self::socket(socket, arguments, tls).await,
            Target::BuiltIn => Self::built_in(arguments, tls).await,
        }
    }

    #[cfg(unix)]
    async fn socket(
        socket: Socket,
        arguments: &ConnectionArguments,
        tls: TlsOptions,
    ) -> Result<Self, Failure> {
        let RouteArguments {
            proxy,
            source_address,
            public_only,
        } = &arguments.route;
        if proxy.is_some() || source_address.is_some() || *public_only {
            return Err(Failure::usage(
                "--proxy, --source-address and --public-only do not go with a Unix socket",
            ));
        }
        let session = session_config(socket.security, arguments)?.with_protocol(Protocol::Lmtp);
        let session = logged_in(session, (None, None), &arguments.login).await?;
        // The host is the name that a certificate must have.
        let config = ClientConfig::new("localhost", socket.security)
            .with_unix_socket(socket.path)
            .with_session(session)
            .with_tls(tls);
        Ok(Self {
            config: with_route(config, arguments)?,
            sandbox: None,
        })
    }

    async fn built_in(arguments: &ConnectionArguments, tls: TlsOptions) -> Result<Self, Failure> {
        let login = &arguments.login;
        if login.username.is_some() || login.has_password() || login.has_token() {
            return Err(Failure::usage(
                "'sandbox:' has an account of its own: leave out --username and the password",
            ));
        }
        let session = session_config(Security::StartTls, arguments)?;
        let credentials = Credentials::password(ACCOUNT.0, ACCOUNT.1)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        let broken = |error: &dyn std::fmt::Display| {
            Failure::Internal(format!("the built-in server does not start: {error}"))
        };
        let options = Options::default()
            .with_extension(Extension::SmtpUtf8)
            .with_auth(Auth::Required)
            .with_account(ACCOUNT.0, ACCOUNT.1);
        let sandbox = Sandbox::start(options).await.map_err(|e| broken(&e))?;
        let tls = match arguments.tls.pin_sha256 {
            // Whoever pins wants to see what comes of it.
            Some(_) => tls,
            None => tls
                .with_ca_pem(sandbox.certificate_pem().as_bytes())
                .map_err(|error| broken(&error))?,
        };
        let config = ClientConfig::new(sandbox.address().ip().to_string(), Security::StartTls)
            .with_port(sandbox.address().port())
            .with_session(session.with_credentials(credentials))
            .with_tls(tls);
        Ok(Self {
            config: with_route(config, arguments)?,
            sandbox: Some(sandbox),
        })
    }
}

/// The account of the built-in server.
const ACCOUNT: (&str, &str) = ("me", "sandbox-password");

impl LoginArguments {
    fn has_password(&self) -> bool {
        self.password_env.is_some() || self.password_file.is_some() || self.password_stdin
    }

    /// Whether an option says where the password or the token is.
    pub(crate) fn has_secret(&self) -> bool {
        self.has_password() || self.has_token()
    }

    fn has_token(&self) -> bool {
        self.token_env.is_some() || self.token_file.is_some()
    }

    /// Whether the TLS client certificate is all that logs in.
    pub(crate) fn is_external(&self) -> bool {
        let is_external = |name: &String| name.eq_ignore_ascii_case("EXTERNAL");
        !self.auth.is_empty() && self.auth.iter().all(is_external)
    }

    /// Whether it may log in, if nothing else is given.
    fn may_be_external(&self) -> bool {
        let is_external = |name: &String| name.eq_ignore_ascii_case("EXTERNAL");
        self.auth.iter().any(is_external)
    }
}

impl TlsArguments {
    /// Whether an option says so, other than which roots there are.
    pub(crate) fn says_whom_to_trust(&self) -> bool {
        self.insecure || self.validate_certificate.is_some() || self.pin_sha256.is_some()
    }
}

fn session_config(security: Security, arguments: &ConnectionArguments) -> Result<Config, Failure> {
    let mut config = Config::new(security);
    if let Some(hello) = hello(arguments.dialogue.helo.as_deref())? {
        config = config.with_hello(hello);
    } else if arguments.route.proxy.is_some() {
        terminal::warn(
            "the server will be told the address of this end of the connection to the proxy, which \
             it may refuse: give --helo NAME",
        );
    }
    if !arguments.login.auth.is_empty() {
        config = config.with_mechanisms(mechanisms(&arguments.login.auth)?);
    }
    if arguments.login.allow_plaintext_auth {
        config = config.with_plaintext_auth(PlaintextAuth::Allow);
    }
    if arguments.dialogue.no_pipelining {
        config = config.with_pipelining(Pipelining::Off);
    } else if arguments.dialogue.overlap {
        config = config.with_pipelining(Pipelining::Overlapping);
    }
    if arguments.dialogue.no_chunking {
        config = config.with_chunking(Chunking::Off);
    }
    if let Some(longest) = &arguments.dialogue.timeout {
        let longest = seconds("--timeout", longest)?;
        config = config.with_timeouts(Timeouts::default().capped(longest));
    }
    Ok(config)
}

fn with_route(
    mut config: ClientConfig,
    arguments: &ConnectionArguments,
) -> Result<ClientConfig, Failure> {
    if let Some(longest) = &arguments.dialogue.connect_timeout {
        config = config.with_connect_timeout(seconds("--connect-timeout", longest)?);
    }
    let RouteArguments {
        proxy,
        source_address,
        public_only,
    } = &arguments.route;
    if let Some(url) = proxy {
        config = config.with_proxy(self::proxy(url)?);
    }
    if let Some(address) = source_address {
        config = config.with_source_address(*address);
    }
    if *public_only {
        config = config.with_address_policy(AddressPolicy::PublicOnly);
    }
    Ok(config)
}

/// No error shows the URL: it may hold a password.
fn proxy(url: &str) -> Result<Proxy, Failure> {
    let proxy: Proxy = url
        .parse()
        .map_err(|error| Failure::usage(format!("--proxy: {error}")))?;
    if proxy.has_login() {
        terminal::warn(
            "the proxy's password on the command line can be read by every process of this machine",
        );
    }
    Ok(proxy)
}

/// The name for EHLO; `None` leaves it to the engine, which then gives an address literal.
fn hello(given: Option<&str>) -> Result<Option<Domain>, Failure> {
    if let Some(name) = given {
        return match name.parse::<IpAddr>() {
            Ok(address) => Ok(Some(Domain::literal(address))),
            Err(_) => name.parse().map(Some).map_err(|_| {
                Failure::usage(format!("--helo: {name:?} is not a host name or an address"))
            }),
        };
    }
    // RFC 5321 §4.1.4: a name only if it is fully qualified; servers refuse `localhost` and its like.
    let name = gethostname::gethostname();
    let name = name.to_str().filter(|name| name.contains('.'));
    let is_local = |name: &&str| name.ends_with(".localdomain") || name.ends_with(".local");
    Ok(name
        .filter(|name| !is_local(name))
        .and_then(|name| name.parse().ok()))
}

fn mechanisms(names: &[String]) -> Result<Vec<MechanismName>, Failure> {
    names
        .iter()
        .map(|name| {
            let mechanism: MechanismName = name
                .parse()
                .map_err(|error| Failure::usage(format!("--auth: {error}")))?;
            match mechanism.is_known() {
                true => Ok(mechanism),
                false => Err(Failure::usage(format!(
                    "--auth: {mechanism} is not supported; there are {}",
                    known_mechanisms()
                ))),
            }
        })
        .collect()
}

fn known_mechanisms() -> String {
    let names: Vec<_> = MechanismName::by_strength()
        .iter()
        .map(ToString::to_string)
        .collect();
    names.join(", ")
}

async fn tls_options(arguments: &TlsArguments) -> Result<TlsOptions, Failure> {
    let off = arguments.insecure || arguments.validate_certificate == Some(false);
    let trust = match (&arguments.pin_sha256, off, arguments.roots) {
        (Some(_), true, _) => {
            return Err(Failure::usage(
                "--pin-sha256 does not go with --validate-certificate false",
            ));
        }
        (Some(pin), false, _) => Trust::Pinned(fingerprint(pin).ok_or_else(|| {
            Failure::usage(
                "--pin-sha256 takes the 64 hexadecimal digits of a certificate's SHA-256",
            )
        })?),
        (None, true, _) => {
            terminal::warn(
                "the certificate is not checked: anybody between here and the server can read and \
                 change everything, the password included (--pin-sha256 is the better way)",
            );
            Trust::Off
        }
        (None, false, Some(Roots::Webpki)) => Trust::Webpki,
        (None, false, Some(Roots::Native) | None) => Trust::Native,
    };
    let mut options = TlsOptions::default().with_trust(trust);
    if let Some(path) = &arguments.ca_file {
        options = options
            .with_ca_pem(&read(path).await?)
            .map_err(|error| Failure::usage(format!("--ca-file {}: {error}", path.display())))?;
    }
    if let (Some(chain), Some(key)) = (&arguments.client_cert, &arguments.client_key) {
        options = options
            .with_client_certificate(&read(chain).await?, &read(key).await?)
            .map_err(|error| Failure::usage(format!("--client-cert, --client-key: {error}")))?;
    }
    Ok(options)
}

/// With the credentials of the options, or of the URL.
async fn logged_in(
    session: Config,
    in_url: (Option<&str>, Option<&Secret>),
    arguments: &LoginArguments,
) -> Result<Config, Failure> {
    Ok(match credentials(in_url, arguments).await? {
        Some(credentials) => session.with_credentials(credentials),
        None => session,
    })
}

async fn credentials(
    (username, password): (Option<&str>, Option<&Secret>),
    arguments: &LoginArguments,
) -> Result<Option<Credentials>, Failure> {
    let username = match (username, arguments.username.as_deref()) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage(
                "the user name is given twice, by --server and by --username",
            ));
        }
        (Some(name), None) | (None, Some(name)) => Some(name),
        (None, None) => None,
    };
    let secret_given = arguments.has_secret();
    let password = match (password, secret_given) {
        (Some(_), true) => {
            return Err(Failure::usage("the password is given twice"));
        }
        (Some(Secret(password)), false) => {
            terminal::warn(
                "a password on the command line can be read by every process of this machine; \
                 use --password-env, --password-file or --password-stdin",
            );
            Some(password.clone())
        }
        (None, true) => Some(secret(arguments).await?),
        (None, false) => arguments.password.clone().map(|Secret(password)| password),
    };
    let credentials = match (username, password) {
        (username, None) if arguments.may_be_external() => {
            Credentials::external(username.unwrap_or_default())
        }
        (None, None) if !arguments.auth.is_empty() => {
            return Err(Failure::usage(
                "--auth needs something to log in with: give --username and a password or a token, \
                 or name EXTERNAL and give --client-cert",
            ));
        }
        (None, None) => return Ok(None),
        (Some(username), Some(token)) if arguments.has_token() => {
            Credentials::token(username, token)
        }
        (Some(username), Some(password)) => Credentials::password(username, password),
        (Some(_), None) => {
            return Err(Failure::usage(
                "the password is missing: give one of --password-env, --password-file and \
                 --password-stdin, or --token-env or --token-file",
            ));
        }
        (None, Some(_)) => {
            return Err(Failure::usage(
                "the user name is missing: give --username, or user@ in --server",
            ));
        }
    };
    credentials
        .map(Some)
        .map_err(|error| Failure::usage(error.to_string()))
}

/// The password or token.
async fn secret(arguments: &LoginArguments) -> Result<String, Failure> {
    let (source, octets) = if let Some(variable) = arguments
        .password_env
        .as_ref()
        .or(arguments.token_env.as_ref())
    {
        let source = format!("the variable {variable}");
        return match std::env::var(variable) {
            Ok(password) if password.is_empty() => {
                Err(Failure::usage(format!("{source} is empty")))
            }
            Ok(password) => Ok(password),
            Err(std::env::VarError::NotPresent) => {
                Err(Failure::usage(format!("{source} is not set")))
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::usage(format!("{source} is not UTF-8")))
            }
        };
    } else if let Some(path) = arguments
        .password_file
        .as_ref()
        .or(arguments.token_file.as_ref())
    {
        (format!("the file {}", path.display()), read(path).await?)
    } else {
        let octets = read_password(tokio::io::stdin()).await.map_err(|error| {
            Failure::NoInput(format!(
                "cannot read the password from standard input: {error}"
            ))
        })?;
        ("standard input".to_owned(), octets)
    };
    if octets.len() > LONGEST_PASSWORD {
        return Err(Failure::usage(format!("{source} has more than a password")));
    }
    let mut password = String::from_utf8(octets)
        .map_err(|_| Failure::usage(format!("the password in {source} is not UTF-8")))?;
    // One line end, and no more: anything else may be part of the password.
    if password.ends_with('\n') {
        password.pop();
        if password.ends_with('\r') {
            password.pop();
        }
    }
    match password.is_empty() {
        true => Err(Failure::usage(format!("there is no password in {source}"))),
        false => Ok(password),
    }
}

/// Reads no more than tells that it is too much.
async fn read_password(reader: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let mut reader = reader.take(LONGEST_PASSWORD as u64 + 1);
    reader.read_to_end(&mut octets).await?;
    Ok(octets)
}

async fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    tokio::fs::read(path)
        .await
        .map_err(|error| Failure::unreadable(path, &error))
}

pub(crate) fn seconds(option: &str, text: &str) -> Result<Duration, Failure> {
    let wrong = || Failure::usage(format!("{option} takes seconds above 0, such as 30 or 2.5"));
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration.min(LONGEST_WAIT)),
        Ok(_) | Err(_) => Err(wrong()),
    }
}

/// More than any password, less than a mistake.
const LONGEST_PASSWORD: usize = 64 * 1024;
/// Beyond it a deadline could overflow the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_fractions() {
        assert!(matches!(seconds("--timeout", "2.5"), Ok(d) if d == Duration::from_millis(2500)));
        assert!(seconds("--timeout", "1e99").is_err());
        for text in ["0", "-1", "", "NaN", "inf", "5s"] {
            assert!(seconds("--timeout", text).is_err(), "{text}");
        }
    }

    #[test]
    fn mechanisms_are_named_in_any_case_and_must_be_known() {
        let names = |text: &str| mechanisms(&[text.to_owned()]);
        assert!(matches!(names("plain"), Ok(found) if found == [MechanismName::PLAIN]));
        assert!(names("X-NOSUCH").is_err());
        assert!(names("a b").is_err());
    }
}
