//! The kinds of diagnosis: what an error comes down to for the person who has to act.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What an error comes down to.
///
/// Finer than [`Category`](crate::Category): each has its own cause, and its own advice. The names
/// are a contract: [`Self::as_str`] is what reports hold and providers' data refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A whole URL stands where a host name is due.
    HostIsUrl,
    /// A mail address stands where a host name is due.
    HostIsMailAddress,
    /// The host is neither a name nor an address.
    HostMalformed,
    /// No such name.
    HostNotFound,
    /// The name exists, and has no address.
    HostWithoutAddress,
    /// The look-up itself failed: nothing is known of the name.
    ResolverFailed,
    /// Nothing listens on the port.
    ConnectionRefused,
    /// There is no way to the address.
    Unreachable,
    /// No answer to the attempts to connect.
    ConnectTimedOut,
    /// No answer on port 25, which most networks close to their customers.
    PortBlocked,
    /// The host has no address that this program may connect to.
    AddressNotAllowed,
    /// The proxy gives no way to the server.
    ProxyFailed,
    /// The port wants TLS from the first octet.
    TlsExpected,
    /// The port begins in clear, and wants STARTTLS.
    StartTlsExpected,
    /// A connection, and then silence.
    NoGreeting,
    /// Another service answers there: HTTP, IMAP, POP3, SSH, FTP.
    NotSmtp,
    /// The server turns this client away in its greeting.
    ServiceDeclined,
    /// The server is shutting down, or has too much to do.
    ServerBusy,
    /// The server counts too many connections from here.
    TooManyConnections,
    /// The name that this client gives itself was refused.
    HelloRefused,
    /// TLS is required, and STARTTLS is not on offer.
    StartTlsNotOffered,
    /// A firewall on the way removes the offer of STARTTLS.
    StartTlsStripped,
    /// STARTTLS is on offer, and was refused.
    StartTlsRefused,
    /// The server goes on within TLS alone, and TLS was not asked for.
    StartTlsRequired,
    /// Clear text came where TLS was due: an attack, or a broken server.
    TextInjected,
    /// The certificate has expired.
    CertificateExpired,
    /// The certificate is not valid yet.
    CertificateNotYetValid,
    /// The certificate is for other names.
    CertificateWrongName,
    /// The certificate vouches for itself.
    CertificateSelfSigned,
    /// Nobody who is trusted here vouches for the certificate.
    CertificateUnknownIssuer,
    /// The server leaves out the certificates between its own and a trusted one.
    CertificateIncompleteChain,
    /// The certificate is not the pinned one.
    CertificatePinMismatch,
    /// The certificate is revoked, malformed or meant for something else.
    CertificateInvalid,
    /// Client and server have no version of TLS in common.
    TlsVersionMismatch,
    /// Client and server have no way to encrypt in common.
    TlsCipherMismatch,
    /// The server knows no such host name.
    TlsNameUnknown,
    /// The server wants to see a certificate of the client.
    ClientCertificateWanted,
    /// No answer to the start of TLS.
    TlsNoAnswer,
    /// TLS failed in another way.
    TlsFailed,
    /// Nobody can log in on this port.
    AuthNotOffered,
    /// One can log in within TLS alone, and the session is in clear.
    AuthNeedsTls,
    /// Client and server have no way to log in in common.
    NoCommonMechanism,
    /// The server takes OAuth tokens, and a password was given.
    OAuthRequired,
    /// The server wants a log-in, and no credentials were given.
    LoginRequired,
    /// User name or password are wrong.
    CredentialsRefused,
    /// The OAuth token was refused.
    TokenRefused,
    /// The account wants a password made for this program.
    AppPasswordRequired,
    /// The provider wants to see the account's owner in a browser first.
    BrowserLoginRequired,
    /// Logging in by SMTP is switched off for the account.
    LoginDisabled,
    /// The account is locked, suspended or closed.
    AccountLocked,
    /// The server cannot check the log-in for now.
    LoginUnavailable,
    /// The server refuses this way to log in.
    MechanismRefused,
    /// The account may not send as this address.
    SenderNotAllowed,
    /// SPF, DKIM or DMARC do not vouch for the sender.
    SenderUnauthenticated,
    /// The sender's address was refused.
    SenderRefused,
    /// The server takes no mail for other domains from this client.
    RelayDenied,
    /// The recipient's mailbox does not exist.
    MailboxUnknown,
    /// The recipient's mailbox is full.
    MailboxFull,
    /// The recipient's mailbox takes no mail.
    MailboxDisabled,
    /// The domain of an address does not exist, or takes no mail.
    DomainUnknown,
    /// The recipient was refused.
    RecipientRefused,
    /// The message has too many recipients.
    TooManyRecipients,
    /// A limit on how much may be sent is reached.
    SendingLimit,
    /// The server puts strangers off for some minutes.
    Greylisted,
    /// The IP address of this client is on a block list.
    AddressBlocked,
    /// The IP address of this client has no name that leads back to it.
    ReverseDnsMissing,
    /// The message is larger than the server takes.
    MessageTooLarge,
    /// The message looks like spam to the server.
    Spam,
    /// Something in the message is not taken: a file, a header, a link.
    ContentRefused,
    /// A rule of the server's owner forbids the message.
    PolicyRefused,
    /// The message was refused.
    MessageRefused,
    /// The server has no room left for now.
    ServerFull,
    /// The server refused for now.
    TemporarilyRefused,
    /// The connection ended before the dialogue was over.
    ConnectionLost,
    /// The server fell silent.
    ReplyTimedOut,
    /// The message was sent, and its reply never came.
    InDoubt,
    /// The server says what no SMTP server should say.
    ProtocolViolation,
    /// Something that was given cannot be used as it is.
    SettingsUnusable,
    /// More is not known than the error itself says.
    Unexplained,
}

