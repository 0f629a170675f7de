//! The deadline holds, whatever the server does or leaves undone.

use std::time::{Duration, Instant};

use ehlo::check::{Check, Report};
use ehlo::diagnosis::Kind;
use ehlo::sandbox::{Extension, Options, Sandbox, TlsMode};
use ehlo::{ClientConfig, Credentials, Security, Stage};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{config, fault, found, names, report, sandbox, usual};

const DEADLINE: Duration = Duration::from_millis(2500);
/// What a loaded machine may add.
const SLACK: Duration = Duration::from_secs(8);

async fn timed(check: Check) -> Report {
    let begun = Instant::now();
    let report = report(check.with_deadline(DEADLINE)).await;
    assert!(begun.elapsed() < DEADLINE + SLACK, "{:?}", begun.elapsed());
    report
}

async fn stalled(step: &'static str) -> (&'static str, Report, Sandbox) {
    let options = fault(&format!("stall@{step}")).without_extension(Extension::Chunking);
    let sandbox = sandbox(options).await;
    let check = usual(&sandbox).with_send_to("ann@example.com".parse().unwrap());
    let check = match step {
        // What comes before the test mail is taken back by it.
        "rset" => usual(&sandbox),
        _ => check,
    };
    (step, timed(check).await, sandbox)
}

#[tokio::test]
async fn it_holds_at_each_step_where_the_server_stalls() {
    let steps = [
        ("greeting", "greeting"),
        ("ehlo", "ehlo"),
        ("starttls", "starttls"),
        ("handshake", "handshake"),
        ("auth", "auth"),
        ("mail", "mail"),
        ("rset", "mail"),
        ("rcpt", "rcpt"),
        ("data", "data"),
        ("body", "body"),
    ];
    let mut checks = JoinSet::new();
    for (step, _) in steps {
        checks.spawn(stalled(step));
    }
    while let Some(done) = checks.join_next().await {
        let (step, report, _sandbox) = done.unwrap();
        let (_, stage) = steps.into_iter().find(|(name, _)| *name == step).unwrap();
        assert_eq!(found(&report), ("connection-timeout", stage), "{report:?}");
        let message = report.error.as_ref().unwrap().message.as_str();
        assert!(message.contains("2.5 seconds of the check"), "{message}");
        // How long each step took, so that the slow one can be told.
        for earlier in report.steps.iter().filter(|step| step.ok) {
            let told = format!("{} took ", earlier.name);
            assert!(message.contains(&told), "{told} is missing: {message}");
        }
        let last = report.steps.last().unwrap();
        assert_eq!((last.name.as_str(), last.ok), (stage, false));
    }
}

#[tokio::test]
async fn a_good_bye_without_an_answer_changes_nothing() {
    let (_, report, _sandbox) = stalled("quit").await;
    assert_eq!(found(&report), ("-", "-"), "{report:?}");
    assert!(report.ok);
}

#[tokio::test]
async fn what_is_known_before_the_good_bye_does_not_wait_for_its_answer() {
    let wrong = Credentials::password("jo@example.org", "wrong").unwrap();
    for (fault, expected, kind) in [
        (
            "reply@auth=535 5.7.8 no",
            ("authentication", "auth"),
            Kind::CredentialsRefused,
        ),
        (
            "starttls-stripped",
            ("starttls-unavailable", "starttls"),
            Kind::StartTlsNotOffered,
        ),
        (
            "reply@ehlo=550 a full host name is wanted",
            ("sender-refused", "ehlo"),
            Kind::HelloRefused,
        ),
    ] {
        let options = Options::default()
            .with_fault(fault.parse().unwrap())
            .with_fault("stall@quit".parse().unwrap());
        let sandbox = sandbox(options).await;
        let config = config(&sandbox, Security::StartTls).with_credentials(wrong.clone());
        // With a deadline behind the wait for QUIT's answer, and with one before it.
        for deadline in [2500, 1000] {
            let deadline = Duration::from_millis(deadline);
            let check = Check::new(config.clone()).with_deadline(deadline);
            let report = report(check).await;
            assert_eq!(found(&report), expected, "{fault}: {report:?}");
            assert_eq!(report.diagnosis.unwrap().kind, kind);
        }
    }
}

