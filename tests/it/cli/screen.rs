//! Options, traces, text for people, the sandbox command, and Ctrl-C.

use std::process::Stdio;
use std::time::Duration;

use ehlo::sandbox::{Act, Contents, Fault, Happening, Line, Options, Sandbox, Step};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{FROM_TO, HELLO, Run, Server, command, ehlo, interrupt, text};

#[tokio::test]
async fn a_trace_has_both_sides_with_times() {
    let server = Server::start(Options::default()).await;
    let trace = text(&server.path("trace.txt"));
    let run = server.send(&["--trace", &trace]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let trace = std::fs::read_to_string(&trace).unwrap();
    for wanted in [
        " S: 220 ",
        " C: EHLO ",
        " C: STARTTLS",
        " C: MAIL FROM:<jo@example.org>",
    ] {
        assert!(trace.contains(wanted), "{wanted} is missing: {trace}");
    }
    for line in trace.lines() {
        let (time, _) = line.split_once(' ').unwrap();
        assert!(
            time.starts_with("20") && time.ends_with('Z') && time.len() == 27,
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_trace_to_standard_output_leaves_the_document_alone() {
    let server = Server::start(Options::default()).await;
    let run = server.send(&["--trace", "-"]).await;
    assert_eq!(run.json()["outcome"], "accepted");
    assert!(run.stderr.contains("C: EHLO"), "{}", run.stderr);
}

#[tokio::test]
async fn wrong_use_exits_64_and_prints_no_document() {
    let send = [
        "send",
        "--json",
        "--from",
        "a@example.org",
        "--to",
        "b@example.org",
    ];
    let text = ["--text", "x"];
    for more in [
        &[][..],
        &["--server", "sandbox:", "--no-such-option"],
        &["--server", "lmtp://h:25", "--text", "x"],
        &["--server", "smtp://h:0", "--text", "x"],
        &["--server", "smtp://h", "--host", "h", "--text", "x"],
        &["--host", "h"],
        &["--host", "h", "--text", "x", "--message", "f"],
        &["--host", "h", "--text", "x", "--username", "jo"],
        &[
            "--host",
            "h",
            "--text",
            "x",
            "--password-env",
            "EHLO_TEST_PASSWORD",
        ],
        &[
            "--host",
            "h",
            "--text",
            "x",
            "--username",
            "jo",
            "--password-env",
            "EHLO_UNSET",
        ],
        &[
            "--host",
            "h",
            "--text",
            "x",
            "--username",
            "jo",
            "--password-stdin",
            "--password-env",
            "EHLO_TEST_PASSWORD",
        ],
        &["--host", "h", "--text", "x", "--auth", "NOSUCH"],
        &["--host", "h", "--text", "x", "--timeout", "0"],
        &["--host", "h", "--text", "x", "--helo", "a b"],
        &["--host", "h", "--text", "x", "--pin-sha256", "00"],
        &[
            "--host",
            "h",
            "--text",
            "x",
            "--validate-certificate",
            "maybe",
        ],
        &["--host", "h", "--text", "x", "--source-address", "here"],
        &["--server", "sandbox:", "--username", "jo", "--text", "x"],
        &[
            "--host",
            "127.0.0.1",
            "--text",
            "x",
            "--source-address",
            "::1",
        ],
        &["--host", "a..b", "--text", "x", "--encryption", "tls"],
        &["--host", "a..b", "--message", file!(), "--message", file!()],
        &["--host", "h", "--message", "-", "--message", "-"],
        &["--host", "h", "--text", "x", "--connections", "0"],
        &["--host", "h", "--text", "x", "--token-env", "X"],
    ] {
        let run = ehlo(&[&send[..], more].concat()).await;
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (64, ""),
            "{more:?} {}",
            run.all()
        );
        assert!(!run.stderr.is_empty(), "{more:?}");
    }
    let no_from = ["send", "--host", "h", "--to", "b@example.org"];
    assert_eq!(ehlo(&[&no_from[..], &text].concat()).await.code, 64);
    let no_to = ["send", "--host", "h", "--from", "b@example.org"];
    assert_eq!(ehlo(&[&no_to[..], &text].concat()).await.code, 64);
    assert_eq!(ehlo::<&str>(&[]).await.code, 64);
    assert_eq!(ehlo(&["sandbox", "--fault", "nonsense"]).await.code, 64);
}

#[tokio::test]
async fn a_document_that_cannot_be_written_is_not_lost_in_silence() {
    // A disk that is full is where Linux has one to try.
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        return;
    };
    let server = Server::start(Options::default()).await;
    let mut command = command(&server.arguments(&[]));
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let run = Run::from_output(child.wait_with_output().await.unwrap());
    assert_eq!(run.code, 0, "{}", run.all());
    assert!(run.stderr.contains("output is incomplete"), "{}", run.all());
}

#[tokio::test]
async fn help_and_version_exit_0() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["send", "--help"],
        &["sandbox", "-h"],
    ] {
        let run = ehlo(arguments).await;
        assert_eq!(run.code, 0, "{arguments:?}");
        assert!(
            !run.stdout.is_empty() && run.stderr.is_empty(),
            "{}",
            run.all()
        );
    }
}

