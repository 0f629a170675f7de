//! The AUTH command (RFC 4954): which mechanism, and the exchange of challenges and responses.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::command::Command;
use super::config::{Config, InitialResponse, PlaintextAuth};
use super::extensions::Extensions;
use super::link::{Expect, Link, fits_auth_line};
use super::reply::{Class, Reply};
use super::sasl::{self, Credentials, Mechanism, MechanismName, Starts};
use crate::error::{Category, Error, Party, Stage};

/// The mechanisms that may be tried, the next one first.
pub(crate) struct Selection {
    mechanism: MechanismName,
    others: Vec<MechanismName>,
    /// How often credentials were refused.
    attempt: Attempt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    First,
    /// A caller who is asked may have newer credentials than those that were refused.
    Second,
}

impl Selection {
    /// What configuration and server have in common.
    pub(crate) fn new(
        config: &Config,
        extensions: &Extensions,
        tls: bool,
    ) -> Result<Self, NoMechanism> {
        let offered: Vec<_> = extensions.auth_mechanisms().collect();
        if offered.is_empty() {
            return Err(NoMechanism::NotOffered);
        }
        let common = config
            .mechanisms
            .iter()
            .filter(|name| name.is_known() && offered.contains(name))
            .cloned();
        let mut common: Vec<_> = common.collect();
        if common.is_empty() {
            return Err(NoMechanism::NoneInCommon(offered));
        }
        // Both known mechanisms show the password to whoever listens.
        if !tls && config.plaintext_auth == PlaintextAuth::Refuse {
            return Err(NoMechanism::OnlyInClear);
        }
        Ok(Self {
            mechanism: common.remove(0),
            others: common,
            attempt: Attempt::First,
        })
    }

    /// The mechanism to try.
    pub(crate) fn mechanism(&self) -> &MechanismName {
        &self.mechanism
    }

    /// The same mechanism for other credentials, the one time that is allowed.
    pub(crate) fn once_more(self) -> Option<Self> {
        match self.attempt {
            Attempt::First => Some(Self {
                attempt: Attempt::Second,
                ..self
            }),
            Attempt::Second => None,
        }
    }

    /// The selection without that mechanism, if anything is left.
    fn next(mut self) -> Result<Self, Self> {
        if self.others.is_empty() {
            return Err(self);
        }
        Ok(Self {
            mechanism: self.others.remove(0),
            ..self
        })
    }
}

/// Why nobody can log in here.
pub(crate) enum NoMechanism {
    NotOffered,
    NoneInCommon(Vec<MechanismName>),
    OnlyInClear,
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
                "the connection is not encrypted, and a password is not sent in clear".to_owned(),
                "Switch encryption to STARTTLS or TLS; or allow plaintext authentication, if \
                 everybody on the way may know the password.",
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
    state: State,
}

enum State {
    /// The mechanism answers challenges.
    Running(Box<dyn Mechanism>),
    /// An initial response that AUTH did not carry answers the first challenge.
    Withheld(Box<dyn Mechanism>, String),
    /// `*` was sent: the refusal that ends the exchange is due.
    Cancelled,
}

/// Where the exchange goes.
pub(crate) enum Outcome {
    Next(Exchange),
    Done,
    /// By the reply at hand.
    Refused(Selection),
    /// The session can end in order.
    Failed(Error),
    /// The server broke the protocol.
    Broken(Error),
}

impl Exchange {
    /// Sends AUTH, with the initial response where policy and length allow.
    pub(crate) fn begin(
        selection: Selection,
        credentials: Credentials,
        link: &mut Link,
        now: Instant,
    ) -> Result<Self, Error> {
        let name = selection.mechanism.clone();
        let Some(mut mechanism) = sasl::begin(&name, &credentials) else {
            let message = format!("{name} cannot be used with these credentials");
            return Err(link.error(
                Category::AuthUnavailable,
                Stage::Auth,
                Party::Caller,
                message,
            ));
        };
        let carries = match (mechanism.starts(), link.config.initial_response) {
            (Starts::Client, InitialResponse::WhereDefined | InitialResponse::Always)
            | (Starts::Either, InitialResponse::Always) => true,
            (Starts::Client | Starts::Either, InitialResponse::Never)
            | (Starts::Either, InitialResponse::WhereDefined) => false,
        };
        let initial = if carries {
            respond(&mut *mechanism, b"", link)
        } else {
            None
        };
        // RFC 4954 §4: an empty initial response is a single "=".
        let sent = initial
            .as_deref()
            .map(|text| if text.is_empty() { "=" } else { text });
        let sent = sent.filter(|text| fits_auth_line(name.as_str(), text));
        link.command(Command::Auth(&name, sent), Expect::Auth, now);
        let state = match (sent, &initial) {
            (None, Some(response)) => State::Withheld(mechanism, response.clone()),
            (Some(_), _) | (None, None) => State::Running(mechanism),
        };
        Ok(Self {
            selection,
            credentials,
            state,
        })
    }

