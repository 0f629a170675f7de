//! TLS, log-in, and secrets that must never be printed.

use std::process::Stdio;

use ehlo::sandbox::{Auth, ClearAuth, Options, TlsMode};
use tokio::io::AsyncWriteExt;

use super::{FROM_TO, HELLO, Run, SECRET, Server, command, ehlo, finished, text};

#[tokio::test]
async fn tls_from_the_first_octet_and_a_pinned_certificate_are_taken() {
    let server = Server::start(Options::default().with_tls(TlsMode::Implicit)).await;
    let pin = server.sandbox.certificate_sha256();
    let pin: Vec<String> = pin.iter().map(|octet| format!("{octet:02X}")).collect();
    let (url, pin) = (server.url("smtps"), pin.join(":"));
    let mut arguments = vec!["send", "--server", &url, "--pin-sha256", &pin, "--json"];
    arguments.extend(FROM_TO.iter().chain(&HELLO));
    let run = ehlo(&arguments).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(run.json()["server"]["tls"]["verified"], true);
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_ends_in_76_and_insecure_warns() {
    let server = Server::start(Options::default()).await;
    let url = server.url("smtp");
    let mut arguments = vec!["send", "--server", &url, "--json"];
    arguments.extend(FROM_TO.iter().chain(&HELLO));
    let run = ehlo(&arguments).await;
    run.assert_failed(76, "certificate", "handshake");
    assert!(server.sandbox.received().is_empty());

    arguments.push("--insecure");
    let run = ehlo(&arguments).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(run.stderr.contains("warning:"), "{}", run.stderr);
    assert_eq!(run.json()["server"]["tls"]["verified"], false);
}

#[tokio::test]
async fn log_in_failures_exit_77() {
    let server = Server::start(Options::default().with_account("jo", SECRET)).await;
    let wrong = server.file("wrong", "not-the-password\n");
    let run = server
        .send(&["--username", "jo", "--password-file", &wrong])
        .await;
    run.assert_failed(77, "authentication", "auth");

    let server = Server::start(Options::default().with_auth(Auth::Required)).await;
    let run = server.send(&[]).await;
    assert_eq!(run.code, 77, "{}", run.all());
    assert_eq!(run.json()["error"]["category"], "authentication");

    let server = Server::start(Options::default().with_auth(Auth::Off)).await;
    let run = server
        .send(&["--username", "jo", "--password-env", "EHLO_TEST_PASSWORD"])
        .await;
    run.assert_failed(77, "auth-unavailable", "auth");
}

#[tokio::test]
async fn a_password_in_clear_is_refused_unless_allowed() {
    let options = Options::default()
        .with_tls(TlsMode::None)
        .with_clear_auth(ClearAuth::Allowed)
        .with_account("jo", SECRET);
    let server = Server::start(options).await;
    let clear = [
        "--encryption",
        "none",
        "--username",
        "jo",
        "--password-env",
        "EHLO_TEST_PASSWORD",
    ];
    let run = server.send(&clear).await;
    run.assert_failed(77, "auth-unavailable", "auth");
    let run = server
        .send(&[&clear[..], &["--allow-plaintext-auth"]].concat())
        .await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(
        server.sandbox.received()[0].authenticated.as_deref(),
        Some("jo")
    );
}

#[tokio::test]
async fn what_is_longer_than_any_password_is_refused_and_not_cut() {
    let server = Server::start(Options::default().with_account("jo", SECRET)).await;
    let file = server.file("password", "x".repeat(64 * 1024 + 1));
    let arguments = server.arguments(&["--username", "jo", "--password-stdin"]);
    let mut from_stdin = command(&arguments);
    from_stdin.stdin(std::fs::File::open(&file).unwrap());
    let runs = [
        finished(from_stdin).await,
        server
            .send(&["--username", "jo", "--password-file", &file])
            .await,
    ];
    for run in runs {
        assert_eq!((run.code, run.stdout.as_str()), (64, ""), "{}", run.all());
        assert!(run.stderr.contains("more than a password"), "{}", run.all());
    }
    assert_eq!(server.sandbox.counters().connections, 0);
}

#[tokio::test]
async fn a_file_without_a_certificate_is_refused_in_words() {
    let server = Server::start(Options::default()).await;
    for (text, words) in [
        ("no certificate", "there is no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", "has no end"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "malformed",
        ),
    ] {
        let file = server.file("ca.pem", text);
        let run = server.send(&[]).await;
        assert_eq!((run.code, run.stdout.as_str()), (64, ""), "{}", run.all());
        assert!(run.stderr.contains(&file), "{}", run.all());
        assert!(run.stderr.contains(words), "{}", run.all());
    }
}

#[tokio::test]
async fn passwords_come_from_variables_files_standard_input_and_urls() {
    let server = Server::start(Options::default().with_account("jo", SECRET)).await;
    let file = server.file("password", format!("{SECRET}\r\n"));
    let run = server
        .send(&["--username", "jo", "--password-file", &file])
        .await;
    assert_eq!(run.code, 0, "{}", run.all());

    let mut command = command(&server.arguments(&["--username", "jo", "--password-stdin"]));
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(format!("{SECRET}\n").as_bytes())
        .await
        .unwrap();
    drop(stdin);
    let run = Run::from_output(child.wait_with_output().await.unwrap());
    assert_eq!(run.code, 0, "{}", run.all());

    let url = format!("smtp://jo:{SECRET}@{}", server.sandbox.address());
    let ca = text(&server.path("ca.pem"));
    let mut arguments = vec!["send", "--server", &url, "--ca-file", &ca];
    arguments.extend(FROM_TO.iter().chain(&HELLO));
    let run = ehlo(&arguments).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(run.stderr.contains("warning:"), "{}", run.stderr);
    assert!(!run.all().contains(SECRET), "{}", run.all());

    let received = server.sandbox.received();
    assert_eq!(received.len(), 3);
    assert!(
        received
            .iter()
            .all(|r| r.authenticated.as_deref() == Some("jo"))
    );
}

#[tokio::test]
async fn no_output_ever_has_the_password_not_even_where_the_server_repeats_it() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let plain = STANDARD.encode(format!("\0jo\0{SECRET}"));
    let bare = STANDARD.encode(SECRET);
    let echo = format!("reply@auth=535 5.7.8 wrong: {plain} {bare} {SECRET}");
    for (fault, mechanism) in [
        (None, "plain"),
        (None, "login"),
        (Some(echo.as_str()), "plain"),
        (Some("close@auth"), "plain"),
        (Some("reply@auth=334 VXNlcm5hbWU6"), "login"),
        (Some("close@body"), "login"),
    ] {
        let mut options = Options::default().with_account("jo", SECRET);
        if let Some(fault) = fault {
            options = options.with_fault(fault.parse().unwrap());
        }
        let server = Server::start(options).await;
        let trace = text(&server.path("trace.txt"));
        let more = [
            "--username",
            "jo",
            "--password-env",
            "EHLO_TEST_PASSWORD",
            "--auth",
            mechanism,
            "--trace",
            &trace,
        ];
        let json = server.send(&more).await;
        let mut human = server.arguments(&more);
        human.retain(|argument| argument != "--json");
        let human = ehlo(&human).await;
        let trace = std::fs::read_to_string(&trace).unwrap();
        assert!(trace.contains("C: AUTH"), "{trace}");
        for output in [json.all(), human.all(), trace] {
            for secret in [SECRET, &plain, &bare] {
                assert!(!output.contains(secret), "{fault:?} {mechanism}: {output}");
            }
        }
    }
}

#[tokio::test]
async fn starttls_that_is_not_offered_exits_76() {
    let server = Server::start(Options::default().with_tls(TlsMode::None)).await;
    let run = server.send(&[]).await;
    run.assert_failed(76, "starttls-unavailable", "starttls");
    assert!(server.sandbox.received().is_empty());
}

#[tokio::test]
async fn the_wrong_tls_mode_is_named() {
    let server = Server::start(Options::default()).await;
    let (url, ca) = (server.url("smtps"), text(&server.path("ca.pem")));
    let mut arguments = vec!["send", "--server", &url, "--ca-file", &ca, "--json"];
    arguments.extend(FROM_TO.iter().chain(&HELLO));
    let run = ehlo(&arguments).await;
    assert_eq!(run.code, 76, "{}", run.all());
    assert_eq!(run.json()["error"]["category"], "encryption-mismatch");
}
