//! Folders, mboxes, and several connections.

use std::process::Stdio;

use ehlo::sandbox::{Contents, Happening, Options, Sandbox};

use super::{FROM_TO, Run, Server, command, ehlo, interrupt, text};

/// A folder of messages with these names, whose subject is their name.
fn folder(server: &Server, name: &str, files: &[&str]) -> String {
    for file in files {
        let path = server.path(name).join(file);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).unwrap();
        std::fs::write(path, format!("Subject: {file}\n\nText.\n")).unwrap();
    }
    text(&server.path(name))
}

/// The subjects of what arrived, in order.
fn subjects(server: &Server) -> Vec<String> {
    let received = server.sandbox.received();
    let subject = |message: ehlo::sandbox::Received| {
        let text = String::from_utf8(message.content.to_vec()).expect("UTF-8");
        let line = text.lines().next().unwrap_or_default();
        line.strip_prefix("Subject: ").unwrap_or(line).to_owned()
    };
    received.into_iter().map(subject).collect()
}

/// Names without the folder, and outcomes.
fn outcomes(run: &Run) -> Vec<String> {
    let documents = run.documents();
    let one = |document: &serde_json::Value| {
        let name = document["message"].as_str().expect("each has its name");
        let name = name.rsplit('/').next().unwrap_or(name);
        format!("{name} {}", document["outcome"].as_str().expect("a word"))
    };
    documents.iter().map(one).collect()
}

