//! Through proxies that work, and proxies that do not.

use std::time::{Duration, Instant};

use ehlo::net::{AddressPolicy, Proxy};
use ehlo::sandbox::{Sandbox, TlsMode};
use ehlo::{Category, Client, ClientConfig, Credentials, Error, Party, Security, Stage};

use super::proxies::{Access, End, First, KINDS, Kind, SECRET, TestProxy, USER};
use super::server::{config, sandbox};
use super::{hello, to};

const MODES: [(TlsMode, Security, First); 5] = [
    (TlsMode::None, Security::Plaintext, First::Server),
    (TlsMode::None, Security::Opportunistic, First::Server),
    (TlsMode::StartTls, Security::Opportunistic, First::Server),
    (TlsMode::StartTlsRequired, Security::StartTls, First::Server),
    (TlsMode::Implicit, Security::Implicit, First::Client),
];

/// A configuration that reaches this sandbox by a name that only the proxy knows.
fn behind(sandbox: &Sandbox, security: Security, proxy: Proxy) -> ClientConfig {
    let mut config = config(sandbox, security)
        .with_certificate_name("localhost")
        .with_proxy(proxy);
    config.host = "mx.example.test".to_owned();
    config
}

async fn failure(config: ClientConfig) -> Error {
    match Client::connect(config).await {
        Ok(client) => panic!("connected: {client:?}"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn mail_arrives_in_each_mode_through_each_kind_of_proxy() {
    for kind in KINDS {
        for access in [Access::Everybody, Access::Login] {
            for (mode, security, first) in MODES {
                let case = format!("{kind:?} {access:?} {security:?}");
                let sandbox = sandbox(&[], mode).await;
                let peer = TestProxy::start(kind, access, sandbox.address(), first).await;
                let proxy = match access {
                    Access::Everybody => peer.proxy(),
                    Access::Login => peer.proxy().with_login(USER, SECRET).unwrap(),
                };
                let mut config = behind(&sandbox, security, proxy);
                let tls = !matches!(mode, TlsMode::None);
                if tls {
                    let credentials = Credentials::password("alice", "password").unwrap();
                    config = config.with_credentials(credentials);
                }
                let client = Client::connect(config).await;
                let client = client.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(client.peer_addr(), None);
                let outcome = client.send(to("bob@example.org"), hello()).await;
                assert!(outcome.is_accepted(), "{case}: {outcome:?}");
                client.close().await.unwrap();
                let received = &sandbox.wait_for(1).await[0];
                assert_eq!(received.content, "Subject: Hello\r\n\r\nHello.\r\n");
                assert_eq!(received.tls, tls, "{case}");
                let port = sandbox.address().port();
                assert_eq!(peer.asked(), [format!("mx.example.test:{port}")], "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_address_is_given_to_the_proxy_as_an_address() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    for kind in KINDS {
        for (host, asked) in [
            ("192.0.2.1", "192.0.2.1:2525"),
            ("2001:db8::1", "[2001:db8::1]:2525"),
            ("[2001:db8::1]", "[2001:db8::1]:2525"),
        ] {
            let server = sandbox.address();
            let peer = TestProxy::start(kind, Access::Everybody, server, First::Server).await;
            let config = ClientConfig::new(host, Security::Plaintext)
                .with_port(2525)
                .with_proxy(peer.proxy());
            let client = Client::connect(config).await.unwrap();
            assert_eq!(peer.asked(), [asked]);
            assert_eq!(client.peer_addr(), asked.parse().ok());
        }
    }
}

#[tokio::test]
async fn a_log_in_that_is_missing_or_wrong_is_an_authentication_failure_and_not_shown() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    for kind in KINDS {
        let server = sandbox.address();
        let peer = TestProxy::start(kind, Access::Login, server, First::Server).await;
        for proxy in [
            peer.proxy(),
            peer.proxy().with_login(USER, "wr0ng-s3cret").unwrap(),
            peer.proxy().with_login("nobody", SECRET).unwrap(),
        ] {
            let config = behind(&sandbox, Security::Plaintext, proxy);
            let shown = format!("{config:?}");
            let error = failure(config).await;
            assert_eq!(error.category(), Category::Authentication, "{error}");
            assert_eq!(error.stage(), Stage::Connect);
            assert_eq!(error.party(), Party::Caller);
            assert!(error.hint().is_some());
            let shown = format!("{shown} {error} {error:?}");
            for secret in ["wr0ng", SECRET] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        assert_eq!(peer.asked(), [""; 0]);
    }
    assert_eq!(sandbox.counters().connections, 0);
}

/// What comes of a proxy that answers so. The server would be reached without it.
async fn through(kind: Kind, answers: &[&[u8]], end: End) -> Error {
    let sandbox = sandbox(&[], TlsMode::None).await;
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    let peer = TestProxy::scripted(kind, answers, end).await;
    let patience = match end {
        End::Close => Duration::from_secs(20),
        End::Silence => Duration::from_secs(1),
    };
    let config = config(&sandbox, Security::Plaintext)
        .with_proxy(peer.proxy())
        .with_connect_timeout(patience);
    let error = failure(config).await;
    assert_eq!(error.stage(), Stage::Connect, "{error}");
    assert!(error.message().contains(&peer.url()), "{error}");
    assert!(error.hint().is_some(), "{error}");
    assert_eq!(sandbox.counters().connections, 0, "never without the proxy");
    error
}

#[tokio::test]
async fn a_socks_proxy_that_gives_no_way_is_told_by_category() {
    use Category as C;
    const REPLY: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 0];
    let reply = |code: u8| [&[5, code], &REPLY[..]].concat();
    let no_login: &[u8] = &[5, 0];
    for (answers, end, category) in [
        (vec![no_login, &reply(1)], End::Close, C::ConnectionRefused),
        (vec![no_login, &reply(2)], End::Close, C::ConnectionRefused),
        (vec![no_login, &reply(3)], End::Close, C::ConnectionRefused),
        (vec![no_login, &reply(4)], End::Close, C::ConnectionRefused),
        (vec![no_login, &reply(5)], End::Close, C::ConnectionRefused),
        (vec![no_login, &reply(6)], End::Close, C::ConnectionTimeout),
        (vec![no_login, &reply(7)], End::Close, C::ConnectionRefused),
        (vec![no_login, &reply(8)], End::Close, C::ConnectionRefused),
        (vec![no_login, &reply(99)], End::Close, C::Protocol),
        (vec![no_login, &[5, 0, 1, 1]], End::Close, C::Protocol),
        (vec![no_login, &[5, 0, 0, 9]], End::Close, C::Protocol),
        (vec![no_login, &[4, 90, 0, 0]], End::Close, C::Protocol),
        (vec![&[5, 0xff]], End::Close, C::Authentication),
        (vec![&[5, 2]], End::Close, C::Authentication),
        (vec![&[5, 1]], End::Close, C::Protocol),
        (vec![b"220 mx ESMTP\r\n"], End::Close, C::Protocol),
        (vec![b"HTTP/1.1 400 Bad\r\n\r\n"], End::Close, C::Protocol),
        (vec![], End::Close, C::ConnectionRefused),
        (vec![&[5]], End::Close, C::ConnectionRefused),
        (vec![no_login], End::Close, C::ConnectionRefused),
        (vec![no_login, &[5, 0, 0]], End::Close, C::ConnectionRefused),
        (vec![], End::Silence, C::ConnectionTimeout),
        (vec![no_login], End::Silence, C::ConnectionTimeout),
    ] {
        let error = through(Kind::Socks5, &answers, end).await;
        assert_eq!(error.category(), category, "{answers:?}: {error}");
    }
}

#[tokio::test]
async fn an_http_proxy_that_gives_no_way_is_told_by_category() {
    use Category as C;
    let long_field = [b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 20_000][..]].concat();
    let many_fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(100));
    let never_done = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    let silent_end = End::Silence;
    for (answer, end, category) in [
        ("HTTP/1.1 401 No\r\n\r\n", End::Close, C::Authentication),
        ("HTTP/1.1 407 No\r\n\r\n", End::Close, C::Authentication),
        ("HTTP/1.0 403 No\r\n\r\n", End::Close, C::ConnectionRefused),
        ("HTTP/1.1 302 No\r\n\r\n", End::Close, C::ConnectionRefused),
        ("HTTP/1.1 502 No\r\n\r\n", End::Close, C::ConnectionRefused),
        ("HTTP/1.1 504 No\r\n\r\n", End::Close, C::ConnectionTimeout),
        ("HTTP/1.1 2000 OK\r\n\r\n", End::Close, C::Protocol),
        ("HTTP/1.1 20", End::Close, C::ConnectionRefused),
        ("HTTP/1.1 200 OK\r\n", End::Close, C::ConnectionRefused),
        ("220 mx ESMTP\r\n", End::Close, C::Protocol),
        ("\x05\x00", End::Close, C::Protocol),
        (
            "HTTP/1.1 200 OK\r\nbad\x00: x\r\n\r\n",
            End::Close,
            C::Protocol,
        ),
        (
            std::str::from_utf8(&long_field).unwrap(),
            silent_end,
            C::Protocol,
        ),
        (&many_fields, silent_end, C::Protocol),
        (&never_done, silent_end, C::Protocol),
        ("", silent_end, C::ConnectionTimeout),
        ("HTTP/1.1 200 OK\r\n", silent_end, C::ConnectionTimeout),
    ] {
        let error = through(Kind::Http, &[answer.as_bytes()], end).await;
        assert_eq!(error.category(), category, "{answer:?}: {error}");
    }
    let error = through(Kind::Http, &[], End::Close).await;
    assert_eq!(error.category(), C::ConnectionRefused, "{error}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_not_gone_round() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for (proxy, category) in [
        (
            Proxy::socks5("127.0.0.1", port),
            Category::ConnectionRefused,
        ),
        (Proxy::http("127.0.0.1", port), Category::ConnectionRefused),
        (Proxy::http("proxy.invalid", port), Category::Dns),
    ] {
        let config = config(&sandbox, Security::Plaintext).with_proxy(proxy.unwrap());
        let error = failure(config).await;
        assert_eq!(error.category(), category, "{error}");
        assert_eq!(error.stage(), Stage::Connect, "{error}");
        assert!(error.message().contains("proxy"), "{error}");
    }
    assert_eq!(sandbox.counters().connections, 0);
}

#[tokio::test]
async fn an_http_reply_is_taken_in_any_pieces_with_interim_ones_and_whatever_lengths_it_tells() {
    let reply = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Odd\r\nContent-Length: 50\r\n\
                 Transfer-Encoding: chunked\r\n\r\n220 mx.example.org ESMTP\r\n";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        for octet in reply.bytes() {
            stream.write_all(&[octet]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut peer = super::peer::Peer::new(stream);
        peer.expect("CONNECT mx.example.org:25 HTTP/1.1").await;
        peer.expect("Host: mx.example.org:25").await;
        assert_eq!(peer.line().await, "");
        peer.expect("EHLO ").await;
        peer.say(&["250 mx.example.org"]).await;
        peer.part().await;
    });
    let proxy = Proxy::http("127.0.0.1", address.port()).unwrap();
    let config = ClientConfig::new("mx.example.org", Security::Plaintext).with_proxy(proxy);
    let client = Client::connect(config).await.unwrap();
    client.close().await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_host_that_might_mean_something_to_a_proxy_never_reaches_it() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    for kind in KINDS {
        let server = sandbox.address();
        let peer = TestProxy::start(kind, Access::Everybody, server, First::Server).await;
        let long = "x".repeat(256);
        for host in [
            "",
            "mx\r\nX-Injected: y",
            "mx example",
            "mx:25",
            "mx/path",
            "jo@mx",
            "b\u{fc}cher.example",
            "fe80::1%lo",
            &long,
        ] {
            let mut config = behind(&sandbox, Security::Plaintext, peer.proxy());
            config.host = host.to_owned();
            let error = failure(config).await;
            assert_eq!(error.category(), Category::Usage, "{host:?}: {error}");
        }
        assert_eq!(peer.asked(), [""; 0]);
    }
}

#[tokio::test]
async fn a_policy_is_for_the_server_and_a_proxy_is_given_the_address_that_was_judged() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    for kind in KINDS {
        let server = sandbox.address();
        let peer = TestProxy::start(kind, Access::Everybody, server, First::Server).await;
        let public = |host: &str| {
            ClientConfig::new(host, Security::Plaintext)
                .with_port(25)
                .with_proxy(peer.proxy())
                .with_address_policy(AddressPolicy::PublicOnly)
        };
        for host in ["localhost", "127.0.0.1", "10.0.0.1", "169.254.169.254"] {
            let error = failure(public(host)).await;
            assert_eq!(error.category(), Category::ConnectionRefused, "{error}");
            assert_eq!(error.party(), Party::Caller, "{error}");
        }
        assert_eq!(peer.asked(), [""; 0]);
        let client = Client::connect(public("9.9.9.9")).await.unwrap();
        assert_eq!(peer.asked(), ["9.9.9.9:25"]);
        drop(client);
    }
}

#[tokio::test]
async fn the_time_for_connecting_covers_the_proxy() {
    let peer = TestProxy::scripted(Kind::Http, Vec::new(), End::Silence).await;
    let config = ClientConfig::new("mx.example.test", Security::Plaintext)
        .with_proxy(peer.proxy())
        .with_connect_timeout(Duration::from_millis(200));
    let begun = Instant::now();
    let error = failure(config).await;
    assert_eq!(error.category(), Category::ConnectionTimeout);
    assert!(error.message().contains("0.2 seconds"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}
