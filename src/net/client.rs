//! The handles that callers hold.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::config::ClientConfig;
use super::driver::{Driver, Endpoints};
use super::milestone::Milestone;
use super::rounds::Rounds;
use super::route::{self, Reached};
use super::secure::Starter;
use super::shared::{Departure, Life, Name, Owner, Standing, State, closed_error, now};
use crate::error::{Category, Error, Party, Stage};
use crate::proto::Stats;
use crate::proto::dialogue::Observer;
use crate::proto::session::Session;
use crate::proto::transaction::{Body, Envelope, Outcome, Streamed, TransactionId, Verdict};

/// A connection that is ready to send messages.
///
/// A clone is another handle to the same connection; messages of many tasks share its round trips.
/// When the last handle and the last [`Delivery`] are dropped, the connection says QUIT and closes.
///
/// A client is one session, and makes no other. A server may take only so many messages in one, or
/// recipients of only so many domains (MAILMAX and RCPTDOMAINMAX, RFC 9422), and may close when it
/// likes: [`Envelope::rest`] says whom the next client has to send the message to, and
/// [`Outcome::with_rest`] what came of both.
///
/// ```no_run
/// use ehlo::{BareNewlines, Client, ClientConfig, Content, Envelope, Mailbox, Security};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect(ClientConfig::new("mail.example.org", Security::StartTls)).await?;
/// let from: Mailbox = "alice@example.org".parse()?;
/// let to: Mailbox = "bob@example.com".parse()?;
/// let message = Content::check("Subject: Hello\r\n\r\nHello.\r\n", BareNewlines::Reject)?;
/// client.send(Envelope::new(from, [to]), message).await.into_result()?;
/// client.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    owner: Arc<Owner>,
    session: Session,
}

