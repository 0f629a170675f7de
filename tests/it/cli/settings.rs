//! `--settings FILE`.

use ehlo::sandbox::{Auth, Options};
use serde_json::json;

use super::{HELLO, Run, SECRET, Server, ehlo, text};

async fn with_account() -> Server {
    let options = Options::default()
        .with_auth(Auth::Required)
        .with_account("jo@example.org", SECRET);
    Server::start(options).await
}

impl Server {
    /// A settings file that is right for this server.
    fn settings(&self) -> serde_json::Value {
        json!({
            "sender_email": "jo@example.org",
            "from_name": "Jo Doe",
            "host": self.sandbox.address().ip().to_string(),
            "port": self.sandbox.address().port(),
            "encryption": "STARTTLS",
            "username": "jo@example.org",
            "password": SECRET,
        })
    }
}

/// Sends a greeting with this file, and more options.
async fn send(server: &Server, file: &str, more: &[&str]) -> Run {
    let ca = text(&server.path("ca.pem"));
    let mut arguments = vec![
        "send",
        "--settings",
        file,
        "--to",
        "ann@example.com",
        "--json",
    ];
    arguments.extend(HELLO);
    arguments.extend(["--ca-file", &ca]);
    arguments.extend(more);
    ehlo(&arguments).await
}

#[track_caller]
fn assert_misconfigured(run: &Run, words: &[&str]) {
    assert_eq!(run.code, 78, "{}", run.all());
    assert_eq!(run.stdout, "");
    for word in words {
        assert!(run.stderr.contains(word), "no {word:?}: {}", run.all());
    }
    assert!(!run.all().contains(SECRET), "{}", run.all());
}

#[tokio::test]
async fn a_message_is_sent_with_nothing_but_a_settings_file() {
    let server = with_account().await;
    let json = server.settings();
    let toml = toml::to_string(&json).unwrap();
    for (name, content) in [("a.json", json.to_string()), ("b.toml", toml)] {
        let file = server.file(name, content);
        let run = send(&server, &file, &[]).await;
        assert_eq!(run.code, 0, "{}", run.all());
        assert_eq!(run.stderr, "");
        assert_eq!(run.json()["server"]["auth"], "PLAIN");
        assert!(!run.all().contains(SECRET), "{}", run.all());
    }
    let received = server.sandbox.received();
    assert_eq!(received.len(), 2);
    let message = String::from_utf8_lossy(&received[0].content).into_owned();
    assert!(
        message.contains("From: \"Jo Doe\" <jo@example.org>"),
        "{message}"
    );
}

