//! What there is to say about a field.

use std::fmt;

use serde::Serialize;

/// A field of a settings form. Closed: a form has these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The address that mail comes from.
    SenderEmail,
    /// The name beside it.
    FromName,
    /// The server.
    Host,
    /// Its port.
    Port,
    /// STARTTLS, TLS or none.
    Encryption,
    /// Who logs in.
    Username,
    /// With what.
    Password,
    /// Whether the certificate is checked.
    ValidateCertificate,
    /// The one certificate to accept.
    #[serde(rename = "certificate_sha256")]
    CertificateSha256,
}

impl Field {
    /// All of them, in the order of a form.
    pub const ALL: [Self; 9] = [
        Self::SenderEmail,
        Self::FromName,
        Self::Host,
        Self::Port,
        Self::Encryption,
        Self::Username,
        Self::Password,
        Self::ValidateCertificate,
        Self::CertificateSha256,
    ];

    /// Its name in files, which does not change: `sender_email`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SenderEmail => "sender_email",
            Self::FromName => "from_name",
            Self::Host => "host",
            Self::Port => "port",
            Self::Encryption => "encryption",
            Self::Username => "username",
            Self::Password => "password",
            Self::ValidateCertificate => "validate_certificate",
            Self::CertificateSha256 => "certificate_sha256",
        }
    }

    /// The field of this name, whatever its case and separators: `sender_email`, `senderEmail`,
    /// `Sender e-mail`.
    pub fn named(name: &str) -> Option<Self> {
        let letters = |text: &str| -> String {
            let letters = text.chars().filter(|c| c.is_alphanumeric());
            letters.flat_map(char::to_lowercase).collect()
        };
        let name = letters(name);
        Self::ALL
            .into_iter()
            .find(|field| letters(field.as_str()) == name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a field, or likely not meant.
///
/// The field and the kind are for programs, and do not change; the message is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Remark {
    /// The field to change.
    pub field: Field,
    /// Of what kind it is.
    pub kind: RemarkKind,
    /// What is wrong, why, and what to write instead: a sentence or two. No secret is in it.
    pub message: String,
    /// What to write instead, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
}

impl Remark {
    pub(super) fn new(field: Field, kind: RemarkKind, message: impl Into<String>) -> Self {
        Self {
            field,
            kind,
            message: message.into(),
            instead: None,
        }
    }

    pub(super) fn instead(mut self, text: impl Into<String>) -> Self {
        self.instead = Some(text.into());
        self
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// The kinds of remarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RemarkKind {
    /// Nothing is there, and something has to be.
    Missing,
    /// It is not of the form that the field has.
    Malformed,
    /// It has more than belongs into the field: a scheme, a port, a name.
    Surplus,
    /// It is none of the values that there are.
    UnknownValue,
    /// It contradicts another field.
    Contradiction,
    /// The password would travel in clear.
    InClear,
    /// The certificate is not checked.
    ValidationOff,
    /// It is without effect.
    Unused,
    /// A known host of nearly the same name was most likely meant.
    NearHost,
    /// The port and the encryption do not go together.
    PortEncryption,
    /// The port, or the encryption there, is not among those that are known of the provider.
    ProviderEndpoint,
    /// The provider takes user names of another form.
    UsernameForm,
    /// The provider wants a password of another kind.
    PasswordForm,
    /// The sender is not the account that logs in.
    SenderDiffers,
    /// The sender's domain has servers of its own.
    SenderDomain,
    /// There is white space around it that may not be meant.
    WhiteSpace,
}

impl RemarkKind {
    /// Its name for programs, which does not change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Surplus => "surplus",
            Self::UnknownValue => "unknown-value",
            Self::Contradiction => "contradiction",
            Self::InClear => "in-clear",
            Self::ValidationOff => "validation-off",
            Self::Unused => "unused",
            Self::NearHost => "near-host",
            Self::PortEncryption => "port-encryption",
            Self::ProviderEndpoint => "provider-endpoint",
            Self::UsernameForm => "username-form",
            Self::PasswordForm => "password-form",
            Self::SenderDiffers => "sender-differs",
            Self::SenderDomain => "sender-domain",
            Self::WhiteSpace => "white-space",
        }
    }
}

impl fmt::Display for RemarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All that is wrong with settings: at least one remark, in the order of the form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Remark>);

impl Problems {
    pub(super) fn new(mut remarks: Vec<Remark>) -> Self {
        remarks.sort_by_key(|remark| remark.field);
        Self(remarks)
    }

    /// One by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Remark> {
        self.0.iter()
    }

    /// Those of one field, to be shown beside it.
    pub fn of_field(&self, field: Field) -> impl Iterator<Item = &Remark> {
        self.0.iter().filter(move |remark| remark.field == field)
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Remark;
    type IntoIter = std::slice::Iter<'a, Remark>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, remark) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{remark}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
