//! The connection check against real servers: in right modes, and in wrong ones with what it says.

use std::time::Duration;

use ehlo::check::{Check, Report};
use ehlo::diagnosis::Kind;
use ehlo::net::TlsOptions;
use ehlo::providers::Encryption;
use ehlo::{ClientConfig, Credentials};
use libtest_mimic::Trial;

use crate::cases::block_on;
use crate::server::{Fixture, Mode, Server};

pub(crate) fn all(fixture: &'static Fixture) -> Vec<Trial> {
    let mut trials = vec![
        fixture.trial("check::tls_where_starttls_is_due", |server| {
            let port = server.port(Mode::StartTls);
            let report = report(config(server, Mode::Implicit).with_port(port));
            assert_failed(
                &report,
                "encryption-mismatch",
                "handshake",
                Kind::StartTlsExpected,
            );
            assert_seen_to_work(&report, port, Encryption::StartTls);
        }),
        fixture.trial("check::starttls_where_tls_is_due", |server| {
            let port = server.port(Mode::Implicit);
            let report = report(config(server, Mode::StartTls).with_port(port));
            assert_failed(
                &report,
                "encryption-mismatch",
                "greeting",
                Kind::TlsExpected,
            );
            assert_seen_to_work(&report, port, Encryption::Tls);
        }),
        fixture.trial("check::a_test_mail_is_delivered", |server| {
            let sender = "check.mail@example.test";
            let check = check(config(server, Mode::StartTls), sender)
                .with_send_to("alice@example.test".parse().expect("an address"));
            let report = block_on(check.start().report());
            assert!(report.ok, "{report}");
            let stored = String::from_utf8_lossy(&server.stored(sender)).into_owned();
            assert!(stored.contains("Subject: Test mail"), "{stored}");
        }),
    ];
    for mode in [Mode::Clear, Mode::StartTls, Mode::Implicit] {
        let name = |case: &str| format!("check::{}::{case}", mode.name());
        trials.push(fixture.trial(&name("all_steps"), move |server| {
            let report = report(config(server, mode));
            assert!(report.ok, "{report}");
            let names: Vec<_> = report.steps.iter().map(|step| step.name.as_str()).collect();
            assert_eq!(names, steps(mode));
        }));
        if mode == Mode::Clear {
            continue;
        }
        trials.extend([
            fixture.trial(&name("wrong_password"), move |server| {
                let config = config(server, mode).with_credentials(credentials("wrong"));
                let report = report(config);
                assert_failed(&report, "authentication", "auth", Kind::CredentialsRefused);
            }),
            fixture.trial(&name("untrusted_certificate"), move |server| {
                let report = report(config(server, mode).with_tls(TlsOptions::default()));
                let error = report.error.as_ref().expect("an error");
                assert_eq!((error.category, error.stage), ("certificate", "handshake"));
                assert!(!report.certificate.is_empty(), "{report}");
                let suggestion = report.diagnosis.expect("a diagnosis").suggestion;
                let pin = suggestion.and_then(|settings| settings.certificate_sha256);
                assert_eq!(pin.map(|pin| pin.len()), Some(64));
            }),
        ]);
    }
    trials
}

fn steps(mode: Mode) -> &'static [&'static str] {
    match mode {
        Mode::Clear => &["resolve", "connect", "greeting", "ehlo", "mail"],
        Mode::StartTls => &[
            "resolve",
            "connect",
            "greeting",
            "ehlo",
            "starttls",
            "handshake",
            "auth",
            "mail",
        ],
        Mode::Implicit => &[
            "resolve",
            "connect",
            "handshake",
            "greeting",
            "ehlo",
            "auth",
            "mail",
        ],
    }
}

fn config(server: &Server, mode: Mode) -> ClientConfig {
    let config = ClientConfig::new("localhost", mode.security())
        .with_port(server.port(mode))
        .with_tls(server.tls());
    match mode {
        Mode::Clear => config,
        Mode::StartTls | Mode::Implicit => config.with_credentials(credentials("password")),
    }
}

fn credentials(password: &str) -> Credentials {
    Credentials::password("alice", password).expect("no control characters")
}

fn check(config: ClientConfig, sender: &str) -> Check {
    Check::new(config)
        .with_sender(sender.parse().expect("an address"))
        .with_deadline(Duration::from_secs(20))
}

fn report(config: ClientConfig) -> Report {
    let check = check(config, "check@example.test");
    block_on(check.start().report())
}

#[track_caller]
fn assert_failed(report: &Report, category: &str, stage: &str, kind: Kind) {
    let error = report.error.as_ref().expect("an error");
    assert_eq!((error.category, error.stage), (category, stage), "{report}");
    let diagnosis = report.diagnosis.as_ref().expect("a diagnosis");
    assert_eq!(diagnosis.kind, kind, "{report}");
}

#[track_caller]
fn assert_seen_to_work(report: &Report, port: u16, encryption: Encryption) {
    let settings = report.settings.as_ref().expect("settings that work");
    assert_eq!((settings.port, settings.encryption), (port, encryption));
    assert!(settings.certificate_accepted);
}
