//! From the greeting to a session that can send mail.
//!
//! ```text
//! Implicit ──tls──▶ Greeting ──220──▶ Ehlo ──250──▶ (STARTTLS wanted) ──▶ StartTls ──220──▶ Upgrade
//!                                     │  ▲                                                    │
//!                                50x  ▼  └──────────────────────── tls ────────────────────────┘
//!                                    Helo ──250──▶ Ready
//!             Ehlo ──250──▶ (log-in wanted) ──▶ Credentials ──▶ Auth ⟲ 334 ──235──▶ Ready
//! ```

use std::sync::Arc;
use std::time::Instant;

use super::address::Domain;
use super::auth::{Exchange, Outcome as AuthOutcome, Refused, Selection};
use super::command::Command;
use super::config::{Config, Context, Login, Protocol, Security};
use super::event::Event;
use super::extensions::Extensions;
use super::fault;
use super::link::{Expect, Link};
use super::refusal::{Channel, Circumstances, LoginState, refusal};
use super::reply::{Class, Reply};
use super::sasl::Credentials;
use super::session::{Facts, Session, TlsSession};
use crate::error::{Category, Error, Party, Stage};

/// Where the handshake is. Each state is consumed by [`Handshake::handle`].
pub(crate) enum Handshake {
    /// Implicit TLS: nothing is read or written before it.
    Implicit,
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// The server waits for our ClientHello.
    Upgrade,
    /// The caller was asked for credentials.
    Credentials(Box<Selection>),
    /// Boxed, like the selection: they are large, and soon over.
    Auth(Box<Exchange>),
}

/// What the world did.
pub(crate) enum Input {
    Reply(Reply),
    Tls(Box<TlsSession>),
    Credentials(Option<Credentials>),
}

/// Where the handshake goes from here.
pub(crate) enum Step {
    Next(Handshake),
    Ready,
    /// It failed, and the server can be told by QUIT.
    Fail(Error),
    /// It failed, and nothing may be sent any more.
    Broken(Error),
}

/// What becomes of the session's facts on the way.
pub(crate) struct Progress {
    pub(crate) session: Option<Session>,
    pub(crate) tls: Option<TlsSession>,
    hello: Domain,
}

impl Progress {
    pub(crate) fn new(config: &Config, context: &Context) -> Self {
        let hello = config.hello.clone().unwrap_or_else(|| {
            Domain::literal(
                context
                    .local
                    .unwrap_or(std::net::Ipv4Addr::LOCALHOST.into()),
            )
        });
        Self {
            session: None,
            tls: None,
            hello,
        }
    }

    /// Changes the facts, which others may still hold as they were.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Facts)) {
        if let Some(session) = &mut self.session {
            change(Arc::make_mut(&mut session.0));
        }
    }

    /// The server was found to refuse what begins behind an unanswered message.
    pub(crate) fn refuses_behind_message(&mut self) {
        let known = self.session.as_ref().map(Session::refuses_behind_message);
        if known == Some(false) {
            self.change(|facts| facts.refuses_behind_message = true);
        }
    }

    fn extensions(&self) -> Extensions {
        self.session
            .as_ref()
            .map(|session| session.extensions().clone())
            .unwrap_or_default()
    }

    fn circumstances(&self, login: &Login) -> Circumstances {
        let login = match login {
            Login::Nobody => LoginState::Anonymous,
            Login::With(_) | Login::Ask => LoginState::WithCredentials,
        };
        Circumstances {
            channel: Channel::new(self.tls.is_some(), &self.extensions()),
            login,
        }
    }
}

impl Handshake {
    /// The first state.
    pub(crate) fn begin(link: &mut Link, now: Instant) -> Self {
        match link.config.security {
            Security::Implicit => {
                link.expect(Expect::Handshake, now);
                Self::Implicit
            }
            Security::StartTls | Security::Opportunistic | Security::Plaintext => {
                link.expect(Expect::Greeting, now);
                Self::Greeting
            }
        }
    }

