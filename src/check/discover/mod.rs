//! Finding settings that work, from no more than an address or a domain.
//!
//! In this order: what is known of the provider, by the domain or by who takes its mail; the domain's
//! SRV records (RFC 6186, RFC 8314); and the names and ports that are often taken. Whatever is found
//! is tried as far as EHLO, with its certificate checked; the first that works is the answer. No
//! credentials are sent, and no certificate of the client's is shown: a person should see the host's
//! name first. Where customers choose the domain, [`Discover::with_address_policy`] keeps them out of
//! your own network.
//!
//! ```no_run
//! use ehlo::check::discover::Discover;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let discovery = Discover::new("jo@example.org")?.run().await;
//! if let Some(settings) = &discovery.settings {
//!     println!("{}", settings.toml);
//! }
//! # Ok(())
//! # }
//! ```

mod candidate;
mod discovery;
mod records;
mod trial;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::error::{Category, Error, Party, Stage};
use crate::net::AddressPolicy;
use crate::net::config::ClientConfig;
use crate::proto::address::Mailbox;
use crate::proto::config::Security;
use crate::providers::{self, Encryption};

pub use candidate::{Candidate, Origin, Recognised};
pub use discovery::{Discovery, Found};
pub use records::{Records, RecordsFuture, Service};

use candidate::{guesses, is_absent, label, of_provider, of_services};
use records::SystemRecords;
use trial::Trial;

/// A search for settings that is to be made.
pub struct Discover {
    domain: String,
    address: Option<Mailbox>,
    config: ClientConfig,
    deadline: Duration,
    records: Arc<dyn Records>,
}

impl Discover {
    /// A search from an address or a domain.
    ///
    /// # Errors
    /// A text that is neither.
    pub fn new(target: &str) -> Result<Self, Error> {
        let target = target.trim();
        let address = match target.contains('@') {
            true => Some(target.parse::<Mailbox>().map_err(|_| no_domain(target))?),
            false => None,
        };
        let domain = address.as_ref().map_or(target, Mailbox::domain);
        let domain = in_ascii(domain).ok_or_else(|| no_domain(target))?;
        Ok(Self {
            config: ClientConfig::new(domain.as_str(), Security::StartTls),
            domain,
            address,
            deadline: super::DEADLINE,
            records: Arc::new(SystemRecords),
        })
    }

    /// With the trust, the policy for addresses, the way and the name for EHLO of this
    /// configuration. Its host, its port, its encryption and its log-in are not used.
    #[must_use]
    pub fn with_config(mut self, config: ClientConfig) -> Self {
        self.config = config;
        self
    }

    /// With a policy for the addresses that may be connected to. Anybody who writes a domain's DNS
    /// records can name a machine of your own network: where somebody else chooses the domain,
    /// [`AddressPolicy::PublicOnly`] is right. Default: that of the configuration, or any.
    #[must_use]
    pub fn with_address_policy(mut self, policy: AddressPolicy) -> Self {
        self.config.address_policy = policy;
        self
    }

    /// How long all may take together. Default: 30 seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Asks somebody else for the domain's records.
    #[must_use]
    pub fn with_records(mut self, records: Arc<dyn Records>) -> Self {
        self.records = records;
        self
    }

    /// Looks for settings, and tries them.
    pub async fn run(self) -> Discovery {
        let begun = Instant::now();
        let until = begun
            .checked_add(self.deadline)
            .unwrap_or(begun + super::NEVER);
        let mut discovery = Discovery::new(&self.domain);
        let known = self.known(&mut discovery, until).await;
        let mut won = self.first_that_works(known, &mut discovery, until).await;
        if won.is_none() && providers::by_domain(&self.domain).is_none() {
            let guesses = guesses(&self.domain);
            won = self.first_that_works(guesses, &mut discovery, until).await;
        }
        discovery.conclude(won, self.address.as_ref());
        discovery.took(begun.elapsed())
    }

