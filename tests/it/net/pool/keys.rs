//! Which connection is as good as another.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ehlo::net::{
    AddressPolicy, CredentialSource, CredentialsFuture, PoolOptions, TlsOptions, Trust,
};
use ehlo::proto::{Config, Login, MechanismName, PlaintextAuth, Timeouts};
use ehlo::sandbox::{Mechanism, Options, Sandbox, TlsMode};
use ehlo::{Category, ClientConfig, Credentials, Pool, Reply, Security};

use super::super::peer::Peer;
use super::super::proxies::{Access, First, Kind, SECRET, TestProxy, USER};
use super::super::server::{config, sandbox};
use tokio::net::TcpListener;

use super::super::{hello, to};
use super::single;
use crate::tls::server::{Identity, Manner};
use crate::tls::{HOST, trusting};

#[tokio::test]
async fn messages_one_after_another_take_one_connection_and_no_round_trip_more() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    let pool = Pool::new(config(&sandbox, Security::Plaintext));
    for _ in 0..5 {
        assert!(
            pool.send(to("bob@example.org"), hello())
                .await
                .is_accepted()
        );
    }
    pool.close().await;
    let counters = sandbox.counters();
    assert_eq!((counters.connections, counters.messages), (1, 5));
    // EHLO; MAIL, RCPT and BDAT in one flight; QUIT.
    assert_eq!((counters.commands, counters.flights), (1 + 15 + 1, 7));
}

/// A source of credentials that is asked.
struct Asked;

impl CredentialSource for Asked {
    fn credentials(&self, _: MechanismName, _: Option<Reply>) -> CredentialsFuture {
        Box::pin(std::future::ready(
            Credentials::password("alice", "password").ok(),
        ))
    }
}

/// Configurations that differ in one thing each, and all reach the sandbox.
fn variations(sandbox: &Sandbox) -> Vec<(&'static str, ClientConfig)> {
    let base = || config(sandbox, Security::StartTls);
    let session = || Config::new(Security::StartTls);
    let pinned = Trust::Pinned(sandbox.certificate_sha256());
    let identity = sandbox.client_certificate("alice").expect("a plain name");
    let shown = TlsOptions::default()
        .with_trust(Trust::Webpki)
        .with_ca_pem(sandbox.certificate_pem().as_bytes())
        .and_then(|tls| {
            tls.with_client_certificate(
                identity.certificate_pem().as_bytes(),
                identity.key_pem().as_bytes(),
            )
        })
        .expect("the sandbox makes certificates that can be used");
    let alice = Credentials::password("alice", "password").expect("valid");
    let bob = Credentials::password("bob", "password").expect("valid");
    vec![
        ("base", base()),
        ("clear", config(sandbox, Security::Plaintext)),
        ("opportunistic", config(sandbox, Security::Opportunistic)),
        ("host", {
            let mut other = base();
            other.host = "127.0.0.1".into();
            other
        }),
        (
            "certificate name",
            base().with_certificate_name("localhost"),
        ),
        (
            "source",
            base().with_source_address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ),
        (
            "connect timeout",
            base().with_connect_timeout(Duration::from_secs(29)),
        ),
        (
            "trust",
            base().with_tls(TlsOptions::default().with_trust(pinned)),
        ),
        (
            "no trust",
            base().with_tls(TlsOptions::default().with_trust(Trust::Off)),
        ),
        ("client certificate", base().with_tls(shown)),
        ("alice", base().with_credentials(alice.clone())),
        ("bob", base().with_credentials(bob)),
        (
            "asked",
            base()
                .with_session(session().with_login(Login::Ask))
                .with_credential_source(Arc::new(Asked)),
        ),
        (
            "mechanism",
            base()
                .with_session(session().with_mechanisms(vec!["PLAIN".parse().expect("a name")]))
                .with_credentials(alice),
        ),
        (
            "plaintext auth",
            base().with_session(session().with_plaintext_auth(PlaintextAuth::Allow)),
        ),
        (
            "hello",
            base().with_session(session().with_hello("other.example".parse().expect("a name"))),
        ),
        (
            "timeouts",
            base().with_session(
                session().with_timeouts(Timeouts::default().capped(Duration::from_secs(100))),
            ),
        ),
    ]
}

#[tokio::test]
async fn a_connection_is_used_by_those_alone_whose_configuration_is_equal_in_all() {
    let options = Options::default()
        .with_tls(TlsMode::StartTls)
        .with_account("bob", "password")
        .with_mechanisms([Mechanism::Plain, Mechanism::Login, Mechanism::External]);
    let sandbox = Sandbox::start(options).await.unwrap();
    let variations = variations(&sandbox);
    let count = variations.len();
    let (_, first) = &variations[0];
    let pool = Pool::with_options(
        first.clone(),
        PoolOptions::default().with_connections_per_server(1),
    );
    // Twice: by then there is an idle connection of every kind.
    for round in 0..2_usize {
        for (index, (name, config)) in variations.iter().enumerate() {
            let pool = pool.with_config(config.clone());
            let outcome = pool.send(to("bob@example.org"), hello()).await;
            assert!(outcome.is_accepted(), "{name}: {outcome:?}");
            let received = sandbox.received();
            let received = received.last().expect("a message came");
            assert_eq!(
                received.connection,
                index as u64 + 1,
                "{name}, round {round}"
            );
            let clear = config.session.security == Security::Plaintext;
            assert_eq!(received.tls, !clear, "{name}");
            let login = match *name {
                "alice" | "asked" | "mechanism" => Some("alice"),
                "bob" => Some("bob"),
                _ => None,
            };
            assert_eq!(received.authenticated.as_deref(), login, "{name}");
        }
    }
    assert_eq!(pool.stats().opened, count as u64);
    pool.close().await;
}