    /// The mechanism in use.
    pub(crate) fn mechanism(&self) -> &MechanismName {
        self.selection.mechanism()
    }

    /// Takes the server's reply.
    pub(crate) fn handle(self, reply: &Reply, link: &mut Link, now: Instant) -> Outcome {
        match (reply.code().number(), reply.code().class()) {
            (334, _) => self.answer(reply, link, now),
            (235, _) => self.succeed(link),
            (number, Class::Transient | Class::Permanent) => match self.state {
                State::Cancelled if number == 421 => Outcome::Broken(self.odd_challenge(link)),
                State::Cancelled => Outcome::Failed(self.odd_challenge(link)),
                State::Running(_) | State::Withheld(..) if matches!(number, 504 | 534) => {
                    self.refused_mechanism(link, now)
                }
                State::Running(_) | State::Withheld(..) => Outcome::Refused(self.selection),
            },
            (_, Class::Completed | Class::Intermediate) => {
                let message = "the server's reply to AUTH is neither 235, nor 334, nor a refusal";
                let error = link.error(Category::Protocol, Stage::Auth, Party::Server, message);
                Outcome::Broken(error.with_reply(reply.clone()))
            }
        }
    }

    fn answer(mut self, reply: &Reply, link: &mut Link, now: Instant) -> Outcome {
        let text = reply.lines().next().unwrap_or_default().trim_ascii();
        let challenge = STANDARD.decode(text).ok();
        let (state, response) = match self.state {
            State::Withheld(mechanism, response) => (State::Running(mechanism), Some(response)),
            State::Running(mut mechanism) => {
                // LOGIN's prompts are base64 by custom only: what does not decode is as good as any.
                let challenge = challenge.unwrap_or_else(|| text.to_vec());
                let response = respond(&mut *mechanism, &challenge, link);
                (State::Running(mechanism), response)
            }
            State::Cancelled => {
                let message = "the server went on with an exchange that was cancelled";
                let error = link.error(Category::Protocol, Stage::Auth, Party::Server, message);
                return Outcome::Broken(error);
            }
        };
        self.state = match response {
            Some(response) => {
                link.command(Command::AuthResponse(&response), Expect::Auth, now);
                state
            }
            None => {
                link.command(Command::AuthCancel, Expect::Auth, now);
                State::Cancelled
            }
        };
        Outcome::Next(self)
    }

    fn succeed(self, link: &Link) -> Outcome {
        let agreed = match self.state {
            State::Running(mut mechanism) | State::Withheld(mut mechanism, _) => {
                mechanism.succeeded()
            }
            State::Cancelled => Err(sasl::MechanismError),
        };
        match agreed {
            Ok(()) => Outcome::Done,
            Err(sasl::MechanismError) => {
                let message = "the server reported a log-in that cannot have succeeded";
                Outcome::Broken(link.error(Category::Protocol, Stage::Auth, Party::Server, message))
            }
        }
    }

    fn refused_mechanism(self, link: &mut Link, now: Instant) -> Outcome {
        let selection = match self.selection.next() {
            Ok(selection) => selection,
            Err(selection) => return Outcome::Refused(selection),
        };
        match Self::begin(selection, self.credentials, link, now) {
            Ok(exchange) => Outcome::Next(exchange),
            Err(error) => Outcome::Failed(error),
        }
    }

    fn odd_challenge(&self, link: &Link) -> Error {
        let message = format!(
            "the server sent a challenge that {} has not",
            self.mechanism()
        );
        link.error(Category::Protocol, Stage::Auth, Party::Server, message)
    }
}

/// The response in base64, kept out of every trace from here on; `None` if there is none.
fn respond(mechanism: &mut dyn Mechanism, challenge: &[u8], link: &mut Link) -> Option<String> {
    let response = mechanism.respond(challenge).ok()?;
    let response = STANDARD.encode(response);
    link.dialogue.hide_octets(response.as_bytes());
    Some(response)
}
