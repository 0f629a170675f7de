//! What can go wrong: for each kind of diagnosis a way to see it.

use ehlo::Security;
use ehlo::diagnosis::Kind;

use super::stage::With;

/// One way to see one kind.
pub(crate) struct Case {
    pub(crate) kind: Kind,
    /// The options of `ehlo sandbox`.
    pub(crate) sandbox: &'static [&'static str],
    pub(crate) with: &'static [With],
}

const fn fault(kind: Kind, sandbox: &'static [&'static str]) -> Case {
    Case {
        kind,
        sandbox,
        with: &[],
    }
}

const fn client(kind: Kind, with: &'static [With]) -> Case {
    Case {
        kind,
        sandbox: &[],
        with,
    }
}

const fn both(kind: Kind, sandbox: &'static [&'static str], with: &'static [With]) -> Case {
    Case {
        kind,
        sandbox,
        with,
    }
}

const CLEAR: &[With] = &[With::Encryption(Security::Plaintext), With::NoLogin];
const TLS: &[With] = &[With::Encryption(Security::Implicit)];

/// In the order of a dialogue.
#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    client(Kind::HostIsUrl, &[With::Host("https://mail.example.org/webmail")]),
    client(Kind::HostIsMailAddress, &[With::Host("alice@example.org")]),
    client(Kind::HostMalformed, &[With::Host("mail example.org")]),
    client(Kind::HostNotFound, &[With::Host("smtp.invalid")]),

    client(Kind::ConnectionRefused, &[With::ClosedPort]),
    client(Kind::AddressNotAllowed, &[With::PublicOnly]),
    client(Kind::ProxyFailed, &[With::ProxyThatIsNotThere]),

    fault(Kind::TlsExpected, &["--fault", "banner=tls"]),
    both(Kind::NoGreeting, &["--tls"], &[With::ShortGreeting]),
    both(Kind::NoGreeting, &["--fault", "stall@greeting"], &[With::ShortGreeting]),
    client(Kind::StartTlsExpected, TLS),
    fault(Kind::NotSmtp, &["--fault", "banner=http"]),
    fault(Kind::NotSmtp, &["--fault", "banner=imap"]),
    fault(Kind::NotSmtp, &["--fault", "banner=pop3"]),
    fault(Kind::NotSmtp, &["--fault", "banner=ssh"]),
    fault(Kind::NotSmtp, &["--fault", "banner=ftp", "--fault", "reply@ehlo=500 not understood"]),
    fault(Kind::NotSmtp, &["--fault", "garbage@greeting"]),
    both(Kind::NotSmtp, &["--fault", "banner=imap"], TLS),
    fault(Kind::ServiceDeclined, &["--fault", "reply@greeting=554 no mail from you"]),
    fault(Kind::AddressBlocked, &["--fault", "reply@greeting=554 192.0.2.1 is listed at Spamhaus"]),
    fault(Kind::ReverseDnsMissing, &["--fault", "reply@greeting=554 your address has no PTR record"]),
    fault(Kind::ServerBusy, &["--fault", "shutdown@greeting"]),
    fault(Kind::TooManyConnections, &["--fault", "reply@greeting=421 too many concurrent connections from your address"]),
    fault(Kind::ConnectionLost, &["--fault", "close@greeting"]),

    fault(Kind::HelloRefused, &["--fault", "reply@ehlo=550 a fully-qualified host name is wanted"]),

    fault(Kind::StartTlsNotOffered, &["--fault", "starttls-stripped"]),
    fault(Kind::StartTlsStripped, &["--fault", "starttls-masked"]),
    fault(Kind::StartTlsRefused, &["--fault", "reply@starttls=454 4.7.0 TLS not available due to a temporary reason"]),
    fault(Kind::StartTlsRefused, &["--fault", "reply@starttls=554 5.3.5 no certificate"]),
    both(Kind::StartTlsRequired, &["--fault", "reply@mail=530 5.7.0 Must issue a STARTTLS command first"], CLEAR),
    fault(Kind::TextInjected, &["--fault", "inject@starttls"]),

    fault(Kind::CertificateExpired, &["--fault", "certificate=expired"]),
    fault(Kind::CertificateNotYetValid, &["--fault", "certificate=not-yet-valid"]),
    fault(Kind::CertificateWrongName, &["--fault", "certificate=wrong-name"]),
    fault(Kind::CertificateSelfSigned, &["--fault", "certificate=self-signed"]),
    fault(Kind::CertificateUnknownIssuer, &["--fault", "certificate=unknown-issuer"]),
    fault(Kind::CertificateIncompleteChain, &["--fault", "certificate=incomplete-chain"]),
    client(Kind::CertificatePinMismatch, &[With::AnotherPin]),
    fault(Kind::TlsVersionMismatch, &["--fault", "tls=old"]),
    fault(Kind::TlsCipherMismatch, &["--fault", "tls=no-cipher"]),
    fault(Kind::TlsNameUnknown, &["--fault", "tls=unknown-name"]),
    fault(Kind::ClientCertificateWanted, &["--fault", "tls=client-certificate"]),
    both(Kind::ClientCertificateWanted, &["--tls", "--fault", "tls=client-certificate"], TLS),
    both(Kind::TlsNoAnswer, &["--fault", "stall@handshake"], &[With::ShortHandshake]),
    fault(Kind::TlsFailed, &["--fault", "tls=garbage"]),
    fault(Kind::TlsFailed, &["--fault", "close@handshake"]),
    both(Kind::TlsFailed, &["--tls", "--fault", "close@greeting"], TLS),

    fault(Kind::AuthNotOffered, &["--fault", "reply@ehlo#2=250 sandbox.example"]),
    client(Kind::AuthNeedsTls, &[With::Encryption(Security::Plaintext)]),
    fault(Kind::AuthNeedsTls, &["--fault", "reply@auth=538 5.7.11 encryption required"]),
    fault(Kind::NoCommonMechanism, &["--fault", "reply@ehlo#2=250 sandbox.example\\nAUTH NTLM GSSAPI"]),
    both(Kind::NoCommonMechanism, &[], &[With::Token]),
    fault(Kind::OAuthRequired, &["--auth", "XOAUTH2"]),
    fault(Kind::OAuthRequired, &["--fault", "reply@auth=535 5.7.139 Authentication unsuccessful, basic authentication is disabled"]),
    both(Kind::LoginRequired, &["--require-auth"], &[With::NoLogin]),
    fault(Kind::LoginRequired, &["--fault", "reply@mail=550 5.7.57 Client not authenticated to send mail"]),
    client(Kind::CredentialsRefused, &[With::Password("another")]),
    both(Kind::TokenRefused, &["--auth", "XOAUTH2"], &[With::Token]),
    // The password of the sandbox's account is a word of this reply, and would be masked in it.
    both(Kind::AppPasswordRequired, &["--fault", "reply@auth=534 5.7.9 Application-specific password required"], &[With::Password("another")]),
    fault(Kind::BrowserLoginRequired, &["--fault", "reply@auth=534 5.7.14 Please log in via your web browser"]),
    fault(Kind::LoginDisabled, &["--fault", "reply@auth=535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant"]),
    fault(Kind::AccountLocked, &["--fault", "reply@auth=535 5.7.13 the account is locked"]),
    fault(Kind::LoginUnavailable, &["--fault", "reply@auth=454 4.7.0 temporary authentication failure"]),
    fault(Kind::LoginUnavailable, &["--fault", "reply@auth=432 4.7.12 a password transition is needed"]),
    fault(Kind::MechanismRefused, &["--fault", "reply@auth=504 5.5.4 unrecognised authentication type"]),

    fault(Kind::SenderNotAllowed, &["--fault", "reply@mail=553 5.7.1 sender address rejected: not owned by user alice"]),
    fault(Kind::SenderNotAllowed, &["--fault", "reply@body=554 5.2.252 SendAsDenied; alice not allowed to send as bob"]),
    fault(Kind::SenderNotAllowed, &["--fault", "reply@body=550 5.7.60 Client does not have permissions to send as this sender"]),
    fault(Kind::SenderUnauthenticated, &["--fault", "reply@body=550 5.7.26 this mail is unauthenticated: SPF and DKIM did not pass"]),
    fault(Kind::SenderRefused, &["--fault", "reply@mail=550 5.1.7 not from here"]),
    fault(Kind::RelayDenied, &["--fault", "reply@rcpt=554 5.7.1 relay access denied"]),
    fault(Kind::MailboxUnknown, &["--fault", "reply@rcpt=550 5.1.1 no such user"]),
    fault(Kind::MailboxFull, &["--fault", "reply@rcpt=452 4.2.2 the mailbox is full"]),
    fault(Kind::MailboxFull, &["--fault", "reply@rcpt=552 5.2.2 the mailbox is full"]),
    fault(Kind::MailboxDisabled, &["--fault", "reply@rcpt=550 5.2.1 the mailbox is disabled"]),
    fault(Kind::DomainUnknown, &["--fault", "reply@rcpt=550 5.1.2 host unknown"]),
    fault(Kind::RecipientRefused, &["--fault", "reply@rcpt=550 5.1.3 no"]),
    fault(Kind::TooManyRecipients, &["--fault", "reply@rcpt=452 4.5.3 too many recipients"]),
    fault(Kind::SendingLimit, &["--fault", "reply@body=550 5.4.5 daily user sending limit exceeded"]),
    fault(Kind::SendingLimit, &["--fault", "reply@mail=454 4.7.0 throttling failure: maximum sending rate exceeded"]),
    fault(Kind::Greylisted, &["--fault", "reply@rcpt=451 4.7.1 greylisted, try again in 300 seconds"]),
    fault(Kind::AddressBlocked, &["--fault", "reply@rcpt=550 5.7.1 client host [192.0.2.1] blocked using zen.spamhaus.org"]),
    fault(Kind::ReverseDnsMissing, &["--fault", "reply@rcpt=450 4.7.25 client host rejected: cannot find your reverse hostname"]),
    both(Kind::MessageTooLarge, &["--fault", "reply@ehlo#2=250 sandbox.example\\nSIZE 1000\\nAUTH PLAIN"], &[With::Size(10_000)]),
    fault(Kind::MessageTooLarge, &["--fault", "reply@body=552 5.3.4 the message is too big"]),
    fault(Kind::Spam, &["--fault", "reply@body=554 5.7.1 the message looks like spam"]),
    fault(Kind::ContentRefused, &["--fault", "reply@body=552 5.7.0 its content presents a potential security issue"]),
    fault(Kind::ContentRefused, &["--fault", "reply@body=550 5.7.1 the attachment has a virus"]),
    fault(Kind::PolicyRefused, &["--fault", "reply@body=550 5.7.1 refused by local policy"]),
    fault(Kind::MessageRefused, &["--fault", "reply@body=554 5.0.0 no"]),
    fault(Kind::ServerFull, &["--fault", "reply@mail=452 4.3.1 insufficient system storage"]),
    fault(Kind::ServerBusy, &["--fault", "shutdown@mail"]),
    fault(Kind::TemporarilyRefused, &["--fault", "reply@rcpt=451 4.3.0 try later"]),
    client(Kind::SettingsUnusable, &[With::Recipient("bö@example.net")]),

    fault(Kind::ConnectionLost, &["--fault", "close@auth"]),
    both(Kind::ConnectionLost, &["--fault", "reset@rcpt"], &[With::OneByOne]),
    both(Kind::ReplyTimedOut, &["--fault", "stall@rcpt"], &[With::ShortRcpt, With::OneByOne]),
    both(Kind::ProtocolViolation, &["--fault", "garbage@rcpt"], &[With::OneByOne]),
    fault(Kind::InDoubt, &["--fault", "close@body"]),
    fault(Kind::InDoubt, &["--fault", "garbage@body"]),
];

/// Kinds that no sandbox can show, and why. The unit tests of the crate have their texts.
pub(crate) const ELSEWHERE: &[(Kind, &str)] = &[
    (Kind::HostWithoutAddress, "a name service has to say so"),
    (Kind::ResolverFailed, "a name service has to fail"),
    (Kind::Unreachable, "a network has to be unreachable"),
    (Kind::ConnectTimedOut, "a firewall has to swallow packets"),
    (
        Kind::PortBlocked,
        "a firewall has to swallow packets to port 25",
    ),
    (
        Kind::CertificateInvalid,
        "certificates are revoked elsewhere; the tests of TLS have an authority's own",
    ),
    (Kind::Unexplained, "it is for what nobody has thought of"),
];
