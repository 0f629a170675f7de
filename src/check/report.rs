//! What a check has found, as a JSON document and as text.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::dialogue::{Delivered, Ending};
use super::meaning::{self, Meaning};
use super::recorder::Recorder;
use super::search::Working;
use super::server::{Server, Tls};
use super::step::{Step, in_milliseconds};
use crate::diagnosis::{Diagnosis, Situation, Suggestion};
use crate::error::{Category, Error, Stage};
use crate::net::config::ClientConfig;
use crate::proto::Evidence;
use crate::proto::address::Mailbox;
use crate::proto::session::Certificate;
use crate::providers;

/// What a check has found. It serialises as the document of `ehlo check --json`; `Display` is what a
/// person reads below the steps.
///
/// A product that shows single parts shows [`Self::diagnosis`] where a check failed: it is for people
/// who have never read an RFC. [`Self::error`] is the same failure in a mail engineer's words, for a
/// log.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Whether every step came to a good end.
    pub ok: bool,
    /// The steps in the order they happened, up to the one that failed.
    pub steps: Vec<Step>,
    /// The server, as far as it is known.
    pub server: Server,
    /// Why the check ended early, in technical terms; its hint knows less than the diagnosis.
    pub error: Option<Problem>,
    /// What the error most likely means, and what to change: what people should be shown. There is one
    /// wherever there is an error, unless the check did not begin.
    pub diagnosis: Option<Diagnosis>,
    /// Other settings for this host that were seen to work, where these did not.
    pub settings: Option<Working>,
    /// What works, but should not stay as it is.
    pub warnings: Vec<String>,
    /// The certificate in plain words.
    pub certificate: Vec<String>,
    /// What the server offers, in plain words.
    pub offers: Vec<Meaning>,
    /// What is known of the provider, if the host is one's.
    pub provider: Vec<String>,
    /// What to look at next.
    pub next: Vec<String>,
    /// How long all took.
    #[serde(rename = "elapsed_ms", serialize_with = "in_milliseconds")]
    pub elapsed: Duration,
    #[serde(skip)]
    failure: Option<Error>,
}

/// An error, in the form of every JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The error's category, as `certificate`.
    pub category: &'static str,
    /// The step at which it happened, as `handshake`.
    pub stage: &'static str,
    /// What happened.
    pub message: String,
    /// What to do next. Where there is a [`Report::diagnosis`], its advice is the better one.
    pub hint: String,
}

impl Report {
    pub(super) fn new(
        config: &ClientConfig,
        recorder: &Recorder,
        ending: Ending,
        settings: Option<Working>,
        sender: Option<Mailbox>,
    ) -> Self {
        let session = ending.session.as_ref();
        let tls = recorder.tls();
        let mut server = Server::new(config);
        server.address = recorder.address();
        // TLS from the first octet is known before the greeting.
        server.tls = tls.as_ref().map(Tls::of);
        if let Some(session) = session {
            server = server.with_session(session);
        }
        let mut situation = Situation::of(config);
        if let Some(session) = session {
            situation = situation.with_session(session.clone());
        }
        if let Some(sender) = sender {
            situation = situation.with_sender(sender);
        }
        let mut warnings = meaning::warnings(config, session, tls.as_ref());
        warnings.extend(ending.warnings);
        let diagnose = |error: &Error| diagnosed(error, &situation, settings.as_ref());
        let refused = ending.error.as_ref().and_then(refused);
        let certificate = tls.as_ref().and_then(|tls| tls.certificate.as_deref());
        let certificate = certificate.or(refused);
        Self {
            ok: ending.error.is_none(),
            steps: recorder.steps(),
            server,
            error: ending.error.as_ref().map(Problem::of),
            diagnosis: ending.error.as_ref().map(diagnose),
            settings,
            warnings,
            certificate: certificate.map_or_else(Vec::new, meaning::certificate),
            offers: session.map_or_else(Vec::new, meaning::offers),
            provider: providers::by_host(&config.host).map_or_else(Vec::new, meaning::provider),
            next: ending.delivered.as_ref().map_or_else(Vec::new, look_at),
            elapsed: Duration::ZERO,
            failure: ending.error,
        }
    }

    /// Of a check that did not begin.
    pub fn refused(config: &ClientConfig, error: &Error) -> Self {
        Self {
            ok: false,
            steps: Vec::new(),
            server: Server::new(config),
            error: Some(Problem::of(error)),
            diagnosis: None,
            settings: None,
            warnings: Vec::new(),
            certificate: Vec::new(),
            offers: Vec::new(),
            provider: Vec::new(),
            next: Vec::new(),
            elapsed: Duration::ZERO,
            failure: Some(error.clone()),
        }
    }

    /// With warnings of the settings themselves, before the others.
    pub(super) fn with_remarks(mut self, remarks: Vec<String>) -> Self {
        self.warnings.splice(0..0, remarks);
        self
    }

    /// What a good end means.
    fn summary(&self) -> String {
        let sent = self.steps.iter().any(|step| step.name == Stage::Body);
        let protection = match &self.server.tls {
            Some(tls) if tls.verified => format!("{} with a server that is known", tls.version),
            Some(tls) => format!("{} with a server that nobody vouches for", tls.version),
            None => "without encryption".to_owned(),
        };
        let login = match &self.server.auth {
            Some(mechanism) => format!("logged in by {mechanism}"),
            None => "nobody logged in".to_owned(),
        };
        let sent = match sent {
            true => "a test mail was sent",
            false => "nothing was sent",
        };
        format!("It works: {protection}, {login}, {sent}.")
    }

