//! The fields of a settings form, and a client's configuration made of them.
//!
//! [`Settings`] holds what somebody typed, as it was typed; [`Settings::account`] says all that is
//! wrong with it at once, or gives the [`Account`] that a client connects with. What works but is
//! likely not meant is a warning on the account.
//!
//! ```
//! use ehlo::settings::{Field, Settings};
//!
//! let settings = Settings::from_toml(r#"
//!     sender_email = "jo@example.org"
//!     from_name = "Jo Doe"
//!     host = "mail.example.org"
//!     port = 587
//!     encryption = "STARTTLS"
//!     username = "jo@example.org"
//!     password = "secret"
//! "#)?;
//! let account = settings.account()?;
//! assert_eq!(account.client_config().port, 587);
//! assert!(!format!("{settings:?}").contains("secret"));
//!
//! let mut wrong = settings.clone();
//! wrong.host = "https://mail.example.org".into();
//! wrong.port = "smtp".into();
//! let problems = wrong.account().unwrap_err();
//! let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
//! assert_eq!(fields, [Field::Host, Field::Port]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where settings come from
//!
//! The same fields are read from TOML, JSON (or whatever else serde reads), a URL and environment
//! variables:
//!
//! | field | TOML and JSON | variable | URL |
//! | --- | --- | --- | --- |
//! | sender's address | `sender_email` | `EHLO_SMTP_SENDER_EMAIL` | `?sender_email=` |
//! | sender's name | `from_name` | `EHLO_SMTP_FROM_NAME` | `?from_name=` |
//! | host | `host` | `EHLO_SMTP_HOST` | the host |
//! | port | `port` | `EHLO_SMTP_PORT` | the port |
//! | encryption | `encryption` | `EHLO_SMTP_ENCRYPTION` | `smtp:` is STARTTLS, `smtps:` TLS; `?encryption=none` |
//! | user name | `username` | `EHLO_SMTP_USERNAME` | the user, `%`-encoded |
//! | password | `password` | `EHLO_SMTP_PASSWORD` | the password, `%`-encoded |
//! | whether the certificate is checked | `validate_certificate` | `EHLO_SMTP_VALIDATE_CERTIFICATE` | `?validate_certificate=` |
//! | the one certificate to accept | `certificate_sha256` | `EHLO_SMTP_CERTIFICATE_SHA256` | `?certificate_sha256=` |
//!
//! Names may be written as `senderEmail`, `sender-email` or `Sender email` too. A value may be text, a
//! whole number, a boolean or null, and user name and password text only; white space around it does not
//! count, but in a password. A name that is not in the table is an error. For variables the prefix is
//! the caller's choice.
//!
//! # Where customers type the host
//!
//! A host that somebody else chooses may name a machine of your own network. Connect, check and
//! search with [`AddressPolicy::PublicOnly`](crate::net::AddressPolicy::PublicOnly):
//!
//! ```no_run
//! use ehlo::Client;
//! use ehlo::net::AddressPolicy;
//! # async fn example(account: ehlo::settings::Account) -> Result<(), ehlo::Error> {
//! let config = account.client_config().with_address_policy(AddressPolicy::PublicOnly);
//! let client = Client::connect(config).await?;
//! # Ok(())
//! # }
//! ```

mod account;
mod advice;
pub(crate) mod judge;
mod password;
mod read;
mod remark;
mod url;

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub use account::Account;
pub use password::Password;
pub use read::ReadError;
pub use remark::{Field, Problems, Remark, RemarkKind};

use crate::net::resolve;
use crate::proto::config::PlaintextAuth;
use crate::providers::Encryption;

/// What somebody typed into a settings form.
///
/// Every field is text, as it was typed: empty where it was left empty, and wrong as it may be. See the
/// [module](self) for how it is read, and [`account`](Self::account) for what is made of it. It
/// serialises without its password (see [`revealed`](Self::revealed)), and `Debug` masks it.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The address that mail comes from.
    pub sender_email: String,
    /// The name beside it; may be empty.
    pub from_name: String,
    /// The server's name or address.
    pub host: String,
    /// Its port; empty for the one that goes with the encryption.
    pub port: String,
    /// STARTTLS, TLS or none; empty for the one that goes with the port (465 is TLS, all else is
    /// STARTTLS).
    pub encryption: String,
    /// Who logs in; empty for nobody.
    pub username: String,
    /// With what.
    pub password: Password,
    /// Whether the server's certificate is checked: `true` or `false`, in the many words for them.
    /// Empty is `true`.
    pub validate_certificate: String,
    /// The SHA-256 of the one certificate to accept, in hexadecimal digits; may be empty.
    pub certificate_sha256: String,
    /// Whether the password may travel in clear where the encryption is none. It is in no form and is
    /// read from nowhere: whoever runs the program decides.
    pub plaintext_auth: PlaintextAuth,
}

