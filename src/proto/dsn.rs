//! What a sender may ask of delivery reports (RFC 3461): when one is sent, what it returns, and how it
//! names the message and the recipient.

use std::fmt;
use std::str::FromStr;

use super::address::Mailbox;
use super::grammar;
use super::params::ParamError;

/// When a report about a recipient is sent: the `NOTIFY` parameter of RCPT (RFC 3461 §4.1).
///
/// ```
/// use ehlo::{Notify, Occasion};
///
/// let notify = Notify::when([Occasion::Failure, Occasion::Success])?;
/// assert_eq!(notify.to_string(), "SUCCESS,FAILURE");
/// assert_eq!("never".parse(), Ok(Notify::never()));
/// # Ok::<(), ehlo::ParamError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notify {
    /// A bit for each occasion, in their order; none means never.
    occasions: u8,
}

/// What a report may be about (RFC 3461 §4.1). The set is closed by that section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// The message was delivered.
    Success,
    /// It could not be delivered.
    Failure,
    /// It is late.
    Delay,
}

impl Notify {
    /// No report, whatever happens.
    pub const fn never() -> Self {
        Self { occasions: 0 }
    }

    /// A report on each of these occasions, and on no other.
    ///
    /// # Errors
    /// None is given.
    pub fn when(occasions: impl IntoIterator<Item = Occasion>) -> Result<Self, ParamError> {
        let bits = occasions
            .into_iter()
            .fold(0, |bits, occasion| bits | occasion.bit());
        match bits {
            0 => Err(ParamError::new("NOTIFY", "it needs an occasion")),
            occasions => Ok(Self { occasions }),
        }
    }
}

impl FromStr for Notify {
    type Err = ParamError;

    /// `never`, or occasions with commas between them, each once, in any case.
    fn from_str(text: &str) -> Result<Self, ParamError> {
        let wrong = || {
            let problem = "it is never, or some of success, failure and delay";
            ParamError::new("NOTIFY", problem)
        };
        if text.eq_ignore_ascii_case("never") {
            return Ok(Self::never());
        }
        let mut occasions = 0;
        for word in text.split(',') {
            let occasion = OCCASIONS
                .into_iter()
                .find(|occasion| occasion.as_str().eq_ignore_ascii_case(word))
                .ok_or_else(wrong)?;
            if occasions & occasion.bit() != 0 {
                return Err(wrong());
            }
            occasions |= occasion.bit();
        }
        Ok(Self { occasions })
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.occasions == 0 {
            return f.write_str("NEVER");
        }
        let mut comma = "";
        for occasion in OCCASIONS {
            if self.occasions & occasion.bit() != 0 {
                write!(f, "{comma}{}", occasion.as_str())?;
                comma = ",";
            }
        }
        Ok(())
    }
}

impl Occasion {
    /// The word of RFC 3461.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Delay => "DELAY",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Success => 1,
            Self::Failure => 2,
            Self::Delay => 4,
        }
    }
}

/// What of the message a report of failure returns: the `RET` parameter of MAIL (RFC 3461 §4.3). The
/// set is closed by that section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Return {
    /// All of it.
    Full,
    /// Its headers.
    Headers,
}

impl FromStr for Return {
    type Err = ParamError;

    /// `full` or `hdrs`, in any case.
    fn from_str(text: &str) -> Result<Self, ParamError> {
        [Self::Full, Self::Headers]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParamError::new("RET", "it is full or hdrs"))
    }
}

impl Return {
    /// The word of RFC 3461.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

/// The sender's own name for a message, which reports repeat: the `ENVID` parameter of MAIL
/// (RFC 3461 §4.4). Given plain, and encoded here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnvelopeId {
    encoded: String,
}

impl EnvelopeId {
    /// The value of the parameter.
    pub(crate) fn into_encoded(self) -> String {
        self.encoded
    }

    /// Whether this is a value of the parameter.
    pub(crate) fn is_encoded(text: &str) -> bool {
        (1..=LONGEST_ID).contains(&text.len()) && grammar::is_xtext(text.as_bytes())
    }
}

impl FromStr for EnvelopeId {
    type Err = ParamError;

    /// Printable ASCII and spaces, as the reports may hold (RFC 3461 §4.4), of at most 100 octets
    /// once it is encoded.
    fn from_str(text: &str) -> Result<Self, ParamError> {
        let printable = text.bytes().all(|b| matches!(b, b' '..=b'~'));
        if text.is_empty() || !printable {
            let problem = "it is empty, or has something else than printable ASCII";
            return Err(ParamError::new("ENVID", problem));
        }
        let encoded = xtext(text);
        if encoded.len() > LONGEST_ID {
            let problem = "it has more than 100 octets once it is encoded";
            return Err(ParamError::new("ENVID", problem));
        }
        Ok(Self { encoded })
    }
}

/// The address that the sender named at first, which reports repeat: the `ORCPT` parameter of RCPT
/// (RFC 3461 §4.2; for addresses beyond ASCII, RFC 6533 §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginalRecipient {
    encoded: String,
}

