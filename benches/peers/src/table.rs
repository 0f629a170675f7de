//! Runs the scenarios, and prints what came of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::measure::{self, Count, Run, Server};
use crate::parsers;
use crate::report::{self, Column, Row, Verdict};
use crate::scenarios::{Kind, SCENARIOS, Scenario, Table};
use crate::work::{Crypto, Failure, Job, Peer, Side, Task, Text, Wire};

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    counting: Counting,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    On,
    /// Neither instructions nor system calls.
    Off,
}

/// Prints the tables: `[SCENARIO…] [--scenarios A,B] [--rounds N] [--only-time]`.
pub async fn print(arguments: &[String]) -> Result<(), Failure> {
    let mut effort = Effort {
        rounds: 5,
        counting: Counting::On,
    };
    let mut wanted: Vec<String> = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => effort.rounds = arguments.next().ok_or("--rounds N")?.parse()?,
            "--only-time" => effort.counting = Counting::Off,
            "--scenarios" => {
                let names = arguments.next().ok_or("--scenarios A,B")?;
                wanted.extend(names.split(',').map(str::to_owned));
            }
            name => wanted.push(name.to_owned()),
        }
    }
    let known = |name: &String| SCENARIOS.iter().any(|scenario| scenario.name == name);
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        let names = SCENARIOS.map(|scenario| scenario.name).join(", ");
        return Err(format!("there is no scenario {unknown}, but {names}").into());
    }
    for tool in ["valgrind", "strace", "smtp-source"] {
        if !measure::is_installed(tool).await {
            println!("`{tool}` is not installed: what it measures is left empty.\n");
        }
    }
    let mut verdicts = Vec::new();
    for scenario in &SCENARIOS {
        if wanted.is_empty() || wanted.iter().any(|name| name == scenario.name) {
            verdicts.extend(scenario.print(effort).await);
        }
    }
    let [met, short, unknown] = report::tally(&verdicts);
    println!("## Goals\n\n{met} met, {short} short, {unknown} not measured.\n");
    report::print_verdicts(verdicts.iter());
    Ok(())
}

impl Scenario {
    async fn print(&self, effort: Effort) -> Vec<Verdict> {
        println!("## {}\n", self.title);
        println!("**Limit.** {}\n", self.limit);
        let mut verdicts = Vec::new();
        for table in self.tables {
            let (columns, lead) = table.columns();
            let mut rows = table.measure(effort).await;
            report::compare(&mut rows, lead);
            report::print_table(&table.title(), columns, &rows);
            let goals = self.goals.iter().filter(|goal| goal.table == table.key);
            verdicts.extend(goals.map(|goal| report::judge(self.name, goal, &rows)));
        }
        report::print_verdicts(verdicts.iter());
        verdicts
    }
}

/// A client with its crypto provider.
#[derive(Clone)]
struct Entry {
    name: String,
    job: Job,
}

impl Table {
    fn title(&self) -> String {
        let what = match self.kind {
            Kind::Messages => format!("{} messages", self.messages),
            Kind::Large => format!("{} MiB", self.size >> 20),
            Kind::Lines => "RTTs of 20 and 100 ms".to_owned(),
            Kind::Sessions => format!("{} sessions", self.messages),
            Kind::Idle => format!("{} connections", self.connections),
            Kind::Parsers => "one reply".to_owned(),
            Kind::Stuffing => format!("{} MiB", self.size >> 20),
        };
        match self.key {
            "" => what,
            key => format!("{key}, {what}"),
        }
    }

    /// The columns, and the one by which clients are compared.
    fn columns(&self) -> (&'static [Column], Column) {
        match self.kind {
            Kind::Messages => (&MESSAGES, Column::Rate),
            Kind::Large => (&LARGE, Column::MbRate),
            Kind::Lines => (&LINES, Column::RateAt20),
            Kind::Sessions => (&SESSIONS, Column::SessionRate),
            Kind::Idle => (&IDLE, Column::GreetedClear),
            Kind::Parsers => (&PARSERS, Column::NsMix),
            Kind::Stuffing => (&STUFFING, Column::MixedRate),
        }
    }

    async fn measure(&self, effort: Effort) -> Vec<Row> {
        match self.kind {
            Kind::Messages | Kind::Large => self.messages(effort).await,
            Kind::Lines => self.lines().await,
            Kind::Sessions => self.sessions(effort).await,
            Kind::Idle => self.idle().await,
            Kind::Parsers => self.parsers(effort).await,
            Kind::Stuffing => self.stuffing(effort).await,
        }
    }

