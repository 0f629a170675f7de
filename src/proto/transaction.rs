//! What a caller submits and what comes of it: envelope, body, and a verdict for each recipient.

use std::fmt;
use std::sync::Arc;

use super::address::{Mailbox, ReversePath};
use super::body::{BareNewlines, Content};
use super::dsn::{EnvelopeId, Notify, OriginalRecipient, Return};
use super::notice::Notice;
use super::params::{Param, Params, Weight};
use super::refusal::{Circumstances, refusal};
use super::reply::{Class, Reply};
use super::schedule::{DeliverBy, Hold, Late, Priority};
use super::session::Session;
use crate::error::{Category, Error, Stage};

/// Who a message is from and to, as the server is told (RFC 5321 §2.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    reverse_path: ReversePath,
    recipients: Recipients,
    params: Params,
    commitment: Commitment,
}

/// Recipients, shared: an envelope that may be sent again is cloned. What is asked of them for each
/// message is found out once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recipients {
    all: Arc<[Recipient]>,
    /// Whether nothing in any RCPT needs SMTPUTF8.
    ascii: bool,
    /// Whether some have parameters.
    with_params: bool,
    /// Whether the address of one is longer than servers have to take.
    long: bool,
}

impl Recipients {
    fn new(all: Arc<[Recipient]>) -> Self {
        Self {
            ascii: all.iter().all(Recipient::is_ascii),
            with_params: all.iter().any(|recipient| !recipient.params.is_empty()),
            long: all.iter().any(|recipient| recipient.mailbox.is_long()),
            all,
        }
    }

    fn edit<T>(&mut self, edit: impl FnOnce(&mut [Recipient]) -> T) -> T {
        let result = edit(Arc::make_mut(&mut self.all));
        *self = Self::new(Arc::clone(&self.all));
        result
    }
}

impl Envelope {
    /// An envelope from this sender to these recipients, delivered to as many as are accepted.
    pub fn new<R: Into<Recipient>>(
        reverse_path: impl Into<ReversePath>,
        recipients: impl IntoIterator<Item = R>,
    ) -> Self {
        Self {
            reverse_path: reverse_path.into(),
            recipients: Recipients::new(recipients.into_iter().map(Into::into).collect()),
            params: Params::new(),
            commitment: Commitment::Each,
        }
    }

    /// With parameters for MAIL, besides those that the engine writes itself.
    #[must_use]
    pub fn with_params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// With this much of the message in reports of failure (RFC 3461). Left out where the server does
    /// not offer DSN.
    #[must_use]
    pub fn with_return(mut self, what: Return) -> Self {
        let value = what.as_str().to_owned();
        self.params.set("RET", Some(value), Weight::Wish);
        self
    }

    /// With this name of the message in reports (RFC 3461). Left out where the server does not offer
    /// DSN.
    #[must_use]
    pub fn with_envelope_id(mut self, id: EnvelopeId) -> Self {
        let value = id.into_encoded();
        self.params.set("ENVID", Some(value), Weight::Wish);
        self
    }

    /// Over TLS to verified servers alone, all the way (RFC 8689): where this session cannot promise
    /// that, the message is not sent.
    #[must_use]
    pub fn with_require_tls(mut self) -> Self {
        self.params.set("REQUIRETLS", None, Weight::Need);
        self
    }

    /// With a time to be delivered within (RFC 2852). Where the server does not offer DELIVERBY, a
    /// message to be returned is not sent, and another goes without.
    #[must_use]
    pub fn with_deliver_by(mut self, by: DeliverBy) -> Self {
        let weight = match by.late() {
            Late::Return => Weight::Need,
            Late::Notify => Weight::Wish,
        };
        self.params.set("BY", Some(by.to_string()), weight);
        self
    }

    /// To be held by the server for some time (RFC 4865); not sent where the server cannot.
    #[must_use]
    pub fn with_hold(mut self, hold: Hold) -> Self {
        let (keyword, value) = hold.into_param();
        let _ = self.params.remove("HOLDFOR");
        let _ = self.params.remove("HOLDUNTIL");
        self.params.set(keyword, Some(value), Weight::Need);
        self
    }

