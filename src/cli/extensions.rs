//! What the options for extensions make of an envelope and a session.

use super::args::{ExtensionArguments, SmtpUtf8Rule};
use super::failure::Failure;
use crate::proto::config::SmtpUtf8;
use crate::proto::dsn::{EnvelopeId, Notify, Return};
use crate::proto::params::Params;
use crate::proto::schedule::{DeliverBy, Hold, Late, Priority};
use crate::proto::transaction::{Envelope, Recipient};

/// The options, their values read.
pub(crate) struct Wishes<'a> {
    arguments: &'a ExtensionArguments,
    notify: Option<Notify>,
    ret: Option<Return>,
    envid: Option<EnvelopeId>,
    priority: Option<Priority>,
    deliver_by: Option<DeliverBy>,
    hold: Option<Hold>,
    mail: Params,
    rcpt: Params,
}

impl<'a> Wishes<'a> {
    /// Reads them.
    pub(crate) fn read(arguments: &'a ExtensionArguments) -> Result<Self, Failure> {
        let wishes = Self {
            arguments,
            notify: read("dsn-notify", arguments.dsn_notify.as_deref(), |text| {
                text.parse()
                    .map_err(|_| "never, or some of success,failure,delay")
            })?,
            deliver_by: read("deliver-by", arguments.deliver_by.as_deref(), |text| {
                let seconds = seconds(text)?.try_into().map_err(|_| SECONDS)?;
                DeliverBy::new(seconds, Late::Return).map_err(|_| SECONDS)
            })?,
            hold: read("hold-for", arguments.hold_for.as_deref(), |text| {
                Hold::for_seconds(seconds(text)?).map_err(|_| SECONDS)
            })?,
            ret: read("dsn-ret", arguments.dsn_ret.as_deref(), |text| {
                text.parse().map_err(|_| "full or hdrs")
            })?,
            envid: read("dsn-envid", arguments.dsn_envid.as_deref(), |text| {
                text.parse()
                    .map_err(|_| "printable ASCII, at most 100 octets once it is encoded")
            })?,
            priority: read("priority", arguments.priority.as_deref(), |text| {
                text.parse().map_err(|_| "a number from -9 to 9")
            })?,
            mail: params("mail-param", &arguments.mail_param)?,
            rcpt: params("rcpt-param", &arguments.rcpt_param)?,
        };
        for (option, taken, param) in [
            ("dsn-ret", arguments.dsn_ret.is_some(), "RET"),
            ("dsn-envid", arguments.dsn_envid.is_some(), "ENVID"),
            ("require-tls", arguments.require_tls, "REQUIRETLS"),
            ("deliver-by", wishes.deliver_by.is_some(), "BY"),
            ("hold-for", wishes.hold.is_some(), "HOLDFOR"),
            ("hold-for", wishes.hold.is_some(), "HOLDUNTIL"),
            ("priority", arguments.priority.is_some(), "MT-PRIORITY"),
        ] {
            if taken && wishes.mail.get(param).is_some() {
                let problem = format!("--{option} and --mail-param {param} say the same thing");
                return Err(Failure::usage(problem));
            }
        }
        if wishes.notify.is_some() && wishes.rcpt.get("NOTIFY").is_some() {
            let problem = "--dsn-notify and --rcpt-param NOTIFY say the same thing";
            return Err(Failure::usage(problem));
        }
        Ok(wishes)
    }

    /// A recipient with what is asked for it.
    pub(crate) fn of_recipient(&self, recipient: Recipient) -> Recipient {
        let recipient = recipient.with_params(self.rcpt.clone());
        match self.notify {
            Some(notify) => recipient.with_notify(notify),
            None => recipient,
        }
    }

    /// An envelope with what is asked for the message.
    pub(crate) fn of_message(&self, envelope: Envelope) -> Envelope {
        let mut envelope = envelope.with_params(self.mail.clone());
        if let Some(what) = self.ret {
            envelope = envelope.with_return(what);
        }
        if let Some(id) = self.envid.clone() {
            envelope = envelope.with_envelope_id(id);
        }
        if let Some(priority) = self.priority {
            envelope = envelope.with_priority(priority);
        }
        if self.arguments.require_tls {
            envelope = envelope.with_require_tls();
        }
        if let Some(by) = self.deliver_by {
            envelope = envelope.with_deliver_by(by);
        }
        if let Some(hold) = self.hold.clone() {
            envelope = envelope.with_hold(hold);
        }
        envelope
    }
}

/// The use of SMTPUTF8.
pub(crate) fn smtputf8(arguments: &ExtensionArguments) -> SmtpUtf8 {
    match arguments.smtputf8 {
        SmtpUtf8Rule::Auto => SmtpUtf8::WhereNeeded,
        SmtpUtf8Rule::Always => SmtpUtf8::Always,
        SmtpUtf8Rule::Never => SmtpUtf8::Never,
    }
}

/// The value of an option; `parse` says what it should have been.
fn read<T>(
    option: &str,
    text: Option<&str>,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, Failure> {
    let Some(text) = text else {
        return Ok(None);
    };
    parse(text)
        .map(Some)
        .map_err(|wanted| Failure::usage(format!("--{option} is {wanted}, not {text:?}")))
}

fn seconds(text: &str) -> Result<u32, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(SECONDS)
}

fn params(option: &str, given: &[String]) -> Result<Params, Failure> {
    given.iter().try_fold(Params::new(), |params, text| {
        let added = match text.split_once('=') {
            None => params.with(text, None),
            Some((keyword, value)) => params.with(keyword, Some(value)),
        };
        added.map_err(|error| Failure::usage(format!("--{option}: {error}")))
    })
}

const SECONDS: &str = "whole seconds, from 1 to 999999999";
