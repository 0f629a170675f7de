//! Connecting to the first of a host's addresses that answers (RFC 8305, Happy Eyeballs).

use std::collections::VecDeque;
use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::config::ClientConfig;
use super::milestone::Milestone;
use super::policy::AddressPolicy;
use super::proxy::Proxy;
use super::resolve::{resolve, timed_out};
use crate::error::{Category, Error, Party, Stage};
use crate::proto::config::Security;
use crate::proto::evidence::{Attempt, Evidence};

/// A TCP connection to be made: to a server, or to a proxy on the way to one.
pub(super) struct Dial<'a> {
    config: &'a ClientConfig,
    host: &'a str,
    port: u16,
    role: Role,
    policy: AddressPolicy,
    source: Option<IpAddr>,
    /// What the deadline was made of.
    time: Duration,
    deadline: Instant,
}

/// What is at the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Server(Security),
    Proxy,
}

impl Role {
    /// Who has to act where nothing listens.
    fn party(self) -> Party {
        match self {
            Self::Server(_) => Party::Server,
            Self::Proxy => Party::Network,
        }
    }

    /// What it means that it was connected, and reset before this side could look.
    fn reset(self) -> (Category, Stage, Party) {
        match self {
            Self::Server(Security::Implicit) => (Category::Tls, Stage::Handshake, Party::Server),
            Self::Server(Security::StartTls | Security::Opportunistic | Security::Plaintext) => {
                (Category::ConnectionLost, Stage::Greeting, Party::Network)
            }
            Self::Proxy => (Category::ConnectionRefused, Stage::Connect, Party::Network),
        }
    }

    /// How it is called before its name.
    fn title(self) -> &'static str {
        match self {
            Self::Server(_) => "",
            Self::Proxy => "the proxy ",
        }
    }
}

impl<'a> Dial<'a> {
    pub(super) fn to_server(config: &'a ClientConfig, deadline: Instant) -> Self {
        Self {
            config,
            host: &config.host,
            port: config.port,
            role: Role::Server(config.session.security),
            policy: config.address_policy,
            source: config.source_address,
            time: config.connect_timeout,
            deadline,
        }
    }

    /// Whoever runs the program has chosen the proxy: the policy is for the server behind it.
    pub(super) fn to_proxy(config: &'a ClientConfig, proxy: &'a Proxy, deadline: Instant) -> Self {
        Self {
            host: &proxy.host,
            port: proxy.port,
            role: Role::Proxy,
            policy: AddressPolicy::Any,
            ..Self::to_server(config, deadline)
        }
    }

