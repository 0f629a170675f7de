//! Options for extensions: what the server is asked for, and what is left out or refused.

use ehlo::proto::Protocol;
use ehlo::sandbox::{Extension, Options};

use super::{FROM_TO, HELLO, Server, ehlo};

fn pairs(pairs: &[(String, Option<String>)]) -> Vec<String> {
    let mut pairs: Vec<_> = pairs
        .iter()
        .filter(|(key, _)| key != "SIZE")
        .map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
        .collect();
    pairs.sort();
    pairs
}

#[tokio::test]
async fn each_option_reaches_the_server() {
    let server = Server::start(Options::default().with_extension(Extension::SmtpUtf8)).await;
    let run = server
        .send(&[
            "--dsn-notify",
            "failure,success",
            "--dsn-ret",
            "hdrs",
            "--dsn-envid",
            "a+b c",
            "--require-tls",
            "--smtputf8",
            "always",
            "--deliver-by",
            "120",
            "--hold-for",
            "60",
            "--priority=-4",
        ])
        .await;
    assert_eq!(run.code, 0, "{}", run.all());
    let received = &server.sandbox.received()[0];
    assert_eq!(
        pairs(&received.parameters),
        [
            "BY=120;R",
            "ENVID=a+2Bb+20c",
            "HOLDFOR=60",
            "MT-PRIORITY=-4",
            "REQUIRETLS",
            "RET=HDRS",
            "SMTPUTF8"
        ]
    );
    assert_eq!(
        pairs(&received.recipient_parameters[0]),
        ["NOTIFY=SUCCESS,FAILURE"]
    );
}

#[tokio::test]
async fn any_parameter_can_be_named() {
    let server = Server::start(Options::default()).await;
    let run = server
        .send(&[
            "--mail-param",
            "RET=FULL",
            "--rcpt-param",
            "NOTIFY=NEVER",
            "--rcpt-param",
            "ORCPT=rfc822;a@x.org",
        ])
        .await;
    assert_eq!(run.code, 0, "{}", run.all());
    let received = &server.sandbox.received()[0];
    assert_eq!(pairs(&received.parameters), ["RET=FULL"]);
    assert_eq!(
        pairs(&received.recipient_parameters[0]),
        ["NOTIFY=NEVER", "ORCPT=rfc822;a@x.org"]
    );
}

#[tokio::test]
async fn what_the_message_can_do_without_is_left_out_with_a_warning() {
    let options = Options::default()
        .without_extension(Extension::Dsn)
        .without_extension(Extension::MtPriority);
    let server = Server::start(options).await;
    let wishes = [
        "--dsn-notify",
        "never",
        "--dsn-ret",
        "full",
        "--priority",
        "3",
    ];
    let run = server.send(&wishes).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(run.json()["outcome"], "accepted");
    for keyword in ["NOTIFY", "RET", "MT-PRIORITY"] {
        let warning = format!("the parameter {keyword} was left out");
        assert!(run.stderr.contains(&warning), "{}", run.all());
    }
    assert!(pairs(&server.sandbox.received()[0].parameters).is_empty());
}

#[tokio::test]
async fn what_it_cannot_do_without_keeps_it_from_being_sent() {
    let mut options = Options::default();
    for extension in [
        Extension::RequireTls,
        Extension::FutureRelease,
        Extension::DeliverBy,
    ] {
        options = options.without_extension(extension);
    }
    let server = Server::start(options).await;
    for words in [
        &["--require-tls"][..],
        &["--hold-for", "60"],
        &["--deliver-by", "60"],
        &["--mail-param", "XNEW=1"],
        &["--rcpt-param", "XNEW"],
        &["--smtputf8", "always"],
    ] {
        server.send(words).await.assert_failed(65, "usage", "mail");
    }
    assert!(server.sandbox.received().is_empty());
}

#[tokio::test]
async fn tls_all_the_way_is_not_promised_to_a_server_that_nobody_verified() {
    let server = Server::start(Options::default()).await;
    let url = server.url("smtp");
    let mut arguments = vec!["send", "--server", &url, "--insecure", "--json"];
    arguments.extend(FROM_TO.iter().chain(&HELLO).chain(&["--require-tls"]));
    let run = ehlo(&arguments).await;
    run.assert_failed(65, "usage", "mail");
    assert!(run.stdout.contains("5.7.10"), "{}", run.all());
}

