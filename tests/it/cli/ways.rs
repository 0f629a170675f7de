//! Ways to the server: proxies, and public addresses only.

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
