//! A client's octets as commands, responses, content and chunks.

/// What a client's octets are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Commands,
    /// The next line answers a SASL challenge.
    Response,
    /// Up to CRLF, dot, CRLF.
    Content,
    /// So many octets.
    Chunk(usize),
}

/// One thing that a client has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// With its end.
    Line(Vec<u8>),
    /// With its end.
    Response(Vec<u8>),
    /// As it travelled, with the lone dot.
    Content(Vec<u8>),
    Chunk(Vec<u8>),
}

/// Collects octets until something has been said.
#[derive(Debug)]
pub(crate) struct Ear {
    pub(crate) mode: Mode,
    input: Vec<u8>,
    /// Octets of content without an end.
    searched: usize,
}

impl Ear {
    pub(crate) fn new() -> Self {
        Self {
            mode: Mode::Commands,
            input: Vec::new(),
            searched: 0,
        }
    }

    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// What has come and is not yet taken.
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.input
    }

    pub(crate) fn forget(&mut self) {
        self.input.clear();
        self.searched = 0;
    }

    /// The next thing said, if it is complete. Behind content, a response or a chunk, commands follow.
    pub(crate) fn next(&mut self) -> Option<Heard> {
        let heard = match self.mode {
            Mode::Commands => Heard::Line(self.line()?),
            Mode::Response => Heard::Response(self.line()?),
            Mode::Content => Heard::Content(self.content()?),
            Mode::Chunk(length) => {
                if self.input.len() < length {
                    return None;
                }
                Heard::Chunk(self.input.drain(..length).collect())
            }
        };
        self.mode = Mode::Commands;
        Some(heard)
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = memchr::memchr(b'\n', &self.input)?;
        Some(self.input.drain(..=end).collect())
    }

    fn content(&mut self) -> Option<Vec<u8>> {
        const END: &[u8] = b"\r\n.\r\n";
        let length = if self.input.starts_with(b".\r\n") {
            3
        } else {
            let from = self.searched.saturating_sub(END.len());
            let found = memchr::memmem::find(&self.input[from..], END);
            self.searched = self.input.len();
            from + found? + END.len()
        };
        self.searched = 0;
        Some(self.input.drain(..length).collect())
    }
}

/// Content as it was meant: the dots at the start of lines undone, the lone dot taken away.
pub(crate) fn unstuffed(travelled: &[u8]) -> Vec<u8> {
    let body = travelled.strip_suffix(b".\r\n").unwrap_or(travelled);
    let mut content = Vec::with_capacity(body.len());
    let mut at_start = true;
    let mut last = 0;
    for &octet in body {
        if !(at_start && octet == b'.') {
            content.push(octet);
        }
        at_start = last == b'\r' && octet == b'\n';
        last = octet;
    }
    content
}

/// A message with CRLF at the end of each of its lines, the last included.
pub(crate) fn canonical(message: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(message.len() + 2);
    let mut octets = message.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' => {
                octets.next_if_eq(&b'\n');
                lines.extend_from_slice(b"\r\n");
            }
            b'\n' => lines.extend_from_slice(b"\r\n"),
            octet => lines.push(octet),
        }
    }
    if !lines.is_empty() && !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_content_and_chunks_are_told_apart_in_any_pieces() {
        let octets = b"DATA\r\n..a\r\n.\r\nBDAT 3\r\na\r\nQUIT\r\n";
        for length in 1..octets.len() {
            let mut ear = Ear::new();
            let mut heard = Vec::new();
            for piece in octets.chunks(length) {
                ear.push(piece);
                while let Some(next) = ear.next() {
                    match next {
                        Heard::Line(ref line) if line == b"DATA\r\n" => ear.mode = Mode::Content,
                        Heard::Line(ref line) if line == b"BDAT 3\r\n" => ear.mode = Mode::Chunk(3),
                        Heard::Line(_)
                        | Heard::Response(_)
                        | Heard::Content(_)
                        | Heard::Chunk(_) => {}
                    }
                    heard.push(next);
                }
            }
            assert_eq!(
                heard,
                [
                    Heard::Line(b"DATA\r\n".into()),
                    Heard::Content(b"..a\r\n.\r\n".into()),
                    Heard::Line(b"BDAT 3\r\n".into()),
                    Heard::Chunk(b"a\r\n".into()),
                    Heard::Line(b"QUIT\r\n".into()),
                ],
                "in pieces of {length}"
            );
        }
    }

    #[test]
    fn dots_are_undone_at_the_start_of_lines_alone() {
        assert_eq!(
            unstuffed(b"..a\r\n..\r\nb..\r\n.\r\n"),
            b".a\r\n.\r\nb..\r\n"
        );
        assert_eq!(unstuffed(b".\r\n"), b"");
        assert_eq!(canonical(b"a\n\r\rb"), b"a\r\n\r\n\r\nb\r\n");
    }
}