impl Client {
    /// Connects, starts TLS and logs in, as the configuration says.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// Whatever comes between here and a session that can send: the error's stage says where, and
    /// at `connect` its message has every address that was tried.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        Self::reach(config, None).await
    }

    /// As [`Self::connect`], and shows the dialogue to an observer.
    ///
    /// The observer is called while the connection is locked: it must not use the client.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_observed(
        config: ClientConfig,
        observer: Box<dyn Observer + Send>,
    ) -> Result<Self, Error> {
        Self::reach(config, Some(observer)).await
    }

    /// Connects the socket alone, and leaves greeting, TLS and log-in to what it returns: for those
    /// who want the facts of a session that never got ready.
    ///
    /// # Errors
    /// No address that may be connected to, or none that answers; no way through the proxy; a
    /// configuration that cannot be used.
    pub async fn open(
        config: ClientConfig,
        observer: Option<Box<dyn Observer + Send>>,
    ) -> Result<Connecting, Error> {
        let starter = Starter::prepare(&config).await?;
        config.reached(Milestone::Prepared);
        match route::reach(&config).await? {
            Reached::Tcp(stream, endpoints) => {
                let (owner, driver) = Driver::new(stream, &config, starter, endpoints, observer)?;
                tokio::spawn(driver);
                Ok(Connecting { owner })
            }
            #[cfg(unix)]
            Reached::Unix(stream) => {
                let endpoints = Endpoints::default();
                let (owner, driver) = Driver::new(stream, &config, starter, endpoints, observer)?;
                tokio::spawn(driver);
                Ok(Connecting { owner })
            }
        }
    }

    /// Connects, and is the driver itself until the session is ready: no other task has to be woken.
    async fn reach(
        config: ClientConfig,
        observer: Option<Box<dyn Observer + Send>>,
    ) -> Result<Self, Error> {
        let starter = Starter::prepare(&config).await?;
        config.reached(Milestone::Prepared);
        match route::reach(&config).await? {
            Reached::Tcp(stream, endpoints) => {
                let (owner, driver) = Driver::new(stream, &config, starter, endpoints, observer)?;
                Self::driven(Connecting { owner }, driver).await
            }
            #[cfg(unix)]
            Reached::Unix(stream) => {
                let endpoints = Endpoints::default();
                let (owner, driver) = Driver::new(stream, &config, starter, endpoints, observer)?;
                Self::driven(Connecting { owner }, driver).await
            }
        }
    }

    async fn driven<S>(connecting: Connecting, mut driver: Driver<S>) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = poll_fn(|cx| {
            let _ = Pin::new(&mut driver).poll(cx);
            connecting.settled()
        })
        .await?;
        // The caller's own waker: from here on another task is woken.
        client.owner.shared.lock().driver = None;
        tokio::spawn(driver);
        Ok(client)
    }

    /// Uses a stream that the caller has connected: by a library of their own, or one in memory.
    ///
    /// It is flushed after each flight. TLS starts on it as the configuration's security says; the
    /// host is only used for the certificate's name, route and address policy not at all. A TCP stream should have TCP_NODELAY set.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn attach<S>(stream: S, config: ClientConfig) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (connecting, driver) = Self::undriven(stream, config, None).await?;
        Self::driven(connecting, driver).await
    }

    /// As [`Self::attach`], but the caller polls the driver: beside the client, or in a task of its
    /// own. It must be polled within a tokio runtime whose time is enabled.
    ///
    /// # Errors
    /// A configuration that cannot be used.
    pub async fn undriven<S>(
        stream: S,
        config: ClientConfig,
        observer: Option<Box<dyn Observer + Send>>,
    ) -> Result<(Connecting, Driver<S>), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let starter = Starter::prepare(&config).await?;
        let (owner, driver) =
            Driver::new(stream, &config, starter, Endpoints::default(), observer)?;
        Ok((Connecting { owner }, driver))
    }

    /// Queues a message at once, without waiting for room, and returns what to await. Messages that
    /// are queued one after another share round trips where the server allows it.
    ///
    /// A submission that cannot be made becomes an outcome whose verdicts say why.
    pub fn submit(&self, envelope: Envelope, body: impl Into<Body>) -> Delivery {
        let body = body.into();
        let permits = self.owner.shared.take_room(Some(&body));
        self.enqueue(envelope, Some(body), permits)
    }

    /// Asks for each recipient whether the server would accept it, or, where there is none, whether it
    /// would accept the sender: the outcome then has one verdict. Nothing is sent to anybody.
    pub fn probe(&self, envelope: Envelope) -> Delivery {
        let permits = self.owner.shared.take_room(None);
        self.enqueue(envelope, None, permits)
    }

    /// Sends a message and waits for the verdicts; before that it waits for room, where more than
    /// about a thousand messages or 16 MiB are queued.
    ///
    /// Dropping the future withdraws the message as far as the protocol still allows; the
    /// connection stays usable, or closes where nothing else is possible.
    pub async fn send(&self, envelope: Envelope, body: impl Into<Body>) -> Outcome {
        let body = body.into();
        let permits = self.owner.shared.wait_for_room(&body).await;
        self.enqueue(envelope, Some(body), permits).await
    }

    /// Sends a message that is read piece by piece, when the server asks for it. At most some
    /// hundred KiB of it are in memory at any time.
    ///
    /// A reader that fails ends the connection, since the message can be neither completed nor taken
    /// back; its error is the source of the verdicts' error.
    pub async fn send_from<R>(
        &self,
        envelope: Envelope,
        streamed: Streamed,
        mut reader: R,
    ) -> Outcome
    where
        R: AsyncRead + Unpin,
    {
        let body = Body::Streamed(streamed);
        let permits = self.owner.shared.wait_for_room(&body).await;
        let mut delivery = self.enqueue(envelope, Some(body), permits);
        delivery.feed(&mut reader).await
    }

    /// Sends one message and ends the connection. QUIT travels with the message, where the server
    /// allows it, and its reply is not waited for.
    ///
    /// Other handles to the connection can submit nothing more; what they have submitted is still
    /// done.
    pub async fn send_last(self, envelope: Envelope, body: impl Into<Body>) -> Outcome {
        let body = body.into();
        let permits = self.owner.shared.wait_for_room(&body).await;
        let submitted = self.owner.shared.change(|state| {
            let now = now();
            let submitted = begin(state, envelope, Some(body), permits, now);
            state.leave(now);
            submitted
        });
        let outcome = self.delivery(submitted, permits).await;
        self.owner
            .shared
            .change(|state| state.departure = Departure::WhenIdle);
        outcome
    }

    /// Withdraws every message that is not finished, as far as the protocol still allows. Each
    /// [`Delivery`] still resolves, and says what became of its message.
    pub fn withdraw(&self) {
        self.owner.shared.change(|state| state.withdraw(now()));
    }

    /// Ends the connection at once, without QUIT. Each [`Delivery`] still resolves: a message whose
    /// end was sent, and not answered, is in doubt.
    pub fn abort(&self) {
        self.owner.shared.abort();
    }

    /// The facts of the session: greeting, offers, TLS and log-in.
    pub fn session(&self) -> Session {
        let state = self.owner.shared.lock();
        match state.connection.session() {
            Some(session) => session.clone(),
            None => self.session.clone(),
        }
    }

    /// Counters of the connection.
    pub fn stats(&self) -> Stats {
        self.owner.shared.lock().connection.stats()
    }

    /// The address of the server; `None` on a Unix socket, on a stream that the caller brought, and
    /// behind a proxy that has looked up the host's name itself.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.owner.shared.peer()
    }

    /// Waits until everything submitted so far is done, says QUIT, and waits for the answer, which
    /// is given 5 seconds (see [`crate::proto::Timeouts`]).
    ///
    /// # Errors
    /// What ended the connection before.
    pub async fn close(self) -> Result<(), Error> {
        self.owner.shared.change(|state| state.leave(now()));
        self.closed().await
    }

    /// Waits for the end of the connection, whoever makes it.
    pub(super) async fn closed(&self) -> Result<(), Error> {
        poll_fn(|cx| self.owner.shared.lock().poll_closed(cx)).await
    }

    /// Whether both are handles to one connection.
    #[cfg(feature = "cli")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.owner, &other.owner)
    }

    /// Messages that the server has answered, one way or the other.
    pub(super) fn answered(&self) -> u64 {
        self.owner.shared.lock().answered()
    }

    /// The first message that had no answer when the connection ended.
    pub(super) fn casualty(&self) -> Option<Name> {
        self.owner.shared.lock().casualty()
    }

    /// Whether it still takes messages: nobody has ended it, and nobody is about to.
    pub(super) fn is_open(&self) -> bool {
        let state = self.owner.shared.lock();
        state.takes_messages()
    }

    fn enqueue(&self, envelope: Envelope, body: Option<Body>, permits: u32) -> Delivery {
        let submitted = self
            .owner
            .shared
            .change(|state| begin(state, envelope, body, permits, now()));
        self.delivery(submitted, permits)
    }

    fn delivery(&self, submitted: Result<DeliveryStage, Vec<Verdict>>, permits: u32) -> Delivery {
        let stage = match submitted {
            Ok(stage) => stage,
            Err(verdicts) => {
                self.owner.shared.give_room(permits);
                DeliveryStage::Refused(Outcome::new(verdicts))
            }
        };
        Delivery {
            owner: Arc::clone(&self.owner),
            stage,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.owner.shared.peer())
            .finish_non_exhaustive()
    }
}

