//! A mail transaction in progress, and the parameters of MAIL that begin it.

use super::command::{Parameter, is_number};
use super::content::Content;
use super::options::Extension;
use super::parameters::{self, Holding};
use super::received::{Received, Transfer};
use super::terms::Channel;
use super::violation::Violation;
use super::voice::Usual;

/// From an accepted MAIL on.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) reverse_path: String,
    pub(super) parameters: Vec<(String, Option<String>)>,
    pub(super) recipients: Vec<String>,
    pub(super) recipient_parameters: Vec<Vec<(String, Option<String>)>>,
    pub(super) content: Content,
    pub(super) progress: Progress,
    pub(super) body: Encoded,
}

/// How far the content has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It was not announced.
    Envelope,
    /// It was announced, and nothing of it has come.
    Announced(Transfer),
    /// Some of it has come.
    Begun(Transfer),
    /// Its reply was given before its end, and the rest is read for nothing.
    Answered,
}

impl Transaction {
    pub(super) fn new(path: &str, parameters: &[Parameter<'_>], content: Content) -> Self {
        Self {
            reverse_path: path.to_owned(),
            parameters: kept(parameters),
            recipients: Vec::new(),
            recipient_parameters: Vec::new(),
            content,
            progress: Progress::Envelope,
            body: Encoded::Lines,
        }
    }

    /// One more recipient is accepted.
    pub(super) fn add(&mut self, path: &str, parameters: &[Parameter<'_>]) {
        self.recipients.push(path.to_owned());
        self.recipient_parameters.push(kept(parameters));
    }

    /// Whether it may have non-ASCII addresses.
    pub(super) fn is_utf8(&self) -> bool {
        let mut keywords = self.parameters.iter().map(|(keyword, _)| keyword);
        keywords.any(|keyword| keyword == "SMTPUTF8")
    }

    /// Whether BDAT alone may carry its content (RFC 3030 §3).
    pub(super) fn is_binary(&self) -> bool {
        self.body == Encoded::Binary
    }

    /// What of its content is against what MAIL said.
    pub(super) fn violations(&self) -> Vec<Violation> {
        let nature = self.content.nature();
        let value = |keyword: &str| {
            let found = self.parameters.iter().find(|(one, _)| one == keyword);
            found.and_then(|(_, value)| value.as_deref())
        };
        let eight_bit = value("BODY").is_some_and(|body| body.eq_ignore_ascii_case("8BITMIME"));
        let mut violations = Vec::new();
        if nature.utf8_headers > 0 && !self.is_utf8() {
            violations.push(Violation::Utf8Headers);
        }
        if !self.is_binary() {
            let broken = [
                (nature.eight_bit > 0 && !eight_bit, Violation::EightBit),
                (nature.nuls > 0, Violation::Nul),
                (nature.bare_newlines > 0, Violation::BareNewline),
            ];
            violations.extend(
                broken
                    .iter()
                    .filter(|(broken, _)| *broken)
                    .map(|(_, it)| *it),
            );
            if nature.longest_line > LONGEST_LINE {
                let octets = nature.longest_line + 2;
                violations.push(Violation::LongLine { octets });
            }
        }
        let octets = self.content.size();
        match value("SIZE").and_then(|size| size.parse().ok()) {
            Some(declared) if declared < octets => {
                violations.push(Violation::Understated { declared, octets });
            }
            Some(_) | None => {}
        }
        violations
    }

    pub(super) fn into_received(self) -> Received {
        Received {
            reverse_path: self.reverse_path,
            parameters: self.parameters,
            recipients: self.recipients,
            recipient_parameters: self.recipient_parameters,
            size: self.content.size(),
            content: self.content.into_bytes(),
            transfer: match self.progress {
                Progress::Announced(transfer) | Progress::Begun(transfer) => transfer,
                Progress::Envelope | Progress::Answered => Transfer::Data,
            },
            authenticated: None,
            tls: false,
            connection: 0,
        }
    }
}

fn kept(parameters: &[Parameter<'_>]) -> Vec<(String, Option<String>)> {
    let keep = |p: &Parameter<'_>| (p.keyword.to_ascii_uppercase(), p.value.map(String::from));
    parameters.iter().map(keep).collect()
}

/// What the parameters of MAIL say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    /// The size in octets; 0 where it was not said.
    pub(super) size: u64,
    pub(super) addresses: Addresses,
    pub(super) body: Encoded,
}

/// Whether the content has lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoded {
    #[default]
    Lines,
    /// BINARYMIME: DATA cannot carry it.
    Binary,
}

/// Which addresses a transaction may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Addresses {
    #[default]
    Ascii,
    Utf8,
}

