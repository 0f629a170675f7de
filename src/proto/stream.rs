//! A body that is written piece by piece, held to what was declared of it.

use bytes::Bytes;
use memchr::memchr;

use super::body::{BareNewline, DataEncoder};
use super::output::Output;
use super::transaction::{Encoding, Streamed};

/// A streamed body in progress.
pub(crate) struct StreamState {
    declared: Streamed,
    encoder: DataEncoder,
    /// Stream offset of the first octet; `None` before it.
    start: Option<u64>,
}

impl StreamState {
    pub(crate) fn new(declared: &Streamed) -> Self {
        Self {
            declared: declared.clone(),
            encoder: DataEncoder::new(declared.newlines),
            start: None,
        }
    }

    /// Queues the next piece.
    pub(crate) fn write(&mut self, piece: &Bytes, output: &mut Output) -> Result<(), StreamFault> {
        let start = *self.start.get_or_insert(output.queued_total());
        if self.declared.encoding == Encoding::SevenBit && !piece.is_ascii() {
            return Err(StreamFault::EightBit);
        }
        if self.declared.encoding != Encoding::Binary && memchr(0, piece).is_some() {
            return Err(StreamFault::Nul);
        }
        self.encoder.piece(piece, output)?;
        let size = output.queued_total() - start - self.encoder.stuffed();
        match self.declared.size {
            Some(declared) if size > declared => Err(StreamFault::TooLong),
            Some(_) | None => Ok(()),
        }
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, output: &mut Output) -> Result<(), StreamFault> {
        let start = *self.start.get_or_insert(output.queued_total());
        let size =
            output.queued_total() - start - self.encoder.stuffed() + self.encoder.unfinished();
        match self.declared.size {
            Some(declared) if size > declared => return Err(StreamFault::TooLong),
            Some(declared) if size < declared => return Err(StreamFault::TooShort),
            Some(_) | None => {}
        }
        Ok(self.encoder.finish(output)?)
    }
}

/// How a streamed body broke what was declared of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamFault {
    TooLong,
    TooShort,
    EightBit,
    Nul,
    BareNewline,
}

impl StreamFault {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::TooLong => "the streamed message is longer than its declared size",
            Self::TooShort => "the streamed message is shorter than its declared size",
            Self::EightBit => "the streamed message was declared 7-bit, and is not",
            Self::Nul => "the streamed message has a NUL octet",
            Self::BareNewline => "the streamed message has a CR or LF that is not part of a CRLF",
        }
    }
}

impl From<BareNewline> for StreamFault {
    fn from(BareNewline: BareNewline) -> Self {
        Self::BareNewline
    }
}
