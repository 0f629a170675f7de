//! Ways to the server: proxies, Unix sockets, and public addresses only.

use super::{FROM_TO, HELLO, SECRET, Server, ehlo, text};
use crate::net::proxies::{Access, End, First, KINDS, Kind, TestProxy};
use crate::net::proxies::{SECRET as PROXY_SECRET, USER};
use ehlo::sandbox::Options;

#[tokio::test]
async fn mail_goes_through_a_proxy_and_its_password_is_never_printed() {
    let server = Server::start(Options::default().with_account("jo", SECRET)).await;
    let address = server.sandbox.address();
    for (count, kind) in KINDS.into_iter().enumerate() {
        let peer = TestProxy::start(kind, Access::Login, address, First::Server).await;
        let login = "://jo%40corp:s3c%3Ar%40t%25@";
        let url = peer.url().replace("://", login);
        let trace = text(&server.path("trace.txt"));
        let run = server.send(&["--proxy", &url, "--trace", &trace]).await;
        assert_eq!(run.code, 0, "{}", run.all());
        assert_eq!(run.json()["server"]["host"], "127.0.0.1");
        assert_eq!(peer.asked(), [address.to_string()]);
        assert_eq!(server.sandbox.received().len(), count + 1);
        assert!(run.stderr.contains("warning:"), "{}", run.stderr);

        let wrong = peer.url().replace("://", "://jo%40corp:wr0ng@");
        let refused = server.send(&["--proxy", &wrong]).await;
        refused.assert_failed(77, "authentication", "connect");

        let trace = std::fs::read_to_string(trace).unwrap();
        for output in [run.all(), refused.all(), trace] {
            for secret in [PROXY_SECRET, USER, "s3c%3A", "wr0ng"] {
                assert!(!output.contains(secret), "{output}");
            }
        }
    }
}

#[tokio::test]
async fn a_proxy_that_gives_no_way_ends_in_its_code_and_is_not_gone_round() {
    let server = Server::start(Options::default()).await;
    let answer = |text: &str| vec![text.as_bytes().to_vec()];
    for (answers, end, code, category) in [
        (
            answer("HTTP/1.1 502 No\r\n\r\n"),
            End::Close,
            69,
            "connection-refused",
        ),
        (answer("220 mx ESMTP\r\n"), End::Close, 76, "protocol"),
        (Vec::new(), End::Silence, 69, "connection-timeout"),
    ] {
        let peer = TestProxy::scripted(Kind::Http, answers, end).await;
        let url = peer.url();
        let run = server
            .send(&["--proxy", &url, "--connect-timeout", "0.5"])
            .await;
        run.assert_failed(code, category, "connect");
    }
    let run = server.send(&["--proxy", "socks5://proxy.invalid"]).await;
    run.assert_failed(68, "dns", "connect");
    assert_eq!(server.sandbox.counters().connections, 0);
}

#[tokio::test]
async fn a_malformed_proxy_is_a_usage_error_and_not_shown() {
    for url in [
        "proxy.example.org",
        "https://jo:hidden@proxy.example.org",
        "http://jo:hidden@proxy\r\nX-Injected: y",
        "http://jo:hidden%0d%0a@proxy",
        "socks5://jo@proxy",
    ] {
        let run = ehlo(&["send", "--server", "sandbox:", "--proxy", url]).await;
        assert_eq!(run.code, 64, "{}", run.all());
        assert!(run.stderr.contains("proxy"), "{}", run.all());
        assert!(!run.all().contains("hidden"), "{}", run.all());
    }
}

#[tokio::test]
async fn public_only_refuses_what_is_not_public() {
    let server = Server::start(Options::default()).await;
    let run = server.send(&["--public-only"]).await;
    run.assert_failed(69, "connection-refused", "connect");
    let port = server.sandbox.address().port().to_string();
    for host in ["localhost", "::1", "2130706433", "::ffff:127.0.0.1"] {
        let mut arguments = vec!["send", "--host", host, "--port", &port, "--public-only"];
        arguments.extend(FROM_TO.iter().chain(&HELLO));
        arguments.extend(["--encryption", "none", "--json"]);
        let run = ehlo(&arguments).await;
        run.assert_failed(69, "connection-refused", "connect");
    }
    assert_eq!(server.sandbox.counters().connections, 0);
}

