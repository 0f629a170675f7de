//! A body that is written piece by piece, held to what was declared of it.

use std::time::Instant;

use bytes::Bytes;
use memchr::memchr;

use super::body::{BareNewline, ENCODED_AHEAD, Encoder, Transfer};
use super::link::{Expect, Link};
use super::output::Output;
use super::transaction::{Encoding, Streamed, TransactionId};

/// A streamed body in progress.
pub(crate) struct StreamState {
    declared: Streamed,
    encoder: Encoder,
    /// What is encoded and not yet given to the connection: at once where a dot marks the end, as
    /// chunks where octets are counted.
    pending: Output,
    transfer: Transfer,
    end: End,
}

/// Whether the caller has written all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Reached,
}

/// What became of a call to flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing: there is not enough yet.
    Nothing,
    /// Something.
    Some,
    /// The last of it.
    All,
}

impl StreamState {
    pub(crate) fn new(declared: &Streamed, transfer: Transfer) -> Self {
        Self {
            declared: declared.clone(),
            encoder: Encoder::new(transfer, declared.newlines),
            pending: Output::default(),
            transfer,
            end: End::Open,
        }
    }

    /// Octets of content that may be written now.
    pub(crate) fn room(&self, output: &Output) -> usize {
        match self.end {
            End::Open => ENCODED_AHEAD.saturating_sub(output.unsent() + self.pending.unsent()),
            End::Reached => 0,
        }
    }

    /// Takes the next piece.
    pub(crate) fn write(&mut self, piece: &Bytes) -> Result<(), StreamFault> {
        if self.declared.encoding == Encoding::SevenBit && !piece.is_ascii() {
            return Err(StreamFault::EightBit);
        }
        match self.declared.encoding {
            Encoding::SevenBit | Encoding::EightBit if memchr(0, piece).is_some() => {
                return Err(StreamFault::Nul);
            }
            Encoding::SevenBit | Encoding::EightBit | Encoding::TextWithNul | Encoding::Binary => {}
        }
        self.encoder.piece(piece, &mut self.pending)?;
        match self.declared.size {
            Some(declared) if self.size() > declared => Err(StreamFault::TooLong),
            Some(_) | None => Ok(()),
        }
    }

    /// There is no more.
    pub(crate) fn finish(&mut self) -> Result<(), StreamFault> {
        let size = self.size() + self.encoder.unfinished();
        match self.declared.size {
            Some(declared) if size > declared => return Err(StreamFault::TooLong),
            Some(declared) if size < declared => return Err(StreamFault::TooShort),
            Some(_) | None => {}
        }
        self.encoder.finish(&mut self.pending)?;
        self.end = End::Reached;
        Ok(())
    }

    /// Whether what is there ends the message.
    pub(crate) fn is_complete(&self) -> bool {
        self.end == End::Reached
    }

    /// Gives the connection what is there, in the form in which it travels.
    pub(crate) fn flush(&mut self, id: TransactionId, link: &mut Link, now: Instant) -> Flushed {
        match (self.transfer, self.end) {
            (Transfer::Dotted, end) => {
                link.output.append(&mut self.pending);
                link.began_writing(now);
                match end {
                    End::Open => Flushed::Nothing,
                    End::Reached => Flushed::All,
                }
            }
            (Transfer::Counted | Transfer::Verbatim, End::Reached) => {
                link.chunk(&mut self.pending, Expect::Body(id), now);
                Flushed::All
            }
            (Transfer::Counted | Transfer::Verbatim, End::Open)
                if self.pending.unsent() >= CHUNK =>
            {
                link.chunk(&mut self.pending, Expect::Chunk(id), now);
                Flushed::Some
            }
            (Transfer::Counted | Transfer::Verbatim, End::Open) => Flushed::Nothing,
        }
    }

    /// Octets of content so far, as SIZE counts them.
    fn size(&self) -> u64 {
        self.pending.queued_total() - self.encoder.stuffed()
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

/// Octets below which no chunk but the last is sent: each costs a reply.
const CHUNK: usize = 32 * 1024;
