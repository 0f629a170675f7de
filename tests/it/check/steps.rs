//! Which steps there are, in which order, and what they say.

use std::future::poll_fn;
use std::pin::Pin;

use ehlo::check::{Check, Running, Step};
use ehlo::proto::PlaintextAuth;
use ehlo::sandbox::{ClearAuth, Happening, Line, Options, Sandbox};
use ehlo::settings::Settings;
use ehlo::{ClientConfig, Security};
use futures_core::Stream;

use super::{config, fault, found, implicit, logged_in, names, report, sandbox, usual};

async fn next(running: &mut Running) -> Option<Step> {
    poll_fn(|cx| Pin::new(&mut *running).poll_next(cx)).await
}

#[tokio::test]
async fn the_steps_of_a_good_connection_come_in_order_and_fold_the_second_ehlo() {
    let clear = sandbox(Options::default()).await;
    let tls = sandbox(implicit()).await;
    let all = [
        "resolve",
        "connect",
        "greeting",
        "ehlo",
        "starttls",
        "handshake",
        "auth",
        "mail",
    ];
    let without = |names: &[&str]| {
        let left = all.into_iter().filter(|name| !names.contains(name));
        left.collect::<Vec<_>>()
    };
    let early = [
        "resolve",
        "connect",
        "handshake",
        "greeting",
        "ehlo",
        "auth",
        "mail",
    ];
    for (config, expected) in [
        (logged_in(config(&clear, Security::StartTls)), all.to_vec()),
        (config(&clear, Security::StartTls), without(&["auth"])),
        (
            config(&clear, Security::Plaintext),
            without(&["starttls", "handshake", "auth"]),
        ),
        (logged_in(config(&tls, Security::Implicit)), early.to_vec()),
    ] {
        let security = config.session.security;
        let report = report(Check::new(config)).await;
        assert!(report.ok, "{report:?}");
        assert!(report.steps.iter().all(|step| step.ok));
        assert_eq!(names(&report), expected, "{security:?}");
        let ehlo = report
            .steps
            .iter()
            .find(|step| step.name.as_str() == "ehlo");
        let offers_starttls = ehlo.unwrap().detail.contains("STARTTLS");
        assert_eq!(offers_starttls, security == Security::Plaintext);
    }
}

#[tokio::test]
async fn steps_are_seen_as_they_happen_and_dropping_the_check_ends_the_connection() {
    let options = fault("stall@auth").with_account("jo@example.org", super::SECRET);
    let (sandbox, mut happenings) = Sandbox::start_watched(options).await.unwrap();
    let mut running = usual(&sandbox).start();
    let mut seen = Vec::new();
    while seen.last() != Some(&"handshake") {
        let step = next(&mut running).await.expect("more steps");
        assert!(step.ok, "{step:?}");
        seen.push(step.name.as_str());
    }
    // The second EHLO, then nothing: the server does not answer AUTH.
    assert_eq!(next(&mut running).await.unwrap().name.as_str(), "ehlo");
    drop(running);
    while let Some(happening) = happenings.recv().await {
        if let Happening::Disconnected { connection: 1 } = happening {
            return;
        }
    }
    panic!("the connection stays");
}

#[tokio::test]
async fn the_stream_ends_after_the_step_that_failed() {
    let sandbox = sandbox(fault("reply@mail=550 5.7.1 not you")).await;
    let mut running = usual(&sandbox).start();
    let mut last = None;
    while let Some(step) = next(&mut running).await {
        last = Some(step);
    }
    let last = last.unwrap();
    assert_eq!((last.name.as_str(), last.ok), ("mail", false));
    assert!(last.detail.contains("not you"), "{last:?}");
    let report = running.report().await;
    assert_eq!(report.steps.last(), Some(&last));
    assert_eq!(found(&report), ("sender-refused", "mail"));
}

