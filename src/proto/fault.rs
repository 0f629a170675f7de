//! What breaks a session, as errors: each says who did what, when, and what to do next.

use super::command::stage_verb;
use super::config::Security;
use super::evidence::{Evidence, Spoken};
use super::framing::FramingError;
use super::link::Link;
use super::reply::{Class, Reply};
use crate::error::{Category, Error, Party, Stage};

/// The time for this stage has run out.
pub(crate) fn timed_out(stage: Stage, link: &Link) -> Error {
    let message = match link.is_waiting() {
        true => format!("the time ran out {}", moment(stage)),
        false => "the server stopped reading what was sent".to_owned(),
    };
    let hint = match stage {
        Stage::Greeting if link.config.security != Security::Implicit => {
            "Check host and port. A server that expects TLS from the start stays silent: try \
             implicit TLS."
        }
        Stage::Greeting
        | Stage::Resolve
        | Stage::Connect
        | Stage::Ehlo
        | Stage::StartTls
        | Stage::Handshake
        | Stage::Auth
        | Stage::Mail
        | Stage::Rcpt
        | Stage::Data
        | Stage::Body
        | Stage::Quit => "Try again later, or allow more time.",
    };
    link.error(Category::ConnectionTimeout, stage, Party::Network, message)
        .with_hint(hint)
}

/// A reply to something that was not sent to its end.
pub(crate) fn early(stage: Stage, reply: Reply, link: &Link) -> Error {
    let message = format!(
        "the server answered {} before it was sent",
        stage_verb(stage)
    );
    link.error(Category::Protocol, stage, Party::Server, message)
        .with_reply(reply)
}

/// A reply that neither grants nor refuses what was asked.
pub(crate) fn unexpected(stage: Stage, wanted: &str, reply: Reply, link: &Link) -> Error {
    let verb = stage_verb(stage);
    let message = format!("the server's reply to {verb} is not {wanted}, and no refusal");
    link.error(Category::Protocol, stage, Party::Server, message)
        .with_reply(reply)
}

/// A message was taken by a server that had refused it before.
pub(crate) fn contradiction(reply: Reply, link: &Link) -> Error {
    let message = "the server took a message that it had refused before";
    link.error(Category::Protocol, Stage::Body, Party::Server, message)
        .with_reply(reply)
}

/// A reply to nothing. A server that closes an idle connection announces it so.
pub(crate) fn unasked(stage: Stage, reply: Reply, link: &Link) -> Error {
    let closing = reply.code().number() == 221 || reply.code().class() == Class::Transient;
    let (category, message) = match closing {
        true => (
            Category::ConnectionLost,
            "the server ended the session by itself",
        ),
        false => (
            Category::Protocol,
            "the server sent a reply that nobody asked for",
        ),
    };
    let error = link
        .error(category, stage, Party::Server, message)
        .with_reply(reply);
    error.with_temporary(closing)
}

/// RFC 3207 §4.2 and the advisories since: what is sent in clear behind the 220 is an attack.
pub(crate) fn injected(link: &Link) -> Error {
    let stage = match link.config.security {
        Security::Implicit => Stage::Handshake,
        Security::StartTls | Security::Opportunistic | Security::Plaintext => Stage::StartTls,
    };
    let message = "octets in clear came where the TLS handshake was due";
    let error = link.error(Category::Protocol, stage, Party::Network, message);
    error.with_hint("Somebody on the way may be injecting text: do not send credentials here.")
}

/// TLS where a greeting in clear was due.
pub(crate) fn mismatched(link: &Link) -> Error {
    let (category, stage) = (Category::EncryptionMismatch, Stage::Greeting);
    let message = "the server speaks TLS where a greeting in clear was due";
    let error = link.error(category, stage, Party::Caller, message);
    error
        .with_hint("Switch encryption to TLS (implicit) for this port.")
        .with_evidence(Evidence::Spoken(Spoken::Tls))
}

/// Octets that are no reply.
pub(crate) fn malformed(fault: &FramingError, stage: Stage, link: &Link) -> Error {
    let spoken = match fault {
        FramingError::Malformed(line) if stage == Stage::Greeting => Spoken::foreign(line),
        FramingError::Malformed(_)
        | FramingError::LineTooLong
        | FramingError::ReplyTooLong
        | FramingError::CodesDiffer => None,
    };
    let message = match fault {
        FramingError::LineTooLong => "the server sent a reply line that does not end".to_owned(),
        FramingError::ReplyTooLong => "the server sent a reply that does not end".to_owned(),
        FramingError::CodesDiffer => {
            "the lines of one reply of the server have different codes".to_owned()
        }
        FramingError::Malformed(_) => match spoken {
            Some(spoken) => format!("this is no SMTP server: it speaks {}", spoken.as_str()),
            None => "the server sent a line that is no SMTP reply".to_owned(),
        },
    };
    let error = link.error(Category::Protocol, stage, Party::Server, message);
    let error = match spoken {
        Some(spoken) => error.with_evidence(Evidence::Spoken(spoken)),
        None => error,
    };
    if stage == Stage::Greeting {
        error.with_hint("Check host and port.")
    } else {
        error
    }
}

/// A message was given up where only the end of the connection could stop it. Others who share the
/// connection are told so, and not what was wrong with that message.
pub(crate) fn half_sent(link: &Link) -> Error {
    let message = "the connection was ended because a message was given up half-way";
    let stage = link.stage();
    link.error(Category::ConnectionLost, stage, Party::Caller, message)
        .with_hint("What else was to go over this connection can be sent over another.")
}

/// What ended the connection, for a message that was sent to its end: whatever it was, the reply was
/// lost by it.
pub(crate) fn in_doubt(error: &Error) -> Error {
    let hint = "The server may have the message: find out before it is sent again.";
    match error.category() {
        Category::ConnectionLost | Category::ConnectionTimeout => error.clone().at(Stage::Body),
        Category::Dns
        | Category::ConnectionRefused
        | Category::EncryptionMismatch
        | Category::StartTlsUnavailable
        | Category::Certificate
        | Category::Tls
        | Category::Authentication
        | Category::AuthUnavailable
        | Category::SenderRefused
        | Category::RecipientRefused
        | Category::MessageRefused
        | Category::RateLimited
        | Category::Temporary
        | Category::Protocol
        | Category::Usage => {
            let message = format!("the reply to the message was lost: {}", error.message());
            Error::new(
                Category::ConnectionLost,
                Stage::Body,
                error.party(),
                message,
            )
            .with_progress(error.progress().clone())
        }
    }
    .with_hint(hint)
    .with_evidence(Evidence::ReplyLost)
}

/// The connection takes nothing more.
pub(crate) fn told_to_quit(stage: Stage) -> Error {
    let message = "the connection was told to quit";
    Error::new(Category::Usage, stage, Party::Caller, message)
}

/// When something happened, as a clause.
pub(crate) fn moment(stage: Stage) -> String {
    match stage {
        Stage::Greeting => "before the server's greeting".to_owned(),
        Stage::Handshake => "during the TLS handshake".to_owned(),
        Stage::Resolve
        | Stage::Connect
        | Stage::Ehlo
        | Stage::StartTls
        | Stage::Auth
        | Stage::Mail
        | Stage::Rcpt
        | Stage::Data
        | Stage::Body
        | Stage::Quit => format!("while {} was unanswered", stage_verb(stage)),
    }
}

/// The first octet of a TLS record: an alert or a handshake message.
pub(crate) fn is_tls(octets: &[u8]) -> bool {
    matches!(octets.first(), Some(0x15 | 0x16))
}
