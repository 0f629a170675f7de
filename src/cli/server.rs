//! Which server is meant: `--server`, or `--host`, `--port` and `--encryption`.

use std::fmt;
#[cfg(unix)]
use std::path::PathBuf;

use super::args::{Encryption, ServerArguments};
use super::failure::Failure;
use crate::net::proxy::percent_decoded;
use crate::proto::config::{Protocol, Security};
use crate::proto::labels;

/// Where a command connects.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The built-in server, started for this one command.
    BuiltIn,
    /// A server somewhere.
    Host(Server),
    /// An LMTP server behind a socket of this machine.
    #[cfg(unix)]
    Socket(Socket),
}

/// A server, and what its URL said about the account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) protocol: Protocol,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
}

/// A Unix socket, where LMTP is spoken.
#[cfg(unix)]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) path: PathBuf,
    pub(crate) security: Security,
}

/// A password that came with a URL or a file. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Target {
    /// A host of which nothing else is known.
    pub(crate) fn of_host(host: &str) -> Self {
        Self::Host(Server {
            host: host.to_owned(),
            port: Security::StartTls.default_port(),
            security: Security::StartTls,
            protocol: Protocol::Smtp,
            username: None,
            password: None,
        })
    }

    /// The target of these options.
    ///
    /// No error shows a URL: it may hold a password.
    pub(crate) fn from_arguments(arguments: &ServerArguments) -> Result<Self, Failure> {
        if let Some(url) = &arguments.server {
            return Self::from_url(url, arguments.encryption);
        }
        let Some(host) = &arguments.host else {
            return Err(Failure::usage(match arguments.port {
                Some(_) => "--port needs --host NAME, or --settings FILE",
                None => {
                    "no server is named: give --server URL, --host NAME or --settings FILE \
                     ('--server sandbox:' is the built-in one)"
                }
            }));
        };
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        let (security, port) = match (arguments.encryption, arguments.port) {
            (Some(encryption), port) => (encryption.into(), port),
            (None, Some(465)) => (Security::Implicit, Some(465)),
            (None, port) => (Security::StartTls, port),
        };
        Ok(Self::Host(Server {
            host: checked_host(host)?.to_owned(),
            port: checked_port(port)?.unwrap_or(security.default_port()),
            security,
            protocol: Protocol::Smtp,
            username: None,
            password: None,
        }))
    }

    fn from_url(url: &str, encryption: Option<Encryption>) -> Result<Self, Failure> {
        if url.eq_ignore_ascii_case("sandbox:") {
            return match encryption {
                None => Ok(Self::BuiltIn),
                Some(_) => Err(Failure::usage(
                    "--encryption does not go with 'sandbox:', which is reached by STARTTLS",
                )),
            };
        }
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(Failure::usage(format!("--server takes a URL: {FORMS}")));
        };
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "lmtp+unix" {
            return Self::from_socket(rest, encryption);
        }
        let security = match (scheme.as_str(), encryption) {
            ("lmtp", None) => Security::Plaintext,
            ("smtp", None) => Security::StartTls,
            ("smtp" | "lmtp", Some(encryption)) => encryption.into(),
            ("smtps", None | Some(Encryption::Tls)) => Security::Implicit,
            ("smtps", Some(_)) => {
                return Err(Failure::usage(
                    "--encryption contradicts the URL: 'smtps' is TLS from the first octet",
                ));
            }
            _ => {
                return Err(Failure::usage(format!(
                    "the scheme of --server is not known: {FORMS}"
                )));
            }
        };
        let Some(rest) = rest.strip_prefix("//") else {
            return Err(Failure::usage(format!(
                "'//' is missing in --server: {FORMS}"
            )));
        };
        let protocol = match scheme.as_str() {
            "lmtp" => Protocol::Lmtp,
            _ => Protocol::Smtp,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        Server::from_authority(authority, security, protocol).map(Self::Host)
    }

    /// What follows `lmtp+unix:`, which is a path from the root, with or without an empty authority
    /// before it.
    #[cfg(unix)]
    fn from_socket(rest: &str, encryption: Option<Encryption>) -> Result<Self, Failure> {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if !path.starts_with('/') {
            return Err(Failure::usage(
                "lmtp+unix: in --server takes a path from the root, as in lmtp+unix:/run/lmtp",
            ));
        }
        match percent_decoded(path) {
            Some(path) if !path.contains('\0') => Ok(Self::Socket(Socket {
                path: path.into(),
                security: encryption.map_or(Security::Plaintext, Security::from),
            })),
            Some(_) | None => Err(Failure::usage(
                "the path in --server has a malformed '%' escape, or a NUL",
            )),
        }
    }

    #[cfg(not(unix))]
    fn from_socket(_rest: &str, _encryption: Option<Encryption>) -> Result<Self, Failure> {
        Err(Failure::usage(
            "this system has no Unix sockets: --server takes lmtp://HOST:PORT",
        ))
    }
}

