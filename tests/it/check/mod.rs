//! The connection check as a library: its steps, its deadline, what it tries, what it never shows.

mod deadline;
#[cfg(feature = "discover")]
mod discover;
mod modes;
mod secrets;
mod steps;

use std::time::Duration;

use ehlo::check::{Check, Report};
use ehlo::net::TlsOptions;
use ehlo::sandbox::{Options, Sandbox, TlsMode};
use ehlo::{ClientConfig, Credentials, Security};

const SECRET: &str = "s3cr3t-pa55";

/// A sandbox whose only account is jo.
async fn sandbox(options: Options) -> Sandbox {
    let options = options.with_account("jo@example.org", SECRET);
    Sandbox::start(options).await.expect("a sandbox")
}

/// With one fault, written as for `ehlo sandbox`.
fn fault(fault: &str) -> Options {
    Options::default().with_fault(fault.parse().expect("a fault"))
}

fn implicit() -> Options {
    Options::default().with_tls(TlsMode::Implicit)
}

/// What reaches the sandbox in this mode, and trusts it.
fn config(sandbox: &Sandbox, security: Security) -> ClientConfig {
    let tls = TlsOptions::default()
        .with_ca_pem(sandbox.certificate_pem().as_bytes())
        .expect("a certificate");
    ClientConfig::new("127.0.0.1", security)
        .with_port(sandbox.address().port())
        .with_tls(tls)
}

fn logged_in(config: ClientConfig) -> ClientConfig {
    config.with_credentials(Credentials::password("jo@example.org", SECRET).expect("plain ASCII"))
}

/// Of a sandbox by STARTTLS, logged in.
fn usual(sandbox: &Sandbox) -> Check {
    Check::new(logged_in(config(sandbox, Security::StartTls)))
}

async fn report(check: Check) -> Report {
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, check.start().report())
        .await
        .expect("the check ends")
}

/// Category and stage; a dash each where it went well.
fn found(report: &Report) -> (&'static str, &'static str) {
    match &report.error {
        Some(error) => (error.category, error.stage),
        None => ("-", "-"),
    }
}

fn names(report: &Report) -> Vec<&'static str> {
    report.steps.iter().map(|step| step.name.as_str()).collect()
}
