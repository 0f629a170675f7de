//! What became of a message: one report, written for people or as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::exit::Exit;
use crate::error::{Category, Error, Stage};
use crate::net::Route;
use crate::net::config::ClientConfig;
use crate::proto::Stats;
use crate::proto::reply::{Reply, push_printable};
use crate::proto::session::{Session, TlsSession};
use crate::proto::transaction::{Outcome, Verdict};

/// What became of one message.
pub(crate) struct Report {
    /// Its name, in a run of several.
    pub(crate) message: Option<String>,
    pub(crate) server: ServerFacts,
    /// As they were given, each with its verdict.
    pub(crate) recipients: Vec<(String, Verdict)>,
    pub(crate) traffic: Traffic,
    pub(crate) elapsed: Duration,
}

/// The server, as far as it is known.
#[derive(Clone)]
pub(crate) struct ServerFacts {
    /// Its name or address, or the path of its socket.
    pub(crate) host: String,
    /// `None` on a Unix socket.
    pub(crate) port: Option<u16>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) session: Option<Session>,
}

/// What a message cost.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    /// Octets sent.
    pub(crate) bytes: u64,
    pub(crate) round_trips: u64,
}

/// The outcome in one word. In this order they get worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Overall {
    Accepted,
    Partial,
    Rejected,
    InDoubt,
    Failed,
}

/// How often each outcome came.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<Overall, u64>);

impl Tally {
    pub(crate) fn add(&mut self, overall: Overall) {
        *self.0.entry(overall).or_default() += 1;
    }

    /// All of them together.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those that came, the best first.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Overall, u64)> {
        self.0.iter().map(|(overall, count)| (*overall, *count))
    }
}

impl Report {
    /// The outcome in one word.
    pub(crate) fn overall(&self) -> Overall {
        let any = |test: fn(&Verdict) -> bool| self.recipients.iter().any(|(_, v)| test(v));
        let accepted = any(Verdict::is_accepted);
        if accepted && self.recipients.iter().all(|(_, v)| v.is_accepted()) {
            return Overall::Accepted;
        }
        // A duplicate is worse than a partial delivery: the doubt is what counts.
        if any(|verdict| matches!(verdict, Verdict::InDoubt(_))) {
            return Overall::InDoubt;
        }
        if accepted {
            return Overall::Partial;
        }
        let refused = any(|v| matches!(v, Verdict::Refused { .. } | Verdict::Deferred(_)));
        match (refused, self.error().map(|error| error.category())) {
            (true, _)
            | (
                false,
                Some(
                    Category::SenderRefused | Category::RecipientRefused | Category::MessageRefused,
                ),
            ) => Overall::Rejected,
            (false, _) => Overall::Failed,
        }
    }

    /// Why somebody did not get the message; `None` if all did.
    pub(crate) fn error(&self) -> Option<Error> {
        let failed: Vec<Verdict> = self
            .recipients
            .iter()
            .map(|(_, verdict)| verdict)
            .filter(|verdict| !verdict.is_accepted())
            .cloned()
            .collect();
        let outcome = Outcome::new(failed);
        match &self.server.session {
            Some(session) => outcome.in_session(session).error(),
            None => outcome.error(),
        }
    }

    /// What to do next, in one sentence.
    pub(crate) fn next_step(&self, error: &Error) -> String {
        if self.overall() == Overall::InDoubt && error.hint().is_none() {
            return "The server may have the message: ask the recipient, or look in the server's \
                    log, before it is sent again."
                .to_owned();
        }
        next_step(error)
    }

    /// The code that this report alone would exit with.
    pub(crate) fn exit(&self) -> Exit {
        match self.overall() {
            Overall::Accepted | Overall::Partial => Exit::Done,
            Overall::InDoubt => Exit::Temporary,
            Overall::Rejected | Overall::Failed => match self.error() {
                Some(error) => Exit::of(&error),
                None => Exit::Internal,
            },
        }
    }

    /// The document of `--json`.
    pub(crate) fn json(&self) -> Value {
        let mut document = json!({
            "outcome": self.overall().as_str(),
            "server": self.server.json(),
            "recipients": self.recipients.iter().map(recipient_json).collect::<Value>(),
            "accepted": self.accepted().collect::<Value>(),
            "rejected": self.rejected().collect::<Value>(),
            "reply": self.reply().map(|reply| reply_json(&reply)),
            "error": self.error().map(|error| error_json(&error, &self.next_step(&error))),
            "bytes": self.traffic.bytes,
            "round_trips": self.traffic.round_trips,
            "elapsed_ms": milliseconds(self.elapsed),
        });
        if let (Some(name), Some(fields)) = (&self.message, document.as_object_mut()) {
            fields.shift_insert(0, "message".to_owned(), json!(name));
        }
        document
    }

    fn accepted(&self) -> impl Iterator<Item = Value> {
        self.recipients
            .iter()
            .filter(|(_, verdict)| verdict.is_accepted())
            .map(|(address, _)| json!(address))
    }

    fn rejected(&self) -> impl Iterator<Item = Value> {
        self.recipients
            .iter()
            .filter_map(|(address, verdict)| match verdict {
                Verdict::Refused { reply, .. } | Verdict::Deferred(reply) => Some(json!({
                    "recipient": address,
                    "code": reply.code().number(),
                    "enhanced": enhanced(reply),
                    "text": reply.text(),
                })),
                Verdict::Accepted(_) | Verdict::NotSent(_) | Verdict::InDoubt(_) => None,
            })
    }