    /// Those who take part. In TLS this client has a second row, with another provider.
    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for &peer in self.peers {
            // lettre takes no TLS stream of a caller's own; floors and by-hand rows stand for all.
            if self.wire.is_secure() && peer == Peer::LettreNodelay {
                continue;
            }
            let job = Job {
                peer,
                wire: self.wire,
                connections: self.connections,
                messages: self.messages_of(peer),
                size: self.size,
                recipients: self.recipients,
                text: self.text,
                task: match self.kind {
                    Kind::Sessions => Task::Sessions,
                    Kind::Idle => Task::Idle,
                    _ => Task::Messages,
                },
                ..Job::default()
            };
            entries.push(Entry {
                name: peer.name().to_owned(),
                job: job.clone(),
            });
            if self.wire.is_secure() && peer.side() == Side::Ours {
                entries.push(Entry {
                    name: format!("{}, aws-lc-rs", peer.name()),
                    job: Job {
                        crypto: Crypto::AwsLcRs,
                        ..job
                    },
                });
            }
        }
        entries
    }

    fn messages_of(&self, peer: Peer) -> usize {
        let ample = match peer {
            _ if peer.overlaps() && self.kind == Kind::Messages => 4 * self.messages,
            _ => self.messages,
        };
        match (peer.stalls(), self.kind) {
            (true, Kind::Messages) => 20 * self.connections,
            (true, Kind::Sessions) => 20,
            _ => ample,
        }
    }

    async fn messages(&self, effort: Effort) -> Vec<Row> {
        let entries = self.entries();
        let runs = in_turns(&entries, effort.rounds, Server::NEAR).await;
        let is_large = self.kind == Kind::Large;
        let base = match is_large {
            true => self.program_kib().await,
            false => None,
        };
        let instructions = self
            .differences(Count::Instructions, &entries, effort)
            .await;
        let syscalls = self.differences(Count::Syscalls, &entries, effort).await;
        let mut rows = Vec::new();
        let counted = instructions.into_iter().zip(syscalls);
        for ((entry, runs), (instructions, syscalls)) in entries.iter().zip(runs).zip(counted) {
            let mut row = entry.row();
            let seconds = median(&runs, |run| run.printed[0]);
            if is_large {
                let megabytes = self.size as f64 / 1e6;
                row.set(Column::MbRate, seconds.map(|seconds| megabytes / seconds));
                let peak = median(&runs, |run| run.printed[1] / 1024.0);
                row.set(Column::PeakMiB, peak);
                let above = peak.zip(base).map(|(peak, base)| peak - base / 1024.0);
                row.set(Column::AboveMiB, above);
                let size = counted_size(Count::Instructions) as f64;
                row.set(
                    Column::InstructionsOctet,
                    instructions.map(|count| count / size),
                );
                let size = (counted_size(Count::Syscalls) >> 20) as f64;
                row.set(Column::SyscallsMiB, syscalls.map(|count| count / size));
            } else {
                let messages = entry.job.messages as f64;
                row.set(Column::Rate, seconds.map(|seconds| messages / seconds));
                row.set(Column::Instructions, instructions);
                row.set(Column::Syscalls, syscalls);
                row.set(Column::Connections, median(&runs, |run| run.connections));
            }
            rows.push(row);
        }
        rows.extend(self.smtp_source(effort).await);
        rows
    }

    /// The peak of memory of a program that does next to nothing.
    async fn program_kib(&self) -> Option<f64> {
        let job = Job {
            peer: Peer::FloorBdat,
            wire: self.wire,
            messages: 1,
            ..Job::default()
        };
        let run = complain("floor-bdat", measure::timed(&job, Server::NEAR).await)?;
        run.printed.get(1).copied()
    }

    /// Postfix's client makes its own message, of lines like these.
    async fn smtp_source(&self, effort: Effort) -> Option<Row> {
        if self.wire != Wire::Clear || self.text != Text::Clean {
            return None;
        }
        let job = Job {
            connections: self.connections,
            messages: self.messages,
            size: self.size,
            recipients: self.recipients,
            ..Job::default()
        };
        let mut seconds = Vec::new();
        for _ in 0..effort.rounds {
            seconds.push(measure::smtp_source(&job).await?);
        }
        let seconds = middle(seconds)?;
        let mut row = Row::new("smtp-source", true);
        match self.kind {
            Kind::Large => row.set(Column::MbRate, Some(self.size as f64 / 1e6 / seconds)),
            _ => row.set(Column::Rate, Some(self.messages as f64 / seconds)),
        }
        Some(row)
    }

    /// What one message more takes: starting and connecting are not in it.
    async fn differences(
        &self,
        what: Count,
        entries: &[Entry],
        effort: Effort,
    ) -> Vec<Option<f64>> {
        self.differences_at(what, entries, effort, Server::NEAR)
            .await
    }

    async fn differences_at(
        &self,
        what: Count,
        entries: &[Entry],
        effort: Effort,
        server: Server,
    ) -> Vec<Option<f64>> {
        if effort.counting == Counting::Off {
            return vec![None; entries.len()];
        }
        let mut jobs = Vec::new();
        for entry in entries {
            let few = match self.kind {
                Kind::Large | Kind::Stuffing => 1,
                Kind::Sessions => 2,
                _ if entry.job.peer.stalls() => 8 * self.connections,
                _ if entry.job.peer.overlaps() => 640 * self.connections.min(4),
                _ => 100.max(20 * self.connections),
            };
            let size = self.size.min(counted_size(what));
            for messages in [few, 3 * few] {
                jobs.push(Job {
                    messages,
                    size,
                    ..entry.job.clone()
                });
            }
        }
        let counts = counts(what, jobs.clone(), server).await;
        let pairs = counts.chunks(2).zip(jobs.chunks(2));
        pairs
            .map(|(counts, jobs)| {
                let more = (jobs[1].messages - jobs[0].messages) as f64;
                Some((counts[1]? - counts[0]?) / more)
            })
            .collect()
    }

    /// Over lines with a delay: most of the time nobody does anything, so several run at once.
    async fn lines(&self) -> Vec<Row> {
        let some = Arc::new(Semaphore::new(4));
        let mut tasks = JoinSet::new();
        for (index, entry) in self.entries().into_iter().enumerate() {
            let some = Arc::clone(&some);
            tasks.spawn(async move {
                let permit = some.acquire_owned().await;
                let row = entry.over_lines().await;
                drop(permit);
                (index, row)
            });
        }
        let mut rows = tasks.join_all().await;
        rows.sort_by_key(|(index, _)| *index);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    async fn sessions(&self, effort: Effort) -> Vec<Row> {
        let entries = self.entries();
        let resumed = in_turns(&entries, effort.rounds, Server::NEAR).await;
        let full = in_turns(&entries, effort.rounds, Server::NO_TICKETS).await;
        let instructions = self
            .differences(Count::Instructions, &entries, effort)
            .await;
        let full_instructions = self
            .differences_at(Count::Instructions, &entries, effort, Server::NO_TICKETS)
            .await;
        let syscalls = self.differences(Count::Syscalls, &entries, effort).await;
        let few: Vec<Entry> = entries.iter().map(|entry| entry.with_messages(5)).collect();
        let far = in_turns(&few, 1, Server::far(RTT)).await;
        let mut rows = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let mut row = entry.row();
            let rate = |runs: &[Run]| {
                let seconds = median(runs, |run| run.printed[0])?;
                Some(entry.job.messages as f64 / seconds)
            };
            let thousands = |count: Option<f64>| count.map(|count| count / 1000.0);
            row.set(Column::SessionRate, rate(&resumed[index]));
            row.set(Column::FullRate, rate(&full[index]));
            row.set(Column::SessionInstructions, thousands(instructions[index]));
            row.set(
                Column::FullInstructions,
                thousands(full_instructions[index]),
            );
            row.set(Column::Syscalls, syscalls[index]);
            row.set(
                Column::RoundTrips,
                median(&far[index], |run| run.round_trips),
            );
            let elapsed = median(&far[index], |run| run.printed[0] / 5.0);
            row.set(
                Column::SessionRtts,
                elapsed.map(|elapsed| elapsed / RTT.as_secs_f64()),
            );
            rows.push(row);
        }
        rows
    }

    async fn idle(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for mut entry in self.entries() {
            let mut row = entry.row();
            for (wire, greeted, used) in [
                (Wire::Clear, Column::GreetedClear, Column::UsedClear),
                (Wire::Implicit, Column::GreetedTls, Column::UsedTls),
            ] {
                entry.job.wire = wire;
                if let (Wire::Implicit, Peer::LettreNodelay) = (wire, entry.job.peer) {
                    entry.job.peer = Peer::Lettre;
                }
                let runs = in_turns(&[entry.clone()], 1, Server::NEAR).await;
                row.set(greeted, median(&runs[0], |run| run.printed[0]));
                row.set(used, median(&runs[0], |run| run.printed[1]));
            }
            rows.push(row);
        }
        rows
    }

    async fn parsers(&self, effort: Effort) -> Vec<Row> {
        let names = ["smtp-proto", "lettre", "ehlo", "ehlo-line"];
        let mut rows = names.map(|name| Row::new(name, !name.starts_with("ehlo")));
        for row in &mut rows {
            let mut mix = (Some(0.0), Some(0.0));
            for (index, (_, reply)) in parsers::Reply::ALL.iter().enumerate() {
                let (ns, instructions, weight) = PARSED[index];
                let [with, without] = [&[][..], &["without"]].map(|rest| {
                    let times = self.messages.to_string();
                    let words = ["parse", &row.name, reply, &times];
                    words
                        .iter()
                        .chain(rest)
                        .map(|word| (*word).to_owned())
                        .collect::<Vec<_>>()
                });
                let mut times = Vec::new();
                for _ in 0..effort.rounds {
                    times.extend(
                        measure::printed(&with)
                            .await
                            .ok()
                            .and_then(|one| one.first().copied()),
                    );
                }
                let time = middle(times);
                let count = match effort.counting {
                    Counting::On => parsed_instructions(with, without).await,
                    Counting::Off => None,
                };
                row.set(ns, time);
                row.set(instructions, count);
                let add = |sum: Option<f64>, one: Option<f64>| Some(sum? + weight * one?);
                mix = (add(mix.0, time), add(mix.1, count));
            }
            row.set(Column::NsMix, mix.0);
            row.set(Column::InstructionsMix, mix.1);
        }
        rows.into()
    }

    async fn stuffing(&self, effort: Effort) -> Vec<Row> {
        let mut rows: Vec<Row> = self.entries().iter().map(Entry::row).collect();
        for (text, rate, instructions) in [
            (Text::Mixed, Column::MixedRate, Column::InstructionsMixed),
            (Text::Clean, Column::CleanRate, Column::InstructionsClean),
        ] {
            let mut entries = self.entries();
            for entry in &mut entries {
                entry.job.text = text;
            }
            let runs = in_turns(&entries, effort.rounds, Server::NEAR).await;
            let counts = self
                .differences(Count::Instructions, &entries, effort)
                .await;
            for ((row, runs), count) in rows.iter_mut().zip(runs).zip(counts) {
                let gigabytes = (self.size * self.messages) as f64 / 1e9;
                let seconds = median(&runs, |run| run.printed[0]);
                row.set(rate, seconds.map(|seconds| gigabytes / seconds));
                row.set(
                    instructions,
                    count.map(|count| count / counted_size(Count::Instructions) as f64),
                );
            }
        }
        rows
    }
}

