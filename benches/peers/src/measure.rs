//! Runs clients as processes of their own, each with a server of its own, and counts.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::sink::{Options, Tickets};
use crate::work::{Failure, HOST, Job, SENDER, Task, Wire};

/// What one run came to.
pub struct Run {
    /// What the client printed: mostly its seconds and its peak of memory in KiB.
    pub printed: Vec<f64>,
    /// Connections that the server saw.
    pub connections: f64,
    /// The round trips of one connection, where the line has a delay.
    pub round_trips: f64,
}

/// What is to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Instructions,
    Syscalls,
}

/// The line to the server.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    pub tickets: Tickets,
    pub delay: Duration,
}

impl Server {
    pub const NEAR: Self = Self {
        tickets: Tickets::Given,
        delay: Duration::ZERO,
    };

    pub const NO_TICKETS: Self = Self {
        tickets: Tickets::Refused,
        delay: Duration::ZERO,
    };

    pub const fn far(delay: Duration) -> Self {
        Self {
            tickets: Tickets::Given,
            delay,
        }
    }
}

/// A client at its work.
pub async fn timed(job: &Job, server: Server) -> Result<Run, Failure> {
    let sink = Sink::start(job.wire, server).await?;
    let arguments = sink.job(job).arguments();
    let mut command = match job.task {
        Task::Idle => with_many_files()?,
        Task::Messages | Task::Sessions => Command::new(std::env::current_exe()?),
    };
    let printed = output(command.args(arguments)).await?.0;
    let (connections, round_trips) = sink.finish().await?;
    Ok(Run {
        printed: numbers(&printed)?,
        connections,
        round_trips,
    })
}

/// What a client needs for its work; nothing where the tool is not installed.
pub async fn count(what: Count, job: &Job, server: Server) -> Option<f64> {
    let sink = Sink::start(job.wire, server).await.ok()?;
    counted(what, &sink.job(job).arguments()).await
}

/// The same of this program with any arguments.
pub async fn counted(what: Count, arguments: &[String]) -> Option<f64> {
    let mut command = match what {
        Count::Instructions => {
            let mut command = Command::new("valgrind");
            command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
            command
        }
        Count::Syscalls => {
            let mut command = Command::new("strace");
            command.args(["-f", "-c", "-U", "calls,name"]);
            command
        }
    };
    command.arg(std::env::current_exe().ok()?).args(arguments);
    let (_, text) = output(&mut command).await.ok()?;
    match what {
        Count::Instructions => {
            let line = text.lines().find(|line| line.contains("Collected"))?;
            line.rsplit(' ').next()?.parse().ok()
        }
        Count::Syscalls => {
            let line = text.lines().find(|line| line.ends_with(" total"))?;
            line.split_whitespace().next()?.parse().ok()
        }
    }
}

/// This program with these arguments: the numbers that it prints.
pub async fn printed(arguments: &[String]) -> Result<Vec<f64>, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    numbers(&output(command.args(arguments)).await?.0)
}

/// Postfix's client, where it is installed: seconds.
pub async fn smtp_source(job: &Job) -> Option<f64> {
    let sink = Sink::start(Wire::Clear, Server::NEAR).await.ok()?;
    let begun = Instant::now();
    let mut command = Command::new("smtp-source");
    command
        .args(["-d", "-s", &job.connections.to_string()])
        .args(["-m", &job.messages.to_string()])
        .args(["-r", &job.recipients.to_string()])
        .args(["-l", &job.size.to_string()])
        .args(["-f", SENDER, "-t", "recipient@example.org"])
        .arg(format!("{HOST}:{}", sink.port));
    output(&mut command).await.ok()?;
    Some(begun.elapsed().as_secs_f64())
}

/// Whether a tool can be run.
pub async fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().await.is_ok()
}

/// Standard output and standard error of a process that has succeeded.
async fn output(command: &mut Command) -> Result<(String, String), Failure> {
    let output = command.kill_on_drop(true).stdin(Stdio::null()).output();
    let output = timeout(PATIENCE, output).await??;
    let error = String::from_utf8(output.stderr)?;
    match output.status.success() {
        true => Ok((String::from_utf8(output.stdout)?, error)),
        false => Err(error.into()),
    }
}

fn numbers(text: &str) -> Result<Vec<f64>, Failure> {
    let words = text.split_whitespace();
    Ok(words.map(str::parse).collect::<Result<_, _>>()?)
}

/// This program, with as many open files as the system lets it have.
fn with_many_files() -> Result<Command, Failure> {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe()?);
    Ok(command)
}

/// A server in a process of its own; none where the client needs none.
struct Sink {
    process: Option<(Child, BufReader<ChildStdout>)>,
    port: u16,
    ca_file: PathBuf,
}

impl Sink {
    async fn start(wire: Wire, server: Server) -> Result<Self, Failure> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("peers-{}-{number}.pem", std::process::id());
        let mut sink = Self {
            process: None,
            port: 0,
            ca_file: std::env::temp_dir().join(name),
        };
        if wire == Wire::Swallow {
            return Ok(sink);
        }
        let options = Options {
            wire,
            ca_file: sink.ca_file.to_string_lossy().into_owned(),
            tickets: server.tickets,
            delay: server.delay,
        };
        let mut process = with_many_files()?
            .arg("serve")
            .args(options.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or("the sink has an output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).await?;
        sink.port = line.trim().parse()?;
        sink.process = Some((process, output));
        Ok(sink)
    }

    fn job(&self, job: &Job) -> Job {
        let mut job = job.clone();
        job.port = self.port;
        if job.wire.is_secure() {
            job.ca_file = Some(self.ca_file.to_string_lossy().into_owned());
        }
        job
    }

    /// Ends it: how many connections there were, and the round trips of the longest.
    async fn finish(mut self) -> Result<(f64, f64), Failure> {
        let Some((mut process, mut output)) = self.process.take() else {
            return Ok((0.0, 0.0));
        };
        drop(process.stdin.take());
        let mut text = String::new();
        output.read_to_string(&mut text).await?;
        process.wait().await?;
        match numbers(&text)?.as_slice() {
            [connections, round_trips] => Ok((*connections, *round_trips)),
            _ => Err("the sink says what it saw".into()),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Only one that speaks TLS has written it.
        let _ = std::fs::remove_file(&self.ca_file);
    }
}

const PATIENCE: Duration = Duration::from_secs(300);
