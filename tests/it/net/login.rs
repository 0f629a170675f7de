//! Logging in, against the sandbox: each mechanism, and each way in which it goes wrong.

use std::sync::{Arc, Mutex};

use ehlo::net::{CredentialSource, CredentialsFuture, TlsOptions, Trust};
use ehlo::proto::{ChannelBinding, Config, Login, MechanismName, PlaintextAuth};
use ehlo::sandbox::{Auth, ClearAuth, Mechanism, Options, Quirk, Sandbox, TlsMode, TlsVersions};
use ehlo::{Category, Client, ClientConfig, Credentials, Error, Reply, Security, Stage};

use super::{hello, to};
use crate::strict::Strict;

async fn offering(mechanisms: &[Mechanism]) -> Strict {
    start(options(mechanisms)).await
}

fn options(mechanisms: &[Mechanism]) -> Options {
    Options::default()
        .with_auth(Auth::Required)
        .with_tls(TlsMode::Implicit)
        .with_mechanisms(mechanisms.iter().copied())
}

async fn start(options: Options) -> Strict {
    let sandbox = Strict::start(options).await;
    sandbox.expect("a port on loopback is free")
}

fn trust(sandbox: &Sandbox) -> TlsOptions {
    TlsOptions::default()
        .with_trust(Trust::Webpki)
        .with_ca_pem(sandbox.certificate_pem().as_bytes())
        .expect("a sandbox has a certificate")
}

fn config(sandbox: &Sandbox, login: Login) -> ClientConfig {
    ClientConfig::new("localhost", Security::Implicit)
        .with_port(sandbox.address().port())
        .with_tls(trust(sandbox))
        .with_session(Config::new(Security::Implicit).with_login(login))
}

fn password() -> Credentials {
    Credentials::password("alice", "password").expect("nothing odd in it")
}

fn token(token: &str) -> Credentials {
    Credentials::token("alice", token).expect("nothing odd in it")
}

/// The mechanism that logs in, proven by a message that arrives.
async fn logs_in(sandbox: &Sandbox, config: ClientConfig) -> String {
    let client = Client::connect(config).await.expect("it logs in");
    let outcome = client.send(to("bob@example.org"), hello()).await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    let mechanism = client.session().auth().expect("logged in").to_string();
    client.close().await.unwrap();
    let received = sandbox.wait_for(1).await;
    assert_eq!(received[0].authenticated.as_deref(), Some("alice"));
    mechanism
}

