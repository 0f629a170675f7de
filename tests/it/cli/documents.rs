//! What became of a message, as exit code and JSON document.

use ehlo::proto::Protocol;
use ehlo::sandbox::{Options, Sandbox, TlsMode};
use serde_json::{Value, json};

use super::{FROM_TO, HELLO, SECRET, Server, ehlo, keys};

#[tokio::test]
async fn the_document_of_an_accepted_message_is_exactly_the_contract() {
    let server = Server::start(Options::default().with_account("jo", SECRET)).await;
    let login = ["--username", "jo", "--password-env", "EHLO_TEST_PASSWORD"];
    let run = server.send(&login).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let document = run.json();
    assert_eq!(
        keys(&document),
        [
            "outcome",
            "server",
            "recipients",
            "accepted",
            "rejected",
            "reply",
            "error",
            "bytes",
            "round_trips",
            "elapsed_ms"
        ]
    );
    assert_eq!(document["outcome"], "accepted");
    let found = &document["server"];
    assert_eq!(
        keys(found),
        [
            "host",
            "port",
            "address",
            "greeting",
            "extensions",
            "tls",
            "auth"
        ]
    );
    assert_eq!(found["host"], "127.0.0.1");
    assert_eq!(found["port"], server.sandbox.address().port());
    assert_eq!(found["address"], server.sandbox.address().to_string());
    assert!(
        found["greeting"]
            .as_str()
            .unwrap()
            .contains("sandbox.example")
    );
    assert!(
        found["extensions"]
            .as_array()
            .unwrap()
            .contains(&json!("PIPELINING"))
    );
    assert_eq!(found["auth"], "PLAIN");
    assert_eq!(
        keys(&found["tls"]),
        ["version", "cipher", "verified", "certificate"]
    );
    assert_eq!(found["tls"]["version"], "TLSv1.3");
    assert_eq!(found["tls"]["verified"], true);
    let certificate = &found["tls"]["certificate"];
    assert_eq!(
        keys(certificate),
        ["subject", "issuer", "not_after", "sha256"]
    );
    let sha256 = server.sandbox.certificate_sha256();
    let hex: String = sha256.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(certificate["sha256"], hex);

    let recipient = &document["recipients"][0];
    assert_eq!(
        keys(recipient),
        ["recipient", "outcome", "stage", "code", "enhanced", "text"]
    );
    assert_eq!(recipient["recipient"], "ann@example.com");
    assert_eq!(recipient["outcome"], "accepted");
    assert_eq!(recipient["stage"], "body");
    assert_eq!(recipient["code"], 250);
    assert_eq!(document["accepted"], json!(["ann@example.com"]));
    assert_eq!(document["rejected"], json!([]));
    assert_eq!(keys(&document["reply"]), ["code", "enhanced", "text"]);
    assert_eq!(document["reply"]["code"], 250);
    assert_eq!(document["error"], Value::Null);
    assert!(document["bytes"].as_u64().unwrap() > 100);
    assert!(document["round_trips"].as_u64().unwrap() > 2);
    assert!(document["elapsed_ms"].as_f64().unwrap() > 0.0);

    let received = server.sandbox.received();
    assert_eq!(received[0].reverse_path, "jo@example.org");
    assert_eq!(received[0].recipients, ["ann@example.com"]);
    assert_eq!(received[0].authenticated.as_deref(), Some("jo"));
    assert!(received[0].tls);
    let content = String::from_utf8_lossy(&received[0].content);
    assert!(content.contains("\r\nSubject: Hello\r\n"), "{content}");
}