    /// The addresses that may be connected to, in the order to try them.
    ///
    /// # Errors
    /// There is none, or none in time.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let resolved = match timeout_at(self.deadline, resolve(self.host, self.port)).await {
            Ok(resolved) => resolved,
            Err(_) => Err(timed_out(self.host)),
        };
        let resolved = resolved.map_err(|error| match self.role {
            Role::Server(_) => error,
            Role::Proxy => unknown_proxy(&error),
        })?;
        let addresses = interleave(self.policy.permit(self.host, resolved)?);
        if let Role::Server(_) = self.role {
            self.config.reached(Milestone::Resolved(&addresses));
        }
        Ok(addresses)
    }

    /// Resolves the host and connects. TCP_NODELAY is set before the first octet: a message must not
    /// wait for the acknowledgement of what was sent before it.
    ///
    /// # Errors
    /// No address, or none that answers: the message names every attempt and what came of it.
    pub(super) async fn connect(&self) -> Result<(TcpStream, SocketAddr), Error> {
        let addresses = self.reachable(self.addresses().await?)?;
        let source = self.source;
        let mut race = Race::new(addresses, move |address| open(address, source));
        match timeout_at(self.deadline, race.run()).await {
            Ok(Some(connected)) => Ok(connected),
            Ok(None) => Err(self.failure(&race.failures, &[])),
            Err(_) => {
                let unanswered: Vec<SocketAddr> = race.unanswered().collect();
                Err(self.failure(&race.failures, &unanswered))
            }
        }
    }

    /// The addresses that the source address can reach.
    fn reachable(&self, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
        let Some(source) = self.source else {
            return Ok(addresses);
        };
        addresses.retain(|address| address.is_ipv6() == source.is_ipv6());
        if addresses.is_empty() {
            return Err(Error::new(
                Category::Usage,
                Stage::Connect,
                Party::Caller,
                format!(
                    "{}{} has no address of the same family as the source address {source}",
                    self.role.title(),
                    self.host
                ),
            ));
        }
        Ok(addresses)
    }

    fn failure(&self, failures: &[(SocketAddr, io::Error)], unanswered: &[SocketAddr]) -> Error {
        let all = |kind| {
            let mut kinds = failures.iter().map(|(_, error)| error.kind());
            unanswered.is_empty() && kinds.all(|found| found == kind)
        };
        let (category, stage, party) = if all(io::ErrorKind::ConnectionReset) {
            self.role.reset()
        } else if unanswered.is_empty() && !all(io::ErrorKind::TimedOut) {
            let party = self.role.party();
            (Category::ConnectionRefused, Stage::Connect, party)
        } else {
            (Category::ConnectionTimeout, Stage::Connect, Party::Network)
        };
        let (title, host, port) = (self.role.title(), self.host, self.port);
        let mut message = format!("no connection to {title}{host} on port {port}");
        let mut separator = ": ";
        for (address, error) in failures {
            let _ = write!(message, "{separator}{address}: {}", describe(error));
            separator = "; ";
        }
        for address in unanswered {
            let seconds = self.time.as_secs_f32();
            let _ = write!(
                message,
                "{separator}{address}: no answer within {seconds} seconds"
            );
            separator = "; ";
        }
        let hint = match self.role {
            Role::Server(_) => hint(port),
            Role::Proxy => "Check the proxy's host and port, and that it runs.",
        };
        let error = Error::new(category, stage, party, message).with_hint(hint);
        let error = match failures.last() {
            Some((_, last)) => {
                error.with_source(Arc::new(io::Error::new(last.kind(), describe(last))))
            }
            None => error,
        };
        match self.role {
            Role::Server(_) => error.with_evidence(attempts(failures, unanswered)),
            // What is known of the proxy says nothing about the server.
            Role::Proxy => error,
        }
    }
}

fn attempts(failures: &[(SocketAddr, io::Error)], unanswered: &[SocketAddr]) -> Evidence {
    let failed = failures
        .iter()
        .map(|(address, error)| Attempt::new(*address, error.kind()));
    let silent = unanswered
        .iter()
        .map(|address| Attempt::new(*address, io::ErrorKind::TimedOut));
    Evidence::Attempts(failed.chain(silent).collect())
}

/// So long from now; a time that no clock can tell is as good as none.
pub(super) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + NEVER)
}

/// A proxy without address is a way that is not there: the server's name was not looked up.
fn unknown_proxy(error: &Error) -> Error {
    Error::new(
        error.category(),
        Stage::Connect,
        error.party(),
        format!("no connection to the proxy: {}", error.message()),
    )
    .with_temporary(error.is_temporary())
    .with_hint("Check the proxy's host, and this machine's resolver.")
    .with_source(Arc::new(error.clone()))
}

/// Attempts to connect that overlap: the first to succeed wins, and the others are closed before
/// anything was sent on them.
struct Race<C, F> {
    waiting: VecDeque<SocketAddr>,
    running: Vec<(SocketAddr, Pin<Box<F>>)>,
    failures: Vec<(SocketAddr, io::Error)>,
    connect: C,
}