#[tokio::test]
async fn a_test_mail_whose_answer_does_not_come_may_have_arrived() {
    for chunking in [true, false] {
        let mut options = fault("stall@body");
        if !chunking {
            options = options.without_extension(Extension::Chunking);
        }
        let sandbox = sandbox(options).await;
        let check = usual(&sandbox).with_send_to("ann@example.com".parse().unwrap());
        let report = timed(check).await;
        assert_eq!(found(&report), ("connection-timeout", "body"), "{report:?}");
        let diagnosis = report.diagnosis.unwrap();
        assert_eq!(diagnosis.kind, Kind::InDoubt);
        assert!(!diagnosis.temporary);
    }
}

#[tokio::test]
async fn the_step_that_is_waited_for_is_named_though_more_was_sent_behind_it() {
    for (step, stage) in [("rcpt", "rcpt"), ("rset", "mail"), ("mail#2", "mail")] {
        let sandbox = sandbox(fault(&format!("stall@{step}"))).await;
        let check = usual(&sandbox).with_send_to("ann@example.com".parse().unwrap());
        let report = timed(check).await;
        assert_eq!(
            found(&report),
            ("connection-timeout", stage),
            "{step}: {report:?}"
        );
    }
}

#[tokio::test]
async fn silence_behind_a_good_handshake_is_not_one_within_it() {
    let tls = |fault: &str| self::fault(fault).with_tls(TlsMode::Implicit);
    for (options, security, stage, kind) in [
        (
            tls("stall@greeting"),
            Security::Implicit,
            "greeting",
            Kind::NoGreeting,
        ),
        (
            fault("stall@ehlo#2"),
            Security::StartTls,
            "ehlo",
            Kind::ReplyTimedOut,
        ),
    ] {
        let sandbox = sandbox(options).await;
        let report = timed(Check::new(config(&sandbox, security))).await;
        assert_eq!(found(&report), ("connection-timeout", stage), "{report:?}");
        let handshake = report.steps.iter().find(|it| it.name == Stage::Handshake);
        assert!(handshake.unwrap().ok, "{report:?}");
        let diagnosis = report.diagnosis.unwrap();
        assert_eq!(diagnosis.kind, kind);
        assert!(!diagnosis.to_string().contains("STARTTLS"), "{diagnosis}");
        assert_eq!(diagnosis.suggestion, None);
    }
}

#[tokio::test]
async fn a_server_that_reads_nothing_any_more_is_no_exception() {
    for step in ["starttls", "mail", "quit"] {
        let sandbox = sandbox(fault(&format!("freeze@{step}"))).await;
        let report = timed(usual(&sandbox)).await;
        let expected = match step {
            "quit" => ("-", "-"),
            step => ("connection-timeout", step),
        };
        assert_eq!(found(&report), expected, "{report:?}");
    }
}

#[tokio::test]
async fn a_greeting_that_drips_does_not_extend_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(20));
                for octet in b"220-one line after another\r\n".iter().cycle() {
                    pace.tick().await;
                    if stream.write_all(&[*octet]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let config = ClientConfig::new("127.0.0.1", Security::StartTls).with_port(port);
    let report = timed(Check::new(config)).await;
    assert_eq!(
        found(&report),
        ("connection-timeout", "greeting"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_a_connection_without_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let config = ClientConfig::new("mail.example.org", Security::StartTls)
        .with_proxy(proxy.parse().unwrap());
    let report = timed(Check::new(config)).await;
    assert_eq!(
        found(&report),
        ("connection-timeout", "connect"),
        "{report:?}"
    );
    assert_eq!(names(&report), ["connect"]);
}
