//! Delivery through real servers: Postfix with Dovecot, aiosmtpd, and Dovecot by LMTP.
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
#[cfg(feature = "diagnosis")]
mod checks;
mod dovecot;
mod extensions;
mod lmtp;
mod messages;
mod postfix;
mod server;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let servers = [&postfix::FIXTURE, &aiosmtpd::FIXTURE, &dovecot::FIXTURE];
    let [postfix, aiosmtpd, dovecot] = servers;
    let mut trials: Vec<_> = [postfix, aiosmtpd]
        .into_iter()
        .flat_map(cases::all)
        .collect();
    #[cfg(feature = "diagnosis")]
    trials.extend([postfix, aiosmtpd].into_iter().flat_map(checks::all));
    trials.extend(lmtp::all(dovecot));
    trials.extend(cases::log_ins(postfix));
    trials.extend(extensions::all(postfix));
    let conclusion = libtest_mimic::run(&arguments, trials);
    for server in servers {
        server.stop();
    }
    conclusion.exit_code()
}
