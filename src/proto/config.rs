//! What a connection may do and must insist on.

use std::fmt;
use std::net::IpAddr;

use super::address::Domain;
use super::sasl::{Credentials, MechanismName};
use super::timer::Timeouts;

/// The policy of one connection.
///
/// ```
/// use ehlo::proto::Config;
/// use ehlo::{Credentials, Security};
///
/// let config = Config::new(Security::StartTls)
///     .with_credentials(Credentials::password("alice", "secret")?);
/// # Ok::<(), ehlo::CredentialsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// When and whether TLS starts. No default: there is no harmless one.
    pub security: Security,
    /// The name given in EHLO. Default `None`: the address literal of the local end
    /// (RFC 5321 §4.1.3), which every server must take.
    pub hello: Option<Domain>,
    /// Who logs in. Default: nobody.
    pub login: Login,
    /// The SASL mechanisms that may be used, the preferred first. Default: all that the engine
    /// knows, the strongest first. Where the server refuses one as such (504, 534) the next is tried,
    /// unless the refusal may be one of the secret: no server gets to judge that twice.
    pub mechanisms: Vec<MechanismName>,
    /// Whether a password may be shown without TLS. Default: never (RFC 8314, RFC 4954 §4). A token
    /// never is.
    pub plaintext_auth: PlaintextAuth,
    /// When a SASL initial response travels with AUTH. Default: where the mechanism defines one.
    pub initial_response: InitialResponse,
    /// Whether commands are sent in groups where the server offers PIPELINING. Default: yes.
    pub pipelining: Pipelining,
    /// Whether messages go by BDAT where the server offers CHUNKING. Default: yes.
    pub chunking: Chunking,
    /// SMTP or LMTP. Default: SMTP.
    pub protocol: Protocol,
    /// Whether a transaction may begin behind an unanswered end of message. Default: yes. A session
    /// that finds a server unable to do so says so in its facts; give that back here next time.
    pub behind_message: BehindMessage,
    /// The use of SMTPUTF8. Default: where something needs it.
    pub smtputf8: SmtpUtf8,
    /// Parameters of MAIL and RCPT whose extension the server does not list. Default: left out or
    /// refused, by each parameter's [`Weight`](crate::Weight).
    pub unadvertised: Unadvertised,
    /// Whether each recipient's answer is an event of its own. Default: yes.
    pub recipient_events: RecipientEvents,
    /// How long to wait for the peer at each step. Default: RFC 5321 §4.5.3.2.
    pub timeouts: Timeouts,
    /// What a peer may make the engine keep in memory, and compute.
    pub limits: Limits,
}

impl Config {
    /// The defaults, with this security.
    pub fn new(security: Security) -> Self {
        Self {
            security,
            hello: None,
            login: Login::Nobody,
            mechanisms: MechanismName::by_strength(),
            plaintext_auth: PlaintextAuth::default(),
            initial_response: InitialResponse::default(),
            pipelining: Pipelining::default(),
            chunking: Chunking::default(),
            protocol: Protocol::default(),
            behind_message: BehindMessage::default(),
            smtputf8: SmtpUtf8::default(),
            unadvertised: Unadvertised::default(),
            recipient_events: RecipientEvents::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
        }
    }

    /// With a name for EHLO.
    #[must_use]
    pub fn with_hello(mut self, hello: Domain) -> Self {
        self.hello = Some(hello);
        self
    }

    /// With credentials to log in with.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.login = Login::With(credentials);
        self
    }

    /// With another way to log in.
    #[must_use]
    pub fn with_login(mut self, login: Login) -> Self {
        self.login = login;
        self
    }

    /// With only these mechanisms, the preferred first.
    #[must_use]
    pub fn with_mechanisms(mut self, mechanisms: Vec<MechanismName>) -> Self {
        self.mechanisms = mechanisms;
        self
    }

    /// With another rule for passwords in clear.
    #[must_use]
    pub fn with_plaintext_auth(mut self, plaintext_auth: PlaintextAuth) -> Self {
        self.plaintext_auth = plaintext_auth;
        self
    }

    /// With another rule for initial responses.
    #[must_use]
    pub fn with_initial_response(mut self, initial_response: InitialResponse) -> Self {
        self.initial_response = initial_response;
        self
    }

    /// With another use of PIPELINING.
    #[must_use]
    pub fn with_pipelining(mut self, pipelining: Pipelining) -> Self {
        self.pipelining = pipelining;
        self
    }

    /// With another use of CHUNKING.
    #[must_use]
    pub fn with_chunking(mut self, chunking: Chunking) -> Self {
        self.chunking = chunking;
        self
    }

    /// With another protocol.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// With another rule for transactions behind an unanswered message.
    #[must_use]
    pub fn with_behind_message(mut self, behind_message: BehindMessage) -> Self {
        self.behind_message = behind_message;
        self
    }

    /// With another use of SMTPUTF8.
    #[must_use]
    pub fn with_smtputf8(mut self, smtputf8: SmtpUtf8) -> Self {
        self.smtputf8 = smtputf8;
        self
    }

    /// With another rule for parameters that the server does not list.
    #[must_use]
    pub fn with_unadvertised(mut self, unadvertised: Unadvertised) -> Self {
        self.unadvertised = unadvertised;
        self
    }

    /// With other time-outs.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// When TLS starts. Closed: these are the four there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// TLS from the first octet (RFC 8314; port 465).
    Implicit,
    /// STARTTLS, and nothing without it (RFC 3207; port 587).
    StartTls,
    /// STARTTLS where it is offered, clear text where it is not: no protection against an attacker.
    Opportunistic,
    /// Clear text.
    Plaintext,
}

