//! Commands and their encoder: the only place that writes protocol text.

use super::address::{Domain, Mailbox, ReversePath};
use super::params::Params;
use super::sasl::MechanismName;
use crate::error::Stage;

/// One command of the client, but for RCPT, which comes in runs and is [`put_rcpt`]. Its parts cannot
/// hold a CR, LF or NUL, so its text is one line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command<'a> {
    Ehlo(&'a Domain),
    Helo(&'a Domain),
    Lhlo(&'a Domain),
    StartTls,
    /// With the initial response, in base64.
    Auth(&'a MechanismName, Option<&'a str>),
    /// A response of a SASL exchange, in base64.
    AuthResponse(&'a str),
    /// `*`
    AuthCancel,
    Mail {
        from: &'a ReversePath,
        size: Option<u64>,
        body: BodyParam,
        utf8: Utf8Param,
        params: &'a Params,
    },
    Data,
    Bdat(u64, Chunk),
    Rset,
    Quit,
}

impl Command<'_> {
    /// Appends the command's line, CRLF included.
    #[inline]
    pub(crate) fn encode(self, text: &mut Vec<u8>) {
        match self {
            Self::Ehlo(name) => put(text, ["EHLO ", name.as_str()]),
            Self::Helo(name) => put(text, ["HELO ", name.as_str()]),
            Self::Lhlo(name) => put(text, ["LHLO ", name.as_str()]),
            Self::StartTls => put(text, ["STARTTLS"]),
            Self::Auth(mechanism, None) => put(text, ["AUTH ", mechanism.as_str()]),
            Self::Auth(mechanism, Some(initial)) => {
                put(text, ["AUTH ", mechanism.as_str(), " ", initial]);
            }
            Self::AuthResponse(response) => put(text, [response]),
            Self::AuthCancel => put(text, ["*"]),
            Self::Mail {
                from,
                size,
                body,
                utf8,
                params,
            } => {
                put(text, ["MAIL FROM:<", from.as_str()]);
                match size {
                    Some(size) => {
                        put(text, ["> SIZE="]);
                        put_number(text, size);
                    }
                    None => put(text, [">"]),
                }
                if (body, utf8) != (BodyParam::Absent, Utf8Param::Absent) {
                    put(text, [body.as_str(), utf8.as_str()]);
                }
                put_params(text, params);
            }
            Self::Data => put(text, ["DATA"]),
            Self::Bdat(octets, chunk) => {
                put(text, ["BDAT "]);
                put_number(text, octets);
                match chunk {
                    Chunk::More => {}
                    Chunk::Last => put(text, [" LAST"]),
                }
            }
            Self::Rset => put(text, ["RSET"]),
            Self::Quit => put(text, ["QUIT"]),
        }
        text.extend_from_slice(b"\r\n");
    }

    /// The verb, for logs and errors.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Ehlo(_) => "EHLO",
            Self::Helo(_) => "HELO",
            Self::Lhlo(_) => "LHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth(..) | Self::AuthResponse(_) | Self::AuthCancel => "AUTH",
            Self::Mail { .. } => "MAIL",
            Self::Data => "DATA",
            Self::Bdat(..) => "BDAT",
            Self::Rset => "RSET",
            Self::Quit => "QUIT",
        }
    }

    /// What a trace may show in place of the line; `None` where it may show the line.
    pub(crate) fn masked(self) -> Option<String> {
        match self {
            Self::Auth(mechanism, Some(_)) => Some(format!("AUTH {mechanism} {MASK}")),
            Self::AuthResponse(_) => Some(MASK.to_owned()),
            Self::Ehlo(_)
            | Self::Helo(_)
            | Self::Lhlo(_)
            | Self::StartTls
            | Self::Auth(_, None)
            | Self::AuthCancel
            | Self::Mail { .. }
            | Self::Data
            | Self::Bdat(..)
            | Self::Rset
            | Self::Quit => None,
        }
    }
}

/// The place of a chunk in its message (RFC 3030 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    More,
    Last,
}

/// The `BODY` parameter of MAIL (RFC 6152, RFC 3030 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyParam {
    Absent,
    EightBitMime,
    BinaryMime,
}

impl BodyParam {
    fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "",
            Self::EightBitMime => " BODY=8BITMIME",
            Self::BinaryMime => " BODY=BINARYMIME",
        }
    }
}

/// The `SMTPUTF8` parameter of MAIL (RFC 6531).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Utf8Param {
    Absent,
    SmtpUtf8,
}

impl Utf8Param {
    fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "",
            Self::SmtpUtf8 => " SMTPUTF8",
        }
    }
}

/// The verb that a stage's error speaks of.
pub(crate) fn stage_verb(stage: Stage) -> &'static str {
    match stage {
        Stage::Resolve => "the name lookup",
        Stage::Connect => "the connection",
        Stage::Greeting => "the greeting",
        Stage::Ehlo => "EHLO",
        Stage::StartTls => "STARTTLS",
        Stage::Handshake => "the TLS handshake",
        Stage::Auth => "AUTH",
        Stage::Mail => "MAIL",
        Stage::Rcpt => "RCPT",
        Stage::Data => "DATA",
        Stage::Body => "the message",
        Stage::Quit => "QUIT",
    }
}

#[inline(always)]
fn put<const COUNT: usize>(text: &mut Vec<u8>, parts: [&str; COUNT]) {
    for part in parts {
        text.extend_from_slice(part.as_bytes());
    }
}

/// Decimal digits, without the formatting machinery: this is on the way of every message.
fn put_number(text: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] += (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[first..]);
}

/// Appends the line of RCPT.
#[inline]
pub(crate) fn put_rcpt(text: &mut Vec<u8>, mailbox: &Mailbox, params: &Params) {
    put(text, ["RCPT TO:<", mailbox.as_str()]);
    if params.is_empty() {
        return put(text, [">\r\n"]);
    }
    put(text, [">"]);
    put_params(text, params);
    put(text, ["\r\n"]);
}

fn put_params(text: &mut Vec<u8>, params: &Params) {
    for param in params.iter() {
        put(text, [" ", param.keyword()]);
        if let Some(value) = param.value() {
            put(text, ["=", value]);
        }
    }
}

/// Stands for what a trace does not show.
pub(crate) const MASK: &str = "****";

/// The longest command line of RFC 5321 §4.5.3.1.4, CRLF included.
pub(crate) const COMMAND_LINE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 1234, u64::MAX] {
            let mut text = Vec::new();
            put_number(&mut text, number);
            assert_eq!(text, number.to_string().as_bytes());
        }
    }

    #[test]
    fn only_lines_that_carry_credentials_are_masked() {
        let plain = MechanismName::PLAIN;
        let masked = |command: Command<'_>| command.masked();
        let auth = masked(Command::Auth(&plain, Some("AGEAYg==")));
        assert_eq!(auth.as_deref(), Some("AUTH PLAIN ****"));
        let response = masked(Command::AuthResponse("AGEAYg=="));
        assert_eq!(response.as_deref(), Some("****"));
        for shown in [
            Command::Auth(&plain, None),
            Command::AuthCancel,
            Command::StartTls,
            Command::Data,
            Command::Bdat(7, Chunk::Last),
            Command::Rset,
            Command::Quit,
        ] {
            assert_eq!(masked(shown), None, "{shown:?}");
        }
    }
}
