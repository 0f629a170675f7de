//! Addresses of the envelope (RFC 5321 §4.1.2, RFC 6531 §3.3): a value of these types holds no
//! control character, and can be written into a command as it is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::grammar;
use super::labels;

/// A mailbox: `local-part@domain` or `local-part@[address-literal]`.
///
/// Parsing is strict RFC 5321 with the non-ASCII letters of RFC 6531, and nothing is guessed:
/// no display name, no comment, no source route, no white space around, and no angle bracket even
/// within quotes. The text is kept as given,
/// the case of the local part included. Lengths beyond §4.5.3.1 are allowed, as that section asks.
///
/// ```
/// use ehlo::Mailbox;
///
/// let mailbox: Mailbox = "Jo.Doe@example.org".parse()?;
/// assert_eq!((mailbox.local_part(), mailbox.domain()), ("Jo.Doe", "example.org"));
/// assert!("jo@example.org> SIZE=1".parse::<Mailbox>().is_err());
/// # Ok::<(), ehlo::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// Shared: an envelope that may be sent again is cloned.
    text: Arc<str>,
    at: u32,
    /// Asked for each message: found out once.
    ascii: bool,
}

impl Mailbox {
    /// The mailbox of a local part in its plain meaning, which is quoted here if the grammar needs
    /// it, and a domain or address literal.
    ///
    /// # Errors
    /// A control character or an empty local part; or a malformed domain.
    pub fn new(local_part: &str, domain: &str) -> Result<Self, AddressError> {
        if local_part.is_empty() {
            let problem = "the part before the '@' is missing or malformed";
            return Err(AddressError::new(local_part, problem));
        }
        let mut text = String::with_capacity(local_part.len() + domain.len() + 3);
        if grammar::is_dot_string(local_part.as_bytes()) {
            text.push_str(local_part);
        } else {
            text.push('"');
            for c in local_part.chars() {
                if matches!(c, '"' | '\\') {
                    text.push('\\');
                }
                text.push(c);
            }
            text.push('"');
        }
        text.push('@');
        text.push_str(domain);
        text.parse()
    }

    /// The local part as it is written, quotes included.
    pub fn local_part(&self) -> &str {
        &self.text[..self.at as usize]
    }

    /// The domain or the address literal, brackets included.
    pub fn domain(&self) -> &str {
        &self.text[self.at as usize + 1..]
    }

    /// The whole, as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.ascii
    }

    /// Whether it is longer than servers have to take: a path has 256 octets with its brackets, a
    /// local part 64, a domain 255 (RFC 5321 §4.5.3.1).
    pub(crate) fn is_long(&self) -> bool {
        self.text.len() > 254 || self.local_part().len() > 64
    }

    /// The same mailbox in ASCII, its domain as A-labels (UTS #46, RFC 5891). `None` where the local
    /// part is not ASCII, the domain has no such form, or the feature `idna` is off; also where the
    /// mailbox is ASCII as it is.
    pub fn to_ascii(&self) -> Option<Self> {
        if self.is_ascii() || !self.local_part().is_ascii() {
            return None;
        }
        let domain = labels::to_ascii(self.domain())?;
        format!("{}@{domain}", self.local_part()).parse().ok()
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains(char::is_control) {
            return Err(AddressError::new(text, "it has a control character"));
        }
        // Allowed within quotes, never used, and what servers that look for the path's end trip over.
        if text.contains(['<', '>']) {
            return Err(AddressError::new(text, "it has an angle bracket"));
        }
        match grammar::mailbox(text.as_bytes()) {
            Ok(at) if u32::try_from(text.len()).is_ok() => Ok(Self {
                text: text.into(),
                at: at as u32,
                ascii: text.is_ascii(),
            }),
            Ok(_) => Err(AddressError::new(text, "it is too long")),
            Err(problem) => Err(AddressError::new(text, problem)),
        }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

/// The reverse-path of MAIL: a mailbox, or `<>` for mail that must never be answered. The set is
/// closed by RFC 5321 §4.1.2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: delivery reports and other automatic answers.
    Null,
    /// Where reports about this mail go.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Whether it can be sent without SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Mailbox(mailbox) => mailbox.is_ascii(),
        }
    }

    /// The address, empty for the null path.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Mailbox(mailbox) => mailbox.as_str(),
        }
    }
}

impl From<Mailbox> for ReversePath {
    fn from(mailbox: Mailbox) -> Self {
        Self::Mailbox(mailbox)
    }
}

impl FromStr for ReversePath {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            Ok(Self::Null)
        } else {
            text.parse().map(Self::Mailbox)
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

/// The name a client gives in EHLO: a fully-qualified domain name or an address literal.
///
/// ASCII only (RFC 6531 §3.7.1 keeps EHLO's argument so).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Domain(Box<str>);

impl Domain {
    /// The address literal of an IP address: `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    pub fn literal(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(v4) => format!("[{v4}]").into(),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => format!("[{v4}]").into(),
                None => format!("[IPv6:{v6}]").into(),
            },
        })
    }

    /// The name or literal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if !text.is_ascii() {
            return Err(AddressError::new(
                text,
                "it has a character that is not ASCII",
            ));
        }
        match grammar::domain(text.as_bytes()) {
            Ok(()) => Ok(Self(text.into())),
            Err(problem) => Err(AddressError::new(text, problem)),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({})", self.0)
    }
}

