//! What is worth knowing of a message besides its verdicts.

use std::fmt;

use super::reply::Reply;

/// Something to know of a message that does not decide what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A parameter that the caller could do without was left out: the server does not offer its
    /// extension.
    LeftOut {
        /// The parameter's keyword.
        keyword: String,
        /// The EHLO keyword that is missing.
        extension: String,
    },
    /// The server took the message with another priority than was asked for (RFC 6710 §7: 2.3.6).
    Priority(Reply),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut { keyword, extension } => write!(
                f,
                "the parameter {keyword} was left out: the server does not offer {extension}"
            ),
            Self::Priority(reply) => {
                write!(f, "the server changed the priority of the message: {reply}")
            }
        }
    }
}