impl Entry {
    fn row(&self) -> Row {
        Row::new(self.name.clone(), self.job.peer.side() == Side::Theirs)
    }

    fn with_messages(&self, messages: usize) -> Self {
        let job = Job {
            messages,
            ..self.job.clone()
        };
        Self {
            name: self.name.clone(),
            job,
        }
    }

    /// Times over both lines; round trips and waiting as the difference of two runs.
    async fn over_lines(&self) -> Row {
        let mut row = self.row();
        let one = self.run(1, RTT).await;
        for (rtt, messages, rate, rtts) in [
            (RTT, self.near(), Column::RateAt20, Column::RttsAt20),
            (
                LONG_RTT,
                self.near() / 2,
                Column::RateAt100,
                Column::RttsAt100,
            ),
        ] {
            let Some(run) = self.run(messages, rtt).await else {
                continue;
            };
            let (seconds, count) = (run.printed[0], messages as f64);
            row.set(rate, Some(count / seconds));
            row.set(rtts, Some(seconds / count / rtt.as_secs_f64()));
            if let (RTT, Some(one)) = (rtt, &one) {
                let trips = (run.round_trips - one.round_trips) / (count - 1.0);
                let elapsed = (seconds - one.printed[0]) / (count - 1.0) / rtt.as_secs_f64();
                row.set(Column::RoundTrips, Some(trips));
                row.set(Column::Waits, Some(elapsed - trips));
            }
        }
        row
    }

