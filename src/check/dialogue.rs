//! One connection, from its address to the good-bye, within a deadline.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Check;
use super::recorder::Recorder;
use super::step::milliseconds;
use crate::error::{Category, Error, Party, Stage};
use crate::message::Message;
use crate::net::client::Client;
use crate::net::config::ClientConfig;
use crate::proto::address::{Mailbox, ReversePath};
use crate::proto::body::{BareNewlines, Content};
use crate::proto::dialogue::Observer;
use crate::proto::reply::Reply;
use crate::proto::session::Session;
use crate::proto::transaction::{Envelope, Outcome, Recipient};
use crate::proto::{Evidence, Resolution};

/// The connection that is checked.
pub(super) struct Dialogue {
    config: ClientConfig,
    sender: ReversePath,
    from_name: Option<String>,
    send_to: Option<Mailbox>,
    allowance: Duration,
    recorder: Arc<Recorder>,
    until: Instant,
}

/// Who is shown the dialogue.
type Watching = Option<Box<dyn Observer + Send>>;

/// How a dialogue ended.
pub(super) struct Ending {
    pub(super) error: Option<Error>,
    /// What is known of the server, if it came to a greeting.
    pub(super) session: Option<Session>,
    /// The test mail, if it was accepted.
    pub(super) delivered: Option<Delivered>,
    /// What works all the same.
    pub(super) warnings: Vec<String>,
    /// When it was over.
    pub(super) at: Instant,
}

/// A test mail that was accepted.
pub(super) struct Delivered {
    pub(super) from: Mailbox,
    pub(super) to: Mailbox,
    pub(super) message_id: Option<String>,
    pub(super) reply: Option<Reply>,
}

impl Ending {
    /// It came to nothing.
    pub(super) fn failed(error: Error) -> Self {
        Self {
            error: Some(error),
            ..Self::good()
        }
    }

    fn good() -> Self {
        Self {
            error: None,
            session: None,
            delivered: None,
            warnings: Vec::new(),
            at: Instant::now(),
        }
    }
}

impl Dialogue {
    pub(super) fn new(check: &Check, recorder: Arc<Recorder>, until: Instant) -> Self {
        let sender = check.sender().map_or(ReversePath::Null, ReversePath::from);
        // The attempts that had no answer are named only if they may still end by themselves.
        let connect_timeout = check
            .config
            .connect_timeout
            .min(check.deadline - check.deadline / 20);
        let watcher: Arc<Recorder> = Arc::clone(&recorder);
        let mut config = check
            .config
            .clone()
            .with_connect_timeout(connect_timeout)
            .with_watcher(watcher);
        // Nothing depends on its answer, and what is known need not wait for it.
        let timeouts = &mut config.session.timeouts;
        timeouts.quit = timeouts.quit.min(GOOD_BYE);
        Self {
            config,
            sender,
            from_name: check.from_name.clone(),
            send_to: check.send_to.clone(),
            allowance: check.deadline,
            recorder,
            until,
        }
    }

    /// Goes through all steps, as far as they go.
    pub(super) async fn run(self, observer: Watching) -> Ending {
        let mut ending = Ending::good();
        ending.error = self.go(&mut ending, observer).await.err();
        ending.at = Instant::now();
        ending
    }

    async fn go(&self, ending: &mut Ending, observer: Watching) -> Result<(), Error> {
        let client = self.connect(&mut ending.session, observer).await?;
        let result = self.transact(&client, ending).await;
        ending.session = Some(client.session());
        result?;
        match self.part(client).await {
            Err(error) if lacks_rset(&error) => {
                if ending.warnings.is_empty() {
                    ending.warnings.push(WITHOUT_RSET.to_owned());
                }
                Ok(())
            }
            parted => parted,
        }
    }

    async fn connect(
        &self,
        session: &mut Option<Session>,
        observer: Watching,
    ) -> Result<Client, Error> {
        let opening = Client::open(self.config.clone(), observer);
        let mut connecting = match timeout_at(self.until, opening).await {
            Ok(connecting) => connecting?,
            Err(_) => return Err(self.out_of_time(self.recorder.waiting_for())),
        };
        let connected = match timeout_at(self.until, &mut connecting).await {
            Ok(connected) => connected,
            Err(_) => {
                // Only the engine knows which step it waits for.
                connecting.abort();
                let ended = (&mut connecting).await;
                ended.map_err(|error| self.at_deadline(error))
            }
        };
        *session = connecting.session();
        connected
    }

