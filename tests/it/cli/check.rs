//! `ehlo check`: exit codes, the document, the screen.

use ehlo::sandbox::{Auth, Options, TlsMode};

use super::{Run, SECRET, Server, ehlo, finished, keys};

/// `check` by STARTTLS, with JSON.
async fn check(server: &Server, more: &[&str]) -> Run {
    let mut arguments = server.connection();
    arguments[0] = "check".to_owned();
    arguments.extend(more.iter().map(ToString::to_string));
    ehlo(&arguments).await
}

const LOGIN: [&str; 4] = ["--username", "jo", "--password-env", "EHLO_TEST_PASSWORD"];

#[tokio::test]
async fn the_document_has_what_the_contract_says() {
    let server = Server::start(Options::default().with_account("jo", SECRET)).await;
    let run = check(
        &server,
        &[&LOGIN[..], &["--from", "jo@example.org"]].concat(),
    )
    .await;
    assert_eq!(run.code, 0, "{}", run.all());
    let document = run.json();
    assert_eq!(keys(&document)[..4], ["ok", "steps", "server", "error"]);
    assert_eq!(document["ok"], true);
    assert!(document["error"].is_null());
    let steps = document["steps"].as_array().unwrap();
    let names: Vec<_> = steps
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "resolve",
            "connect",
            "greeting",
            "ehlo",
            "starttls",
            "handshake",
            "auth",
            "mail"
        ]
    );
    for step in steps {
        assert_eq!(keys(step), ["name", "ok", "ms", "detail"]);
        assert!(step["ms"].is_f64() && step["ok"] == true, "{step}");
    }
    assert_eq!(document["server"]["auth"], "PLAIN");
    assert_eq!(document["server"]["tls"]["verified"], true);
    assert!(run.stderr.is_empty(), "{}", run.stderr);
}

