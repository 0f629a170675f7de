//! Connections that end: by the server, by time, by their limits.

use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ehlo::net::PoolOptions;
use ehlo::proto::{Entry, Observer};
use ehlo::sandbox::{Extension, Options};
use ehlo::{Category, ClientConfig, Envelope, Outcome, Pool, Security, Stage, Streamed, Verdict};
use tokio::net::TcpListener;

use super::super::peer::Peer;
use super::super::{closed_port, hello, mailbox, to};
use super::{LONG, arrived, letters, see_ends, send_each, server, single, watched};

#[tokio::test]
async fn an_end_that_has_come_is_seen_before_the_next_message() {
    for farewell in ["", "421 4.4.2 idle for too long"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = ClientConfig::new("127.0.0.1", Security::Plaintext).with_port(port);
        let pool = Pool::new(config);
        let serve = async {
            for last in [false, true] {
                let (stream, _) = listener.accept().await.unwrap();
                let mut peer = Peer::new(stream);
                peer.greet(&[]).await;
                peer.envelope().await;
                peer.message().await;
                peer.say(&["250 ok"]).await;
                if !last && !farewell.is_empty() {
                    peer.say(&[farewell]).await;
                }
                if last {
                    peer.part().await;
                }
            }
        };
        let send = async {
            assert_eq!(send_each(&pool, &["bob@example.org"]).await, "a");
            while pool.stats().connections > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(send_each(&pool, &["bob@example.org"]).await, "a");
            pool.close().await;
        };
        tokio::join!(serve, send);
        let stats = pool.stats();
        assert_eq!((stats.opened, stats.sent_again), (2, 0), "{farewell}");
    }
}

#[tokio::test]
async fn a_message_that_met_a_dead_connection_goes_by_a_new_one() {
    for fault in [
        "close@mail#2",
        "reset@mail#2",
        "shutdown@mail#2",
        "close@data#2",
        "garbage@mail#2",
        "stall@mail#2",
    ] {
        let (sandbox, mut config) = server(Options::default(), &[fault]).await;
        config.session.timeouts.mail = Duration::from_secs(1);
        let pool = Pool::with_options(config, single());
        assert_eq!(
            send_each(&pool, &["a@x.org", "b@x.org"]).await,
            "aa",
            "{fault}"
        );
        assert_eq!(pool.stats().sent_again, 1, "{fault}");
        pool.close().await;
        let expected = [(1, "a@x.org".to_owned()), (2, "b@x.org".to_owned())];
        assert_eq!(arrived(&sandbox), expected, "{fault}");
    }
}

#[tokio::test]
async fn a_message_sets_out_once_more_and_not_twice() {
    let (sandbox, config) = server(Options::default(), &["close@mail#2", "close@mail#3"]).await;
    let pool = Pool::with_options(config, single());
    assert_eq!(
        send_each(&pool, &["a@x.org", "b@x.org", "c@x.org"]).await,
        "ana"
    );
    assert_eq!(pool.stats().sent_again, 1);
    pool.close().await;
    let expected = [(1, "a@x.org".to_owned()), (3, "c@x.org".to_owned())];
    assert_eq!(arrived(&sandbox), expected);
}

#[tokio::test]
async fn a_new_connection_that_fails_at_once_is_the_messages_own_failure() {
    let (sandbox, config) = server(Options::default(), &["close@mail#1"]).await;
    let pool = Pool::with_options(config, single());
    let outcome = pool.send(to("a@x.org"), hello()).await;
    let error = outcome.error().expect("it failed");
    assert_eq!(error.category(), Category::ConnectionLost);
    assert_eq!(
        (error.stage(), sandbox.counters().connections),
        (Stage::Mail, 1)
    );
    pool.close().await;
}

#[tokio::test]
async fn a_message_in_doubt_is_not_sent_again() {
    for fault in ["close@body#2", "reset@body#2"] {
        let (sandbox, config) = server(Options::default(), &[fault]).await;
        let pool = Pool::with_options(config, single());
        let all = send_each(&pool, &["a@x.org", "b@x.org", "c@x.org"]).await;
        assert_eq!(all, "a?a", "{fault}");
        pool.close().await;
        // The server has it, as it happens.
        assert_eq!(sandbox.received().len(), 3, "{fault}");
        assert_eq!(pool.stats().sent_again, 0, "{fault}");
    }
}

