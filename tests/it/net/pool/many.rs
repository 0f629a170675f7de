//! A stream of messages.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use ehlo::net::PoolOptions;
use ehlo::sandbox::Options;
use ehlo::{Content, Envelope, Outcome, Pool};
use futures_core::Stream;

use super::super::{hello, to};
use super::{most_at_a_time, server, watched};

/// Messages to numbered recipients, which counts how many were asked for. Every so many polls it
/// has nothing yet.
pub(super) struct Messages {
    next: usize,
    end: usize,
    pub(super) taken: Arc<AtomicUsize>,
    told: bool,
    pause_every: usize,
    polls: usize,
}

impl Messages {
    pub(super) fn new(count: usize) -> Self {
        Self {
            next: 0,
            end: count,
            taken: Arc::default(),
            told: true,
            pause_every: usize::MAX,
            polls: 0,
        }
    }

    /// Whose number nobody knows beforehand.
    fn untold(self) -> Self {
        Self {
            told: false,
            ..self
        }
    }

    pub(super) fn pausing(self, every: usize) -> Self {
        Self {
            pause_every: every,
            ..self
        }
    }
}

impl Stream for Messages {
    type Item = (usize, Envelope, Content);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.polls += 1;
        if self.polls.is_multiple_of(self.pause_every) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.next == self.end {
            return Poll::Ready(None);
        }
        let number = self.next;
        self.next += 1;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some((number, to(&format!("r{number}@x.org")), hello())))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self.told {
            true => (self.end - self.next, Some(self.end - self.next)),
            false => (0, None),
        }
    }
}

async fn next<S: Stream>(mut stream: Pin<&mut S>) -> Option<S::Item> {
    poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

/// All outcomes by key; each key comes once.
pub(super) async fn collect(pool: &Pool, messages: Messages) -> BTreeMap<usize, Outcome> {
    let mut outcomes = BTreeMap::new();
    let mut all = pin!(pool.send_all(messages));
    while let Some((key, outcome)) = next(all.as_mut()).await {
        assert!(outcomes.insert(key, outcome).is_none(), "{key} came twice");
    }
    outcomes
}

#[tokio::test]
async fn every_message_of_a_stream_has_one_outcome_by_its_key() {
    for (messages, connections) in [
        (Messages::new(300), 3),
        (Messages::new(300).untold(), 3),
        (Messages::new(300).pausing(3), 3),
        (Messages::new(5), 1),
        (Messages::new(0), 0),
    ] {
        let (sandbox, config, mut happenings) = watched(Options::default(), &[]).await;
        let pool = Pool::with_options(
            config,
            PoolOptions::default().with_connections_per_server(3),
        );
        let count = messages.end;
        let outcomes = collect(&pool, messages).await;
        assert_eq!(outcomes.len(), count);
        for (key, outcome) in outcomes {
            assert!(outcome.is_accepted(), "{key}: {outcome:?}");
        }
        pool.close().await;
        assert_eq!(sandbox.received().len(), count);
        assert!(sandbox.counters().connections <= connections);
        assert!(most_at_a_time(&mut happenings) <= 3);
    }
}

#[tokio::test]
async fn no_more_messages_are_asked_for_than_connections_have_room_for() {
    let (_sandbox, config) = server(Options::default(), &["stall@body"]).await;
    let options = PoolOptions::default().with_connections_per_server(2);
    let pool = Pool::with_options(config, options.with_share(4).with_depth(4));
    let messages = Messages::new(1_000);
    let taken = Arc::clone(&messages.taken);
    let mut all = pin!(pool.send_all(messages));
    let run = async {
        let outcome = next(all.as_mut()).await;
        panic!("the server does not answer, and yet: {outcome:?}");
    };
    let look = async {
        while pool.stats().under_way < 8 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = run => {}
        () = look => {}
    }
    assert_eq!(taken.load(Ordering::Relaxed), 2 * 4 + 1);
}

#[tokio::test]
async fn nothing_is_asked_for_while_nobody_takes_outcomes() {
    let (sandbox, config) = server(Options::default(), &[]).await;
    let options = PoolOptions::default().with_connections_per_server(1);
    let pool = Pool::with_options(config, options.with_share(4).with_depth(4));
    let messages = Messages::new(1_000);
    let taken = Arc::clone(&messages.taken);
    let mut all = pin!(pool.send_all(messages));
    assert!(next(all.as_mut()).await.is_some());
    let so_far = taken.load(Ordering::Relaxed);
    assert!(so_far <= 2 * 4 + 1, "{so_far}");
    sandbox.wait_for(so_far - 1).await;
    assert_eq!(taken.load(Ordering::Relaxed), so_far);
}

#[tokio::test]
async fn the_end_of_a_connection_costs_a_stream_no_message() {
    // So far from each other that no message is first in line at two of them. A limit counts anew on
    // each connection, and might come together with one of them: it has a server of its own.
    let faults = [
        "close@mail#20",
        "close@rcpt#60",
        "shutdown@mail#110",
        "close@data#160",
    ];
    let limited = Options::default().with_message_limit(40);
    for (options, faults) in [(Options::default(), &faults[..]), (limited, &[])] {
        let (sandbox, config) = server(options, faults).await;
        let pool = Pool::with_options(
            config,
            PoolOptions::default().with_connections_per_server(1),
        );
        let outcomes = collect(&pool, Messages::new(200)).await;
        for (key, outcome) in &outcomes {
            assert!(outcome.is_accepted(), "{key}: {outcome:?}");
        }
        pool.close().await;
        assert_eq!(sandbox.counters().connections, 5);
        let mut recipients: Vec<_> = sandbox
            .received()
            .into_iter()
            .flat_map(|message| message.recipients)
            .collect();
        recipients.sort();
        recipients.dedup();
        assert_eq!((recipients.len(), sandbox.received().len()), (200, 200));
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_withdraws_what_is_not_finished() {
    let (sandbox, config) = server(Options::default(), &["delay@mail=0.01"]).await;
    let pool = Pool::with_options(
        config,
        PoolOptions::default().with_connections_per_server(1),
    );
    {
        let mut all = pin!(pool.send_all(Messages::new(100)));
        assert!(next(all.as_mut()).await.is_some());
    }
    pool.close().await;
    assert!(sandbox.received().len() < 100);
    assert_eq!(pool.stats().under_way, 0);
}
