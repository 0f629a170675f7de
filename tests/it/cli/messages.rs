//! Messages from files, from standard input, and several at a time.

use std::process::Stdio;
use std::time::Duration;

use ehlo::sandbox::{Extension, Happening, Options, Sandbox, Violation};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::{FROM_TO, Run, Server, command, ehlo, interrupt, text};

#[tokio::test]
async fn a_message_file_arrives_octet_for_octet() {
    let server = Server::start(Options::default()).await;
    let message = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\xc3\xa9\r\n";
    let file = server.file("message.eml", message);
    let run = server.send_files(&[&file], &["--envelope-from", ""]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let received = server.sandbox.received();
    assert_eq!(received[0].content.as_ref(), message);
    assert_eq!(received[0].reverse_path, "");
}

#[tokio::test]
async fn a_message_comes_from_standard_input_too() {
    let server = Server::start(Options::default()).await;
    let mut arguments = server.connection();
    arguments.extend(
        FROM_TO
            .iter()
            .chain(&["--message", "-"])
            .map(ToString::to_string),
    );
    let mut command = command(&arguments);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Subject: x\n\nbare\n").await.unwrap();
    drop(stdin);
    let run = Run::from_output(child.wait_with_output().await.unwrap());
    assert_eq!(run.code, 0, "{}", run.all());
    let received = server.sandbox.received();
    assert_eq!(received[0].content.as_ref(), b"Subject: x\r\n\r\nbare\r\n");
}

#[tokio::test]
async fn a_message_comes_from_a_named_pipe_which_can_be_opened_only_once() {
    let server = Server::start(Options::default()).await;
    let pipe = server.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let message = "Subject: x\r\n\r\nx\r\n";
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::write(pipe, message))
    };
    let run = server.send_files(&[&text(&pipe)], &[]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    writer.join().unwrap().unwrap();
    assert_eq!(server.sandbox.received()[0].content, message);
}

#[tokio::test]
async fn ctrl_c_ends_the_wait_for_a_message_from_standard_input() {
    let (sandbox, mut happenings) = Sandbox::start_watched(Options::default()).await.unwrap();
    let server = Server::of(sandbox);
    let file = server.file("message.eml", "Subject: x\r\n\r\nx\r\n");
    let mut arguments = server.connection();
    let messages = ["--message", &file, "--message", "-"];
    arguments.extend(FROM_TO.iter().chain(&messages).map(ToString::to_string));
    let mut command = command(&arguments);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take();
    while !matches!(happenings.recv().await, Some(Happening::Stored(_))) {}
    interrupt(&child).await;
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
    let run = Run::from_output(output.expect("Ctrl-C is heard").unwrap());
    assert_eq!(run.code, 75, "{}", run.all());
    let mut outcomes: Vec<_> = run.documents().iter().map(named_outcome).collect();
    outcomes.sort();
    assert_eq!(
        outcomes,
        ["- failed".to_owned(), format!("{file} accepted")]
    );
    drop(stdin);
}