    /// MAIL and RSET, then the test mail.
    async fn transact(&self, client: &Client, ending: &mut Ending) -> Result<(), Error> {
        let nobody: [Recipient; 0] = [];
        let probe = client.probe(Envelope::new(self.sender.clone(), nobody));
        let outcome = self.in_time(client, Stage::Mail, probe).await?;
        let reply = accepted(outcome).map_err(|error| match self.sender {
            ReversePath::Null => error.with_hint(
                "Give the address to send from: the empty one, used for want of it, is refused by \
                 many servers that want a log-in.",
            ),
            ReversePath::Mailbox(_) => error,
        })?;
        let detail = match reply {
            Some(reply) => format!("{}: {reply}", path(&self.sender)),
            None => path(&self.sender),
        };
        self.recorder.done(Stage::Mail, detail, now());
        if let Some(to) = &self.send_to {
            ending.delivered = Some(match self.send(client, to.clone()).await {
                Err(error) if lacks_rset(&error) => {
                    ending.warnings.push(WITHOUT_RSET.to_owned());
                    self.send_anew(to.clone()).await?
                }
                sent => sent?,
            });
        }
        Ok(())
    }

    /// Sends over a connection of its own, in whose way there is no sender to be taken back.
    async fn send_anew(&self, to: Mailbox) -> Result<Delivered, Error> {
        let mut config = self.config.clone();
        config.watcher = None;
        let connecting = Client::connect(config);
        let Ok(connected) = timeout_at(self.until, connecting).await else {
            return Err(self.out_of_time(Stage::Rcpt));
        };
        let client = connected?;
        let delivered = self.send(&client, to).await?;
        self.part(client).await?;
        Ok(delivered)
    }

    async fn send(&self, client: &Client, to: Mailbox) -> Result<Delivered, Error> {
        let ReversePath::Mailbox(from) = self.sender.clone() else {
            return Err(unsendable("a test mail needs a sender")
                .with_hint("Give the address to send from."));
        };
        let mut message = Message::new(from.clone());
        if let Some(name) = &self.from_name {
            message = message.with_from_name(name.as_str());
        }
        if let Some(to) = in_header(&to, &client.session()) {
            message = message.with_recipient(to);
        }
        let octets = message
            .with_subject(format!("Test mail through {}", self.config.host))
            .with_text(text(&self.config, &from))
            .compose()
            .map_err(|error| unsendable(error.to_string()))?;
        let message_id = message_id(&octets);
        let content = Content::check(octets, BareNewlines::Normalise)
            .map_err(|error| unsendable(error.to_string()))?;
        let envelope = Envelope::new(from.clone(), [to.clone()]);
        let sending = client.send(envelope, content);
        let outcome = self.in_time(client, Stage::Body, sending).await?;
        let reply = accepted(outcome)?;
        let detail = reply.as_ref().map_or_else(String::new, Reply::to_string);
        self.recorder.done(Stage::Body, detail, now());
        Ok(Delivered {
            from,
            to,
            message_id,
            reply,
        })
    }

