//! What always holds of a pool, whatever the server does and whoever gives up.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use ehlo::net::PoolOptions;
use ehlo::proto::{Chunking, Pipelining};
use ehlo::sandbox::{Extension, Options, Sandbox};
use ehlo::{Outcome, Pool, Verdict};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
use proptest::sample::select;
use tokio::task::JoinSet;

use super::super::{hello, to};
use super::many::{Messages, collect};
use super::{letters, most_at_a_time, watched};

/// A server, a pool, and messages.
#[derive(Clone, Debug)]
struct Case {
    faults: Vec<String>,
    offers: Vec<Extension>,
    message_limit: Option<usize>,
    connections: usize,
    share: usize,
    depth: usize,
    per_connection: Option<u64>,
    chunking: Chunking,
    pipelining: Pipelining,
    messages: usize,
    /// Which of them are given up on the way, after so many turns.
    given_up: BTreeMap<usize, u8>,
}

fn cases() -> impl Strategy<Value = Case> {
    let act = select(vec!["close", "reset", "shutdown", "reply"]);
    let step = select(vec!["mail", "rcpt", "data", "content", "body", "rset"]);
    let fault = (act, step, 1..40_u8).prop_map(|(act, step, nth)| match act {
        "reply" => format!("reply@{step}#{nth}=451 4.3.0 not now"),
        act => format!("{act}@{step}#{nth}"),
    });
    let greeting = (select(vec!["close", "shutdown"]), 2..6_u8)
        .prop_map(|(act, nth)| format!("{act}@greeting#{nth}"));
    let server = (
        vec(fault, 0..8),
        vec(greeting, 0..2),
        any::<[bool; 3]>(),
        proptest::option::of(1..12_usize),
    );
    let rules = (
        1..4_usize,
        1..6_usize,
        1..10_usize,
        proptest::option::of(1..12_u64),
    );
    let session = (
        select(vec![Chunking::Off, Chunking::WhereOffered]),
        select(vec![
            Pipelining::Off,
            Pipelining::Groups,
            Pipelining::Overlapping,
        ]),
    );
    let given_up = proptest::collection::btree_map(0..40_usize, any::<u8>(), 0..5);
    (server, rules, session, 1..40_usize, given_up).prop_map(
        |(
            (mut faults, greetings, [limits, pipelining, chunking], message_limit),
            rules,
            session,
            messages,
            given_up,
        )| {
            faults.extend(greetings);
            let mut offers = Vec::new();
            for (offered, extension) in [
                (limits, Extension::Limits),
                (pipelining, Extension::Pipelining),
                (chunking, Extension::Chunking),
            ] {
                offers.extend(offered.then_some(extension));
            }
            Case {
                faults,
                offers,
                message_limit,
                connections: rules.0,
                share: rules.1,
                depth: rules.2,
                per_connection: rules.3,
                chunking: session.0,
                pipelining: session.1,
                messages,
                given_up,
            }
        },
    )
}

impl Case {
    async fn start(
        &self,
    ) -> (
        Sandbox,
        Pool,
        tokio::sync::mpsc::UnboundedReceiver<ehlo::sandbox::Happening>,
    ) {
        let mut options = Options::default();
        options.extensions = self.offers.clone();
        options.message_limit = self.message_limit;
        let faults: Vec<&str> = self.faults.iter().map(String::as_str).collect();
        let (sandbox, mut config, happenings) = watched(options, &faults).await;
        config.session.chunking = self.chunking;
        config.session.pipelining = self.pipelining;
        let options = PoolOptions::default()
            .with_connections(self.connections)
            .with_connections_per_server(self.connections)
            .with_share(self.share)
            .with_depth(self.depth)
            .with_messages_per_connection(self.per_connection.and_then(NonZeroU64::new));
        (sandbox, Pool::with_options(config, options), happenings)
    }