#[tokio::test]
async fn the_files_of_a_folder_are_sent_in_the_order_of_their_names() {
    let server = Server::start(Options::default()).await;
    let files = ["b.eml", "a.eml", "c", ".hidden", "inner/d.eml"];
    let folder = folder(&server, "letters", &files);
    let run = server.send_files(&[&folder], &[]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let expected = ["a.eml accepted", "b.eml accepted", "c accepted"];
    assert_eq!(outcomes(&run), expected);
    assert_eq!(subjects(&server), ["a.eml", "b.eml", "c"]);
    assert_eq!(server.sandbox.counters().connections, 1);
    assert_eq!(run.stderr, "");
}

#[tokio::test]
async fn of_a_maildir_the_new_and_the_read_messages_are_sent() {
    let server = Server::start(Options::default()).await;
    let files = ["new/2", "new/1", "cur/0:2,S", "tmp/3"];
    let folder = folder(&server, "mail", &files);
    let run = server.send_files(&[&folder], &[]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    assert_eq!(subjects(&server), ["new/1", "new/2", "cur/0:2,S"]);
}

#[tokio::test]
async fn the_messages_of_an_mbox_are_sent_one_by_one() {
    let server = Server::start(Options::default()).await;
    let mbox = "From jo Thu Jan  1 00:00:00 1970\nSubject: one\nContent-Length: 999\n\n>From x\n\n\
                From jo Thu Jan  1 00:00:00 1970\nSubject: two\n\n>>From y\n\n";
    let mbox = server.file("inbox", mbox);
    let single = server.file("single.eml", "Subject: three\n\nx\n");
    let run = server.send_files(&[&mbox, &single], &[]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let expected = [
        "inbox#1 accepted",
        "inbox#2 accepted",
        "single.eml accepted",
    ];
    assert_eq!(outcomes(&run), expected);
    let received = server.sandbox.received();
    assert_eq!(
        received[0].content,
        "Subject: one\r\nContent-Length: 999\r\n\r\nFrom x\r\n"
    );
    assert_eq!(received[1].content, "Subject: two\r\n\r\n>From y\r\n");
    assert_eq!(subjects(&server)[2], "three");
}

#[tokio::test]
async fn many_messages_take_as_many_connections_as_were_asked_for() {
    for connections in ["1", "3"] {
        let server = Server::with_fault("delay@body=0.01").await;
        let files: Vec<String> = (0..120).map(|number| format!("{number:03}")).collect();
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        let folder = folder(&server, "letters", &names);
        let run = server
            .send_files(&[&folder], &["--connections", connections])
            .await;
        assert_eq!(run.code, 0, "{}", run.all());
        assert_eq!(run.documents().len(), 120);
        let mut arrived = subjects(&server);
        arrived.sort();
        assert_eq!(arrived, files);
        let counted = server.sandbox.counters().connections;
        assert_eq!(counted.to_string(), connections);
    }
}

#[tokio::test]
async fn what_becomes_of_one_is_not_what_becomes_of_another() {
    let options = Options::default()
        .with_fault("reply@body#2=554 5.6.0 no".parse().unwrap())
        .with_fault("close@body#4".parse().unwrap())
        .with_fault("reply@mail#6=451 4.3.0 not now".parse().unwrap());
    let server = Server::start(options).await;
    let folder = folder(&server, "letters", &["1", "2", "3", "4", "5", "6", "7"]);
    let more = ["--no-chunking", "--no-pipelining"];
    let run = server.send_files(&[&folder], &more).await;
    assert_eq!(run.code, 75, "{}", run.all());
    let mut outcomes = outcomes(&run);
    outcomes.sort();
    assert_eq!(outcomes[1..4], ["2 rejected", "3 accepted", "4 in-doubt"]);
    let accepted = outcomes.iter().filter(|text| text.ends_with("accepted"));
    assert_eq!(accepted.count(), 4, "{outcomes:?}");
    // What is in doubt was not sent a second time.
    assert_eq!(
        subjects(&server).iter().filter(|name| *name == "4").count(),
        1
    );
}

#[tokio::test]
async fn large_files_are_streamed_among_the_others() {
    let server = Server::start(Options::default()).await;
    let path = folder(&server, "letters", &["a", "c", "e"]);
    for name in ["b", "d"] {
        let text = format!(
            "Subject: {name}\n\n{}",
            "A line of a long text.\n".repeat(60_000)
        );
        std::fs::write(server.path("letters").join(name), text).unwrap();
    }
    let run = server.send_files(&[&path], &["--connections", "2"]).await;
    assert_eq!(run.code, 0, "{}", run.all());
    let mut arrived = subjects(&server);
    arrived.sort();
    assert_eq!(arrived, ["a", "b", "c", "d", "e"]);
    assert_eq!(run.documents().len(), 5);
}

#[tokio::test]
async fn a_run_for_people_ends_with_a_sum() {
    let server = Server::with_fault("reply@body#2=554 5.6.0 no").await;
    let folder = folder(&server, "letters", &["a", "b", "c"]);
    let mut arguments = server.connection();
    arguments.retain(|argument| argument != "--json");
    arguments.extend(FROM_TO.map(String::from));
    arguments.extend(["--message".to_owned(), folder]);
    let run = ehlo(&arguments).await;
    assert_eq!(run.code, 1, "{}", run.all());
    let last = run.stdout.lines().last().unwrap_or_default();
    assert!(last.starts_with("3 messages in "), "{}", run.all());
    assert!(last.ends_with(": 2 accepted, 1 refused"), "{}", run.all());
    assert!(!run.all().contains('\r'), "{}", run.all());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_once_for_a_whole_folder() {
    let server = Server::with_fault("reply@greeting=554 no service").await;
    let files: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let folder = folder(&server, "letters", &names);
    let run = server.send_files(&[&folder], &["--connections", "4"]).await;
    assert_eq!(run.code, 69, "{}", run.all());
    let failed: Vec<String> = files.iter().map(|name| format!("{name} failed")).collect();
    assert_eq!(outcomes(&run), failed);
    assert_eq!(server.sandbox.counters().connections, 1);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_for_a_whole_folder() {
    let server = Server::start(Options::default()).await;
    let files: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let folder = folder(&server, "letters", &names);
    let password = server.file("password", "wrong");
    let login = ["--username", "alice", "--password-file", &password];
    let more = [&login[..], &["--connections", "4"]].concat();
    let run = server.send_files(&[&folder], &more).await;
    assert_eq!(run.code, 77, "{}", run.all());
    assert_eq!(run.documents().len(), 50);
    assert_eq!(server.sandbox.counters().connections, 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_none_of_the_others_business() {
    // Whoever may read everything cannot read this.
    let unreadable = std::path::Path::new("/proc/self/mem");
    if !unreadable.exists() {
        return;
    }
    let server = Server::start(Options::default()).await;
    let folder = folder(&server, "letters", &["a", "c", "d"]);
    std::os::unix::fs::symlink(unreadable, server.path("letters/b")).unwrap();
    std::os::unix::fs::symlink("nowhere", server.path("letters/dangling")).unwrap();
    let run = server.send_files(&[&folder], &[]).await;
    assert_eq!(run.code, 66, "{}", run.all());
    assert_eq!(outcomes(&run), ["a accepted", "c accepted", "d accepted"]);
    assert!(run.stderr.contains("letters/b"), "{}", run.stderr);
    assert_eq!(subjects(&server), ["a", "c", "d"]);
}

/// A run of these files over which the server says nothing any more at the message of this number.
async fn stuck(count: usize, size: usize, at: usize) -> (Server, tokio::process::Child) {
    let options = Options::default()
        .with_contents(Contents::Discard)
        .with_fault(format!("stall@body#{at}").parse().unwrap());
    let (sandbox, mut happenings) = Sandbox::start_watched(options).await.unwrap();
    let server = Server::of(sandbox);
    std::fs::create_dir(server.path("letters")).unwrap();
    let text = "A line of a text that is not short.\r\n".repeat(size / 37);
    for number in 0..count {
        let path = server.path("letters").join(format!("{number:04}"));
        std::fs::write(path, format!("Subject: {number}\r\n\r\n{text}")).unwrap();
    }
    let mut arguments = server.connection();
    arguments.extend(FROM_TO.map(String::from));
    let folder = super::text(&server.path("letters"));
    arguments.extend(["--message", &folder, "--no-chunking"].map(String::from));
    let mut command = command(&arguments);
    // Into a file: a pipe that nobody reads would stop it.
    let output = std::fs::File::create(server.path("output")).unwrap();
    let child = command.stdout(output).stderr(Stdio::piped()).spawn();
    let child = child.unwrap();
    let mut stored = 0;
    while stored < at {
        if let Happening::Stored(_) = happenings.recv().await.expect("the server runs") {
            stored += 1;
        }
    }
    (server, child)
}

/// What it says when it is stopped.
async fn interrupted(server: &Server, child: tokio::process::Child) -> Run {
    interrupt(&child).await;
    let mut output = child.wait_with_output().await.unwrap();
    output.stdout = std::fs::read(server.path("output")).unwrap();
    Run::from_output(output)
}

#[tokio::test]
async fn ctrl_c_in_the_middle_of_a_run_says_what_became_of_each_message() {
    let (server, child) = stuck(40, 100, 3).await;
    let run = interrupted(&server, child).await;
    assert_eq!(run.code, 75, "{}", run.all());
    let mut outcomes = outcomes(&run);
    outcomes.sort();
    assert_eq!(
        outcomes[..3],
        ["0000 accepted", "0001 accepted", "0002 in-doubt"]
    );
    let failed: Vec<_> = (3..40)
        .map(|number| format!("{number:04} failed"))
        .collect();
    assert_eq!(outcomes[3..], failed);
    assert_eq!(server.sandbox.counters().messages, 3);
}

/// 75 MB of messages.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_run_has_few_of_its_messages_in_memory_at_a_time() {
    let (server, child) = stuck(600, 125_000, 560).await;
    let id = child.id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak
        .and_then(|peak| peak.trim().strip_suffix(" kB"))
        .unwrap();
    let peak: u64 = peak.parse().unwrap();
    assert!(peak < 45_000, "{peak} KiB");
    let run = interrupted(&server, child).await;
    assert_eq!(run.documents().len(), 600);
}
