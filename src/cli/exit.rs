//! Exit codes: those of `sysexits.h` that sendmail and msmtp use.

use std::process::ExitCode;

use crate::error::{Category, Error, Stage};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// The server refused for good.
    Refused,
    /// Options are wrong.
    Usage,
    /// The message or an address is malformed.
    Data,
    /// A named file cannot be read.
    NoInput,
    /// The host name was not found.
    NoHost,
    /// No connection, or no service.
    Unavailable,
    /// A fault of this program.
    Internal,
    /// Failed for now, or in doubt.
    Temporary,
    /// The server broke the protocol, or TLS failed.
    Protocol,
    /// Not logged in.
    NoPermission,
    /// A settings file cannot be used.
    Config,
}

impl Exit {
    /// The code for an error of the engine or the driver.
    pub(crate) fn of(error: &Error) -> Self {
        match error.category() {
            Category::Dns | Category::StartTlsUnavailable | Category::Authentication
                if error.is_temporary() =>
            {
                Self::Temporary
            }
            Category::Dns => Self::NoHost,
            Category::ConnectionRefused => Self::Unavailable,
            Category::ConnectionTimeout if before_greeting(error) => Self::Unavailable,
            Category::ConnectionTimeout | Category::ConnectionLost => Self::Temporary,
            Category::RateLimited | Category::Temporary if error.stage() == Stage::Greeting => {
                Self::Unavailable
            }
            Category::RateLimited | Category::Temporary => Self::Temporary,
            Category::EncryptionMismatch
            | Category::StartTlsUnavailable
            | Category::Certificate
            | Category::Tls
            | Category::Protocol => Self::Protocol,
            Category::Authentication | Category::AuthUnavailable => Self::NoPermission,
            Category::SenderRefused | Category::RecipientRefused | Category::MessageRefused => {
                Self::Refused
            }
            Category::Usage => Self::Data,
        }
    }

    /// The number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 64,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::NoHost => 68,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::Temporary => 75,
            Self::Protocol => 76,
            Self::NoPermission => 77,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// With TLS from the first octet the handshake comes before the greeting.
fn before_greeting(error: &Error) -> bool {
    match error.stage() {
        Stage::Resolve | Stage::Connect | Stage::Greeting => true,
        Stage::Handshake => error.progress().last_reply.is_none(),
        Stage::Ehlo
        | Stage::StartTls
        | Stage::Auth
        | Stage::Mail
        | Stage::Rcpt
        | Stage::Data
        | Stage::Body
        | Stage::Quit => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Party;

    #[test]
    fn each_category_has_the_exit_code_of_the_contract() {
        use Category as C;
        use Stage as S;
        for (category, stage, temporary, code) in [
            (C::Usage, S::Rcpt, false, 65),
            (C::Dns, S::Resolve, false, 68),
            (C::Dns, S::Resolve, true, 75),
            (C::ConnectionRefused, S::Connect, false, 69),
            (C::ConnectionRefused, S::Greeting, false, 69),
            (C::ConnectionTimeout, S::Connect, true, 69),
            (C::ConnectionTimeout, S::Greeting, true, 69),
            (C::ConnectionTimeout, S::Body, true, 75),
            (C::ConnectionLost, S::Mail, true, 75),
            (C::EncryptionMismatch, S::Handshake, false, 76),
            (C::StartTlsUnavailable, S::StartTls, false, 76),
            (C::StartTlsUnavailable, S::StartTls, true, 75),
            (C::Certificate, S::Handshake, false, 76),
            (C::Tls, S::Handshake, false, 76),
            (C::Protocol, S::Greeting, false, 76),
            (C::Authentication, S::Auth, false, 77),
            (C::Authentication, S::Auth, true, 75),
            (C::AuthUnavailable, S::Auth, false, 77),
            (C::RateLimited, S::Mail, true, 75),
            (C::Temporary, S::Rcpt, true, 75),
            (C::Temporary, S::Greeting, true, 69),
            (C::SenderRefused, S::Mail, false, 1),
            (C::RecipientRefused, S::Rcpt, false, 1),
            (C::MessageRefused, S::Body, false, 1),
        ] {
            let error = Error::new(category, stage, Party::Server, "x").with_temporary(temporary);
            assert_eq!(Exit::of(&error).number(), code, "{category} at {stage}");
        }
    }
}
