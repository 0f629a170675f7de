//! Settings from an address or a domain.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use ehlo::check::discover::{Discover, Discovery, Origin, Records, RecordsFuture, Service};
use ehlo::net::{AddressPolicy, TlsOptions};
use ehlo::providers::Encryption;
use ehlo::sandbox::{Options, Sandbox};
use ehlo::{Category, ClientConfig, Security, Stage};

use super::{config, implicit, sandbox};

/// A zone that somebody has written.
#[derive(Default)]
struct Zone {
    services: HashMap<String, Vec<Service>>,
    exchanges: Vec<String>,
}

impl Zone {
    fn with(mut self, name: &str, services: &[(u16, u16, &str)]) -> Self {
        let services = services.iter().map(|(priority, port, target)| Service {
            priority: *priority,
            weight: 0,
            port: *port,
            target: (*target).to_owned(),
        });
        self.services.insert(name.to_owned(), services.collect());
        self
    }
}

impl Records for Zone {
    fn services(&self, name: String) -> RecordsFuture<Service> {
        let services = self.services.get(&name).cloned();
        Box::pin(ready(Ok(services.unwrap_or_default())))
    }

    fn exchanges(&self, _: String) -> RecordsFuture<String> {
        Box::pin(ready(Ok(self.exchanges.clone())))
    }
}

/// Name servers that do not answer.
struct Silence;

impl Records for Silence {
    fn services(&self, _: String) -> RecordsFuture<Service> {
        Box::pin(pending())
    }

    fn exchanges(&self, _: String) -> RecordsFuture<String> {
        Box::pin(pending())
    }
}

const STARTTLS: &str = "_submission._tcp.example.invalid";
const TLS: &str = "_submissions._tcp.example.invalid";

async fn discover(records: impl Records + 'static, config: ClientConfig) -> Discovery {
    let discover = Discover::new("jo@example.invalid").unwrap();
    discover
        .with_config(config)
        .with_records(Arc::new(records))
        .with_deadline(Duration::from_secs(9))
        .run()
        .await
}

fn port(sandbox: &Sandbox) -> u16 {
    sandbox.address().port()
}

#[tokio::test]
async fn the_domains_own_records_are_followed_in_their_order() {
    let starttls = sandbox(Options::default()).await;
    let zone = Zone::default()
        .with(
            STARTTLS,
            &[(20, 9, "localhost."), (10, port(&starttls), "localhost.")],
        )
        .with(TLS, &[(0, 1, "gone.invalid.")]);
    let found = discover(zone, config(&starttls, Security::Implicit)).await;
    assert!(found.ok, "{found}");
    let settings = found.settings.clone().unwrap();
    assert_eq!(settings.endpoint.host, "localhost");
    assert_eq!(settings.endpoint.port, port(&starttls));
    assert_eq!(settings.endpoint.encryption, Encryption::StartTls);
    assert_eq!(settings.username.as_deref(), Some("jo@example.invalid"));
    // What came before it is told, with why it was not taken.
    assert_eq!(found.candidates[0].endpoint.host, "gone.invalid");
    assert_eq!(found.candidates[0].works, Some(false));
    assert_eq!(found.candidates[1].works, Some(true));
    let steps: Vec<_> = found.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(
        steps,
        [
            "resolve",
            "connect",
            "greeting",
            "ehlo",
            "starttls",
            "handshake"
        ]
    );
    let server = found.server.as_ref().unwrap();
    assert_eq!(server.address, Some(starttls.address()));
}

#[tokio::test]
async fn a_host_outside_the_domain_is_named_as_such_and_gets_no_credentials() {
    let tls = sandbox(implicit()).await;
    let zone = Zone::default().with(TLS, &[(0, port(&tls), "localhost.")]);
    let config = super::logged_in(config(&tls, Security::StartTls));
    let found = discover(zone, config).await;
    assert!(found.ok, "{found}");
    let settings = found.settings.clone().unwrap();
    assert_eq!(settings.endpoint.encryption, Encryption::Tls);
    let expected = Origin::Service {
        record: TLS.to_owned(),
        outside: true,
    };
    assert_eq!(settings.origin, expected);
    let warning = found.warnings.join("\n");
    assert!(
        warning.contains("does not belong to example.invalid"),
        "{warning}"
    );
    assert!(found.server.unwrap().auth.is_none());
    assert!(tls.counters().commands <= 2, "{:?}", tls.counters());
}