/// A connection that is not ready yet: resolves to its [`Client`], or to why there is none.
///
/// Dropping it closes the connection. Awaited by reference, it still tells the facts of a session
/// that failed.
#[must_use = "dropping it closes the connection"]
pub struct Connecting {
    owner: Arc<Owner>,
}

impl Connecting {
    /// What is known of the session, once the greeting is there.
    pub fn session(&self) -> Option<Session> {
        self.owner.shared.lock().connection.session().cloned()
    }

    /// How it ended, if it has.
    fn settled(&self) -> Poll<Result<Client, Error>> {
        match &self.owner.shared.lock().life {
            Life::Opening(_) => Poll::Pending,
            Life::Ready(session) => Poll::Ready(Ok(Client {
                owner: Arc::clone(&self.owner),
                session: session.clone(),
            })),
            Life::Closed(Err(error)) => Poll::Ready(Err(error.clone())),
            Life::Closed(Ok(())) => Poll::Ready(Err(closed_error())),
        }
    }

    /// Counters of the connection.
    pub fn stats(&self) -> Stats {
        self.owner.shared.lock().connection.stats()
    }

    /// Gives up: awaited by reference, it then says at which stage that was.
    pub fn abort(&self) {
        self.owner.shared.abort();
    }

    /// The address of the server; `None` on a Unix socket, on a stream that the caller brought, and
    /// behind a proxy that has looked up the host's name itself.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.owner.shared.peer()
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

impl Future for Connecting {
    type Output = Result<Client, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Life::Opening(waker) = &mut self.owner.shared.lock().life {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.settled()
    }
}

/// A submitted message, or a probe: resolves to its verdicts.
///
/// Dropped before that, the message is withdrawn as far as the protocol still allows.
#[must_use = "dropping it withdraws the message"]
pub struct Delivery {
    owner: Arc<Owner>,
    stage: DeliveryStage,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}

enum DeliveryStage {
    Waiting(TransactionId),
    /// Of a message that may take more than one transaction.
    InRounds(u64),
    Refused(Outcome),
    Taken,
}

impl Delivery {
    /// By which the connection knows the message, as long as its outcome was not taken.
    pub(super) fn name(&self) -> Option<Name> {
        match self.stage {
            DeliveryStage::Waiting(id) => Some(Name::Alone(id)),
            DeliveryStage::InRounds(number) => Some(Name::InRounds(number)),
            DeliveryStage::Refused(_) | DeliveryStage::Taken => None,
        }
    }