    /// Takes one input to the next state.
    pub(crate) fn handle(
        self,
        input: Input,
        link: &mut Link,
        progress: &mut Progress,
        now: Instant,
    ) -> Step {
        match (self, input) {
            (Self::Implicit, Input::Tls(tls)) => {
                began_tls(*tls, link, progress, now);
                link.expect(Expect::Greeting, now);
                Step::Next(Self::Greeting)
            }
            (Self::Upgrade, Input::Tls(tls)) => {
                began_tls(*tls, link, progress, now);
                // RFC 3207 §4.2: what was learned before is forgotten.
                progress.change(|facts| facts.extensions = Extensions::default());
                say_ehlo(link, progress, now)
            }
            (Self::Greeting, Input::Reply(reply)) => greeted(reply, link, progress, now),
            (Self::Ehlo, Input::Reply(reply)) => offered(reply, link, progress, now),
            (Self::Helo, Input::Reply(reply)) => greeted_back(reply, link, progress),
            (Self::StartTls, Input::Reply(reply)) => upgrade(reply, link, progress, now),
            (Self::Credentials(selection), Input::Credentials(credentials)) => match credentials {
                Some(credentials) => log_in(*selection, &credentials, link, now),
                None => Step::Fail(nobody_to_log_in(link)),
            },
            (Self::Auth(exchange), Input::Reply(reply)) => {
                authenticate(*exchange, reply, link, progress, now)
            }
            (state, Input::Tls(_) | Input::Credentials(_)) => Step::Next(state),
            (Self::Implicit | Self::Upgrade | Self::Credentials(_), Input::Reply(_)) => {
                Step::Broken(unasked(link))
            }
        }
    }
}

fn began_tls(tls: TlsSession, link: &mut Link, progress: &mut Progress, now: Instant) {
    link.handshake_done();
    link.answered(now);
    link.dialogue
        .note(now, || format!("{} {}", tls.version, tls.cipher));
    progress.tls = Some(tls.clone());
    progress.change(|facts| facts.tls = Some(tls));
}

fn greeted(reply: Reply, link: &mut Link, progress: &mut Progress, now: Instant) -> Step {
    match reply.code().number() {
        220 => {
            progress.session = Some(Session(Arc::new(Facts {
                greeting: reply.clone(),
                extensions: Extensions::default(),
                tls: progress.tls.clone(),
                auth: None,
                refuses_behind_message: false,
            })));
            link.events.push_back(Event::Reached {
                stage: Stage::Greeting,
                reply,
            });
            say_ehlo(link, progress, now)
        }
        400.. => refused(Stage::Greeting, &reply, link, progress),
        _ => Step::Broken(fault::unexpected(Stage::Greeting, "220", reply, link)),
    }
}

fn say_ehlo(link: &mut Link, progress: &Progress, now: Instant) -> Step {
    let command = match link.config.protocol {
        Protocol::Smtp => Command::Ehlo(&progress.hello),
        Protocol::Lmtp => Command::Lhlo(&progress.hello),
    };
    link.command(command, Expect::Ehlo, now);
    Step::Next(Handshake::Ehlo)
}

fn offered(reply: Reply, link: &mut Link, progress: &mut Progress, now: Instant) -> Step {
    match reply.code().class() {
        Class::Completed => {
            progress.change(|facts| facts.extensions = Extensions::new(reply.clone()));
            link.events.push_back(Event::Reached {
                stage: Stage::Ehlo,
                reply,
            });
            after_ehlo(link, progress, now)
        }
        Class::Intermediate => Step::Broken(fault::unexpected(Stage::Ehlo, "250", reply, link)),
        Class::Transient => refused(Stage::Ehlo, &reply, link, progress),
        Class::Permanent if !(500..510).contains(&reply.code().number()) => {
            refused(Stage::Ehlo, &reply, link, progress)
        }
        Class::Permanent => without_ehlo(&reply, link, progress, now),
    }
}