    /// With a priority (RFC 6710). Left out where the server does not offer MT-PRIORITY.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        let value = priority.to_string();
        self.params.set("MT-PRIORITY", Some(value), Weight::Wish);
        self
    }

    /// With another rule for what happens when some recipients are refused.
    #[must_use]
    pub fn with_commitment(mut self, commitment: Commitment) -> Self {
        self.commitment = commitment;
        self
    }

    /// The sender.
    pub fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// The recipients; verdicts come in the same order.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients.all
    }

    /// Parameters for MAIL.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What happens when some recipients are refused.
    pub fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// This envelope for these of its recipients, by their places.
    #[must_use]
    pub fn part(&self, places: &[usize]) -> Self {
        let recipients = places
            .iter()
            .filter_map(|&place| self.recipients.all.get(place).cloned())
            .collect();
        Self {
            reverse_path: self.reverse_path.clone(),
            recipients: Recipients::new(recipients),
            params: self.params.clone(),
            commitment: self.commitment,
        }
    }

    /// The envelope for those recipients to whom another session may send the message, where this
    /// outcome's session ended before their turn (for whatever reason: the server may have been silent,
    /// or broken the protocol), or was used up (MAILMAX, RCPTDOMAINMAX: RFC 9422 §4). Nothing was sent
    /// to them. `None` where there are none, or where the message is for all or
    /// for nobody and another recipient has a verdict.
    ///
    /// What becomes of them there is added by [`Outcome::with_rest`]. A session that has brought no
    /// verdict for anybody is no reason to begin another.
    pub fn rest(&self, outcome: &Outcome) -> Option<Self> {
        let verdicts = outcome.verdicts().iter().enumerate();
        let untried = verdicts.filter(|(_, verdict)| verdict.is_untried());
        let places: Vec<usize> = untried.map(|(place, _)| place).collect();
        let may_be_split = match self.commitment {
            Commitment::Each => true,
            Commitment::AllOrNothing => places.len() == self.recipients.all.len(),
        };
        (may_be_split && !places.is_empty()).then(|| self.part(&places))
    }

    /// Writes domains beyond ASCII as A-labels, in each address whose local part is ASCII.
    pub(crate) fn use_a_labels(&mut self) {
        if let ReversePath::Mailbox(mailbox) = &self.reverse_path
            && let Some(ascii) = mailbox.to_ascii()
        {
            self.reverse_path = ReversePath::Mailbox(ascii);
        }
        self.recipients.edit(|recipients| {
            for recipient in recipients {
                if let Some(ascii) = recipient.mailbox.to_ascii() {
                    recipient.mailbox = ascii;
                }
            }
        });
    }

    /// Takes out a parameter: of MAIL, or of RCPT for the recipient of this place.
    pub(crate) fn remove_param(
        &mut self,
        keyword: &str,
        recipient: Option<usize>,
    ) -> Option<Param> {
        match recipient {
            None => self.params.remove(keyword),
            Some(place) => self
                .recipients
                .edit(|recipients| recipients.get_mut(place)?.params.remove(keyword)),
        }
    }

    /// Whether some RCPT has parameters.
    pub(crate) fn has_recipient_params(&self) -> bool {
        self.recipients.with_params
    }

    /// Whether an address is longer than servers have to take.
    pub(crate) fn has_long_address(&self) -> bool {
        let sender_is_long = match &self.reverse_path {
            ReversePath::Null => false,
            ReversePath::Mailbox(mailbox) => mailbox.is_long(),
        };
        sender_is_long || self.recipients.long
    }

    /// Whether nothing in it needs SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        self.sender_is_ascii() && self.recipients.ascii
    }

    /// Whether nothing in MAIL needs SMTPUTF8.
    pub(crate) fn sender_is_ascii(&self) -> bool {
        self.reverse_path.is_ascii() && self.params.is_ascii()
    }
}

/// One recipient, with parameters for its RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    mailbox: Mailbox,
    params: Params,
}

impl Recipient {
    /// A recipient without parameters.
    pub fn new(mailbox: Mailbox) -> Self {
        Self {
            mailbox,
            params: Params::new(),
        }
    }

    /// With parameters for RCPT.
    #[must_use]
    pub fn with_params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// With reports on these occasions (RFC 3461). Left out where the server does not offer DSN.
    #[must_use]
    pub fn with_notify(mut self, notify: Notify) -> Self {
        let value = notify.to_string();
        self.params.set("NOTIFY", Some(value), Weight::Wish);
        self
    }

    /// With the address that the sender named at first, for reports (RFC 3461). Left out where the
    /// server does not offer DSN.
    #[must_use]
    pub fn with_original(mut self, original: OriginalRecipient) -> Self {
        let value = original.into_encoded();
        self.params.set("ORCPT", Some(value), Weight::Wish);
        self
    }

    /// The address.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Parameters for RCPT.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Whether nothing in RCPT needs SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        self.mailbox.is_ascii() && self.params.is_ascii()
    }
}

impl From<Mailbox> for Recipient {
    fn from(mailbox: Mailbox) -> Self {
        Self::new(mailbox)
    }
}

/// What happens when some recipients are refused. Closed: SMTP has no third way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commitment {
    /// The others get the message.
    #[default]
    Each,
    /// Nobody gets it: the message waits for every RCPT reply (one round trip more).
    AllOrNothing,
}