    /// Sends all at once, some of whom give up.
    async fn send(&self, pool: &Pool) -> BTreeMap<usize, Option<Outcome>> {
        let mut tasks = JoinSet::new();
        for number in 0..self.messages {
            let (pool, patience) = (pool.clone(), self.given_up.get(&number).copied());
            let most = self.connections;
            tasks.spawn(async move {
                assert!(pool.stats().connections <= most);
                let sending = pool.send(to(&format!("r{number}@x.org")), hello());
                let give_up = async {
                    match patience {
                        Some(turns) => {
                            for _ in 0..turns {
                                tokio::task::yield_now().await;
                            }
                        }
                        None => std::future::pending().await,
                    }
                };
                let outcome = tokio::select! {
                    outcome = sending => Some(outcome),
                    () = give_up => None,
                };
                assert!(pool.stats().connections <= most);
                (number, outcome)
            });
        }
        let mut outcomes = BTreeMap::new();
        while let Some(done) = tasks.join_next().await {
            let (number, outcome) = done.expect("no task panics");
            outcomes.insert(number, outcome);
        }
        outcomes
    }
}

/// No message is lost that was accepted, none is there that was not sent, none is there twice.
fn check(case: &Case, sandbox: &Sandbox, outcomes: &BTreeMap<usize, Option<Outcome>>) {
    assert_eq!(outcomes.len(), case.messages);
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for message in sandbox.received() {
        for recipient in message.recipients {
            *copies.entry(recipient).or_default() += 1;
        }
    }
    for (number, outcome) in outcomes {
        let arrived = copies
            .get(&format!("r{number}@x.org"))
            .copied()
            .unwrap_or(0);
        match outcome.as_ref().map(Outcome::verdicts) {
            Some([Verdict::Accepted(_)]) => assert_eq!(arrived, 1, "{number} of {case:?}"),
            Some([Verdict::Refused { .. } | Verdict::NotSent(_)]) => {
                assert_eq!(arrived, 0, "{number}: {outcome:?} of {case:?}");
            }
            Some([Verdict::InDoubt(_)]) | None => assert!(arrived <= 1, "{number} of {case:?}"),
            Some(other) => panic!("{number}: {other:?} of {case:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
            cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_doubled_and_the_ceiling_holds(case in cases()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sandbox, pool, mut happenings) = case.start().await;
            let outcomes = case.send(&pool).await;
            pool.close().await;
            let stats = pool.stats();
            assert_eq!((stats.connections, stats.under_way, stats.waiting), (0, 0, 0), "{case:?}");
            let before = sandbox.counters().connections;
            assert_eq!(letters(&pool.send(to("late@x.org"), hello()).await), "n");
            assert_eq!(sandbox.counters().connections, before);
            check(&case, &sandbox, &outcomes);
            // What the server has not noticed yet is over all the same: a reset, or a reply that the
            // client did not wait for.
            let slack = case.faults.len() + case.given_up.len();
            assert!(most_at_a_time(&mut happenings) <= case.connections + slack, "{case:?}");
        });
    }

    #[test]
    fn threads_change_nothing_of_it(case in cases()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (sandbox, pool, _) = case.start().await;
            let outcomes = case.send(&pool).await;
            pool.close().await;
            let stats = pool.stats();
            assert_eq!((stats.connections, stats.under_way, stats.waiting), (0, 0, 0), "{case:?}");
            check(&case, &sandbox, &outcomes);
        });
    }

    #[test]
    fn an_end_at_any_time_loses_nothing(case in cases(), turns in 1..200_usize) {
        // A limit that is not told may leave messages in doubt that overlap the last one.
        let faults = Vec::new();
        let case = Case { faults, message_limit: None, given_up: BTreeMap::new(), ..case };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sandbox, pool, _) = case.start().await;
            let close = async {
                // In the first turn all messages come in.
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                pool.close().await;
                pool.stats()
            };
            let (outcomes, stats) = tokio::join!(case.send(&pool), close);
            assert_eq!((stats.connections, stats.under_way, stats.waiting), (0, 0, 0), "{case:?}");
            for (number, outcome) in &outcomes {
                let accepted = outcome.as_ref().is_some_and(Outcome::is_accepted);
                assert!(accepted, "{number}: {outcome:?} of {case:?}");
            }
            check(&case, &sandbox, &outcomes);
        });
    }

    #[test]
    fn a_stream_keeps_the_same_promises(case in cases(), pause in 2..9_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sandbox, pool, _) = case.start().await;
            let outcomes = collect(&pool, Messages::new(case.messages).pausing(pause)).await;
            pool.close().await;
            let outcomes = outcomes.into_iter().map(|(key, outcome)| (key, Some(outcome))).collect();
            check(&case, &sandbox, &outcomes);
        });
    }
}
