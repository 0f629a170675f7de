//! What is still to be written: shared pieces of message and copied commands, in order.
//!
//! Small pieces are copied together, large ones are shared with the caller: a clean message goes
//! from its owner's memory to the socket without a copy.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// The unsent octets: text that was copied into one buffer, which is used again and again, and
/// shared pieces, each behind some of the text.
#[derive(Debug, Default)]
pub(crate) struct Output {
    text: Vec<u8>,
    /// Octets of the text that are sent.
    gone: usize,
    /// Octets of the text that go out before the last of the pieces.
    placed: usize,
    pieces: VecDeque<Piece>,
    queued: u64,
    sent: u64,
}

/// A shared piece, and how much unsent text goes out between it and the piece before.
#[derive(Debug)]
struct Piece {
    text: usize,
    octets: Bytes,
}

impl Output {
    /// Writes text at the end, and returns what was written.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let before = self.text.len();
        write(&mut self.text);
        let text = &self.text[before..];
        self.queued += text.len() as u64;
        text
    }

    /// Adds octets at the end: shared where they are many, copied where they are few.
    pub(crate) fn share(&mut self, octets: Bytes) {
        if octets.len() < COPIED {
            self.write(|text| text.extend_from_slice(&octets));
            return;
        }
        self.queued += octets.len() as u64;
        let text = self.text.len() - self.placed.max(self.gone);
        self.placed = self.text.len();
        self.pieces.push_back(Piece { text, octets });
    }

    /// Adds all that another output holds, and empties it.
    pub(crate) fn append(&mut self, other: &mut Self) {
        for Piece { text, octets } in other.pieces.drain(..) {
            let (before, after) = (other.gone, other.gone + text);
            self.write(|all| all.extend_from_slice(&other.text[before..after]));
            self.share(octets);
            other.gone = after;
        }
        self.write(|all| all.extend_from_slice(&other.text[other.gone..]));
        other.gone = other.text.len();
        other.sent = other.queued;
        other.tidy();
    }

    /// The transport has taken the first `len` octets; more than there are counts as all.
    pub(crate) fn sent(&mut self, len: usize) {
        let mut left = len.min(self.unsent());
        self.sent += left as u64;
        while let Some(piece) = self.pieces.front_mut() {
            let text = left.min(piece.text);
            piece.text -= text;
            self.gone += text;
            left -= text;
            if left < piece.octets.len() {
                piece.octets.advance(left);
                return self.tidy();
            }
            left -= piece.octets.len();
            self.pieces.pop_front();
        }
        self.gone += left;
        self.tidy();
    }

    /// Drops everything unsent: the connection is over.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.gone = self.text.len();
        self.queued = self.sent;
        self.tidy();
    }

    /// Fills slices from the front, and returns how many.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut text = &self.text[self.gone..];
        let mut count = 0;
        let mut add = |octets: &'a [u8]| match slices.get_mut(count) {
            Some(slice) if !octets.is_empty() => {
                *slice = IoSlice::new(octets);
                count += 1;
                true
            }
            Some(_) => true,
            None => false,
        };
        for piece in &self.pieces {
            let (before, after) = text.split_at(piece.text);
            text = after;
            if !(add(before) && add(&piece.octets)) {
                return count;
            }
        }
        add(text);
        count
    }

    /// Goes on behind so many octets, which another has sent.
    pub(crate) fn take_up(&mut self, sent: u64) {
        (self.queued, self.sent) = (sent, sent);
    }

    /// Gives back memory; keeps room for so many pieces, and octets of text.
    pub(crate) fn rest(&mut self, pieces: usize, text: usize) {
        self.pieces.shrink_to(pieces);
        self.text.shrink_to(text);
    }

    /// The last octets of the text.
    pub(crate) fn last(&self, len: usize) -> &[u8] {
        &self.text[self.text.len().saturating_sub(len)..]
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

    /// Uses the room of sent text again: at once where all is sent, else where moving the rest costs
    /// less than what it gives.
    fn tidy(&mut self) {
        if self.gone == self.text.len() {
            self.text.clear();
        } else if self.gone >= TIDIED && self.gone >= self.text.len() / 2 {
            self.text.drain(..self.gone);
        } else {
            return;
        }
        self.placed -= self.gone.min(self.placed);
        self.gone = 0;
    }
}