impl Kind {
    /// Every kind, in the order of a dialogue.
    pub const ALL: [Self; 79] = [
        Self::HostIsUrl,
        Self::HostIsMailAddress,
        Self::HostMalformed,
        Self::HostNotFound,
        Self::HostWithoutAddress,
        Self::ResolverFailed,
        Self::ConnectionRefused,
        Self::Unreachable,
        Self::ConnectTimedOut,
        Self::PortBlocked,
        Self::AddressNotAllowed,
        Self::ProxyFailed,
        Self::TlsExpected,
        Self::StartTlsExpected,
        Self::NoGreeting,
        Self::NotSmtp,
        Self::ServiceDeclined,
        Self::ServerBusy,
        Self::TooManyConnections,
        Self::HelloRefused,
        Self::StartTlsNotOffered,
        Self::StartTlsStripped,
        Self::StartTlsRefused,
        Self::StartTlsRequired,
        Self::TextInjected,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::CertificateWrongName,
        Self::CertificateSelfSigned,
        Self::CertificateUnknownIssuer,
        Self::CertificateIncompleteChain,
        Self::CertificatePinMismatch,
        Self::CertificateInvalid,
        Self::TlsVersionMismatch,
        Self::TlsCipherMismatch,
        Self::TlsNameUnknown,
        Self::ClientCertificateWanted,
        Self::TlsNoAnswer,
        Self::TlsFailed,
        Self::AuthNotOffered,
        Self::AuthNeedsTls,
        Self::NoCommonMechanism,
        Self::OAuthRequired,
        Self::LoginRequired,
        Self::CredentialsRefused,
        Self::TokenRefused,
        Self::AppPasswordRequired,
        Self::BrowserLoginRequired,
        Self::LoginDisabled,
        Self::AccountLocked,
        Self::LoginUnavailable,
        Self::MechanismRefused,
        Self::SenderNotAllowed,
        Self::SenderUnauthenticated,
        Self::SenderRefused,
        Self::RelayDenied,
        Self::MailboxUnknown,
        Self::MailboxFull,
        Self::MailboxDisabled,
        Self::DomainUnknown,
        Self::RecipientRefused,
        Self::TooManyRecipients,
        Self::SendingLimit,
        Self::Greylisted,
        Self::AddressBlocked,
        Self::ReverseDnsMissing,
        Self::MessageTooLarge,
        Self::Spam,
        Self::ContentRefused,
        Self::PolicyRefused,
        Self::MessageRefused,
        Self::ServerFull,
        Self::TemporarilyRefused,
        Self::ConnectionLost,
        Self::ReplyTimedOut,
        Self::InDoubt,
        Self::ProtocolViolation,
        Self::SettingsUnusable,
        Self::Unexplained,
    ];

