//! Ceilings, turns, and the end of a pool.

use ehlo::net::PoolOptions;
use ehlo::sandbox::Options;
use ehlo::{Category, ClientConfig, Pool, Security};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::peer::Peer;
use super::super::{hello, to};
use super::{arrived, letters, most_at_a_time, see_ends, send_each, server, single, watched};

#[tokio::test]
async fn connections_are_opened_as_messages_need_them_and_never_more_than_asked_for() {
    for (messages, share, most, expected) in [
        (8, 8, 4, 1),
        (9, 8, 4, 2),
        (40, 1, 4, 4),
        (100, 8, 3, 3),
        (5, 1, 1, 1),
    ] {
        let (sandbox, config, mut happenings) = watched(Options::default(), &[]).await;
        let options = PoolOptions::default()
            .with_connections_per_server(most)
            .with_share(share);
        let pool = Pool::with_options(config, options);
        let mut tasks = JoinSet::new();
        for number in 0..messages {
            let pool = pool.clone();
            tasks.spawn(async move { pool.send(to(&format!("r{number}@x.org")), hello()).await });
        }
        while let Some(outcome) = tasks.join_next().await {
            assert!(outcome.unwrap().is_accepted());
        }
        pool.close().await;
        assert_eq!(sandbox.received().len(), messages);
        let opened = sandbox.counters().connections;
        assert_eq!(
            opened, expected,
            "{messages} messages, {share} each, {most} at most"
        );
        assert!(most_at_a_time(&mut happenings) <= most);
    }
}

#[tokio::test]
async fn who_came_first_goes_first() {
    for (depth, faults) in [
        (1, &[][..]),
        (3, &[]),
        (8, &["close@mail#12", "close@mail#20"]),
    ] {
        let (sandbox, config) = server(Options::default(), faults).await;
        let pool = Pool::with_options(config, single().with_depth(depth));
        let mut tasks = JoinSet::new();
        let names: Vec<String> = (0..30).map(|number| format!("r{number}@x.org")).collect();
        for name in names.clone() {
            let pool = pool.clone();
            tasks.spawn(async move { pool.send(to(&name), hello()).await });
        }
        while let Some(outcome) = tasks.join_next().await {
            assert!(outcome.unwrap().is_accepted());
        }
        pool.close().await;
        let order: Vec<_> = arrived(&sandbox).into_iter().map(|(_, to)| to).collect();
        assert_eq!(order, names, "{depth}");
    }
}

#[tokio::test]
async fn a_server_with_many_messages_keeps_no_other_from_its_turn() {
    let (busy, first) = server(Options::default(), &[]).await;
    let (other, second) = server(Options::default(), &[]).await;
    let pool = Pool::with_options(first, single().with_depth(2));
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let pool = pool.clone();
        tasks.spawn(async move { pool.send(to(&format!("r{number}@x.org")), hello()).await });
    }
    while busy.counters().messages == 0 {
        tokio::task::yield_now().await;
    }
    let outcome = pool
        .with_config(second)
        .send(to("one@x.org"), hello())
        .await;
    assert!(outcome.is_accepted(), "{outcome:?}");
    assert!(pool.stats().waiting > 100, "{:?}", pool.stats());
    while let Some(outcome) = tasks.join_next().await {
        assert!(outcome.unwrap().is_accepted());
    }
    assert_eq!((busy.received().len(), other.received().len()), (200, 1));
}

