//! The dialogue for people: as a trace with times, and on the terminal.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use jiff::Timestamp;

use super::failure::Failure;
use super::terminal::{self, Ink, Tint};
use crate::proto::dialogue::{Entry, Observer};

/// Writes each entry with its time in UTC, as `2026-01-31T12:00:00.000000Z C: EHLO …`.
pub(crate) struct Trace {
    out: Box<dyn Write + Send>,
    name: String,
    /// One moment on both clocks: entries come with the other one.
    origin: (Instant, SystemTime),
    state: TraceState,
}

enum TraceState {
    Writing,
    /// It was said once that the trace is incomplete.
    Broken,
}

/// Where `--trace -` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dash {
    /// Standard output.
    Out,
    /// Standard error, because standard output is for one JSON document.
    Error,
}

impl Trace {
    /// A trace into this file, which is replaced; or, for `-`, to a standard stream.
    pub(crate) fn create(path: &Path, dash: Dash) -> Result<Self, Failure> {
        let out: Box<dyn Write + Send> = match (path.as_os_str() == "-", dash) {
            (true, Dash::Out) => Box::new(io::stdout()),
            (true, Dash::Error) => Box::new(io::stderr()),
            (false, _) => Box::new(File::create(path).map_err(|error| {
                Failure::usage(format!("cannot write {}: {error}", path.display()))
            })?),
        };
        Ok(Self {
            out,
            name: path.display().to_string(),
            origin: (Instant::now(), SystemTime::now()),
            state: TraceState::Writing,
        })
    }
}

impl Observer for Trace {
    fn observe(&mut self, entry: Entry<'_>, now: Instant) {
        let (instant, wall) = self.origin;
        let time = wall + now.saturating_duration_since(instant);
        let time = Timestamp::try_from(time).unwrap_or_default();
        let (mark, text) = parts(entry);
        // In one write: the trace stays readable when other output goes to the same place.
        let line = format!("{time:.6} {mark}{text}\n");
        let written = self.out.write_all(line.as_bytes());
        if let (Err(error), TraceState::Writing) = (written, &self.state) {
            terminal::warn(format_args!(
                "the trace {} is incomplete: {error}",
                self.name
            ));
            self.state = TraceState::Broken;
        }
    }
}

/// Shows the dialogue on standard output as it happens.
pub(crate) struct Show {
    ink: Ink,
}

impl Show {
    pub(crate) fn new() -> Self {
        Self {
            ink: Ink::for_stream(&io::stdout()),
        }
    }
}

impl Observer for Show {
    fn observe(&mut self, entry: Entry<'_>, _now: Instant) {
        let (mark, text) = parts(entry);
        let tint = match entry {
            Entry::Client(_) => Tint::Client,
            Entry::Server(_) => Tint::Server,
            Entry::Note(_) => Tint::Faint,
        };
        terminal::line(self.ink.paint(tint, format_args!("{mark}{text}")));
    }
}

/// Everybody who watches the dialogues of a command, which may be on several connections. A clone
/// is the same audience.
#[derive(Clone, Default)]
pub(crate) struct Audience(Arc<Mutex<Vec<Box<dyn Observer + Send>>>>);

impl Audience {
    /// One more observer.
    pub(crate) fn add(&self, observer: impl Observer + Send + 'static) {
        self.members().push(Box::new(observer));
    }

    fn members(&self) -> MutexGuard<'_, Vec<Box<dyn Observer + Send>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Audience {
    fn observe(&mut self, entry: Entry<'_>, now: Instant) {
        for observer in self.members().iter_mut() {
            observer.observe(entry, now);
        }
    }
}

fn parts(entry: Entry<'_>) -> (&'static str, &str) {
    match entry {
        Entry::Client(line) => ("C: ", line),
        Entry::Server(line) => ("S: ", line),
        Entry::Note(note) => ("-- ", note),
    }
}
