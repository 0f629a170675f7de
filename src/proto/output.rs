//! What is still to be written: shared pieces of message and copied commands, in order.
//!
//! Small pieces are copied together, large ones are shared with the caller: a clean message goes
//! from its owner's memory to the socket without a copy.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// The unsent octets: whole pieces first, then the tail that commands are written to.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    queued: u64,
    sent: u64,
}

impl Output {
    /// Writes text at the end, and returns what was written.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut BytesMut)) -> &[u8] {
        let before = self.tail.len();
        write(&mut self.tail);
        let text = &self.tail[before..];
        self.queued += text.len() as u64;
        text
    }

    /// Adds octets at the end: shared where they are many, copied where they are few.
    pub(crate) fn share(&mut self, piece: Bytes) {
        self.queued += piece.len() as u64;
        if piece.len() < COPIED {
            self.tail.extend_from_slice(&piece);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(piece);
    }

    /// Adds all that another output holds, and empties it.
    pub(crate) fn append(&mut self, other: &mut Self) {
        for piece in std::mem::take(&mut other.pieces) {
            self.share(piece);
        }
        self.share(other.tail.split().freeze());
        other.sent = other.queued;
    }

    /// The transport has taken the first `len` octets; more than there are counts as all.
    pub(crate) fn sent(&mut self, len: usize) {
        let mut left = len.min(self.unsent());
        self.sent += left as u64;
        while let Some(piece) = self.pieces.front_mut() {
            if left < piece.len() {
                piece.advance(left);
                return;
            }
            left -= piece.len();
            self.pieces.pop_front();
        }
        self.tail.advance(left);
    }

    /// Drops everything unsent: the connection is over.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.tail.clear();
        self.queued = self.sent;
    }

    /// Fills slices from the front, and returns how many.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&*self.tail);
        let pieces = self.pieces.iter().map(|piece| &**piece).chain(tail);
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// Octets not yet taken by the transport.
    pub(crate) fn unsent(&self) -> usize {
        // Never more than was queued, which was in memory.
        (self.queued - self.sent) as usize
    }

    /// Octets ever queued: the stream offset of the next one.
    pub(crate) fn queued_total(&self) -> u64 {
        self.queued
    }

    /// Octets ever taken by the transport.
    pub(crate) fn sent_total(&self) -> u64 {
        self.sent
    }
}

/// Pieces below this many octets are copied: a slice of its own costs the kernel as much.
const COPIED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while output.unsent() > 0 {
            let mut slices = [IoSlice::new(&[]); 2];
            let count = output.slices(&mut slices);
            let available: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            let taken = step.min(available.len());
            wire.extend_from_slice(&available[..taken]);
            output.sent(taken);
        }
        wire
    }

    #[test]
    fn octets_come_out_in_order_however_little_is_taken() {
        for step in [1, 7, 255, 256, 10_000] {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for n in [3usize, 300, 5, 0, 256, 255, 1000] {
                let piece = vec![n as u8; n];
                expected.extend_from_slice(&piece);
                output.share(Bytes::from(piece));
                output.write(|text| text.extend_from_slice(b"QUIT\r\n"));
                expected.extend_from_slice(b"QUIT\r\n");
            }
            assert_eq!(output.queued_total(), expected.len() as u64);
            assert_eq!(drain(&mut output, step), expected);
            assert_eq!(output.sent_total(), expected.len() as u64);
        }
    }

    #[test]
    fn large_pieces_are_not_copied() {
        let piece = Bytes::from(vec![b'x'; 4096]);
        let mut output = Output::default();
        output.write(|text| text.extend_from_slice(b"DATA\r\n"));
        output.share(piece.clone());
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(output.slices(&mut slices), 2);
        assert_eq!(slices[1].as_ptr(), piece.as_ptr());
    }

    #[test]
    fn more_sent_than_queued_counts_as_all() {
        let mut output = Output::default();
        output.share(Bytes::from_static(b"abc"));
        output.sent(usize::MAX);
        assert_eq!((output.unsent(), output.sent_total()), (0, 3));
    }
}
