//! Before the first octet of MAIL: what a message needs, and whether this session has it.

use std::fmt;

use super::address::{Mailbox, ReversePath};
use super::command::{BodyParam, Utf8Param};
use super::config::{Config, Protocol, SmtpUtf8, Unadvertised};
use super::evidence::Evidence;
use super::limits::{ServerLimits, Used};
use super::link::Link;
use super::offers::{Offer, Offers, Peer, Way};
use super::params::{Command, Param, Params, Weight};
use super::reply::{Code, EnhancedCode};
use super::schedule::{DeliverBy, Hold, Late};
use super::session::Session;
use super::transaction::{Body, Commitment, Encoding, Envelope, Recipient};
use crate::error::{Category, Error, Party, Stage};

/// What this message needs and this session lacks; empty where all is well. The engine judges by the
/// same list before it sends MAIL. `None` for the body leaves out what depends on it.
///
/// What a session has used up of its limits is not seen here.
pub fn preflight(
    envelope: &Envelope,
    body: Option<&Body>,
    session: &Session,
    config: &Config,
) -> Vec<Shortfall> {
    judge(envelope, body, &Offers::new(session, config)).shortfalls
}

/// One thing that a message needs and a session lacks, and the reply that a server would have given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shortfall {
    /// What is needed.
    pub need: Need,
    /// What becomes of the message for lack of it.
    pub effect: Effect,
    /// The reply code that a server would have used.
    pub code: Code,
    /// The enhanced status code that a server would have used.
    pub status: EnhancedCode,
    /// What is lacking, as one sentence without a full stop.
    pub message: String,
    /// What to do, as one sentence.
    pub hint: &'static str,
}

/// What a message may need of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// Room for its size (RFC 1870).
    Size,
    /// A way for octets above 127 (RFC 6152).
    EightBit,
    /// A way for octets that are no lines (RFC 3030).
    Binary,
    /// Addresses, parameters or headers beyond ASCII (RFC 6531).
    Utf8,
    /// TLS to a verified server that offers REQUIRETLS (RFC 8689).
    RequireTls,
    /// An extension that defines a parameter.
    Parameter,
    /// A time of delivery that the server can keep (RFC 2852, RFC 4865).
    Time,
    /// Room for its recipients in one transaction (RFC 9422).
    Recipients,
    /// Room for its recipients' domains in one session (RFC 9422).
    RecipientDomains,
    /// Another transaction in this session (RFC 9422).
    Transaction,
    /// Lines beyond 998 octets (RFC 5321 §4.5.3.1.6).
    LongLines,
    /// Line ends other than CRLF, which will be made CRLF (RFC 5321 §2.3.8).
    Newlines,
    /// An address longer than any server has to take (RFC 5321 §4.5.3.1).
    LongAddress,
    /// A command line longer than extensions make it (RFC 5321 §4.5.3.1.4).
    LongCommand,
    /// One reply for all recipients, which LMTP has not (RFC 2033 §4.2).
    OneReply,
}

/// What becomes of a message that lacks something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// It is not sent.
    NotSent,
    /// It is not sent to the recipient of this place, in this transaction or at all.
    RecipientNotSent(usize),
    /// It goes without this parameter: of MAIL, or of RCPT for the recipient of this place.
    LeftOut {
        /// The parameter's keyword.
        keyword: String,
        /// The recipient's place in the envelope; `None` for MAIL.
        recipient: Option<usize>,
    },
    /// It is sent, and a server may still mind.
    Sent,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.message, self.code, self.status)
    }
}

