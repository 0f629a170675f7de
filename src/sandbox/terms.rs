//! What a server offers and demands, at one point of one connection.

use std::sync::Arc;

use super::command::Parameter;
use super::fault::Quirk;
use super::login::{Desk, TlsFacts};
use super::options::{Auth, ClearAuth, Extension, Options, TlsMode};
use super::parameters::{Holding, LATEST};
use super::plan::Plan;
use super::transaction::{Addresses, AuthParameter, Declared, Permitted};
use super::voice::Usual;
use crate::proto::Protocol;

/// The options, in the light of how far a connection has come.
#[derive(Debug)]
pub(super) struct Terms {
    plan: Arc<Plan>,
    connection: u64,
    pub(super) channel: Channel,
    pub(super) tls: TlsFacts,
    pub(super) greeted: Greeted,
}

/// How the client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Clear,
    Tls,
}

/// How the client has said hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeted {
    No,
    Helo,
    Ehlo,
    /// The greeting was a refusal.
    Declined,
}

impl Terms {
    pub(super) fn new(plan: Arc<Plan>, connection: u64) -> Self {
        Self {
            plan,
            connection,
            channel: Channel::Clear,
            tls: TlsFacts::default(),
            greeted: Greeted::No,
        }
    }

    /// Whether MAIL is allowed to one who logged in under this name; else what to refuse it with.
    pub(super) fn admit(&self, authenticated: Option<&str>) -> Result<(), Usual<'static>> {
        if self.greeted == Greeted::No {
            return Err(Usual::Line(503, "5.5.1", "send EHLO first"));
        }
        let options = self.options();
        if options.tls == TlsMode::StartTlsRequired && self.channel == Channel::Clear {
            let text = "Must issue a STARTTLS command first";
            return Err(Usual::Line(530, "5.7.0", text));
        }
        if options.auth == Auth::Required && authenticated.is_none() {
            return Err(Usual::Line(530, "5.7.0", "Authentication required"));
        }
        Ok(())
    }

    /// Which parameters are taken.
    pub(super) fn permitted(&self) -> Permitted<'_> {
        let extended = self.greeted == Greeted::Ehlo;
        Permitted {
            extensions: match extended {
                true => &self.options().extensions,
                false => &[],
            },
            auth: match extended && self.can_log_in() {
                true => AuthParameter::Taken,
                false => AuthParameter::Unknown,
            },
            channel: self.channel,
            holding: Holding {
                longest: self.options().longest_hold,
            },
        }
    }

    /// What the parameters of MAIL say; else what to refuse them with.
    pub(super) fn declared(
        &self,
        path: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Declared, Usual<'static>> {
        let declared = Declared::read(parameters, self.permitted())?;
        if !path.is_ascii() && declared.addresses == Addresses::Ascii {
            return Err(NEEDS_UTF8);
        }
        if declared.size > self.size_limit() {
            return Err(TOO_BIG);
        }
        Ok(declared)
    }

    /// The text of the greeting.
    pub(super) fn greeting(&self) -> String {
        let spoken = match self.options().protocol {
            Protocol::Smtp => "ESMTP",
            Protocol::Lmtp => "LMTP",
        };
        let greeting = format!("{} {spoken} sandbox", self.options().hostname);
        match self.plan.has(Quirk::StartTlsMasked) {
            true => greeting.chars().map(|_| '*').collect(),
            false => greeting,
        }
    }

    /// The lines of the reply to EHLO.
    pub(super) fn ehlo_lines(&self) -> Vec<String> {
        let options = self.options();
        let mut lines = vec![options.hostname.clone()];
        for extension in &options.extensions {
            lines.push(match extension {
                Extension::Size => format!("SIZE {}", options.size_limit),
                Extension::FutureRelease => {
                    format!("FUTURERELEASE {} {LATEST}", options.longest_hold)
                }
                Extension::Limits => limits(options),
                Extension::RequireTls if self.channel == Channel::Clear => continue,
                other => other.keyword().into(),
            });
        }
        if self.plan.has(Quirk::StartTlsMasked) && self.channel == Channel::Clear {
            lines.push("XXXXXXXA".into());
        }
        if self.can_start_tls() {
            lines.push("STARTTLS".into());
        }
        if self.can_log_in() {
            let mechanisms = options.mechanisms.iter();
            let offered = mechanisms.filter(|mechanism| self.desk().offers(**mechanism));
            let names: Vec<_> = offered.map(|mechanism| mechanism.as_str()).collect();
            if !names.is_empty() {
                lines.push(format!("AUTH {}", names.join(" ")));
            }
        }
        lines
    }

    pub(super) fn offers(&self, extension: Extension) -> bool {
        self.options().offers(extension)
    }

    /// Whether the extension is on offer to this client.
    pub(super) fn extended(&self, extension: Extension) -> bool {
        self.greeted == Greeted::Ehlo && self.offers(extension)
    }

    pub(super) fn can_start_tls(&self) -> bool {
        let offered = match self.options().tls {
            TlsMode::StartTls | TlsMode::StartTlsRequired => true,
            TlsMode::None | TlsMode::Implicit => false,
        };
        let hidden = [Quirk::StartTlsStripped, Quirk::StartTlsMasked];
        let hidden = hidden.into_iter().any(|quirk| self.plan.has(quirk));
        offered && !hidden && self.channel == Channel::Clear
    }

    pub(super) fn can_log_in(&self) -> bool {
        let options = self.options();
        let safe = self.channel == Channel::Tls || options.clear_auth == ClearAuth::Allowed;
        options.auth != Auth::Off && safe
    }

    /// What a log-in depends on.
    pub(super) fn desk(&self) -> Desk<'_> {
        Desk {
            plan: &self.plan,
            tls: &self.tls,
            connection: self.connection,
        }
    }

    pub(super) fn size_limit(&self) -> u64 {
        match self.options().size_limit {
            limit if limit > 0 && self.offers(Extension::Size) => limit,
            _ => u64::MAX,
        }
    }
    fn options(&self) -> &Options {
        self.plan.options()
    }
}

fn limits(options: &Options) -> String {
    let mut line = "LIMITS".to_owned();
    for (name, limit) in [
        ("RCPTMAX", options.recipient_limit),
        ("RCPTDOMAINMAX", options.domain_limit),
        ("MAILMAX", options.message_limit),
    ] {
        if let Some(limit) = limit {
            line.push_str(&format!(" {name}={limit}"));
        }
    }
    line
}

pub(super) const TOO_BIG: Usual<'static> = Usual::Line(552, "5.3.4", "the message is too big");

pub(super) const NEEDS_UTF8: Usual<'static> =
    Usual::Line(553, "5.6.7", "a non-ASCII address needs SMTPUTF8");
