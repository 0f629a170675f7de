//! What an error most likely means, and what to change.
//!
//! A [`Diagnosis`] is made of an [`Error`] and of the [`Situation`] in which it arose:
//! what was seen, the likely causes, what to change, and, where it can be known, the very settings to
//! use instead. Its sentences are for people who have never read an RFC, and hold no secret.
//!
//! ```no_run
//! use ehlo::diagnosis::{Diagnosis, Situation};
//! use ehlo::{Client, ClientConfig, Security};
//!
//! # async fn connect() {
//! let config = ClientConfig::new("smtp.example.org", Security::Implicit).with_port(587);
//! if let Err(error) = Client::connect(config.clone()).await {
//!     let diagnosis = Diagnosis::of(&error, &Situation::of(&config));
//!     println!("{diagnosis}");
//!     if let Some(better) = diagnosis.suggestion {
//!         println!("{}, {}, {}", better.host, better.port, better.encryption);
//!     }
//! }
//! # }
//! ```
//!
//! All of it is data, read on first use. `facts`, with `certificate`, makes signs and words of an error; the table
//! `rules.toml` makes a [`Kind`] of signs, codes and the server's words, the first rule that fits
//! deciding; `texts.toml` has what is said of each kind. What a provider is known to mean by a reply
//! ([`crate::providers`]) goes before both.
//!
//! What each fault looks like is on the page [`troubleshooting`].

mod certificate;
mod facts;
mod kind;
mod rules;
mod situation;
mod suggestion;
mod texts;

use std::fmt;

use serde::{Serialize, Serializer};

pub use kind::{Kind, UnknownKind};
pub use situation::Situation;
pub use suggestion::Suggestion;

use crate::error::{Category, Error, Stage};
use crate::providers::{self, KnownReply};
use facts::Facts;
use texts::Texts;

#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}

/// What an error most likely means, and what to change.
///
/// `Display` is a paragraph or two of several lines, for a terminal or a page; it serialises with
/// the names of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What it comes down to.
    pub kind: Kind,
    /// The error's category.
    #[serde(serialize_with = "name_category")]
    pub category: Category,
    /// Where in the dialogue it happened.
    #[serde(serialize_with = "name_stage")]
    pub stage: Stage,
    /// What was seen, in plain words; the server's own, if there are any, in quotation marks.
    pub observed: String,
    /// What it likely comes from, the likeliest first: a sentence each.
    pub causes: Vec<String>,
    /// What to change, in the order to try it: a sentence or two each.
    pub advice: Vec<String>,
    /// Settings to use instead, where they are known.
    pub suggestion: Option<Suggestion>,
    /// The provider whose server it is, by its [id](crate::providers::Provider::id).
    pub provider: Option<String>,
    /// Whether the same attempt may succeed later, with nothing changed. Never of a message that is in
    /// doubt: another attempt may make it arrive twice.
    pub temporary: bool,
}

impl Diagnosis {
    /// The diagnosis of an error.
    pub fn of(error: &Error, situation: &Situation) -> Self {
        let facts = Facts::of(error, situation);
        let by_rules = rules::kind(&facts);
        // Whether a message has arrived matters more than what anybody said.
        let known = Known::of(error, situation).filter(|_| by_rules != Kind::InDoubt);
        let kind = known.as_ref().and_then(Known::kind).unwrap_or(by_rules);
        let texts = Texts::of(kind);
        let mut causes = texts.causes(&facts);
        let mut advice = texts.advice(&facts);
        match known {
            // The texts say the same, and with the facts of this case.
            Some(Known::OfMany(_)) if kind == by_rules => {}
            Some(Known::Own(reply) | Known::OfMany(reply)) => {
                causes.insert(0, reply.meaning.clone());
                advice.insert(0, reply.advice.clone());
            }
            None => {}
        }
        Self {
            kind,
            category: error.category(),
            stage: error.stage(),
            observed: observed(texts, &facts),
            causes,
            advice,
            suggestion: suggestion::first(&texts.suggest, &facts),
            provider: situation.provider().map(|provider| provider.id.clone()),
            temporary: error.is_temporary() && kind != Kind::InDoubt,
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.observed)?;
        match self.causes.as_slice() {
            [] => {}
            [cause] => write!(f, "\nLikely cause: {cause}")?,
            causes => {
                f.write_str("\nLikely causes, the likeliest first:")?;
                for cause in causes {
                    write!(f, "\n  - {cause}")?;
                }
            }
        }
        match self.advice.as_slice() {
            [] => {}
            [advice] => write!(f, "\nWhat to do: {advice}")?,
            advice => {
                f.write_str("\nWhat to do:")?;
                for (index, advice) in advice.iter().enumerate() {
                    write!(f, "\n  {}. {advice}", index + 1)?;
                }
            }
        }
        match &self.suggestion {
            Some(suggestion) if suggestion.certificate_sha256.is_some() => write!(
                f,
                "\nSettings to use, once whoever runs the server has confirmed the fingerprint: \
                 {suggestion}"
            ),
            Some(suggestion) => write!(f, "\nSettings to try: {suggestion}"),
            None => Ok(()),
        }
    }
}

