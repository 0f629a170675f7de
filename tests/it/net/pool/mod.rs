//! The pool, against the sandbox and against servers that a test plays.

mod ends;
mod keys;
mod many;
mod promises;
mod turns;

use std::time::Duration;

use ehlo::net::PoolOptions;
use ehlo::proto::{Chunking, Config};
use ehlo::sandbox::{Happening, Options, Sandbox, TlsMode};
use ehlo::{ClientConfig, Outcome, Pool, Security, Verdict};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{hello, to};

/// A server in clear with these faults, and a configuration for it that sends by DATA: a message
/// that leaves with its envelope would be in doubt from MAIL on.
async fn server(options: Options, faults: &[&str]) -> (Sandbox, ClientConfig) {
    let (sandbox, config, _) = watched(options, faults).await;
    (sandbox, config)
}

async fn watched(
    options: Options,
    faults: &[&str],
) -> (Sandbox, ClientConfig, UnboundedReceiver<Happening>) {
    let options = faults.iter().fold(options, |options, fault| {
        options.with_fault(fault.parse().expect("a test's fault is one"))
    });
    let started = Sandbox::start_watched(options.with_tls(TlsMode::None)).await;
    let (sandbox, happenings) = started.expect("a port on loopback is free");
    let session = Config::new(Security::Plaintext).with_chunking(Chunking::Off);
    let config = ClientConfig::new("localhost", Security::Plaintext)
        .with_port(sandbox.address().port())
        .with_session(session);
    (sandbox, config, happenings)
}

/// One connection at a time.
fn single() -> PoolOptions {
    PoolOptions::default().with_connections(1)
}

/// The verdicts in a letter each.
fn letters(outcome: &Outcome) -> String {
    let letter = |verdict: &Verdict| match verdict {
        Verdict::Accepted(_) => 'a',
        Verdict::Refused { .. } => 'r',
        Verdict::Deferred(_) => 'd',
        Verdict::NotSent(_) => 'n',
        Verdict::InDoubt(_) => '?',
        _ => '!',
    };
    outcome.verdicts().iter().map(letter).collect()
}

/// Sends to these one after the other; the letters of all outcomes.
async fn send_each(pool: &Pool, recipients: &[&str]) -> String {
    let mut all = String::new();
    for recipient in recipients {
        all += &letters(&pool.send(to(recipient), hello()).await);
    }
    all
}

/// The connection by which each message came, and whom it was for.
fn arrived(sandbox: &Sandbox) -> Vec<(u64, String)> {
    let received = sandbox.received();
    let one = |message: ehlo::sandbox::Received| (message.connection, message.recipients.join(","));
    received.into_iter().map(one).collect()
}

/// Waits until the server has seen so many connections end.
async fn see_ends(happenings: &mut UnboundedReceiver<Happening>, count: usize) {
    let mut ended = 0;
    while ended < count {
        match happenings.recv().await {
            Some(Happening::Disconnected { .. }) => ended += 1,
            Some(_) => {}
            None => panic!("the sandbox is there"),
        }
    }
}

/// How many connections there were at most at a time, of all that happened.
fn most_at_a_time(happenings: &mut UnboundedReceiver<Happening>) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    while let Ok(happening) = happenings.try_recv() {
        match happening {
            Happening::Connected { .. } => now += 1,
            Happening::Disconnected { .. } => now -= 1,
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// Long enough for any machine.
const LONG: Duration = Duration::from_secs(60);