    /// Writes a streamed body, as the engine wants it, and waits for the outcome.
    pub(super) async fn feed<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> Outcome {
        let mut buffer = BytesMut::new();
        loop {
            // With nearly all of the last piece sent, its memory serves again.
            let is_used_up = buffer.capacity() < PIECE / 4;
            let room = if is_used_up { PIECE / 4 * 3 } else { 1 };
            if let Some(outcome) = self.room_or_outcome(room).await {
                return outcome;
            }
            if is_used_up {
                buffer.reserve(PIECE);
            }
            let read = tokio::select! {
                biased;
                outcome = &mut *self => return outcome,
                read = reader.read_buf(&mut buffer) => read,
            };
            match read {
                Ok(0) => {
                    while self.finish_body() == Taken::No {
                        if let Some(outcome) = self.room_or_outcome(1).await {
                            return outcome;
                        }
                    }
                    return self.await;
                }
                Ok(_) => {
                    let mut piece = buffer.split().freeze();
                    while let Err(back) = self.write_body(piece) {
                        piece = back;
                        if let Some(outcome) = self.room_or_outcome(1).await {
                            return outcome;
                        }
                    }
                }
                Err(error) => {
                    self.abandon_body();
                    return blame_reader(self.await, error);
                }
            }
        }
    }

