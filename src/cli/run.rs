//! A run of several messages: read one at a time, sent by as many connections as were asked for, and
//! reported in the order in which they finish.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use tokio::fs::File;
use tokio::io::BufReader;
use tokio::sync::mpsc;

use super::courier::{Courier, PATIENCE, possible};
use super::failure::Failure;
use super::input::{Input, Inputs, LARGEST_IN_MEMORY, Loaded, Number, Rules, check_whole, is_mbox};
use super::interrupt;
use super::mbox::{Mbox, Next};
use super::progress::Progress;
use super::report::{Overall, ServerFacts};
use super::terminal;
use crate::error::{Error, Stage};
use crate::net::PoolOptions;
use crate::net::client::Client;
use crate::net::pool::{Pool, Sent};
use crate::proto::Stats;
use crate::proto::body::Content;
use crate::proto::transaction::{Envelope, Outcome, Verdict};

/// A run of several messages.
pub(super) struct Run<'c, 'a> {
    courier: &'c mut Courier<'a>,
    envelope: &'c Envelope,
    pool: Pool,
    /// What has not been looked at.
    inputs: VecDeque<Input>,
    mbox: Option<(Mbox<BufReader<File>>, String)>,
    /// The name of what is being read, and the reading.
    reading: Option<(String, Task<Read>)>,
    /// What was read, and waits for its turn.
    read: Option<(Letter, Loaded)>,
    /// A large message on its way.
    large: Option<Task<(Letter, Sent)>>,
    /// Where messages go in to be sent; `None` once there are no more.
    gate: Option<mpsc::Sender<(Letter, Envelope, Content)>>,
    /// How many messages there will be at least, as far as others need to know.
    expected: Arc<AtomicUsize>,
    /// Octets of the messages on their way.
    octets: u64,
    /// Connections, and what was reported of their traffic.
    reported: VecDeque<(Client, Stats)>,
    course: Course,
    progress: Progress,
}

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A message on its way.
struct Letter {
    name: String,
    octets: u64,
    begun: Instant,
}

/// Whether there is more to be sent.
enum Course {
    On,
    /// There was no connection to be had.
    Refused(Error),
    /// The user wants to stop. The time when that was long enough ago.
    Interrupted(tokio::time::Instant),
}

/// What came of reading.
enum Read {
    Message(String, Result<Loaded, Failure>),
    Opened(Mbox<BufReader<File>>, String),
    OutOfMbox(Mbox<BufReader<File>>, String, Result<Next, Failure>),
}

/// What happens next in a run.
enum Event {
    Interrupted,
    OutOfPatience,
    Sent(Option<(Letter, Sent)>),
    LargeSent(Letter, Sent),
    Read(Read),
    Room,
}

impl<'c, 'a> Run<'c, 'a> {
    pub(super) fn new(
        courier: &'c mut Courier<'a>,
        envelope: &'c Envelope,
        inputs: Inputs,
    ) -> Self {
        let connections = courier.arguments.connections.map_or(1, usize::from);
        let audience = courier.audience.clone();
        let options = PoolOptions::default()
            .with_connections(connections)
            .with_connections_per_server(connections)
            .with_observers(move || Box::new(audience.clone()));
        let total = match inputs.number {
            Number::One | Number::Counted => Some(inputs.list.len() as u64),
            Number::Unknown => None,
        };
        Self {
            pool: Pool::with_options(courier.setup.config.clone(), options),
            progress: Progress::new(total),
            courier,
            envelope,
            inputs: inputs.list.into(),
            mbox: None,
            reading: None,
            read: None,
            large: None,
            gate: None,
            expected: Arc::default(),
            octets: 0,
            reported: VecDeque::with_capacity(connections),
            course: Course::On,
        }
    }