    /// How many messages on the shorter line: few where each takes long.
    fn near(&self) -> usize {
        match self.job.peer.side() {
            Side::Theirs => 20,
            Side::Ours | Side::Floor => 200,
        }
    }

    async fn run(&self, messages: usize, rtt: Duration) -> Option<Run> {
        let job = self.with_messages(messages).job;
        complain(&self.name, measure::timed(&job, Server::far(rtt)).await)
    }
}

/// Each client once in each round.
async fn in_turns(entries: &[Entry], rounds: usize, server: Server) -> Vec<Vec<Run>> {
    let mut runs: Vec<Vec<Run>> = entries.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (entry, runs) in entries.iter().zip(&mut runs) {
            runs.extend(complain(
                &entry.name,
                measure::timed(&entry.job, server).await,
            ));
        }
    }
    runs
}

/// A run that has failed leaves its cells empty, and says why.
fn complain<T>(name: &str, result: Result<T, Failure>) -> Option<T> {
    result
        .inspect_err(|error| eprintln!("{name}: {error}"))
        .ok()
}

/// Counts do not depend on how busy the machine is: as many at once as there are processors.
async fn counts(what: Count, jobs: Vec<Job>, server: Server) -> Vec<Option<f64>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let some = Arc::new(Semaphore::new(processors));
    let mut tasks = JoinSet::new();
    for (index, job) in jobs.into_iter().enumerate() {
        let some = Arc::clone(&some);
        tasks.spawn(async move {
            let permit = some.acquire_owned().await;
            let count = measure::count(what, &job, server).await;
            drop(permit);
            (index, count)
        });
    }
    let mut counts = tasks.join_all().await;
    counts.sort_by_key(|(index, _)| *index);
    counts.into_iter().map(|(_, count)| count).collect()
}

