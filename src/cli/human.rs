//! A report for people: what was accepted, what was refused in the server's words, and what to do.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use super::progress;
use super::report::{Overall, Report, ServerFacts, Tally, verdict_stage};
use super::terminal::{self, Ink, Tint};
use crate::check::step::milliseconds;
use crate::error::{Error, Party};
use crate::proto::session::{TlsSession, Verification};
use crate::proto::transaction::Verdict;

/// Whether the end of the dialogue is part of a failure's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialogueTail {
    Shown,
    /// The whole dialogue is on the screen already.
    Left,
}

/// Prints what became of the message to standard output, and why it failed to standard error.
pub(crate) fn print(report: &Report, tail: DialogueTail) {
    let ink = Ink::for_stream(&io::stdout());
    terminal::line(headline(report, ink));
    // Of many, those that went well are told in a line each.
    if report.message.is_some() && report.overall() == Overall::Accepted {
        return;
    }
    let longest = |(address, _): &(String, Verdict)| address.chars().count();
    let width = report.recipients.iter().map(longest).max().unwrap_or(0);
    for recipient in &report.recipients {
        terminal::line(recipient_line(recipient, width, ink));
    }
    if report.traffic.bytes > 0 {
        let cost = format!(
            "  {} octets sent, {} round trips, {} ms",
            report.traffic.bytes,
            report.traffic.round_trips,
            milliseconds(report.elapsed)
        );
        terminal::line(ink.paint(Tint::Faint, cost));
    }
    if let Some(error) = report.error() {
        terminal::error_line(explanation(
            report,
            &error,
            tail,
            Ink::for_stream(&io::stderr()),
        ));
    }
}

/// Prints what became of a run of several messages.
pub(crate) fn sum_up(tally: &Tally, elapsed: Duration) {
    let words = tally.counts().map(|(overall, count)| match overall {
        Overall::Accepted => format!("{count} accepted"),
        Overall::Partial => format!("{count} accepted for some"),
        Overall::Rejected => format!("{count} refused"),
        Overall::InDoubt => format!("{count} in doubt"),
        Overall::Failed => format!("{count} not sent"),
    });
    let words: Vec<String> = words.collect();
    let total = tally.total();
    let rate = progress::rate(total, elapsed);
    let seconds = elapsed.as_secs_f64();
    let messages = if total == 1 { "message" } else { "messages" };
    terminal::line(format_args!(
        "{total} {messages} in {seconds:.1} s, {rate} a second: {}",
        words.join(", ")
    ));
}

fn headline(report: &Report, ink: Ink) -> String {
    let (tint, what) = match report.overall() {
        Overall::Accepted => (Tint::Good, "Accepted by"),
        Overall::Partial => (Tint::Warning, "Accepted for some by"),
        Overall::Rejected => (Tint::Bad, "Refused by"),
        Overall::InDoubt => (Tint::Bad, "In doubt:"),
        Overall::Failed => (Tint::Bad, "Not sent:"),
    };
    let what = ink.paint(tint, what);
    let place = place(&report.server, report.overall());
    match &report.message {
        Some(name) => format!("{name}: {what} {place}"),
        None => format!("{what} {place}"),
    }
}

/// `mail.example.org:587 (192.0.2.1; TLSv1.3, certificate verified; logged in by PLAIN)`.
fn place(server: &ServerFacts, overall: Overall) -> String {
    let host = &server.place.host;
    let place = match server.place.port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    let mut facts = Vec::new();
    if let Some(address) = server.place.address.map(|address| address.ip().to_string())
        && address != *host
    {
        facts.push(address);
    }
    if let Some(session) = &server.session {
        match (session.tls(), overall) {
            (Some(session), _) => facts.push(tls(session)),
            // What failed on the way to TLS was not meant to be without.
            (None, Overall::Failed) => {}
            (None, _) => facts.push("no TLS".to_owned()),
        }
        if let Some(mechanism) = session.auth() {
            facts.push(format!("logged in by {mechanism}"));
        }
    }
    match facts.is_empty() {
        true => place,
        false => format!("{place} ({})", facts.join("; ")),
    }
}

fn tls(session: &TlsSession) -> String {
    let how = match session.verification {
        Verification::Trusted => "certificate verified",
        Verification::Pinned => "certificate pinned",
        Verification::Off => "certificate not checked",
    };
    format!("{}, {how}", session.version)
}

fn recipient_line((address, verdict): &(String, Verdict), width: usize, ink: Ink) -> String {
    let (tint, word) = match verdict {
        Verdict::Accepted(_) => (Tint::Good, "accepted"),
        Verdict::Refused { .. } => (Tint::Bad, "refused"),
        Verdict::Deferred(_) => (Tint::Warning, "put off"),
        Verdict::NotSent(_) => (Tint::Bad, "not sent"),
        Verdict::InDoubt(_) => (Tint::Bad, "in doubt"),
    };
    let why = match (verdict, verdict.reply()) {
        (Verdict::Accepted(_), Some(reply)) => reply.to_string(),
        (_, Some(reply)) => format!("{reply} (at {})", verdict_stage(verdict)),
        (_, None) => String::new(),
    };
    let word = ink.paint(tint, format_args!("{word:<8}"));
    format!("  {word}  {address:<width$}  {why}")
        .trim_end()
        .to_owned()
}

/// What happened, where, who has to act, and what to do next.
fn explanation(report: &Report, error: &Error, tail: DialogueTail, ink: Ink) -> String {
    let who = match error.party() {
        Party::Caller => "this side: the options, the addresses or the message",
        Party::Server => "the server, or whoever runs it",
        Party::Network => "the network between here and the server",
    };
    let label = match report.overall() {
        Overall::Partial => ink.paint(Tint::Warning, "warning:"),
        Overall::Accepted | Overall::Rejected | Overall::InDoubt | Overall::Failed => {
            ink.paint(Tint::Bad, "error:")
        }
    };
    let mut text = format!(
        "{label} {error}\n  where      {} ({})\n  at fault   {who}\n  next step  {}",
        error.stage(),
        error.category(),
        report.problem(error).hint
    );
    let transcript = &error.progress().transcript;
    if tail == DialogueTail::Shown && !transcript.is_empty() {
        text.push_str("\n  the end of the dialogue:");
        let lines: Vec<&str> = transcript.lines().collect();
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            let _ = write!(text, "\n    {}", ink.paint(Tint::Faint, line));
        }
    }
    text
}

/// Lines of dialogue that an error shows.
const TAIL: usize = 8;