impl Settings {
    /// Settings with these two, and nothing else.
    pub fn new(sender_email: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            sender_email: sender_email.into(),
            host: host.into(),
            ..Self::default()
        }
    }

    /// With a name beside the sender's address.
    #[must_use]
    pub fn with_from_name(mut self, name: impl Into<String>) -> Self {
        self.from_name = name.into();
        self
    }

    /// With a port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port.to_string();
        self
    }

    /// With an encryption.
    #[must_use]
    pub fn with_encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption.as_str().to_owned();
        self
    }

    /// With somebody who logs in.
    #[must_use]
    pub fn with_login(
        mut self,
        username: impl Into<String>,
        password: impl Into<Password>,
    ) -> Self {
        self.username = username.into();
        self.password = password.into();
        self
    }

    /// Without a look at the server's certificate: anybody between here and there can then read and
    /// change everything. [`with_certificate_sha256`](Self::with_certificate_sha256) is the better way.
    #[must_use]
    pub fn without_certificate_validation(mut self) -> Self {
        self.validate_certificate = false.to_string();
        self
    }

    /// With the one certificate to accept, by its SHA-256 in hexadecimal digits.
    #[must_use]
    pub fn with_certificate_sha256(mut self, fingerprint: impl Into<String>) -> Self {
        self.certificate_sha256 = fingerprint.into();
        self
    }

    /// With another rule for passwords in clear.
    #[must_use]
    pub fn with_plaintext_auth(mut self, plaintext_auth: PlaintextAuth) -> Self {
        self.plaintext_auth = plaintext_auth;
        self
    }

    /// What a client connects with.
    ///
    /// # Errors
    /// All that is wrong, each remark with the field that it is about.
    pub fn account(&self) -> Result<Account, Problems> {
        judge::account(self)
    }

    /// The same settings, to be serialised with their password.
    ///
    /// ```
    /// use ehlo::settings::Settings;
    ///
    /// let settings = Settings::new("jo@example.org", "mail.example.org").with_login("jo", "secret");
    /// assert!(!serde_json::to_string(&settings)?.contains("secret"));
    /// assert!(serde_json::to_string(&settings.revealed())?.contains("secret"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn revealed(&self) -> Revealed<'_> {
        Revealed(self)
    }

    /// The text of a field; `None` for the password.
    pub fn text(&self, field: Field) -> Option<&str> {
        match field {
            Field::SenderEmail => Some(&self.sender_email),
            Field::FromName => Some(&self.from_name),
            Field::Host => Some(&self.host),
            Field::Port => Some(&self.port),
            Field::Encryption => Some(&self.encryption),
            Field::Username => Some(&self.username),
            Field::Password => None,
            Field::ValidateCertificate => Some(&self.validate_certificate),
            Field::CertificateSha256 => Some(&self.certificate_sha256),
        }
    }

    fn set(&mut self, field: Field, text: String) {
        match field {
            Field::SenderEmail => self.sender_email = text,
            Field::FromName => self.from_name = text,
            Field::Host => self.host = text,
            Field::Port => self.port = text,
            Field::Encryption => self.encryption = text,
            Field::Username => self.username = text,
            Field::Password => self.password = Password::new(text),
            Field::ValidateCertificate => self.validate_certificate = text,
            Field::CertificateSha256 => self.certificate_sha256 = text,
        }
    }

    /// The fields that are not empty; ports and booleans as such, so that others can read them.
    fn serialize_with<S: Serializer>(
        &self,
        serializer: S,
        password: Option<&Password>,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in Field::ALL {
            let secret = password.map(Password::expose);
            let text = self.text(field).or(secret).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            let (port, truth) = (text.parse::<u16>(), text.parse::<bool>());
            match (field, port, truth) {
                (Field::Port, Ok(port), _) => map.serialize_entry(field.as_str(), &port)?,
                (Field::ValidateCertificate, _, Ok(truth)) => {
                    map.serialize_entry(field.as_str(), &truth)?;
                }
                (_, _, _) => map.serialize_entry(field.as_str(), text)?,
            }
        }
        map.end()
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize_with(serializer, None)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("sender_email", &self.sender_email)
            .field("from_name", &self.from_name)
            .field("host", &resolve::shown(&self.host))
            .field("port", &self.port)
            .field("encryption", &self.encryption)
            .field("username", &self.username)
            .field("password", &self.password)
            .field("validate_certificate", &self.validate_certificate)
            .field("certificate_sha256", &self.certificate_sha256)
            .field("plaintext_auth", &self.plaintext_auth)
            .finish()
    }
}

/// Settings that serialise with their password. See [`Settings::revealed`].
#[derive(Clone, Copy, Debug)]
pub struct Revealed<'a>(&'a Settings);

impl Serialize for Revealed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_with(serializer, Some(&self.0.password))
    }
}