#[tokio::test]
async fn nothing_is_sent_unless_it_is_asked_for() {
    let (sandbox, mut happenings) = Sandbox::start_watched(Options::default()).await.unwrap();
    let check = Check::new(config(&sandbox, Security::StartTls));
    let report = report(check.with_sender("jo@example.org".parse().unwrap())).await;
    assert!(report.ok, "{report:?}");
    assert!(report.next.is_empty());
    drop(sandbox);
    let mut commands = Vec::new();
    while let Some(happening) = happenings.recv().await {
        if let Happening::Line {
            line: Line::Client(line),
            ..
        } = happening
        {
            commands.push(line);
        }
    }
    let last: Vec<_> = commands[commands.len() - 3..].to_vec();
    assert_eq!(last, ["MAIL FROM:<jo@example.org>", "RSET", "QUIT"]);
}

#[tokio::test]
async fn a_test_mail_says_what_it_is_and_the_report_where_to_look_for_it() {
    let sandbox = sandbox(Options::default()).await;
    let check = usual(&sandbox).with_send_to("ann@example.com".parse().unwrap());
    let report = report(check).await;
    assert!(report.ok, "{report:?}");
    assert_eq!(names(&report).last(), Some(&"body"));
    let [message] = sandbox.received().try_into().unwrap();
    assert_eq!(message.reverse_path, "jo@example.org");
    assert_eq!(message.recipients, ["ann@example.com"]);
    let text = String::from_utf8(message.content.to_vec()).unwrap();
    for wanted in [
        "From: <jo@example.org>",
        "Subject: Test mail",
        "Date: ",
        "Message-ID: ",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing: {text}");
    }
    let next = report.next.join("\n");
    for wanted in [
        "ann@example.com",
        "spam",
        "SPF",
        "DKIM",
        "DMARC",
        "example.org",
        "Message-ID",
    ] {
        assert!(next.contains(wanted), "{wanted} is missing: {next}");
    }
}

#[tokio::test]
async fn a_test_mail_that_is_refused_fails_where_it_was_refused() {
    for (act, expected) in [
        ("reply@rcpt=550 5.1.1 nobody", ("recipient-refused", "rcpt")),
        ("reply@data=554 5.7.1 no", ("message-refused", "data")),
        ("reply@body=554 5.7.1 spam", ("message-refused", "body")),
        ("reply@body=451 4.7.1 later", ("temporary", "body")),
    ] {
        let options = fault(act).without_extension(ehlo::sandbox::Extension::Chunking);
        let sandbox = sandbox(options).await;
        let check = usual(&sandbox).with_send_to("ann@example.com".parse().unwrap());
        let report = report(check).await;
        assert_eq!(found(&report), expected, "{act}");
        let last = report.steps.last().unwrap();
        assert_eq!((last.name.as_str(), last.ok), (expected.1, false), "{act}");
        assert!(
            report
                .steps
                .iter()
                .any(|step| step.name.as_str() == "mail" && step.ok)
        );
    }
}

#[tokio::test]
async fn without_a_sender_the_empty_one_is_tried_and_its_refusal_explained() {
    let sandbox = sandbox(fault("reply@mail=550 5.7.1 who are you")).await;
    let report = report(Check::new(config(&sandbox, Security::StartTls))).await;
    assert_eq!(found(&report), ("sender-refused", "mail"));
    let hint = report.error.unwrap().hint;
    assert!(hint.contains("address to send from"), "{hint}");
}

