//! Asking a proxy for a way to the server.
//!
//! SOCKS5 is spoken by `tokio-socks`. For CONNECT there is no kept library that fits: the tunnel of
//! `hyper-util` drops what the server says right behind the proxy's reply, and an SMTP server speaks
//! first. So the request is written here, and `httparse`, hyper's own parser, reads the reply.
//!
//! Neither reads an octet beyond the proxy's reply: what follows is left in the socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_socks::TargetAddr;
use tokio_socks::tcp::Socks5Stream;

use super::config::ClientConfig;
use super::connect::Dial;
use super::policy::AddressPolicy;
use super::proxy::{Login, Protocol, Proxy, is_name};
use super::resolve::literal;
use crate::error::{Category, Error, Party, Stage};

/// Connects to the proxy, and has it connect to the server. Gives the stream, and the server's
/// address where that was chosen here.
///
/// # Errors
/// The proxy cannot be reached, does not answer in time, breaks its protocol, wants another log-in,
/// or finds no way.
pub(super) async fn open(
    config: &ClientConfig,
    proxy: &Proxy,
    deadline: Instant,
) -> Result<(TcpStream, Option<SocketAddr>), Error> {
    let targets = targets(config, deadline).await?;
    let mut left = targets.len() as u32;
    let mut failure = None;
    for target in targets {
        // A way that leads nowhere must leave time for the next one.
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / left.max(1);
        left -= 1;
        let stream = Dial::to_proxy(config, proxy, until).connect().await?;
        let asked = timeout_at(until, ask(proxy, stream, &target)).await;
        match asked.unwrap_or_else(|_| Err(NoWay::silence(config))) {
            Ok(stream) => return Ok((stream, target.address())),
            Err(no_way) => {
                let blame = no_way.blame;
                failure = Some(no_way.into_error(proxy, &target));
                if blame == Blame::Proxy {
                    break;
                }
            }
        }
    }
    Err(failure.unwrap_or_else(|| {
        // A policy that permits nothing has said so before.
        NoWay::new(Blame::Target, Category::ConnectionRefused, "was not asked")
            .into_error(proxy, &Target::Name(config.host.clone(), config.port))
    }))
}

/// What a proxy is asked to connect to. No character of it can end a line.
enum Target {
    Address(SocketAddr),
    Name(String, u16),
}

impl Target {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(..) => None,
        }
    }
}

