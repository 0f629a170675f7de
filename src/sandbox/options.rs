//! How a sandbox is set up.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
#[cfg(unix)]
use std::path::PathBuf;
use std::time::Duration;

use super::answer::Answer;
use super::fault::{Act, Fault, Quirk, Step};
use super::login::Mechanism;
use super::tls_fault::{CertificateFault, TlsFault};
use crate::proto::Protocol;

/// What a sandbox offers and demands, where it listens, and what it does wrong.
///
/// The default is a server that any client should get along with: on a free port of 127.0.0.1, with
/// STARTTLS on offer, AUTH PLAIN and LOGIN on offer inside TLS and not required, one account (`alice`
/// with `password`, and with `access-token` where tokens are taken), every [`Extension`] but
/// BINARYMIME, SMTPUTF8 and LIMITS, every sender and recipient accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where to listen. Port 0, the default, is a free port.
    pub listen: SocketAddr,
    /// A Unix socket to be made and listened on too; it is removed with the sandbox. By default none.
    #[cfg(unix)]
    pub unix_socket: Option<PathBuf>,
    /// The server's name for itself, in the greeting and in the reply to EHLO.
    pub hostname: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// How TLS is reached.
    pub tls: TlsMode,
    /// The certificate that is made when the sandbox starts.
    pub certificate: CertificateOptions,
    /// The versions of TLS that it speaks.
    pub tls_versions: TlsVersions,
    /// Whether clients may or must log in.
    pub auth: Auth,
    /// Whether they may do so outside TLS. By default not, as RFC 4954 §4 wants it.
    pub clear_auth: ClearAuth,
    /// The SASL mechanisms on offer, in this order. By default PLAIN and LOGIN.
    pub mechanisms: Vec<Mechanism>,
    /// Who may log in by a password.
    pub accounts: Vec<Account>,
    /// Who may log in by OAUTHBEARER or XOAUTH2, with access tokens for passwords.
    pub tokens: Vec<Account>,
    /// What EHLO lists, besides STARTTLS and AUTH, in this order.
    pub extensions: Vec<Extension>,
    /// The largest message in octets, as RFC 1870 counts them; 0 is no limit. By default 64 MiB.
    /// Checked where [`Extension::Size`] is on offer.
    pub size_limit: u64,
    /// How many recipients a message may have before RCPT gets 452. By default there is no limit.
    /// Told beforehand where [`Extension::Limits`] is on offer.
    pub recipient_limit: Option<usize>,
    /// How many domains the recipients of a connection may have before RCPT gets 452. By default
    /// there is no limit. Told beforehand where [`Extension::Limits`] is on offer.
    pub domain_limit: Option<usize>,
    /// How many MAIL commands a connection may have before it gets 421 and ends. By default there is
    /// no limit. Told beforehand where [`Extension::Limits`] is on offer.
    pub message_limit: Option<usize>,
    /// The longest time in seconds for which FUTURERELEASE is on offer. By default 30 days. Nothing
    /// is held: what is accepted is there at once.
    pub longest_hold: u32,
    /// The longest command line in octets, CRLF included; a longer one gets 421. By default 2,048:
    /// RFC 5321 §4.5.3.1.4 says 512, and extensions add to it. A line of an AUTH exchange may
    /// always have 12,290 (RFC 4954 §4).
    pub line_limit: usize,
    /// Whether received messages are kept whole, or counted.
    pub contents: Contents,
    /// What ends a line of a message sent with DATA. By default CRLF alone.
    pub line_ends: LineEnds,
    /// What to do wrong, and whom to refuse.
    pub faults: Vec<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            #[cfg(unix)]
            unix_socket: None,
            hostname: "sandbox.example".into(),
            protocol: Protocol::Smtp,
            tls: TlsMode::StartTls,
            certificate: CertificateOptions::default(),
            tls_versions: TlsVersions::default(),
            auth: Auth::Optional,
            clear_auth: ClearAuth::Refused,
            mechanisms: vec![Mechanism::Plain, Mechanism::Login],
            accounts: vec![Account::new("alice", "password")],
            tokens: vec![Account::new("alice", "access-token")],
            extensions: vec![
                Extension::Pipelining,
                Extension::Size,
                Extension::EightBitMime,
                Extension::EnhancedStatusCodes,
                Extension::Chunking,
                Extension::Dsn,
                Extension::DeliverBy,
                Extension::FutureRelease,
                Extension::MtPriority,
                Extension::RequireTls,
            ],
            size_limit: 64 << 20,
            recipient_limit: None,
            domain_limit: None,
            message_limit: None,
            longest_hold: 30 * 24 * 60 * 60,
            line_limit: 2_048,
            contents: Contents::Keep,
            line_ends: LineEnds::CrLf,
            faults: Vec::new(),
        }
    }
}