#[tokio::test]
async fn options_go_before_the_file_field_by_field() {
    let server = with_account().await;
    let mut settings = server.settings();
    settings["sender_email"] = "not an address".into();
    settings["host"] = "https://nowhere.invalid".into();
    settings["port"] = "x".into();
    settings["encryption"] = "y".into();
    settings["username"] = "".into();
    settings["password"] = "wrong".into();
    settings["validate_certificate"] = "perhaps".into();
    let file = server.file("settings", settings.to_string());
    let host = server.sandbox.address().ip().to_string();
    let port = server.sandbox.address().port().to_string();
    let run = send(
        &server,
        &file,
        &[
            "--from",
            "jo@example.org",
            "--host",
            &host,
            "--port",
            &port,
            "--encryption",
            "starttls",
            "--username",
            "jo@example.org",
            "--password-env",
            "EHLO_TEST_PASSWORD",
            "--validate-certificate",
            "true",
        ],
    )
    .await;
    assert_eq!(run.code, 0, "{}", run.all());

    let mut settings = server.settings();
    settings["password"] = "wrong".into();
    let file = server.file("settings", settings.to_string());
    let run = send(&server, &file, &[]).await;
    assert_eq!(run.code, 77, "{}", run.all());
    let run = send(&server, &file, &["--password-env", "EHLO_TEST_PASSWORD"]).await;
    assert_eq!(run.code, 0, "{}", run.all());

    let file = server.file("settings", server.settings().to_string());
    let run = send(&server, &file, &["--encryption", "opportunistic"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
}

#[tokio::test]
async fn a_password_of_the_file_is_not_sent_to_a_server_of_a_url() {
    let server = with_account().await;
    let file = server.file("settings", server.settings().to_string());
    let url = server.url("smtp");
    let run = send(&server, &file, &["--server", &url]).await;
    run.assert_failed(77, "authentication", "mail");
    assert_eq!(run.json()["server"]["auth"], serde_json::Value::Null);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_file_is_said_at_once_with_its_fields() {
    let server = with_account().await;
    let mut settings = server.settings();
    settings["port"] = "587/tcp".into();
    settings["encryption"] = "auto".into();
    settings["from_name"] = "a\nb".into();
    settings["certificate_sha256"] = SECRET.into();
    let file = server.file("settings", settings.to_string());
    let fields = [
        "from_name: ",
        "port: ",
        "encryption: ",
        "certificate_sha256: ",
    ];
    assert_misconfigured(&send(&server, &file, &[]).await, &fields);

    let mut clear = server.settings();
    clear["encryption"] = "none".into();
    let file = server.file("settings", clear.to_string());
    assert_misconfigured(&send(&server, &file, &[]).await, &["encryption: "]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_78_and_one_that_is_not_there_is_66() {
    let server = with_account().await;
    for (content, words) in [
        (format!("password = \"{SECRET}"), &["line 1"][..]),
        (format!("hots = \"{SECRET}\""), &["hots", "there are"]),
        (format!("{{\"password\": [\"{SECRET}\"]}}"), &["password: "]),
    ] {
        let file = server.file("settings", content);
        assert_misconfigured(&send(&server, &file, &[]).await, words);
    }
    let file = server.file("settings", [0xff]);
    assert_misconfigured(&send(&server, &file, &[]).await, &["UTF-8"]);

    let run = send(&server, &text(&server.path("nothing")), &[]).await;
    assert_eq!(run.code, 66, "{}", run.all());
}

#[tokio::test]
async fn a_file_may_pin_a_certificate_or_switch_its_validation_off_which_warns() {
    let server = with_account().await;
    let bare = |settings: &serde_json::Value| server.file("settings", settings.to_string());
    let mut settings = server.settings();
    settings["validate_certificate"] = false.into();
    // Without --ca-file, beside which nothing would have to be switched off.
    let arguments = |file: String| -> Vec<String> {
        let send = [
            "send",
            "--to",
            "ann@example.com",
            "--json",
            "--settings",
            &file,
        ];
        send.iter().chain(&HELLO).map(ToString::to_string).collect()
    };
    let run = ehlo(&arguments(bare(&settings))).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(run.json()["server"]["tls"]["verified"], false);
    assert_eq!(
        run.stderr.matches("is not checked").count(),
        1,
        "{}",
        run.all()
    );
    let pin = run.json()["server"]["tls"]["certificate"]["sha256"].clone();

    settings["validate_certificate"] = true.into();
    settings["certificate_sha256"] = pin;
    let run = ehlo(&arguments(bare(&settings))).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(run.stderr, "");

    settings["certificate_sha256"] = "ab".repeat(32).into();
    let run = ehlo(&arguments(bare(&settings))).await;
    run.assert_failed(76, "certificate", "handshake");
}

#[tokio::test]
async fn what_is_likely_not_meant_is_warned_of() {
    let server = with_account().await;
    let mut settings = server.settings();
    settings["sender_email"] = "news@example.org".into();
    let file = server.file("settings", settings.to_string());
    let run = send(&server, &file, &[]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(run.stderr.contains("sender_email: "), "{}", run.all());
}

#[tokio::test]
async fn a_file_without_a_sender_or_a_log_in_will_do_where_options_have_them() {
    let server = Server::start(Options::default()).await;
    let mut settings = server.settings();
    for field in ["sender_email", "username", "password"] {
        settings.as_object_mut().unwrap().remove(field);
    }
    let file = server.file("settings", settings.to_string());
    let run = send(&server, &file, &["--from", "jo@example.org"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let run = send(&server, &file, &[]).await;
    assert_eq!(run.code, 64, "{}", run.all());
    assert!(run.stderr.contains("no sender"), "{}", run.all());
}