    /// Sends them all, and reports each.
    ///
    /// # Errors
    /// Options that no connection can be made with.
    pub(super) async fn deliver(mut self) -> Result<(), Failure> {
        let (gate, letters) = mpsc::channel(1);
        self.gate = Some(gate);
        let mut sending = self.pool.send_all(Letters {
            letters,
            expected: Arc::clone(&self.expected),
        });
        let mut whole = Whole::Coming;
        while whole == Whole::Coming || self.large.is_some() {
            self.go_on();
            let on = matches!(self.course, Course::On);
            let (waits, room) = (on && self.waits_for_room(), on && self.has_room());
            let event = tokio::select! {
                biased;
                () = self.courier.interrupt.wait(), if on => Event::Interrupted,
                () = out_of_patience(&self.course) => Event::OutOfPatience,
                (letter, sent) = done(self.large.as_mut()) => Event::LargeSent(letter, sent),
                sent = poll_fn(|cx| sending.poll_sent(cx)), if whole == Whole::Coming => {
                    Event::Sent(sent)
                }
                read = done(self.reading.as_mut().map(|(_, task)| task)), if room => {
                    Event::Read(read)
                }
                () = room_behind(self.gate.as_ref()), if waits => Event::Room,
            };
            match event {
                Event::Interrupted => self.interrupted(),
                Event::OutOfPatience => self.out_of_patience(),
                Event::Sent(Some((letter, sent))) => self.land(letter, sent)?,
                Event::Sent(None) => whole = Whole::Done,
                Event::LargeSent(letter, sent) => {
                    self.large = None;
                    self.land(letter, sent)?;
                }
                Event::Read(read) => self.take(read),
                Event::Room => self.set_out(),
            }
        }
        match &self.course {
            Course::On => {}
            Course::Refused(error) => self.drop_rest(&error.clone()),
            Course::Interrupted(_) => self.drop_rest(&interrupt::stopped(Stage::Mail)),
        }
        // The verdicts are told: how the good-byes go changes nothing.
        self.pool.close().await;
        self.courier.sum_up();
        Ok(())
    }

    /// Starts what can be started without waiting.
    fn go_on(&mut self) {
        if !matches!(self.course, Course::On) {
            self.gate = None;
            return;
        }
        if self.large.is_none()
            && matches!(self.read, Some((_, Loaded::Stream(..))))
            && let Some((letter, Loaded::Stream(streamed, file))) = self.read.take()
        {
            self.octets += letter.octets;
            let (pool, envelope) = (self.pool.clone(), self.envelope.clone());
            self.large = Some(Box::pin(async move {
                let sent = pool.send_from_by(envelope, streamed, file).await;
                (letter, sent)
            }));
        }
        if self.reading.is_none() && self.read.is_none() {
            self.read_on();
            // Before there was a connection, one alone is tried: a password may be wrong.
            let expected = match self.reported.is_empty() {
                true => 0,
                false => self.inputs.len(),
            };
            self.expected.store(expected, Ordering::Relaxed);
        }
        if self.reading.is_none() && self.read.is_none() {
            self.gate = None;
        }
    }

    /// Begins to read the next message, if there is one.
    fn read_on(&mut self) {
        let rules = self.courier.rules;
        if let Some((mbox, path)) = self.mbox.take() {
            let name = format!("{path}#{}", mbox.count() + 1);
            let reading = Box::pin(read_out_of(mbox, path));
            self.reading = Some((name, reading));
        } else if let Some(input) = self.inputs.pop_front() {
            let name = input.name();
            self.reading = Some((name, Box::pin(read(input, rules))));
        }
    }

    /// Whether another message fits in memory.
    fn has_room(&self) -> bool {
        self.read.is_none() && self.octets < MOST_OCTETS
    }

    fn waits_for_room(&self) -> bool {
        matches!(self.read, Some((_, Loaded::Whole(_))))
    }

    /// Gives the message that was read to the pool.
    fn set_out(&mut self) {
        let Some((letter, Loaded::Whole(content))) = self.read.take() else {
            return;
        };
        self.octets += letter.octets;
        if let Some(gate) = &self.gate {
            // There is room, and nobody else to take it.
            let _ = gate.try_send((letter, self.envelope.clone(), content));
        }
    }

