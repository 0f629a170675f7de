//! The other end of a connection, played by the test line by line.

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
    duplex,
};

/// Reads commands and says replies.
pub(crate) struct Peer<S> {
    stream: BufReader<S>,
}

impl Peer<DuplexStream> {
    /// A peer, and the client's end of its connection.
    pub(crate) fn pair(buffer: usize) -> (Self, DuplexStream) {
        let (ours, theirs) = duplex(buffer);
        (Self::new(ours), theirs)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// The next line, which must begin so. Its end is CRLF.
    #[track_caller]
    pub(crate) fn expect<'a>(
        &'a mut self,
        beginning: &'a str,
    ) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let line = self.line().await;
            assert!(
                line.starts_with(beginning),
                "{caller}: {line:?} is not {beginning:?}"
            );
            line
        }
    }

    /// The next line without its CRLF; empty at the end of the stream.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .await
            .expect("the client writes UTF-8");
        if line.is_empty() {
            return line;
        }
        line.strip_suffix("\r\n")
            .expect("a line ends in CRLF")
            .to_owned()
    }

    /// Reads a message to its dot; dots are left doubled.
    pub(crate) async fn message(&mut self) -> String {
        let mut message = String::new();
        loop {
            match self.line().await.as_str() {
                "." => return message,
                line => {
                    message.push_str(line);
                    message.push_str("\r\n");
                }
            }
        }
    }

    /// Replies, each line with its CRLF.
    pub(crate) async fn say(&mut self, lines: &[&str]) {
        let mut text = lines.join("\r\n");
        text.push_str("\r\n");
        self.stream
            .write_all(text.as_bytes())
            .await
            .expect("the client is there");
        self.stream.flush().await.expect("the client is there");
    }

    /// Greets, and offers PIPELINING and these.
    pub(crate) async fn greet(&mut self, offers: &[&str]) {
        self.say(&["220 mx.example.org ESMTP"]).await;
        self.expect("EHLO ").await;
        let mut lines = vec!["250-mx.example.org".to_owned()];
        lines.extend(offers.iter().map(|offer| format!("250-{offer}")));
        lines.push("250 PIPELINING".to_owned());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.say(&lines).await;
    }

    /// Takes MAIL, one RCPT and DATA.
    pub(crate) async fn envelope(&mut self) {
        self.expect("MAIL FROM:").await;
        self.expect("RCPT TO:").await;
        self.expect("DATA").await;
        self.say(&["250 ok", "250 ok", "354 go on"]).await;
    }

    /// Takes QUIT, after RSET or without, and says good-bye.
    pub(crate) async fn part(&mut self) {
        loop {
            match self.line().await.as_str() {
                "RSET" => self.say(&["250 ok"]).await,
                "QUIT" => return self.say(&["221 bye"]).await,
                line => panic!("{line:?} is neither RSET nor QUIT"),
            }
        }
    }

    /// Whatever is left until the client closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }

    #[cfg(feature = "sandbox")]
    pub(crate) fn into_inner(self) -> S {
        self.stream.into_inner()
    }
}
