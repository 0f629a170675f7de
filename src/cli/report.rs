//! What became of a message: one report, written for people or as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::exit::Exit;
use crate::check::step::milliseconds;
use crate::check::{Problem, Server};
use crate::error::{Category, Error, Stage};
use crate::net::config::ClientConfig;
use crate::proto::Stats;
use crate::proto::reply::Reply;
use crate::proto::session::Session;
use crate::proto::transaction::{Commitment, Outcome, Verdict};

/// What became of one message.
pub(crate) struct Report {
    /// Its name, in a run of several.
    pub(crate) message: Option<String>,
    pub(crate) server: ServerFacts,
    /// As they were given, each with its verdict.
    pub(crate) recipients: Vec<(String, Verdict)>,
    /// What was promised if some are refused.
    pub(crate) commitment: Commitment,
    pub(crate) traffic: Traffic,
    pub(crate) elapsed: Duration,
}

/// The server, as far as it is known.
#[derive(Clone)]
pub(crate) struct ServerFacts {
    pub(crate) place: Server,
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

    /// The error for people, with what to do next.
    pub(crate) fn problem(&self, error: &Error) -> Problem {
        let problem = Problem::of(error);
        if self.overall() == Overall::InDoubt && error.hint().is_none() {
            return problem.with_hint(
                "The server may have the message: ask the recipient, or look in the server's log, \
                 before it is sent again.",
            );
        }
        problem
    }

    /// The code that this report alone would exit with.
    pub(crate) fn exit(&self) -> Exit {
        match (self.overall(), self.commitment) {
            (Overall::Accepted, _) | (Overall::Partial, Commitment::Each) => Exit::Done,
            (Overall::InDoubt, _) => Exit::Temporary,
            (Overall::Rejected | Overall::Failed, _)
            | (Overall::Partial, Commitment::AllOrNothing) => match self.error() {
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
            "error": self.error().map(|error| self.problem(&error)),
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
        Self {
            place: Server::new(config),
            session: None,
        }
    }

    /// The `server` object of every JSON document.
    fn json(&self) -> Value {
        let place = self.place.clone();
        json!(match &self.session {
            Some(session) => place.with_session(session),
            None => place,
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