    /// Takes what was read.
    fn take(&mut self, read: Read) {
        self.reading = None;
        let (name, loaded) = match read {
            Read::Message(name, loaded) => (name, loaded),
            Read::Opened(mbox, path) => {
                self.mbox = Some((mbox, path));
                self.progress.total_is_unknown();
                return;
            }
            Read::OutOfMbox(mbox, path, next) => {
                let name = format!("{path}#{}", mbox.count());
                let loaded = match next {
                    Ok(Next::Message(octets)) => check_whole(&name, octets, self.courier.rules),
                    Ok(Next::TooLarge) => Err(too_large(&name)),
                    Ok(Next::End) => return,
                    // There is nothing to be had behind it.
                    Err(failure) => return self.report_unread(path, &failure),
                };
                self.mbox = Some((mbox, path));
                (name, loaded.map(Loaded::Whole))
            }
        };
        match loaded {
            Ok(loaded) => {
                let octets = match &loaded {
                    Loaded::Whole(content) => content.bytes().len() as u64,
                    Loaded::Stream(..) => 0,
                };
                let begun = Instant::now();
                let letter = Letter {
                    name,
                    octets,
                    begun,
                };
                self.read = Some((letter, loaded));
            }
            Err(failure) => self.report_unread(name, &failure),
        }
    }

    /// Reports what became of a message.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    fn land(&mut self, letter: Letter, sent: Sent) -> Result<(), Failure> {
        self.octets -= letter.octets;
        let Sent { outcome, client } = sent;
        let outcome = match &self.course {
            Course::On => outcome,
            Course::Refused(error) => blame(&outcome, error),
            Course::Interrupted(_) => interrupt::explained(&outcome),
        };
        let elapsed = letter.begun.elapsed();
        let name = Some(letter.name);
        if let Some(client) = client {
            self.recall(&client);
            self.courier.report_outcome(name, &client, outcome, elapsed);
            self.remember(client);
        } else {
            if let (Course::On, Some(error)) = (&self.course, outcome.error()) {
                if self.reported.is_empty() {
                    possible(&error)?;
                }
                // Another message would fare no better.
                self.pool.end();
                self.course = Course::Refused(error);
            }
            self.forget_server();
            self.courier.report(name, outcome, elapsed);
        }
        self.progress.step();
        Ok(())
    }

    /// What was reported of this connection.
    fn recall(&mut self, client: &Client) {
        if self.reported.is_empty() {
            self.courier.warn_of(self.envelope, client);
        }
        let known = self
            .reported
            .iter()
            .find(|(known, _)| known.is_same(client));
        self.courier.reported = known.map_or(Stats::default(), |(_, stats)| *stats);
    }

    fn remember(&mut self, client: Client) {
        self.reported.retain(|(known, _)| !known.is_same(&client));
        if self.reported.len() == self.reported.capacity() {
            self.reported.pop_front();
        }
        self.reported.push_back((client, self.courier.spent));
    }

    /// Nothing is known of a connection that was not made.
    fn forget_server(&mut self) {
        self.courier.server = ServerFacts::unknown(&self.courier.setup.config);
        (self.courier.spent, self.courier.reported) = (Stats::default(), Stats::default());
    }

    /// A message could not be read.
    fn report_unread(&mut self, name: String, failure: &Failure) {
        match failure {
            Failure::Data(error) => self.report_unsent(name, error),
            Failure::Usage(_) | Failure::Config(_) | Failure::NoInput(_) | Failure::Internal(_) => {
                terminal::error(failure);
                self.courier.remember(Overall::Failed, failure.exit());
            }
        }
        self.progress.step();
    }

    fn report_unsent(&mut self, name: String, error: &Error) {
        self.forget_server();
        self.courier.report_failure(Some(name), error);
    }

    /// Finds out what the servers have.
    fn interrupted(&mut self) {
        terminal::warn("interrupted: finding out what the server has (Ctrl-C again ends at once)");
        self.course = Course::Interrupted(tokio::time::Instant::now() + PATIENCE);
        self.pool.withdraw();
    }

    fn out_of_patience(&mut self) {
        self.pool.abort();
        let never = tokio::time::Instant::now() + NEVER;
        self.course = Course::Interrupted(never);
    }

    /// Reports what has not set out as not sent.
    fn drop_rest(&mut self, error: &Error) {
        if let Some((letter, _)) = self.read.take() {
            self.report_unsent(letter.name, error);
        }
        if let Some((name, _)) = self.reading.take() {
            self.report_unsent(name, error);
        }
        if let Some((mbox, path)) = self.mbox.take() {
            let next = mbox.count() + 1;
            self.report_unsent(format!("{path}#{next}"), error);
            terminal::warn(format_args!(
                "{path} was not read beyond its message {next}"
            ));
        }
        for input in std::mem::take(&mut self.inputs) {
            self.report_unsent(input.name(), error);
        }
    }
}