/// Of one reply: with the replies, less without them.
async fn parsed_instructions(mut with: Vec<String>, mut without: Vec<String>) -> Option<f64> {
    let times = 20;
    with[3] = times.to_string();
    without[3] = times.to_string();
    let with = measure::counted(Count::Instructions, &with).await?;
    let without = measure::counted(Count::Instructions, &without).await?;
    Some((with - without) / (times * parsers::EACH) as f64)
}

/// Octets of a large message where this is counted: instructions take their time.
fn counted_size(what: Count) -> usize {
    match what {
        Count::Instructions => 1 << 20,
        Count::Syscalls => 16 << 20,
    }
}

fn median(runs: &[Run], value: fn(&Run) -> f64) -> Option<f64> {
    middle(runs.iter().map(value).collect())
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

const RTT: Duration = Duration::from_millis(20);
const LONG_RTT: Duration = Duration::from_millis(100);

const MESSAGES: [Column; 5] = [
    Column::Rate,
    Column::OfBest,
    Column::Instructions,
    Column::Syscalls,
    Column::Connections,
];
const LARGE: [Column; 6] = [
    Column::MbRate,
    Column::OfBest,
    Column::PeakMiB,
    Column::AboveMiB,
    Column::InstructionsOctet,
    Column::SyscallsMiB,
];
const LINES: [Column; 6] = [
    Column::RateAt20,
    Column::RttsAt20,
    Column::RateAt100,
    Column::RttsAt100,
    Column::RoundTrips,
    Column::Waits,
];
const SESSIONS: [Column; 8] = [
    Column::SessionRate,
    Column::OfBest,
    Column::FullRate,
    Column::SessionInstructions,
    Column::FullInstructions,
    Column::Syscalls,
    Column::RoundTrips,
    Column::SessionRtts,
];
const IDLE: [Column; 4] = [
    Column::GreetedClear,
    Column::UsedClear,
    Column::GreetedTls,
    Column::UsedTls,
];
const PARSERS: [Column; 8] = [
    Column::NsOk,
    Column::InstructionsOk,
    Column::NsRefused,
    Column::InstructionsRefused,
    Column::NsEhlo,
    Column::InstructionsEhlo,
    Column::NsMix,
    Column::InstructionsMix,
];
const STUFFING: [Column; 5] = [
    Column::MixedRate,
    Column::OfBest,
    Column::InstructionsMixed,
    Column::CleanRate,
    Column::InstructionsClean,
];
/// The columns of each reply, and its share in the mix.
const PARSED: [(Column, Column, f64); 3] = [
    (Column::NsOk, Column::InstructionsOk, 0.8),
    (Column::NsRefused, Column::InstructionsRefused, 0.1),
    (Column::NsEhlo, Column::InstructionsEhlo, 0.1),
];
