//! A message that is made while it is read: the same lines again and again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

pub struct Reader {
    block: Bytes,
    at: usize,
    left: usize,
}

impl Reader {
    /// `size` octets of this block, rounded down to a whole number of lines of 64.
    pub fn new(block: &Bytes, size: usize) -> Self {
        Self {
            block: block.clone(),
            at: 0,
            left: size / 64 * 64,
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // As much as there is room for, as a file would give.
        while self.left > 0 && buffer.remaining() > 0 {
            let at = self.at;
            let length = self.left.min(buffer.remaining()).min(self.block.len() - at);
            buffer.put_slice(&self.block[at..at + length]);
            self.at = (at + length) % self.block.len();
            self.left -= length;
        }
        Poll::Ready(Ok(()))
    }
}
