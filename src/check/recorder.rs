//! Turns milestones of a connection into steps.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::server::printable;
use super::step::Step;
use crate::error::{Error, Stage};
use crate::net::config::ClientConfig;
use crate::net::{Milestone, Route, Watcher};
use crate::proto::config::Security;
use crate::proto::extensions::Extensions;
use crate::proto::reply::Reply;
use crate::proto::session::{TlsSession, Verification};

/// The steps so far, and what is waited for.
pub(super) struct Recorder {
    log: Mutex<Log>,
    moved: Notify,
    config: ClientConfig,
}

struct Log {
    steps: Vec<Step>,
    tell: mpsc::UnboundedSender<Step>,
    /// When the last step was done.
    since: Instant,
    waiting_for: Stage,
    address: Option<SocketAddr>,
    tls: Option<TlsSession>,
}

impl Recorder {
    /// A recorder that tells each step as it happens.
    pub(super) fn new(
        config: ClientConfig,
        tell: mpsc::UnboundedSender<Step>,
        now: Instant,
    ) -> Self {
        let log = Log {
            steps: Vec::new(),
            tell,
            since: now,
            waiting_for: Stage::Resolve,
            address: None,
            tls: None,
        };
        Self {
            log: Mutex::new(log),
            moved: Notify::new(),
            config,
        }
    }

    /// A step of the dialogue came to a good end.
    pub(super) fn done(&self, stage: Stage, detail: impl Into<String>, at: Instant) {
        self.log().push(|took| Step::done(stage, took, detail), at);
        self.moved.notify_waiters();
    }

    /// The step at which the check ended.
    pub(super) fn failed(&self, error: &Error, at: Instant) {
        let detail = error.to_string();
        self.log()
            .push(|took| Step::failed(error.stage(), took, detail), at);
    }

    /// All steps, those of one name as one: after STARTTLS there is a second EHLO, and a step that was
    /// granted may fail by what follows at once.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut folded: Vec<Step> = Vec::new();
        for step in &self.log().steps {
            let place = folded.iter().position(|first| first.name == step.name);
            match place {
                Some(place) if step.ok || place + 1 == folded.len() => {
                    let took = folded[place].took + step.took;
                    folded[place] = Step {
                        took,
                        ..step.clone()
                    };
                }
                Some(_) | None => folded.push(step.clone()),
            }
        }
        folded
    }

    /// The address that was connected to.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.log().address
    }

    /// What TLS has shown, greeting or not.
    pub(super) fn tls(&self) -> Option<TlsSession> {
        self.log().tls.clone()
    }

    /// The step that is waited for: exact up to the greeting.
    pub(super) fn waiting_for(&self) -> Stage {
        self.log().waiting_for
    }

    /// Resolves when nothing has happened for so long before the greeting, with what is waited for.
    pub(super) async fn silence(&self, patience: Duration) -> Stage {
        loop {
            let moved = self.moved.notified();
            let (stage, since) = {
                let log = self.log();
                (log.waiting_for, log.since)
            };
            match stage {
                Stage::Resolve => moved.await,
                Stage::Connect | Stage::Greeting | Stage::Handshake => {
                    let silent = tokio::time::Instant::from_std(since + patience);
                    tokio::select! {
                        biased;
                        () = moved => {}
                        () = tokio::time::sleep_until(silent) => return stage,
                    }
                }
                Stage::Ehlo
                | Stage::StartTls
                | Stage::Auth
                | Stage::Mail
                | Stage::Rcpt
                | Stage::Data
                | Stage::Body
                | Stage::Quit => return pending().await,
            }
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolved(&self, addresses: &[SocketAddr]) -> String {
        let shown: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
        match shown.as_slice() {
            [one] if *one == self.config.host => "an address, not a name".to_owned(),
            addresses => addresses.join(", "),
        }
    }

    fn connected(&self, address: Option<SocketAddr>) -> String {
        match (&self.config.route, address) {
            (Route::Proxy(_), Some(address)) => format!("{address}, through the proxy"),
            (Route::Proxy(_), None) => "through the proxy".to_owned(),
            #[cfg(unix)]
            (Route::UnixSocket(path), _) => path.display().to_string(),
            (Route::Direct, Some(address)) => address.to_string(),
            (Route::Direct, None) => String::new(),
        }
    }
}

impl Watcher for Recorder {
    fn reached(&self, milestone: Milestone<'_>, at: Instant) {
        let security = self.config.session.security;
        let mut log = self.log();
        match milestone {
            // Reading the roots to trust is no step of the way.
            Milestone::Prepared => log.since = at,
            Milestone::Resolved(addresses) => {
                let detail = self.resolved(addresses);
                log.push(|took| Step::done(Stage::Resolve, took, detail), at);
                log.waiting_for = Stage::Connect;
            }
            Milestone::Connected(address) => {
                let detail = self.connected(address);
                log.push(|took| Step::done(Stage::Connect, took, detail), at);
                log.address = address;
                log.waiting_for = match security {
                    Security::Implicit => Stage::Handshake,
                    Security::StartTls | Security::Opportunistic | Security::Plaintext => {
                        Stage::Greeting
                    }
                };
            }
            Milestone::Secured(tls) => {
                log.push(|took| Step::done(Stage::Handshake, took, secured(tls)), at);
                log.tls = Some(tls.clone());
                log.waiting_for = match security {
                    Security::Implicit => Stage::Greeting,
                    Security::StartTls | Security::Opportunistic | Security::Plaintext => {
                        Stage::Ehlo
                    }
                };
            }
            Milestone::Granted(stage, reply) => {
                log.push(|took| Step::done(stage, took, granted(stage, reply)), at);
                log.waiting_for = Stage::Ehlo;
            }
        }
        drop(log);
        self.moved.notify_waiters();
    }
}

impl Log {
    fn push(&mut self, step: impl FnOnce(Duration) -> Step, at: Instant) {
        let step = step(at.saturating_duration_since(self.since));
        self.since = at;
        // Whoever does not want to see them as they happen has dropped the other end.
        let _ = self.tell.send(step.clone());
        self.steps.push(step);
    }
}

fn secured(tls: &TlsSession) -> String {
    let how = match tls.verification {
        Verification::Trusted => "certificate verified",
        Verification::Pinned => "the pinned certificate",
        Verification::Off => "certificate not checked",
    };
    format!("{}, {}, {how}", tls.version, tls.cipher)
}

fn granted(stage: Stage, reply: &Reply) -> String {
    match stage {
        Stage::Ehlo => {
            let offers = Extensions::new(reply.clone());
            let lines: Vec<_> = offers.lines().map(printable).collect();
            match lines.is_empty() {
                true => "no extensions are offered".to_owned(),
                false => lines.join(", "),
            }
        }
        Stage::Resolve
        | Stage::Connect
        | Stage::Greeting
        | Stage::StartTls
        | Stage::Handshake
        | Stage::Auth
        | Stage::Mail
        | Stage::Rcpt
        | Stage::Data
        | Stage::Body
        | Stage::Quit => reply.to_string(),
    }
}