#[tokio::test]
async fn one_ceiling_holds_for_all_servers_and_each_has_its_turn() {
    let (one, first) = server(Options::default(), &[]).await;
    let (other, second) = server(Options::default(), &[]).await;
    let (third, last) = server(Options::default(), &[]).await;
    let pool = Pool::with_options(first, single().with_depth(2));
    let pools = [
        pool.clone(),
        pool.with_config(second),
        pool.with_config(last),
    ];
    let mut tasks = JoinSet::new();
    for number in 0..60_usize {
        let (pool, all) = (pools[number % 3].clone(), pool.clone());
        tasks.spawn(async move {
            let outcome = pool.send(to(&format!("r{number}@x.org")), hello()).await;
            assert!(all.stats().connections <= 1);
            outcome
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        assert!(outcome.unwrap().is_accepted());
    }
    pool.close().await;
    for sandbox in [one, other, third] {
        assert_eq!(sandbox.received().len(), 20);
    }
}

#[tokio::test]
async fn an_idle_connection_gives_way_to_another_server() {
    let (_one, first, mut happenings) = watched(Options::default(), &[]).await;
    let (_other, second) = server(Options::default(), &[]).await;
    let pool = Pool::with_options(first, single());
    assert_eq!(send_each(&pool, &["a@x.org"]).await, "a");
    assert_eq!(
        send_each(&pool.with_config(second), &["b@x.org"]).await,
        "a"
    );
    see_ends(&mut happenings, 1).await;
    assert_eq!(pool.stats().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refused_a_further_connection_is_asked_again_though_the_first_is_stuck() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = ClientConfig::new("127.0.0.1", Security::Plaintext).with_port(port);
    let options = PoolOptions::default().with_share(1).with_depth(1);
    let pool = Pool::with_options(config, options.with_connections_per_server(2));
    let serve = async {
        let next = async || Peer::new(listener.accept().await.unwrap().0);
        let mut stuck = next().await;
        stuck.greet(&[]).await;
        stuck.envelope().await;
        stuck.message().await;
        let mut refused = next().await;
        refused.say(&["421 not now"]).await;
        drop(refused);
        let mut third = next().await;
        third.greet(&[]).await;
        third.envelope().await;
        third.message().await;
        third.say(&["250 ok"]).await;
        while pool.stats().under_way > 1 {
            tokio::task::yield_now().await;
        }
        stuck.say(&["250 ok"]).await;
        tokio::join!(stuck.part(), third.part());
    };
    let send = async {
        let sent = tokio::join!(
            send_each(&pool, &["a@x.org"]),
            send_each(&pool, &["b@x.org"])
        );
        pool.close().await;
        sent
    };
    let ((), sent) = tokio::join!(serve, send);
    assert_eq!(sent, ("a".to_owned(), "a".to_owned()));
}

#[tokio::test]
async fn a_message_that_is_dropped_while_it_waits_is_not_sent() {
    let (sandbox, config) = server(Options::default(), &["delay@greeting=0.05"]).await;
    let pool = Pool::with_options(config, single());
    {
        let dropped = Box::pin(pool.send(to("dropped@x.org"), hello()));
        let kept = pool.send(to("kept@x.org"), hello());
        tokio::select! {
            biased;
            outcome = dropped => panic!("{outcome:?}"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(pool.stats().waiting, 0);
        assert!(kept.await.is_accepted());
    }
    pool.close().await;
    assert_eq!(arrived(&sandbox), [(1, "kept@x.org".to_owned())]);
}

#[tokio::test]
async fn an_end_of_the_pool_loses_nothing_and_lets_nothing_in() {
    let (sandbox, config, mut happenings) = watched(Options::default(), &[]).await;
    let options = PoolOptions::default()
        .with_connections_per_server(2)
        .with_share(2)
        .with_depth(2);
    let pool = Pool::with_options(config, options);
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let pool = pool.clone();
        tasks.spawn(async move { pool.send(to(&format!("r{number}@x.org")), hello()).await });
    }
    while pool.stats().waiting + pool.stats().under_way < 50 {
        tokio::task::yield_now().await;
    }
    let close = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    while let Some(outcome) = tasks.join_next().await {
        assert!(outcome.unwrap().is_accepted());
    }
    close.await.unwrap();
    assert_eq!(pool.stats().connections, 0);
    assert_eq!(sandbox.received().len(), 50);
    let outcome = pool.send(to("late@x.org"), hello()).await;
    assert_eq!(letters(&outcome), "n");
    let error = outcome.error().expect("it was not sent");
    assert_eq!(error.category(), Category::ConnectionLost);
    assert_eq!(sandbox.received().len(), 50);
    // Each said QUIT: EHLO and QUIT, and three commands a message.
    see_ends(&mut happenings, 2).await;
    assert_eq!(sandbox.counters().commands, 2 * 2 + 50 * 3);
}

#[tokio::test]
async fn a_pool_without_handles_closes_its_connections() {
    let (_sandbox, config, mut happenings) = watched(Options::default(), &[]).await;
    let pool = Pool::new(config);
    assert_eq!(send_each(&pool, &["a@x.org"]).await, "a");
    let handle = pool.clone();
    drop(pool);
    assert_eq!(send_each(&handle, &["a@x.org"]).await, "a");
    drop(handle);
    see_ends(&mut happenings, 1).await;
}
