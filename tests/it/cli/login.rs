//! Ways to log in: tokens and client certificates, on the command line.

use ehlo::sandbox::{Auth, ClearAuth, Mechanism, Options, TlsMode};

use super::{SECRET, Server, command, finished};

async fn taking(mechanism: Mechanism) -> Server {
    let options = Options::default()
        .with_auth(Auth::Required)
        .with_token("jo", SECRET)
        .with_mechanisms([Mechanism::Plain, mechanism]);
    Server::start(options).await
}

#[tokio::test]
async fn a_token_is_taken_from_the_environment_or_a_file_and_never_shown() {
    for mechanism in [Mechanism::OAuthBearer, Mechanism::XOAuth2] {
        let server = taking(mechanism).await;
        let file = server.file("token", format!("{SECRET}\n"));
        for source in [
            ["--token-env", "EHLO_TEST_PASSWORD"],
            ["--token-file", &file],
        ] {
            let trace = super::text(&server.path("trace"));
            let more = ["--username", "jo", "--trace", &trace];
            let run = server.send(&[&source[..], &more].concat()).await;
            assert_eq!(run.code, 0, "{}", run.all());
            assert_eq!(run.json()["server"]["auth"], mechanism.as_str());
            let trace = std::fs::read_to_string(trace).unwrap();
            assert!(trace.contains("AUTH "), "{trace}");
            for text in [&trace, &run.stdout, &run.stderr] {
                assert!(!text.contains(SECRET), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_refused_token_says_why() {
    let server = taking(Mechanism::OAuthBearer).await;
    let more = ["--username", "al", "--token-env", "EHLO_TEST_PASSWORD"];
    let run = server.send(&more).await;
    run.assert_failed(77, "authentication", "auth");
    let document = run.json();
    let message = document["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("status invalid_token, scope mail"),
        "{message}"
    );
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let server = taking(Mechanism::External).await;
    let own = server.sandbox.client_certificate("jo").unwrap();
    let chain = server.file("client.pem", own.certificate_pem());
    let key = server.file("client.key", own.key_pem());
    for auth in ["external", "EXTERNAL,PLAIN"] {
        let certificate = ["--client-cert", &chain, "--client-key", &key];
        let run = server
            .send(&[&certificate[..], &["--auth", auth]].concat())
            .await;
        assert_eq!(run.code, 0, "{}", run.all());
    }
    let received = server.sandbox.wait_for(2).await;
    for message in received {
        assert_eq!(message.authenticated.as_deref(), Some("jo"));
    }
}

#[tokio::test]
async fn what_does_not_fit_together_is_a_mistake_of_use() {
    let server = taking(Mechanism::External).await;
    let file = server.file("client.pem", "no certificate");
    let long = server.file("token", "x".repeat(20_000));
    for more in [
        &["--token-env", "EHLO_TEST_PASSWORD"][..],
        &["--username", "jo", "--token-env", "EHLO_NO_SUCH_VARIABLE"],
        &[
            "--username",
            "jo",
            "--token-env",
            "A",
            "--password-env",
            "B",
        ],
        &["--username", "jo", "--auth", "PLAIN"],
        &["--auth", "PLAIN"],
        &["--username", "jo", "--token-file", &long],
        &["--client-cert", &file],
        &["--client-cert", &file, "--client-key", &file],
        &[
            "--username",
            "jo",
            "--token-env",
            "EHLO_TEST_PASSWORD",
            "--auth",
            "X-NOSUCH",
        ],
    ] {
        let run = finished(command(&server.arguments(more))).await;
        assert_eq!(run.code, 64, "{more:?}: {}", run.all());
    }
    assert_eq!(server.sandbox.counters().connections, 0);
}

#[tokio::test]
async fn a_token_stays_within_tls_even_where_a_password_may_go_in_clear() {
    let options = Options::default()
        .with_token("jo", SECRET)
        .with_tls(TlsMode::None)
        .with_clear_auth(ClearAuth::Allowed)
        .with_mechanisms([Mechanism::Plain, Mechanism::OAuthBearer, Mechanism::XOAuth2]);
    let server = Server::start(options).await;
    let more = [
        "--encryption",
        "none",
        "--allow-plaintext-auth",
        "--username",
        "jo",
        "--token-env",
        "EHLO_TEST_PASSWORD",
    ];
    let run = server.send(&more).await;
    run.assert_failed(77, "auth-unavailable", "auth");
    assert_eq!(server.sandbox.counters().messages, 0);
}
