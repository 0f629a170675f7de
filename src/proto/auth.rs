//! The AUTH command (RFC 4954): which mechanism, and the exchange of challenges and responses.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::command::Command;
use super::config::{Config, InitialResponse, PlaintextAuth};
use super::extensions::Extensions;
use super::link::{Expect, Link, fits_auth_line};
use super::reply::{Class, Reply};
use super::sasl::{Binding, Credentials, Exposure, Known, Mechanism, MechanismError};
use super::sasl::{MechanismName, Starts};
use super::session::{ChannelBinding, TlsSession};
use crate::error::{Category, Error, Party, Stage};

/// The mechanisms that may be tried, whatever kind of credentials they need. There is always one.
pub(crate) struct Selection {
    preferred: Candidate,
    others: Vec<Candidate>,
    binding: ChannelBinding,
    plus: Plus,
    /// How often credentials were refused.
    attempt: Attempt,
}

/// A mechanism that configuration and server have in common.
#[derive(Clone)]
struct Candidate {
    name: MechanismName,
    known: Known,
}

/// Whether the server lists SCRAM-SHA-256-PLUS, and so can bind: that stays true of it when it then
/// refuses to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plus {
    Listed,
    NotListed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    First,
    /// A caller who is asked may have newer credentials than those that were refused.
    Second,
}

impl Selection {
    /// What configuration and server have in common; with credentials, what they can be used with.
    pub(crate) fn new(
        config: &Config,
        extensions: &Extensions,
        tls: Option<&TlsSession>,
        credentials: Option<&Credentials>,
    ) -> Result<Self, NoMechanism> {
        let offered: Vec<_> = extensions.auth_mechanisms().collect();
        if offered.is_empty() {
            return Err(NoMechanism::NotOffered);
        }
        let binding = tls.map(|tls| tls.binding.clone()).unwrap_or_default();
        let plus = match offered.contains(&MechanismName::SCRAM_SHA_256_PLUS) {
            true => Plus::Listed,
            false => Plus::NotListed,
        };
        let mut candidates = Vec::new();
        for name in &config.mechanisms {
            let Some(known) = name.known() else { continue };
            let bindable = known != Known::ScramSha256Plus || binding != ChannelBinding::None;
            let usable = credentials.is_none_or(|credentials| known.takes(credentials));
            if offered.contains(name) && bindable && usable {
                let name = name.clone();
                candidates.push(Candidate { name, known });
            }
        }
        if candidates.is_empty() {
            return Err(NoMechanism::NoneInCommon(offered));
        }
        if tls.is_none() {
            // What hides the secret first; the order of the caller within.
            candidates.sort_by_key(|candidate| candidate.known.exposure());
            let most = match config.plaintext_auth {
                PlaintextAuth::Refuse => Exposure::Hidden,
                PlaintextAuth::Allow => Exposure::Shown,
            };
            candidates.retain(|candidate| candidate.known.exposure() <= most);
        }
        let mut candidates = candidates.into_iter();
        let preferred = candidates.next().ok_or(match config.plaintext_auth {
            PlaintextAuth::Refuse => NoMechanism::OnlyInClear,
            PlaintextAuth::Allow => NoMechanism::TokenInClear,
        })?;
        Ok(Self {
            preferred,
            others: candidates.collect(),
            binding,
            plus,
            attempt: Attempt::First,
        })
    }

    /// The mechanism that is preferred, if the credentials will allow it.
    pub(crate) fn mechanism(&self) -> &MechanismName {
        &self.preferred.name
    }

    /// Whether other credentials may be tried: one time.
    pub(crate) fn may_ask_again(&self) -> bool {
        match self.attempt {
            Attempt::First => true,
            Attempt::Second => false,
        }
    }