impl OriginalRecipient {
    /// This address.
    ///
    /// # Errors
    /// It has more than 500 octets once it is encoded.
    pub fn new(mailbox: &Mailbox) -> Result<Self, ParamError> {
        let text = mailbox.as_str();
        let encoded = match mailbox.is_ascii() {
            true => format!("rfc822;{}", xtext(text)),
            false => format!("utf-8;{}", unicode_xtext(text)),
        };
        match encoded.len() > LONGEST_RECIPIENT {
            true => Err(ParamError::new(
                "ORCPT",
                "it has more than 500 octets once it is encoded",
            )),
            false => Ok(Self { encoded }),
        }
    }

    /// The value of the parameter.
    pub(crate) fn into_encoded(self) -> String {
        self.encoded
    }

    /// Whether this is a value of the parameter.
    pub(crate) fn is_encoded(text: &str) -> bool {
        let Some((kind, address)) = text.split_once(';') else {
            return false;
        };
        text.len() <= LONGEST_RECIPIENT
            && grammar::is_keyword(kind.as_bytes())
            && !address.is_empty()
            && match kind.eq_ignore_ascii_case("utf-8") {
                // RFC 6533 §3 has it in UTF-8 as well, where the session is.
                true => !address.contains(['+', '=', ' ']),
                false => grammar::is_xtext(address.as_bytes()),
            }
    }
}

/// Text in which no octet can end a parameter.
///
/// ```abnf
/// xtext   = *( xchar / hexchar )                    ; RFC 3461 §4
/// xchar   = %x21-2A / %x2C-3C / %x3E-7E             ; not "+", not "="
/// hexchar = "+" 2(%x30-39 / %x41-46)
/// ```
fn xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' | ..=b' ' | 127.. => encoded.push_str(&format!("+{byte:02X}")),
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

/// The form of an address beyond ASCII that any session can carry.
///
/// ```abnf
/// utf-8-addr-xtext    = 1*(QCHAR / EmbeddedUnicodeChar)        ; RFC 6533 §3
/// EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"               ; "\x{E9}"
/// ```
fn unicode_xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        match c {
            '+' | '=' | '\\' | ..=' ' | '\x7f'.. => {
                encoded.push_str(&format!("\\x{{{:02X}}}", u32::from(c)));
            }
            _ => encoded.push(c),
        }
    }
    encoded
}

const OCCASIONS: [Occasion; 3] = [Occasion::Success, Occasion::Failure, Occasion::Delay];

/// Octets of an ENVID, encoded (RFC 3461 §5.4).
const LONGEST_ID: usize = 100;
/// Octets of an ORCPT, encoded (RFC 3461 §5.4).
const LONGEST_RECIPIENT: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_occasions_is_read_and_written_in_one_order() {
        for (text, written) in [
            ("never", "NEVER"),
            ("Success", "SUCCESS"),
            ("delay,FAILURE", "FAILURE,DELAY"),
            ("success,failure,delay", "SUCCESS,FAILURE,DELAY"),
        ] {
            let notify: Notify = text.parse().unwrap();
            assert_eq!(notify.to_string(), written);
        }
        for text in [
            "",
            "never,success",
            "success,",
            "success, failure",
            "success,success",
            "maybe",
        ] {
            assert!(text.parse::<Notify>().is_err(), "{text:?}");
        }
        assert!(Notify::when([]).is_err());
        let twice = Notify::when([Occasion::Delay, Occasion::Delay]);
        assert_eq!(
            twice.map(|notify| notify.to_string()).as_deref(),
            Ok("DELAY")
        );
    }

    #[test]
    fn an_envelope_id_is_encoded_and_has_a_length() {
        let encoded = |text: &str| text.parse::<EnvelopeId>().map(EnvelopeId::into_encoded);
        assert_eq!(encoded("a+b=c d").as_deref(), Ok("a+2Bb+3Dc+20d"));
        assert_eq!(encoded("~!").as_deref(), Ok("~!"));
        assert!(encoded(&"x".repeat(100)).is_ok());
        assert!(encoded(&"x".repeat(101)).is_err());
        assert!(encoded(&"+".repeat(34)).is_err());
        for text in ["", "a\r\nb", "é", "\0", "a\tb"] {
            assert!(encoded(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_original_recipient_has_its_type_and_a_length() {
        let encoded = |text: &str| {
            let mailbox: Mailbox = text.parse().unwrap();
            OriginalRecipient::new(&mailbox).map(OriginalRecipient::into_encoded)
        };
        assert_eq!(
            encoded("a+b=c@x.org").as_deref(),
            Ok("rfc822;a+2Bb+3Dc@x.org")
        );
        assert_eq!(
            encoded("\"a b\"@x.org").as_deref(),
            Ok("rfc822;\"a+20b\"@x.org")
        );
        assert_eq!(
            encoded("jös+é@x.org").as_deref(),
            Ok(r"utf-8;j\x{F6}s\x{2B}\x{E9}@x.org")
        );
        let of_length = |length: usize| encoded(&format!("{}@x.org", "x".repeat(length)));
        assert_eq!(of_length(487).map(|text| text.len()), Ok(500));
        assert!(of_length(488).is_err());
        for text in ["a@x.org", "rfc822;", "rfc822;a+2b", "rfc822;a b", ";a"] {
            assert!(!OriginalRecipient::is_encoded(text), "{text:?}");
        }
        assert!(OriginalRecipient::is_encoded("utf-8;jös@x.org"));
    }
}
