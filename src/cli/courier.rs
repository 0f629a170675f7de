//! Carries messages to the server over one connection, or as many as its limits make necessary, and
//! reports each as it is finished.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::fs::File;

use super::args::SendArguments;
use super::connection::Setup;
use super::exit::Exit;
use super::failure::Failure;
use super::human::{self, DialogueTail};
use super::input::{Input, Loaded, Rules};
use super::interrupt::{self, Interrupt};
use super::report::{Overall, Report, ServerFacts, Traffic};
use super::terminal;
use super::trace::{Audience, Dash, Show, Trace};
use crate::error::{Category, Error, Stage};
use crate::net::client::{Client, Delivery};
use crate::proto::Stats;
use crate::proto::body::Content;
use crate::proto::preflight::{Effect, preflight};
use crate::proto::transaction::{Envelope, Outcome, Streamed, Verdict};

/// Sends messages to one server.
pub(crate) struct Courier<'a> {
    arguments: &'a SendArguments,
    setup: &'a Setup,
    rules: Rules,
    tail: DialogueTail,
    audience: Audience,
    interrupt: Interrupt,
    begun: Instant,
    /// What is known of the server.
    server: ServerFacts,
    /// Counters of the connection, now and as of the last report.
    spent: Stats,
    reported: Stats,
    worst: (Overall, Exit),
}

/// A run of several messages.
struct Run<'e> {
    envelope: &'e Envelope,
    waiting: VecDeque<Waiting>,
    flights: VecDeque<Flight>,
    /// Messages whose connection ended before their turn.
    stranded: Vec<Waiting>,
    client: Option<Client>,
    /// Messages that this connection has brought an answer for.
    answered: usize,
}

/// A message that waits for its turn.
struct Waiting {
    input: Input,
    /// Loaded where it had to wait again.
    loaded: Option<Loaded>,
    /// What became of it on earlier connections.
    before: Option<Outcome>,
}

/// A message on its way.
struct Flight {
    input: Input,
    envelope: Envelope,
    before: Option<Outcome>,
    sending: Sending,
    begun: Instant,
}

enum Sending {
    /// Submitted with others, to share round trips with them.
    Shared(Delivery, Content),
    /// Alone: it is read while it is sent.
    Alone(Streamed, File),
}

impl<'a> Courier<'a> {
    /// Opens the trace, and listens for Ctrl-C.
    pub(crate) fn new(arguments: &'a SendArguments, setup: &'a Setup) -> Result<Self, Failure> {
        let audience = Audience::default();
        let mut tail = DialogueTail::Shown;
        let trace = arguments.connection.dialogue.trace.as_deref();
        if let Some(path) = trace {
            let dash = match arguments.json {
                true => Dash::Error,
                false => Dash::Out,
            };
            audience.add(Trace::create(path, dash)?);
        }
        let traced_here = trace.is_some_and(|path| path.as_os_str() == "-");
        if setup.sandbox.is_some() && !arguments.json && !traced_here {
            audience.add(Show::new());
            tail = DialogueTail::Left;
        }
        Ok(Self {
            arguments,
            setup,
            rules: Rules {
                newlines: arguments.message.bare_newlines,
                long_lines: arguments.message.long_lines,
            },
            tail,
            audience,
            interrupt: Interrupt::listen(),
            begun: Instant::now(),
            server: ServerFacts::unknown(&setup.config),
            spent: Stats::default(),
            reported: Stats::default(),
            worst: (Overall::Accepted, Exit::Done),
        })
    }

    /// Sends the messages. Returns the code of the worst outcome.
    pub(crate) async fn deliver(
        &mut self,
        envelope: &Envelope,
        inputs: Vec<Input>,
    ) -> Result<Exit, Failure> {
        match inputs.as_slice() {
            [only] => self.deliver_one(envelope, only).await?,
            _ => self.deliver_many(envelope, inputs).await?,
        }
        Ok(self.worst.1)
    }

    /// Reports every message as not sent.
    pub(crate) fn give_up(&mut self, error: &Error) -> Exit {
        match self.arguments.message.message.as_slice() {
            [] | [_] => self.report_failure(None, error),
            names => {
                for name in names {
                    self.report_failure(Some(name.display().to_string()), error);
                }
            }
        }
        self.worst.1
    }