#[tokio::test]
async fn a_connection_that_came_one_way_is_not_taken_by_whoever_goes_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let options = Options::default().with_tls(TlsMode::StartTls);
    #[cfg(unix)]
    let options = options.with_unix_socket(&path);
    let sandbox = Sandbox::start(options).await.unwrap();
    let base = || config(&sandbox, Security::StartTls);
    let start = |kind, access| TestProxy::start(kind, access, sandbox.address(), First::Server);
    let socks = start(Kind::Socks5, Access::Everybody).await;
    let other = start(Kind::Socks5, Access::Everybody).await;
    let http = start(Kind::Http, Access::Login).await;
    let login = |user: &str| http.proxy().with_login(user, SECRET).unwrap();
    let mut ways = vec![
        base(),
        base().with_proxy(socks.proxy()),
        base().with_proxy(other.proxy()),
        base().with_proxy(login(USER)),
    ];
    #[cfg(unix)]
    ways.push(base().with_unix_socket(&path));
    let pool = Pool::new(base());
    for round in 0..2 {
        for (index, way) in ways.iter().enumerate() {
            let pool = pool.with_config(way.clone());
            let outcome = pool.send(to("bob@example.org"), hello()).await;
            assert!(outcome.is_accepted(), "{way:?}: {outcome:?}");
            let received = sandbox.received().pop().expect("a message came");
            assert_eq!(
                received.connection,
                index as u64 + 1,
                "{way:?}, round {round}"
            );
        }
    }
    assert_eq!(
        (socks.asked().len(), other.asked().len(), http.asked().len()),
        (1, 1, 1)
    );
    // Who may not use the proxy does not profit from whoever may.
    let stranger = pool.with_config(base().with_proxy(login("stranger")));
    let outcome = stranger.send(to("bob@example.org"), hello()).await;
    let error = outcome.error().expect("the proxy refuses");
    assert_eq!(error.category(), Category::Authentication, "{error:?}");
    // Nor does a socket that is not there by one that is.
    #[cfg(unix)]
    {
        let nowhere = base().with_unix_socket(directory.path().join("nowhere"));
        let outcome = pool
            .with_config(nowhere)
            .send(to("bob@example.org"), hello())
            .await;
        let error = outcome.error().expect("there is no such socket");
        assert_eq!(error.category(), Category::ConnectionRefused, "{error:?}");
    }
    assert_eq!(sandbox.received().len(), 2 * ways.len());
}

#[tokio::test]
async fn an_equal_configuration_made_anew_is_the_same() {
    let sandbox = sandbox(&[], TlsMode::StartTls).await;
    let make = || {
        let credentials = Credentials::password("alice", "password").unwrap();
        config(&sandbox, Security::StartTls).with_credentials(credentials)
    };
    let pool = Pool::new(make());
    for _ in 0..3 {
        let again = pool.with_config(make());
        assert!(
            again
                .send(to("bob@example.org"), hello())
                .await
                .is_accepted()
        );
    }
    assert_eq!(pool.stats().opened, 1);
}

#[tokio::test]
async fn a_pools_next_connection_resumes_the_tls_session_of_the_last() {
    let identity = Identity::new(Manner::Ordinary);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = trusting(Security::Implicit, &identity.authority_pem)
        .with_port(listener.local_addr().unwrap().port())
        .with_certificate_name(HOST);
    config.host = "127.0.0.1".into();
    let pool = Pool::with_options(config, single().with_idle_timeout(Duration::ZERO));
    let serve = async {
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            let mut peer = Peer::new(identity.acceptor.accept(stream).await.unwrap());
            peer.greet(&[]).await;
            peer.envelope().await;
            peer.message().await;
            peer.say(&["250 ok"]).await;
            peer.part().await;
            let stream = peer.into_inner();
            kinds.push(format!("{:?}", stream.get_ref().1.handshake_kind()));
        }
        kinds
    };
    let send = async {
        for _ in 0..2 {
            assert!(
                pool.send(to("bob@example.org"), hello())
                    .await
                    .is_accepted()
            );
            while pool.stats().connections > 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let (kinds, ()) = tokio::join!(serve, send);
    assert_eq!(kinds, ["Some(Full)", "Some(Resumed)"]);
}

#[tokio::test]
async fn an_address_policy_is_not_got_around_by_a_connection_that_is_there() {
    let sandbox = sandbox(&[], TlsMode::None).await;
    let any = config(&sandbox, Security::Plaintext);
    let pool = Pool::with_options(any.clone(), single());
    assert!(
        pool.send(to("bob@example.org"), hello())
            .await
            .is_accepted()
    );
    let public = pool.with_config(any.with_address_policy(AddressPolicy::PublicOnly));
    let outcome = public.send(to("bob@example.org"), hello()).await;
    let error = outcome.error().expect("loopback is not public");
    assert!(error.message().contains("no public address"), "{error:?}");
    assert_eq!(sandbox.counters().messages, 1);
}