    /// Waits until the engine wants so many octets more of the body, or the transaction is over.
    async fn room_or_outcome(&mut self, room: usize) -> Option<Outcome> {
        poll_fn(|cx| {
            let DeliveryStage::Waiting(id) = self.stage else {
                return Pin::new(&mut *self).poll(cx).map(Some);
            };
            let standing = self.owner.shared.lock().poll_standing(id, room, cx);
            match standing {
                Poll::Ready(Standing::Room) => Poll::Ready(None),
                Poll::Ready(Standing::Finished(outcome)) => {
                    self.stage = DeliveryStage::Taken;
                    Poll::Ready(Some(outcome))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Writes a piece of the body. Gives it back where the engine does not want it now.
    fn write_body(&self, piece: Bytes) -> Result<(), Bytes> {
        let DeliveryStage::Waiting(id) = self.stage else {
            return Err(piece);
        };
        self.owner
            .shared
            .change(|state| match state.connection.body_writer() {
                Some(mut writer) if writer.id() == id => {
                    writer.write(piece, now());
                    Ok(())
                }
                Some(_) | None => Err(piece),
            })
    }

    fn finish_body(&self) -> Taken {
        let DeliveryStage::Waiting(id) = self.stage else {
            return Taken::No;
        };
        self.owner
            .shared
            .change(|state| match state.connection.body_writer() {
                Some(writer) if writer.id() == id => {
                    writer.finish(now());
                    Taken::Yes
                }
                Some(_) | None => Taken::No,
            })
    }

    fn abandon_body(&self) {
        let DeliveryStage::Waiting(id) = self.stage else {
            return;
        };
        self.owner
            .shared
            .change(|state| match state.connection.body_writer() {
                Some(writer) if writer.id() == id => writer.abandon(now()),
                Some(_) | None => state.connection.cancel(id, now()),
            });
    }
}

impl Future for Delivery {
    type Output = Outcome;

    /// Pending for ever once the outcome was taken.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = match &self.stage {
            DeliveryStage::Waiting(id) => self.owner.shared.lock().poll_finished(*id, cx),
            DeliveryStage::InRounds(number) => self.owner.shared.lock().poll_rounds(*number, cx),
            DeliveryStage::Refused(outcome) => Poll::Ready(outcome.clone()),
            DeliveryStage::Taken => Poll::Pending,
        };
        if outcome.is_ready() {
            self.stage = DeliveryStage::Taken;
        }
        outcome
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match &self.stage {
            DeliveryStage::Waiting(id) => {
                let id = *id;
                self.owner.shared.change(|state| state.abandon(id, now()));
            }
            DeliveryStage::InRounds(number) => {
                let number = *number;
                self.owner
                    .shared
                    .change(|state| state.abandon_rounds(number, now()));
            }
            DeliveryStage::Refused(_) | DeliveryStage::Taken => {}
        }
    }
}

/// Submits a message, or a probe where there is no body.
fn begin(
    state: &mut State,
    envelope: Envelope,
    body: Option<Body>,
    permits: u32,
    now: Instant,
) -> Result<DeliveryStage, Vec<Verdict>> {
    match body {
        Some(Body::Whole(content)) if Rounds::may_be_needed(&envelope) => state
            .submit_in_rounds(envelope, content, permits, now)
            .map(DeliveryStage::InRounds),
        body => state
            .submit(envelope, body, permits, now)
            .map(DeliveryStage::Waiting),
    }
}

/// Whether the engine took what was given.
#[derive(PartialEq, Eq)]
enum Taken {
    Yes,
    No,
}

/// The verdicts of a message whose reader failed: where it was not sent, that is why.
fn blame_reader(outcome: Outcome, error: std::io::Error) -> Outcome {
    let blame = Error::new(
        Category::Usage,
        Stage::Body,
        Party::Caller,
        format!("the message could not be read to its end: {error}"),
    )
    .with_source(Arc::new(error));
    let verdicts = outcome
        .verdicts()
        .iter()
        .map(|verdict| match verdict {
            Verdict::NotSent(engine) => {
                Verdict::NotSent(blame.clone().with_progress(engine.progress().clone()))
            }
            Verdict::Accepted(_)
            | Verdict::Refused { .. }
            | Verdict::Deferred(_)
            | Verdict::InDoubt(_) => verdict.clone(),
        })
        .collect();
    Outcome::new(verdicts).with_notices(outcome.notices().to_vec())
}

/// Octets that are read of a streamed body at a time: with the BDAT before them they fill four
/// flights of TLS, and do not begin a fifth.
const PIECE: usize = 256 * 1024 - 64;
