//! A provider, as the data file has it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::replies::{self, KnownReply};
use super::{fits, is_under, plain};
use crate::proto::config::Security;
use crate::proto::reply::Reply;

/// What one provider wants of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Provider {
    /// A stable name for programs: lower case, hyphens.
    pub id: String,
    /// The name that people know.
    pub name: String,
    /// The domains of the addresses that it gives out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// The names under which it takes mail for the domains of its customers: each stands for itself
    /// and for all names below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mx: Vec<String>,
    /// Where its servers take mail from clients, the best first. Empty for an entry that only says
    /// what to expect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Other host names with the ports of the first endpoint's host; a `*` stands for a part of a label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Which of its hosts goes with which MX, where an account works in one region only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Region>,
    /// What it takes as a user name.
    pub username: UsernameForm,
    /// What it takes as a secret, the usual one first.
    pub login: Vec<LoginForm>,
    /// About its app passwords, where it has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_password: Option<AppPassword>,
    /// Whose mail an account may send; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<SenderRule>,
    /// How much may be sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// What its replies mean, the more particular ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<KnownReply>,
    /// What else is worth knowing, a sentence or two each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The pages where all this was found.
    pub sources: Vec<String>,
    /// The day on which it was last compared with them: `2026-11-24`.
    pub checked: String,
}

impl Provider {
    /// What one of its replies means; `None` where neither it nor servers at large are known to give
    /// such a reply.
    pub fn explain(&self, reply: &Reply) -> Option<&KnownReply> {
        replies::find(&self.replies, reply).or_else(|| super::explain(reply))
    }

    /// Whether one of its servers has this name.
    pub fn has_host(&self, host: &str) -> bool {
        let host = plain(host);
        let is_endpoint = self.endpoints.iter().any(|endpoint| endpoint.host == host);
        is_endpoint || self.aliases.iter().any(|alias| fits(alias, &host))
    }

    /// The endpoints of one of its hosts, the best first; none where the host is not its own.
    ///
    /// ```
    /// let ses = ehlo::providers::by_host("email-smtp.eu-west-1.amazonaws.com").ok_or("unknown")?;
    /// let endpoints = ses.endpoints_at("email-smtp.eu-west-1.amazonaws.com");
    /// assert!(endpoints.iter().all(|one| one.host == "email-smtp.eu-west-1.amazonaws.com"));
    /// assert!(endpoints.iter().any(|one| one.port == 587));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn endpoints_at(&self, host: &str) -> Vec<Endpoint> {
        let host = plain(host);
        if !self.has_host(&host) {
            return Vec::new();
        }
        let is_endpoint = self.endpoints.iter().any(|endpoint| endpoint.host == host);
        let like = match (is_endpoint, self.endpoints.first()) {
            (false, Some(first)) => first.host.clone(),
            (true, _) | (false, None) => host.clone(),
        };
        let same = |endpoint: &&Endpoint| endpoint.host == like;
        let moved = |endpoint: &Endpoint| Endpoint {
            host: host.clone(),
            ..endpoint.clone()
        };
        self.endpoints.iter().filter(same).map(moved).collect()
    }

    /// The endpoints for a domain whose mail it takes at this exchange, the best first.
    ///
    /// ```
    /// let zoho = ehlo::providers::by_mx("mx.zoho.eu").ok_or("unknown")?;
    /// assert_eq!(zoho.endpoints_by_mx("mx.zoho.eu")[0].host, "smtp.zoho.eu");
    /// # Ok::<(), &str>(())
    /// ```
    pub fn endpoints_by_mx(&self, exchange: &str) -> Vec<Endpoint> {
        let exchange = plain(exchange);
        let region = self
            .regions
            .iter()
            .find(|region| is_under(&exchange, &region.mx));
        match region {
            Some(region) => self.endpoints_at(&region.host),
            None => self.endpoints.clone(),
        }
    }

    /// A limit, where it is known.
    pub fn limit(&self, of: Quantity) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.of == of)
    }

    /// Whether the password that people type on its web page is good for sending mail.
    pub fn takes_account_password(&self) -> bool {
        self.login.contains(&LoginForm::AccountPassword)
    }

    /// Every host name without a `*`, the best first.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        let endpoints = self.endpoints.iter().map(|endpoint| endpoint.host.as_str());
        let aliases = self.aliases.iter().map(String::as_str);
        endpoints.chain(aliases).filter(|host| !host.contains('*'))
    }
}

/// A region of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Region {
    /// The name under which it takes the mail of the region's domains: itself and all names below it.
    pub mx: String,
    /// The host for sending there.
    pub host: String,
}

/// Where a server takes mail from clients, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The host's name or address, in lower case.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected there.
    pub encryption: Encryption,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, port {}, {}", self.host, self.port, self.encryption)
    }
}

/// The encryption that a settings form offers. Closed: these are the three there are.
///
/// In text it is `starttls`, `tls` or `none`. What forms and people write is read as well, in any
/// case: `STARTTLS`, `SSL/TLS`, `ssl`, `TLS`, `SMTPS`, `None` and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// STARTTLS, and nothing without it: port 587.
    StartTls,
    /// TLS from the first octet: port 465.
    Tls,
    /// Clear text: port 25.
    None,
}