impl fmt::Display for Target {
    /// As RFC 9110 §7.2 has it: an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// The host itself where its addresses need not be seen; else those that may be connected to.
async fn targets(config: &ClientConfig, deadline: Instant) -> Result<Vec<Target>, Error> {
    match config.address_policy {
        AddressPolicy::Any => match literal(&config.host) {
            Some(address) => {
                let address = SocketAddr::new(address, config.port);
                Ok(vec![Target::Address(address)])
            }
            None if is_name(&config.host) => {
                Ok(vec![Target::Name(config.host.clone(), config.port)])
            }
            None => Err(Error::new(
                Category::Usage,
                Stage::Connect,
                Party::Caller,
                format!(
                    "a proxy cannot be asked for {:?}, which is neither an address nor a name in \
                     ASCII",
                    config.host
                ),
            )
            .with_hint("Give the host's name in its ASCII form (xn--…), or its address.")),
        },
        AddressPolicy::PublicOnly => {
            let addresses = Dial::to_server(config, deadline).addresses().await?;
            Ok(addresses.into_iter().map(Target::Address).collect())
        }
    }
}

async fn ask(proxy: &Proxy, stream: TcpStream, target: &Target) -> Result<TcpStream, NoWay> {
    match proxy.protocol {
        Protocol::Socks5 => ask_socks(proxy.login.as_ref(), stream, target).await,
        Protocol::Http => ask_http(proxy.login.as_ref(), stream, target).await,
    }
}

async fn ask_socks(
    login: Option<&Login>,
    stream: TcpStream,
    target: &Target,
) -> Result<TcpStream, NoWay> {
    let target = match target {
        Target::Address(address) => TargetAddr::Ip(*address),
        Target::Name(name, port) => TargetAddr::Domain(name.into(), *port),
    };
    let asked = match login {
        None => Socks5Stream::connect_with_socket(stream, target).await,
        Some(Login { username, password }) => {
            Socks5Stream::connect_with_password_and_socket(stream, target, username, password).await
        }
    };
    asked
        .map(Socks5Stream::into_inner)
        .map_err(|error| no_way_by_socks(error, login))
}

fn no_way_by_socks(error: tokio_socks::Error, login: Option<&Login>) -> NoWay {
    use tokio_socks::Error as Socks;
    let by_target = |what| NoWay::new(Blame::Target, Category::ConnectionRefused, what);
    let broken = |what| NoWay::new(Blame::Proxy, Category::Protocol, what);
    match error {
        Socks::Io(error) => NoWay::lost(error),
        Socks::PasswordAuthFailure(_) => NoWay::refused_login(),
        Socks::NoAcceptableAuthMethods | Socks::AuthorizationRequired => NoWay::wants_login(login),
        Socks::GeneralSocksServerFailure => by_target("could not connect"),
        Socks::NetworkUnreachable => by_target("says that the network is unreachable"),
        Socks::HostUnreachable => by_target("says that the host is unreachable or unknown"),
        Socks::ConnectionRefused => by_target("was refused the connection"),
        Socks::AddressTypeNotSupported => by_target("does not take such an address"),
        Socks::TtlExpired => NoWay::new(
            Blame::Target,
            Category::ConnectionTimeout,
            "had no answer in time",
        ),
        Socks::ConnectionNotAllowedByRuleset => by_target("does not allow the connection"),
        Socks::CommandNotSupported => NoWay::new(
            Blame::Proxy,
            Category::ConnectionRefused,
            "does not connect to anything",
        ),
        Socks::InvalidResponseVersion => broken("does not speak SOCKS5"),
        // The library has one word for two things.
        Socks::UnknownAuthMethod => broken("chose a log-in or gave a reply that nobody knows"),
        Socks::InvalidReservedByte | Socks::UnknownAddressType | Socks::InvalidTargetAddress(_) => {
            broken("broke the protocol in its reply")
        }
        Socks::UnknownError
        | Socks::ParseError(_)
        | Socks::ProxyServerUnreachable
        | Socks::InvalidAuthValues(_)
        | Socks::IdentdAuthFailure
        | Socks::InvalidUserIdAuthFailure => broken("failed in an unknown way"),
    }
}

async fn ask_http(
    login: Option<&Login>,
    mut stream: TcpStream,
    target: &Target,
) -> Result<TcpStream, NoWay> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(Login { username, password }) = login {
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&encoded);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(NoWay::lost)?;
    let mut room = LONGEST_REPLY;
    let code = loop {
        match status(&mut stream, &mut room).await? {
            // RFC 9110 §15.2: any number of these may come before the reply.
            100..200 => {}
            code => break code,
        }
    };
    match code {
        // RFC 9110 §9.3.6: the tunnel begins after the header, whatever lengths it tells.
        200..300 => Ok(stream),
        407 => Err(match login {
            None => NoWay::wants_login(None),
            Some(_) => NoWay::refused_login(),
        }),
        504 => Err(NoWay::new(
            Blame::Target,
            Category::ConnectionTimeout,
            "had no answer in time (HTTP status 504)",
        )),
        500..600 => Err(NoWay::new(
            Blame::Target,
            Category::ConnectionRefused,
            format!("could not connect (HTTP status {code})"),
        )),
        _ => Err(NoWay::new(
            Blame::Proxy,
            Category::ConnectionRefused,
            format!("does not allow the connection (HTTP status {code})"),
        )
        .with_hint(
            "Many HTTP proxies allow CONNECT to port 443 only: whoever runs the proxy has to allow \
             the mail server's port.",
        )),
    }
}