    /// The reply that decided over the whole message.
    fn reply(&self) -> Option<Reply> {
        let accepted = self.recipients.iter().find(|(_, v)| v.is_accepted());
        match accepted {
            Some((_, verdict)) => verdict.reply().cloned(),
            None => self.error().and_then(|error| error.reply().cloned()),
        }
    }
}

impl ServerFacts {
    /// A server that was not reached.
    pub(crate) fn unknown(config: &ClientConfig) -> Self {
        let (host, port) = match &config.route {
            #[cfg(unix)]
            Route::UnixSocket(path) => (path.display().to_string(), None),
            Route::Direct | Route::Proxy(_) => (config.host.clone(), Some(config.port)),
        };
        Self {
            host,
            port,
            address: None,
            session: None,
        }
    }

    /// The `server` object of every JSON document.
    pub(crate) fn json(&self) -> Value {
        let session = self.session.as_ref();
        let extensions: Vec<String> = session.map_or_else(Vec::new, |session| {
            session.extensions().lines().map(printable).collect()
        });
        json!({
            "host": self.host,
            "port": self.port,
            "address": self.address.map(|address| address.to_string()),
            "greeting": session.map(|session| session.greeting().text()),
            "extensions": extensions,
            "tls": session.and_then(Session::tls).map(tls_json),
            "auth": session.and_then(Session::auth).map(|mechanism| mechanism.as_str()),
        })
    }
}

impl Traffic {
    /// What was spent between two readings of a connection's counters.
    pub(crate) fn between(before: &Stats, after: &Stats) -> Self {
        Self {
            bytes: after.bytes_sent.saturating_sub(before.bytes_sent),
            round_trips: after.flights.saturating_sub(before.flights),
        }
    }
}

impl Overall {
    /// The word of the JSON document.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Partial => "partial",
            Self::Rejected => "rejected",
            Self::InDoubt => "in-doubt",
            Self::Failed => "failed",
        }
    }
}

/// The `error` object of every JSON document.
pub(crate) fn error_json(error: &Error, hint: &str) -> Value {
    json!({
        "category": error.category().as_str(),
        "stage": error.stage().as_str(),
        "message": error.to_string(),
        "hint": hint,
    })
}

/// What to do next where the error itself does not say.
fn next_step(error: &Error) -> String {
    if let Some(hint) = error.hint() {
        return hint.to_owned();
    }
    let step = match (error.category(), error.is_temporary()) {
        (Category::Usage, _) => "Change the option, the address or the message.",
        (Category::Dns, _) => "Check the host name, and that this machine can resolve names.",
        (_, true) => "Try again later; if it persists, ask whoever runs the server.",
        (Category::Authentication | Category::AuthUnavailable, false) => {
            "Check user name, password and what the account is allowed to do."
        }
        (Category::RecipientRefused, false) => "Check the recipients' addresses.",
        (Category::SenderRefused, false) => "Check the sender's address, and who may use it.",
        (
            Category::ConnectionTimeout
            | Category::ConnectionRefused
            | Category::ConnectionLost
            | Category::EncryptionMismatch
            | Category::StartTlsUnavailable
            | Category::Certificate
            | Category::Tls
            | Category::MessageRefused
            | Category::RateLimited
            | Category::Temporary
            | Category::Protocol,
            false,
        ) => "Check host, port and encryption, or ask whoever runs the server.",
    };
    step.to_owned()
}

/// The stage at which a verdict fell.
pub(crate) fn verdict_stage(verdict: &Verdict) -> Stage {
    match verdict {
        Verdict::Accepted(_) => Stage::Body,
        Verdict::Refused { stage, .. } => *stage,
        Verdict::Deferred(_) => Stage::Rcpt,
        Verdict::NotSent(error) | Verdict::InDoubt(error) => error.stage(),
    }
}

/// A verdict in one word of the JSON document.
pub(crate) fn verdict_word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted(_) => "accepted",
        Verdict::Refused { .. } => "rejected",
        Verdict::Deferred(_) => "deferred",
        Verdict::NotSent(_) => "not-sent",
        Verdict::InDoubt(_) => "in-doubt",
    }
}

fn recipient_json((address, verdict): &(String, Verdict)) -> Value {
    let reply = verdict.reply();
    let text = match (reply, verdict) {
        (Some(reply), _) => reply.text(),
        (None, Verdict::NotSent(error) | Verdict::InDoubt(error)) => error.message().to_owned(),
        (None, Verdict::Accepted(_) | Verdict::Refused { .. } | Verdict::Deferred(_)) => {
            String::new()
        }
    };
    json!({
        "recipient": address,
        "outcome": verdict_word(verdict),
        "stage": verdict_stage(verdict).as_str(),
        "code": reply.map(|reply| reply.code().number()),
        "enhanced": reply.and_then(enhanced),
        "text": text,
    })
}

fn reply_json(reply: &Reply) -> Value {
    json!({
        "code": reply.code().number(),
        "enhanced": enhanced(reply),
        "text": reply.text(),
    })
}

fn enhanced(reply: &Reply) -> Option<String> {
    reply.enhanced().map(|code| code.to_string())
}

fn tls_json(tls: &TlsSession) -> Value {
    let certificate = tls.certificate.as_ref().map(|certificate| {
        json!({
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "not_after": date(certificate.not_after),
            "sha256": certificate.fingerprint(),
        })
    });
    json!({
        "version": tls.version,
        "cipher": tls.cipher,
        "verified": tls.verification.is_verified(),
        "certificate": certificate,
    })
}

fn date(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds)
        .ok()
        .map(|time| time.to_string())
}

fn printable(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    push_printable(&mut text, octets);
    text
}

/// In steps of a tenth.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
