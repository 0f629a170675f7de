//! A proxy: what it speaks, where it is, and who logs in to it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::resolve::literal;

/// A proxy that connections go through: SOCKS5 (RFC 1928), or HTTP CONNECT (RFC 9110 §9.3.6).
///
/// Read from `socks5://[user:password@]host[:port]` or `http://[user:password@]host[:port]`; user
/// and password may have `%` escapes (RFC 3986 §2.1). The ports are 1080 and 80 where none is
/// given. `socks5h` is another name for `socks5`: the server's name always goes to the proxy, unless
/// an [`AddressPolicy`](super::AddressPolicy) has to see its addresses.
///
/// User and password travel in clear to the proxy (RFC 1929, RFC 7617). Neither `Debug` nor
/// `Display` shows them. No variable of the environment is read.
///
/// ```
/// let proxy: ehlo::net::Proxy = "socks5://jo:s%40cret@proxy.example.org".parse()?;
/// assert_eq!(proxy.to_string(), "socks5://proxy.example.org:1080");
/// # Ok::<(), ehlo::net::ProxyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) protocol: Protocol,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: Option<Login>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Socks5,
    Http,
}

/// Who logs in to the proxy: within the limits of its protocol, and without control characters.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

impl Proxy {
    /// A SOCKS5 proxy that wants no log-in.
    ///
    /// # Errors
    /// A host that is neither a name in ASCII nor an address; port 0.
    pub fn socks5(host: &str, port: u16) -> Result<Self, ProxyError> {
        Self::new(Protocol::Socks5, host, port)
    }

    /// An HTTP proxy that wants no log-in.
    ///
    /// # Errors
    /// As [`Self::socks5`].
    pub fn http(host: &str, port: u16) -> Result<Self, ProxyError> {
        Self::new(Protocol::Http, host, port)
    }

    fn new(protocol: Protocol, host: &str, port: u16) -> Result<Self, ProxyError> {
        let host = match literal(host) {
            Some(address) => address.to_string(),
            None if is_name(host) => host.to_owned(),
            None => return Err(ProxyError::Host),
        };
        if port == 0 {
            return Err(ProxyError::Port);
        }
        Ok(Self {
            protocol,
            host,
            port,
            login: None,
        })
    }

    /// With a user and a password.
    ///
    /// # Errors
    /// A control character in either. For SOCKS5 also one that is empty or beyond 255 octets (RFC
    /// 1929 §2); for HTTP a user that is empty or has a colon (RFC 7617 §2), or one that is beyond
    /// 1,000 octets.
    pub fn with_login(
        mut self,
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Result<Self, ProxyError> {
        let (username, password) = (username.into(), password.into());
        let (shortest_password, longest) = match self.protocol {
            Protocol::Socks5 => (1, 255),
            Protocol::Http => (0, 1000),
        };
        let has_colon = self.protocol == Protocol::Http && username.contains(':');
        let is_clean = |text: &str| !text.contains(char::is_control) && text.len() <= longest;
        if username.is_empty() || has_colon || !is_clean(&username) {
            return Err(ProxyError::Username);
        }
        if password.len() < shortest_password || !is_clean(&password) {
            return Err(ProxyError::Password);
        }
        self.login = Some(Login { username, password });
        Ok(self)
    }

    /// Whether a password goes with it.
    pub fn has_login(&self) -> bool {
        self.login.is_some()
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let (scheme, rest) = text.split_once("://").ok_or(ProxyError::Scheme)?;
        let (protocol, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "socks5" | "socks5h" => (Protocol::Socks5, 1080),
            "http" => (Protocol::Http, 80),
            _ => return Err(ProxyError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (userinfo, place) = match rest.rsplit_once('@') {
            Some((userinfo, place)) => (Some(userinfo), place),
            None => (None, rest),
        };
        let (host, port) = split_port(place)?;
        let mut proxy = Self::new(protocol, host, default_port)?;
        if let Some(digits) = port {
            proxy.port = parsed_port(digits).ok_or(ProxyError::Port)?;
        }
        let Some(userinfo) = userinfo else {
            return Ok(proxy);
        };
        let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        proxy.with_login(
            percent_decoded(username).ok_or(ProxyError::Username)?,
            percent_decoded(password).ok_or(ProxyError::Password)?,
        )
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Socks5 => "socks5",
            Protocol::Http => "http",
        };
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => write!(f, "{scheme}://[{address}]:{}", self.port),
            Ok(IpAddr::V4(_)) | Err(_) => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("protocol", &self.protocol)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("has_login", &self.has_login())
            .finish_non_exhaustive()
    }
}

/// Which part of a proxy cannot be used. It does not hold the part, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// It is neither `socks5://…` nor `http://…`.
    Scheme,
    /// The host is neither a name in ASCII nor an address.
    Host,
    /// The port is not one.
    Port,
    /// The user name has a control character, a malformed escape, or a length or a colon that the
    /// protocol does not allow.
    Username,
    /// The password has a control character, a malformed escape, or a length that the protocol does
    /// not allow.
    Password,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => {
                "a proxy is written as socks5://[USER:PASSWORD@]HOST[:PORT] or http://…"
            }
            Self::Host => {
                "the proxy's host is neither an address (IPv6 in brackets) nor a name in ASCII"
            }
            Self::Port => "the proxy's port is not one",
            Self::Username => {
                "the proxy's user name is empty or too long, or has a control character, a \
                 malformed '%' escape, or (HTTP) a colon"
            }
            Self::Password => {
                "the proxy's password is missing or too long, or has a control character or a \
                 malformed '%' escape"
            }
        })
    }
}