    async fn deliver_one(&mut self, envelope: &Envelope, input: &Input) -> Result<(), Failure> {
        let loaded = match self.load(input).await {
            Ok(loaded) => loaded,
            Err(Failure::Data(error)) => {
                self.report_failure(None, &error);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let client = match self.connect().await {
            Ok(client) => client,
            Err(error) => {
                possible(&error)?;
                self.report_failure(None, &error);
                return Ok(());
            }
        };
        self.warn_of(envelope, &client);
        let (client, outcome) = match loaded {
            Loaded::Whole(content) => self.deliver_whole(client, envelope, content).await,
            Loaded::Stream(streamed, file) => {
                let sending = client.send_from(envelope.clone(), streamed, file);
                let outcome = self.attend(&client, sending).await;
                (client, outcome)
            }
        };
        self.report_outcome(None, &client, outcome, self.begun.elapsed());
        // The verdict is told: how the good-bye goes changes nothing.
        let _ = client.close().await;
        Ok(())
    }

    /// Sends the only message, and goes on by further connections where one could not take all of its
    /// recipients: as long as each brings an answer for somebody. Returns the last of them.
    async fn deliver_whole(
        &mut self,
        client: Client,
        envelope: &Envelope,
        content: Content,
    ) -> (Client, Outcome) {
        let mut client = client;
        let last = client.clone().send_last(envelope.clone(), content.clone());
        let mut outcome = self.attend(&client, last).await;
        let mut tried = count(envelope);
        while let Some(rest) = envelope.rest(&outcome)
            && count(&rest) < tried
            && !self.interrupt.is_pressed()
        {
            tried = count(&rest);
            let more = match self.connect().await {
                Ok(next) => {
                    client = next;
                    let last = client.clone().send_last(rest, content.clone());
                    self.attend(&client, last).await
                }
                Err(error) => unsent(tried, &error),
            };
            outcome = outcome.with_rest(more);
        }
        (client, outcome)
    }

    /// Keeps a window of messages on their way, which share round trips. Where a server ends the
    /// connection after some, those that were not begun go by the next one.
    async fn deliver_many(
        &mut self,
        envelope: &Envelope,
        inputs: Vec<Input>,
    ) -> Result<(), Failure> {
        let fresh = |input| Waiting {
            input,
            loaded: None,
            before: None,
        };
        let mut run = Run {
            envelope,
            waiting: inputs.into_iter().map(fresh).collect(),
            flights: VecDeque::new(),
            stranded: Vec::new(),
            client: None,
            answered: 0,
        };
        loop {
            self.launch(&mut run).await?;
            let (Some(flight), Some(client)) = (run.flights.pop_front(), run.client.clone()) else {
                break;
            };
            self.land(&mut run, &client, flight).await;
        }
        if let Some(client) = run.client {
            let _ = client.close().await;
        }
        Ok(())
    }

    /// Starts messages while there is room for them.
    async fn launch(&mut self, run: &mut Run<'_>) -> Result<(), Failure> {
        run.pick_up_stranded();
        while run.has_room()
            && let Some(next) = run.waiting.pop_front()
        {
            if self.interrupt.is_pressed() {
                self.refuse_rest(run, next, &interrupt::stopped(Stage::Mail));
                return Ok(());
            }
            let loaded = match next.loaded {
                Some(loaded) => loaded,
                None => match self.load(&next.input).await {
                    Ok(loaded) => loaded,
                    Err(failure) => {
                        self.report_unloadable(&next.input, next.before, &failure);
                        continue;
                    }
                },
            };
            let client = match &run.client {
                Some(client) => client.clone(),
                None => match self.connect().await {
                    Ok(client) => {
                        run.answered = 0;
                        self.warn_of(run.envelope, &client);
                        run.client.insert(client).clone()
                    }
                    Err(error) => {
                        possible(&error)?;
                        let next = Waiting {
                            input: next.input,
                            loaded: None,
                            before: next.before,
                        };
                        self.refuse_rest(run, next, &error);
                        return Ok(());
                    }
                },
            };
            let rest = next
                .before
                .as_ref()
                .and_then(|before| run.envelope.rest(before));
            let envelope = rest.unwrap_or_else(|| run.envelope.clone());
            let sending = match loaded {
                Loaded::Whole(content) => {
                    let delivery = client.submit(envelope.clone(), content.clone());
                    Sending::Shared(delivery, content)
                }
                Loaded::Stream(streamed, file) if run.flights.is_empty() => {
                    Sending::Alone(streamed, file)
                }
                stream @ Loaded::Stream(..) => {
                    run.waiting.push_front(Waiting {
                        input: next.input,
                        loaded: Some(stream),
                        before: next.before,
                    });
                    return Ok(());
                }
            };
            run.flights.push_back(Flight {
                input: next.input,
                envelope,
                before: next.before,
                sending,
                begun: Instant::now(),
            });
        }
        Ok(())
    }

    /// Reads and scans a message; Ctrl-C ends the wait for it.
    async fn load(&mut self, input: &Input) -> Result<Loaded, Failure> {
        tokio::select! {
            biased;
            () = self.interrupt.wait() => Err(Failure::Data(interrupt::stopped(Stage::Connect))),
            loaded = input.load(self.rules) => loaded,
        }
    }

    /// Waits for the oldest message, and reports it or puts it back.
    async fn land(&mut self, run: &mut Run<'_>, client: &Client, flight: Flight) {
        let Flight {
            input,
            envelope,
            before,
            sending,
            begun,
        } = flight;
        let (outcome, loaded) = match sending {
            Sending::Shared(delivery, content) => {
                let outcome = self.attend(client, delivery).await;
                (outcome, Some(Loaded::Whole(content)))
            }
            Sending::Alone(streamed, file) => {
                let sending = client.send_from(envelope.clone(), streamed, file);
                (self.attend(client, sending).await, None)
            }
        };
        let left = envelope.rest(&outcome);
        if left.as_ref().map(count) != Some(count(&envelope)) {
            run.answered += 1;
        }
        let outcome = match before {
            Some(before) => before.with_rest(outcome),
            None => outcome,
        };
        // Without an answer on this connection a new one would fare no better.
        if run.answered > 0 && !self.interrupt.is_pressed() && left.is_some() {
            run.stranded.push(Waiting {
                input,
                loaded,
                before: Some(outcome),
            });
            return;
        }
        let name = Some(input.name());
        self.report_outcome(name, client, outcome, begun.elapsed());
    }

    /// What of the envelope is sent, and a server may still mind.
    fn warn_of(&self, envelope: &Envelope, client: &Client) {
        for shortfall in preflight(
            envelope,
            None,
            &client.session(),
            &self.setup.config.session,
        ) {
            if shortfall.effect == Effect::Sent {
                terminal::warn(format_args!("{}. {}", shortfall.message, shortfall.hint));
            }
        }
    }

    /// Connects. What is known of the server is kept even where no session comes of it.
    async fn connect(&mut self) -> Result<Client, Error> {
        let config = self.setup.config.clone();
        self.server = ServerFacts::unknown(&config);
        (self.spent, self.reported) = (Stats::default(), Stats::default());
        let dialling = Client::open(config, Some(Box::new(self.audience.clone())));
        let mut connecting = tokio::select! {
            biased;
            () = self.interrupt.wait() => return Err(interrupt::stopped(Stage::Connect)),
            connecting = dialling => connecting?,
        };
        self.server.place.address = connecting.peer_addr();
        let client = tokio::select! {
            biased;
            () = self.interrupt.wait() => {
                connecting.abort();
                (&mut connecting)
                    .await
                    .map_err(|error| interrupt::stopped(error.stage()))
            }
            client = &mut connecting => client,
        };
        self.server.session = connecting.session();
        if client.is_err() {
            self.spent = connecting.stats();
        }
        client
    }

    /// Waits for an outcome. At Ctrl-C the message is withdrawn as far as the protocol still allows;
    /// where the server has all of it, its answer is waited for a little.
    async fn attend(&mut self, client: &Client, sending: impl Future<Output = Outcome>) -> Outcome {
        let mut sending = pin!(sending);
        tokio::select! {
            biased;
            outcome = &mut sending => return outcome,
            () = self.interrupt.wait() => {}
        }
        terminal::warn("interrupted: finding out what the server has (Ctrl-C again ends at once)");
        client.withdraw();
        let outcome = match tokio::time::timeout(PATIENCE, &mut sending).await {
            Ok(outcome) => outcome,
            Err(_) => {
                client.abort();
                sending.await
            }
        };
        Outcome::new(
            outcome
                .verdicts()
                .iter()
                .map(interrupt::explained)
                .collect(),
        )
        .with_notices(outcome.notices().to_vec())
    }

    fn refuse_rest(&mut self, run: &mut Run<'_>, next: Waiting, error: &Error) {
        let rest = std::iter::once(next).chain(run.waiting.drain(..));
        for waiting in rest {
            self.report_unsent(&waiting.input, waiting.before, error);
        }
    }

    fn report_unloadable(&mut self, input: &Input, before: Option<Outcome>, failure: &Failure) {
        match failure {
            Failure::Data(error) => self.report_unsent(input, before, error),
            Failure::Usage(_) | Failure::Config(_) | Failure::NoInput(_) | Failure::Internal(_) => {
                terminal::error(failure);
                self.remember(Overall::Failed, failure.exit());
            }
        }
    }

    /// Nothing more of this message is sent.
    fn report_unsent(&mut self, input: &Input, before: Option<Outcome>, error: &Error) {
        let name = Some(input.name());
        match before {
            Some(before) => {
                let rest = unsent(before.verdicts().len(), error);
                self.report(name, before.with_rest(rest), self.begun.elapsed());
            }
            None => self.report_failure(name, error),
        }
    }

    fn report_failure(&mut self, name: Option<String>, error: &Error) {
        let outcome = unsent(self.arguments.envelope.to.len(), error);
        self.report(name, outcome, self.begun.elapsed());
    }

    fn report_outcome(
        &mut self,
        name: Option<String>,
        client: &Client,
        outcome: Outcome,
        elapsed: Duration,
    ) {
        self.spent = client.stats();
        self.server.session = Some(client.session());
        self.report(name, outcome, elapsed);
    }

    fn report(&mut self, message: Option<String>, outcome: Outcome, elapsed: Duration) {
        for notice in outcome.notices() {
            match &message {
                Some(name) => terminal::warn(format_args!("{name}: {notice}")),
                None => terminal::warn(notice),
            }
        }
        let recipients = self.arguments.envelope.to.iter().cloned();
        let report = Report {
            message,
            server: self.server.clone(),
            recipients: recipients.zip(outcome.verdicts().iter().cloned()).collect(),
            traffic: Traffic::between(&self.reported, &self.spent),
            elapsed,
        };
        self.reported = self.spent;
        match self.arguments.json {
            true => terminal::line(report.json()),
            false => {
                if self.tail == DialogueTail::Left {
                    terminal::line("");
                }
                human::print(&report, self.tail);
            }
        }
        self.remember(report.overall(), report.exit());
    }

    /// The worst outcome decides; of two alike, the one that another try does not mend.
    fn remember(&mut self, overall: Overall, exit: Exit) {
        let rank = |(overall, exit): (Overall, Exit)| (overall, exit != Exit::Temporary);
        if rank((overall, exit)) > rank(self.worst) {
            self.worst = (overall, exit);
        }
    }
}

impl Run<'_> {
    fn has_room(&self) -> bool {
        let alone = |flight: &Flight| matches!(flight.sending, Sending::Alone(..));
        self.flights.len() < WINDOW && self.stranded.is_empty() && !self.flights.iter().any(alone)
    }

    /// Once the last message on the dead connection has its verdict, the stranded ones wait for a
    /// new one, in their old order.
    fn pick_up_stranded(&mut self) {
        if self.stranded.is_empty() || !self.flights.is_empty() {
            return;
        }
        self.client = None;
        for stranded in self.stranded.drain(..).rev() {
            self.waiting.push_front(stranded);
        }
    }
}

fn count(envelope: &Envelope) -> usize {
    envelope.recipients().len()
}

/// The outcome of a message that was sent to none of so many.
fn unsent(recipients: usize, error: &Error) -> Outcome {
    Outcome::new(vec![Verdict::NotSent(error.clone()); recipients])
}

/// Whether the connection was at least tried.
///
/// # Errors
/// Options that no connection can be made with: there is nothing to report of a server.
pub(crate) fn possible(error: &Error) -> Result<(), Failure> {
    let not_tried = matches!(error.stage(), Stage::Resolve | Stage::Connect);
    match error.category() == Category::Usage && not_tried {
        true => Err(Failure::usage(error.message())),
        false => Ok(()),
    }
}

/// Messages on their way at a time: enough to fill a round trip, few enough to fit in memory.
const WINDOW: usize = 16;
/// How long a server may take to answer after Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(2);
