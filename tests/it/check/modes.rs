//! Wrong encryption and wrong ports: what is seen to work is said.

use std::net::TcpListener;
use std::time::Duration;

use ehlo::check::Check;
use ehlo::diagnosis::Kind;
use ehlo::net::AddressPolicy;
use ehlo::proto::Protocol;
use ehlo::providers::Encryption;
use ehlo::sandbox::{Options, TlsMode};
use ehlo::settings::Settings;
use ehlo::{ClientConfig, Security};

use super::{config, fault, found, implicit, logged_in, report, sandbox};

/// Short, so that silence is soon taken for what it is.
const DEADLINE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn silence_in_clear_where_tls_is_spoken_is_a_mismatch() {
    let sandbox = sandbox(implicit()).await;
    for security in [Security::StartTls, Security::Plaintext] {
        let check = Check::new(config(&sandbox, security)).with_deadline(DEADLINE);
        let report = report(check).await;
        assert_eq!(
            found(&report),
            ("encryption-mismatch", "greeting"),
            "{report:?}"
        );
        let settings = report.settings.unwrap();
        assert_eq!(settings.port, sandbox.address().port());
        assert_eq!(settings.encryption, Encryption::Tls);
        assert!(settings.certificate_accepted);
        assert!(report.elapsed < DEADLINE, "it need not wait to the end");
        let hint = report.error.unwrap().hint;
        assert!(hint.contains("TLS"), "{hint}");
        let diagnosis = report.diagnosis.unwrap();
        assert_eq!(diagnosis.kind, Kind::TlsExpected);
        let suggestion = diagnosis.suggestion.unwrap();
        assert_eq!(suggestion.port, sandbox.address().port());
        assert_eq!(suggestion.encryption, Encryption::Tls);
    }
}

#[tokio::test]
async fn tls_where_clear_text_is_spoken_is_a_mismatch() {
    let sandbox = sandbox(Options::default()).await;
    let report = report(Check::new(config(&sandbox, Security::Implicit))).await;
    assert_eq!(
        found(&report),
        ("encryption-mismatch", "handshake"),
        "{report:?}"
    );
    let settings = report.settings.unwrap();
    assert_eq!(settings.port, sandbox.address().port());
    assert_eq!(settings.encryption, Encryption::StartTls);
}

#[tokio::test]
async fn a_server_that_is_only_slow_is_believed() {
    let sandbox = sandbox(fault("delay@greeting=2.5")).await;
    // Others are tried beside it after two seconds, and find nothing.
    let check = Check::new(config(&sandbox, Security::StartTls)).with_deadline(DEADLINE);
    let report = report(check).await;
    assert!(report.ok, "{report:?}");
    assert_eq!(report.settings, None);
}

#[tokio::test]
async fn what_is_tried_gets_no_credentials() {
    let sandbox = sandbox(implicit()).await;
    let config = logged_in(config(&sandbox, Security::StartTls));
    let report = report(Check::new(config).with_deadline(DEADLINE)).await;
    assert_eq!(found(&report), ("encryption-mismatch", "greeting"));
    assert_eq!(sandbox.counters().messages, 0);
    // EHLO and, where it came so far, QUIT.
    assert!(sandbox.counters().commands <= 2, "{:?}", sandbox.counters());
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_refused_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let config = ClientConfig::new("127.0.0.1", Security::StartTls).with_port(port);
    let report = report(Check::new(config)).await;
    assert_eq!(found(&report), ("connection-refused", "connect"));
    assert_eq!(report.steps.len(), 2);
}

#[tokio::test]
async fn a_server_without_starttls_is_not_spoken_to_in_clear() {
    let sandbox = sandbox(Options::default().with_tls(TlsMode::None)).await;
    let report = report(Check::new(config(&sandbox, Security::StartTls))).await;
    assert_eq!(
        found(&report),
        ("starttls-unavailable", "starttls"),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_server_that_speaks_tls_is_not_asked_whether_it_speaks_in_clear() {
    for trouble in ["tls=old", "tls=client-certificate", "stall@greeting"] {
        let sandbox = sandbox(fault(trouble).with_tls(TlsMode::Implicit)).await;
        let check = Check::new(config(&sandbox, Security::Implicit))
            .with_deadline(Duration::from_millis(2500));
        let report = report(check).await;
        assert!(!report.ok && report.settings.is_none(), "{report:?}");
        assert_eq!(sandbox.counters().connections, 1, "{trouble}");
    }
}

#[tokio::test]
async fn the_policy_for_addresses_holds_for_an_account() {
    let sandbox = sandbox(Options::default()).await;
    let account = Settings::new("jo@example.org", "127.0.0.1")
        .with_port(sandbox.address().port())
        .account()
        .unwrap();
    let check = Check::of(&account).with_address_policy(AddressPolicy::PublicOnly);
    let report = report(check).await;
    assert!(!report.ok, "{report}");
    assert_eq!(sandbox.counters().connections, 0);
}

#[tokio::test]
async fn a_server_for_lmtp_is_told_from_one_that_minds_a_name() {
    let sandbox = sandbox(Options::default().with_protocol(Protocol::Lmtp)).await;
    let report = report(Check::new(config(&sandbox, Security::StartTls))).await;
    let diagnosis = report.diagnosis.expect("it is no server for SMTP");
    assert_eq!(diagnosis.kind, Kind::NotSmtp, "{diagnosis}");
    assert!(diagnosis.observed.contains("LMTP"), "{diagnosis}");
}

#[tokio::test]
async fn what_was_seen_to_answer_is_said_once_and_not_as_options() {
    let sandbox = sandbox(implicit()).await;
    let config = config(&sandbox, Security::StartTls);
    let report = report(Check::new(config).with_deadline(DEADLINE)).await;
    let port = sandbox.address().port();
    let settings = format!("host 127.0.0.1, port {port}, encryption TLS");
    let text = report.to_string();
    assert_eq!(text.matches(&settings).count(), 1, "{text}");
    assert!(text.contains("nobody was logged in"), "{text}");
    assert!(!text.contains("--"), "{text}");
}