#[cfg(unix)]
mod unix {
    use std::path::PathBuf;

    use ehlo::proto::Protocol;
    use ehlo::sandbox::{Options, TlsMode};
    use serde_json::Value;
    use tempfile::TempDir;

    use super::super::{FROM_TO, HELLO, Run, SECRET, Server, ehlo, text};

    /// A server of LMTP, and the directory of its socket.
    async fn behind_socket(tls: TlsMode) -> (Server, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::default()
            .with_protocol(Protocol::Lmtp)
            .with_account("jo", SECRET)
            .with_tls(tls)
            .with_unix_socket(socket(&directory));
        (Server::start(options).await, directory)
    }

    fn socket(directory: &TempDir) -> PathBuf {
        directory.path().join("lm tp")
    }

    fn url(directory: &TempDir) -> String {
        format!("lmtp+unix:{}", text(&socket(directory)).replace(' ', "%20"))
    }

    async fn send(url: &str, more: &[&str]) -> Run {
        let mut arguments = vec!["send", "--server", url];
        arguments.extend(FROM_TO.iter().chain(&HELLO).chain(more));
        ehlo(&arguments).await
    }

    #[tokio::test]
    async fn lmtp_goes_to_a_unix_socket() {
        let (server, directory) = behind_socket(TlsMode::None).await;
        let (path, url) = (text(&socket(&directory)), url(&directory));
        let run = send(&url, &["--json"]).await;
        assert_eq!(run.code, 0, "{}", run.all());
        let facts = &run.json()["server"];
        assert_eq!(facts["host"], path.as_str());
        assert_eq!(facts["port"], Value::Null);
        assert_eq!(facts["address"], Value::Null);
        assert_eq!(facts["tls"], Value::Null);

        let run = send(&url, &[]).await;
        assert_eq!(run.code, 0, "{}", run.all());
        let headline = format!("Accepted by {path} (no TLS)");
        assert!(run.stdout.starts_with(&headline), "{}", run.all());
        assert_eq!(server.sandbox.received().len(), 2);
    }

    #[tokio::test]
    async fn a_unix_socket_has_tls_and_a_log_in_where_they_are_asked_for() {
        for (mode, encryption) in [(TlsMode::StartTls, "starttls"), (TlsMode::Implicit, "tls")] {
            let (server, directory) = behind_socket(mode).await;
            let url = url(&directory);
            let ca = text(&server.path("ca.pem"));
            let tls = ["--json", "--encryption", encryption, "--ca-file", &ca];
            let login = ["--username", "jo", "--password-env", "EHLO_TEST_PASSWORD"];
            let run = send(&url, &[&tls[..], &login].concat()).await;
            assert_eq!(run.code, 0, "{}", run.all());
            assert_eq!(run.json()["server"]["tls"]["verified"], true);
            let received = server.sandbox.received();
            assert_eq!(received[0].authenticated.as_deref(), Some("jo"));
        }
    }

    #[tokio::test]
    async fn a_unix_socket_that_is_not_there_exits_69() {
        let directory = tempfile::tempdir().unwrap();
        let path = text(&directory.path().join("missing"));
        let run = send(&format!("lmtp+unix:{path}"), &["--json"]).await;
        run.assert_failed(69, "connection-refused", "connect");
        let document = run.json();
        assert_eq!(document["server"]["host"], path.as_str());
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains(&path), "{message}");
    }

    #[tokio::test]
    async fn another_way_to_a_unix_socket_is_a_usage_error() {
        for more in [
            &["--host", "localhost"][..],
            &["--port", "24"],
            &["--proxy", "socks5://localhost"],
            &["--source-address", "127.0.0.1"],
            &["--public-only"],
        ] {
            let run = send("lmtp+unix:/run/lmtp", more).await;
            assert_eq!(run.code, 64, "{more:?}: {}", run.all());
            assert_eq!(run.stdout, "");
        }
    }
}
