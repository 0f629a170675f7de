//! From a host name to its addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};

use crate::error::{Category, Error, Party, Stage};
use crate::proto::evidence::{Evidence, Resolution};

/// The addresses of a host, in the system's order of preference (RFC 6724). An address stands for
/// itself.
///
/// # Errors
/// A name without addresses, for good or for now, or one that cannot be a name.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    if let Some(address) = literal(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    check(host)?;
    if is_invalid(host) {
        let why = "names below `.invalid` never have one";
        return Err(no_address(host, Resolution::NoSuchName, why));
    }
    let name = host.to_owned();
    let looked_up = tokio::task::spawn_blocking(move || look_up(&name))
        .await
        .map_err(|error| unresolved(host, "the look-up was ended", io::Error::other(error)))?;
    let addresses = looked_up.map_err(|error| failure(host, error))?;
    if addresses.is_empty() {
        let why = "the resolver knows the name, but no address";
        return Err(no_address(host, Resolution::NoAddress, why));
    }
    Ok(addresses
        .into_iter()
        .map(|mut address| {
            address.set_port(port);
            address
        })
        .collect())
}

/// The resolver did not answer in time.
pub(super) fn timed_out(host: &str) -> Error {
    Error::new(
        Category::Dns,
        Stage::Resolve,
        Party::Network,
        format!("the address of {} could not be found in time", shown(host)),
    )
    .with_temporary(true)
    .with_hint("Check this machine's resolver and network, or try again later.")
    .with_evidence(Evidence::Resolution(Resolution::TimedOut))
}

/// A host as it may be shown. Where a name belongs there may be a URL with a password in it: only
/// what follows its last `@` is left, and no scheme and no query.
pub(crate) fn shown(host: &str) -> &str {
    let behind_login = host.rsplit_once('@').map_or(host, |(_, rest)| rest);
    let behind_scheme = behind_login
        .split_once("://")
        .map_or(behind_login, |(_, rest)| rest);
    behind_scheme
        .split(['?', '#'])
        .next()
        .unwrap_or(behind_scheme)
}

/// An address where a name may stand, in brackets or without.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse().ok()
}

/// A URL or a mail address is not asked for: no name has such characters.
fn check(host: &str) -> Result<(), Error> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "/:@".contains(c);
    if host.is_empty() || host.contains(odd) {
        return Err(Error::new(
            Category::Usage,
            Stage::Resolve,
            Party::Caller,
            format!("the host {:?} is not a name or an address", shown(host)),
        ));
    }
    Ok(())
}

/// RFC 6761 §6.4: such a name does not exist, and is not asked for.
fn is_invalid(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("invalid")
}

fn look_up(name: &str) -> Result<Vec<SocketAddr>, LookupError> {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let mut addresses = Vec::new();
    for found in getaddrinfo(Some(name), None, Some(hints))?.flatten() {
        if !addresses.contains(&found.sockaddr) {
            addresses.push(found.sockaddr);
        }
    }
    Ok(addresses)
}

fn failure(host: &str, error: LookupError) -> Error {
    match error.kind() {
        LookupErrorKind::NoName => {
            no_address(host, Resolution::NoSuchName, "no such name, or no address")
        }
        LookupErrorKind::NoData => {
            let why = "the name exists, but has no address";
            no_address(host, Resolution::NoAddress, why)
        }
        LookupErrorKind::Again
        | LookupErrorKind::Memory
        | LookupErrorKind::System
        | LookupErrorKind::Fail => {
            unresolved(host, "the resolver failed", error.into()).with_temporary(true)
        }
        LookupErrorKind::Badflags
        | LookupErrorKind::Family
        | LookupErrorKind::Socktype
        | LookupErrorKind::Service
        | LookupErrorKind::Unknown
        | LookupErrorKind::IO => unresolved(host, "the resolver failed", error.into()),
    }
}

fn no_address(host: &str, problem: Resolution, why: &str) -> Error {
    Error::new(
        Category::Dns,
        Stage::Resolve,
        Party::Caller,
        format!("{host} has no address: {why}"),
    )
    .with_hint("Check the host's spelling; a mail domain's server often has another name.")
    .with_evidence(Evidence::Resolution(problem))
}

fn unresolved(host: &str, why: &str, error: io::Error) -> Error {
    Error::new(
        Category::Dns,
        Stage::Resolve,
        Party::Network,
        format!("the address of {host} could not be found: {why}: {error}"),
    )
    .with_hint("Check this machine's resolver and network, or try again later.")
    .with_source(Arc::new(error))
    .with_evidence(Evidence::Resolution(Resolution::Failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_stands_for_itself() {
        for host in ["192.0.2.1", "2001:db8::1", "[2001:db8::1]"] {
            let addresses = resolve(host, 25).await.unwrap();
            assert_eq!(addresses.len(), 1, "{host}");
            assert_eq!(addresses[0].port(), 25);
        }
    }

    #[tokio::test]
    async fn a_name_below_invalid_fails_for_good() {
        for host in ["mx.invalid", "INVALID", "mx.invalid."] {
            let error = resolve(host, 25).await.unwrap_err();
            assert_eq!(error.category(), Category::Dns);
            assert_eq!(error.stage(), Stage::Resolve);
            assert!(!error.is_temporary());
        }
    }

    #[tokio::test]
    async fn a_host_that_cannot_be_a_name_is_the_callers_mistake() {
        for host in [
            "",
            "mx example",
            "mx\r\n",
            "mx\0",
            "https://mx.example/",
            "mx.example:587",
            "jo@mx.example",
        ] {
            let error = resolve(host, 25).await.unwrap_err();
            assert_eq!(error.category(), Category::Usage, "{host:?}");
        }
    }

    #[test]
    fn a_url_s_password_is_not_shown() {
        for (host, expected) in [
            ("mail.example.org", "mail.example.org"),
            ("2001:db8::1", "2001:db8::1"),
            ("https://mail.example.org/a?b=c#d", "mail.example.org/a"),
            (
                "smtp://jo:hunter2@mail.example.org:587",
                "mail.example.org:587",
            ),
            ("smtp://jo:hun/t@r?2@mail.example.org", "mail.example.org"),
            ("jo:hunter2@mail example.org", "mail example.org"),
            ("jo:hunter2@", ""),
        ] {
            assert_eq!(shown(host), expected);
        }
    }

    #[test]
    fn only_the_last_label_makes_a_name_invalid() {
        assert!(!is_invalid("invalid.example.org"));
        assert!(!is_invalid("notinvalid"));
    }
}