/// Whether all messages but a large one have their outcomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Coming,
    Done,
}

/// The messages that come through the gate.
struct Letters {
    letters: mpsc::Receiver<(Letter, Envelope, Content)>,
    expected: Arc<AtomicUsize>,
}

impl Stream for Letters {
    type Item = (Letter, Envelope, Content);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.letters.poll_recv(cx)
    }

    /// As many connections are opened at once as they need.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.expected.load(Ordering::Relaxed), None)
    }
}

/// Waits for a task, if there is one.
async fn done<T>(task: Option<&mut Task<T>>) -> T {
    match task {
        Some(task) => task.await,
        None => pending().await,
    }
}

async fn room_behind<T>(gate: Option<&mpsc::Sender<T>>) {
    match gate {
        Some(gate) => drop(gate.reserve().await),
        None => pending().await,
    }
}

async fn out_of_patience(course: &Course) {
    match course {
        Course::Interrupted(end) => tokio::time::sleep_until(*end).await,
        Course::On | Course::Refused(_) => pending().await,
    }
}

/// Reads and scans a message, or opens an mbox.
async fn read(input: Input, rules: Rules) -> Read {
    let name = input.name();
    if let Input::File(path) = &input {
        match is_mbox(path).await {
            Ok(false) => {}
            Ok(true) => match File::open(path).await {
                Ok(file) => return Read::Opened(Mbox::new(BufReader::new(file)), name),
                Err(error) => return Read::Message(name, Err(Failure::unreadable(path, &error))),
            },
            Err(failure) => return Read::Message(name, Err(failure)),
        }
    }
    let loaded = input.load(rules).await;
    Read::Message(name, loaded)
}

/// Reads the next message of an mbox.
async fn read_out_of(mut mbox: Mbox<BufReader<File>>, path: String) -> Read {
    let next = mbox.next(LARGEST_IN_MEMORY as usize).await;
    let next = next.map_err(|error| Failure::unreadable(Path::new(&path), &error));
    Read::OutOfMbox(mbox, path, next)
}

fn too_large(name: &str) -> Failure {
    Failure::data(
        Stage::Body,
        format!("{name} is larger than 64 MiB"),
        "Put it in a file of its own, which is then streamed.",
    )
}

/// The outcome, with this reason where nothing was sent.
fn blame(outcome: &Outcome, error: &Error) -> Outcome {
    let verdicts = outcome.verdicts().iter().map(|verdict| match verdict {
        Verdict::NotSent(_) => Verdict::NotSent(error.clone()),
        Verdict::Accepted(_)
        | Verdict::Refused { .. }
        | Verdict::Deferred(_)
        | Verdict::InDoubt(_) => verdict.clone(),
    });
    Outcome::new(verdicts.collect()).with_notices(outcome.notices().to_vec())
}

/// Octets of messages on their way, before no further one is read: enough for any round trip.
const MOST_OCTETS: u64 = 32 * 1024 * 1024;
/// Once everything was done that can be.
const NEVER: Duration = Duration::from_secs(24 * 3600);