#[tokio::test]
async fn an_address_longer_than_servers_must_take_is_warned_of_and_tried() {
    let server = Server::start(Options::default()).await;
    let long = format!("{}@example.com", "x".repeat(65));
    let run = server.send(&["--to", &long]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(
        run.stderr.contains("is longer than servers must take"),
        "{}",
        run.all()
    );
    assert_eq!(server.sandbox.received()[0].recipients.len(), 2);
}

#[tokio::test]
async fn a_domain_beyond_ascii_is_written_in_ascii_where_the_server_lacks_smtputf8() {
    let server = Server::start(Options::default()).await;
    let run = server.send(&["--to", "jo@bücher.example"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(run.json()["accepted"][1], "jo@bücher.example");
    let received = &server.sandbox.received()[0];
    assert_eq!(received.recipients[1], "jo@xn--bcher-kva.example");
    assert!(received.content.is_ascii());
}

#[tokio::test]
async fn malformed_values_are_a_wrong_use() {
    for words in [
        ["--dsn-notify", "sometimes"],
        ["--dsn-notify", "never,success"],
        ["--dsn-ret", "some"],
        ["--dsn-envid", ""],
        ["--smtputf8", "perhaps"],
        ["--deliver-by", "1.5"],
        ["--deliver-by", "-1"],
        ["--deliver-by", "0"],
        ["--hold-for", "soon"],
        ["--hold-for", "1000000000"],
        ["--priority", "10"],
        ["--priority", "+1"],
        ["--mail-param", "SIZE=1"],
        ["--mail-param", "A=B C"],
        ["--rcpt-param", "NOTIFY=OFTEN"],
    ] {
        let mut arguments = vec!["send", "--host", "127.0.0.1", "--port", "1"];
        arguments.extend(FROM_TO.iter().chain(&HELLO).chain(&words));
        let run = ehlo(&arguments).await;
        assert_eq!(run.code, 64, "{words:?}: {}", run.all());
    }
}

#[tokio::test]
async fn recipients_of_more_domains_than_a_session_may_have_are_reached_by_others() {
    let options = Options::default()
        .with_domain_limit(1)
        .with_extension(Extension::Limits);
    let server = Server::start(options).await;
    let one = server.file("one.eml", "Subject: 1\r\n\r\n1\r\n");
    let two = server.file("two.eml", "Subject: 2\r\n\r\n2\r\n");
    let more = ["--to", "b@one.example", "--to", "c@two.example"];
    let run = server.send_files(&[&one], &more).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let run = server.send_files(&[&one, &two], &more).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let received = server.sandbox.received();
    let mut recipients: Vec<_> = received.iter().flat_map(|one| &one.recipients).collect();
    recipients.sort();
    recipients.dedup();
    // The server's own recipient and those two: each message to each of them, once.
    assert_eq!((recipients.len(), received.len()), (3, 9), "{received:?}");
}

#[tokio::test]
async fn recipients_beyond_the_messages_of_a_session_are_reached_by_another() {
    let options = Options::default()
        .with_recipient_limit(1)
        .with_message_limit(2)
        .with_extension(Extension::Limits);
    let server = Server::start(options).await;
    let run = server
        .send(&["--to", "b@example.com", "--to", "c@example.com"])
        .await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(run.json()["outcome"], "accepted");
    assert_eq!(server.sandbox.received().len(), 3);
    assert_eq!(server.sandbox.counters().connections, 2);
}

#[tokio::test]
async fn a_refusal_for_now_is_not_hidden_by_an_address_that_the_server_cannot_take() {
    let refusal = "451 4.3.0 later".parse().unwrap();
    let server =
        Server::start(Options::default().with_refused_recipient("c@d.example", refusal)).await;
    let mut arguments = server.connection();
    let words = [
        "--from",
        "a@d.example",
        "--to",
        "jö@d.example",
        "--to",
        "c@d.example",
    ];
    arguments.extend(words.iter().chain(&HELLO).map(ToString::to_string));
    let run = ehlo(&arguments).await;
    run.assert_failed(75, "temporary", "rcpt");
    let alone = ["--from", "a@d.example", "--to", "jö@d.example"];
    let mut arguments = server.connection();
    arguments.extend(alone.iter().chain(&HELLO).map(ToString::to_string));
    ehlo(&arguments).await.assert_failed(65, "usage", "mail");
}

#[tokio::test]
async fn lmtp_is_not_trusted_with_what_is_for_all_or_for_nobody() {
    let options = Options::default()
        .with_protocol(Protocol::Lmtp)
        .with_undelivered_recipient("full@example.com", "452 4.2.2 full".parse().unwrap());
    let server = Server::start(options).await;
    let url = server.url("lmtp");
    let ca = super::text(&server.path("ca.pem"));
    let mut arguments = vec![
        "send",
        "--server",
        &url,
        "--encryption",
        "starttls",
        "--ca-file",
        &ca,
    ];
    arguments.extend(["--json", "--all-or-nothing", "--to", "full@example.com"]);
    arguments.extend(FROM_TO.iter().chain(&HELLO));
    ehlo(&arguments).await.assert_failed(65, "usage", "mail");
    assert!(server.sandbox.received().is_empty());
}

#[tokio::test]
async fn messages_beyond_the_limit_of_a_session_go_by_another() {
    let options = Options::default()
        .with_message_limit(2)
        .with_extension(Extension::Limits);
    let server = Server::start(options).await;
    let files: Vec<String> = (0..5)
        .map(|n| server.file(&format!("{n}.eml"), format!("Subject: {n}\r\n\r\n{n}\r\n")))
        .collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let run = server.send_files(&names, &[]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(server.sandbox.received().len(), 5);
    assert_eq!(server.sandbox.counters().connections, 3);
}