impl Server {
    /// RFC 3986 §3.2: `[ userinfo "@" ] host [ ":" port ]`.
    fn from_authority(text: &str, security: Security, protocol: Protocol) -> Result<Self, Failure> {
        let (userinfo, place) = match text.rsplit_once('@') {
            Some((userinfo, place)) => (Some(userinfo), place),
            None => (None, text),
        };
        let (username, password) = match userinfo.map(|info| (info, info.split_once(':'))) {
            None => (None, None),
            Some((info, None)) => (Some(decoded(info)?), None),
            Some((_, Some((username, password)))) => {
                (Some(decoded(username)?), Some(Secret(decoded(password)?)))
            }
        };
        if username.as_ref().is_some_and(String::is_empty) {
            return Err(Failure::usage("the user name in --server is empty"));
        }
        let (host, port) = split_host(place)?;
        let port = match port {
            None => None,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(port),
                Ok(_) | Err(_) => return Err(Failure::usage("the port in --server is no port")),
            },
        };
        Ok(Self {
            host: checked_host(host)?.to_owned(),
            port: match (protocol, checked_port(port)?) {
                (Protocol::Smtp, port) => port.unwrap_or(security.default_port()),
                (Protocol::Lmtp, Some(port)) if port != 25 => port,
                // RFC 2033 §5: it has no port of its own, and never that of SMTP.
                (Protocol::Lmtp, _) => {
                    return Err(Failure::usage(
                        "--server lmtp://HOST:PORT needs a port, and not 25: that is for SMTP",
                    ));
                }
            },
            security,
            protocol,
            username,
            password,
        })
    }
}

impl From<Encryption> for Security {
    fn from(encryption: Encryption) -> Self {
        match encryption {
            Encryption::Starttls => Self::StartTls,
            Encryption::Tls => Self::Implicit,
            Encryption::None => Self::Plaintext,
            Encryption::Opportunistic => Self::Opportunistic,
        }
    }
}

