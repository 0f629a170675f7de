//! Handshakes that succeed.

use ehlo::net::Trust;
use ehlo::proto::{ChannelBinding, Session, Verification};
use ehlo::{Client, ClientConfig, Security};

use super::server::{Identity, Manner, Secured};
use super::{HOST, trusting, with_trust};
use crate::net::peer::Peer;
use crate::net::shape::Noting;
use crate::net::{content, hello, to};

/// Connects by implicit TLS, and returns the session.
async fn session(identity: &Identity, config: ClientConfig) -> Session {
    let (peer, stream) = Peer::pair(1 << 16);
    let serve = async {
        let mut secured = identity.accept(peer.into_inner()).await.unwrap();
        secured.greet(&[]).await;
        secured
    };
    let (client, _secured) = tokio::join!(Client::attach(stream, config), serve);
    client.unwrap().session()
}

#[tokio::test]
async fn a_session_says_what_it_is_made_of() {
    let identity = Identity::new(Manner::Ordinary);
    let session = session(
        &identity,
        trusting(Security::Implicit, &identity.authority_pem),
    )
    .await;
    let tls = session.tls().expect("the session has TLS");
    assert_eq!(tls.version, "TLSv1.3");
    assert!(tls.cipher.starts_with("TLS_"), "{}", tls.cipher);
    assert!(!tls.cipher.contains("13"), "{}", tls.cipher);
    assert_eq!(tls.verification, Verification::Trusted);
    let ChannelBinding::TlsExporter(binding) = tls.binding else {
        panic!("TLS 1.3 has an exporter");
    };
    assert_ne!(binding, [0; 32]);
    let certificate = tls
        .certificate
        .as_ref()
        .expect("a server has a certificate");
    assert!(certificate.subject.contains("test server"));
    assert!(certificate.issuer.contains("test authority"));
    assert_eq!(certificate.names, [HOST, "192.0.2.7"]);
    assert_eq!(certificate.not_before, 1_577_836_800);
    assert_eq!(certificate.not_after, 4_102_444_800);
    assert_eq!(certificate.fingerprint().len(), 64);
}

#[tokio::test]
async fn tls_1_2_is_spoken_where_the_server_has_nothing_newer() {
    let identity = Identity::new(Manner::Tls12);
    let session = session(
        &identity,
        trusting(Security::Implicit, &identity.authority_pem),
    )
    .await;
    let tls = session.tls().expect("the session has TLS");
    assert_eq!(tls.version, "TLSv1.2");
    assert!(tls.cipher.starts_with("TLS_ECDHE_"), "{}", tls.cipher);
    // RFC 5929 §4.1, of a certificate that is signed with ECDSA and SHA-256.
    let certificate = tls.certificate.as_ref().expect("a certificate");
    let digest = ChannelBinding::TlsServerEndPoint(certificate.sha256.to_vec());
    assert_eq!(tls.binding, digest);
}

#[tokio::test]
async fn a_server_may_have_the_authoritys_own_certificate_that_the_caller_named() {
    let identity = Identity::new(Manner::SelfSigned);
    let config = trusting(Security::Implicit, &identity.authority_pem);
    let session = session(&identity, config).await;
    let tls = session.tls().expect("the session has TLS");
    assert_eq!(tls.verification, Verification::Trusted);
}

#[tokio::test]
async fn an_address_may_be_what_the_certificate_names() {
    let identity = Identity::new(Manner::Ordinary);
    let config =
        trusting(Security::Implicit, &identity.authority_pem).with_certificate_name("192.0.2.7");
    let session = session(&identity, config).await;
    assert!(session.tls().unwrap().verification.is_verified());
}

#[tokio::test]
async fn the_certificate_name_may_differ_from_the_host() {
    let identity = Identity::new(Manner::OtherName);
    let config = trusting(Security::Implicit, &identity.authority_pem)
        .with_certificate_name("other.example.net");
    let session = session(&identity, config).await;
    assert!(session.tls().unwrap().verification.is_verified());
}

#[tokio::test]
async fn a_pinned_certificate_needs_neither_chain_nor_name_nor_date() {
    for manner in [
        Manner::Ordinary,
        Manner::OtherName,
        Manner::Expired,
        Manner::SelfSigned,
        Manner::Tls12,
    ] {
        let identity = Identity::new(manner);
        let unverified = session(&identity, with_trust(Security::Implicit, Trust::Off)).await;
        let tls = unverified.tls().unwrap();
        assert_eq!(tls.verification, Verification::Off);
        assert!(!tls.verification.is_verified());
        let pin = tls.certificate.as_ref().unwrap().sha256;
        let pinned = session(
            &identity,
            with_trust(Security::Implicit, Trust::Pinned(pin)),
        )
        .await;
        assert_eq!(pinned.tls().unwrap().verification, Verification::Pinned);
    }
}

