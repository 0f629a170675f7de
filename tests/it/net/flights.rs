//! How many round trips a whole session takes, from the greeting to QUIT: the least that the RFCs
//! allow, as the documentation of the crate reckons it.

use ehlo::proto::{Chunking, Config};
use ehlo::sandbox::{Auth, Mechanism, Options, TlsMode, Transfer};
use ehlo::{Client, Credentials, Security};

use super::server::config;
use super::{hello, to};
use crate::strict::Strict;

/// Flights from EHLO to QUIT of one message, with a log-in by PLAIN; both ends count alike.
async fn flights(mode: TlsMode, security: Security, chunking: Chunking) -> (u64, Transfer) {
    let options = Options::default()
        .with_tls(mode)
        .with_auth(Auth::Required)
        .with_mechanisms([Mechanism::Plain]);
    let sandbox = Strict::start(options).await.unwrap();
    let credentials = Credentials::password("alice", "password").unwrap();
    let config = config(&sandbox, security)
        .with_session(Config::new(security).with_chunking(chunking))
        .with_credentials(credentials);
    let client = Client::connect(config).await.unwrap();
    let witness = client.clone();
    let outcome = client.send_last(to("bob@example.org"), hello()).await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    let counters = sandbox.counters();
    assert_eq!(witness.stats().flights, counters.flights, "{security:?}");
    assert_eq!(counters.out_of_turn, 0, "a group ended where it has to");
    let received = &sandbox.wait_for(1).await[0];
    assert_eq!(received.authenticated.as_deref(), Some("alice"));
    (counters.flights, received.transfer)
}

#[tokio::test]
async fn a_session_inside_tls_takes_the_least_flights_that_the_rfcs_allow() {
    let implicit = |chunking| flights(TlsMode::Implicit, Security::Implicit, chunking);
    // EHLO; AUTH; MAIL, RCPT and DATA; the message and QUIT.
    assert_eq!(implicit(Chunking::Off).await, (4, Transfer::Data));
    // EHLO; AUTH; MAIL, RCPT, BDAT LAST and QUIT.
    assert_eq!(implicit(Chunking::default()).await, (3, Transfer::Bdat));
}

#[tokio::test]
async fn starttls_takes_two_flights_more() {
    let starttls = |chunking| flights(TlsMode::StartTlsRequired, Security::StartTls, chunking);
    // EHLO; STARTTLS; then the same as inside implicit TLS.
    assert_eq!(starttls(Chunking::Off).await, (6, Transfer::Data));
    assert_eq!(starttls(Chunking::default()).await, (5, Transfer::Bdat));
}
