//! What a search for settings has found.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::error::Elapsed;

use super::super::meaning;
use super::super::report::{Problem, section};
use super::super::server::Server;
use super::super::step::{Step, in_milliseconds};
use super::candidate::{Candidate, Origin};
use super::trial::Trial;
use crate::error::{Category, Error, Party, Stage};
use crate::proto::address::Mailbox;
use crate::providers::{Endpoint, Provider, UsernameForm};
use crate::settings::Settings;

/// What a search for settings has found. It serialises as the document of
/// `ehlo check --discover … --json`; `Display` is for people.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Discovery {
    /// Whether there are settings that work.
    pub ok: bool,
    /// The steps of the connection that showed it.
    pub steps: Vec<Step>,
    /// Its server.
    pub server: Option<Server>,
    /// Why there are none.
    pub error: Option<Problem>,
    /// The settings to use.
    pub settings: Option<Found>,
    /// Where the search was.
    pub domain: String,
    /// All that was found, in the order of its likelihood.
    pub candidates: Vec<Candidate>,
    /// What is to be looked at before the settings are used, and what could not be found out.
    pub warnings: Vec<String>,
    /// What is known of the provider, if the domain's mail is with one.
    pub provider: Vec<String>,
    /// How long all took.
    #[serde(rename = "elapsed_ms", serialize_with = "in_milliseconds")]
    pub elapsed: Duration,
    #[serde(skip)]
    recognised: Option<&'static Provider>,
    #[serde(skip)]
    failure: Option<Error>,
    #[serde(skip)]
    lookups: Lookups,
}

/// What became of the questions to the name service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lookups {
    Answered,
    Failed,
}

/// Settings that work, as far as can be seen without a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Found {
    /// Host, port and encryption.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Who logs in, where that is known.
    pub username: Option<String>,
    /// Where they come from.
    pub origin: Origin,
    /// As a settings file, without the password.
    pub toml: String,
}

impl Discovery {
    pub(super) fn new(domain: &str) -> Self {
        Self {
            ok: false,
            steps: Vec::new(),
            server: None,
            error: None,
            settings: None,
            domain: domain.to_owned(),
            candidates: Vec::new(),
            warnings: Vec::new(),
            provider: Vec::new(),
            elapsed: Duration::ZERO,
            recognised: None,
            failure: None,
            lookups: Lookups::Answered,
        }
    }

    /// Why nothing was found, as the error itself.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    pub(super) fn recognise(&mut self, provider: &'static Provider) {
        self.recognised = Some(provider);
        self.provider = meaning::provider(provider);
    }

    /// The records, or none and a warning.
    pub(super) fn heard<T>(
        &mut self,
        what: String,
        answer: Result<Result<Vec<T>, String>, Elapsed>,
    ) -> Vec<T> {
        let problem = match answer {
            Ok(Ok(records)) => return records,
            Ok(Err(problem)) => problem,
            Err(_) => "no answer in time".to_owned(),
        };
        self.lookups = Lookups::Failed;
        self.warn(format!("The DNS could not be asked for {what}: {problem}."));
        Vec::new()
    }

    pub(super) fn conclude(&mut self, won: Option<(Candidate, Trial)>, address: Option<&Mailbox>) {
        let Some((candidate, trial)) = won else {
            let error = self.nothing();
            self.error = Some(Problem::of(&error));
            self.failure = Some(error);
            return;
        };
        self.ok = true;
        self.steps = trial.steps;
        self.server = Some(trial.server);
        let host = &candidate.endpoint.host;
        if let Origin::Service { outside: true, .. } = candidate.origin {
            self.warnings.push(format!(
                "{host} does not belong to {}: the DNS names it, and anybody who can forge the DNS \
                 could. Make sure that it is the right one before it gets a password.",
                self.domain
            ));
        }
        if !trial.offers_login {
            self.warnings.push(format!("{host} lets nobody log in."));
        }
        let username = address.and_then(|address| self.username(address));
        let mut settings = Settings::new(address.map_or("", Mailbox::as_str), host.as_str())
            .with_port(candidate.endpoint.port)
            .with_encryption(candidate.endpoint.encryption);
        settings.username = username.clone().unwrap_or_default();
        self.settings = Some(Found {
            username,
            origin: candidate.origin,
            toml: toml::to_string(&settings).unwrap_or_default(),
            endpoint: candidate.endpoint,
        });
    }

    pub(super) fn took(self, elapsed: Duration) -> Self {
        Self { elapsed, ..self }
    }

    /// In the form that the provider wants; the address where none is known to want another.
    fn username(&self, address: &Mailbox) -> Option<String> {
        match self.recognised.map(|provider| &provider.username) {
            Some(UsernameForm::LocalPart) => Some(address.local_part().to_owned()),
            Some(UsernameForm::Fixed(name)) => Some(name.clone()),
            Some(UsernameForm::Credential) => None,
            Some(UsernameForm::Address | UsernameForm::Any) | None => {
                Some(address.as_str().to_owned())
            }
        }
    }

    /// What the likeliest host said; where none is known to the DNS, that is the reason, unless the DNS
    /// was not there.
    fn nothing(&self) -> Error {
        let failures = self
            .candidates
            .iter()
            .filter_map(|one| one.failure.as_ref());
        let telling = failures
            .filter(|error| error.category() != Category::Dns)
            .max_by_key(|error| error.stage());
        let found = format!("no settings were found that work for {}", self.domain);
        let hint = "Ask the provider, or whoever runs the domain's mail, for host, port and \
                    encryption.";
        match (telling, self.lookups) {
            (Some(error), _) => Error::new(
                error.category(),
                error.stage(),
                error.party(),
                format!("{found}; the nearest: {error}"),
            )
            .with_temporary(error.is_temporary())
            .with_hint(hint),
            (None, Lookups::Failed) => Error::new(
                Category::Dns,
                Stage::Resolve,
                Party::Network,
                format!("the name service did not answer, so {found}"),
            )
            .with_temporary(true)
            .with_hint("Check this machine's resolver and network, or try again later."),
            (None, Lookups::Answered) => {
                Error::new(Category::Dns, Stage::Resolve, Party::Caller, found).with_hint(hint)
            }
        }
    }
}

impl fmt::Display for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.settings {
            Some(found) => found.fmt(f)?,
            None => {
                let error = self.error.as_ref();
                let message = error.map_or("nothing was found", |error| error.message.as_str());
                writeln!(f, "Failed: {message}")?;
                if let Some(error) = error {
                    writeln!(f, "  next step: {}", error.hint)?;
                }
            }
        }
        section(f, "Tried", &self.candidates)?;
        section(f, "The provider", &self.provider)?;
        section(f, "Warnings", &self.warnings)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint {
            host,
            port,
            encryption,
        } = &self.endpoint;
        writeln!(f, "Settings that work, from {}:", self.origin)?;
        write!(f, "  host {host}, port {port}, encryption {encryption}")?;
        match &self.username {
            Some(username) => writeln!(f, ", user name {username}")?,
            None => writeln!(f)?,
        }
        writeln!(
            f,
            "As a settings file, to which the password is to be added:"
        )?;
        self.toml
            .lines()
            .try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): ", self.endpoint, self.origin)?;
        match (self.works, &self.problem) {
            (Some(true), _) => f.write_str("works"),
            (Some(false), Some(problem)) => f.write_str(problem),
            (Some(false), None) => f.write_str("does not work"),
            (None, _) => f.write_str("not tried to its end"),
        }
    }
}