impl Shortfall {
    fn new(need: Need, effect: Effect, message: impl Into<String>, hint: &'static str) -> Self {
        let (code, (class, subject, detail)) = match need {
            Need::Size => (552, (5, 3, 4)),
            Need::EightBit | Need::Binary => (554, (5, 6, 3)),
            Need::Utf8 => (550, (5, 6, 7)),
            Need::RequireTls => (550, (5, 7, 10)),
            Need::Parameter => (555, (5, 5, 4)),
            Need::Time => (501, (5, 5, 4)),
            Need::Recipients | Need::RecipientDomains => (452, (4, 5, 3)),
            Need::Transaction => (421, (4, 3, 2)),
            Need::LongLines | Need::LongCommand => (500, (5, 5, 2)),
            Need::Newlines => (554, (5, 6, 0)),
            Need::LongAddress => (501, (5, 1, 3)),
            Need::OneReply => (504, (5, 5, 4)),
        };
        Self {
            need,
            effect,
            code: Code::new(code).expect("the codes above are reply codes"),
            status: EnhancedCode::new(class, subject, detail)
                .expect("the statuses above are status codes"),
            message: message.into(),
            hint,
        }
    }

    fn not_sent(need: Need, message: impl Into<String>, hint: &'static str) -> Self {
        Self::new(need, Effect::NotSent, message, hint)
    }

    fn with_reply(self, code: u16, (class, subject, detail): (u8, u16, u16)) -> Self {
        Self {
            code: Code::new(code).unwrap_or(self.code),
            status: EnhancedCode::new(class, subject, detail).unwrap_or(self.status),
            ..self
        }
    }

    /// The error for whom does not get the message because of it.
    pub(crate) fn to_error(&self, link: &Link) -> Error {
        let category = match self.need {
            Need::Size => Category::MessageRefused,
            Need::Recipients | Need::RecipientDomains | Need::Transaction => Category::Temporary,
            Need::EightBit
            | Need::Binary
            | Need::Utf8
            | Need::RequireTls
            | Need::Parameter
            | Need::Time
            | Need::LongLines
            | Need::Newlines
            | Need::LongAddress
            | Need::LongCommand
            | Need::OneReply => Category::Usage,
        };
        let stage = match self.effect {
            Effect::RecipientNotSent(_) => Stage::Rcpt,
            Effect::NotSent | Effect::LeftOut { .. } | Effect::Sent => Stage::Mail,
        };
        link.error(category, stage, Party::Caller, self.to_string())
            .with_hint(self.hint)
            .with_evidence(Evidence::Shortfall(self.clone()))
    }
}

/// Another MAIL command would be one more than the server takes in a session.
pub(crate) fn no_more_mail(limits: &ServerLimits) -> Shortfall {
    let most = limits.mails.map_or(0, |limit| limit.get());
    let message = format!("the server takes {most} messages in one session, and has had them");
    let hint = "Send it by a new connection.";
    Shortfall::not_sent(Need::Transaction, message, hint)
}

/// The recipient's domain would be one more than the server takes in a session.
pub(crate) fn no_more_domains(place: usize, limits: &ServerLimits) -> Shortfall {
    let most = limits.recipient_domains.map_or(0, |limit| limit.get());
    let message = format!("the server takes recipients of {most} domains in one session");
    let hint = "Send it to the others by a new connection.";
    let effect = Effect::RecipientNotSent(place);
    Shortfall::new(Need::RecipientDomains, effect, message, hint)
}

/// The recipients' domains are more than the server takes in a session, and it is for all of them or
/// for nobody.
pub(crate) fn too_many_domains(limits: &ServerLimits) -> Shortfall {
    let most = limits.recipient_domains.map_or(0, |limit| limit.get());
    let message = format!("the server takes recipients of {most} domains in one session");
    let hint = "Send it to fewer, or to each whom the server accepts.";
    Shortfall::not_sent(Need::RecipientDomains, message, hint)
}

/// The parameters of MAIL that the engine decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MailParams {
    pub(crate) size: Option<u64>,
    pub(crate) body: BodyParam,
    pub(crate) utf8: Utf8Param,
}

/// The engine's own parameters for a message, and what it lacks.
pub(crate) struct Judgement {
    pub(crate) params: MailParams,
    pub(crate) shortfalls: Vec<Shortfall>,
}

