//! Writing for people: colour only on a terminal, and a closed pipe is no reason to panic.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, Once, PoisonError};

/// Prints a line to standard output.
pub(crate) fn line(text: impl fmt::Display) {
    static SAID: Once = Once::new();
    match above_status(|| writeln!(io::stdout().lock(), "{text}")) {
        Ok(()) => {}
        // Whoever closed the pipe does not want to know.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => SAID.call_once(|| {
            warn(format_args!("standard output is incomplete: {error}"));
        }),
    }
}

/// Prints a line to standard error.
pub(crate) fn error_line(text: impl fmt::Display) {
    let _ = above_status(|| writeln!(io::stderr().lock(), "{text}"));
}

/// Shows how far it is, at the foot of the terminal, below what else is printed. Where standard error
/// is no terminal, nothing.
pub(crate) fn status(text: impl fmt::Display) {
    if !has_status() {
        return;
    }
    let mut shown = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    let text = text.to_string();
    to_terminal(format_args!("{CLEAR}{text}"));
    *shown = Some(text);
}

/// Whether there is somebody to show it to.
pub(crate) fn has_status() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !dumb
}

/// Takes away what [`status`] has shown.
pub(crate) fn clear_status() {
    let mut shown = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if shown.take().is_some() {
        to_terminal(CLEAR);
    }
}

/// Writes a line, which takes the place of the status; that moves down.
fn above_status<T>(write: impl FnOnce() -> T) -> T {
    let shown = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if shown.is_some() {
        to_terminal(CLEAR);
    }
    let written = write();
    if let Some(text) = &*shown {
        to_terminal(text);
    }
    written
}

fn to_terminal(text: impl fmt::Display) {
    let _ = write!(io::stderr().lock(), "{text}");
    let _ = io::stderr().flush();
}

/// The status at the foot of the terminal, if there is one.
static STATUS: Mutex<Option<String>> = Mutex::new(None);
/// To the beginning of the line, and nothing behind.
const CLEAR: &str = "\r\x1b[K";

/// Warns on standard error.
pub(crate) fn warn(text: impl fmt::Display) {
    let ink = Ink::for_stream(&io::stderr());
    error_line(format_args!(
        "{} {text}",
        ink.paint(Tint::Warning, "warning:")
    ));
}

/// Says on standard error why the command ends.
pub(crate) fn error(text: impl fmt::Display) {
    let ink = Ink::for_stream(&io::stderr());
    error_line(format_args!("{} {text}", ink.paint(Tint::Bad, "error:")));
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    Coloured,
}

impl Ink {
    /// Coloured on a terminal, unless <https://no-color.org> or a dumb terminal says otherwise.
    pub(crate) fn for_stream(stream: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match stream.is_terminal() && !unwanted {
            true => Self::Coloured,
            false => Self::Plain,
        }
    }

    /// The text in this tint.
    pub(crate) fn paint(self, tint: Tint, text: impl fmt::Display) -> String {
        match self {
            Self::Plain => text.to_string(),
            Self::Coloured => format!("\x1b[{}m{text}\x1b[0m", tint.code()),
        }
    }
}

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tint {
    Good,
    Bad,
    Warning,
    Client,
    Server,
    Faint,
}

impl Tint {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "1;32",
            Self::Bad => "1;31",
            Self::Warning => "1;33",
            Self::Client => "36",
            Self::Server => "32",
            Self::Faint => "2",
        }
    }
}
