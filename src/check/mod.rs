//! The connection check: every step of the way to a server with what was seen and how long it took;
//! where it fails, what to change; and the search for settings that work.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use ehlo::check::Check;
//! use ehlo::{ClientConfig, Credentials, Security};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ClientConfig::new("mail.example.org", Security::StartTls)
//!     .with_credentials(Credentials::password("alice", "secret")?);
//! let report = Check::new(config)
//!     .with_sender("alice@example.org".parse()?)
//!     .with_deadline(Duration::from_secs(10))
//!     .start()
//!     .report()
//!     .await;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is sent to anybody unless [`Check::with_send_to`] asks for it: the last step is MAIL,
//! taken back by RSET. The whole takes no longer than the deadline, whatever the server does.
//!
//! Reading order: `running` (what callers hold, and the course of a check), `dialogue` (one
//! connection), `recorder` (its milestones as steps), `search` (other settings for the same host),
//! `report` with `server` and `meaning` (the same in plain words).

mod dialogue;
#[cfg(feature = "discover")]
pub mod discover;
mod meaning;
mod recorder;
mod report;
mod running;
mod search;
mod server;
pub(crate) mod step;

use std::fmt;
use std::time::Duration;

use crate::net::AddressPolicy;
use crate::net::config::ClientConfig;
use crate::proto::address::Mailbox;
use crate::proto::config::Login;
use crate::proto::dialogue::Observer;
use crate::settings::Account;

pub use meaning::Meaning;
pub use report::{Problem, Report};
pub use running::Running;
pub use search::Working;
pub use server::{Server, Shown, Tls};
pub use step::Step;

/// Starts a check of this account. [`Check`] has what else can be asked for: where customers type the
/// host, [`Check::with_address_policy`] keeps them out of your own network.
///
/// ```no_run
/// use ehlo::check::check;
/// use ehlo::settings::Settings;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings::new("jo@example.org", "mail.example.org").with_login("jo", "secret");
/// let report = check(&settings.account()?).report().await;
/// assert!(report.ok, "{report}");
/// # Ok(())
/// # }
/// ```
pub fn check(account: &Account) -> Running {
    Check::of(account).start()
}

/// A check of a connection that is to be made.
pub struct Check {
    config: ClientConfig,
    sender: Option<Mailbox>,
    from_name: Option<String>,
    send_to: Option<Mailbox>,
    remarks: Vec<String>,
    deadline: Duration,
    observer: Option<Box<dyn Observer + Send>>,
}

impl Check {
    /// A check of what this configuration connects to.
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            sender: None,
            from_name: None,
            send_to: None,
            remarks: Vec::new(),
            deadline: DEADLINE,
            observer: None,
        }
    }

    /// A check of this account: its sender sends, and its warnings are the report's.
    pub fn of(account: &Account) -> Self {
        Self {
            sender: Some(account.sender().clone()),
            from_name: account.from_name().map(str::to_owned),
            remarks: account.warnings().iter().map(ToString::to_string).collect(),
            ..Self::new(account.client_config())
        }
    }

    /// With the address that is to send. Default: the user name where that is an address, else the
    /// null reverse-path.
    #[must_use]
    pub fn with_sender(mut self, sender: Mailbox) -> Self {
        self.sender = Some(sender);
        self
    }

    /// With the sender's name, for the test mail.
    #[must_use]
    pub fn with_from_name(mut self, name: impl Into<String>) -> Self {
        self.from_name = Some(name.into());
        self
    }

    /// Also sends a test mail to this address. Default: nothing is sent.
    #[must_use]
    pub fn with_send_to(mut self, recipient: Mailbox) -> Self {
        self.send_to = Some(recipient);
        self
    }

    /// How long all may take together: name resolution, every step, the search for other settings,
    /// and the good-bye. Default: 30 seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// With a policy for the addresses that may be connected to, here and in the search for other
    /// settings. A host that somebody else chooses may name a machine of your own network:
    /// [`AddressPolicy::PublicOnly`] is for that. Default: that of the configuration, and any for an
    /// account.
    ///
    /// ```no_run
    /// use ehlo::check::Check;
    /// use ehlo::net::AddressPolicy;
    ///
    /// # async fn example(account: ehlo::settings::Account) {
    /// let check = Check::of(&account).with_address_policy(AddressPolicy::PublicOnly);
    /// let report = check.start().report().await;
    /// # }
    /// ```
    #[must_use]
    pub fn with_address_policy(mut self, policy: AddressPolicy) -> Self {
        self.config.address_policy = policy;
        self
    }

    /// The address that is to send, if one is known.
    pub fn sender(&self) -> Option<Mailbox> {
        self.sender.clone().or_else(|| {
            let Login::With(credentials) = &self.config.session.login else {
                return None;
            };
            // Most user names are the address that the account sends from.
            credentials.username().parse().ok()
        })
    }

    /// Shows the dialogue to an observer; not that of connections which only try other settings.
    #[must_use]
    pub fn with_observer(mut self, observer: Box<dyn Observer + Send>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Starts the clock. The check goes on while what is returned is polled.
    pub fn start(self) -> Running {
        Running::new(self)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("config", &self.config)
            .field("sender", &self.sender)
            .field("send_to", &self.send_to)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Long enough for a slow server, and a person still waits for it.
const DEADLINE: Duration = Duration::from_secs(30);
/// For deadlines beyond the clock.
const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);
