//! The deadline holds, whatever the server does or leaves undone.

use std::time::{Duration, Instant};

use ehlo::check::{Check, Report};
use ehlo::sandbox::{Extension, Sandbox};
use ehlo::{ClientConfig, Security};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{fault, found, names, report, sandbox, usual};

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
