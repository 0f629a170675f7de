//! Before the first octet of MAIL: what a message needs, and whether this session has it.

use super::address::Mailbox;
use super::command::{BodyParam, Utf8Param};
use super::config::{Chunking, Config, Pipelining, Protocol, Unadvertised};
use super::extensions::Extensions;
use super::link::Link;
use super::params::Params;
use super::transaction::{Body, Encoding, Envelope};
use crate::error::{Category, Error, Party, Stage};

/// What of the server's offers bears on transactions.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    pub(crate) pipelining: Pipelining,
    size: Offer<u64>,
    eight_bit_mime: Offer<()>,
    smtputf8: Offer<()>,
    binarymime: Offer<()>,
    pub(crate) way: Way,
    pub(crate) protocol: Protocol,
    extensions: Extensions,
}

/// How messages travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// By DATA, once the server invites it.
    #[default]
    Data,
    /// By BDAT.
    Bdat,
}

/// One extension, with what it limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Offer<L> {
    #[default]
    Absent,
    Unlimited,
    Limited(L),
}

impl Offers {
    pub(crate) fn new(extensions: &Extensions, config: &Config) -> Self {
        let offer = |keyword| match extensions.offers(keyword) {
            true => Offer::Unlimited,
            false => Offer::Absent,
        };
        let pipelining = match extensions.offers("PIPELINING") {
            true => config.pipelining,
            false => Pipelining::Off,
        };
        let size = match (extensions.offers("SIZE"), extensions.size()) {
            (true, Some(limit)) => Offer::Limited(limit),
            (true, None) => Offer::Unlimited,
            (false, _) => Offer::Absent,
        };
        Self {
            pipelining,
            size,
            eight_bit_mime: offer("8BITMIME"),
            smtputf8: offer("SMTPUTF8"),
            binarymime: offer("BINARYMIME"),
            way: match (extensions.offers("CHUNKING"), config.chunking) {
                (true, Chunking::WhereOffered) => Way::Bdat,
                (true, Chunking::Off) | (false, _) => Way::Data,
            },
            protocol: config.protocol,
            extensions: extensions.clone(),
        }
    }
}

/// The parameters of MAIL that the engine decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MailParams {
    pub(crate) size: Option<u64>,
    pub(crate) body: BodyParam,
    pub(crate) utf8: Utf8Param,
}

/// The parameters of MAIL for this message; or why it cannot be sent in this session.
pub(crate) fn check(
    envelope: &Envelope,
    body: Option<&Body>,
    offers: &Offers,
    link: &Link,
) -> Result<MailParams, Error> {
    check_params(envelope.params(), offers, link)?;
    for recipient in envelope.recipients() {
        check_params(recipient.params(), offers, link)?;
    }
    let needs = body.map(Needs::of).unwrap_or_default();
    let size = check_size(needs.size, offers, link)?;
    let utf8 = check_utf8(envelope, needs.utf8_headers, offers, link)?;
    let body = match needs.encoding {
        Encoding::SevenBit => BodyParam::Absent,
        Encoding::EightBit if offers.eight_bit_mime == Offer::Absent => {
            let message = "the message is 8-bit, and the server takes 7-bit messages only \
                           (no 8BITMIME; RFC 6152: 5.6.3)";
            let hint = "Encode the message in quoted-printable or base64.";
            return Err(unsendable(message, hint, link));
        }
        Encoding::EightBit => BodyParam::EightBitMime,
        // RFC 3030 §3: both extensions, and never by DATA.
        Encoding::Binary if offers.binarymime == Offer::Absent || offers.way == Way::Data => {
            let message = "the message is binary (it has NUL octets, or was declared so), and this \
                           session has no BINARYMIME to carry it (RFC 3030: 5.6.3)";
            let hint = "Encode the part of the message that is binary in base64.";
            return Err(unsendable(message, hint, link));
        }
        Encoding::Binary => BodyParam::BinaryMime,
    };
    Ok(MailParams { size, body, utf8 })
}

/// Why a recipient cannot be named in this session.
pub(crate) fn foreign_recipient(mailbox: &Mailbox, link: &Link) -> Error {
    let message = format!(
        "the address {mailbox} or a parameter of it is not ASCII, and the server does not offer \
         SMTPUTF8"
    );
    let error = link.error(Category::Usage, Stage::Rcpt, Party::Caller, message);
    error.with_hint("Use an ASCII address of this recipient.")
}

/// What a body needs of the session.
#[derive(Default)]
struct Needs {
    size: Option<u64>,
    encoding: Encoding,
    utf8_headers: bool,
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
                }
            }
            Body::Streamed(streamed) => Self {
                size: streamed.size,
                encoding: streamed.encoding,
                utf8_headers: streamed.utf8_headers,
            },
        }
    }
}

fn check_size(size: Option<u64>, offers: &Offers, link: &Link) -> Result<Option<u64>, Error> {
    match (size, offers.size) {
        (Some(size), Offer::Limited(limit)) if size > limit => {
            let message = format!(
                "the message has {size} octets, and the server takes {limit} at most \
                 (RFC 1870: 5.3.4)"
            );
            let error = link.error(
                Category::MessageRefused,
                Stage::Mail,
                Party::Caller,
                message,
            );
            Err(error.with_hint("Send less, or send a link to it."))
        }
        (size, Offer::Limited(_) | Offer::Unlimited) => Ok(size),
        (_, Offer::Absent) => Ok(None),
    }
}

/// RFC 6531 §3.4: the parameter is there if and only if something needs it. Recipients that need it
/// are left out one by one where it is not on offer; a sender or header cannot be.
fn check_utf8(
    envelope: &Envelope,
    utf8_headers: bool,
    offers: &Offers,
    link: &Link,
) -> Result<Utf8Param, Error> {
    let needed = utf8_headers || !envelope.is_ascii();
    match (needed, offers.smtputf8) {
        (false, _) => Ok(Utf8Param::Absent),
        (true, Offer::Unlimited | Offer::Limited(())) => Ok(Utf8Param::SmtpUtf8),
        (true, Offer::Absent) if !envelope.sender_is_ascii() => {
            let message = "the sender's address or a parameter of it is not ASCII, and the server \
                           does not offer SMTPUTF8 (RFC 6531: 5.6.7)";
            Err(unsendable(
                message,
                "Use an ASCII address of this sender.",
                link,
            ))
        }
        (true, Offer::Absent) if utf8_headers => {
            let message = "the message's headers are not ASCII, and the server does not offer \
                           SMTPUTF8 (RFC 6531: 5.6.7)";
            Err(unsendable(
                message,
                "Encode the headers as RFC 2047 says.",
                link,
            ))
        }
        (true, Offer::Absent) => Ok(Utf8Param::NotOffered),
    }
}

fn check_params(params: &Params, offers: &Offers, link: &Link) -> Result<(), Error> {
    if link.config.unadvertised == Unadvertised::Send {
        return Ok(());
    }
    match params
        .iter()
        .find(|param| !offers.extensions.offers(param.extension()))
    {
        None => Ok(()),
        Some(param) => {
            let message = format!(
                "the parameter {} needs {}, which the server does not offer",
                param.keyword(),
                param.extension()
            );
            Err(unsendable(
                message,
                "Leave the parameter out, or use another server.",
                link,
            ))
        }
    }
}

fn unsendable(message: impl Into<String>, hint: &str, link: &Link) -> Error {
    link.error(Category::Usage, Stage::Mail, Party::Caller, message)
        .with_hint(hint)
}