/// Names one submitted transaction on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub(crate) u64);

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The message of a transaction.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Body {
    /// In memory, scanned, and replayable.
    Whole(Content),
    /// Written piece by piece when the server asks for it.
    Streamed(Streamed),
}

impl From<Content> for Body {
    fn from(content: Content) -> Self {
        Self::Whole(content)
    }
}

impl From<Streamed> for Body {
    fn from(streamed: Streamed) -> Self {
        Self::Streamed(streamed)
    }
}

/// What is known beforehand of a body that will be streamed.
///
/// A stream that breaks what is declared here is stopped, and its message is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Streamed {
    /// Octets on the wire, each line end counted as CRLF, without dot-stuffing (RFC 1870 §3).
    /// `None`, the default, when it is not known.
    pub size: Option<u64>,
    /// What the octets are. Default: 7-bit.
    pub encoding: Encoding,
    /// Whether the header section, or that of a MIME part, has non-ASCII octets, which needs SMTPUTF8.
    /// Default: no.
    pub utf8_headers: bool,
    /// What becomes of a bare CR or LF. Default: refused.
    pub newlines: BareNewlines,
}

impl Streamed {
    /// With the size on the wire, in octets.
    #[must_use]
    pub fn with_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// With an encoding.
    #[must_use]
    pub fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// With non-ASCII headers, or without.
    #[must_use]
    pub fn with_utf8_headers(mut self, utf8_headers: bool) -> Self {
        self.utf8_headers = utf8_headers;
        self
    }

    /// With a policy on bare newlines.
    #[must_use]
    pub fn with_newlines(mut self, newlines: BareNewlines) -> Self {
        self.newlines = newlines;
        self
    }
}

/// What the octets of a body are; decides the `BODY` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// ASCII only: no `BODY` parameter.
    #[default]
    SevenBit,
    /// Octets above 127 in lines: `BODY=8BITMIME` (RFC 6152).
    EightBit,
    /// Lines with NUL octets among them: `BODY=BINARYMIME` too, since nothing else carries a NUL,
    /// and line ends are made CRLF all the same.
    TextWithNul,
    /// Octets that mean themselves, line ends included: `BODY=BINARYMIME` (RFC 3030).
    Binary,
}

/// What became of one recipient.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The server took responsibility for delivery. (After a probe: it would accept this one.)
    Accepted(Reply),
    /// The server refused, with 4yz for now or with 5yz for good.
    Refused {
        /// The command that was refused.
        stage: Stage,
        /// The refusal.
        reply: Reply,
    },
    /// Too many recipients for one transaction (RFC 5321 §4.5.3.1.10): this one can be sent in
    /// another.
    Deferred(Reply),
    /// The message was not sent to this recipient; sending it again cannot make a duplicate.
    NotSent(Error),
    /// The connection was lost between the end of the message and its reply: the server may have
    /// the message, and sending it again may make a duplicate.
    InDoubt(Error),
}

impl Verdict {
    /// Whether the server accepted the message for this recipient.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// The reply that decided, where one did.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Accepted(reply) | Self::Refused { reply, .. } | Self::Deferred(reply) => {
                Some(reply)
            }
            Self::NotSent(error) | Self::InDoubt(error) => error.reply(),
        }
    }

    /// Whether the session ended, or was used up, before the message was sent to this recipient.
    fn is_untried(&self) -> bool {
        match self {
            // RFC 5321 §3.8: the server closes, whatever the command was.
            Self::Refused {
                stage: Stage::Mail,
                reply,
            } => reply.code().number() == 421,
            Self::NotSent(error) => match error.category() {
                Category::ConnectionLost | Category::Temporary => true,
                // Before there was a session, the next one would fare no better.
                Category::ConnectionTimeout | Category::Protocol | Category::Tls => {
                    error.stage() >= Stage::Mail
                }
                Category::Dns
                | Category::ConnectionRefused
                | Category::EncryptionMismatch
                | Category::StartTlsUnavailable
                | Category::Certificate
                | Category::Authentication
                | Category::AuthUnavailable
                | Category::SenderRefused
                | Category::RecipientRefused
                | Category::MessageRefused
                | Category::RateLimited
                | Category::Usage => false,
            },
            Self::Accepted(_) | Self::Refused { .. } | Self::Deferred(_) | Self::InDoubt(_) => {
                false
            }
        }
    }
}

/// What became of a message: a verdict for each recipient, in envelope order.
#[derive(Clone, Debug)]
pub struct Outcome {
    verdicts: Vec<Verdict>,
    notices: Vec<Notice>,
    /// What makes more of a refusal, if anybody asks.
    session: Option<Session>,
}