impl<C, F, T> Race<C, F>
where
    C: FnMut(SocketAddr) -> F,
    F: Future<Output = io::Result<T>>,
{
    fn new(addresses: Vec<SocketAddr>, connect: C) -> Self {
        Self {
            waiting: addresses.into(),
            running: Vec::new(),
            failures: Vec::new(),
            connect,
        }
    }

    /// The winner; `None` when every attempt has failed. The losers are dropped with it.
    async fn run(&mut self) -> Option<T> {
        let mut delay = pin!(sleep_until(Instant::now()));
        let winner = poll_fn(|cx| {
            loop {
                let before = self.failures.len();
                let mut index = 0;
                while let Some((address, attempt)) = self.running.get_mut(index) {
                    match attempt.as_mut().poll(cx) {
                        Poll::Ready(Ok(connected)) => return Poll::Ready(Some(connected)),
                        Poll::Ready(Err(error)) => {
                            self.failures.push((*address, error));
                            drop(self.running.remove(index));
                        }
                        Poll::Pending => index += 1,
                    }
                }
                let failed = self.failures.len() > before;
                if self.waiting.is_empty() && self.running.is_empty() {
                    return Poll::Ready(None);
                }
                // The next one starts when its time has come, or at once after a failure.
                let due = failed || self.running.is_empty() || delay.as_mut().poll(cx).is_ready();
                let Some(address) = self.waiting.front().copied().filter(|_| due) else {
                    return Poll::Pending;
                };
                self.waiting.pop_front();
                self.running
                    .push((address, Box::pin((self.connect)(address))));
                if !self.waiting.is_empty() {
                    delay.as_mut().reset(Instant::now() + ATTEMPT_DELAY);
                }
            }
        })
        .await;
        if winner.is_some() {
            self.running.clear();
        }
        winner
    }

    /// Attempts that were still running, and addresses that had no turn.
    fn unanswered(&self) -> impl Iterator<Item = SocketAddr> {
        self.running.iter().map(|(address, _)| *address)
    }
}

/// The two families in turn, the resolver's first choice first (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let (preferred, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let mut mixed = Vec::with_capacity(preferred.len() + other.len());
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        match (preferred.next(), other.next()) {
            (None, None) => return mixed,
            (one, two) => mixed.extend(one.into_iter().chain(two)),
        }
    }
}

async fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<(TcpStream, SocketAddr)> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    if let Some(source) = source {
        socket
            .bind(SocketAddr::new(source, 0))
            .map_err(|error| unbound(source, &error))?;
    }
    Ok((socket.connect(address).await?, address))
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

/// The source address cannot be used. (Without one the same kind of error means that there is no
/// way to the server, as with IPv6 switched off.)
fn unbound(source: IpAddr, error: &io::Error) -> io::Error {
    let message = match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!("the source address {source} is not one of this machine")
        }
        _ => format!("the source address {source} cannot be used: {error}"),
    };
    io::Error::new(error.kind(), message)
}

fn hint(port: u16) -> &'static str {
    match port {
        25 => {
            "Many networks block port 25: hand mail to your provider's submission server on port \
             587 or 465."
        }
        465 | 587 => "Check the host and the port, and that no firewall stands between.",
        _ => {
            "Check the host and the port: submission is mostly on 587 (STARTTLS) or 465 (TLS at \
             once)."
        }
    }
}