    /// The same mechanisms for other credentials.
    pub(crate) fn once_more(self) -> Self {
        Self {
            attempt: Attempt::Second,
            ..self
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Candidate> {
        std::iter::once(&self.preferred).chain(&self.others)
    }

    fn suiting(&self, credentials: &Credentials) -> Option<Candidate> {
        self.iter()
            .find(|candidate| candidate.known.takes(credentials))
            .cloned()
    }

    /// The selection without that mechanism, if anything is left.
    fn without(mut self, known: Known) -> Result<Self, Self> {
        if self.preferred.known != known {
            self.others.retain(|candidate| candidate.known != known);
            return Ok(self);
        }
        if self.others.is_empty() {
            return Err(self);
        }
        Ok(Self {
            preferred: self.others.remove(0),
            ..self
        })
    }

    /// What SCRAM is to say of channel binding.
    fn binding(&self, known: Known, config: &Config) -> Binding {
        let plus = MechanismName::SCRAM_SHA_256_PLUS;
        if self.binding == ChannelBinding::None || !config.mechanisms.contains(&plus) {
            return Binding::Unable;
        }
        match (known, self.plus) {
            (Known::ScramSha256Plus, _) => Binding::Bound(self.binding.clone()),
            // The caller prefers to do without, or the server refused to bind after all: to say
            // that it had not offered would look like a downgrade to it (RFC 5802 §6).
            (_, Plus::Listed) => Binding::Unable,
            (_, Plus::NotListed) => Binding::NotOffered,
        }
    }
}

/// Why nobody can log in here.
pub(crate) enum NoMechanism {
    NotOffered,
    NoneInCommon(Vec<MechanismName>),
    OnlyInClear,
    TokenInClear,
}

impl NoMechanism {
    pub(crate) fn into_error(self, link: &Link) -> Error {
        let (message, hint) = match self {
            Self::NotOffered => (
                "credentials were given, but the server does not offer AUTH".to_owned(),
                "Use the submission port (587 with STARTTLS, or 465 with TLS), or send without \
                 a user name if the server needs none.",
            ),
            Self::NoneInCommon(offered) => {
                let names: Vec<_> = offered.iter().map(MechanismName::as_str).collect();
                (
                    format!(
                        "no mechanism to log in with in common: the server offers {}",
                        names.join(", ")
                    ),
                    "Allow one of the server's mechanisms, or give the kind of credentials that \
                     they need.",
                )
            }
            Self::OnlyInClear => (
                "the connection is not encrypted, and no password or token is sent in clear"
                    .to_owned(),
                "Switch encryption to STARTTLS or TLS; or allow plaintext authentication, if \
                 everybody on the way may know the password.",
            ),
            Self::TokenInClear => (
                "the connection is not encrypted, and a token is never sent in clear".to_owned(),
                "Switch encryption to STARTTLS or TLS: plaintext authentication is for passwords \
                 alone.",
            ),
        };
        link.error(
            Category::AuthUnavailable,
            Stage::Auth,
            Party::Server,
            message,
        )
        .with_hint(hint)
    }
}

/// A SASL exchange in progress.
pub(crate) struct Exchange {
    selection: Selection,
    credentials: Credentials,
    used: Candidate,
    told: Told,
    state: State,
}

/// What the server has learnt from the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing that another mechanism would tell it a second time.
    Nothing,
    /// Something that depends on the secret, in the AUTH command itself.
    SecretAtOnce,
    /// The same, in the answer to a challenge.
    SecretLater,
}

enum State {
    /// The mechanism answers challenges.
    Running(Box<dyn Mechanism>),
    /// An initial response that AUTH did not carry answers the first challenge.
    Withheld(Box<dyn Mechanism>, String),
    /// `*` was sent, for this reason: the refusal that ends the exchange is due.
    Cancelled(MechanismError),
}

impl State {
    fn has_used_secret(&self) -> bool {
        match self {
            Self::Running(mechanism) | Self::Withheld(mechanism, _) => mechanism.has_used_secret(),
            Self::Cancelled(_) => false,
        }
    }
}

/// Where the exchange goes.
pub(crate) enum Outcome {
    Next(Exchange),
    Done,
    /// By the reply at hand.
    Refused(Refused),
    /// The session can end in order.
    Failed(Error),
    /// The server broke the protocol.
    Broken(Error),
}

/// A log-in that the server refused.
pub(crate) struct Refused {
    pub(crate) selection: Selection,
    known: Known,
    /// What it said of it in a challenge before.
    reason: Option<String>,
}

impl Refused {
    /// The refusal's error, with what is known of this one.
    pub(crate) fn explain(self, error: Error, link: &Link) -> Error {
        let permanent = !error.is_temporary();
        let error = match self.reason {
            Some(reason) => {
                let reason = link.dialogue.mask_text(&reason);
                let message = format!("{} ({reason})", error.message());
                error.with_message(message)
            }
            None => error,
        };
        match self.known {
            Known::OAuthBearer | Known::XOAuth2 if permanent => error.with_hint(
                "The token may have expired, be for another user, or lack the scope for sending \
                 mail: get a new one.",
            ),
            Known::External if permanent => error.with_hint(
                "Check that the server knows the client certificate, and allows this user to it.",
            ),
            // With the same password no other mechanism is tried unasked.
            Known::ScramSha256Plus | Known::ScramSha256 | Known::CramMd5 if permanent => error
                .with_hint(
                    "Check user name and password. Some servers list this mechanism without \
                     having what it needs of the account: if the password is right, allow only \
                     another, such as PLAIN.",
                ),
            Known::ScramSha256Plus
            | Known::ScramSha256
            | Known::OAuthBearer
            | Known::XOAuth2
            | Known::External
            | Known::Plain
            | Known::Login
            | Known::CramMd5 => error,
        }
    }
}

impl Exchange {
    /// Sends AUTH, with the initial response where policy and length allow.
    pub(crate) fn begin(
        selection: Selection,
        credentials: Credentials,
        link: &mut Link,
        now: Instant,
    ) -> Result<Self, Error> {
        let Some(used) = selection.suiting(&credentials) else {
            let message = "the server offers no mechanism for this kind of credentials";
            return Err(link
                .error(
                    Category::AuthUnavailable,
                    Stage::Auth,
                    Party::Caller,
                    message,
                )
                .with_hint("Give credentials of the kind that the server's mechanisms need."));
        };
        let binding = selection.binding(used.known, &link.config);
        let limits = &link.config.limits;
        let mut mechanism = used
            .known
            .begin(&credentials, binding, &mut link.nonces, limits);
        let carries = match (mechanism.starts(), link.config.initial_response) {
            (Starts::Client, InitialResponse::WhereDefined | InitialResponse::Always)
            | (Starts::Either, InitialResponse::Always) => true,
            (Starts::Client | Starts::Either, InitialResponse::Never)
            | (Starts::Either, InitialResponse::WhereDefined)
            | (Starts::Server, _) => false,
        };
        // An initial response that fails is a mechanism that sends none.
        let initial = match carries {
            true => respond(&mut *mechanism, b"", link).ok(),
            false => None,
        };
        // RFC 4954 §4: an empty initial response is a single "=".
        let sent = initial
            .as_deref()
            .map(|text| if text.is_empty() { "=" } else { text });
        let sent = sent.filter(|text| fits_auth_line(used.name.as_str(), text));
        link.command(Command::Auth(&used.name, sent), Expect::Auth, now);
        let told = match sent.is_some() && mechanism.has_used_secret() {
            true => Told::SecretAtOnce,
            false => Told::Nothing,
        };
        let state = match (sent, &initial) {
            (None, Some(response)) => State::Withheld(mechanism, response.clone()),
            (Some(_), _) | (None, None) => State::Running(mechanism),
        };
        Ok(Self {
            selection,
            credentials,
            used,
            told,
            state,
        })
    }