#[tokio::test]
async fn a_streamed_message_is_sent_again_only_while_its_reader_is_untouched() {
    for (fault, letter, reads) in [("close@mail#2", "a", 2), ("close@content#2", "n", 1)] {
        let (sandbox, config) = server(Options::default(), &[fault]).await;
        let pool = Pool::with_options(config, single());
        assert_eq!(send_each(&pool, &["a@x.org"]).await, "a");
        // Long enough that its end is not sent before the server has closed.
        let text = "Subject: long\r\n\r\n".to_owned() + &"0123456789\r\n".repeat(400_000);
        let outcome = pool
            .send_from(to("b@x.org"), Streamed::default(), text.as_bytes())
            .await;
        assert_eq!(letters(&outcome), letter, "{fault}: {outcome:?}");
        pool.close().await;
        assert_eq!(sandbox.counters().connections, reads, "{fault}");
        if letter == "a" {
            assert_eq!(sandbox.received()[1].content, text);
        }
    }
}

#[tokio::test]
async fn nobody_goes_behind_a_streamed_message() {
    let (sandbox, config) = server(Options::default(), &[]).await;
    let options = PoolOptions::default().with_connections_per_server(2);
    let pool = Pool::with_options(config, options);
    let (mut writer, reader) = tokio::io::duplex(64);
    let slow = pool.send_from(to("slow@x.org"), Streamed::default(), reader);
    let quick = async {
        while pool.stats().under_way == 0 {
            tokio::task::yield_now().await;
        }
        let sent = send_each(&pool, &["a@x.org", "b@x.org"]).await;
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"Subject: slow\r\n\r\n")
            .await
            .unwrap();
        drop(writer);
        sent
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert!(slow.is_accepted() && quick == "aa");
    assert_eq!(sandbox.counters().connections, 2);
    pool.close().await;
}

#[tokio::test]
async fn those_behind_a_message_that_ends_the_connection_are_not_its_victims() {
    let (sandbox, config) = server(Options::default(), &["close@mail:poison@x.org"]).await;
    let pool = Pool::with_options(config, single());
    let good = ["a@x.org", "b@x.org", "c@x.org"];
    let (first, poisoned, rest) = tokio::join!(
        send_each(&pool, &good[..1]),
        async {
            let envelope = Envelope::new(mailbox("poison@x.org"), [mailbox("p@x.org")]);
            letters(&pool.send(envelope, hello()).await)
        },
        async { tokio::join!(send_each(&pool, &good[1..2]), send_each(&pool, &good[2..])) }
    );
    assert_eq!(first + &poisoned + &rest.0 + &rest.1, "anaa");
    pool.close().await;
    let mut recipients: Vec<_> = arrived(&sandbox).into_iter().map(|(_, to)| to).collect();
    recipients.sort();
    assert_eq!(recipients, good);
}