impl Outcome {
    /// The outcome of these verdicts, as `Event::Finished` gives them.
    pub fn new(verdicts: Vec<Verdict>) -> Self {
        Self {
            verdicts,
            notices: Vec::new(),
            session: None,
        }
    }

    /// With what else was said of the message.
    #[must_use]
    pub fn with_notices(self, notices: Vec<Notice>) -> Self {
        Self { notices, ..self }
    }

    /// Together with what became of the rest of the message, as [`Envelope::rest`] had it.
    #[must_use]
    pub fn with_rest(mut self, rest: Self) -> Self {
        let untried = self
            .verdicts
            .iter_mut()
            .filter(|verdict| verdict.is_untried());
        for (verdict, later) in untried.zip(rest.verdicts) {
            *verdict = later;
        }
        for notice in rest.notices {
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
        self.session = rest.session.or(self.session);
        self
    }

    /// With the session in which it came about, which says more about a refusal for lack of TLS or
    /// of a log-in.
    #[must_use]
    pub fn in_session(self, session: &Session) -> Self {
        Self {
            session: Some(session.clone()),
            ..self
        }
    }

    /// The verdicts, in envelope order.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// The verdicts alone.
    pub fn into_verdicts(self) -> Vec<Verdict> {
        self.verdicts
    }

    /// What else there is to know, as parameters that were left out.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Whether every recipient was accepted.
    pub fn is_accepted(&self) -> bool {
        self.verdicts.iter().all(Verdict::is_accepted)
    }

    /// The one error that says why nobody got the message; `None` if at least one recipient was
    /// accepted. Refusals of 4yz and 5yz together are temporary.
    pub fn error(&self) -> Option<Error> {
        if self.verdicts.iter().any(Verdict::is_accepted) {
            return None;
        }
        let circumstances = self
            .session
            .as_ref()
            .map(Circumstances::of)
            .unwrap_or_default();
        // Doubt outweighs all else; then what hit the whole message; then the refusals, those for now
        // first, since another try may mend them; then a recipient who could not be sent to at all.
        let weight = |verdict: &&Verdict| match verdict {
            Verdict::InDoubt(_) => 5,
            Verdict::NotSent(error) if concerns_one_recipient(error) => 1,
            Verdict::NotSent(_) => 4,
            Verdict::Deferred(_) => 3,
            Verdict::Refused { reply, .. } if reply.code().class() == Class::Transient => 3,
            Verdict::Refused { .. } => 2,
            Verdict::Accepted(_) => 0,
        };
        // The first of the heaviest: `max_by_key` alone would take the last.
        match self.verdicts.iter().rev().max_by_key(weight)? {
            Verdict::InDoubt(error) | Verdict::NotSent(error) => Some(error.clone()),
            Verdict::Refused { stage, reply } => Some(refusal(*stage, reply, circumstances)),
            Verdict::Deferred(reply) => Some(refusal(Stage::Rcpt, reply, circumstances)),
            Verdict::Accepted(_) => None,
        }
    }

    /// The outcome, if somebody got the message.
    ///
    /// # Errors
    /// [`Self::error`].
    pub fn into_result(self) -> Result<Self, Error> {
        match self.error() {
            None => Ok(self),
            Some(error) => Err(error),
        }
    }
}

/// Whether the error came of the recipient's own address or parameters, and of nothing else: see
/// [`Effect::RecipientNotSent`](super::preflight::Effect::RecipientNotSent).
fn concerns_one_recipient(error: &Error) -> bool {
    error.category() == Category::Usage && error.stage() == Stage::Rcpt
}

/// A submission that is the caller's own mistake. It hands envelope and body back.
#[derive(Debug)]
#[non_exhaustive]
pub struct SubmitError {
    /// What is wrong.
    pub problem: SubmitProblem,
    /// The envelope, as it was given.
    pub envelope: Box<Envelope>,
    /// The body, as it was given; `None` for a probe.
    pub body: Option<Box<Body>>,
}

impl SubmitError {
    pub(crate) fn new(problem: SubmitProblem, envelope: Envelope, body: Option<Body>) -> Self {
        Self {
            problem,
            envelope: Box::new(envelope),
            body: body.map(Box::new),
        }
    }
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.problem, f)
    }
}

impl std::error::Error for SubmitError {}

/// Why a submission was not taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubmitProblem {
    /// The envelope has no recipient.
    NoRecipients,
    /// The connection has ended, or was told to quit: the error says why.
    Closed(Error),
}

impl fmt::Display for SubmitProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecipients => f.write_str("the envelope has no recipient"),
            Self::Closed(error) => fmt::Display::fmt(error, f),
        }
    }
}

#[cfg(test)]
mod tests;