#[track_caller]
fn assert_error(error: &Error, category: Category, parts: &[&str]) {
    assert_eq!(error.category(), category, "{error:?}");
    assert_eq!(error.stage(), Stage::Auth, "{error:?}");
    assert!(error.hint().is_some(), "{error:?}");
    let text = format!("{error} {}", error.hint().unwrap_or_default());
    for part in parts {
        assert!(text.contains(part), "{part} in {text}");
    }
    let shown = format!("{error:?}");
    for secret in [
        "access-token",
        "wrong-token",
        "wrong-password",
        "stale-token",
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn each_mechanism_logs_in() {
    for mechanism in Mechanism::ALL {
        let sandbox = offering(&[mechanism]).await;
        let credentials = match mechanism {
            Mechanism::OAuthBearer | Mechanism::XOAuth2 => token("access-token"),
            Mechanism::External => Credentials::external("").unwrap(),
            _ => password(),
        };
        let mut config = config(&sandbox, Login::With(credentials));
        if mechanism == Mechanism::External {
            let own = sandbox.client_certificate("alice").unwrap();
            let (chain, key) = (own.certificate_pem(), own.key_pem());
            let tls = config
                .tls
                .clone()
                .with_client_certificate(chain.as_bytes(), key.as_bytes());
            config = config.with_tls(tls.unwrap());
        }
        assert_eq!(logs_in(&sandbox, config).await, mechanism.as_str());
    }
}

#[tokio::test]
async fn the_strongest_mechanism_for_the_credentials_is_used() {
    use Mechanism::{CramMd5, Login as InTwo, OAuthBearer, Plain, ScramSha256, XOAuth2};
    let sandbox = offering(&Mechanism::ALL).await;
    let with = |credentials| config(&sandbox, Login::With(credentials));
    assert_eq!(
        logs_in(&sandbox, with(password())).await,
        "SCRAM-SHA-256-PLUS"
    );
    assert_eq!(
        logs_in(&sandbox, with(token("access-token"))).await,
        "OAUTHBEARER"
    );
    for (offered, expected) in [
        (
            &[CramMd5, InTwo, Plain, XOAuth2, ScramSha256][..],
            "SCRAM-SHA-256",
        ),
        (&[CramMd5, InTwo, Plain, OAuthBearer], "PLAIN"),
        (&[CramMd5, InTwo], "LOGIN"),
    ] {
        let sandbox = offering(offered).await;
        let config = config(&sandbox, Login::With(password()));
        assert_eq!(logs_in(&sandbox, config).await, expected);
    }
}

#[tokio::test]
async fn a_log_in_is_bound_to_the_certificate_where_tls_is_too_old_for_more() {
    let plus = options(&[Mechanism::ScramSha256Plus]);
    let sandbox = start(plus.with_tls_versions(TlsVersions::Tls12)).await;
    let config = config(&sandbox, Login::With(password()));
    let client = Client::connect(config.clone()).await.expect("it logs in");
    let session = client.session();
    let tls = session.tls().expect("TLS from the start");
    assert_eq!(tls.version, "TLSv1.2");
    let digest = ChannelBinding::TlsServerEndPoint(sandbox.certificate_sha256().to_vec());
    assert_eq!(tls.binding, digest);
    client.close().await.unwrap();
    assert_eq!(logs_in(&sandbox, config).await, "SCRAM-SHA-256-PLUS");
}

#[tokio::test]
async fn a_caller_may_do_without_channel_binding() {
    let sandbox = offering(&[Mechanism::ScramSha256, Mechanism::ScramSha256Plus]).await;
    let session = Config::new(Security::Implicit)
        .with_credentials(password())
        .with_mechanisms(vec![MechanismName::SCRAM_SHA_256]);
    let config = config(&sandbox, Login::Nobody).with_session(session);
    assert_eq!(logs_in(&sandbox, config).await, "SCRAM-SHA-256");
}

#[tokio::test]
async fn in_clear_only_what_hides_the_secret_is_used_unasked() {
    use Mechanism::{CramMd5, OAuthBearer, Plain, ScramSha256};
    let clear = |offered: &[Mechanism]| {
        let options = options(offered).with_tls(TlsMode::None);
        start(options.with_clear_auth(ClearAuth::Allowed))
    };
    let session = |credentials| Config::new(Security::Plaintext).with_credentials(credentials);
    let config = |sandbox: &Sandbox, session| {
        ClientConfig::new("localhost", Security::Plaintext)
            .with_port(sandbox.address().port())
            .with_session(session)
    };
    let sandbox = clear(&[Plain, CramMd5, ScramSha256]).await;
    let used = logs_in(&sandbox, config(&sandbox, session(password()))).await;
    assert_eq!(used, "SCRAM-SHA-256");

    let sandbox = clear(&[Plain, CramMd5, OAuthBearer]).await;
    for credentials in [password(), token("access-token")] {
        let config = config(&sandbox, session(credentials));
        let error = Client::connect(config).await.expect_err("nothing is shown");
        assert_error(&error, Category::AuthUnavailable, &["not encrypted"]);
    }
    let allowed = session(password()).with_plaintext_auth(PlaintextAuth::Allow);
    assert_eq!(
        logs_in(&sandbox, config(&sandbox, allowed)).await,
        "CRAM-MD5"
    );
}

#[tokio::test]
async fn wrong_secrets_are_refused_in_step_and_never_shown() {
    for mechanism in Mechanism::ALL {
        let (credentials, parts) = match mechanism {
            Mechanism::OAuthBearer => (
                token("wrong-token"),
                &["535", "status invalid_token, scope mail", "token"][..],
            ),
            Mechanism::XOAuth2 => (
                token("wrong-token"),
                &["535", "status 401, scope mail", "token"][..],
            ),
            Mechanism::External => continue,
            _ => (
                Credentials::password("alice", "wrong-password").unwrap(),
                &["535", "password"][..],
            ),
        };
        let sandbox = offering(&[mechanism, Mechanism::Plain]).await;
        let config = config(&sandbox, Login::With(credentials));
        let error = Client::connect(config).await.expect_err("it is refused");
        assert_error(&error, Category::Authentication, parts);
        // EHLO, AUTH and QUIT: no second mechanism was tried with the same secret.
        assert_eq!(sandbox.counters().commands, 3, "{mechanism:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_the_server_does_not_know_gets_no_offer() {
    let sandbox = offering(&[Mechanism::External, Mechanism::Plain]).await;
    let config = config(&sandbox, Login::With(Credentials::external("").unwrap()));
    let error = Client::connect(config)
        .await
        .expect_err("it shows no certificate");
    assert_error(&error, Category::AuthUnavailable, &["PLAIN"]);
}

#[tokio::test]
async fn a_server_that_breaks_scram_is_not_believed() {
    for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha256Plus] {
        for (quirk, part) in [
            (Quirk::ScramWrongSignature, "wrong signature"),
            (Quirk::ScramNoSignature, "without proof"),
            (Quirk::ScramWrongNonce, "nonce"),
            (Quirk::ScramFewIterations, "fewer than 4096"),
        ] {
            let sandbox = start(options(&[mechanism]).with_quirk(quirk)).await;
            let config = config(&sandbox, Login::With(password()));
            let error = Client::connect(config)
                .await
                .expect_err("it is not believed");
            assert_error(&error, Category::Protocol, &[part, mechanism.as_str()]);
            assert!(!error.is_temporary());
        }
    }
}

#[tokio::test]
async fn odd_replies_to_auth_have_their_category() {
    for (fault, category) in [
        ("reply@auth=334 not base64", Category::Protocol),
        ("reply@auth=334 ", Category::Protocol),
        ("reply@auth=235 welcome", Category::Protocol),
        ("reply@auth=250 welcome", Category::Protocol),
        ("reply@auth=454 4.7.0 later", Category::Authentication),
        ("reply@auth=534 5.7.9 too weak", Category::Authentication),
        ("garbage@auth", Category::Protocol),
        ("close@auth", Category::ConnectionLost),
    ] {
        let options = options(&[Mechanism::ScramSha256]).with_fault(fault.parse().unwrap());
        let sandbox = start(options).await;
        let config = config(&sandbox, Login::With(password()));
        let error = Client::connect(config)
            .await
            .expect_err("it does not log in");
        assert_eq!(error.category(), category, "{fault}: {error:?}");
        assert_eq!(error.stage(), Stage::Auth, "{fault}: {error:?}");
    }
}

/// Gives a stale token first, and notes what it was asked with.
#[derive(Default)]
struct Renewing(Mutex<Vec<(MechanismName, Option<Reply>)>>);

impl CredentialSource for Renewing {
    fn credentials(&self, mechanism: MechanismName, refused: Option<Reply>) -> CredentialsFuture {
        let renewed = refused.is_some();
        self.0.lock().unwrap().push((mechanism, refused));
        Box::pin(async move {
            tokio::task::yield_now().await;
            Some(token(if renewed {
                "access-token"
            } else {
                "stale-token"
            }))
        })
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_on_the_same_connection() {
    for mechanism in [Mechanism::OAuthBearer, Mechanism::XOAuth2] {
        let sandbox = offering(&[mechanism]).await;
        let source = Arc::new(Renewing::default());
        let config = config(&sandbox, Login::Ask).with_credential_source(source.clone());
        assert_eq!(logs_in(&sandbox, config).await, mechanism.as_str());
        assert_eq!(sandbox.counters().connections, 1);
        let asked = source.0.lock().unwrap();
        let codes: Vec<_> = asked
            .iter()
            .map(|(_, refused)| refused.as_ref().map(|reply| reply.code().number()))
            .collect();
        assert_eq!(codes, [None, Some(535)]);
    }
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_is_a_mistake_of_the_caller() {
    let sandbox = offering(&[Mechanism::External]).await;
    let (one, other) = (
        sandbox.client_certificate("alice").unwrap(),
        sandbox.client_certificate("alice").unwrap(),
    );
    let tls = trust(&sandbox)
        .with_client_certificate(one.certificate_pem().as_bytes(), other.key_pem().as_bytes())
        .unwrap();
    let config = config(&sandbox, Login::With(Credentials::external("").unwrap())).with_tls(tls);
    let error = Client::connect(config)
        .await
        .expect_err("they do not match");
    assert_eq!(error.category(), Category::Usage, "{error:?}");

    let pem = one.certificate_pem().as_bytes();
    assert!(
        trust(&sandbox)
            .with_client_certificate(pem, b"no key")
            .is_err()
    );
    assert!(trust(&sandbox).with_client_certificate(b"", pem).is_err());
}

#[tokio::test]
async fn a_server_whose_plus_was_hidden_on_the_way_finds_out() {
    let changed = "reply@ehlo=250 sandbox.example\\nAUTH SCRAM-SHA-256";
    let options = options(&[Mechanism::ScramSha256, Mechanism::ScramSha256Plus]);
    let sandbox = start(options.with_fault(changed.parse().unwrap())).await;
    let config = config(&sandbox, Login::With(password()));
    let error = Client::connect(config).await.expect_err("it is found out");
    assert_error(&error, Category::Authentication, &["535"]);
}