    /// What was seen to answer is said once, below.
    fn without_settings(&self, diagnosis: &Diagnosis) -> Diagnosis {
        let is_said_below = self
            .settings
            .as_ref()
            .is_some_and(|it| it.certificate_accepted);
        let mut diagnosis = diagnosis.clone();
        if is_said_below {
            diagnosis.suggestion = None;
        }
        diagnosis
    }

    pub(super) fn took(self, elapsed: Duration) -> Self {
        Self { elapsed, ..self }
    }

    /// Why the check ended early, as the error itself.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ok {
            writeln!(f, "{}", self.summary())?;
        }
        if let Some(error) = &self.error {
            write!(f, "Failed at {}: ", error.stage)?;
            match &self.diagnosis {
                Some(diagnosis) => writeln!(f, "{}", self.without_settings(diagnosis))?,
                None => writeln!(f, "{}\nWhat to do: {}", error.message, error.hint)?,
            }
        }
        if let Some(settings) = &self.settings {
            writeln!(f, "{settings}")?;
        }
        section(f, "Certificate", &self.certificate)?;
        // What it would have offered does not matter where it came to nothing.
        if self.ok {
            section(f, "The server offers", &self.offers)?;
        }
        section(f, "The provider", &self.provider)?;
        section(f, "Warnings", &self.warnings)?;
        section(f, "Next", &self.next)
    }
}

/// The diagnosis; what was seen to work is a better suggestion than what is likely to.
fn diagnosed(error: &Error, situation: &Situation, working: Option<&Working>) -> Diagnosis {
    let mut diagnosis = Diagnosis::of(error, situation);
    if let Some(working) = working.filter(|working| working.certificate_accepted) {
        diagnosis.suggestion = Some(Suggestion {
            host: working.host.clone(),
            port: working.port,
            encryption: working.encryption,
            certificate_sha256: None,
        });
    }
    diagnosis
}

/// The server's own certificate, where it was refused.
fn refused(error: &Error) -> Option<&Certificate> {
    let Evidence::Certificate(refused) = error.evidence()? else {
        return None;
    };
    refused.chain.first()
}

pub(super) fn section<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    lines: &[T],
) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}:")?;
    lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
}

impl fmt::Display for Working {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, self.port);
        let encryption = self.encryption;
        write!(
            f,
            "Settings that were seen to answer: host {host}, port {port}, encryption {encryption}; \
             nobody was logged in"
        )?;
        f.write_str(match self.certificate_accepted {
            true => ".",
            false => ", and the certificate is not accepted.",
        })
    }
}

impl Problem {
    /// What a JSON document says of this error.
    pub fn of(error: &Error) -> Self {
        Self {
            category: error.category().as_str(),
            stage: error.stage().as_str(),
            message: error.to_string(),
            hint: error.hint().map_or_else(|| next_step(error), str::to_owned),
        }
    }

    /// With another thing to do next.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }
}

/// What to do next where the error itself does not say.
fn next_step(error: &Error) -> String {
    let step = match (error.category(), error.is_temporary()) {
        (Category::Usage, _) => "Change the option, the address or the message.",
        (Category::Dns, _) => "Check the host name, and that this machine can resolve names.",
        (_, true) => "Try again later; if it persists, ask whoever runs the server.",
        (Category::Authentication | Category::AuthUnavailable, false) => {
            "Check user name, password and what the account is allowed to do."
        }
        (Category::RecipientRefused, false) => "Check the recipients' addresses.",
        (Category::SenderRefused, false) => "Check the sender's address, and who may use it.",
        (
            Category::ConnectionTimeout
            | Category::ConnectionRefused
            | Category::ConnectionLost
            | Category::EncryptionMismatch
            | Category::StartTlsUnavailable
            | Category::Certificate
            | Category::Tls
            | Category::MessageRefused
            | Category::RateLimited
            | Category::Temporary
            | Category::Protocol,
            false,
        ) => "Check host, port and encryption, or ask whoever runs the server.",
    };
    step.to_owned()
}

/// Acceptance is not arrival.
fn look_at(delivered: &Delivered) -> Vec<String> {
    let (from, to) = (&delivered.from, &delivered.to);
    let domain = from.domain();
    let mut next = vec![format!(
        "The test mail to {to} was accepted; that is not yet delivered. Look into the inbox, then \
         into the spam folder, and for a delivery report to {from}."
    )];
    if let Some(reply) = &delivered.reply {
        next.push(format!(
            "Whoever runs the server finds it in the log by the server's answer: {}",
            reply.text()
        ));
    }
    if let Some(id) = &delivered.message_id {
        next.push(format!("Its Message-ID is {id}."));
    }
    next.push(format!(
        "If it is missing, or in the spam folder: open its source there and look at \
         Authentication-Results. SPF and DKIM should pass for {domain}, and its DMARC policy says what \
         happens if neither does; all three are records in that domain's DNS."
    ));
    next
}
