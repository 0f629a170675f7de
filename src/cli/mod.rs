//! The `ehlo` program: the thinnest possible shell over the library.
//!
//! A file a command: `send`, `check`, `sandbox`, `conformance`. What they share is one file a concern:
//! `args` (what can be written), `settings` (the file beneath them), `server` and `connection` (from
//! options to a client's configuration), `input` (the messages), `courier` (carries them; `run` if
//! they are several, with `mbox` and `progress`), `trace` (the dialogue), `report` (JSON) and `human`
//! (text), `exit` (codes). No protocol decision is made here.

mod args;
mod check;
mod conformance;
mod connection;
mod courier;
mod exit;
mod extensions;
mod failure;
mod human;
mod input;
mod interrupt;
mod mbox;
mod progress;
mod report;
mod run;
mod sandbox;
mod send;
mod server;
mod settings;
mod terminal;
mod trace;

use std::future::Future;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use exit::Exit;
use failure::Failure;

/// Runs the program with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors, and go to standard output.
            let _ = error.print();
            return match error.use_stderr() {
                true => Exit::Usage.into(),
                false => Exit::Done.into(),
            };
        }
    };
    match arguments.command {
        Command::Send(arguments) => run(send::run(*arguments)),
        Command::Check(arguments) => run(check::run(*arguments)),
        Command::Sandbox(arguments) => run(sandbox::run(*arguments)),
        Command::Conformance(arguments) => run(conformance::run(arguments)),
    }
}

fn run(command: impl Future<Output = Result<Exit, Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let exit = match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(command);
            // A read of standard input, or a name lookup, may hang in a thread of its own.
            runtime.shutdown_background();
            exit
        }
        Err(error) => Err(Failure::Internal(format!(
            "the runtime does not start: {error}"
        ))),
    };
    match exit {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal::error(&failure);
            if let Failure::Usage(_) = failure {
                terminal::error_line("See 'ehlo --help'.");
            }
            failure.exit().into()
        }
    }
}
