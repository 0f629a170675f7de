//! `ehlo send`: what is to be sent, checked before anything is.

use std::path::Path;

use super::args::SendArguments;
use super::connection::Setup;
use super::courier::Courier;
use super::exit::Exit;
use super::extensions::{self, Wishes};
use super::failure::Failure;
use super::input::{Input, Inputs};
use super::sandbox;
use super::server::Target;
use super::settings;
use super::terminal;
use crate::error::Stage;
use crate::proto::address::{Mailbox, ReversePath};
use crate::proto::transaction::{Commitment, Envelope, Recipient};

/// Sends the messages, and reports what became of each.
pub(crate) async fn run(mut arguments: SendArguments) -> Result<Exit, Failure> {
    let from = arguments.envelope.from.as_deref();
    let sender = settings::apply(&mut arguments.connection, from).await?;
    arguments.envelope.from = sender.address.or(arguments.envelope.from);
    arguments.message.from_name = sender.name;
    let target = Target::from_arguments(&arguments.connection.server)?;
    if target == Target::BuiltIn {
        fill_in(&mut arguments);
    }
    check(&arguments)?;
    let wishes = Wishes::read(&arguments.extensions)?;
    let mut setup = Setup::prepare(target, &arguments.connection).await?;
    setup.config.session.smtputf8 = extensions::smtputf8(&arguments.extensions);
    let mut courier = Courier::new(&arguments, &setup)?;
    let (envelope, inputs) = match prepare(&arguments, &wishes).await {
        Ok(prepared) => prepared,
        Err(Failure::Data(error)) => return Ok(courier.give_up(&error)),
        Err(failure) => return Err(failure),
    };
    let exit = courier.deliver(&envelope, inputs).await?;
    if let (Some(server), false) = (&setup.sandbox, arguments.json) {
        for message in server.received() {
            terminal::line("");
            sandbox::show_message("", &message);
        }
    }
    Ok(exit)
}

/// What may be left out where the server is the built-in one: it is there to be tried.
fn fill_in(arguments: &mut SendArguments) {
    let envelope = &mut arguments.envelope;
    envelope
        .from
        .get_or_insert_with(|| "me@example.org".to_owned());
    if envelope.to.is_empty() {
        envelope.to.push("you@example.org".to_owned());
    }
    let message = &mut arguments.message;
    if message.message.is_empty() {
        message.subject.get_or_insert_with(|| "Hello".to_owned());
        if message.html.is_none() {
            message.text.get_or_insert_with(|| "It works.".to_owned());
        }
    }
}

fn check(arguments: &SendArguments) -> Result<(), Failure> {
    let (envelope, message) = (&arguments.envelope, &arguments.message);
    let composed = message.subject.is_some()
        || message.text.is_some()
        || message.html.is_some()
        || !message.attach.is_empty();
    if message.message.is_empty() && !composed {
        return Err(Failure::usage(
            "there is no message: give --message FILE, or --subject and --text",
        ));
    }
    if envelope.to.is_empty() {
        return Err(Failure::usage("there is no recipient: give --to ADDRESS"));
    }
    if envelope.from.is_none() && (composed || envelope.envelope_from.is_none()) {
        return Err(Failure::usage("there is no sender: give --from ADDRESS"));
    }
    let from_stdin = |path: &&std::path::PathBuf| path.as_path() == Path::new("-");
    let stdin = message.message.iter().filter(from_stdin).count();
    match stdin + usize::from(arguments.connection.login.password_stdin) {
        0 | 1 => Ok(()),
        _ => Err(Failure::usage(
            "standard input can be read once: for one message or for the password",
        )),
    }
}

async fn prepare(
    arguments: &SendArguments,
    wishes: &Wishes<'_>,
) -> Result<(Envelope, Inputs), Failure> {
    let given = &arguments.envelope;
    let from = match &given.from {
        Some(text) => Some(mailbox(Stage::Mail, text)?),
        None => None,
    };
    let reverse_path: ReversePath = match (&given.envelope_from, &from) {
        (Some(text), _) if text.is_empty() => ReversePath::Null,
        (Some(text), _) => mailbox(Stage::Mail, text)?.into(),
        (None, Some(from)) => from.clone().into(),
        (None, None) => return Err(Failure::usage("there is no sender: give --from ADDRESS")),
    };
    let to: Vec<Mailbox> = given
        .to
        .iter()
        .map(|text| mailbox(Stage::Rcpt, text))
        .collect::<Result<_, _>>()?;
    let commitment = match given.all_or_nothing {
        true => Commitment::AllOrNothing,
        false => Commitment::Each,
    };
    let inputs = Input::from_arguments(&arguments.message, from.as_ref(), &to).await?;
    let recipients = to
        .into_iter()
        .map(|mailbox| wishes.of_recipient(Recipient::new(mailbox)));
    let envelope = Envelope::new(reverse_path, recipients).with_commitment(commitment);
    Ok((wishes.of_message(envelope), inputs))
}

pub(crate) fn mailbox(stage: Stage, text: &str) -> Result<Mailbox, Failure> {
    text.parse::<Mailbox>().map_err(|error| {
        Failure::data(
            stage,
            error.to_string(),
            "Give a plain address, as jo@example.org: no name, no angle brackets.",
        )
    })
}
