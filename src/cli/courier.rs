//! Carries messages to the server over one connection, or as many as its limits make necessary, and
//! reports each as it is finished.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::args::SendArguments;
use super::connection::Setup;
use super::exit::Exit;
use super::failure::Failure;
use super::human::{self, DialogueTail};
use super::input::{Input, Inputs, Loaded, Number, Rules};
use super::interrupt::{self, Interrupt};
use super::report::{Overall, Report, ServerFacts, Tally, Traffic};
use super::run::Run;
use super::terminal;
use super::trace::{Audience, Dash, Show, Trace};
use crate::error::{Category, Error, Stage};
use crate::net::client::Client;
use crate::proto::Stats;
use crate::proto::body::Content;
use crate::proto::preflight::{Effect, preflight};
use crate::proto::transaction::{Commitment, Envelope, Outcome, Verdict};

/// Sends messages to one server.
pub(crate) struct Courier<'a> {
    pub(super) arguments: &'a SendArguments,
    pub(super) setup: &'a Setup,
    pub(super) rules: Rules,
    tail: DialogueTail,
    pub(super) audience: Audience,
    pub(super) interrupt: Interrupt,
    pub(super) begun: Instant,
    /// What is known of the server.
    pub(super) server: ServerFacts,
    /// Counters of the connection, now and as of the last report.
    pub(super) spent: Stats,
    pub(super) reported: Stats,
    worst: (Overall, Exit),
    tally: Tally,
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
            tally: Tally::default(),
        })
    }

    /// Sends the messages. Returns the code of the worst outcome.
    pub(crate) async fn deliver(
        &mut self,
        envelope: &Envelope,
        inputs: Inputs,
    ) -> Result<Exit, Failure> {
        match (inputs.number, inputs.list.as_slice()) {
            (Number::One, [only]) => self.deliver_one(envelope, only).await?,
            _ => Run::new(self, envelope, inputs).deliver().await?,
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

    /// Reads and scans a message; Ctrl-C ends the wait for it.
    async fn load(&mut self, input: &Input) -> Result<Loaded, Failure> {
        tokio::select! {
            biased;
            () = self.interrupt.wait() => Err(Failure::Data(interrupt::stopped(Stage::Connect))),
            loaded = input.load(self.rules) => loaded,
        }
    }

    /// What of the envelope is sent, and a server may still mind.
    pub(super) fn warn_of(&self, envelope: &Envelope, client: &Client) {
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
        interrupt::explained(&outcome)
    }

    pub(super) fn report_failure(&mut self, name: Option<String>, error: &Error) {
        let outcome = unsent(self.arguments.envelope.to.len(), error);
        self.report(name, outcome, self.begun.elapsed());
    }

    pub(super) fn report_outcome(
        &mut self,
        name: Option<String>,
        client: &Client,
        outcome: Outcome,
        elapsed: Duration,
    ) {
        self.spent = client.stats();
        self.server.place.address = client.peer_addr();
        self.server.session = Some(client.session());
        self.report(name, outcome, elapsed);
    }

    pub(super) fn report(&mut self, message: Option<String>, outcome: Outcome, elapsed: Duration) {
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
            commitment: match self.arguments.envelope.all_or_nothing {
                true => Commitment::AllOrNothing,
                false => Commitment::Each,
            },
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

    /// Says for people what became of a run of several messages.
    pub(super) fn sum_up(&self) {
        terminal::clear_status();
        if !self.arguments.json {
            human::sum_up(&self.tally, self.begun.elapsed());
        }
    }

    /// The worst outcome decides; of two alike, the one that another try does not mend.
    pub(super) fn remember(&mut self, overall: Overall, exit: Exit) {
        self.tally.add(overall);
        let rank = |(overall, exit): (Overall, Exit)| (overall, exit != Exit::Temporary);
        if rank((overall, exit)) > rank(self.worst) {
            self.worst = (overall, exit);
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

/// How long a server may take to answer after Ctrl-C.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
