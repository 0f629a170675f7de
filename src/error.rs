//! The one error type: what went wrong, at which stage, whose fault it is, and what to do next.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::proto::reply::{Class, Reply};

/// What went wrong on the way of a message, or with a connection.
///
/// Cheap to clone: a dead connection gives the same error to everyone who still asks. Neither
/// `Display` nor `Debug` shows a secret.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    category: Category,
    stage: Stage,
    party: Party,
    temporary: bool,
    message: String,
    hint: Option<String>,
    reply: Option<Reply>,
    progress: Progress,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with its sentence: who did what.
    pub(crate) fn new(
        category: Category,
        stage: Stage,
        party: Party,
        message: impl Into<String>,
    ) -> Self {
        let temporary = matches!(
            category,
            Category::ConnectionTimeout
                | Category::ConnectionLost
                | Category::RateLimited
                | Category::Temporary
        );
        Self(Arc::new(Inner {
            category,
            stage,
            party,
            temporary,
            message: message.into(),
            hint: None,
            reply: None,
            progress: Progress::default(),
            source: None,
        }))
    }

    /// With another sentence, where more is known.
    pub(crate) fn with_message(self, message: impl Into<String>) -> Self {
        self.change(|inner| inner.message = message.into())
    }

    /// As one of another stage.
    pub(crate) fn at(self, stage: Stage) -> Self {
        self.change(|inner| inner.stage = stage)
    }

    /// With what to do next, as one sentence.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        self.change(|inner| inner.hint = Some(hint.into()))
    }

    /// With the reply that was the reason. A 4yz makes the error temporary, a 5yz permanent.
    pub(crate) fn with_reply(self, reply: Reply) -> Self {
        self.change(|inner| {
            match reply.code().class() {
                Class::Transient => inner.temporary = true,
                Class::Permanent => inner.temporary = false,
                Class::Completed | Class::Intermediate => {}
            }
            inner.reply = Some(reply);
        })
    }

    /// With the error beneath.
    pub(crate) fn with_source(self, source: Arc<dyn StdError + Send + Sync>) -> Self {
        self.change(|inner| inner.source = Some(source))
    }

    /// The error beneath, as it is shared.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    pub(crate) fn beneath(&self) -> Option<Arc<dyn StdError + Send + Sync>> {
        self.0.source.clone()
    }

    /// Marked as worth (or not worth) another try.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    pub(crate) fn with_temporary(self, temporary: bool) -> Self {
        self.change(|inner| inner.temporary = temporary)
    }

    /// With how far the dialogue had come.
    pub(crate) fn with_progress(self, progress: Progress) -> Self {
        self.change(|inner| inner.progress = progress)
    }

    /// With what the server has said of itself.
    pub(crate) fn with_server(self, greeting: Reply, offers: Option<Reply>) -> Self {
        self.change(|inner| {
            inner.progress.greeting = Some(greeting);
            inner.progress.offers = offers;
        })
    }

    /// What kind of failure it is.
    pub fn category(&self) -> Category {
        self.0.category
    }

    /// Where in the dialogue it happened.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// Who has to act for this to go away.
    pub fn party(&self) -> Party {
        self.0.party
    }

    /// Whether the same attempt may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// What happened, as one sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next, as one sentence.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The server's reply that was the reason.
    pub fn reply(&self) -> Option<&Reply> {
        self.0.reply.as_ref()
    }

    /// How far the dialogue had come: for a log, or for a person who asks why.
    pub fn progress(&self) -> &Progress {
        &self.0.progress
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        // An error is complete before it is shared: the copy is for the rare caller who adds later.
        if Arc::get_mut(&mut self.0).is_none() {
            self.0 = Arc::new(self.0.copy());
        }
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }
}