#[tokio::test]
async fn a_large_file_is_streamed_and_normalised() {
    let server = Server::start(Options::default()).await;
    let lines = ".a line that begins with a dot\n".repeat(100_000);
    let message = format!("Subject: large\n\n{lines}");
    let file = server.file("large.eml", &message);
    let run = server.send_files(&[&file], &[]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let received = server.sandbox.received();
    assert!(
        received[0].content == message.replace('\n', "\r\n"),
        "the content differs"
    );

    let run = server
        .send_files(&[&file], &["--bare-newlines", "reject"])
        .await;
    run.assert_failed(65, "usage", "body");
}

#[tokio::test]
async fn text_with_a_nul_arrives_the_same_from_a_small_file_and_a_large_one() {
    let options = Options::default().with_extension(Extension::BinaryMime);
    let server = Server::start(options).await;
    for lines in [10, 100_000] {
        let text = format!("Subject: nul\n\n{}\0", "0123456789abcde\n".repeat(lines));
        let file = server.file("nul.eml", &text);
        let run = server.send_files(&[&file], &[]).await;
        assert_eq!(run.code, 0, "{}", run.all());
        let received = server.sandbox.received().pop().expect("it was accepted");
        let expected = text.replace('\n', "\r\n") + "\r\n";
        assert!(received.content == expected.as_bytes());
        let size = ("SIZE".to_owned(), Some(expected.len().to_string()));
        assert!(received.parameters.contains(&size));
    }
}

#[tokio::test]
async fn the_verdict_on_a_large_file_does_not_wait_for_the_good_bye() {
    let server = Server::with_fault("stall@quit").await;
    let file = server.file("large.eml", "Subject: large\r\n".repeat(100_000));
    let run = server
        .send_files(&[&file], &["--timeout", "3", "--encryption", "none"])
        .await;
    assert_eq!(run.code, 0, "{}", run.all());
    let elapsed = run.json()["elapsed_ms"].as_f64().expect("milliseconds");
    assert!(elapsed < 3000.0, "{elapsed} ms");
}

#[tokio::test]
async fn several_messages_go_over_one_connection_with_a_document_each() {
    let options = Options::default().with_fault("reply@body#2=554 5.6.0 no".parse().unwrap());
    let server = Server::start(options).await;
    let files = ["a", "b", "c"].map(|name| {
        server.file(
            &format!("{name}.eml"),
            format!("Subject: {name}\r\n\r\n{name}\r\n"),
        )
    });
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let run = server.send_files(&names, &[]).await;
    assert_eq!(run.code, 1, "{}", run.all());
    let documents = run.documents();
    let found: Vec<_> = documents
        .iter()
        .map(|d| (&d["message"], &d["outcome"]))
        .collect();
    let outcomes = ["accepted", "rejected", "accepted"].map(Value::from);
    let names = files.map(Value::from);
    assert_eq!(found, names.iter().zip(&outcomes).collect::<Vec<_>>());
    assert_eq!(server.sandbox.counters().connections, 1);
    assert_eq!(server.sandbox.received().len(), 2);
}

#[tokio::test]
async fn messages_that_were_not_begun_go_by_a_new_connection() {
    let server = Server::with_fault("close@mail#3").await;
    let files: Vec<String> = (0..5)
        .map(|n| server.file(&format!("{n}.eml"), format!("Subject: {n}\r\n\r\n{n}\r\n")))
        .collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let run = server.send_files(&names, &["--no-chunking"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(run.documents().len(), 5);
    assert_eq!(server.sandbox.received().len(), 5);
    assert_eq!(server.sandbox.counters().connections, 2);
}

#[tokio::test]
async fn a_server_that_closes_with_421_after_some_messages_gets_the_rest_by_a_new_connection() {
    let server = Server::with_fault("shutdown@mail#3").await;
    let files: Vec<String> = (0..5)
        .map(|n| server.file(&format!("{n}.eml"), format!("Subject: {n}\r\n\r\n{n}\r\n")))
        .collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let run = server.send_files(&names, &[]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(server.sandbox.received().len(), 5);
    assert_eq!(server.sandbox.counters().connections, 2);

    // One that takes nothing is not asked for ever.
    let server = Server::with_fault("shutdown@mail").await;
    let files = ["a", "b"].map(|name| server.file(name, "Subject: x\r\n\r\nx\r\n"));
    let run = server.send_files(&[&files[0], &files[1]], &[]).await;
    assert_eq!(run.code, 75, "{}", run.all());
    assert_eq!(run.documents().len(), 2);
}

#[tokio::test]
async fn one_malformed_message_among_several_does_not_stop_the_others() {
    let server = Server::start(Options::default()).await;
    let good = server.file("good.eml", "Subject: x\r\n\r\nx\r\n");
    let bad = server.file("bad.eml", "Subject: x\n\nx\n");
    let more = ["--bare-newlines", "reject"];
    let run = server.send_files(&[&bad, &good], &more).await;
    assert_eq!(run.code, 65, "{}", run.all());
    let outcomes: Vec<_> = run
        .documents()
        .iter()
        .map(|d| d["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["failed", "accepted"]);
    assert_eq!(server.sandbox.received().len(), 1);
}

#[tokio::test]
async fn what_is_malformed_exits_65_with_a_document_and_is_never_sent() {
    let server = Server::start(Options::default()).await;
    for (more, stage) in [
        (&["--to", "not an address"][..], "rcpt"),
        (
            &["--to", "bob@example.com>\r\nRCPT TO:<x@example.com"],
            "rcpt",
        ),
        (&["--envelope-from", "a@b c"], "mail"),
    ] {
        let run = server.send(more).await;
        run.assert_failed(65, "usage", stage);
        assert_eq!(run.json()["recipients"][0]["outcome"], "not-sent");
    }
    let mut arguments = server.connection();
    let injected = ["--subject", "Hello\r\nBcc: x@example.com", "--text", "x"];
    arguments.extend(FROM_TO.iter().chain(&injected).map(ToString::to_string));
    ehlo(&arguments).await.assert_failed(65, "usage", "body");

    let bare = server.file("bare.eml", "Subject: x\r\n\r\nbare\nline\r\n");
    let run = server
        .send_files(&[&bare], &["--bare-newlines", "reject"])
        .await;
    run.assert_failed(65, "usage", "body");
    let long = server.file(
        "long.eml",
        format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(999)),
    );
    let run = server
        .send_files(&[&long], &["--long-lines", "reject"])
        .await;
    run.assert_failed(65, "usage", "body");
    assert_eq!(server.sandbox.counters().connections, 0);
}

#[tokio::test]
async fn long_lines_are_sent_with_a_warning() {
    let server = Server::start(Options::default()).await;
    server.sandbox.expect(Violation::LongLine { octets: 1001 });
    let long = server.file(
        "long.eml",
        format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(999)),
    );
    let run = server.send_files(&[&long], &[]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(run.stderr.contains("999 octets"), "{}", run.stderr);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_exits_66_before_anything_is_sent() {
    let server = Server::start(Options::default()).await;
    let good = server.file("good.eml", "Subject: x\r\n\r\nx\r\n");
    let missing = text(&server.path("missing"));
    let directory = text(&server.path("empty"));
    std::fs::create_dir_all(server.path("empty/folder")).unwrap();
    std::fs::write(server.path("empty/.hidden"), "Subject: x\r\n\r\nx\r\n").unwrap();
    let run = server.send_files(&[&good, &missing], &[]).await;
    assert_eq!((run.code, run.stdout.as_str()), (66, ""), "{}", run.all());
    assert!(run.stderr.contains(&missing), "{}", run.stderr);
    assert_eq!(server.send_files(&[&directory], &[]).await.code, 66);
    for more in [
        &["--attach", missing.as_str()][..],
        &["--ca-file", &missing],
        &["--username", "jo", "--password-file", &missing],
    ] {
        let mut arguments = server.arguments(more);
        if more[0] == "--ca-file" {
            arguments.drain(3..5);
        }
        let run = ehlo(&arguments).await;
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (66, ""),
            "{more:?} {}",
            run.all()
        );
    }
    assert_eq!(server.sandbox.counters().connections, 0);
}

#[tokio::test]
async fn each_of_several_has_a_document_even_where_nothing_could_be_sent() {
    let server = Server::start(Options::default()).await;
    let files = ["a", "b"].map(|name| server.file(name, "Subject: x\r\n\r\nx\r\n"));
    let [a, b] = files.each_ref().map(String::as_str);
    let run = server
        .send_files(&[a, b], &["--to", "not an address"])
        .await;
    assert_eq!(run.code, 65, "{}", run.all());
    let names: Vec<_> = run
        .documents()
        .iter()
        .map(|d| d["message"].clone())
        .collect();
    assert_eq!(names, [a, b]);

    let refusing = Server::with_fault("reply@greeting=554 no service").await;
    let run = refusing.send_files(&[a, b], &[]).await;
    assert_eq!(run.code, 69, "{}", run.all());
    let outcomes: Vec<_> = run
        .documents()
        .iter()
        .map(|d| d["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["failed", "failed"]);
    assert_eq!(refusing.sandbox.counters().connections, 1);
}

/// The name and the outcome of a document, as one text.
fn named_outcome(document: &Value) -> String {
    let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
    format!("{} {}", text("message"), text("outcome"))
}
