//! Runs the clients in turns, and prints what they took.

use std::error::Error;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::work::{Job, Peer, SENDER};

type Failure = Box<dyn Error + Send + Sync>;

/// One table.
struct Scenario {
    name: &'static str,
    title: &'static str,
    tls: bool,
    connections: usize,
    size: usize,
    recipients: usize,
    sessions: bool,
    /// Of a client that does not stall.
    messages: usize,
    peers: &'static [Peer],
}

const AWAITED: [Peer; 8] = [
    Peer::Lettre,
    Peer::LettreNodelay,
    Peer::MailSend,
    Peer::MailSendNodelay,
    Peer::MailSendByHand,
    Peer::AsyncSmtp,
    Peer::EhloAwaitedData,
    Peer::EhloAwaited,
];

const ALL: [Peer; 10] = [
    Peer::Lettre,
    Peer::LettreNodelay,
    Peer::MailSend,
    Peer::MailSendNodelay,
    Peer::MailSendByHand,
    Peer::AsyncSmtp,
    Peer::EhloAwaitedData,
    Peer::EhloStreamData,
    Peer::EhloAwaited,
    Peer::EhloStream,
];

/// lettre takes no TLS stream of a caller's own.
const OVER_TLS: [Peer; 9] = [
    Peer::Lettre,
    Peer::MailSend,
    Peer::MailSendNodelay,
    Peer::MailSendByHand,
    Peer::AsyncSmtp,
    Peer::EhloAwaitedData,
    Peer::EhloStreamData,
    Peer::EhloAwaited,
    Peer::EhloStream,
];

const LARGE: [Peer; 7] = [
    Peer::Lettre,
    Peer::MailSend,
    Peer::MailSendByHand,
    Peer::AsyncSmtp,
    Peer::EhloAwaitedData,
    Peer::EhloAwaited,
    Peer::EhloReader,
];

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "one",
        title: "1 KiB, one connection",
        tls: false,
        connections: 1,
        size: 1024,
        recipients: 1,
        sessions: false,
        messages: 10_000,
        peers: &ALL,
    },
    Scenario {
        name: "sixteen",
        title: "1 KiB, 16 connections",
        tls: false,
        connections: 16,
        size: 1024,
        recipients: 1,
        sessions: false,
        messages: 16_000,
        peers: &ALL,
    },
    Scenario {
        name: "recipients",
        title: "1 KiB to 50 recipients, one connection",
        tls: false,
        connections: 1,
        size: 1024,
        recipients: 50,
        sessions: false,
        messages: 1_000,
        peers: &ALL,
    },
    Scenario {
        name: "tls",
        title: "1 KiB, one connection, TLS",
        tls: true,
        connections: 1,
        size: 1024,
        recipients: 1,
        sessions: false,
        messages: 10_000,
        peers: &OVER_TLS,
    },
    Scenario {
        name: "large",
        title: "one message of 100 MiB",
        tls: false,
        connections: 1,
        size: 100 << 20,
        recipients: 1,
        sessions: false,
        messages: 1,
        peers: &LARGE,
    },
    Scenario {
        name: "large-tls",
        title: "one message of 100 MiB, TLS",
        tls: true,
        connections: 1,
        size: 100 << 20,
        recipients: 1,
        sessions: false,
        messages: 1,
        peers: &LARGE,
    },
    Scenario {
        name: "sessions",
        title: "a connection for each message of 1 KiB, TLS",
        tls: true,
        connections: 1,
        size: 1024,
        recipients: 1,
        sessions: true,
        messages: 300,
        peers: &AWAITED,
    },
];

/// What was measured of one client.
struct Row {
    peer: String,
    ours: bool,
    /// Messages (or MB) a second.
    rate: f64,
    peak_kib: u64,
    /// A message, or an octet of a large one.
    instructions: Option<f64>,
    syscalls: Option<f64>,
}