/// A reply whose meaning providers' data knows.
enum Known {
    /// The provider's own: it knows best.
    Own(&'static KnownReply),
    /// One that servers of many makes give. The rules know such replies too, and more of the
    /// situation.
    OfMany(&'static KnownReply),
}

impl Known {
    fn of(error: &Error, situation: &Situation) -> Option<Self> {
        let reply = error.reply().filter(|reply| !reply.is_positive())?;
        let own = situation
            .provider()
            .and_then(|provider| provider.replies.iter().find(|known| known.fits(reply)));
        match own {
            Some(own) => Some(Self::Own(own)),
            None => providers::explain(reply).map(Self::OfMany),
        }
    }

    /// What the data's own, coarser kind is here.
    fn kind(&self) -> Option<Kind> {
        let (Self::Own(reply) | Self::OfMany(reply)) = self;
        let means = MEANS.iter().find(|(name, _)| *name == reply.kind);
        means.map(|(_, kind)| *kind)
    }
}

/// What was seen, with the server's own words.
fn observed(texts: &Texts, facts: &Facts<'_>) -> String {
    let observed = texts.observed(facts);
    let Some(reply) = facts.error.reply() else {
        return observed;
    };
    let mut said: String = reply.to_string().chars().take(QUOTED).collect();
    if reply.to_string().chars().nth(QUOTED).is_some() {
        said.push('…');
    }
    format!("{observed} The server's answer was \"{said}\".")
}

fn name_category<S: Serializer>(category: &Category, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(category.as_str())
}

fn name_stage<S: Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stage.as_str())
}

/// Characters of a reply that are quoted.
const QUOTED: usize = 400;

