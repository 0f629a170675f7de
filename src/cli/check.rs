//! `ehlo check`: the steps as they happen, then what they mean.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use futures_core::Stream;
use serde_json::json;

use super::args::CheckArguments;
use super::connection::{Setup, seconds};
use super::courier::possible;
use super::exit::Exit;
use super::failure::Failure;
use super::send::mailbox;
use super::server::Target;
use super::settings;
use super::terminal::{self, Ink, Tint};
use super::trace::{Dash, Trace};
use crate::check::discover::Discover;
use crate::check::step::milliseconds;
use crate::check::{Check, Report, Running, Step, Working};
use crate::error::Stage;

/// Checks a connection, and reports what was found.
pub(crate) async fn run(mut arguments: CheckArguments) -> Result<Exit, Failure> {
    if let Some(target) = &arguments.discover {
        return discover(target, &arguments).await;
    }
    let given = arguments.from.as_deref();
    let sender = settings::apply(&mut arguments.connection, given).await?;
    arguments.from = sender.address.or(arguments.from);
    let target = Target::from_arguments(&arguments.connection.server)?;
    if target == Target::BuiltIn {
        let from = &mut arguments.from;
        from.get_or_insert_with(|| "me@example.org".to_owned());
    }
    let deadline = seconds("--deadline", &arguments.deadline)?;
    let setup = Setup::prepare(target, &arguments.connection).await?;
    let mut check = Check::new(setup.config.clone()).with_deadline(deadline);
    if let Some(name) = sender.name {
        check = check.with_from_name(name);
    }
    let report = match prepare(&arguments, check) {
        Ok(check) if arguments.json => check.start().report().await,
        Ok(check) => show(check.start()).await,
        Err(Failure::Data(error)) => Report::refused(&setup.config, &error),
        Err(failure) => return Err(failure),
    };
    if let Some(error) = report.failure() {
        possible(error)?;
    }
    match arguments.json {
        true => terminal::line(json!(report)),
        false => {
            terminal::line(report.to_string().trim_end());
            if let Some(found) = &report.settings {
                terminal::line(options(found));
            }
        }
    }
    Ok(report.failure().map_or(Exit::Done, Exit::of))
}

/// Looks for settings, and prints them.
async fn discover(target: &str, arguments: &CheckArguments) -> Result<Exit, Failure> {
    let deadline = seconds("--deadline", &arguments.deadline)?;
    let discover = Discover::new(target).map_err(|error| Failure::usage(error.message()))?;
    // Options are for all hosts that are tried; the host of this is none of them.
    let setup = Setup::prepare(Target::of_host("localhost"), &arguments.connection).await?;
    let discovery = discover
        .with_config(setup.config)
        .with_deadline(deadline)
        .run()
        .await;
    match arguments.json {
        true => terminal::line(json!(discovery)),
        false => terminal::line(discovery.to_string().trim_end()),
    }
    Ok(discovery.failure().map_or(Exit::Done, Exit::of))
}

fn prepare(arguments: &CheckArguments, mut check: Check) -> Result<Check, Failure> {
    if let Some(from) = &arguments.from {
        check = check.with_sender(mailbox(Stage::Mail, from)?);
    }
    if let Some(to) = &arguments.send_to {
        check = check.with_send_to(mailbox(Stage::Rcpt, to)?);
        if check.sender().is_none() {
            return Err(Failure::usage(
                "a test mail needs a sender: give --from ADDRESS",
            ));
        }
    }
    if let Some(path) = &arguments.connection.dialogue.trace {
        let dash = match arguments.json {
            true => Dash::Error,
            false => Dash::Out,
        };
        check = check.with_observer(Box::new(Trace::create(path, dash)?));
    }
    Ok(check)
}

/// Shows the steps as they happen.
async fn show(mut running: Running) -> Report {
    let ink = Ink::for_stream(&io::stdout());
    while let Some(step) = poll_fn(|cx| Pin::new(&mut running).poll_next(cx)).await {
        terminal::line(line(&step, ink));
    }
    running.report().await
}

/// What was seen to answer, to be tried next.
fn options(found: &Working) -> String {
    let (host, port, encryption) = (&found.host, found.port, found.encryption.as_str());
    format!("As options: --host {host} --port {port} --encryption {encryption}")
}

fn line(step: &Step, ink: Ink) -> String {
    let (tint, mark) = match step.ok {
        true => (Tint::Good, "✓"),
        false => (Tint::Bad, "✗"),
    };
    format!(
        "{} {:<9}  {:>8} ms  {}",
        ink.paint(tint, mark),
        step.name.as_str(),
        format!("{:.1}", milliseconds(step.took)),
        step.detail
    )
}