    /// QUIT. Nothing depends on its answer, but what was unanswered before it still counts.
    async fn part(&self, client: Client) -> Result<(), Error> {
        let handle = client.clone();
        let mut closing = Box::pin(client.close());
        let closed = match timeout_at(self.until, &mut closing).await {
            Ok(closed) => closed,
            Err(_) => {
                handle.abort();
                let ended = closing.await;
                ended.map_err(|error| match error.stage() {
                    Stage::Quit => error,
                    _ => self.at_deadline(error),
                })
            }
        };
        match closed {
            Err(error) if error.stage() != Stage::Quit => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The outcome, or that the time is over: then the connection says at which step that was.
    async fn in_time(
        &self,
        client: &Client,
        stage: Stage,
        outcome: impl Future<Output = Outcome>,
    ) -> Result<Outcome, Error> {
        let mut outcome = Box::pin(outcome);
        if let Ok(outcome) = timeout_at(self.until, &mut outcome).await {
            return Ok(outcome);
        }
        client.abort();
        let outcome = outcome.await;
        let Some(error) = outcome.error() else {
            return Ok(outcome);
        };
        if !is_of_abort(&error) {
            return Err(error);
        }
        // Of a message that was sent to its end, the error is at its reply, whatever was waited for.
        let closed = client.clone().close().await.err();
        let found = self.at_deadline(closed.unwrap_or_else(|| error.clone().at(stage)));
        match error.evidence() {
            Some(Evidence::ReplyLost) if found.stage() == Stage::Body => Err(found
                .with_hint(
                    "The server may have the test mail: look for it before you send another.",
                )
                .with_evidence(Evidence::ReplyLost)),
            Some(_) | None => Err(found),
        }
    }

    /// What was known when the time was over and the connection was ended, or else at which step that
    /// was.
    fn at_deadline(&self, error: Error) -> Error {
        if !is_of_abort(&error) {
            return error;
        }
        let stage = match error.stage() {
            // It came to its end, though nothing was said behind it.
            Stage::Handshake if self.recorder.tls().is_some() => self.recorder.waiting_for(),
            stage => stage,
        };
        self.out_of_time(stage)
            .with_progress(error.progress().clone())
    }

    fn out_of_time(&self, stage: Stage) -> Error {
        let so_far: Vec<_> = self
            .recorder
            .steps()
            .iter()
            .map(|step| format!("{} took {} ms", step.name, milliseconds(step.took)))
            .collect();
        let so_far = match so_far.is_empty() {
            true => String::new(),
            false => format!(" ({})", so_far.join(", ")),
        };
        let message = format!(
            "the {} seconds of the check were over {}{so_far}",
            self.allowance.as_secs_f64(),
            moment(stage)
        );
        let error = Error::new(Category::ConnectionTimeout, stage, Party::Network, message)
            .with_hint(hint(stage));
        if stage == Stage::Resolve {
            return error.with_evidence(Evidence::Resolution(Resolution::TimedOut));
        }
        error
    }
}

/// Whether an error may be that of the abort itself: a connection that was lost before needs none.
fn is_of_abort(error: &Error) -> bool {
    matches!(error.category(), Category::ConnectionLost | Category::Tls)
}

/// Whether a sender was accepted who then could not be taken back.
fn lacks_rset(error: &Error) -> bool {
    let refused = |reply: &Reply| matches!(reply.code().number(), 500 | 502);
    error.stage() == Stage::Mail
        && error.category() == Category::Protocol
        && error.reply().is_some_and(refused)
}

/// The reply that accepted somebody.
///
/// # Errors
/// Nobody was accepted.
fn accepted(outcome: Outcome) -> Result<Option<Reply>, Error> {
    let outcome = outcome.into_result()?;
    let accepted = outcome.verdicts().iter().find(|v| v.is_accepted());
    Ok(accepted.and_then(|verdict| verdict.reply().cloned()))
}

/// The recipient as the server takes it in a header; `None` where it takes no such letters, and will
/// say so of the recipient itself.
fn in_header(to: &Mailbox, session: &Session) -> Option<Mailbox> {
    match to.is_ascii() || session.extensions().offers("SMTPUTF8") {
        true => Some(to.clone()),
        false => to.to_ascii(),
    }
}

fn path(sender: &ReversePath) -> String {
    match sender {
        ReversePath::Null => "<>".to_owned(),
        ReversePath::Mailbox(mailbox) => mailbox.to_string(),
    }
}

fn text(config: &ClientConfig, from: &Mailbox) -> String {
    format!(
        "This is a test mail. It was sent from {from} through {}, port {}, to see whether mail that \
         is sent that way arrives.\n\nThere is nothing to do; it can be deleted.\n",
        config.host, config.port
    )
}

/// The line behind `Message-ID:`, without angle brackets.
fn message_id(octets: &[u8]) -> Option<String> {
    let text = str::from_utf8(octets).ok()?;
    let lines = text.lines().take_while(|line| !line.is_empty());
    let header = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("Message-ID"));
    header.map(|(_, id)| id.trim().trim_matches(['<', '>']).to_owned())
}

fn unsendable(message: impl Into<String>) -> Error {
    Error::new(Category::Usage, Stage::Data, Party::Caller, message)
}

fn moment(stage: Stage) -> &'static str {
    match stage {
        Stage::Resolve => "before the host's address was found",
        Stage::Connect => "before there was a connection",
        Stage::Greeting => "before the server's greeting",
        Stage::Ehlo => "before the server answered EHLO",
        Stage::StartTls => "before the server answered STARTTLS",
        Stage::Handshake => "during the TLS handshake",
        Stage::Auth => "before the log-in was answered",
        Stage::Mail => "before the server had answered MAIL and RSET",
        Stage::Rcpt => "before the recipient was answered",
        Stage::Data => "before the server asked for the test mail",
        Stage::Body => "before the test mail was answered",
        Stage::Quit => "before the good-bye",
    }
}

fn hint(stage: Stage) -> &'static str {
    match stage {
        Stage::Resolve => "Check the host's spelling, and this machine's resolver and network.",
        Stage::Connect => {
            "Check host and port, and whether a firewall or the provider blocks this port."
        }
        Stage::Greeting | Stage::Handshake => {
            "Check host, port and encryption; a slow server may need a longer deadline."
        }
        Stage::Ehlo
        | Stage::StartTls
        | Stage::Auth
        | Stage::Mail
        | Stage::Rcpt
        | Stage::Data
        | Stage::Body
        | Stage::Quit => "Try again later, or allow more time; the server may be overloaded.",
    }
}

/// What the check waits for QUIT's answer, at most.
const GOOD_BYE: Duration = Duration::from_secs(2);

const WITHOUT_RSET: &str = "The server does not know RSET, which every mail server should: a message that is given up ends \
     the connection.";

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
