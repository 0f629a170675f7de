//! What ends a command before there is a dialogue.

use std::fmt;
use std::io;
use std::path::Path;

use super::exit::Exit;
use crate::error::{Category, Error, Party, Stage};

/// Why a command cannot begin, or cannot go on.
pub(crate) enum Failure {
    /// Options are wrong, or contradict each other.
    Usage(String),
    /// A settings file cannot be used.
    Config(String),
    /// A named file cannot be read.
    NoInput(String),
    /// An address or a message is malformed.
    Data(Error),
    /// This program, or the machine it runs on, is at fault.
    Internal(String),
}

impl Failure {
    /// Wrong options.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::NoInput(format!("cannot read {}: {error}", path.display()))
    }

    /// An address or a message that cannot be sent as it is.
    pub(crate) fn data(stage: Stage, message: impl Into<String>, hint: &str) -> Self {
        let error = Error::new(Category::Usage, stage, Party::Caller, message);
        Self::Data(error.with_hint(hint))
    }

    /// The code to exit with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Config(_) => Exit::Config,
            Self::NoInput(_) => Exit::NoInput,
            Self::Data(_) => Exit::Data,
            Self::Internal(_) => Exit::Internal,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message)
            | Self::Config(message)
            | Self::NoInput(message)
            | Self::Internal(message) => f.write_str(message),
            Self::Data(error) => write!(f, "{error}"),
        }
    }
}