#[tokio::test]
async fn a_host_that_the_dns_names_does_not_see_the_clients_certificate() {
    let fault = "tls=client-certificate".parse().unwrap();
    let tls = sandbox(implicit().with_fault(fault)).await;
    let own = tls.client_certificate("alice").unwrap();
    let options = TlsOptions::default()
        .with_ca_pem(tls.certificate_pem().as_bytes())
        .unwrap()
        .with_client_certificate(own.certificate_pem().as_bytes(), own.key_pem().as_bytes())
        .unwrap();
    let config = ClientConfig::new("localhost", Security::Implicit).with_tls(options);
    let zone = Zone::default().with(TLS, &[(0, port(&tls), "localhost.")]);
    let found = discover(zone, config).await;
    // It works only for whoever has shown it.
    assert!(!found.ok, "{found}");
    assert_eq!(found.error.unwrap().category, "tls");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_does_not_do() {
    let tls = sandbox(implicit()).await;
    let zone = Zone::default().with(TLS, &[(0, port(&tls), "localhost.")]);
    let found = discover(zone, ClientConfig::new("x", Security::StartTls)).await;
    assert!(!found.ok && found.settings.is_none(), "{found}");
    let error = found.error.unwrap();
    assert_eq!((error.category, error.stage), ("certificate", "handshake"));
}

#[tokio::test]
async fn what_is_not_offered_and_what_is_not_there_is_said() {
    let zone = Zone::default().with(TLS, &[(0, 0, ".")]);
    let found = discover(zone, ClientConfig::new("x", Security::StartTls)).await;
    let error = found.error.clone().unwrap();
    assert_eq!((error.category, error.stage), ("dns", "resolve"));
    let warnings = found.warnings.join("\n");
    assert!(warnings.contains("no such service"), "{warnings}");
    // The names that are often taken were tried.
    let guesses = found
        .candidates
        .iter()
        .filter(|one| one.origin == Origin::Guess);
    assert!(guesses.clone().all(|guess| guess.works == Some(false)));
    assert_eq!(guesses.count(), 9);
}

#[tokio::test]
async fn the_policy_for_addresses_holds_for_what_the_dns_names() {
    let tls = sandbox(implicit()).await;
    let zone = Zone::default().with(TLS, &[(0, port(&tls), "localhost.")]);
    let found = Discover::new("jo@example.invalid")
        .unwrap()
        .with_config(config(&tls, Security::StartTls))
        .with_address_policy(AddressPolicy::PublicOnly)
        .with_records(Arc::new(zone))
        .with_deadline(Duration::from_secs(9))
        .run()
        .await;
    assert!(!found.ok);
    let problem = found.candidates[0].problem.as_deref().unwrap();
    assert!(problem.contains("no public address"), "{problem}");
    assert_eq!(tls.counters().connections, 0);
}

#[tokio::test]
async fn name_servers_that_are_silent_leave_time_for_guesses() {
    let discover = Discover::new("example.invalid").unwrap();
    let found = discover
        .with_records(Arc::new(Silence))
        .with_deadline(Duration::from_millis(900))
        .run()
        .await;
    assert!(found.elapsed < Duration::from_secs(8));
    assert_eq!(found.warnings.len(), 3, "{:?}", found.warnings);
    assert_eq!(found.candidates.len(), 9);
}

#[tokio::test]
async fn a_name_service_that_does_not_answer_says_nothing_of_the_domain() {
    let discover = Discover::new("example.invalid").unwrap();
    let found = discover
        .with_records(Arc::new(Silence))
        .with_deadline(Duration::from_millis(900))
        .run()
        .await;
    let error = found.failure().unwrap();
    assert_eq!(
        (error.category(), error.stage()),
        (Category::Dns, Stage::Resolve)
    );
    assert!(error.is_temporary(), "{error}");
    assert!(
        error
            .to_string()
            .contains("the name service did not answer"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("resolver"), "{error}");
}

#[tokio::test]
async fn the_mx_of_a_region_leads_to_its_host() {
    let zone = Zone {
        exchanges: vec!["mx.zoho.eu.".to_owned()],
        ..Zone::default()
    };
    // Nothing is to leave this machine.
    let config =
        ClientConfig::new("x", Security::StartTls).with_unix_socket("/nowhere/to/be/found.socket");
    let found = discover(zone, config).await;
    assert_eq!(found.candidates[0].endpoint.host, "smtp.zoho.eu");
}

#[tokio::test]
async fn settings_come_as_a_file_that_can_be_read() {
    let tls = sandbox(implicit()).await;
    let zone = Zone::default().with(TLS, &[(0, port(&tls), "localhost.")]);
    let found = discover(zone, config(&tls, Security::StartTls)).await;
    let settings = found.settings.as_ref().unwrap();
    let file = format!("{}password = \"secret\"\n", settings.toml);
    let account = ehlo::settings::Settings::from_toml(&file)
        .unwrap()
        .account()
        .unwrap();
    assert_eq!((account.host(), account.port()), ("localhost", port(&tls)));
    assert_eq!(account.encryption(), Encryption::Tls);
    assert_eq!(account.username(), Some("jo@example.invalid"));
    let document = serde_json::to_value(&found).unwrap();
    let keys: Vec<_> = document.as_object().unwrap().keys().take(5).collect();
    assert_eq!(keys, ["ok", "steps", "server", "error", "settings"]);
    assert_eq!(document["settings"]["encryption"], "tls");
}

#[test]
fn what_is_no_address_and_no_domain_is_refused() {
    for target in [
        "",
        "@",
        "jo@",
        "jo@[127.0.0.1]",
        "a b.example",
        "[::1]",
        "x\r\ny",
    ] {
        let error = Discover::new(target).unwrap_err();
        assert_eq!(error.category(), Category::Usage, "{target:?}");
    }
}