#[tokio::test]
async fn the_built_in_server_shows_dialogue_and_message() {
    let run = ehlo(&["send", "--server", "sandbox:"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    for wanted in [
        "S: 220 ",
        "C: EHLO ",
        "C: AUTH PLAIN",
        "Accepted",
        "Stored",
        "It works.",
    ] {
        assert!(
            run.stdout.contains(wanted),
            "{wanted} is missing: {}",
            run.stdout
        );
    }
    assert!(!run.all().contains("sandbox-password"), "{}", run.all());
    assert!(!run.all().contains('\x1b'), "colour without a terminal");

    let run = ehlo(&["send", "--server", "sandbox:", "--json"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(run.json()["server"]["auth"], "PLAIN");
    assert_eq!(run.json()["server"]["tls"]["verified"], true);
    assert_eq!(run.stderr, "");
}

#[tokio::test]
async fn a_failure_says_what_where_who_and_what_next() {
    let server = Server::with_fault("reply@rcpt=550 5.1.1 no such user").await;
    let mut arguments = server.arguments(&[]);
    arguments.retain(|argument| argument != "--json");
    let run = ehlo(&arguments).await;
    assert_eq!(run.code, 1);
    for wanted in ["550 5.1.1 no such user", "rcpt", "at fault", "next step"] {
        assert!(
            run.stderr.contains(wanted),
            "{wanted} is missing: {}",
            run.stderr
        );
    }
    assert!(run.stdout.contains("ann@example.com"), "{}", run.stdout);
}

#[tokio::test]
async fn the_sandbox_command_receives_what_send_sends() {
    let directory = tempfile::tempdir().unwrap();
    let ca = text(&directory.path().join("ca.pem"));
    let listen = [
        "sandbox",
        "--listen",
        "127.0.0.1:0",
        "--require-auth",
        "--write-ca",
        &ca,
    ];
    let mut child = command(&listen).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let url = first
        .split_whitespace()
        .find(|word| word.starts_with("smtp://"))
        .unwrap();
    let url = url.replace("smtp://", "smtp://alice:password@");
    let mut arguments = vec!["send", "--server", &url, "--ca-file", &ca, "--json"];
    arguments.extend(FROM_TO.iter().chain(&HELLO));
    let run = ehlo(&arguments).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let mut seen = String::new();
    while !seen.contains("| It works.") {
        seen.push_str(
            &lines
                .next_line()
                .await
                .unwrap()
                .expect("the message is shown"),
        );
    }
    assert!(
        seen.contains("Stored") && seen.contains("C: MAIL FROM:"),
        "{seen}"
    );
    interrupt(&child).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn ctrl_c_says_what_the_server_has() {
    for (step, outcome) in [(Step::Mail, "not-sent"), (Step::Body, "in-doubt")] {
        let options = Options::default()
            .with_contents(Contents::Keep)
            .with_fault(Fault::at(step, Act::Stall));
        let (sandbox, mut happenings) = Sandbox::start_watched(options).await.unwrap();
        let server = Server::of(sandbox);
        let mut command = command(&server.arguments(&["--no-chunking"]));
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        loop {
            match happenings.recv().await.expect("the server runs") {
                Happening::Stored(_) if step == Step::Body => break,
                Happening::Line {
                    line: Line::Client(line),
                    ..
                } if step == Step::Mail && line.starts_with("MAIL") => break,
                _ => {}
            }
        }
        interrupt(&child).await;
        let run = Run::from_output(child.wait_with_output().await.unwrap());
        assert_eq!(run.code, 75, "{step}: {}", run.all());
        assert_eq!(run.json()["recipients"][0]["outcome"], outcome, "{step}");
    }
}

#[tokio::test]
async fn ctrl_c_before_the_session_is_ready_names_the_stage() {
    let options = Options::default().with_fault(Fault::at(Step::Ehlo, Act::Stall));
    let (sandbox, mut happenings) = Sandbox::start_watched(options).await.unwrap();
    let server = Server::of(sandbox);
    let mut command = command(&server.arguments(&[]));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    loop {
        match happenings.recv().await.expect("the server runs") {
            Happening::Line {
                line: Line::Client(line),
                ..
            } if line.starts_with("EHLO") => break,
            _ => {}
        }
    }
    interrupt(&child).await;
    let run = Run::from_output(child.wait_with_output().await.unwrap());
    run.assert_failed(75, "connection-lost", "ehlo");
    assert!(run.stdout.contains("interrupted"), "{}", run.all());
}

#[tokio::test]
async fn ctrl_c_ends_the_sandbox_even_while_its_output_is_not_read() {
    let mut command = command(&["sandbox", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).await.unwrap();
    let address = first
        .split_once("smtp://")
        .and_then(|(_, rest)| rest.split(' ').next())
        .expect("where it listens");
    // More than a pipe takes is to be shown, once all of it is answered.
    let mut client = TcpStream::connect(address).await.unwrap();
    let (reader, mut writer) = client.split();
    let asked = async {
        let line = format!("NOOP {}\r\n", "x".repeat(400));
        writer
            .write_all(line.repeat(2000).as_bytes())
            .await
            .unwrap();
        writer.write_all(b"QUIT\r\n").await.unwrap();
    };
    let answered = async {
        let mut replies = BufReader::new(reader).lines();
        while let Some(reply) = replies.next_line().await.unwrap() {
            if reply.starts_with("221") {
                break;
            }
        }
    };
    tokio::join!(asked, answered);
    interrupt(&child).await;
    let drained =
        async { while matches!(output.read_until(b'\n', &mut Vec::new()).await, Ok(1..)) {} };
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(drained, child.wait()).1
    });
    let status = ended.await.expect("Ctrl-C is heard").unwrap();
    assert_eq!(status.code(), Some(0));
}