#[tokio::test]
async fn each_failure_exits_with_the_code_of_its_category() {
    for (fault, code, category, stage) in [
        (
            "reply@greeting=554 no",
            69,
            "connection-refused",
            "greeting",
        ),
        ("shutdown@greeting", 69, "temporary", "greeting"),
        ("banner=imap", 76, "protocol", "greeting"),
        ("close@ehlo", 75, "connection-lost", "ehlo"),
        ("reply@ehlo=550 5.7.1 bad name", 1, "sender-refused", "ehlo"),
        (
            "reply@starttls=502 no",
            76,
            "starttls-unavailable",
            "starttls",
        ),
        ("inject@starttls", 76, "protocol", "starttls"),
        ("close@handshake", 76, "tls", "handshake"),
        ("reply@auth=535 5.7.8 wrong", 77, "authentication", "auth"),
        ("reply@auth=454 4.7.0 later", 75, "authentication", "auth"),
        ("reply@mail=451 4.3.0 later", 75, "temporary", "mail"),
        ("reply@mail=550 5.7.1 not you", 1, "sender-refused", "mail"),
        ("stall@mail", 75, "connection-timeout", "mail"),
        ("stall@greeting", 69, "connection-timeout", "greeting"),
    ] {
        let fault = fault.parse().unwrap();
        let options = Options::default()
            .with_account("jo", SECRET)
            .with_fault(fault);
        let server = Server::start(options).await;
        let run = check(&server, &[&LOGIN[..], &["--deadline", "4"]].concat()).await;
        run.assert_failed(code, category, stage);
        let document = run.json();
        assert_eq!(document["ok"], false);
        let last = document["steps"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        assert_eq!((&last["name"], &last["ok"]), (&stage.into(), &false.into()));
        assert!(!run.all().contains(SECRET), "{}", run.all());
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_in_plain_words() {
    let server = Server::start(Options::default().with_auth(Auth::Required)).await;
    let run = check(&server, &LOGIN).await;
    run.assert_failed(77, "authentication", "auth");
    assert!(!run.all().contains(SECRET));
}

#[tokio::test]
async fn on_a_screen_there_is_a_line_a_step_and_no_colour_in_a_pipe() {
    let server = Server::start(Options::default()).await;
    let url = server.url("smtp");
    let ca = super::text(&server.path("ca.pem"));
    let run = ehlo(&["check", "--server", &url, "--ca-file", &ca]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let steps: Vec<_> = run.stdout.lines().filter(|l| l.starts_with('✓')).collect();
    assert_eq!(steps.len(), 8, "{}", run.stdout);
    assert!(steps[0].contains("resolve") && steps[0].contains(" ms "));
    assert!(!run.stdout.contains('\u{1b}'), "{}", run.stdout);
    let run = ehlo(&["check", "--server", &url]).await;
    assert_eq!(run.code, 76, "{}", run.all());
    let failed = run.stdout.lines().find(|line| line.starts_with('✗'));
    assert!(failed.unwrap().contains("handshake"), "{}", run.stdout);
}

#[tokio::test]
async fn wrong_encryption_is_found_out_and_what_works_is_said() {
    let server = Server::start(Options::default().with_tls(TlsMode::Implicit)).await;
    let run = check(&server, &["--deadline", "6"]).await;
    run.assert_failed(76, "encryption-mismatch", "greeting");
    let settings = &run.json()["settings"];
    assert_eq!(settings["host"], "127.0.0.1");
    assert_eq!(settings["port"], server.sandbox.address().port());
    assert_eq!(settings["encryption"], "tls");
}

#[tokio::test]
async fn a_test_mail_arrives() {
    let server = Server::start(Options::default()).await;
    let more = ["--from", "jo@example.org", "--send-to", "ann@example.com"];
    let run = check(&server, &more).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(!run.json()["next"].as_array().unwrap().is_empty());
    assert_eq!(server.sandbox.received().len(), 1);
}

#[tokio::test]
async fn wrong_use_and_malformed_addresses_have_their_codes() {
    let server = Server::start(Options::default()).await;
    for more in [
        &["--deadline", "0"][..],
        &["--deadline", "soon"],
        &["--send-to", "ann@example.com"],
        &["--source-address", "::1"],
    ] {
        let run = check(&server, more).await;
        assert_eq!((run.code, run.stdout.as_str()), (64, ""), "{}", run.all());
    }
    let run = check(&server, &["--from", "jo"]).await;
    run.assert_failed(65, "usage", "mail");
}

#[tokio::test]
async fn the_trace_of_a_check_goes_where_it_is_told() {
    let server = Server::start(Options::default().with_account("jo", SECRET)).await;
    let trace = super::text(&server.path("trace.txt"));
    let run = check(&server, &[&LOGIN[..], &["--trace", &trace]].concat()).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(
        trace.contains("C: RSET") && !trace.contains(SECRET),
        "{trace}"
    );
}

#[tokio::test]
async fn the_built_in_server_can_be_checked() {
    let run = finished(super::command(&["check", "--server", "sandbox:"])).await;
    assert_eq!(run.code, 0, "{}", run.all());
}

#[tokio::test]
async fn settings_from_a_file_are_checked_with_their_sender() {
    let server = Server::start(Options::default().with_account("jo", SECRET)).await;
    let pin = server.sandbox.certificate_sha256();
    let pin: String = pin.iter().map(|octet| format!("{octet:02x}")).collect();
    let file = server.file(
        "settings.toml",
        format!(
            "sender_email = \"ann@example.org\"\nhost = \"127.0.0.1\"\nport = {}\n\
             encryption = \"starttls\"\nusername = \"jo\"\npassword = \"{SECRET}\"\n\
             certificate_sha256 = \"{pin}\"\n",
            server.sandbox.address().port()
        ),
    );
    let run = ehlo(&["check", "--settings", &file, "--json"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let steps = run.json()["steps"].as_array().unwrap().clone();
    let detail = steps.last().unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("ann@example.org: 250"), "{detail}");
    assert!(!run.all().contains(SECRET));
}

#[tokio::test]
async fn a_search_that_finds_nothing_says_what_was_tried() {
    let arguments = [
        "check",
        "--discover",
        "jo@example.invalid",
        "--deadline",
        "3",
    ];
    let run = ehlo(&[&arguments[..], &["--json"]].concat()).await;
    run.assert_failed(68, "dns", "resolve");
    let document = run.json();
    assert_eq!(keys(&document)[..4], ["ok", "steps", "server", "error"]);
    assert_eq!(document["candidates"].as_array().unwrap().len(), 9);
    let run = ehlo(&arguments).await;
    assert_eq!(run.code, 68, "{}", run.all());
    assert!(
        run.stdout.contains("mail.example.invalid, port 587"),
        "{}",
        run.stdout
    );
}

#[tokio::test]
async fn a_search_takes_no_server_and_no_log_in() {
    for more in [
        &["--host", "h"][..],
        &["--server", "smtp://h"],
        &["--username", "jo"],
        &["--password-env", "EHLO_TEST_PASSWORD"],
        &["--send-to", "ann@example.com"],
    ] {
        let run = ehlo(&[&["check", "--discover", "example.invalid"][..], more].concat()).await;
        assert_eq!(run.code, 64, "{}", run.all());
    }
    let run = ehlo(&["check", "--discover", "a b"]).await;
    assert_eq!(run.code, 64, "{}", run.all());
}