impl Security {
    /// The port that goes with it: 465, 587, 25, 25.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Implicit => 465,
            Self::StartTls => 587,
            Self::Opportunistic | Self::Plaintext => 25,
        }
    }
}

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Login {
    /// Nobody: AUTH is not used.
    Nobody,
    /// Whoever these credentials name.
    With(Credentials),
    /// Whoever the caller names when the engine asks, by `Event::CredentialsWanted`: for tokens,
    /// which are renewed every hour, and for people. Where the server refuses them by a 5yz, it
    /// asks once more on the same connection.
    Ask,
}

/// Whether a password or token may be shown without TLS. Closed: it may or it may not.
///
/// In clear the mechanisms that hide the secret go before the others, whatever the order of
/// [`Config::mechanisms`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlaintextAuth {
    /// Never. SCRAM-SHA-256 can still be used in a session without TLS: the password does not
    /// travel, guessing it from what does costs thousands of rounds for each guess, and the server
    /// proves that it knows it. CRAM-MD5, which has none of this but the first, cannot.
    #[default]
    Refuse,
    /// If the session has no TLS: CRAM-MD5 where it is offered, else the password itself. A bearer
    /// token stays within TLS all the same, as RFC 7628 §3 demands.
    Allow,
}

/// When a SASL initial response (RFC 4954 §4) travels with AUTH, which saves a round trip. One that
/// would pass the length of a command line is withheld in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitialResponse {
    /// Where the mechanism begins with the client, as PLAIN does.
    #[default]
    WhereDefined,
    /// Also in LOGIN, whose servers mostly take the name so.
    Always,
    /// Never: the server asks first.
    Never,
}

/// The use of PIPELINING (RFC 2920), where the server offers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pipelining {
    /// One command at a time.
    Off,
    /// In groups, but a message by BDAT waits for the replies to RCPT: RFC 3030 does not spell out
    /// that it need not.
    Conservative,
    /// In groups; a small message by BDAT in that of its envelope.
    #[default]
    Groups,
    /// As `Groups`, and the next transaction does not wait for the reply to the last BDAT either.
    /// Servers read RFC 3030 differently here; one that refuses gets the transaction again in step.
    Overlapping,
}

/// The use of CHUNKING (RFC 3030), where the server offers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunking {
    /// DATA is used in any case.
    Off,
    /// BDAT is used instead of DATA: the message needs no changes on the way, and no invitation.
    #[default]
    WhereOffered,
}

/// The protocol spoken. Closed: these are the two there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// SMTP (RFC 5321).
    #[default]
    Smtp,
    /// LMTP (RFC 2033): the last hop into a mail store, with a reply for each recipient after the
    /// message.
    Lmtp,
}

/// Whether a transaction may begin behind an unanswered end of message (RFC 2920 §3.1 allows it).
/// Closed: it may or it may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BehindMessage {
    /// Yes: a stream of messages takes one round trip each.
    #[default]
    Allowed,
    /// No: the server is known to refuse it (Haraka).
    Wait,
}

/// The use of SMTPUTF8 (RFC 6531). Closed: these are the three there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SmtpUtf8 {
    /// Where an address, a parameter or a header needs it. Where it is not on offer, a domain beyond
    /// ASCII is written as A-labels, and what cannot be is refused.
    #[default]
    WhereNeeded,
    /// For every message: one is not sent where the server does not offer it.
    Always,
    /// Never, as if it were not on offer.
    Never,
}

/// What becomes of a parameter whose extension the server does not list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unadvertised {
    /// It is left out, or its message is not sent, as its [`Weight`](crate::Weight) says.
    #[default]
    Refuse,
    /// It is sent with the parameter all the same.
    Send,
}