/// What a message needs, held against what is on offer.
pub(crate) fn judge(envelope: &Envelope, body: Option<&Body>, offers: &Offers) -> Judgement {
    let needs = body.map(Needs::of).unwrap_or_default();
    let mut judge = Judge {
        envelope,
        offers,
        shortfalls: Vec::new(),
    };
    judge.params(envelope.params(), None);
    judge.line(envelope.reverse_path().as_str(), envelope.params(), None);
    for (place, recipient) in envelope.recipients().iter().enumerate() {
        judge.params(recipient.params(), Some(place));
        judge.line(
            recipient.mailbox().as_str(),
            recipient.params(),
            Some(place),
        );
    }
    let params = MailParams {
        size: judge.size(needs.size),
        utf8: judge.utf8(needs.utf8_headers),
        body: judge.encoding(needs.encoding),
    };
    judge.recipients();
    judge.warn(&needs);
    judge.commitment();
    Judgement {
        params,
        shortfalls: judge.shortfalls,
    }
}

/// What a body needs of the session.
#[derive(Default)]
struct Needs {
    size: Option<u64>,
    encoding: Encoding,
    utf8_headers: bool,
    longest_line: u64,
    bare_newline: Option<u64>,
}

impl Needs {
    fn of(body: &Body) -> Self {
        match body {
            Body::Whole(content) => {
                let facts = content.facts();
                Self {
                    size: Some(facts.wire_size),
                    encoding: content.encoding(),
                    utf8_headers: facts.utf8_headers,
                    longest_line: facts.longest_line,
                    bare_newline: facts.bare_newline,
                }
            }
            Body::Streamed(streamed) => Self {
                size: streamed.size,
                encoding: streamed.encoding,
                utf8_headers: streamed.utf8_headers,
                longest_line: 0,
                bare_newline: None,
            },
        }
    }
}

struct Judge<'a> {
    envelope: &'a Envelope,
    offers: &'a Offers,
    shortfalls: Vec<Shortfall>,
}

