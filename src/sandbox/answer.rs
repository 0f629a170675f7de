//! A reply that somebody chose, to be written by the sandbox.

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;

use bytes::{BufMut, BytesMut};

use crate::proto::reply::Code;

/// A reply for the sandbox to give: a code, and one or more lines of text.
///
/// An enhanced status code is part of the text, and given whether or not the server offers
/// ENHANCEDSTATUSCODES.
///
/// ```
/// let answer: ehlo::sandbox::Answer = "550 5.1.1 no such user".parse()?;
/// assert_eq!(answer.code().number(), 550);
/// # Ok::<(), ehlo::sandbox::AnswerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    code: Code,
    lines: Vec<String>,
}

impl Answer {
    /// A reply of this code. Each line of the text becomes one of the reply; control characters in
    /// it become spaces.
    pub fn new(code: Code, text: &str) -> Self {
        let clean = |line: &str| line.replace(char::is_control, " ");
        let lines = text.split('\n').map(clean).collect();
        Self { code, lines }
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text, a line each.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    pub(super) fn class_digit(&self) -> u16 {
        self.code.number() / 100
    }

    pub(super) fn encode(&self, output: &mut BytesMut) {
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            output.extend_from_slice(self.code.to_string().as_bytes());
            output.put_u8(if index == last { b' ' } else { b'-' });
            output.extend_from_slice(line.as_bytes());
            output.extend_from_slice(b"\r\n");
        }
    }
}

impl FromStr for Answer {
    type Err = AnswerError;

    /// `451 4.3.0 try later`: the code, a space, the text; each further line is text alone.
    fn from_str(text: &str) -> Result<Self, AnswerError> {
        let error = || AnswerError(text.to_owned());
        let digits = text.get(..3).ok_or_else(error)?;
        let number = match digits.bytes().all(|digit| digit.is_ascii_digit()) {
            true => digits.parse().map_err(|_| error())?,
            false => return Err(error()),
        };
        let code = Code::new(number).ok_or_else(error)?;
        let rest = &text[3..];
        match rest.strip_prefix(' ') {
            Some(text) => Ok(Self::new(code, text)),
            None if rest.is_empty() => Ok(Self::new(code, "")),
            None => Err(error()),
        }
    }
}

/// A text that is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerError(String);

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not a reply: it needs a code from 200 to 599, a space and a text, as in \
             '451 4.3.0 try later'",
            self.0.escape_debug()
        )
    }
}

impl StdError for AnswerError {}
