//! What mail providers want of a client: hosts, ports, user names, limits, and what they mean by
//! their replies.
//!
//! All of it is data: `providers.toml`, beside this file, is part of the program and is read on first
//! use. A provider is one block there, whose fields are those of [`Provider`]; what the block says was
//! found at its [`sources`](Provider::sources) on the day that [`checked`](Provider::checked) names,
//! and what could not be found there is left out.
//!
//! ```
//! use ehlo::providers;
//!
//! let gmail = providers::by_host("SMTP.gmail.com").ok_or("unknown")?;
//! assert_eq!(gmail.name, "Gmail");
//! assert_eq!(providers::by_domain("googlemail.com"), Some(gmail));
//! assert_eq!(providers::near_host("smtp.gmial.com"), Some("smtp.gmail.com"));
//! # Ok::<(), &str>(())
//! ```

mod near;
mod provider;
mod replies;

use std::sync::OnceLock;

use serde::Deserialize;

pub use provider::{
    AppPassword, Encryption, Endpoint, Limit, LoginForm, Provider, Quantity, Region, SenderRule,
    UnknownEncryption, UsernameForm,
};
pub use replies::KnownReply;

use crate::proto::reply::Reply;

/// All providers, in the order of their ids.
pub fn all() -> &'static [Provider] {
    &book().providers
}

/// The provider with this id, such as `gmail`.
pub fn by_id(id: &str) -> Option<&'static Provider> {
    all().iter().find(|provider| provider.id == id)
}

/// The provider whose servers have this host name.
pub fn by_host(host: &str) -> Option<&'static Provider> {
    let host = plain(host);
    all().iter().find(|provider| provider.has_host(&host))
}

/// The provider that gives out addresses of this domain: `gmail.com` has one, the domain of a company
/// that has its mail there has none (see [`by_mx`]).
pub fn by_domain(domain: &str) -> Option<&'static Provider> {
    let domain = plain(domain);
    let has_domain = |known: &String| fits(known, &domain);
    all()
        .iter()
        .find(|provider| provider.domains.iter().any(has_domain))
}

/// The provider that takes a domain's mail at this host, the exchange of an MX record.
///
/// ```
/// let provider = ehlo::providers::by_mx("acme-com.mail.protection.outlook.com.");
/// assert_eq!(provider.map(|provider| provider.id.as_str()), Some("microsoft-365"));
/// ```
pub fn by_mx(exchange: &str) -> Option<&'static Provider> {
    let exchange = plain(exchange);
    let is_own = |name: &String| is_under(&exchange, name);
    all().iter().find(|provider| provider.mx.iter().any(is_own))
}

/// A known host that was most likely meant by one that is not known: it differs by a slip of the
/// keyboard (`smtp.gmial.com`), or names another service of the same provider (`imap.gmail.com`,
/// `gmail.com`).
pub fn near_host(host: &str) -> Option<&'static str> {
    near::host(&plain(host), all())
}

/// What a reply means that servers of many makes give in the same words.
pub fn explain(reply: &Reply) -> Option<&'static KnownReply> {
    replies::find(&book().replies, reply)
}

/// The data file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    #[serde(rename = "provider")]
    providers: Vec<Provider>,
    #[serde(rename = "reply")]
    replies: Vec<KnownReply>,
}

fn book() -> &'static Book {
    static BOOK: OnceLock<Book> = OnceLock::new();
    BOOK.get_or_init(|| {
        toml::from_str(include_str!("providers.toml"))
            .expect("the data file is part of the program, and the tests read it")
    })
}

/// As names are compared: without white space around, case, and the root's dot.
fn plain(name: &str) -> String {
    let name = name.trim();
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a name is this one or one below it.
fn is_under(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent)
        .is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// Whether a name fits a pattern, in which `*` stands for one or more characters of a label.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((front, back)) = pattern.split_once('*') else {
        return pattern == name;
    };
    name.strip_prefix(front)
        .and_then(|rest| rest.strip_suffix(back))
        .is_some_and(|label| !label.is_empty() && !label.contains('.'))
}