/// Prints the tables: `[SCENARIO…] [--rounds N] [--only-time true]`.
pub async fn print(arguments: &[String]) -> Result<(), Failure> {
    let mut rounds = 5;
    let mut counted = true;
    let mut wanted = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().ok_or("--rounds N")?.parse()?,
            "--only-time" => counted = arguments.next().is_none_or(|value| value != "true"),
            name => wanted.push(name.to_owned()),
        }
    }
    for scenario in &SCENARIOS {
        if wanted.is_empty() || wanted.iter().any(|name| name == scenario.name) {
            scenario.print(rounds, counted).await?;
        }
    }
    Ok(())
}

impl Scenario {
    async fn print(&self, rounds: usize, counted: bool) -> Result<(), Failure> {
        let (mut sink, port, ca_file) = self.start_sink().await?;
        let peers: Vec<Peer> = self
            .peers
            .iter()
            .copied()
            .filter(|peer| !(self.tls && *peer == Peer::LettreNodelay))
            .collect();
        let job = |peer: Peer| Job {
            peer,
            port,
            ca_file: ca_file.clone(),
            connections: self.connections,
            messages: self.messages_of(peer),
            size: self.size,
            recipients: self.recipients,
            sessions: self.sessions,
        };
        let mut times: Vec<Vec<(f64, u64)>> = vec![Vec::new(); peers.len()];
        let mut source = Vec::new();
        for _ in 0..rounds {
            for (index, peer) in peers.iter().enumerate() {
                times[index].push(timed(&job(*peer)).await?);
            }
            source.extend(self.smtp_source(port).await);
        }
        let mut rows = Vec::new();
        for (peer, times) in peers.iter().zip(times) {
            let job = job(*peer);
            let work = match self.is_large() {
                true => self.size as f64 / 1e6,
                false => job.messages as f64,
            };
            let (instructions, syscalls) = match counted {
                true => (self.instructions(&job).await, self.syscalls(&job).await),
                false => (None, None),
            };
            rows.push(Row {
                peer: peer.name().to_owned(),
                ours: peer.is_ours(),
                rate: work / median(times.iter().map(|(seconds, _)| *seconds)),
                peak_kib: median(times.iter().map(|(_, peak)| *peak as f64)) as u64,
                instructions,
                syscalls,
            });
        }
        if !source.is_empty() {
            rows.push(Row {
                peer: "smtp-source".to_owned(),
                ours: false,
                rate: self.messages as f64 / median(source.into_iter()),
                peak_kib: 0,
                instructions: None,
                syscalls: None,
            });
        }
        sink.kill().await?;
        self.print_rows(&rows);
        Ok(())
    }

    fn is_large(&self) -> bool {
        self.size > 1 << 20
    }

    fn messages_of(&self, peer: Peer) -> usize {
        match peer.stalls() && self.messages > 1 && !self.sessions {
            true => 40 * self.connections,
            false => self.messages,
        }
    }

    /// The sink, its port and the file with its certificate.
    async fn start_sink(&self) -> Result<(Child, u16, Option<String>), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut ca_file = None;
        if self.tls {
            let file = std::env::temp_dir().join(format!("peers-{}.pem", std::process::id()));
            let file = file.to_string_lossy().into_owned();
            command.arg(&file);
            ca_file = Some(file);
        }
        let mut sink = command.spawn()?;
        let output = sink.stdout.take().ok_or("the sink has an output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        Ok((sink, line.trim().parse()?, ca_file))
    }

    /// The difference of two counts, so that starting and connecting are not in it.
    async fn instructions(&self, job: &Job) -> Option<f64> {
        self.difference(job, |job| async move {
            let mut command = Command::new("valgrind");
            command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
            let output = command.arg(program()?).args(job.arguments()).output().await;
            let output = String::from_utf8(output.ok()?.stderr).ok()?;
            let line = output.lines().find(|line| line.contains("Collected"))?;
            line.rsplit(' ').next()?.parse().ok()
        })
        .await
    }