impl Encryption {
    /// The port that goes with it: 587, 465, 25.
    pub fn default_port(self) -> u16 {
        Security::from(self).default_port()
    }

    /// In text: `starttls`, `tls`, `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }

    /// The one of this security. `Opportunistic` is in no form: it has none.
    pub fn of(security: Security) -> Option<Self> {
        match security {
            Security::StartTls => Some(Self::StartTls),
            Security::Implicit => Some(Self::Tls),
            Security::Plaintext => Some(Self::None),
            Security::Opportunistic => None,
        }
    }
}

impl From<Encryption> for Security {
    fn from(encryption: Encryption) -> Self {
        match encryption {
            Encryption::StartTls => Self::StartTls,
            Encryption::Tls => Self::Implicit,
            Encryption::None => Self::Plaintext,
        }
    }
}

impl FromStr for Encryption {
    type Err = UnknownEncryption;

    fn from_str(text: &str) -> Result<Self, UnknownEncryption> {
        let letters: String = text
            .chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect();
        match letters.as_str() {
            "starttls" | "explicit" | "explicittls" | "explicitssl" => Ok(Self::StartTls),
            "tls" | "ssl" | "ssltls" | "tlsssl" | "smtps" | "implicit" | "implicittls" => {
                Ok(Self::Tls)
            }
            "none" | "no" | "off" | "plain" | "plaintext" | "clear" | "cleartext"
            | "unencrypted" | "noencryption" => Ok(Self::None),
            _ => Err(UnknownEncryption),
        }
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartTls => "STARTTLS",
            Self::Tls => "TLS",
            Self::None => "no encryption",
        })
    }
}

/// A text that names no encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownEncryption;

impl fmt::Display for UnknownEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there are STARTTLS, TLS and none")
    }
}

impl std::error::Error for UnknownEncryption {}

/// What a server takes as a user name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum UsernameForm {
    /// The whole address.
    Address,
    /// The part of the address before the `@`.
    LocalPart,
    /// The same word for everybody, such as `apikey`.
    Fixed(String),
    /// A name made for sending mail, which is no address: it is shown with its password.
    Credential,
    /// Whatever the account is called.
    Any,
}

/// What a server takes as a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LoginForm {
    /// The password that people type on the provider's web page.
    AccountPassword,
    /// A password made for one program, beside the account's own.
    AppPassword,
    /// An OAuth 2.0 access token (XOAUTH2, OAUTHBEARER).
    #[serde(rename = "oauth")]
    OAuth,
    /// A key or password that the provider makes for sending mail.
    Credential,
}

/// About the app passwords of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppPassword {
    /// How they look, spaces and hyphens left out: `a` stands for a lower-case letter, `0` for a
    /// digit, `x` for either. `None` where nothing tells them from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// The page where they are made, or explained.
    pub url: String,
}

impl AppPassword {
    /// Whether a password looks like one of them; `None` where that cannot be told.
    pub fn looks_like(&self, password: &str) -> Option<bool> {
        let shape = self.shape.as_ref()?;
        let mut letters = password.trim().chars().filter(|c| !matches!(c, ' ' | '-'));
        let fits = shape.chars().all(|kind| match (kind, letters.next()) {
            ('a', Some(c)) => c.is_ascii_lowercase(),
            ('0', Some(c)) => c.is_ascii_digit(),
            (_, Some(c)) => c.is_ascii_lowercase() || c.is_ascii_digit(),
            (_, None) => false,
        });
        Some(fits && letters.next().is_none())
    }
}

/// Whose mail an account may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SenderRule {
    /// Its own address and its aliases: mail from others is refused.
    OwnRefused,
    /// Its own address and its aliases: in mail from others the sender is replaced.
    OwnReplaced,
    /// Any address, or any of a domain, that was verified with the provider.
    Verified,
}

/// How much may be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Limit {
    /// Of what.
    pub of: Quantity,
    /// At most so many.
    pub most: u64,
    /// For whom, or when, it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The page where it was found.
    pub source: String,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Quantity {
    /// Messages within a second.
    MessagesPerSecond,
    /// Messages within a minute.
    MessagesPerMinute,
    /// Messages within an hour.
    MessagesPerHour,
    /// Messages within 24 hours.
    MessagesPerDay,
    /// Messages within a month.
    MessagesPerMonth,
    /// Messages over one connection.
    MessagesPerConnection,
    /// Recipients within an hour.
    RecipientsPerHour,
    /// Recipients within 24 hours.
    RecipientsPerDay,
    /// Recipients of one message.
    RecipientsPerMessage,
    /// Octets of one message.
    MessageBytes,
    /// Connections at the same time.
    Connections,
}

impl Quantity {
    /// In words, to stand behind a number.
    pub fn words(self) -> &'static str {
        match self {
            Self::MessagesPerSecond => "messages a second",
            Self::MessagesPerMinute => "messages a minute",
            Self::MessagesPerHour => "messages an hour",
            Self::MessagesPerDay => "messages a day",
            Self::MessagesPerMonth => "messages a month",
            Self::MessagesPerConnection => "messages a connection",
            Self::RecipientsPerHour => "recipients an hour",
            Self::RecipientsPerDay => "recipients a day",
            Self::RecipientsPerMessage => "recipients a message",
            Self::MessageBytes => "bytes a message",
            Self::Connections => "connections at a time",
        }
    }
}