/// Pieces below this many octets are copied: a slice of its own costs the kernel as much.
const COPIED: usize = 256;

/// Octets of sent text below which nothing is moved.
const TIDIED: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    impl Output {
        /// Octets of text that fit into the memory that it holds.
        pub(in crate::proto) fn room(&self) -> usize {
            self.text.capacity()
        }
    }

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while output.unsent() > 0 {
            let mut slices = [IoSlice::new(&[]); 3];
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
    fn text_that_is_never_all_sent_does_not_pile_up() {
        let mut output = Output::default();
        let (mut expected, mut wire) = (Vec::new(), Vec::new());
        for n in 0..2000u32 {
            let line = format!("RCPT TO:<r{n}@example.org>\r\n");
            expected.extend_from_slice(line.as_bytes());
            output.write(|text| text.extend_from_slice(line.as_bytes()));
            if n % 7 == 0 {
                expected.extend_from_slice(&[b'x'; 300]);
                output.share(Bytes::from_static(&[b'x'; 300]));
            }
            let mut slices = [IoSlice::new(&[]); 3];
            let count = output.slices(&mut slices);
            let available: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            let taken = available.len().saturating_sub(n as usize % 11);
            wire.extend_from_slice(&available[..taken]);
            output.sent(taken);
        }
        assert!(
            output.text.len() < 2 * TIDIED + 400,
            "{}",
            output.text.len()
        );
        wire.extend(drain(&mut output, 100));
        assert_eq!(wire, expected);
    }

    #[test]
    fn what_is_appended_comes_out_behind_what_was_there() {
        let (mut output, mut other) = (Output::default(), Output::default());
        output.write(|text| text.extend_from_slice(b"BDAT 306\r\n"));
        other.share(Bytes::from_static(b"abc"));
        other.share(Bytes::from_static(&[b'x'; 300]));
        other.share(Bytes::from_static(b"def"));
        output.append(&mut other);
        assert_eq!((other.unsent(), other.queued_total()), (0, 306));
        let expected = [b"BDAT 306\r\nabc".as_slice(), &[b'x'; 300], b"def"].concat();
        assert_eq!(drain(&mut output, 1000), expected);
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

    #[test]
    fn sent_text_is_given_up_where_that_costs_less_than_it_gives() {
        let mut output = Output::default();
        output.write(|text| text.resize(16 * 1024, b'x'));
        // Little is gone: moving the rest would cost more.
        for gone in [4 * 1024 - 1, 4 * 1024, 8 * 1024 - 1] {
            output.sent(gone - output.gone);
            assert_eq!((output.gone, output.text.len()), (gone, 16 * 1024));
        }
        output.sent(1);
        assert_eq!((output.gone, output.text.len()), (0, 8 * 1024));
        // Most of a short text is gone: that is nothing worth moving for.
        let mut output = Output::default();
        output.write(|text| text.resize(4 * 1024, b'x'));
        output.sent(4 * 1024 - 1);
        assert_eq!(output.text.len(), 4 * 1024);
        output.sent(1);
        assert_eq!((output.gone, output.text.len()), (0, 0));
    }

    #[test]
    fn memory_is_given_back_but_for_what_is_to_be_kept() {
        let mut output = Output::default();
        for _ in 0..100 {
            output.share(Bytes::from_static(&[b'x'; COPIED]));
            output.write(|text| text.extend_from_slice(&[b'y'; COPIED]));
        }
        output.sent(usize::MAX);
        output.rest(5, 1000);
        assert!((5..20).contains(&output.pieces.capacity()));
        assert!((1000..2000).contains(&output.text.capacity()));
    }

    #[test]
    fn a_piece_is_let_go_when_its_last_octet_is_sent() {
        let mut output = Output::default();
        output.share(Bytes::from_static(&[b'x'; COPIED]));
        output.write(|text| text.extend_from_slice(b"QUIT\r\n"));
        output.sent(COPIED - 1);
        assert_eq!(output.pieces.len(), 1);
        output.sent(1);
        assert_eq!((output.pieces.len(), output.unsent()), (0, 6));
    }
}