#[tokio::test]
async fn without_tls_and_log_in_the_document_says_null() {
    let server = Server::start(Options::default().with_tls(TlsMode::None)).await;
    let run = server.send(&["--encryption", "none"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let document = run.json();
    assert_eq!(document["server"]["tls"], Value::Null);
    assert_eq!(document["server"]["auth"], Value::Null);
    assert!(!server.sandbox.received()[0].tls);
}

#[tokio::test]
async fn each_fault_of_the_server_has_its_exit_code_category_and_stage() {
    for (fault, code, category, stage) in [
        ("shutdown@greeting", 69, "temporary", "greeting"),
        (
            "reply@greeting=554 no service",
            69,
            "connection-refused",
            "greeting",
        ),
        ("banner=ssh", 76, "protocol", "greeting"),
        ("close@greeting", 75, "connection-lost", "greeting"),
        (
            "reply@starttls=454 not now",
            75,
            "starttls-unavailable",
            "starttls",
        ),
        (
            "reply@starttls=500 no",
            76,
            "starttls-unavailable",
            "starttls",
        ),
        ("inject@starttls", 76, "protocol", "starttls"),
        ("reply@mail=451 4.3.0 later", 75, "temporary", "mail"),
        ("reply@mail=550 5.7.1 not you", 1, "sender-refused", "mail"),
        ("reply@rcpt=451 4.3.0 later", 75, "temporary", "rcpt"),
        (
            "reply@rcpt=550 5.1.1 no such user",
            1,
            "recipient-refused",
            "rcpt",
        ),
        ("reply@body=451 4.3.0 later", 75, "temporary", "body"),
        ("reply@body=554 5.6.0 no", 1, "message-refused", "body"),
        ("close@mail", 75, "connection-lost", "mail"),
    ] {
        let server = Server::with_fault(fault).await;
        let run = server.send(&["--no-chunking"]).await;
        let found = run.json();
        assert_eq!(
            (
                run.code,
                &found["error"]["category"],
                &found["error"]["stage"]
            ),
            (code, &json!(category), &json!(stage)),
            "{fault}: {}",
            run.all()
        );
        assert!(server.sandbox.received().is_empty(), "{fault}");
        assert_eq!(found["accepted"], json!([]), "{fault}");
        assert_ne!(found["recipients"][0]["outcome"], "in-doubt", "{fault}");
    }
}

#[tokio::test]
async fn a_refusal_is_reported_in_the_servers_words() {
    let server = Server::with_fault("reply@rcpt=550 5.1.1 no such user").await;
    let document = server.send(&[]).await.json();
    assert_eq!(document["outcome"], "rejected");
    let refusal = json!({
        "recipient": "ann@example.com", "code": 550, "enhanced": "5.1.1", "text": "no such user"
    });
    assert_eq!(document["rejected"], json!([refusal]));
    assert_eq!(document["recipients"][0]["outcome"], "rejected");
    assert_eq!(document["recipients"][0]["stage"], "rcpt");
    assert_eq!(document["reply"]["code"], 550);
}

#[tokio::test]
async fn a_lost_reply_to_the_message_is_in_doubt_and_exits_75() {
    let server = Server::with_fault("close@body").await;
    let run = server.send(&[]).await;
    run.assert_failed(75, "connection-lost", "body");
    let document = run.json();
    assert_eq!(document["outcome"], "in-doubt");
    let hint = document["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("may have the message"), "{hint}");
    assert_eq!(document["recipients"][0]["outcome"], "in-doubt");
    assert_eq!(document["accepted"], json!([]));
}

#[tokio::test]
async fn lmtp_has_a_result_for_each_recipient() {
    let options = Options::default()
        .with_protocol(Protocol::Lmtp)
        .with_undelivered_recipient("bob@example.com", "452 4.2.2 full".parse().unwrap());
    let sandbox = Sandbox::start(options).await.unwrap();
    let server = format!("lmtp://{}", sandbox.address());
    for more in [&[][..], &["--no-chunking"]] {
        let arguments = [
            "send",
            "--json",
            "--server",
            &server,
            "--from",
            "jo@example.com",
        ];
        let envelope = [
            "--to",
            "ann@example.com",
            "--to",
            "bob@example.com",
            "--text",
            "x",
        ];
        let run = ehlo(&[&arguments[..], &envelope, more].concat()).await;
        assert_eq!(run.code, 0, "{}", run.all());
        let document = run.json();
        assert_eq!(document["outcome"], "partial");
        assert_eq!(document["accepted"], json!(["ann@example.com"]));
        assert_eq!(document["rejected"][0]["code"], 452);
        assert_eq!(document["recipients"][1]["stage"], "body");
    }
    assert_eq!(sandbox.received().len(), 2);
}

#[tokio::test]
async fn a_silent_server_is_a_time_out() {
    let server = Server::with_fault("stall@greeting").await;
    let run = server.send(&["--timeout", "2"]).await;
    run.assert_failed(69, "connection-timeout", "greeting");
    // In clear, and with time enough for a busy machine to get there.
    let server = Server::with_fault("stall@mail").await;
    let run = server
        .send(&["--timeout", "2", "--encryption", "none", "--no-chunking"])
        .await;
    run.assert_failed(75, "connection-timeout", "mail");
}

#[tokio::test]
async fn some_recipients_refused_is_partial_and_exits_0() {
    let server = Server::with_fault("reply@rcpt:bob@example.com=550 5.1.1 no").await;
    let run = server.send(&["--to", "bob@example.com"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let document = run.json();
    assert_eq!(document["outcome"], "partial");
    assert_eq!(document["accepted"], json!(["ann@example.com"]));
    assert_eq!(document["rejected"][0]["recipient"], "bob@example.com");
    assert_eq!(server.sandbox.received()[0].recipients, ["ann@example.com"]);
}

#[tokio::test]
async fn all_or_nothing_sends_to_nobody_if_one_is_refused() {
    let server = Server::with_fault("reply@rcpt:bob@example.com=550 5.1.1 no").await;
    let run = server
        .send(&["--to", "bob@example.com", "--all-or-nothing"])
        .await;
    run.assert_failed(1, "recipient-refused", "rcpt");
    let document = run.json();
    assert_eq!(document["outcome"], "rejected");
    assert_eq!(document["recipients"][0]["outcome"], "not-sent");
    assert_eq!(document["recipients"][1]["outcome"], "rejected");
    assert!(server.sandbox.received().is_empty());
}

#[tokio::test]
async fn a_port_where_nothing_listens_exits_69() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut arguments = vec!["send", "--server", &url, "--json"];
    arguments.extend(FROM_TO.iter().chain(&HELLO));
    let run = ehlo(&arguments).await;
    run.assert_failed(69, "connection-refused", "connect");
    let document = run.json();
    assert_eq!(document["outcome"], "failed");
    assert_eq!(document["recipients"][0]["outcome"], "not-sent");
    assert_eq!(document["server"]["host"], "127.0.0.1");
}

#[tokio::test]
async fn a_name_without_an_address_is_a_dns_error() {
    let mut arguments = vec!["send", "--host", "no-such-host.invalid", "--json"];
    arguments.extend(FROM_TO.iter().chain(&HELLO));
    let run = ehlo(&arguments).await;
    // 75 where this machine's resolver has nobody to ask.
    assert!([68, 75].contains(&run.code), "{}", run.all());
    run.assert_failed(run.code, "dns", "resolve");
}

#[tokio::test]
async fn a_message_beyond_the_servers_size_is_refused_with_1() {
    let server = Server::start(Options::default().with_size_limit(10)).await;
    let run = server.send(&[]).await;
    assert_eq!(run.code, 1, "{}", run.all());
    assert_eq!(run.json()["error"]["category"], "message-refused");
}

#[tokio::test]
async fn an_address_beyond_ascii_exits_65_alone_and_does_not_keep_the_mail_from_others() {
    let server = Server::start(Options::default()).await;
    let mut alone = server.connection();
    let envelope = ["--from", "jo@example.org", "--to", "jörg@example.com"];
    alone.extend(envelope.iter().chain(&HELLO).map(ToString::to_string));
    let run = ehlo(&alone).await;
    assert_eq!(run.code, 65, "{}", run.all());
    assert_eq!(run.json()["error"]["category"], "usage");

    let run = server.send(&["--to", "jörg@example.com"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let document = run.json();
    assert_eq!(document["outcome"], "partial");
    assert_eq!(document["accepted"], json!(["ann@example.com"]));
    assert_eq!(document["recipients"][1]["outcome"], "not-sent");
}