#[tokio::test]
async fn mail_goes_through_starttls() {
    let identity = Identity::new(Manner::Ordinary);
    let config = trusting(Security::StartTls, &identity.authority_pem);
    let (peer, stream) = Peer::pair(1 << 16);
    let server = tokio::spawn(async move {
        let mut secured = identity.accept_starttls(peer).await;
        secured.envelope().await;
        let message = secured.message().await;
        secured.say(&["250 taken"]).await;
        secured.expect("QUIT").await;
        // No close_notify: the stream just ends.
        message
    });
    let client = Client::attach(stream, config).await.unwrap();
    assert!(client.session().tls().is_some());
    assert!(
        client
            .send(to("bob@example.org"), hello())
            .await
            .is_accepted()
    );
    client
        .close()
        .await
        .expect("an end without close_notify is a good end after QUIT");
    assert!(server.await.unwrap().contains("Hello."));
}

#[tokio::test]
async fn the_end_of_the_handshake_travels_with_ehlo() {
    let identity = Identity::new(Manner::Ordinary);
    let config = trusting(Security::StartTls, &identity.authority_pem);
    let (peer, stream) = Peer::pair(1 << 16);
    let (noting, writes) = Noting::new(stream);
    let server = tokio::spawn(async move { identity.accept_starttls(peer).await });
    let client = Client::attach(noting, config).await.unwrap();
    assert_eq!(client.stats().flights, 3);
    // EHLO, STARTTLS, ClientHello; then Finished with EHLO.
    assert_eq!(writes.lock().unwrap().len(), 4);
    drop((client, server.await));
}

#[tokio::test]
async fn a_flight_of_64_kib_is_one_write_within_tls_too() {
    let identity = Identity::new(Manner::Ordinary);
    let config = trusting(Security::Implicit, &identity.authority_pem);
    let (peer, stream) = Peer::pair(1 << 20);
    let (noting, writes) = Noting::new(stream);
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let mut secured: Secured = identity.accept(peer.into_inner()).await.unwrap();
        secured.greet(&[]).await;
        secured.expect("MAIL FROM:").await;
        secured.expect("RCPT TO:").await;
        secured.expect("DATA").await;
        wait.await.unwrap();
        secured.say(&["250 ok", "250 ok", "354 go on"]).await;
        let message = secured.message().await;
        secured.say(&["250 taken"]).await;
        message
    });
    let client = Client::attach(noting, config).await.unwrap();
    let long = "Subject: Long\r\n\r\n".to_owned() + &"x".repeat(62);
    let text = long + "\r\n" + &"A line of 32 octets, with CRLF.\r\n".repeat(1_980);
    assert!(
        text.len() > 60_000 && text.len() + 3 <= 64 * 1024,
        "{}",
        text.len()
    );
    let delivery = client.submit(to("bob@example.org"), content(text.clone()));
    tokio::task::yield_now().await;
    let before = {
        while client.stats().flights < 2 {
            tokio::task::yield_now().await;
        }
        writes.lock().unwrap().len()
    };
    go.send(()).unwrap();
    assert!(delivery.await.is_accepted());
    assert_eq!(server.await.unwrap(), text);
    assert_eq!(writes.lock().unwrap().len() - before, 1);
}

#[tokio::test]
async fn connections_of_one_configuration_resume_each_others_sessions() {
    let identity = Identity::new(Manner::Ordinary);
    let config = trusting(Security::Implicit, &identity.authority_pem);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (peer, stream) = Peer::pair(1 << 16);
        let serve = async {
            let mut secured = identity.accept(peer.into_inner()).await.unwrap();
            secured.greet(&[]).await;
            secured
        };
        let (client, secured) = tokio::join!(Client::attach(stream, config.clone()), serve);
        let session = client.unwrap().session();
        let certificate = session.tls().unwrap().certificate.as_ref();
        assert!(
            certificate.is_some(),
            "a resumed session still has its certificate"
        );
        let stream = secured.into_inner();
        kinds.push(format!("{:?}", stream.get_ref().1.handshake_kind()));
    }
    assert_eq!(kinds, ["Some(Full)", "Some(Resumed)"]);
}