/// The head start of an attempt (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Longer than anybody waits: ten years.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 25)
    }

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    #[test]
    fn families_take_turns_and_the_resolvers_choice_is_first() {
        let addresses = ["::1", "::2", "::3", "192.0.2.1"].map(address).to_vec();
        let expected = ["::1", "192.0.2.1", "::2", "::3"].map(address).to_vec();
        assert_eq!(interleave(addresses), expected);
        assert_eq!(interleave(Vec::new()), Vec::new());
    }

    #[test]
    fn what_the_attempts_came_to_decides_category_and_stage() {
        let (one, two) = (address("192.0.2.1"), address("192.0.2.2"));
        let implicit = Security::Implicit;
        let clear = Security::Plaintext;
        for (security, failures, unanswered, category, stage) in [
            (
                clear,
                &[io::ErrorKind::ConnectionRefused][..],
                &[][..],
                Category::ConnectionRefused,
                Stage::Connect,
            ),
            (
                clear,
                &[
                    io::ErrorKind::ConnectionReset,
                    io::ErrorKind::ConnectionReset,
                ],
                &[],
                Category::ConnectionLost,
                Stage::Greeting,
            ),
            (
                implicit,
                &[io::ErrorKind::ConnectionReset],
                &[],
                Category::Tls,
                Stage::Handshake,
            ),
            (
                clear,
                &[
                    io::ErrorKind::ConnectionReset,
                    io::ErrorKind::ConnectionRefused,
                ],
                &[],
                Category::ConnectionRefused,
                Stage::Connect,
            ),
            (
                clear,
                &[io::ErrorKind::TimedOut, io::ErrorKind::ConnectionRefused],
                &[],
                Category::ConnectionRefused,
                Stage::Connect,
            ),
            (
                clear,
                &[io::ErrorKind::TimedOut],
                &[],
                Category::ConnectionTimeout,
                Stage::Connect,
            ),
            (
                clear,
                &[],
                &[two],
                Category::ConnectionTimeout,
                Stage::Connect,
            ),
            (
                clear,
                &[io::ErrorKind::ConnectionReset],
                &[two],
                Category::ConnectionTimeout,
                Stage::Connect,
            ),
        ] {
            let config = ClientConfig::new("mx.example.org", security);
            let failures: Vec<_> = failures.iter().map(|kind| (one, (*kind).into())).collect();
            let error = Dial::to_server(&config, Instant::now()).failure(&failures, unanswered);
            let found = (error.category(), error.stage());
            assert_eq!(found, (category, stage), "{failures:?} {unanswered:?}");
        }
    }

    #[tokio::test]
    async fn only_a_source_address_that_was_given_is_blamed() {
        let foreign: IpAddr = "192.0.2.1".parse().unwrap();
        let error = open(address("127.0.0.1"), Some(foreign)).await.unwrap_err();
        let found = describe(&error);
        assert!(found.contains("the source address 192.0.2.1"), "{found}");
        let found = describe(&io::ErrorKind::AddrNotAvailable.into());
        assert!(!found.contains("source"), "{found}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_address_makes_room_for_the_next_at_once() {
        let begun = Instant::now();
        let addresses = ["::1", "192.0.2.1"].map(address).to_vec();
        let mut race = Race::new(addresses, |address| async move {
            if address.is_ipv6() {
                Err(refused())
            } else {
                Ok(address)
            }
        });
        assert_eq!(race.run().await, Some(address("192.0.2.1")));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(race.failures.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_has_a_head_start_of_a_quarter_second_and_is_closed_by_the_winner() {
        struct Socket<'a>(&'a RefCell<u32>);
        impl Drop for Socket<'_> {
            fn drop(&mut self) {
                *self.0.borrow_mut() += 1;
            }
        }
        let closed = RefCell::new(0);
        let begun = Instant::now();
        let addresses = ["::1", "192.0.2.1", "::2"].map(address).to_vec();
        let mut race = Race::new(addresses, |address| {
            let socket = Socket(&closed);
            async move {
                if address.is_ipv6() {
                    pending::<()>().await;
                }
                drop(socket);
                Ok::<_, io::Error>(address)
            }
        });
        assert_eq!(race.run().await, Some(address("192.0.2.1")));
        assert_eq!(begun.elapsed(), ATTEMPT_DELAY);
        assert_eq!(
            *closed.borrow(),
            2,
            "the silent one is closed, the third never began"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn every_failed_attempt_is_in_the_error() {
        let addresses = ["::1", "192.0.2.1"].map(address).to_vec();
        let mut race = Race::new(addresses, |_| async { Err::<(), _>(refused()) });
        assert_eq!(race.run().await, None);
        let config = ClientConfig::new("mx.example.org", Security::StartTls);
        let error = Dial::to_server(&config, Instant::now()).failure(&race.failures, &[]);
        assert_eq!(error.category(), Category::ConnectionRefused);
        assert_eq!(error.stage(), Stage::Connect);
        for part in [
            "mx.example.org",
            "587",
            "[::1]:25",
            "192.0.2.1:25",
            "refused",
        ] {
            assert!(error.message().contains(part), "{part} in {error}");
        }
    }

    async fn dial(config: &ClientConfig) -> Error {
        let dial = Dial::to_server(config, deadline(config.connect_timeout));
        dial.connect().await.unwrap_err()
    }

    #[tokio::test]
    async fn a_port_where_nothing_listens_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let config = ClientConfig::new("127.0.0.1", Security::StartTls).with_port(port);
        let error = dial(&config).await;
        assert_eq!(error.category(), Category::ConnectionRefused);
        assert!(error.hint().is_some());
    }

    #[tokio::test]
    async fn a_source_address_of_another_family_is_the_callers_mistake() {
        let config = ClientConfig::new("127.0.0.1", Security::StartTls)
            .with_source_address("::1".parse().unwrap());
        let error = dial(&config).await;
        assert_eq!(error.category(), Category::Usage);
    }
}
