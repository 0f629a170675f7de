//! Asking a proxy for a way to the server.
//!
//! SOCKS5 is spoken by `tokio-socks`. For CONNECT there is no kept library that fits: the tunnel of
//! `hyper-util` drops what the server says right behind the proxy's reply, and an SMTP server speaks
//! first. So the request is written here, and `httparse`, hyper's own parser, reads the reply.
//!
//! Neither reads an octet beyond the proxy's reply: what follows is left in the socket.

use std::fmt::{self, Write};
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
use super::resolve::{literal, shown};
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
    first_way(config, proxy, targets, deadline).await
}

/// Asks for one target after another, each on a connection of its own.
async fn first_way(
    config: &ClientConfig,
    proxy: &Proxy,
    targets: Vec<Target>,
    deadline: Instant,
) -> Result<(TcpStream, Option<SocketAddr>), Error> {
    let mut failures = String::new();
    let mut left = targets.len();
    for target in targets {
        // A way that leads nowhere must leave time for the next one.
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(left).unwrap_or(1);
        let until = now + share;
        left -= 1;
        let (stream, _) = Dial::to_proxy(config, proxy, until).connect().await?;
        let asked = timeout_at(until, ask(proxy, stream, &target)).await;
        match asked.unwrap_or_else(|_| Err(NoWay::silence(config))) {
            Ok(stream) => return Ok((stream, target.address())),
            Err(no_way) if left == 0 || no_way.blame == Blame::Proxy => {
                return Err(no_way.into_error(proxy, &target, &failures));
            }
            Err(no_way) => {
                let _ = write!(failures, " (and none to {target}: it {})", no_way.what);
            }
        }
    }
    // The policy has refused a host without any address that it permits.
    Err(Error::new(
        Category::Dns,
        Stage::Connect,
        Party::Caller,
        format!("{} has no address", config.host),
    ))
}

/// What a proxy is asked to connect to. No character of it can end a line.
#[derive(Clone)]
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
                    shown(&config.host)
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
        // 401 is a web server's word, but what tinyproxy says to a wrong password.
        401 | 407 => Err(match login {
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
                "takes neither a password nor a client without one",
            ),
        }
    }

    fn refused_login() -> Self {
        Self::new(Blame::Proxy, Category::Authentication, "refused the log-in")
            .with_hint("Check the user and the password in the proxy's URL.")
    }

    fn into_error(self, proxy: &Proxy, target: &Target, others: &str) -> Error {
        let party = match self.category == Category::Authentication {
            true => Party::Caller,
            false => Party::Network,
        };
        let error = Error::new(
            self.category,
            Stage::Connect,
            party,
            format!(
                "no way to {target}: the proxy {proxy} {}{others}",
                self.what
            ),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::Security;

    /// A proxy that gives each connection the next answer, and is silent where there is none.
    async fn proxy(answers: &'static [&'static str]) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut open = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_u8().await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                open.push(stream);
            }
            std::future::pending::<()>().await;
        });
        Proxy::http("127.0.0.1", port).unwrap()
    }

    async fn ask_for_two(
        answers: &'static [&'static str],
        patience: Duration,
    ) -> Result<Option<SocketAddr>, Error> {
        let proxy = proxy(answers).await;
        let config =
            ClientConfig::new("mx.example.org", Security::Plaintext).with_connect_timeout(patience);
        let targets = ["192.0.2.1:25", "[2001:db8::1]:25"]
            .map(|address| Target::Address(address.parse().unwrap()))
            .to_vec();
        let deadline = Instant::now() + patience;
        let way = first_way(&config, &proxy, targets, deadline).await;
        way.map(|(_, address)| address)
    }

    #[tokio::test]
    async fn an_address_without_a_way_makes_room_for_the_next() {
        let answers = &["HTTP/1.1 502 No\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"];
        let way = ask_for_two(answers, Duration::from_secs(30)).await;
        assert_eq!(way.unwrap(), "[2001:db8::1]:25".parse().ok());
        let silent_at_first = &["", "HTTP/1.1 200 OK\r\n\r\n"];
        let way = ask_for_two(silent_at_first, Duration::from_millis(600)).await;
        assert_eq!(way.unwrap(), "[2001:db8::1]:25".parse().ok());
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_its_user_is_asked_once() {
        let answers = &["HTTP/1.1 407 No\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"];
        let error = ask_for_two(answers, Duration::from_secs(30)).await;
        assert_eq!(error.unwrap_err().category(), Category::Authentication);
    }

    #[tokio::test]
    async fn every_address_without_a_way_is_in_the_error() {
        let answers = &["HTTP/1.1 502 No\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n"];
        let error = ask_for_two(answers, Duration::from_secs(30)).await;
        let error = error.unwrap_err();
        assert_eq!(error.category(), Category::ConnectionRefused);
        for part in ["192.0.2.1:25", "502", "[2001:db8::1]:25", "503"] {
            assert!(error.message().contains(part), "{part} in {error}");
        }
    }
}