/// Who may use which parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permitted<'a> {
    pub(super) extensions: &'a [Extension],
    pub(super) auth: AuthParameter,
    pub(super) channel: Channel,
    pub(super) holding: Holding,
}

/// Whether MAIL may have AUTH= (RFC 4954 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthParameter {
    Unknown,
    Taken,
}

impl Permitted<'_> {
    /// RFC 8689 §4.2.1: REQUIRETLS is for TLS alone.
    fn offers(&self, extension: Extension) -> bool {
        let safe = extension != Extension::RequireTls || self.channel == Channel::Tls;
        safe && self.extensions.contains(&extension)
    }

    /// Reads the parameters of RCPT, or says what to refuse them with.
    pub(super) fn check_rcpt(
        &self,
        parameters: &[Parameter<'_>],
        addresses: Addresses,
    ) -> Result<(), Usual<'static>> {
        for parameter in parameters {
            match parameters::of_rcpt(parameter, addresses, |extension| self.offers(extension)) {
                None => return Err(UNKNOWN),
                Some(Ok(())) => {}
                Some(Err(text)) => return Err(Usual::Line(501, "5.5.4", text)),
            }
        }
        Ok(())
    }
}

impl Declared {
    /// Reads the parameters, or says what to refuse them with.
    pub(super) fn read(
        parameters: &[Parameter<'_>],
        permitted: Permitted<'_>,
    ) -> Result<Self, Usual<'static>> {
        let wrong = |text| Usual::Line(501, "5.5.4", text);
        let offered = |extension| permitted.offers(extension);
        let mut declared = Self::default();
        for parameter in parameters {
            let known = |keyword: &str| parameter.keyword.eq_ignore_ascii_case(keyword);
            if known("SIZE") && offered(Extension::Size) {
                let digits = parameter.value.filter(|value| is_number(value));
                let digits = digits.ok_or(wrong("SIZE needs a number"))?;
                // Twenty digits may be more than fits, and then are more than any limit.
                declared.size = digits.parse().unwrap_or(u64::MAX);
            } else if known("BODY")
                && (offered(Extension::EightBitMime) || offered(Extension::BinaryMime))
            {
                let value = parameter.value.unwrap_or_default();
                let known = |body: &str| value.eq_ignore_ascii_case(body);
                let binary = offered(Extension::BinaryMime) && offered(Extension::Chunking);
                if binary && known("BINARYMIME") {
                    declared.body = Encoded::Binary;
                } else if !known("7BIT") && !known("8BITMIME") {
                    return Err(wrong("BODY is 7BIT or 8BITMIME"));
                }
            } else if known("SMTPUTF8") && offered(Extension::SmtpUtf8) {
                if parameter.value.is_some() {
                    return Err(wrong("SMTPUTF8 takes no value"));
                }
                declared.addresses = Addresses::Utf8;
            } else if known("AUTH") && permitted.auth == AuthParameter::Taken {
                parameter.value.ok_or(wrong("AUTH needs a mailbox"))?;
            } else {
                match parameters::of_mail(parameter, offered, permitted.holding) {
                    None => return Err(UNKNOWN),
                    Some(Ok(())) => {}
                    Some(Err(text)) => return Err(wrong(text)),
                }
            }
        }
        let held = |p: &&Parameter<'_>| {
            ["HOLDFOR", "HOLDUNTIL"]
                .iter()
                .any(|keyword| p.keyword.eq_ignore_ascii_case(keyword))
        };
        if parameters.iter().filter(held).count() > 1 {
            return Err(wrong("HOLDFOR and HOLDUNTIL don't mix"));
        }
        Ok(declared)
    }
}

/// RFC 5321 §4.5.3.1.6, without the CRLF.
const LONGEST_LINE: u64 = 998;

const UNKNOWN: Usual<'static> = Usual::Line(555, "5.5.4", "unknown parameter");