/// Splits `host:port`, `[v6]:port`, `host` or `[v6]`.
fn split_host(place: &str) -> Result<(&str, Option<&str>), Failure> {
    if let Some(rest) = place.strip_prefix('[') {
        let Some((host, after)) = rest.split_once(']') else {
            return Err(Failure::usage("a ']' is missing in --server"));
        };
        return match (after.is_empty(), after.strip_prefix(':')) {
            (true, _) => Ok((host, None)),
            (false, Some(port)) => Ok((host, Some(port))),
            (false, None) => Err(Failure::usage("--server has something odd behind its ']'")),
        };
    }
    match place.split_once(':') {
        None => Ok((place, None)),
        Some((_, port)) if port.contains(':') => Err(Failure::usage(
            "an IPv6 address in --server goes in brackets, as in smtp://[2001:db8::1]:587",
        )),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn checked_host(host: &str) -> Result<&str, Failure> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "/?#@\\<>\"[]".contains(c);
    if host.is_empty() || host.contains(odd) {
        return Err(Failure::usage(
            "the host is empty, or has a character that no host name has",
        ));
    }
    match host.is_ascii() || labels::to_ascii(host).is_some() {
        true => Ok(host),
        false => Err(Failure::usage(
            "the host cannot be written in ASCII, and so is no host name: check its spelling",
        )),
    }
}

fn checked_port(port: Option<u16>) -> Result<Option<u16>, Failure> {
    match port {
        Some(0) => Err(Failure::usage("port 0 cannot be connected to")),
        Some(_) | None => Ok(port),
    }
}

fn decoded(text: &str) -> Result<String, Failure> {
    percent_decoded(text)
        .ok_or_else(|| Failure::usage("a '%' escape in the user part of --server is malformed"))
}

const FORMS: &str = "smtp://HOST, smtps://HOST, lmtp://HOST:PORT, lmtp+unix:/PATH or sandbox:";

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(server: &str, encryption: Option<Encryption>) -> ServerArguments {
        ServerArguments {
            server: Some(server.to_owned()),
            settings: None,
            host: None,
            port: None,
            encryption,
        }
    }

    #[track_caller]
    fn server(target: Result<Target, Failure>) -> Server {
        match target {
            Ok(Target::Host(server)) => server,
            Ok(other) => panic!("{other:?}"),
            Err(failure) => panic!("{failure}"),
        }
    }

    #[test]
    fn a_url_says_host_port_and_encryption() {
        for (url, host, port, security) in [
            (
                "smtp://mail.example.org",
                "mail.example.org",
                587,
                Security::StartTls,
            ),
            (
                "SMTP://mail.example.org:25/",
                "mail.example.org",
                25,
                Security::StartTls,
            ),
            (
                "smtps://mail.example.org",
                "mail.example.org",
                465,
                Security::Implicit,
            ),
            (
                "smtp://[2001:db8::1]",
                "2001:db8::1",
                587,
                Security::StartTls,
            ),
            ("smtps://[::1]:4650", "::1", 4650, Security::Implicit),
        ] {
            let server = server(Target::from_arguments(&arguments(url, None)));
            assert_eq!((server.host.as_str(), server.port), (host, port), "{url}");
            assert_eq!(server.security, security, "{url}");
            assert_eq!(server.username, None, "{url}");
        }
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        let url = "smtp://jo%40example.org:p%3Ass:w%25rd@mail.example.org";
        let server = server(Target::from_arguments(&arguments(url, None)));
        assert_eq!(server.username.as_deref(), Some("jo@example.org"));
        assert_eq!(server.password, Some(Secret("p:ss:w%rd".into())));
        assert!(!format!("{server:?}").contains("w%rd"));
    }

    #[test]
    fn an_explicit_encryption_overrides_smtp_and_must_not_contradict_smtps() {
        let clear = Some(Encryption::None);
        let plain = server(Target::from_arguments(&arguments("smtp://h", clear)));
        assert_eq!((plain.port, plain.security), (25, Security::Plaintext));
        assert!(Target::from_arguments(&arguments("smtps://h", clear)).is_err());
        assert!(Target::from_arguments(&arguments("smtps://h", Some(Encryption::Tls))).is_ok());
    }

    #[test]
    fn field_by_field_port_and_encryption_follow_each_other() {
        for (port, encryption, expected) in [
            (None, None, (587, Security::StartTls)),
            (Some(465), None, (465, Security::Implicit)),
            (Some(25), None, (25, Security::StartTls)),
            (
                Some(465),
                Some(Encryption::Starttls),
                (465, Security::StartTls),
            ),
            (None, Some(Encryption::Tls), (465, Security::Implicit)),
            (None, Some(Encryption::None), (25, Security::Plaintext)),
            (
                None,
                Some(Encryption::Opportunistic),
                (25, Security::Opportunistic),
            ),
        ] {
            let arguments = ServerArguments {
                server: None,
                settings: None,
                host: Some("[::1]".into()),
                port,
                encryption,
            };
            let server = server(Target::from_arguments(&arguments));
            assert_eq!(server.host, "::1");
            assert_eq!((server.port, server.security), expected);
        }
    }

    #[test]
    fn lmtp_is_in_clear_unless_told_otherwise() {
        let url = "lmtp://[::1]:2003";
        for (encryption, security) in [
            (None, Security::Plaintext),
            (Some(Encryption::Starttls), Security::StartTls),
            (Some(Encryption::Tls), Security::Implicit),
        ] {
            let server = server(Target::from_arguments(&arguments(url, encryption)));
            assert_eq!((server.host.as_str(), server.port), ("::1", 2003));
            assert_eq!(server.security, security);
            assert_eq!(server.protocol, Protocol::Lmtp);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_is_in_clear_unless_told_otherwise() {
        for (url, encryption, path, security) in [
            (
                "lmtp+unix:/run/lmtp",
                None,
                "/run/lmtp",
                Security::Plaintext,
            ),
            (
                "LMTP+UNIX:///run/lmtp",
                None,
                "/run/lmtp",
                Security::Plaintext,
            ),
            ("lmtp+unix:/a%20b%25", None, "/a b%", Security::Plaintext),
            (
                "lmtp+unix:/run/lmtp",
                Some(Encryption::Starttls),
                "/run/lmtp",
                Security::StartTls,
            ),
        ] {
            match Target::from_arguments(&arguments(url, encryption)) {
                Ok(Target::Socket(socket)) => {
                    assert_eq!(socket.path.to_str(), Some(path), "{url}");
                    assert_eq!(socket.security, security, "{url}");
                }
                Ok(other) => panic!("{url}: {other:?}"),
                Err(failure) => panic!("{url}: {failure}"),
            }
        }
    }

    #[test]
    fn a_malformed_url_is_refused_and_not_shown() {
        for url in [
            "mail.example.org",
            "http://jo:secret@h",
            "lmtp://jo:secret@h",
            "lmtp://jo:secret@h:25",
            "lmtp+unix:",
            "lmtp+unix://",
            "lmtp+unix:secret",
            "lmtp+unix://jo:secret@h/run/lmtp",
            "lmtp+unix:/secret%4",
            "lmtp+unix:/secret%00",
            "smtp:jo:secret@h",
            "smtp://jo:secret@",
            "smtp://jo:secret@h:port",
            "smtp://jo:secret@h:0",
            "smtp://jo:secret@h:+25",
            "smtp://jo:secret@h:65536",
            "smtp://jo:secret%4@h",
            "smtp://jo:secret%ff@h",
            "smtp://:secret@h",
            "smtp://jo:secret@::1",
            "smtp://jo:secret@[::1",
            "smtp://jo:secret@[::1]x",
            "smtp://jo:secret@h/path",
            "smtp://jo:secret@a b",
            "smtp://jo:secret@xn--\u{fc}",
        ] {
            match Target::from_arguments(&arguments(url, None)) {
                Ok(target) => panic!("{url}: {target:?}"),
                Err(failure) => assert!(!failure.to_string().contains("secret"), "{failure}"),
            }
        }
    }
}