    /// What the provider's data and the DNS say.
    async fn known(&self, discovery: &mut Discovery, until: Instant) -> Vec<Candidate> {
        if let Some(provider) = providers::by_domain(&self.domain) {
            discovery.recognise(provider);
            return of_provider(provider, provider.endpoints.clone(), Recognised::Domain);
        }
        let name = |encryption| format!("{}.{}", label(encryption), self.domain);
        let submissions = self.records.services(name(Encryption::Tls));
        let submission = self.records.services(name(Encryption::StartTls));
        let exchanges = self.records.exchanges(self.domain.clone());
        // Guesses must have their time even where no name server answers.
        let until = until.min(Instant::now() + self.deadline / 3);
        let (submissions, submission, exchanges) = tokio::join!(
            timeout_at(until, submissions),
            timeout_at(until, submission),
            timeout_at(until, exchanges),
        );
        let submissions = discovery.heard(name(Encryption::Tls), submissions);
        let submission = discovery.heard(name(Encryption::StartTls), submission);
        let exchanges = discovery.heard(format!("MX of {}", self.domain), exchanges);
        for (services, encryption) in [
            (&submissions, Encryption::Tls),
            (&submission, Encryption::StartTls),
        ] {
            if services.iter().any(is_absent) {
                discovery.warn(format!(
                    "{} says that there is no such service.",
                    name(encryption)
                ));
            }
        }
        let mut known = Vec::new();
        let by_mx = |host: &String| Some((providers::by_mx(host)?, host.clone()));
        if let Some((provider, host)) = exchanges.iter().find_map(by_mx) {
            discovery.recognise(provider);
            known = of_provider(provider, provider.endpoints_by_mx(&host), Recognised::Mx);
        }
        known.extend(of_services(&self.domain, submissions, submission));
        known
    }

    /// Tries some at a time. The first in the list that works is taken, as soon as nothing before it
    /// can work any more.
    async fn first_that_works(
        &self,
        candidates: Vec<Candidate>,
        discovery: &mut Discovery,
        until: Instant,
    ) -> Option<(Candidate, Trial)> {
        let first = discovery.candidates.len();
        discovery.candidates.extend(candidates);
        let tried = &mut discovery.candidates[first..];
        let mut won: Vec<Option<Trial>> = Vec::new();
        won.resize_with(tried.len(), || None);
        let longest = LONGEST.min(self.deadline / 3);
        let mut trials = JoinSet::new();
        let mut waiting = 0..tried.len();
        loop {
            while trials.len() < AT_A_TIME
                && let Some(index) = waiting.next()
            {
                let endpoint = tried[index].endpoint.clone();
                let config = self.config.clone();
                trials.spawn(async move { (index, Trial::of(&endpoint, &config, longest).await) });
            }
            let Ok(Some(joined)) = timeout_at(until, trials.join_next()).await else {
                break;
            };
            if let Ok((index, result)) = joined {
                won[index] = tried[index].judge(result);
            }
            match tried.iter().position(|one| one.works != Some(false)) {
                Some(best) if tried[best].works == Some(true) => break,
                Some(_) | None => {}
            }
        }
        let best = won.iter().position(Option::is_some)?;
        won[best].take().map(|trial| (tried[best].clone(), trial))
    }
}

impl fmt::Debug for Discover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discover")
            .field("domain", &self.domain)
            .field("address", &self.address)
            .field("config", &self.config)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Candidate {
    /// Takes what came of its trial.
    fn judge(&mut self, result: Result<Trial, Error>) -> Option<Trial> {
        let problem = match result {
            // Any mail server answers on port 25: one for people who send lets them log in.
            Ok(trial) if self.origin == Origin::Guess && !trial.offers_login => {
                "it lets nobody log in".to_owned()
            }
            Ok(trial) => {
                self.works = Some(true);
                return Some(trial);
            }
            Err(error) => {
                let text = error.to_string();
                self.failure = Some(error);
                text
            }
        };
        self.works = Some(false);
        self.problem = Some(problem);
        None
    }
}

/// A domain's name in lower case and in ASCII; `None` for what is none.
fn in_ascii(domain: &str) -> Option<String> {
    let somebody: Mailbox = format!("x@{domain}").parse().ok()?;
    let domain = match somebody.is_ascii() {
        true => somebody.domain().to_ascii_lowercase(),
        false => somebody.to_ascii()?.domain().to_ascii_lowercase(),
    };
    (!domain.starts_with('[')).then_some(domain)
}

fn no_domain(target: &str) -> Error {
    Error::new(
        Category::Usage,
        Stage::Resolve,
        Party::Caller,
        format!("{target:?} is neither an address nor a domain"),
    )
    .with_hint("Give an address, as jo@example.org, or what is behind its @.")
}

/// Connections at a time.
const AT_A_TIME: usize = 6;
/// How long one of them waits for anything.
const LONGEST: Duration = Duration::from_secs(6);