    /// The mechanism in use.
    pub(crate) fn mechanism(&self) -> &MechanismName {
        &self.used.name
    }

    /// Takes the server's reply.
    pub(crate) fn handle(self, reply: &Reply, link: &mut Link, now: Instant) -> Outcome {
        match (reply.code().number(), reply.code().class()) {
            (334, _) => self.answer(reply, link, now),
            (235, _) => self.succeed(reply, link),
            (number, Class::Transient | Class::Permanent) => match &self.state {
                State::Cancelled(problem) if number == 421 => {
                    Outcome::Broken(self.odd(*problem, link))
                }
                State::Cancelled(problem) => Outcome::Failed(self.odd(*problem, link)),
                State::Running(_) | State::Withheld(..) if self.bars_mechanism_alone(number) => {
                    self.refused_mechanism(link, now)
                }
                State::Running(_) | State::Withheld(..) => Outcome::Refused(self.refused()),
            },
            (_, Class::Completed | Class::Intermediate) => {
                let message = "the server's reply to AUTH is neither 235, nor 334, nor a refusal";
                let error = link.error(Category::Protocol, Stage::Auth, Party::Server, message);
                Outcome::Broken(error.with_reply(reply.clone()))
            }
        }
    }

    /// Whether the refusal says nothing of the secret, so that it may be used by another mechanism.
    /// RFC 4954 §4 has 504 for a mechanism that the server does not know, so that it cannot have read
    /// what came with it, and 534 for one that is too weak for this user. But 534 is also what Gmail
    /// says to a password that it has read, and a second try would be a second failure.
    fn bars_mechanism_alone(&self, code: u16) -> bool {
        match (code, self.told) {
            (504 | 534, Told::Nothing) | (504, Told::SecretAtOnce) => true,
            (_, Told::Nothing | Told::SecretAtOnce | Told::SecretLater) => false,
        }
    }