    async fn syscalls(&self, job: &Job) -> Option<f64> {
        self.difference(job, |job| async move {
            let mut command = Command::new("strace");
            command.args(["-f", "-c", "-U", "calls,name"]);
            let output = command.arg(program()?).args(job.arguments()).output().await;
            let output = String::from_utf8(output.ok()?.stderr).ok()?;
            let line = output.lines().find(|line| line.ends_with(" total"))?;
            line.split_whitespace().next()?.parse().ok()
        })
        .await
    }

    async fn difference<F>(&self, job: &Job, count: impl Fn(Job) -> F) -> Option<f64>
    where
        F: Future<Output = Option<f64>>,
    {
        let (mut few, mut many) = (job.clone(), job.clone());
        let units = match self.is_large() {
            true => {
                (few.size, many.size) = (2 << 20, 6 << 20);
                (many.size - few.size) as f64
            }
            false => {
                let step = match job.peer.stalls() {
                    true => 10 * self.connections,
                    false => (self.messages / 20).max(20),
                };
                (few.messages, many.messages) = (step, 3 * step);
                (many.messages - few.messages) as f64
            }
        };
        let few = count(few).await?;
        let many = count(many).await?;
        Some((many - few) / units)
    }

    /// Postfix's client, where it is installed: seconds.
    async fn smtp_source(&self, port: u16) -> Option<f64> {
        if self.tls || self.sessions || self.is_large() {
            return None;
        }
        let begun = std::time::Instant::now();
        let status = Command::new("smtp-source")
            .args(["-d", "-s", &self.connections.to_string()])
            .args(["-m", &self.messages.to_string()])
            .args([
                "-r",
                &self.recipients.to_string(),
                "-l",
                &self.size.to_string(),
            ])
            .args(["-f", SENDER, "-t", "recipient@example.org"])
            .arg(format!("127.0.0.1:{port}"))
            .status()
            .await;
        status
            .ok()?
            .success()
            .then(|| begun.elapsed().as_secs_f64())
    }

    fn print_rows(&self, rows: &[Row]) {
        let theirs = || rows.iter().filter(|row| !row.ours);
        let best = theirs().map(|row| row.rate).fold(0.0, f64::max);
        let least = |value: fn(&Row) -> Option<f64>| {
            theirs().filter_map(value).fold(f64::INFINITY, f64::min)
        };
        let instructions = least(|row| row.instructions);
        let syscalls = least(|row| row.syscalls);
        let (rate, unit) = match self.is_large() {
            true => ("MB/s", "octet"),
            false => ("messages/s", "message"),
        };
        println!("## {}\n", self.title);
        println!(
            "| client | {rate} | of the best peer | instructions/{unit} | of the least | \
             syscalls/{unit} | of the least | peak MiB |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        for row in rows {
            let number = |value: Option<f64>| value.map_or("".to_owned(), digits);
            println!(
                "| {} | {} | {:.2} | {} | {} | {} | {} | {:.1} |",
                row.peer,
                digits(row.rate),
                row.rate / best,
                number(row.instructions),
                number(row.instructions.map(|count| count / instructions)),
                number(row.syscalls),
                number(row.syscalls.map(|count| count / syscalls)),
                row.peak_kib as f64 / 1024.0,
            );
        }
        println!();
    }
}

/// A client in a process of its own: its seconds, and the peak of its memory in KiB.
async fn timed(job: &Job) -> Result<(f64, u64), Failure> {
    let mut command = Command::new(program().ok_or("a program")?);
    let output = command.args(job.arguments()).output().await?;
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(seconds), Some(peak)) => Ok((seconds.parse()?, peak.parse()?)),
        _ => Err(format!(
            "{}: {}",
            job.peer.name(),
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}

fn program() -> Option<std::path::PathBuf> {
    std::env::current_exe().ok()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A number with about three digits.
fn digits(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ if value >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
