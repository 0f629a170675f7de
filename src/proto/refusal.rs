//! What a refusal means: from stage, code and status to a category, and to what to do next.

use super::command::stage_verb;
use super::extensions::Extensions;
use super::reply::{Class, EnhancedCode, Reply};
use super::session::Session;
use crate::error::{Category, Error, Party, Stage};

/// What of a session bears on the meaning of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Circumstances {
    pub(crate) channel: Channel,
    pub(crate) login: LoginState,
}

/// How the session is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Channel {
    #[default]
    Tls,
    /// In clear, and STARTTLS is not on offer.
    Clear,
    /// In clear, though STARTTLS is on offer.
    ClearByChoice,
}

/// Whether somebody is, or is being, logged in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LoginState {
    #[default]
    WithCredentials,
    Anonymous,
}

impl Circumstances {
    /// The circumstances of a session that is ready.
    pub(crate) fn of(session: &Session) -> Self {
        let login = match session.auth() {
            Some(_) => LoginState::WithCredentials,
            None => LoginState::Anonymous,
        };
        Self {
            channel: Channel::new(session.tls().is_some(), session.extensions()),
            login,
        }
    }
}

impl Channel {
    pub(crate) fn new(tls: bool, extensions: &Extensions) -> Self {
        match (tls, extensions.offers("STARTTLS")) {
            (true, _) => Self::Tls,
            (false, true) => Self::ClearByChoice,
            (false, false) => Self::Clear,
        }
    }
}

/// The error that a 4yz or 5yz reply at this stage is.
pub(crate) fn refusal(stage: Stage, reply: &Reply, circumstances: Circumstances) -> Error {
    let category = categorise(stage, reply, circumstances);
    let party = match category {
        Category::Authentication | Category::MessageRefused | Category::RecipientRefused => {
            Party::Caller
        }
        Category::Dns
        | Category::ConnectionTimeout
        | Category::ConnectionRefused
        | Category::ConnectionLost
        | Category::EncryptionMismatch
        | Category::StartTlsUnavailable
        | Category::Certificate
        | Category::Tls
        | Category::AuthUnavailable
        | Category::SenderRefused
        | Category::RateLimited
        | Category::Temporary
        | Category::Protocol
        | Category::Usage => Party::Server,
    };
    let message = match stage {
        Stage::Greeting => "the server declined service in its greeting".to_owned(),
        Stage::Resolve
        | Stage::Connect
        | Stage::Ehlo
        | Stage::StartTls
        | Stage::Handshake
        | Stage::Auth
        | Stage::Mail
        | Stage::Rcpt
        | Stage::Data
        | Stage::Body
        | Stage::Quit => format!("the server refused {}", stage_verb(stage)),
    };
    let error = Error::new(category, stage, party, message).with_reply(reply.clone());
    let error = match hint(category, stage, reply) {
        Some(hint) => error.with_hint(explained(hint, category, reply)),
        None => error,
    };
    // A limit that was reached will be lifted, whatever class the server chose.
    if category == Category::RateLimited {
        error.with_temporary(true)
    } else {
        error
    }
}

fn categorise(stage: Stage, reply: &Reply, circumstances: Circumstances) -> Category {
    let transient = reply.code().class() == Class::Transient;
    let number = reply.code().number();
    if number == 530 && circumstances.channel == Channel::ClearByChoice {
        return Category::StartTlsUnavailable;
    }
    if number == 530 && circumstances.login == LoginState::Anonymous {
        return Category::Authentication;
    }
    match stage {
        Stage::StartTls => Category::StartTlsUnavailable,
        Stage::Auth => Category::Authentication,
        Stage::Greeting if !transient => Category::ConnectionRefused,
        _ if is_rate_limit(reply.enhanced()) => Category::RateLimited,
        _ if transient => Category::Temporary,
        Stage::Rcpt if number == 552 && is_full_mailbox(reply.enhanced()) => {
            Category::RecipientRefused
        }
        _ if number == 552 => Category::MessageRefused,
        Stage::Ehlo | Stage::Mail => Category::SenderRefused,
        Stage::Rcpt => Category::RecipientRefused,
        Stage::Data | Stage::Body => Category::MessageRefused,
        Stage::Resolve | Stage::Connect | Stage::Greeting | Stage::Handshake | Stage::Quit => {
            Category::Protocol
        }
    }
}

/// x.7.28 (mail flood, in the registry of RFC 5248 without an RFC of its own) and x.4.5 (RFC 3463: congestion), which large providers give
/// where a sending limit is reached.
fn is_rate_limit(enhanced: Option<EnhancedCode>) -> bool {
    enhanced.is_some_and(|code| matches!((code.subject(), code.detail()), (7, 28) | (4, 5)))
}

fn is_full_mailbox(enhanced: Option<EnhancedCode>) -> bool {
    enhanced.is_some_and(|code| (code.subject(), code.detail()) == (2, 2))
}