/// EHLO is not known there. HELO can do, unless something is required that only EHLO can offer.
fn without_ehlo(reply: &Reply, link: &mut Link, progress: &Progress, now: Instant) -> Step {
    let wants_tls = progress.tls.is_none() && link.config.security == Security::StartTls;
    if wants_tls {
        return Step::Fail(no_starttls(link).with_reply(reply.clone()));
    }
    match link.config.login {
        Login::With(_) | Login::Ask => {
            let message = "the server does not know EHLO, so it cannot log anybody in";
            let error = link.error(
                Category::AuthUnavailable,
                Stage::Auth,
                Party::Server,
                message,
            );
            Step::Fail(error.with_reply(reply.clone()))
        }
        // In TLS a server that knows no EHLO is not the one that offered STARTTLS; and LMTP has no
        // HELO.
        Login::Nobody if progress.tls.is_some() || link.config.protocol == Protocol::Lmtp => {
            refused(Stage::Ehlo, reply, link, progress)
        }
        Login::Nobody => {
            link.command(Command::Helo(&progress.hello), Expect::Helo, now);
            Step::Next(Handshake::Helo)
        }
    }
}

fn greeted_back(reply: Reply, link: &mut Link, progress: &Progress) -> Step {
    match reply.code().class() {
        Class::Completed => {
            link.events.push_back(Event::Reached {
                stage: Stage::Ehlo,
                reply,
            });
            Step::Ready
        }
        Class::Intermediate => Step::Broken(fault::unexpected(Stage::Ehlo, "250", reply, link)),
        Class::Transient | Class::Permanent => refused(Stage::Ehlo, &reply, link, progress),
    }
}

fn after_ehlo(link: &mut Link, progress: &Progress, now: Instant) -> Step {
    if progress.tls.is_none() {
        let offered = progress.extensions().offers("STARTTLS");
        match (link.config.security, offered) {
            (Security::StartTls | Security::Opportunistic, true) => {
                link.command(Command::StartTls, Expect::StartTls, now);
                return Step::Next(Handshake::StartTls);
            }
            (Security::StartTls, false) => return Step::Fail(no_starttls(link)),
            (Security::Opportunistic, false) | (Security::Plaintext | Security::Implicit, _) => {}
        }
    }
    begin_login(link, progress, now)
}

fn upgrade(reply: Reply, link: &mut Link, progress: &Progress, now: Instant) -> Step {
    match reply.code().number() {
        220 => {
            link.events.push_back(Event::Reached {
                stage: Stage::StartTls,
                reply,
            });
            link.events.push_back(Event::StartTls);
            link.expect(Expect::Handshake, now);
            Step::Next(Handshake::Upgrade)
        }
        400.. => match link.config.security {
            Security::Opportunistic if reply.code().number() != 421 => {
                begin_login(link, progress, now)
            }
            Security::StartTls
            | Security::Opportunistic
            | Security::Implicit
            | Security::Plaintext => refused(Stage::StartTls, &reply, link, progress),
        },
        _ => Step::Broken(fault::unexpected(Stage::StartTls, "220", reply, link)),
    }
}

fn begin_login(link: &mut Link, progress: &Progress, now: Instant) -> Step {
    let login = link.config.login.clone();
    if matches!(login, Login::Nobody) {
        return Step::Ready;
    }
    let credentials = match &login {
        Login::With(credentials) => Some(credentials),
        Login::Nobody | Login::Ask => None,
    };
    let extensions = progress.extensions();
    let tls = progress.tls.as_ref();
    let selection = match Selection::new(&link.config, &extensions, tls, credentials) {
        Ok(selection) => selection,
        Err(problem) => return Step::Fail(problem.into_error(link)),
    };
    match login {
        Login::Nobody => Step::Ready,
        Login::With(credentials) => log_in(selection, &credentials, link, now),
        Login::Ask => ask(selection, None, link),
    }
}