impl Judge<'_> {
    fn not_sent(&mut self, need: Need, message: impl Into<String>, hint: &'static str) {
        self.shortfalls
            .push(Shortfall::not_sent(need, message, hint));
    }

    fn size(&mut self, size: Option<u64>) -> Option<u64> {
        match (size, self.offers.size) {
            (Some(size), Offer::Limited(limit)) if size > limit => {
                let message =
                    format!("the message has {size} octets, and the server takes {limit} at most");
                self.not_sent(Need::Size, message, "Send less, or send a link to it.");
                Some(size)
            }
            (size, Offer::Limited(_) | Offer::Unlimited) => size,
            (_, Offer::Absent) => None,
        }
    }

    fn encoding(&mut self, encoding: Encoding) -> BodyParam {
        match encoding {
            Encoding::SevenBit => BodyParam::Absent,
            Encoding::EightBit => {
                if self.offers.eight_bit_mime == Offer::Absent {
                    let message = "the message is 8-bit, and the server takes 7-bit messages only \
                                   (no 8BITMIME)";
                    let hint = "Encode the message in quoted-printable or base64.";
                    self.not_sent(Need::EightBit, message, hint);
                }
                BodyParam::EightBitMime
            }
            Encoding::TextWithNul | Encoding::Binary => {
                // RFC 3030 §3: both extensions, and never by DATA.
                if self.offers.binarymime == Offer::Absent || self.offers.way == Way::Data {
                    let message = "the message is binary (it has NUL octets, or was declared so), \
                                   and this session has no BINARYMIME to carry it";
                    let hint = "Encode the part of the message that is binary in base64.";
                    self.not_sent(Need::Binary, message, hint);
                }
                BodyParam::BinaryMime
            }
        }
    }

    /// RFC 6531 §3.4: the parameter is there if and only if something needs it. Recipients that need
    /// it are left out one by one where it is not on offer; a sender or header cannot be.
    fn utf8(&mut self, utf8_headers: bool) -> Utf8Param {
        let policy = self.offers.utf8_policy;
        let needed = utf8_headers || policy == SmtpUtf8::Always || self.envelope_needs_utf8();
        match (needed, self.offers.smtputf8) {
            (false, _) => return Utf8Param::Absent,
            (true, Offer::Unlimited | Offer::Limited(())) => return Utf8Param::SmtpUtf8,
            (true, Offer::Absent) => {}
        }
        let lacks = match policy {
            SmtpUtf8::WhereNeeded | SmtpUtf8::Always => "the server does not offer SMTPUTF8",
            SmtpUtf8::Never => "SMTPUTF8 is not to be used",
        };
        if policy == SmtpUtf8::Always {
            let message = format!("the message is to be sent by SMTPUTF8, and {lacks}");
            self.not_sent(Need::Utf8, message, "Use SMTPUTF8 where it is needed only.");
            return Utf8Param::Absent;
        }
        let sender_is_foreign = match self.envelope.reverse_path() {
            ReversePath::Null => false,
            ReversePath::Mailbox(mailbox) => is_foreign(mailbox),
        };
        if sender_is_foreign || !self.are_ascii(self.envelope.params()) {
            let message =
                format!("the sender's address or a parameter of it is not ASCII, and {lacks}");
            self.not_sent(Need::Utf8, message, "Use an ASCII address of this sender.");
        }
        if utf8_headers {
            let message = format!("the message's headers are not ASCII, and {lacks}");
            let hint = "Encode the headers as RFC 2047 says.";
            let shortfall = Shortfall::not_sent(Need::Utf8, message, hint);
            self.shortfalls.push(shortfall.with_reply(554, (5, 6, 9)));
        }
        for (place, recipient) in self.envelope.recipients().iter().enumerate() {
            if is_foreign(recipient.mailbox()) || !self.are_ascii(recipient.params()) {
                let mailbox = recipient.mailbox();
                let message =
                    format!("the address {mailbox} or a parameter of it is not ASCII, and {lacks}");
                let hint = "Use an ASCII address of this recipient.";
                let effect = Effect::RecipientNotSent(place);
                let shortfall = Shortfall::new(Need::Utf8, effect, message, hint);
                self.shortfalls.push(shortfall.with_reply(553, (5, 6, 7)));
            }
        }
        Utf8Param::Absent
    }

    fn envelope_needs_utf8(&self) -> bool {
        let foreign = |recipient: &Recipient| {
            !recipient.mailbox().is_ascii() || !self.are_ascii(recipient.params())
        };
        !self.envelope.is_ascii()
            && (!self.envelope.reverse_path().as_str().is_ascii()
                || !self.are_ascii(self.envelope.params())
                || self.envelope.recipients().iter().any(foreign))
    }

    /// Whether no parameter needs SMTPUTF8, of those that are not left out.
    fn are_ascii(&self, params: &Params) -> bool {
        let sent = params.iter().filter(|param| !self.is_left_out(param));
        sent.filter_map(Param::value).all(str::is_ascii)
    }

    fn is_left_out(&self, param: &Param) -> bool {
        self.offers.unadvertised == Unadvertised::Refuse
            && param.weight() == Weight::Wish
            && !self.offers.extensions.offers(param.extension())
    }

    fn params(&mut self, params: &Params, recipient: Option<usize>) {
        for param in params.iter() {
            let misplaced = match (param.command(), recipient) {
                (Some(Command::Rcpt), None) => Some("belongs to RCPT, not to MAIL"),
                (Some(Command::Mail), Some(_)) => Some("belongs to MAIL, not to RCPT"),
                (_, _) => None,
            };
            if let Some(misplaced) = misplaced {
                let message = format!("the parameter {} {misplaced}", param.keyword());
                let hint = "Give it where it belongs: for the message, or for each recipient.";
                self.not_sent(Need::Parameter, message, hint);
            } else if param.is("REQUIRETLS") {
                self.require_tls();
            } else if self.offers.extensions.offers(param.extension()) {
                self.time(param);
            } else if self.offers.unadvertised == Unadvertised::Refuse {
                let effect = match param.weight() {
                    Weight::Need => Effect::NotSent,
                    Weight::Wish => Effect::LeftOut {
                        keyword: param.keyword().to_owned(),
                        recipient,
                    },
                };
                let message = format!(
                    "the parameter {} needs {}, which the server does not offer",
                    param.keyword(),
                    param.extension()
                );
                let hint = "Leave the parameter out, or use another server.";
                self.shortfalls
                    .push(Shortfall::new(Need::Parameter, effect, message, hint));
            }
        }
    }

    /// RFC 5321 §4.5.3.1.4: 512 octets, and more for what an extension adds. What it adds is known of
    /// some only; but none adds so much that a line passes what servers read in one piece, and a line
    /// cut in two is a command more.
    fn line(&mut self, path: &str, params: &Params, recipient: Option<usize>) {
        let length = |param: &Param| param.keyword().len() + param.value().map_or(1, str::len) + 2;
        let length = path.len() + params.iter().map(length).sum::<usize>();
        if length <= LONGEST_COMMAND - ITS_OWN {
            return;
        }
        let (effect, what) = match recipient {
            None => (Effect::NotSent, "the sender's address"),
            Some(place) => (Effect::RecipientNotSent(place), "a recipient's address"),
        };
        let message = format!(
            "{what} and its parameters have {length} octets, more than servers read in one line"
        );
        let hint = "Use a shorter address, and shorter values of parameters.";
        self.shortfalls
            .push(Shortfall::new(Need::LongCommand, effect, message, hint));
    }

    /// RFC 8689 §4.2.1. No policy lifts it: a promise to the sender would be broken.
    fn require_tls(&mut self) {
        let message = match (
            self.offers.peer,
            self.offers.extensions.offers("REQUIRETLS"),
        ) {
            (Peer::Verified, true) => return,
            (Peer::Verified, false) => {
                let message = "the message requires TLS all the way, and the server does not \
                               offer REQUIRETLS";
                let hint = "Send it without REQUIRETLS, or use another server.";
                let shortfall = Shortfall::not_sent(Need::RequireTls, message, hint);
                self.shortfalls.push(shortfall.with_reply(550, (5, 7, 30)));
                return;
            }
            (Peer::Unverified, _) => {
                "the message requires TLS all the way, and the server's certificate was not checked"
            }
            (Peer::InClear, _) => {
                "the message requires TLS all the way, and this session is in clear"
            }
        };
        let hint = "Use STARTTLS or implicit TLS, with the certificate checked.";
        self.not_sent(Need::RequireTls, message, hint);
    }

    /// Times of delivery that the server states not to keep. A time of day can be held against the
    /// latest one alone: the engine has no clock that tells the date.
    fn time(&mut self, param: &Param) {
        let value = param.value().unwrap_or_default();
        let extensions = &self.offers.extensions;
        let hint = "Choose another time, or use another server.";
        let message = if param.is("BY") {
            let least = extensions.least_deliver_by();
            match (value.parse::<DeliverBy>(), least) {
                (Ok(by), Some(least))
                    if by.late() == Late::Return && i64::from(by.seconds()) < i64::from(least) =>
                {
                    format!("the server needs {least} seconds at least for a delivery")
                }
                (_, _) => return,
            }
        } else if param.is("HOLDFOR") {
            match (Hold::seconds(value), extensions.longest_hold()) {
                (Some(wanted), Some(longest)) if wanted > longest => {
                    format!("the server holds a message for {longest} seconds at most")
                }
                (_, _) => return,
            }
        } else if param.is("HOLDUNTIL") {
            match extensions.latest_hold() {
                // Of one form, and so in the order of their text.
                Some(latest) if value > latest => {
                    format!("the server holds a message until {latest} at the latest")
                }
                Some(_) | None => return,
            }
        } else {
            return;
        };
        self.not_sent(Need::Time, message, hint);
    }

    /// RFC 9422: what is beyond the limit of a transaction waits for another one.
    fn recipients(&mut self) {
        let Some(limit) = self.offers.limits.recipients else {
            return;
        };
        let most = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let count = self.envelope.recipients().len();
        if count <= most {
            return;
        }
        let message = format!("the server takes {most} recipients in one transaction");
        let hint = "Send it to the others in another transaction.";
        match self.envelope.commitment() {
            Commitment::AllOrNothing => {
                let hint = "Send it to fewer, or to each whom the server accepts.";
                self.not_sent(Need::Recipients, message, hint);
            }
            Commitment::Each => {
                self.shortfalls.extend((most..count).map(|place| {
                    let effect = Effect::RecipientNotSent(place);
                    Shortfall::new(Need::Recipients, effect, message.clone(), hint)
                }));
            }
        }
    }

    /// Nobody gets a message for all or for nobody whom it cannot reach all.
    fn commitment(&mut self) {
        match self.envelope.commitment() {
            Commitment::Each => return,
            Commitment::AllOrNothing => {}
        }
        for shortfall in &mut self.shortfalls {
            if let Effect::RecipientNotSent(_) = shortfall.effect {
                shortfall.effect = Effect::NotSent;
            }
        }
        let recipients = self.envelope.recipients();
        if self.offers.protocol == Protocol::Lmtp && recipients.len() > 1 {
            let message = "the message is for all or for nobody, and an LMTP server decides for \
                           each recipient, when it has the message";
            let hint = "Send it to each whom the server accepts, or by SMTP.";
            self.not_sent(Need::OneReply, message, hint);
        }
        if !Used::default().may_name_all(recipients, &self.offers.limits) {
            self.shortfalls.push(too_many_domains(&self.offers.limits));
        }
    }

    /// What is sent, and may still be minded.
    fn warn(&mut self, needs: &Needs) {
        let has_lines = needs.encoding != Encoding::Binary;
        if needs.longest_line > LONGEST_LINE && has_lines {
            let message = "the message has lines beyond 998 octets, which some servers fold or \
                           refuse";
            let hint = "Encode the text in quoted-printable or base64.";
            self.shortfalls
                .push(Shortfall::new(Need::LongLines, Effect::Sent, message, hint));
        }
        if needs.bare_newline.is_some() && has_lines {
            let message = "the message has bare newlines, which are made CRLF on the way";
            let hint = "End each line with CRLF before the message is signed.";
            self.shortfalls
                .push(Shortfall::new(Need::Newlines, Effect::Sent, message, hint));
        }
        let sender = match self.envelope.reverse_path() {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox),
        };
        let recipients = self.envelope.recipients().iter().map(|one| one.mailbox());
        for mailbox in sender.into_iter().chain(recipients) {
            if is_long(mailbox) {
                let message = format!("the address {mailbox} is longer than servers must take");
                let hint = "Use a shorter address, if the server refuses it.";
                self.shortfalls.push(Shortfall::new(
                    Need::LongAddress,
                    Effect::Sent,
                    message,
                    hint,
                ));
            }
        }
    }
}

/// Whether the address cannot be written in ASCII.
fn is_foreign(mailbox: &Mailbox) -> bool {
    !mailbox.is_ascii() && mailbox.to_ascii().is_none()
}

/// RFC 5321 §4.5.3.1: a path has 256 octets with its brackets, a local part 64, a domain 255.
fn is_long(mailbox: &Mailbox) -> bool {
    mailbox.as_str().len() > 254 || mailbox.local_part().len() > 64
}

/// RFC 5321 §4.5.3.1.6, without the CRLF.
const LONGEST_LINE: u64 = 998;

/// Octets of a command line that servers read in one piece.
const LONGEST_COMMAND: usize = 2048;
/// What of it the engine writes itself: the verb, SIZE, BODY, SMTPUTF8 and the line end.
const ITS_OWN: usize = 80;