/// The hint, and before it what the status says, where that is more than the category does.
fn explained(hint: &str, category: Category, reply: &Reply) -> String {
    let telling = match category {
        Category::SenderRefused
        | Category::RecipientRefused
        | Category::MessageRefused
        | Category::Temporary => true,
        Category::Dns
        | Category::ConnectionTimeout
        | Category::ConnectionRefused
        | Category::ConnectionLost
        | Category::EncryptionMismatch
        | Category::StartTlsUnavailable
        | Category::Certificate
        | Category::Tls
        | Category::Authentication
        | Category::AuthUnavailable
        | Category::RateLimited
        | Category::Protocol
        | Category::Usage => false,
    };
    // x.y.0 is what a server says that does not know more.
    let status = reply
        .enhanced()
        .filter(|code| telling && code.detail() != 0);
    match status.and_then(|code| Some((code, code.meaning()?))) {
        Some((code, status)) => format!("{code} says: {}. {hint}", status.meaning),
        None => hint.to_owned(),
    }
}

fn hint(category: Category, stage: Stage, reply: &Reply) -> Option<&'static str> {
    let transient = reply.code().class() == Class::Transient;
    Some(match category {
        Category::StartTlsUnavailable if reply.code().number() == 530 => {
            "Switch encryption to STARTTLS: the server offers it and insists on it."
        }
        Category::StartTlsUnavailable if transient => {
            "TLS is not available on this server for now: try again later."
        }
        Category::StartTlsUnavailable => {
            "The server does not start TLS on this port: try implicit TLS on port 465."
        }
        Category::Authentication if transient => {
            "The server cannot check the password for now: try again later."
        }
        Category::Authentication if reply.code().number() == 530 => {
            "The server wants a log-in: give a user name and a password."
        }
        Category::Authentication => {
            "Check user name and password; some providers want an app password, or have \
             password log-in switched off. If the password is right, another mechanism may work."
        }
        Category::ConnectionRefused => {
            "The server does not take mail from here: check the host, or ask whoever runs it."
        }
        Category::RateLimited => "A sending limit is reached: send less, or later.",
        Category::Temporary => "Try again later.",
        Category::SenderRefused if stage == Stage::Ehlo => {
            "Give another EHLO name: a fully-qualified name that resolves to this machine."
        }
        Category::SenderRefused => {
            "Check that the sender's address belongs to this account or server."
        }
        Category::RecipientRefused => "Check the recipient's address.",
        Category::MessageRefused => "Change the message as the server's reply says.",
        Category::Dns
        | Category::ConnectionTimeout
        | Category::ConnectionLost
        | Category::EncryptionMismatch
        | Category::Certificate
        | Category::Tls
        | Category::AuthUnavailable
        | Category::Protocol
        | Category::Usage => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::reply::{Code, Statuses};

    const TLS: Circumstances = Circumstances {
        channel: Channel::Tls,
        login: LoginState::WithCredentials,
    };

    const ANONYMOUS: Circumstances = Circumstances {
        channel: Channel::Clear,
        login: LoginState::Anonymous,
    };

    const CLEAR_BY_CHOICE: Circumstances = Circumstances {
        channel: Channel::ClearByChoice,
        login: LoginState::Anonymous,
    };

    fn told(stage: Stage, text: &str, circumstances: Circumstances) -> Error {
        let code = text[..3].parse().ok().and_then(Code::new).unwrap();
        let reply = Reply::new(code, Statuses::Read, format!("{text}\r\n"));
        refusal(stage, &reply, circumstances)
    }

    #[test]
    fn a_refusal_has_its_category_by_stage_code_and_circumstances() {
        for (stage, text, circumstances, category) in [
            (Stage::Greeting, "554 no", TLS, Category::ConnectionRefused),
            (Stage::Greeting, "421 no", TLS, Category::Temporary),
            (Stage::Ehlo, "550 no", TLS, Category::SenderRefused),
            (
                Stage::StartTls,
                "502 no",
                TLS,
                Category::StartTlsUnavailable,
            ),
            (
                Stage::StartTls,
                "454 no",
                TLS,
                Category::StartTlsUnavailable,
            ),
            (Stage::Auth, "535 no", TLS, Category::Authentication),
            (Stage::Auth, "454 4.7.0 no", TLS, Category::Authentication),
            (Stage::Mail, "550 no", TLS, Category::SenderRefused),
            (Stage::Mail, "550 no", ANONYMOUS, Category::SenderRefused),
            (Stage::Mail, "552 5.3.4 big", TLS, Category::MessageRefused),
            (Stage::Mail, "552 5.2.2 full", TLS, Category::MessageRefused),
            (Stage::Mail, "530 no", TLS, Category::SenderRefused),
            (Stage::Mail, "530 no", ANONYMOUS, Category::Authentication),
            (
                Stage::Mail,
                "530 no",
                CLEAR_BY_CHOICE,
                Category::StartTlsUnavailable,
            ),
            (
                Stage::Mail,
                "550 no",
                CLEAR_BY_CHOICE,
                Category::SenderRefused,
            ),
            (Stage::Rcpt, "550 5.1.1 no", TLS, Category::RecipientRefused),
            (Stage::Rcpt, "552 big", TLS, Category::MessageRefused),
            (
                Stage::Rcpt,
                "552 5.2.2 full",
                TLS,
                Category::RecipientRefused,
            ),
            (Stage::Rcpt, "452 4.2.2 full", TLS, Category::Temporary),
            (Stage::Rcpt, "550 5.7.28 flood", TLS, Category::RateLimited),
            (Stage::Rcpt, "451 4.4.5 busy", TLS, Category::RateLimited),
            (
                Stage::Rcpt,
                "550 5.4.28 no",
                TLS,
                Category::RecipientRefused,
            ),
            (Stage::Data, "554 no", TLS, Category::MessageRefused),
            (Stage::Body, "550 no", TLS, Category::MessageRefused),
            (Stage::Quit, "550 no", TLS, Category::Protocol),
        ] {
            let error = told(stage, text, circumstances);
            assert_eq!(
                error.category(),
                category,
                "{stage} {text} {circumstances:?}"
            );
            let lasting = text.starts_with('5') && category != Category::RateLimited;
            assert_eq!(error.is_temporary(), !lasting, "{stage} {text}");
            let party = match category {
                Category::Authentication
                | Category::MessageRefused
                | Category::RecipientRefused => Party::Caller,
                _ => Party::Server,
            };
            assert_eq!(error.party(), party, "{stage} {text}");
        }
    }

    #[test]
    fn a_refusal_says_who_refused_what_and_what_to_do() {
        for (stage, text, circumstances, message, hint) in [
            (
                Stage::Greeting,
                "554 no",
                TLS,
                "declined service in its greeting",
                "check the host",
            ),
            (
                Stage::Mail,
                "550 no",
                TLS,
                "refused MAIL",
                "Check that the sender's address",
            ),
            (
                Stage::Ehlo,
                "550 no",
                TLS,
                "refused EHLO",
                "Give another EHLO name",
            ),
            (
                Stage::StartTls,
                "502 no",
                TLS,
                "refused STARTTLS",
                "try implicit TLS on port 465",
            ),
            (
                Stage::StartTls,
                "454 no",
                TLS,
                "refused STARTTLS",
                "TLS is not available",
            ),
            (
                Stage::Mail,
                "530 no",
                CLEAR_BY_CHOICE,
                "refused MAIL",
                "insists on it",
            ),
            (
                Stage::Mail,
                "530 no",
                ANONYMOUS,
                "refused MAIL",
                "The server wants a log-in",
            ),
            (
                Stage::Auth,
                "535 no",
                TLS,
                "refused AUTH",
                "Check user name and password",
            ),
            (
                Stage::Auth,
                "454 no",
                TLS,
                "refused AUTH",
                "cannot check the password for now",
            ),
            (
                Stage::Rcpt,
                "550 5.7.28 no",
                TLS,
                "refused RCPT",
                "A sending limit is reached",
            ),
            (
                Stage::Rcpt,
                "450 no",
                TLS,
                "refused RCPT",
                "Try again later.",
            ),
            (
                Stage::Rcpt,
                "550 no",
                TLS,
                "refused RCPT",
                "Check the recipient's address.",
            ),
            (
                Stage::Body,
                "554 no",
                TLS,
                "refused the message",
                "Change the message",
            ),
        ] {
            let error = told(stage, text, circumstances);
            assert_eq!(
                error.message(),
                format!("the server {message}"),
                "{stage} {text}"
            );
            let told = error.hint().unwrap_or_default();
            assert!(told.contains(hint), "{stage} {text}: {told}");
            assert_eq!(error.to_string(), format!("the server {message}: {text}"));
        }
        assert_eq!(told(Stage::Quit, "550 no", TLS).hint(), None);
    }

    #[test]
    fn a_status_is_explained_where_it_says_more_than_the_category() {
        let hint = |stage, text| told(stage, text, TLS).hint().unwrap_or_default().to_owned();
        assert!(hint(Stage::Rcpt, "550 5.1.1 no").starts_with("5.1.1 says: "));
        assert!(hint(Stage::Rcpt, "450 4.2.2 no").starts_with("4.2.2 says: "));
        for (stage, text) in [
            (Stage::Rcpt, "550 5.1.0 no"),
            (Stage::Rcpt, "550 5.99.99 no"),
            (Stage::Auth, "535 5.7.8 no"),
            (Stage::Rcpt, "550 5.7.28 no"),
        ] {
            assert!(!hint(stage, text).contains(" says: "), "{stage} {text}");
        }
    }
}