    fn answer(mut self, reply: &Reply, link: &mut Link, now: Instant) -> Outcome {
        let text = reply.lines().next().unwrap_or_default().trim_ascii();
        let challenge = STANDARD.decode(text).ok();
        let (state, response) = match self.state {
            State::Withheld(mechanism, response) => (State::Running(mechanism), Ok(response)),
            State::Running(mut mechanism) => {
                let response = match (challenge, mechanism.starts()) {
                    (Some(challenge), _) => respond(&mut *mechanism, &challenge, link),
                    (None, Starts::Server) => {
                        Err(MechanismError("sent a challenge that is not base64"))
                    }
                    // LOGIN's prompts are base64 by custom only, and PLAIN has none to read.
                    (None, Starts::Client | Starts::Either) => respond(&mut *mechanism, text, link),
                };
                (State::Running(mechanism), response)
            }
            State::Cancelled(_) => {
                let message = "the server went on with an exchange that was cancelled";
                let error = link.error(Category::Protocol, Stage::Auth, Party::Server, message);
                return Outcome::Broken(error);
            }
        };
        self.state = match response {
            Ok(response) => {
                link.command(Command::AuthResponse(&response), Expect::Auth, now);
                if state.has_used_secret() {
                    self.told = Told::SecretLater;
                }
                state
            }
            Err(problem) => {
                link.command(Command::AuthCancel, Expect::Auth, now);
                State::Cancelled(problem)
            }
        };
        Outcome::Next(self)
    }

    fn succeed(mut self, reply: &Reply, link: &Link) -> Outcome {
        let agreed = match &mut self.state {
            State::Running(mechanism) | State::Withheld(mechanism, _) => {
                let data = STANDARD.decode(reply.text()).ok();
                mechanism.succeeded(data.as_deref())
            }
            State::Cancelled(_) => Err(MechanismError("reported success where none can be")),
        };
        match agreed {
            Ok(()) => Outcome::Done,
            Err(problem) => Outcome::Broken(self.odd(problem, link)),
        }
    }

    fn refused_mechanism(self, link: &mut Link, now: Instant) -> Outcome {
        let refused = |selection| {
            Outcome::Refused(Refused {
                selection,
                known: self.used.known,
                reason: None,
            })
        };
        let selection = match self.selection.without(self.used.known) {
            Ok(selection) if selection.suiting(&self.credentials).is_some() => selection,
            Ok(selection) | Err(selection) => return refused(selection),
        };
        match Self::begin(selection, self.credentials, link, now) {
            Ok(exchange) => Outcome::Next(exchange),
            Err(error) => Outcome::Failed(error),
        }
    }

    fn refused(self) -> Refused {
        let reason = match &self.state {
            State::Running(mechanism) | State::Withheld(mechanism, _) => {
                mechanism.reason().map(str::to_owned)
            }
            State::Cancelled(_) => None,
        };
        Refused {
            selection: self.selection,
            known: self.used.known,
            reason,
        }
    }

    /// The server did something that the mechanism has no place for, or gave a wrong proof.
    fn odd(&self, problem: MechanismError, link: &Link) -> Error {
        let message = format!("{}: the server {}", self.used.name, problem.0);
        link.error(Category::Protocol, Stage::Auth, Party::Server, message)
            .with_hint("If this is the server that was meant, use another mechanism.")
    }
}

/// The response in base64, kept out of every trace from here on.
fn respond(
    mechanism: &mut dyn Mechanism,
    challenge: &[u8],
    link: &mut Link,
) -> Result<String, MechanismError> {
    let response = STANDARD.encode(mechanism.respond(challenge)?);
    // Whatever is shorter is an acknowledgement, and no secret.
    if response.len() > "AQ==".len() {
        link.dialogue.hide_octets(response.as_bytes());
    }
    Ok(response)
}