#[tokio::test]
async fn the_document_begins_as_the_contract_says() {
    let sandbox = sandbox(Options::default()).await;
    let report = report(usual(&sandbox)).await;
    let document = serde_json::to_string(&report).unwrap();
    assert!(document.starts_with(r#"{"ok":true,"steps":[{"name":"resolve","ok":true,"ms":"#));
    let document = serde_json::to_value(&report).unwrap();
    let keys: Vec<_> = document.as_object().unwrap().keys().take(4).collect();
    assert_eq!(keys, ["ok", "steps", "server", "error"]);
    assert!(document["error"].is_null());
    assert_eq!(document["server"]["auth"], "PLAIN");
}

#[tokio::test]
async fn what_the_server_shows_is_explained_in_plain_words() {
    let sandbox = sandbox(Options::default().with_size_limit(26_214_400)).await;
    let report = report(usual(&sandbox)).await;
    let text = report.to_string();
    for wanted in [
        "messages may have up to 26.2 MB",
        "usable here: PLAIN, LOGIN",
        "for localhost, 127.0.0.1, ::1",
        "issued by CN=sandbox authority",
        "more days",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing: {text}");
    }
    assert_eq!(report.warnings, [""; 0]);
}

#[tokio::test]
async fn what_is_not_protected_is_warned_of() {
    let sandbox = sandbox(Options::default()).await;
    let clear = report(Check::new(config(&sandbox, Security::Plaintext))).await;
    let warnings = clear.warnings.join("\n");
    assert!(warnings.contains("not encrypted"), "{warnings}");
    assert!(warnings.contains("offers STARTTLS"), "{warnings}");
    let readable = sandbox_that_takes_passwords_in_clear().await;
    let mut open = logged_in(config(&readable, Security::Plaintext));
    open.session = open.session.with_plaintext_auth(PlaintextAuth::Allow);
    let open = report(Check::new(open)).await;
    let warnings = open.warnings.join("\n");
    assert!(
        open.ok && warnings.contains("read the password"),
        "{warnings}"
    );
    let off = ehlo::net::TlsOptions::default().with_trust(ehlo::net::Trust::Off);
    let unchecked: ClientConfig = config(&sandbox, Security::StartTls).with_tls(off);
    let unchecked = report(Check::new(unchecked)).await;
    let warnings = unchecked.warnings.join("\n");
    assert!(warnings.contains("not checked"), "{warnings}");
}

#[tokio::test]
async fn an_accounts_sender_name_and_warnings_are_the_checks() {
    let sandbox = sandbox(Options::default()).await;
    let settings = Settings::new("ann@example.org", "127.0.0.1")
        .with_from_name("Ann")
        .with_port(sandbox.address().port())
        .with_login("jo@example.org", super::SECRET)
        .with_certificate_sha256(hexadecimal(sandbox.certificate_sha256()));
    let account = settings.account().unwrap();
    assert_eq!(account.warnings().len(), 1, "the sender is another");
    let check = Check::of(&account).with_send_to("bob@example.com".parse().unwrap());
    let report = report(check).await;
    assert!(report.ok, "{report}");
    assert!(
        report.warnings[0].contains("sender"),
        "{:?}",
        report.warnings
    );
    let [message] = sandbox.received().try_into().unwrap();
    assert_eq!(message.reverse_path, "ann@example.org");
    let text = String::from_utf8(message.content.to_vec()).unwrap();
    assert!(text.contains("From: \"Ann\" <ann@example.org>"), "{text}");
}

#[tokio::test]
async fn a_refused_certificate_is_explained_and_its_pin_offered() {
    let sandbox = sandbox(Options::default()).await;
    let config =
        ClientConfig::new("127.0.0.1", Security::StartTls).with_port(sandbox.address().port());
    let report = report(Check::new(config)).await;
    assert_eq!(found(&report), ("certificate", "handshake"));
    let pin = hexadecimal(sandbox.certificate_sha256());
    assert!(report.certificate.iter().any(|line| line.contains(&pin)));
    let suggestion = report.diagnosis.unwrap().suggestion.unwrap();
    assert_eq!(suggestion.certificate_sha256, Some(pin));
}

async fn sandbox_that_takes_passwords_in_clear() -> Sandbox {
    sandbox(Options::default().with_clear_auth(ClearAuth::Allowed)).await
}

fn hexadecimal(octets: [u8; 32]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[tokio::test]
async fn a_server_without_rset_is_usable_all_the_same() {
    for reply in ["502 5.5.1 no such command", "500 what?"] {
        let sandbox = sandbox(fault(&format!("reply@rset={reply}"))).await;
        let to = "ann@example.com".parse().unwrap();
        for check in [usual(&sandbox), usual(&sandbox).with_send_to(to)] {
            let report = report(check).await;
            assert!(report.ok, "{report:?}");
            let about: Vec<_> = report
                .warnings
                .iter()
                .filter(|it| it.contains("RSET"))
                .collect();
            assert_eq!(about.len(), 1, "{report}");
        }
        assert_eq!(sandbox.counters().messages, 1);
    }
}
