//! Other ways to a server: a Unix socket, a local address, and only public addresses.

use ehlo::net::AddressPolicy;
use ehlo::sandbox::TlsMode;
use ehlo::{Category, Client, ClientConfig, Party, Security, Stage};
use tokio::net::TcpListener;

use super::peer::Peer;
use super::server::{config, sandbox};
use crate::strict::Strict;

#[cfg(unix)]
mod unix {
    use ehlo::sandbox::Options;
    use tokio::net::UnixListener;

    use super::super::{hello, to};
    use super::*;

    #[tokio::test]
    async fn mail_goes_over_a_unix_socket_in_each_mode() {
        for (mode, security) in [
            (TlsMode::None, Security::Plaintext),
            (TlsMode::StartTls, Security::StartTls),
            (TlsMode::Implicit, Security::Implicit),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("socket");
            let options = Options::default().with_tls(mode).with_unix_socket(&path);
            let sandbox = Strict::start(options).await.unwrap();
            let config = config(&sandbox, security).with_unix_socket(&path);
            let client = Client::connect(config).await.unwrap();
            assert_eq!(client.peer_addr(), None);
            let outcome = client.send(to("bob@example.org"), hello()).await;
            assert!(outcome.is_accepted(), "{security:?}: {outcome:?}");
            client.close().await.unwrap();
            assert_eq!(sandbox.wait_for(1).await.len(), 1);
            drop(sandbox);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_unix_socket_that_is_not_there_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let abandoned = directory.path().join("abandoned");
        drop(UnixListener::bind(&abandoned).unwrap());
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [
            missing,
            abandoned,
            file,
            "\0".into(),
            "x".repeat(200).into(),
        ] {
            let config =
                ClientConfig::new("localhost", Security::Plaintext).with_unix_socket(&path);
            let error = Client::connect(config).await.unwrap_err();
            assert_eq!(error.category(), Category::ConnectionRefused, "{error}");
            assert_eq!(error.stage(), Stage::Connect, "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }

    #[tokio::test]
    async fn a_unix_socket_is_not_public() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        let config = ClientConfig::new("localhost", Security::Plaintext)
            .with_unix_socket(&path)
            .with_address_policy(AddressPolicy::PublicOnly);
        let error = Client::connect(config).await.unwrap_err();
        assert_eq!(error.category(), Category::ConnectionRefused, "{error}");
        assert_eq!(error.party(), Party::Caller, "{error}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_local_address_is_public() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    for host in [
        "localhost",
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0.0.0.0",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "::",
    ] {
        let mut config =
            config(&sandbox, Security::Plaintext).with_address_policy(AddressPolicy::PublicOnly);
        config.host = host.to_owned();
        let error = Client::connect(config).await.unwrap_err();
        assert_eq!(error.category(), Category::ConnectionRefused, "{error}");
        assert_eq!(error.stage(), Stage::Connect, "{error}");
        assert_eq!(error.party(), Party::Caller, "{error}");
        if host == "localhost" {
            assert!(!error.message().contains("127.0"), "{error}");
        }
    }
    assert_eq!(sandbox.counters().connections, 0);
}

#[tokio::test]
async fn the_connection_comes_from_the_source_address() {
    let mut places = vec![("127.0.0.1:0", "127.0.0.1", "127.0.0.1")];
    if cfg!(target_os = "linux") {
        places.push(("127.0.0.1:0", "localhost", "127.0.0.2"));
    }
    // A machine may be without IPv6.
    if TcpListener::bind("[::1]:0").await.is_ok() {
        places.push(("[::1]:0", "::1", "::1"));
    }
    for (listen, host, source) in places {
        let listener = TcpListener::bind(listen).await.unwrap();
        let config = ClientConfig::new(host, Security::Plaintext)
            .with_port(listener.local_addr().unwrap().port())
            .with_source_address(source.parse().unwrap());
        let connecting = tokio::spawn(Client::connect(config));
        let (stream, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip().to_string(), source);
        let mut peer = Peer::new(stream);
        peer.greet(&[]).await;
        let client = connecting.await.unwrap().unwrap();
        let (closed, ()) = tokio::join!(client.close(), peer.part());
        closed.unwrap();
    }
}

#[tokio::test]
async fn a_source_address_of_another_machine_is_named() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    let mut config =
        config(&sandbox, Security::Plaintext).with_source_address("192.0.2.1".parse().unwrap());
    config.host = "127.0.0.1".to_owned();
    let error = Client::connect(config).await.unwrap_err();
    assert_eq!(error.category(), Category::ConnectionRefused, "{error}");
    assert!(error.message().contains("source address"), "{error}");
}