    /// The kind's name: lower case, words joined by hyphens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostIsUrl => "host-is-url",
            Self::HostIsMailAddress => "host-is-mail-address",
            Self::HostMalformed => "host-malformed",
            Self::HostNotFound => "host-not-found",
            Self::HostWithoutAddress => "host-without-address",
            Self::ResolverFailed => "resolver-failed",
            Self::ConnectionRefused => "connection-refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimedOut => "connect-timed-out",
            Self::PortBlocked => "port-25-blocked",
            Self::AddressNotAllowed => "address-not-allowed",
            Self::ProxyFailed => "proxy-failed",
            Self::TlsExpected => "tls-expected",
            Self::StartTlsExpected => "starttls-expected",
            Self::NoGreeting => "no-greeting",
            Self::NotSmtp => "not-smtp",
            Self::ServiceDeclined => "service-declined",
            Self::ServerBusy => "server-busy",
            Self::TooManyConnections => "too-many-connections",
            Self::HelloRefused => "hello-refused",
            Self::StartTlsNotOffered => "starttls-not-offered",
            Self::StartTlsStripped => "starttls-stripped",
            Self::StartTlsRefused => "starttls-refused",
            Self::StartTlsRequired => "starttls-required",
            Self::TextInjected => "text-injected",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificateWrongName => "certificate-wrong-name",
            Self::CertificateSelfSigned => "certificate-self-signed",
            Self::CertificateUnknownIssuer => "certificate-unknown-issuer",
            Self::CertificateIncompleteChain => "certificate-incomplete-chain",
            Self::CertificatePinMismatch => "certificate-pin-mismatch",
            Self::CertificateInvalid => "certificate-invalid",
            Self::TlsVersionMismatch => "tls-version-mismatch",
            Self::TlsCipherMismatch => "tls-cipher-mismatch",
            Self::TlsNameUnknown => "tls-name-unknown",
            Self::ClientCertificateWanted => "client-certificate-wanted",
            Self::TlsNoAnswer => "tls-no-answer",
            Self::TlsFailed => "tls-failed",
            Self::AuthNotOffered => "auth-not-offered",
            Self::AuthNeedsTls => "auth-needs-tls",
            Self::NoCommonMechanism => "no-common-mechanism",
            Self::OAuthRequired => "oauth-required",
            Self::LoginRequired => "login-required",
            Self::CredentialsRefused => "credentials-refused",
            Self::TokenRefused => "token-refused",
            Self::AppPasswordRequired => "app-password-required",
            Self::BrowserLoginRequired => "browser-login-required",
            Self::LoginDisabled => "login-disabled",
            Self::AccountLocked => "account-locked",
            Self::LoginUnavailable => "login-unavailable",
            Self::MechanismRefused => "mechanism-refused",
            Self::SenderNotAllowed => "sender-not-allowed",
            Self::SenderUnauthenticated => "sender-unauthenticated",
            Self::SenderRefused => "sender-refused",
            Self::RelayDenied => "relay-denied",
            Self::MailboxUnknown => "mailbox-unknown",
            Self::MailboxFull => "mailbox-full",
            Self::MailboxDisabled => "mailbox-disabled",
            Self::DomainUnknown => "domain-unknown",
            Self::RecipientRefused => "recipient-refused",
            Self::TooManyRecipients => "too-many-recipients",
            Self::SendingLimit => "sending-limit",
            Self::Greylisted => "greylisted",
            Self::AddressBlocked => "address-blocked",
            Self::ReverseDnsMissing => "reverse-dns-missing",
            Self::MessageTooLarge => "message-too-large",
            Self::Spam => "spam",
            Self::ContentRefused => "content-refused",
            Self::PolicyRefused => "policy-refused",
            Self::MessageRefused => "message-refused",
            Self::ServerFull => "server-full",
            Self::TemporarilyRefused => "temporarily-refused",
            Self::ConnectionLost => "connection-lost",
            Self::ReplyTimedOut => "reply-timed-out",
            Self::InDoubt => "in-doubt",
            Self::ProtocolViolation => "protocol-violation",
            Self::SettingsUnusable => "settings-unusable",
            Self::Unexplained => "unexplained",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| UnknownKind(name.to_owned()))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}

/// A text that names no [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no kind of diagnosis", self.0)
    }
}

impl std::error::Error for UnknownKind {}