/// The kinds of [`KnownReply`], and which each is here.
const MEANS: [(&str, Kind); 21] = [
    ("password-wrong", Kind::CredentialsRefused),
    ("app-password-needed", Kind::AppPasswordRequired),
    ("basic-auth-disabled", Kind::OAuthRequired),
    ("smtp-auth-disabled", Kind::LoginDisabled),
    ("oauth-needed", Kind::OAuthRequired),
    ("browser-login-needed", Kind::BrowserLoginRequired),
    ("sender-not-allowed", Kind::SenderNotAllowed),
    ("sender-not-verified", Kind::SenderNotAllowed),
    ("relay-denied", Kind::RelayDenied),
    ("limit-reached", Kind::SendingLimit),
    ("throttled", Kind::SendingLimit),
    ("blocked-ip", Kind::AddressBlocked),
    ("spam-refused", Kind::Spam),
    ("greylisted", Kind::Greylisted),
    ("account-suspended", Kind::AccountLocked),
    ("message-too-large", Kind::MessageTooLarge),
    ("mailbox-unknown", Kind::MailboxUnknown),
    ("mailbox-full", Kind::MailboxFull),
    ("authentication-required", Kind::LoginRequired),
    ("tls-required", Kind::StartTlsRequired),
    ("server-busy", Kind::ServerBusy),
];

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;

    use super::*;
    use crate::error::Party;
    use crate::net::config::ClientConfig;
    use crate::proto::config::Security;
    use crate::proto::evidence::{
        Attempt, CertificateProblem, Evidence, RefusedCertificate, Resolution,
    };
    use crate::proto::reply::{Code, Reply, Statuses};
    use crate::proto::session::Certificate;
    use crate::providers::Encryption;

    fn situation(host: &str, port: u16) -> Situation {
        Situation::of(&ClientConfig::new(host, Security::StartTls).with_port(port))
    }

    fn error(category: Category, stage: Stage) -> Error {
        Error::new(category, stage, Party::Server, "it failed")
    }

    fn reply(stage: Stage, category: Category, text: &str) -> Error {
        let number = text[..3].parse().unwrap();
        let raw = Bytes::from(format!("{text}\r\n"));
        let reply = Reply::new(Code::new(number).unwrap(), Statuses::Read, raw);
        error(category, stage).with_reply(reply)
    }

    #[track_caller]
    fn assert_kind(error: &Error, port: u16, kind: Kind) {
        let diagnosis = Diagnosis::of(error, &situation("mail.example.org", port));
        assert_eq!(diagnosis.kind, kind, "{error:?}");
        assert!(!diagnosis.causes.is_empty() && !diagnosis.advice.is_empty());
        assert!(!diagnosis.to_string().contains('{'), "{diagnosis}");
    }

    #[test]
    fn what_a_sandbox_cannot_show_is_diagnosed_too() {
        let resolve = |problem| {
            error(Category::Dns, Stage::Resolve).with_evidence(Evidence::Resolution(problem))
        };
        let attempt = |problem| Attempt::new("192.0.2.1:25".parse().unwrap(), problem);
        let attempts = |category, problem| {
            let attempts = vec![attempt(problem), attempt(problem)];
            error(category, Stage::Connect).with_evidence(Evidence::Attempts(attempts))
        };
        let certificate = |problem| {
            let chain = vec![Certificate::new([7; 32])];
            let refused = RefusedCertificate::new(problem, "mail.example.org", chain);
            error(Category::Certificate, Stage::Handshake)
                .with_evidence(Evidence::Certificate(refused))
        };
        let timeout = Category::ConnectionTimeout;
        let silent = attempts(timeout, io::ErrorKind::TimedOut);
        let nowhere = attempts(Category::ConnectionRefused, io::ErrorKind::HostUnreachable);
        for (error, port, kind) in [
            (resolve(Resolution::NoSuchName), 587, Kind::HostNotFound),
            (
                resolve(Resolution::NoAddress),
                587,
                Kind::HostWithoutAddress,
            ),
            (resolve(Resolution::Failed), 587, Kind::ResolverFailed),
            (resolve(Resolution::TimedOut), 587, Kind::ResolverFailed),
            (silent.clone(), 25, Kind::PortBlocked),
            (silent.clone(), 587, Kind::ConnectTimedOut),
            (silent, 2525, Kind::ConnectTimedOut),
            (nowhere, 587, Kind::Unreachable),
            (error(timeout, Stage::Greeting), 465, Kind::TlsExpected),
            (error(timeout, Stage::Greeting), 587, Kind::NoGreeting),
            (
                error(Category::EncryptionMismatch, Stage::Greeting),
                587,
                Kind::TlsExpected,
            ),
            (
                certificate(CertificateProblem::Revoked),
                587,
                Kind::CertificateInvalid,
            ),
            (
                certificate(CertificateProblem::AuthoritysOwn),
                587,
                Kind::CertificateInvalid,
            ),
            (
                certificate(CertificateProblem::Missing),
                587,
                Kind::CertificateInvalid,
            ),
            (
                certificate(CertificateProblem::BadSignature),
                587,
                Kind::CertificateInvalid,
            ),
            (
                certificate(CertificateProblem::SelfSigned),
                587,
                Kind::CertificateSelfSigned,
            ),
            (
                error(Category::Authentication, Stage::Quit),
                587,
                Kind::LoginRequired,
            ),
        ] {
            assert_kind(&error, port, kind);
        }
    }

    #[test]
    fn replies_of_servers_that_people_meet_are_understood() {
        let auth = |text| reply(Stage::Auth, Category::Authentication, text);
        let mail = |text| reply(Stage::Mail, Category::SenderRefused, text);
        let rcpt = |text| reply(Stage::Rcpt, Category::RecipientRefused, text);
        let body = |text| reply(Stage::Body, Category::MessageRefused, text);
        for (error, kind) in [
            (
                auth("535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6"),
                Kind::CredentialsRefused,
            ),
            (
                auth("535 5.7.3 Authentication unsuccessful"),
                Kind::CredentialsRefused,
            ),
            (auth("535 Authentication Failed"), Kind::CredentialsRefused),
            (
                auth("534 5.7.9 Authentication mechanism is too weak"),
                Kind::MechanismRefused,
            ),
            (
                auth("432 4.3.2 Concurrent connections limit exceeded"),
                Kind::TooManyConnections,
            ),
            (
                auth("454 4.7.0 Too many login attempts, please try again later"),
                Kind::LoginUnavailable,
            ),
            (
                auth(
                    "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect",
                ),
                Kind::CredentialsRefused,
            ),
            (
                mail("530 5.7.57 Client not authenticated to send anonymous mail"),
                Kind::LoginRequired,
            ),
            (
                mail("451 5.7.3 STARTTLS is required to send mail"),
                Kind::StartTlsRequired,
            ),
            (
                mail("553 Relaying disallowed as boss@example.org"),
                Kind::SenderNotAllowed,
            ),
            (
                rcpt("550 5.7.64 TenantAttribution; Relay Access Denied"),
                Kind::RelayDenied,
            ),
            (rcpt("550 relay not permitted"), Kind::RelayDenied),
            (
                rcpt("553 sorry, that domain isn't in my list of allowed rcpthosts"),
                Kind::RelayDenied,
            ),
            (
                rcpt("450 4.2.0 Greylisted, see the postgrey page"),
                Kind::Greylisted,
            ),
            (
                rcpt("550 5.1.1 The email account that you tried to reach does not exist"),
                Kind::MailboxUnknown,
            ),
            (
                rcpt("504 5.5.2 <pc>: Helo command rejected: need fully-qualified hostname"),
                Kind::HelloRefused,
            ),
            (
                rcpt("550 SC-001 Mail rejected for policy reasons"),
                Kind::PolicyRefused,
            ),
            (
                rcpt("550 5.7.606 Access denied, banned sending IP [192.0.2.1]"),
                Kind::AddressBlocked,
            ),
            (
                body("554 Message rejected: Email address is not verified"),
                Kind::SenderNotAllowed,
            ),
            (
                body("454 Throttling failure: Daily message quota exceeded"),
                Kind::SendingLimit,
            ),
            (
                body(
                    "550 5.7.1 Unauthenticated email from example.org is not accepted due to DMARC policy",
                ),
                Kind::SenderUnauthenticated,
            ),
            (
                body(
                    "550 5.7.1 Our system has detected that this message is likely unsolicited mail",
                ),
                Kind::Spam,
            ),
            (
                body("550 5.7.1 Messages missing a valid address in From: header are not accepted"),
                Kind::ContentRefused,
            ),
        ] {
            assert_kind(&error, 587, kind);
        }
    }

    #[test]
    fn settings_that_would_work_are_suggested() {
        let missing = Evidence::Resolution(Resolution::NoSuchName);
        let missing = error(Category::Dns, Stage::Resolve).with_evidence(missing);
        let diagnosis = Diagnosis::of(&missing, &situation("smtp.gmial.com", 587));
        let suggestion = diagnosis.suggestion.expect("a known host is near");
        assert_eq!(suggestion.host, "smtp.gmail.com");
        assert!(
            diagnosis.causes[0].contains("smtp.gmail.com"),
            "{:?}",
            diagnosis.causes
        );

        let silent = error(Category::ConnectionTimeout, Stage::Connect);
        let diagnosis = Diagnosis::of(&silent, &situation("smtp.gmail.com", 25));
        let suggestion = diagnosis.suggestion.expect("the provider's settings");
        assert_eq!(
            (suggestion.port, suggestion.encryption),
            (587, Encryption::StartTls)
        );
        assert_eq!(diagnosis.provider.as_deref(), Some("gmail"));

        let diagnosis = Diagnosis::of(&silent, &situation("mail.example.org", 25));
        let suggestion = diagnosis.suggestion.expect("the port for handing in mail");
        assert_eq!(
            suggestion.to_string(),
            "host mail.example.org, port 587, encryption STARTTLS"
        );
    }

    #[test]
    fn a_diagnosis_serialises_by_the_names_of_its_fields() {
        let error = reply(Stage::Auth, Category::Authentication, "535 5.7.8 no");
        let diagnosis = Diagnosis::of(&error, &situation("mail.example.org", 587));
        let json = serde_json::to_value(&diagnosis).unwrap();
        assert_eq!(json["kind"], "credentials-refused");
        assert_eq!(json["category"], "authentication");
        assert_eq!(json["stage"], "auth");
        assert_eq!(json["temporary"], false);
        assert!(
            json["advice"]
                .as_array()
                .is_some_and(|advice| !advice.is_empty())
        );
    }

    #[test]
    fn every_kind_of_the_providers_data_is_known() {
        for kind in KnownReply::KINDS {
            assert!(MEANS.iter().any(|(name, _)| *name == kind), "{kind}");
        }
    }
}