/// Whether [`Event::Recipient`](crate::proto::Event::Recipient) comes. Closed: it comes or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecipientEvents {
    /// For each answer to RCPT, and with LMTP for each after the message.
    #[default]
    Each,
    /// Not at all: the verdicts, which come with the last answer, say enough.
    Off,
}

/// Limits on what a peer may make the engine keep, or do. A peer that passes one ends the session
/// with a protocol error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets in one reply line, CRLF included. Default 12,296: a SASL challenge of RFC 4954 §4.
    pub reply_line: usize,
    /// Octets in one reply, all lines together. Default 64 KiB.
    pub reply: usize,
    /// Iterations of the hash that a server may ask for in SCRAM. Default 600,000: servers ask for
    /// 4,096 (RFC 7677 §4, and never less) up to that, and a malicious one would ask for more.
    ///
    /// They are counted inside the call that is given the server's challenge, once for each log-in:
    /// a millisecond or two for 4,096, a few tenths of a second for 600,000. Meanwhile nothing else
    /// happens on the connection, nor on the thread that called: lower it where that hurts.
    pub scram_iterations: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reply_line: 12_296,
            reply: 64 * 1024,
            scram_iterations: 600_000,
        }
    }
}

/// What the engine cannot know by itself: it has neither sockets nor a random source.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Context {
    /// The local end's address, for the EHLO name where none is configured.
    pub local: Option<IpAddr>,
    /// 32 octets from a secure random source, new for each connection: nonces are made of them.
    pub entropy: [u8; 32],
}

impl Context {
    /// A context.
    pub fn new(local: Option<IpAddr>, entropy: [u8; 32]) -> Self {
        Self { local, entropy }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_setter_changes_its_own_field_alone() {
        let plain = || Config::new(Security::StartTls);
        let changed = |change: fn(&mut Config)| {
            let mut config = plain();
            change(&mut config);
            assert_ne!(config, plain());
            config
        };
        let hello: Domain = "client.example".parse().unwrap();
        let named = plain().with_hello(hello.clone());
        assert_eq!(named.hello, Some(hello));
        assert_eq!(
            Config {
                hello: None,
                ..named
            },
            plain()
        );
        let timeouts = Timeouts::default().capped(Duration::from_secs(7));
        let hurried = plain().with_timeouts(timeouts);
        assert_eq!(hurried.timeouts, timeouts);
        assert_eq!(hurried.with_timeouts(Timeouts::default()), plain());
        for (set, expected) in [
            (
                plain().with_login(Login::Ask),
                changed(|config| config.login = Login::Ask),
            ),
            (
                plain().with_mechanisms(Vec::new()),
                changed(|config| config.mechanisms.clear()),
            ),
            (
                plain().with_plaintext_auth(PlaintextAuth::Allow),
                changed(|config| config.plaintext_auth = PlaintextAuth::Allow),
            ),
            (
                plain().with_initial_response(InitialResponse::Never),
                changed(|config| config.initial_response = InitialResponse::Never),
            ),
            (
                plain().with_pipelining(Pipelining::Off),
                changed(|config| config.pipelining = Pipelining::Off),
            ),
            (
                plain().with_chunking(Chunking::Off),
                changed(|config| config.chunking = Chunking::Off),
            ),
            (
                plain().with_protocol(Protocol::Lmtp),
                changed(|config| config.protocol = Protocol::Lmtp),
            ),
            (
                plain().with_behind_message(BehindMessage::Wait),
                changed(|config| config.behind_message = BehindMessage::Wait),
            ),
            (
                plain().with_smtputf8(SmtpUtf8::Never),
                changed(|config| config.smtputf8 = SmtpUtf8::Never),
            ),
            (
                plain().with_unadvertised(Unadvertised::Send),
                changed(|config| config.unadvertised = Unadvertised::Send),
            ),
            (
                plain().with_limits(Limits {
                    reply: 512,
                    ..Limits::default()
                }),
                changed(|config| config.limits.reply = 512),
            ),
        ] {
            assert_eq!(set, expected);
        }
    }

    #[test]
    fn a_kind_of_security_has_its_port() {
        for (security, port) in [
            (Security::Implicit, 465),
            (Security::StartTls, 587),
            (Security::Opportunistic, 25),
            (Security::Plaintext, 25),
        ] {
            assert_eq!(security.default_port(), port, "{security:?}");
        }
    }

    #[test]
    fn debug_output_of_a_context_shows_the_address_and_no_entropy() {
        let context = Context::new(Some([192, 0, 2, 1].into()), [77; 32]);
        let shown = format!("{context:?}");
        assert!(
            shown.contains("192.0.2.1") && !shown.contains("77"),
            "{shown}"
        );
    }
}
