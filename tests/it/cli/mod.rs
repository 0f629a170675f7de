//! The `ehlo` program, run as a program: exit codes, JSON documents, and what must never be printed.

mod check;
mod conformance;
mod documents;
mod extensions;
mod faults;
mod login;
mod many;
mod messages;
mod protection;
mod screen;
mod settings;
mod ways;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use ehlo::sandbox::{Options, Sandbox};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::strict::Strict;

const SECRET: &str = "s3cr3t-pa55";
const FROM_TO: [&str; 4] = ["--from", "jo@example.org", "--to", "ann@example.com"];
const HELLO: [&str; 4] = ["--subject", "Hello", "--text", "It works."];

/// What a run of the program left.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    fn from_output(output: Output) -> Self {
        Self {
            code: output.status.code().expect("an exit code, not a signal"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on standard output"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on standard error"),
        }
    }

    /// The one JSON document on standard output.
    #[track_caller]
    fn json(&self) -> Value {
        match self.documents().as_slice() {
            [document] => document.clone(),
            documents => panic!("{} documents: {}", documents.len(), self.all()),
        }
    }

    #[track_caller]
    fn documents(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", self.all()));
        self.stdout.lines().map(parse).collect()
    }

    /// The code, and category and stage of the document's error.
    #[track_caller]
    fn assert_failed(&self, code: i32, category: &str, stage: &str) {
        let document = self.json();
        let error = &document["error"];
        let found = (
            self.code,
            error["category"].as_str(),
            error["stage"].as_str(),
        );
        assert_eq!(found, (code, Some(category), Some(stage)), "{}", self.all());
        for field in ["message", "hint"] {
            assert!(
                !error[field].as_str().unwrap().is_empty(),
                "no {field}: {error}"
            );
        }
    }

    fn all(&self) -> String {
        format!("exit {}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

fn command<S: AsRef<str>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ehlo"));
    command
        .args(arguments.iter().map(AsRef::as_ref))
        .env("EHLO_TEST_PASSWORD", SECRET)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn finished(mut command: Command) -> Run {
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    Run::from_output(
        output
            .expect("the program hangs")
            .expect("the program runs"),
    )
}

async fn ehlo<S: AsRef<str>>(arguments: &[S]) -> Run {
    finished(command(arguments)).await
}

/// A server, and the options that reach it.
struct Server {
    sandbox: Strict,
    directory: TempDir,
}

impl Server {
    async fn start(options: Options) -> Self {
        let sandbox = Sandbox::start(options).await.expect("a sandbox");
        Self::of(sandbox)
    }

    fn of(sandbox: Sandbox) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), sandbox.certificate_pem()).unwrap();
        Self {
            sandbox: Strict::of(sandbox),
            directory,
        }
    }

    /// With one fault, written as for `ehlo sandbox`.
    async fn with_fault(fault: &str) -> Self {
        Self::start(Options::default().with_fault(fault.parse().unwrap())).await
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.sandbox.address())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        text(&self.path(name))
    }

    /// `send` to this server by STARTTLS, without sender, recipient and message.
    fn connection(&self) -> Vec<String> {
        let url = self.url("smtp");
        let ca = text(&self.path("ca.pem"));
        let arguments = ["send", "--server", &url, "--ca-file", &ca, "--json"];
        arguments.map(String::from).to_vec()
    }

    /// The arguments of a whole command, and more.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let mut arguments = self.connection();
        arguments.extend(
            FROM_TO
                .iter()
                .chain(&HELLO)
                .chain(more)
                .map(ToString::to_string),
        );
        arguments
    }

    async fn send(&self, more: &[&str]) -> Run {
        ehlo(&self.arguments(more)).await
    }

    /// Sends files instead of a composed message.
    async fn send_files(&self, files: &[&str], more: &[&str]) -> Run {
        let mut arguments = self.connection();
        arguments.extend(FROM_TO.iter().chain(more).map(ToString::to_string));
        for file in files {
            arguments.extend(["--message".to_owned(), (*file).to_owned()]);
        }
        ehlo(&arguments).await
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

/// Presses Ctrl-C.
async fn interrupt(child: &Child) {
    let id = child.id().expect("it runs").to_string();
    let status = Command::new("kill")
        .args(["-INT", &id])
        .status()
        .await
        .unwrap();
    assert!(status.success());
}