/// Reads one header (RFC 9112 §2.1) and nothing behind it: octets are looked at first, and then
/// taken only as far as they belong to it.
async fn status(stream: &mut TcpStream, room: &mut usize) -> Result<u16, NoWay> {
    let broken = |what| NoWay::new(Blame::Proxy, Category::Protocol, what);
    let mut header = Vec::new();
    let mut seen = [0; 1024];
    loop {
        let count = stream.peek(&mut seen).await.map_err(NoWay::lost)?;
        if count == 0 {
            return Err(NoWay::lost(io::ErrorKind::UnexpectedEof.into()));
        }
        let taken_before = header.len();
        header.extend_from_slice(&seen[..count]);
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut reply = httparse::Response::new(&mut fields);
        let parsed = reply.parse(&header).map_err(|error| match error {
            httparse::Error::TooManyHeaders => broken("answered with too long a header"),
            _ => broken("does not speak HTTP"),
        })?;
        let (code, take) = match parsed {
            httparse::Status::Complete(end) => (reply.code, end.saturating_sub(taken_before)),
            httparse::Status::Partial => (None, count),
        };
        stream
            .read_exact(&mut seen[..take])
            .await
            .map_err(NoWay::lost)?;
        *room = room
            .checked_sub(take)
            .ok_or_else(|| broken("answered with too long a header"))?;
        if let Some(code) = code {
            return Ok(code);
        }
    }
}

/// Why a proxy gave no way.
struct NoWay {
    blame: Blame,
    category: Category,
    /// What the proxy did: the end of a sentence that begins with it.
    what: String,
    hint: &'static str,
    source: Option<io::Error>,
}

/// Whether another address of the server is worth asking for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// It may be.
    Target,
    /// No address would do.
    Proxy,
}

impl NoWay {
    fn new(blame: Blame, category: Category, what: impl Into<String>) -> Self {
        let hint = match blame {
            Blame::Target => "Check the server's host and port, and what the proxy allows.",
            Blame::Proxy => "Check the proxy's URL, and with whoever runs it.",
        };
        Self {
            blame,
            category,
            what: what.into(),
            hint,
            source: None,
        }
    }

    fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    fn silence(config: &ClientConfig) -> Self {
        let seconds = config.connect_timeout.as_secs_f32();
        Self::new(
            Blame::Target,
            Category::ConnectionTimeout,
            format!("did not answer within {seconds} seconds"),
        )
    }

    fn lost(error: io::Error) -> Self {
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "closed the connection".to_owned(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "broke the connection off".to_owned()
            }
            _ => format!("could not be asked: {error}"),
        };
        Self {
            source: Some(error),
            ..Self::new(Blame::Target, Category::ConnectionRefused, what)
        }
    }

    fn wants_login(login: Option<&Login>) -> Self {
        match login {
            None => Self::new(Blame::Proxy, Category::Authentication, "wants a log-in")
                .with_hint("Give the proxy's URL a user and a password."),
            Some(_) => Self::new(
                Blame::Proxy,
                Category::Authentication,
                "takes neither a password nor nobody's log-in",
            ),
        }
    }

    fn refused_login() -> Self {
        Self::new(Blame::Proxy, Category::Authentication, "refused the log-in")
            .with_hint("Check the user and the password in the proxy's URL.")
    }

    fn into_error(self, proxy: &Proxy, target: &Target) -> Error {
        let party = match self.category == Category::Authentication {
            true => Party::Caller,
            false => Party::Network,
        };
        let error = Error::new(
            self.category,
            Stage::Connect,
            party,
            format!("no way to {target}: the proxy {proxy} {}", self.what),
        )
        .with_hint(self.hint);
        match self.source {
            Some(source) => error.with_source(Arc::new(source)),
            None => error,
        }
    }
}

/// Octets of a reply, interim ones included.
const LONGEST_REPLY: usize = 16 * 1024;
/// Fields of one header.
const MOST_FIELDS: usize = 64;