impl Options {
    /// Listening there.
    pub fn with_listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// Listening on a Unix socket too, which must not be there yet.
    #[cfg(unix)]
    pub fn with_unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix_socket = Some(path.into());
        self
    }

    /// With this name for itself.
    pub fn with_hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = hostname.into();
        self
    }

    /// Speaking this protocol.
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// With TLS reached in this way.
    pub fn with_tls(mut self, tls: TlsMode) -> Self {
        self.tls = tls;
        self
    }

    /// With a certificate like this.
    pub fn with_certificate(mut self, certificate: CertificateOptions) -> Self {
        self.certificate = certificate;
        self
    }

    /// With these versions of TLS.
    pub fn with_tls_versions(mut self, versions: TlsVersions) -> Self {
        self.tls_versions = versions;
        self
    }

    /// With AUTH off, optional or required.
    pub fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// With AUTH outside TLS allowed or not.
    pub fn with_clear_auth(mut self, clear_auth: ClearAuth) -> Self {
        self.clear_auth = clear_auth;
        self
    }

    /// With one more account.
    pub fn with_account(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.accounts.push(Account::new(name, password));
        self
    }

    /// With one more access token, for OAUTHBEARER and XOAUTH2.
    pub fn with_token(mut self, name: impl Into<String>, token: impl Into<String>) -> Self {
        self.tokens.push(Account::new(name, token));
        self
    }

    /// With these SASL mechanisms on offer, and no others.
    pub fn with_mechanisms(mut self, mechanisms: impl IntoIterator<Item = Mechanism>) -> Self {
        self.mechanisms = mechanisms.into_iter().collect();
        self
    }

    /// With this extension on offer.
    pub fn with_extension(mut self, extension: Extension) -> Self {
        if !self.extensions.contains(&extension) {
            self.extensions.push(extension);
        }
        self
    }

    /// Without this extension.
    pub fn without_extension(mut self, extension: Extension) -> Self {
        self.extensions.retain(|offered| *offered != extension);
        self
    }

    /// With this limit, in octets, on offer by SIZE; 0 is no limit.
    pub fn with_size_limit(mut self, octets: u64) -> Self {
        self.size_limit = octets;
        self.with_extension(Extension::Size)
    }

    /// With so many recipients a message at most.
    pub fn with_recipient_limit(mut self, recipients: usize) -> Self {
        self.recipient_limit = Some(recipients);
        self
    }

    /// With recipients of so many domains a connection at most.
    pub fn with_domain_limit(mut self, domains: usize) -> Self {
        self.domain_limit = Some(domains);
        self
    }

    /// With so many MAIL commands a connection at most.
    pub fn with_message_limit(mut self, messages: usize) -> Self {
        self.message_limit = Some(messages);
        self
    }

    /// With messages held for so many seconds at most.
    pub fn with_longest_hold(mut self, seconds: u32) -> Self {
        self.longest_hold = seconds;
        self
    }

    /// With command lines of so many octets at most, CRLF included.
    pub fn with_line_limit(mut self, octets: usize) -> Self {
        self.line_limit = octets;
        self
    }

    /// With messages kept, or counted.
    pub fn with_contents(mut self, contents: Contents) -> Self {
        self.contents = contents;
        self
    }

    /// With lines of a message ended by these.
    pub fn with_line_ends(mut self, line_ends: LineEnds) -> Self {
        self.line_ends = line_ends;
        self
    }

    /// With one more fault.
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// With a certificate that is not as it should be.
    pub fn with_certificate_fault(self, fault: CertificateFault) -> Self {
        self.with_fault(Fault::certificate(fault))
    }

    /// With TLS that is not as a client would like it.
    pub fn with_tls_fault(self, fault: TlsFault) -> Self {
        self.with_fault(Fault::tls(fault))
    }

    /// With a peculiarity of the whole server.
    pub fn with_quirk(self, quirk: Quirk) -> Self {
        self.with_fault(Fault::quirk(quirk))
    }

    /// With this reply to this recipient.
    pub fn with_refused_recipient(self, address: impl Into<String>, answer: Answer) -> Self {
        self.with_fault(Fault::for_address(Step::Rcpt, address, Act::Reply(answer)))
    }

    /// With this reply at each time that the step is reached.
    pub fn with_answer(self, step: Step, answer: Answer) -> Self {
        self.with_fault(Fault::at(step, Act::Reply(answer)))
    }

    /// With this reply for this recipient behind the message, where LMTP is spoken.
    pub fn with_undelivered_recipient(self, address: impl Into<String>, answer: Answer) -> Self {
        self.with_fault(Fault::for_address(Step::Body, address, Act::Reply(answer)))
    }

    /// With a pause before each reply at this step.
    pub fn with_delay(self, step: Step, delay: Duration) -> Self {
        self.with_fault(Fault::at(step, Act::Delay(delay)))
    }

    pub(super) fn offers(&self, extension: Extension) -> bool {
        self.extensions.contains(&extension)
    }
}