/// The caller is asked for credentials, and no deadline of the peer runs until it answers.
fn ask(selection: Selection, previous: Option<Reply>, link: &mut Link) -> Step {
    let mechanism = selection.mechanism().clone();
    link.events.push_back(Event::CredentialsWanted {
        mechanism,
        previous,
    });
    Step::Next(Handshake::Credentials(Box::new(selection)))
}

fn log_in(selection: Selection, credentials: &Credentials, link: &mut Link, now: Instant) -> Step {
    link.dialogue.hide(credentials);
    match Exchange::begin(selection, credentials.clone(), link, now) {
        Ok(exchange) => Step::Next(Handshake::Auth(Box::new(exchange))),
        Err(error) => Step::Fail(error),
    }
}

fn authenticate(
    exchange: Exchange,
    reply: Reply,
    link: &mut Link,
    progress: &mut Progress,
    now: Instant,
) -> Step {
    let mechanism = exchange.mechanism().clone();
    match exchange.handle(&reply, link, now) {
        AuthOutcome::Next(exchange) => Step::Next(Handshake::Auth(Box::new(exchange))),
        AuthOutcome::Done => {
            progress.change(|facts| facts.auth = Some(mechanism));
            link.events.push_back(Event::Reached {
                stage: Stage::Auth,
                reply: link.dialogue.mask(reply),
            });
            Step::Ready
        }
        AuthOutcome::Refused(log_in) => refused_login(log_in, reply, link, progress),
        AuthOutcome::Failed(error) => Step::Fail(error),
        AuthOutcome::Broken(error) => Step::Broken(error),
    }
}

/// A caller who is asked may have newer credentials; everybody else has only these.
fn refused_login(log_in: Refused, reply: Reply, link: &mut Link, progress: &Progress) -> Step {
    let asks = match link.config.login {
        Login::Ask => reply.code().class() == Class::Permanent,
        Login::Nobody | Login::With(_) => false,
    };
    if asks && log_in.selection.may_ask_again() {
        return ask(log_in.selection.once_more(), Some(reply), link);
    }
    match refused(Stage::Auth, &reply, link, progress) {
        Step::Fail(error) => Step::Fail(log_in.explain(error, link)),
        Step::Broken(error) => Step::Broken(log_in.explain(error, link)),
        step @ (Step::Next(_) | Step::Ready) => step,
    }
}

/// Whether a reply is a SASL challenge, which is nobody else's business.
pub(crate) fn is_challenge(reply: &Reply, head: Expect) -> bool {
    head == Expect::Auth && reply.code().class() == Class::Intermediate
}

/// Whether the SASL mechanism reads what the reply says.
pub(crate) fn is_for_mechanism(reply: &Reply, head: Expect) -> bool {
    head == Expect::Auth && matches!(reply.code().number(), 235 | 334)
}

/// The handshake ends by a refusal: with QUIT, unless the server is closing already.
fn refused(stage: Stage, reply: &Reply, link: &Link, progress: &Progress) -> Step {
    let circumstances = progress.circumstances(&link.config.login);
    let error = refusal(stage, reply, circumstances).with_progress(link.progress());
    if reply.code().number() == 421 {
        Step::Broken(error)
    } else {
        Step::Fail(error)
    }
}

fn unasked(link: &Link) -> Error {
    let message = "the server sent a reply that nobody asked for";
    link.error(Category::Protocol, link.stage(), Party::Server, message)
}

fn no_starttls(link: &Link) -> Error {
    let message = "the server does not offer STARTTLS on this port, and TLS is required";
    link.error(
        Category::StartTlsUnavailable,
        Stage::StartTls,
        Party::Server,
        message,
    )
    .with_hint(
        "Try implicit TLS on port 465, or STARTTLS on port 587. If the server used to offer it, \
         somebody on the way may be removing the offer.",
    )
}

fn nobody_to_log_in(link: &Link) -> Error {
    let message = "no credentials were given when the server was ready to log in";
    link.error(
        Category::AuthUnavailable,
        Stage::Auth,
        Party::Caller,
        message,
    )
}