/// A text that is not the address it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

impl AddressError {
    fn new(text: &str, problem: &'static str) -> Self {
        Self {
            text: text.chars().take(320).collect(),
            problem,
        }
    }

    /// What is wrong with it, as a clause: "the domain is missing".
    pub fn problem(&self) -> &'static str {
        self.problem
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a valid address: {}",
            self.text, self.problem
        )
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "idna")]
    #[test]
    fn a_domain_has_a_form_in_ascii_and_a_local_part_has_none() {
        let ascii = |text: &str| {
            let mailbox: Mailbox = text.parse().unwrap();
            mailbox.to_ascii().map(|ascii| ascii.to_string())
        };
        assert_eq!(
            ascii("Jo@BÜCHER.example").as_deref(),
            Some("Jo@xn--bcher-kva.example")
        );
        assert_eq!(
            ascii("jo@straße.example").as_deref(),
            Some("jo@xn--strae-oqa.example")
        );
        for text in [
            "jö@bücher.example",
            "jo@x.org",
            "jo@\u{2001}x.org",
            "jo@\u{200d}.org",
        ] {
            assert_eq!(ascii(text), None, "{text:?}");
        }
    }

    /// R-6531-3; RFC 6531 §3.7.1
    #[test]
    fn the_name_for_ehlo_is_ascii_though_an_address_need_not_be() {
        assert!("bücher.example".parse::<Domain>().is_err());
        assert!("xn--bcher-kva.example".parse::<Domain>().is_ok());
        assert!("jö@bücher.example".parse::<Mailbox>().is_ok());
    }

    #[test]
    fn debug_output_shows_the_address() {
        let domain: Domain = "client.example".parse().unwrap();
        assert_eq!(format!("{domain:?}"), "Domain(client.example)");
        let mailbox: Mailbox = "a@x.org".parse().unwrap();
        assert_eq!(format!("{mailbox:?}"), "<a@x.org>");
    }

    #[test]
    fn a_path_or_local_part_beyond_what_servers_must_take_is_long() {
        let is_long = |local: usize, domain: usize| {
            let domain = format!("{}org", "x.".repeat((domain - 3) / 2));
            let mailbox = Mailbox::new(&"l".repeat(local), &domain).unwrap();
            mailbox.is_long()
        };
        assert!(!is_long(64, 189));
        assert!(is_long(65, 3));
        assert!(is_long(64, 191));
        assert!(!is_long(63, 191 - 1));
    }

    #[test]
    fn a_plain_local_part_is_quoted_where_the_grammar_needs_it() {
        let written = |local| Mailbox::new(local, "x.org").map(|mailbox| mailbox.to_string());
        assert_eq!(written("jo.doe").as_deref(), Ok("jo.doe@x.org"));
        assert_eq!(written("a b").as_deref(), Ok("\"a b\"@x.org"));
        assert_eq!(written("a\"\\").as_deref(), Ok(r#""a\"\\"@x.org"#));
        for local in ["", "a\r\nb", "a>b"] {
            assert!(written(local).is_err(), "{local:?}");
        }
    }

    #[test]
    fn an_address_literal_of_a_mapped_address_is_that_of_ipv4() {
        for (address, literal) in [
            ("192.0.2.1", "[192.0.2.1]"),
            ("::ffff:192.0.2.1", "[192.0.2.1]"),
            ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ] {
            let written = Domain::literal(address.parse().unwrap());
            assert_eq!(written.as_str(), literal);
            // What is written can be read.
            assert_eq!(literal.parse(), Ok(written));
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_with_which_address() {
        for (text, problem) in [
            ("", "it is empty"),
            ("jo@", "the domain is missing"),
            ("jo@-x.org", "the domain is malformed"),
            ("jo@x-.org", "the domain is malformed"),
            ("jo@x..org", "the domain is malformed"),
            ("jo@[IPv6:2001:db8:::1]", "the address literal is malformed"),
            ("jo@[192.0.2.256]", "the address literal is malformed"),
            ("jo", "there is no '@'"),
            ("@x.org", "the part before the '@' is missing or malformed"),
            ("jo\u{85}@x.org", "it has a control character"),
            ("<jo@x.org>", "it has an angle bracket"),
        ] {
            let error = text.parse::<Mailbox>().unwrap_err();
            assert_eq!(error.problem(), problem, "{text:?}");
            let expected = format!("{text:?} is not a valid address: {problem}");
            assert_eq!(error.to_string(), expected);
        }
        for text in [
            "jo@x-y.org",
            "jo@a_b.org",
            "jo@[IPv6:2001:db8::1]",
            "jo@[x-tag:1]",
        ] {
            assert!(text.parse::<Mailbox>().is_ok(), "{text}");
        }
        let long = "x".repeat(1000).parse::<Mailbox>().unwrap_err();
        assert!(
            long.to_string().len() < 400,
            "an error does not repeat it all"
        );
    }

    #[test]
    fn an_empty_reverse_path_is_null_and_another_a_mailbox() {
        let path = |text: &str| text.parse::<ReversePath>().map(|path| path.to_string());
        assert_eq!(path("").as_deref(), Ok("<>"));
        assert_eq!(path("a@x.org").as_deref(), Ok("<a@x.org>"));
        assert!(path("<>").is_err());
    }
}