/// How TLS is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsMode {
    /// Not at all.
    None,
    /// By STARTTLS, if the client wants to.
    StartTls,
    /// By STARTTLS, without which most commands get 530 (RFC 3207 §4).
    StartTlsRequired,
    /// From the first octet (RFC 8314 §3.3).
    Implicit,
}

/// Whether clients may or must log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Auth {
    /// AUTH is not on offer.
    Off,
    /// AUTH is on offer, mail is accepted without it too.
    Optional,
    /// MAIL without AUTH gets 530.
    Required,
}

/// Whether clients may log in outside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClearAuth {
    /// AUTH is not on offer outside TLS, and gets 538.
    Refused,
    /// AUTH is on offer always.
    Allowed,
}

/// A name and a password that the sandbox knows. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    password: String,
}

impl Account {
    /// An account with this name and password.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
        }
    }

    /// The name to log in with.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    pub(super) fn is(&self, name: &[u8], password: &[u8]) -> bool {
        self.name.as_bytes() == name && self.password.as_bytes() == password
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The extensions that can be switched on and off, besides STARTTLS and AUTH, which follow from
/// [`TlsMode`] and [`Auth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Extension {
    /// PIPELINING (RFC 2920).
    Pipelining,
    /// SIZE (RFC 1870), with the limit of the options.
    Size,
    /// 8BITMIME (RFC 6152).
    EightBitMime,
    /// ENHANCEDSTATUSCODES (RFC 2034): without it the server's own replies carry none.
    EnhancedStatusCodes,
    /// CHUNKING (RFC 3030).
    Chunking,
    /// BINARYMIME (RFC 3030 §3), for BDAT alone.
    BinaryMime,
    /// SMTPUTF8 (RFC 6531).
    SmtpUtf8,
    /// DSN (RFC 3461). No report is ever sent.
    Dsn,
    /// DELIVERBY (RFC 2852).
    DeliverBy,
    /// FUTURERELEASE (RFC 4865), with the limit of the options.
    FutureRelease,
    /// MT-PRIORITY (RFC 6710).
    MtPriority,
    /// REQUIRETLS (RFC 8689): listed and taken inside TLS alone.
    RequireTls,
    /// LIMITS (RFC 9422), with those of the options.
    Limits,
}

impl Extension {
    /// The EHLO keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Pipelining => "PIPELINING",
            Self::Size => "SIZE",
            Self::EightBitMime => "8BITMIME",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::Chunking => "CHUNKING",
            Self::BinaryMime => "BINARYMIME",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::Dsn => "DSN",
            Self::DeliverBy => "DELIVERBY",
            Self::FutureRelease => "FUTURERELEASE",
            Self::MtPriority => "MT-PRIORITY",
            Self::RequireTls => "REQUIRETLS",
            Self::Limits => "LIMITS",
        }
    }
}

/// Whether received messages are kept whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Contents {
    /// Every octet, in memory, for as long as the sandbox runs.
    Keep,
    /// None: a message has its size and an empty content.
    Discard,
}

/// What ends a line of a message sent with DATA: where a message may end, and where dots are undone.
/// All but the first are the servers that mail can be smuggled past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LineEnds {
    /// CRLF, and nothing else (RFC 5321 §2.3.8).
    CrLf,
    /// CRLF, and LF alone.
    OrLf,
    /// CRLF, and CR alone.
    OrCr,
}

/// The versions of TLS that the server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersions {
    /// 1.2 and 1.3, as the client likes.
    #[default]
    All,
    /// 1.2 alone.
    Tls12,
}

/// The certificate that is made when a sandbox starts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateOptions {
    /// Names and addresses that it is good for. By default `localhost`, `127.0.0.1` and `::1`.
    pub names: Vec<String>,
    /// When it is valid. By default now.
    pub validity: Validity,
}

impl Default for CertificateOptions {
    fn default() -> Self {
        Self {
            names: ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec(),
            validity: Validity::Current,
        }
    }
}

impl CertificateOptions {
    /// Good for these names and addresses alone.
    pub fn with_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Valid at this time.
    pub fn with_validity(mut self, validity: Validity) -> Self {
        self.validity = validity;
        self
    }
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Validity {
    /// Now, and for long.
    Current,
    /// In January 2020.
    Expired,
    /// From the year 3000 on.
    NotYet,
}