impl std::error::Error for ProxyError {}

/// Whether a proxy can be given this as a host's name: RFC 1123 §2.1, and underscores, which some
/// networks have. Anything else might mean something to the proxy.
pub(super) fn is_name(host: &str) -> bool {
    let is_usual = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    (1..=255).contains(&host.len()) && host.bytes().all(is_usual)
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(place: &str) -> Result<(&str, Option<&str>), ProxyError> {
    let after_host = match place.starts_with('[') {
        true => place.find(']').ok_or(ProxyError::Host)? + 1,
        false => place.find(':').unwrap_or(place.len()),
    };
    let (host, rest) = place.split_at(after_host);
    match (rest.is_empty(), rest.strip_prefix(':')) {
        (true, _) => Ok((host, None)),
        (false, Some(port)) => Ok((host, Some(port))),
        (false, None) => Err(ProxyError::Host),
    }
}

/// `parse` alone would take a sign.
fn parsed_port(digits: &str) -> Option<u16> {
    let are_digits = digits.bytes().all(|octet| octet.is_ascii_digit());
    let port = digits.parse().ok().filter(|_| are_digits);
    port.filter(|port| *port != 0)
}

/// Undoes `%` escapes (RFC 3986 §2.1); `None` where one is malformed, or what comes out is not
/// UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        octets.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Proxy {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_url_says_protocol_host_and_port() {
        for (text, written) in [
            (
                "socks5://proxy.example.org",
                "socks5://proxy.example.org:1080",
            ),
            ("SOCKS5H://192.0.2.1:9050/", "socks5://192.0.2.1:9050"),
            ("http://[2001:db8::1]", "http://[2001:db8::1]:80"),
            ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
        ] {
            assert_eq!(proxy(text).to_string(), written);
            assert!(!proxy(text).has_login());
        }
    }

    #[test]
    fn user_and_password_are_decoded_and_not_shown() {
        let proxy = proxy("socks5://jo%40corp:s3c%25:r@t@localhost");
        let login = proxy.login.as_ref().unwrap();
        assert_eq!(login.username, "jo@corp");
        assert_eq!(login.password, "s3c%:r@t");
        let shown = format!("{proxy:?} {proxy}");
        assert!(!shown.contains("s3c") && !shown.contains("jo"), "{shown}");
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_shown() {
        use ProxyError as E;
        let long = format!("socks5://{}:secret@h", "u".repeat(256));
        for (text, expected) in [
            ("secret", E::Scheme),
            ("https://jo:secret@h", E::Scheme),
            ("socks4://h", E::Scheme),
            ("http://", E::Host),
            ("http://jo:secret@", E::Host),
            ("http://secret\r\nX: y", E::Host),
            ("http://h\r\nX:80", E::Host),
            ("http://h x", E::Host),
            ("http://h/path", E::Host),
            ("http://h?q", E::Host),
            ("http://b\u{fc}cher.example", E::Host),
            ("http://[::1", E::Host),
            ("http://[::1]x", E::Host),
            ("http://::1", E::Host),
            ("http://h:0", E::Port),
            ("http://h:+80", E::Port),
            ("http://h:80\r\n", E::Port),
            ("http://h:65536", E::Port),
            ("http://h:", E::Port),
            ("http://:secret@h", E::Username),
            ("http://jo%3Asecret:x@h", E::Username),
            ("http://jo%0d%0aX:secret@h", E::Username),
            ("http://jo%4:secret@h", E::Username),
            ("http://jo:secret%0A@h", E::Password),
            ("http://jo:secret\n@h", E::Password),
            ("http://jo:secret%zz@h", E::Password),
            ("http://jo:secret%ff@h", E::Password),
            ("socks5://jo@h", E::Password),
            (&long, E::Username),
        ] {
            let error = text.parse::<Proxy>().unwrap_err();
            assert_eq!(error, expected, "{text:?}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
