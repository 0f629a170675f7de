//! Delivery through real servers: Postfix with Dovecot, and aiosmtpd.
//!
//! Every case is a test with a name of its own, such as `postfix::starttls::plain::dots`. A server is
//! started once, by the first case that needs it, on free ports of loopback and in a temporary
//! folder. Where it is not installed its cases show as ignored; with `EHLO_REQUIRE_SERVERS=1` they
//! fail. `EHLO_PYTHON` names the Python that has aiosmtpd, by default `python3`.

use std::process::ExitCode;

use libtest_mimic::Arguments;

mod aiosmtpd;
mod cases;
mod certificates;
mod extensions;
mod messages;
mod postfix;
mod server;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let servers = [&postfix::FIXTURE, &aiosmtpd::FIXTURE];
    let mut trials: Vec<_> = servers.into_iter().flat_map(cases::all).collect();
    trials.extend(extensions::all(&postfix::FIXTURE));
    let conclusion = libtest_mimic::run(&arguments, trials);
    for server in servers {
        server.stop();
    }
    conclusion.exit_code()
}