impl Inner {
    fn copy(&self) -> Self {
        Self {
            message: self.message.clone(),
            hint: self.hint.clone(),
            reply: self.reply.clone(),
            progress: self.progress.clone(),
            source: self.source.clone(),
            ..*self
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.reply {
            Some(reply) => write!(f, ": {reply}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("category", &self.0.category)
            .field("stage", &self.0.stage)
            .field("party", &self.0.party)
            .field("temporary", &self.0.temporary)
            .field("message", &self.0.message)
            .field("hint", &self.0.hint)
            .field("reply", &self.0.reply)
            .field("progress", &self.0.progress)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// How far the dialogue had come when an error arose.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Progress {
    /// The last command that was given out to be sent: its verb, such as `RCPT`.
    pub last_command: Option<&'static str>,
    /// The last complete reply, whatever it answered.
    pub last_reply: Option<Reply>,
    /// The server's greeting, where it was a good one and the session has ended with this error.
    pub greeting: Option<Reply>,
    /// What the server then answered to EHLO, under the same terms: the last answer, where STARTTLS
    /// made for two.
    pub offers: Option<Reply>,
    /// Octets of the dialogue that the transport had taken.
    pub bytes_sent: u64,
    /// The end of the dialogue, secrets masked, at most a few KiB: lines that begin with `C: ` or
    /// `S: `.
    pub transcript: String,
}

/// The kinds of failure. The names are a contract: `as_str` is what the command line prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// The name has no address, or the resolver failed.
    Dns,
    /// No connection, no greeting or no reply in time.
    ConnectionTimeout,
    /// Nothing listens there, it is unreachable, or the server declines service.
    ConnectionRefused,
    /// The connection ended before the dialogue was over: closed or reset by the peer, or by this
    /// side for the sake of something else.
    ConnectionLost,
    /// The port speaks another TLS mode than was asked for.
    EncryptionMismatch,
    /// STARTTLS is required, but was not offered or was refused.
    StartTlsUnavailable,
    /// The server's certificate was not accepted.
    Certificate,
    /// The handshake or TLS itself failed in another way.
    Tls,
    /// The server refused the credentials.
    Authentication,
    /// Credentials were given, but there is no acceptable way to use them.
    AuthUnavailable,
    /// The sender was refused.
    SenderRefused,
    /// Every recipient was refused.
    RecipientRefused,
    /// The message was refused.
    MessageRefused,
    /// The server says that too much was sent.
    RateLimited,
    /// The server refused for now.
    Temporary,
    /// The server broke the protocol, or is not an SMTP server.
    Protocol,
    /// Settings, an address or a message that cannot be used as they are.
    Usage,
}

impl Category {
    /// The category's name: lower case, words joined by hyphens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::ConnectionTimeout => "connection-timeout",
            Self::ConnectionRefused => "connection-refused",
            Self::ConnectionLost => "connection-lost",
            Self::EncryptionMismatch => "encryption-mismatch",
            Self::StartTlsUnavailable => "starttls-unavailable",
            Self::Certificate => "certificate",
            Self::Tls => "tls",
            Self::Authentication => "authentication",
            Self::AuthUnavailable => "auth-unavailable",
            Self::SenderRefused => "sender-refused",
            Self::RecipientRefused => "recipient-refused",
            Self::MessageRefused => "message-refused",
            Self::RateLimited => "rate-limited",
            Self::Temporary => "temporary",
            Self::Protocol => "protocol",
            Self::Usage => "usage",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The steps of a dialogue, in order. `as_str` is what the command line prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Looking up the host's addresses.
    Resolve,
    /// Connecting.
    Connect,
    /// Waiting for the greeting.
    Greeting,
    /// EHLO, LHLO or HELO.
    Ehlo,
    /// The STARTTLS command.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// The SASL exchange.
    Auth,
    /// MAIL, and RSET before it.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, until the server asks for the message.
    Data,
    /// The message, and the reply to its end.
    Body,
    /// QUIT.
    Quit,
}

impl Stage {
    /// The stage's name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Handshake => "handshake",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Body => "body",
            Self::Quit => "quit",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who has to act. Closed: there is nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Party {
    /// The caller: settings, credentials, addresses or the message.
    Caller,
    /// The server, or whoever runs it.
    Server,
    /// The network between them.
    Network,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "caller",
            Self::Server => "server",
            Self::Network => "network",
        })
    }
}
