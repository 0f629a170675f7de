//! The `ehlo` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ehlo::cli::main()
}