#[tokio::test]
async fn those_behind_a_message_that_had_its_verdict_from_the_end_are_not_its_victims() {
    for (fault, first) in [
        ("close@body#1", "?"),
        ("reset@body#1", "?"),
        ("shutdown@body#1", "r"),
        ("garbage@body#1", "?"),
        ("stall@body#1", "?"),
    ] {
        let (sandbox, mut config) = server(Options::default(), &[fault]).await;
        config.session.timeouts.body = Duration::from_secs(1);
        let pool = Pool::with_options(config, single());
        let all = tokio::join!(
            send_each(&pool, &["a@x.org"]),
            send_each(&pool, &["b@x.org"]),
            send_each(&pool, &["c@x.org"])
        );
        assert_eq!(all.0, first, "{fault}");
        assert_eq!(all.1 + &all.2, "aa", "{fault}");
        assert_eq!(sandbox.counters().connections, 2, "{fault}");
        pool.close().await;
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_in_good_order() {
    let (sandbox, config, mut happenings) = watched(Options::default(), &[]).await;
    let options = single().with_idle_timeout(Duration::ZERO);
    let pool = Pool::with_options(config, options);
    for connection in 1..=3 {
        assert_eq!(send_each(&pool, &["a@x.org"]).await, "a");
        see_ends(&mut happenings, 1).await;
        // EHLO, MAIL, RCPT, DATA, QUIT.
        assert_eq!(sandbox.counters().commands, connection * 5);
        assert_eq!(sandbox.counters().connections, connection);
    }
}

#[tokio::test]
async fn a_connection_has_as_many_messages_as_it_may_and_costs_no_refusal() {
    for limited_by_server in [false, true] {
        let mut options = Options::default();
        if limited_by_server {
            options = options
                .with_message_limit(2)
                .with_extension(Extension::Limits);
        }
        let (sandbox, config) = server(options, &[]).await;
        let most = NonZeroU64::new(if limited_by_server { 1000 } else { 2 });
        let pool = Pool::with_options(config, single().with_messages_per_connection(most));
        let all = send_each(
            &pool,
            &["a@x.org", "b@x.org", "c@x.org", "d@x.org", "e@x.org"],
        )
        .await;
        assert_eq!(all, "aaaaa");
        pool.close().await;
        let connections: Vec<_> = arrived(&sandbox).into_iter().map(|(n, _)| n).collect();
        assert_eq!(connections, [1, 1, 2, 2, 3]);
        assert_eq!(pool.stats().sent_again, 0);
    }
}

#[tokio::test]
async fn a_limit_that_is_not_told_costs_connections_but_no_message() {
    let (sandbox, config) = server(Options::default().with_message_limit(3), &[]).await;
    let pool = Pool::with_options(config, single());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let pool = pool.clone();
        tasks.spawn(async move { pool.send(to(&format!("r{number}@x.org")), hello()).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        let outcome = outcome.unwrap();
        assert!(outcome.is_accepted(), "{outcome:?}");
    }
    pool.close().await;
    assert_eq!(sandbox.received().len(), 40);
}

#[tokio::test]
async fn recipients_that_a_session_has_no_room_for_go_by_the_next_one() {
    let options = Options::default()
        .with_domain_limit(1)
        .with_extension(Extension::Limits);
    let (sandbox, config) = server(options, &[]).await;
    let options = PoolOptions::default().with_connections_per_server(2);
    let pool = Pool::with_options(config, options);
    let three = ["a@x.org", "b@y.org", "c@z.org"].map(mailbox);
    let envelope = Envelope::new(mailbox("alice@example.com"), three);
    assert_eq!(letters(&pool.send(envelope, hello()).await), "aaa");
    let all = ["a@x.org", "b@y.org", "c@z.org", "d@x.org", "e@w.org"];
    assert_eq!(send_each(&pool, &all).await, "aaaaa");
    pool.close().await;
    assert_eq!(sandbox.received().len(), 8);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_the_error_of_all_who_wait() {
    let config = ClientConfig::new("127.0.0.1", Security::Plaintext);
    let pool = Pool::new(config.with_port(closed_port()));
    let (one, other) = tokio::join!(
        pool.send(to("a@x.org"), hello()),
        pool.send(to("b@x.org"), hello())
    );
    for outcome in [one, other] {
        let error = outcome.error().expect("there is no server");
        assert_eq!(error.category(), Category::ConnectionRefused, "{error:?}");
    }
    tokio::time::timeout(LONG, pool.close()).await.unwrap();
    assert_eq!(pool.stats().connections, 0);
}

#[tokio::test]
async fn a_further_connection_that_is_refused_is_nobodys_failure() {
    let (sandbox, config) = server(Options::default(), &["shutdown@greeting#2"]).await;
    let options = PoolOptions::default().with_connections_per_server(2);
    let pool = Pool::with_options(config, options.with_share(1));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        let pool = pool.clone();
        tasks.spawn(async move { pool.send(to(&format!("r{number}@x.org")), hello()).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert!(outcome.unwrap().is_accepted());
    }
    pool.close().await;
    assert_eq!(sandbox.received().len(), 20);
    // It is not tried again for a while.
    assert_eq!(sandbox.counters().connections, 2);
}

#[tokio::test]
async fn a_connection_that_nobody_has_used_yet_may_have_ended_as_well() {
    let faults = ["delay@greeting#1=0.02", "close@mail#1"];
    let (sandbox, config) = server(Options::default(), &faults).await;
    let pool = Pool::with_options(config, single());
    tokio::select! {
        biased;
        outcome = pool.send(to("given-up@x.org"), hello()) => panic!("{outcome:?}"),
        () = std::future::ready(()) => {}
    }
    while pool.stats().idle == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(send_each(&pool, &["a@x.org", "b@x.org"]).await, "aa");
    assert_eq!(pool.stats().sent_again, 1);
    pool.close().await;
    let expected = [(2, "a@x.org".to_owned()), (2, "b@x.org".to_owned())];
    assert_eq!(arrived(&sandbox), expected);
}

#[tokio::test]
async fn a_connection_that_is_refused_while_another_one_ends_is_tried_again_behind_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = ClientConfig::new("127.0.0.1", Security::Plaintext).with_port(port);
    let options = PoolOptions::default().with_messages_per_connection(NonZeroU64::new(1));
    let pool = Pool::with_options(config, options);
    let serve = async {
        let next = async || Peer::new(listener.accept().await.unwrap().0);
        let mut first = next().await;
        first.greet(&[]).await;
        first.envelope().await;
        first.message().await;
        // It has had its message, and waits for the answer.
        let mut second = next().await;
        second.say(&["421 one at a time"]).await;
        drop(second);
        while pool.stats().connections > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.stats().waiting, 1);
        first.say(&["250 ok"]).await;
        first.part().await;
        drop(first);
        let mut third = next().await;
        third.greet(&[]).await;
        third.envelope().await;
        third.message().await;
        third.say(&["250 ok"]).await;
        third.part().await;
    };
    let send = async {
        let both = tokio::join!(
            send_each(&pool, &["a@x.org"]),
            send_each(&pool, &["b@x.org"])
        );
        pool.close().await;
        both.0 + &both.1
    };
    let ((), sent) = tokio::join!(serve, send);
    assert_eq!((sent.as_str(), pool.stats().sent_again), ("aa", 0));
}

/// Tasks of several threads hear of their outcomes in any order.
#[tokio::test]
async fn whom_a_connection_ended_with_does_not_depend_on_who_hears_of_it_first() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let fault = "close@mail:poison@x.org";
        let (sandbox, config) = server(Options::default(), &[fault]).await;
        let pool = Pool::with_options(config, single());
        let mut sending = ["a@x.org", "poison@x.org", "b@x.org"].map(|from| {
            let envelope = Envelope::new(mailbox(from), [mailbox("r@x.org")]);
            Box::pin(pool.send(envelope, hello()))
        });
        let mut outcomes: [Option<Outcome>; 3] = [None, None, None];
        let mut look = |index: usize| {
            let cx = &mut Context::from_waker(Waker::noop());
            if outcomes[index].is_none()
                && let Poll::Ready(outcome) = sending[index].as_mut().poll(cx)
            {
                outcomes[index] = Some(outcome);
            }
        };
        (0..3).for_each(&mut look);
        while pool.stats().opened == 0 || pool.stats().connections > 0 {
            tokio::task::yield_now().await;
        }
        while pool.stats().under_way + pool.stats().waiting > 0 {
            order.into_iter().for_each(&mut look);
            tokio::task::yield_now().await;
        }
        let letter = |outcome: &Option<Outcome>| letters(outcome.as_ref().expect("it is over"));
        let all: String = outcomes.iter().map(letter).collect();
        assert_eq!(all, "ana", "{order:?}");
        // One connection for each try of the one, and one for the other.
        assert_eq!(sandbox.counters().connections, 3, "{order:?}");
        pool.close().await;
    }
}

/// An observer with a handle to the pool.
struct Keeper(Arc<OnceLock<Pool>>);

impl Observer for Keeper {
    fn observe(&mut self, _: Entry<'_>, _: Instant) {}
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(pool) = self.0.get() {
            let _ = pool.stats();
        }
    }
}

#[test]
fn what_the_caller_has_given_is_dropped_while_nothing_is_locked() {
    let (over, is_over) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (_sandbox, config) = server(Options::default(), &[]).await;
            let place = Arc::new(OnceLock::new());
            let given = Arc::clone(&place);
            let options = single()
                .with_idle_timeout(Duration::ZERO)
                .with_observers(move || Box::new(Keeper(Arc::clone(&given))));
            let pool = place.get_or_init(|| Pool::with_options(config, options));
            assert_eq!(send_each(pool, &["a@x.org"]).await, "a");
            while pool.stats().connections > 0 {
                tokio::task::yield_now().await;
            }
        });
        over.send(()).unwrap();
    });
    is_over
        .recv_timeout(LONG)
        .expect("nobody waits for himself");
}

#[tokio::test]
async fn a_withdrawn_pool_says_what_became_of_each_message() {
    let (sandbox, config) = server(Options::default(), &["stall@body#2"]).await;
    let pool = Pool::with_options(config, single().with_depth(1));
    assert_eq!(send_each(&pool, &["a@x.org"]).await, "a");
    let stop = async {
        while sandbox.counters().messages < 2 {
            tokio::task::yield_now().await;
        }
        pool.withdraw();
        pool.abort();
    };
    let (sent, waiting, ()) = tokio::join!(
        pool.send(to("b@x.org"), hello()),
        pool.send(to("c@x.org"), hello()),
        stop
    );
    assert!(matches!(sent.verdicts(), [Verdict::InDoubt(_)]), "{sent:?}");
    assert_eq!(letters(&waiting), "n");
    assert_eq!(letters(&pool.send(to("d@x.org"), hello()).await), "n");
    pool.close().await;
    assert_eq!(pool.stats().connections, 0);
}
