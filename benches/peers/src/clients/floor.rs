//! The floor: what a program on tokio needs at the least for the same work. It knows what the server
//! offers, checks of a reply no more than its first digit, and gives up at the first refusal.

use std::io::IoSlice;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Start;
use super::line::{Mail, Octets, Setup, host};
use crate::work::{Failure, HOST, Job, Peer, Wire};

/// A connection: replies are counted, and kept nowhere.
pub struct Floor<S> {
    stream: S,
    /// Replies that have come and nobody has waited for.
    ahead: usize,
}

impl<S> Floor<S> {
    fn new(stream: S) -> Self {
        Self { stream, ahead: 0 }
    }
}

pub async fn send(job: &Job) -> Result<Duration, Failure> {
    let setup = Setup::of(job)?;
    let start = Start::new(job.connections);
    for number in 0..job.connections {
        let (setup, mail) = (setup.clone(), Mail::of(job)?);
        start.task(move |start| async move {
            let mut floor = Floor::connect(&setup).await?;
            let messages = setup.job.share(number);
            start.wait().await;
            match setup.job.peer {
                Peer::FloorData => floor.by_data(&mail, messages, b"").await,
                Peer::FloorStream => floor.streamed(&mail, messages).await,
                _ => floor.by_bdat(&mail, messages).await,
            }
        });
    }
    start.finish().await
}

/// Connects, logs in and sends one message, with QUIT behind it.
pub async fn session(setup: &Setup, mail: &Mail) -> Result<(), Failure> {
    let mut floor = Floor::connect(setup).await?;
    floor.say(b"AUTH PLAIN AHVzZXIAcGFzc3dvcmQ=\r\n", 1).await?;
    match setup.job.peer {
        Peer::FloorData => floor.by_data(mail, 1, b"QUIT\r\n").await,
        _ => {
            let head = floor.bdat(mail);
            let slices = [
                IoSlice::new(&head),
                IoSlice::new(&mail.raw),
                IoSlice::new(b"QUIT\r\n"),
            ];
            floor.write(&mut slices.to_vec()).await?;
            floor.replies(mail.by_hand.len() + 1).await
        }
    }
}

impl Floor<Octets> {
    pub async fn connect(setup: &Setup) -> Result<Self, Failure> {
        let stream = TcpStream::connect((HOST, setup.job.port)).await?;
        stream.set_nodelay(true)?;
        let mut floor = match setup.job.wire {
            Wire::Clear | Wire::Swallow => Self::new(Box::new(stream)),
            Wire::Implicit => Self::new(Box::new(setup.tls.connect(host()?, stream).await?)),
            Wire::StartTls => {
                let mut clear = Floor::new(stream);
                clear.replies(1).await?;
                clear.say(b"EHLO floor\r\n", 1).await?;
                clear.say(b"STARTTLS\r\n", 1).await?;
                let stream = setup.tls.connect(host()?, clear.stream).await?;
                Self::new(Box::new(stream))
            }
        };
        if setup.job.wire != Wire::StartTls {
            floor.replies(1).await?;
        }
        floor.say(b"EHLO floor\r\n", 1).await?;
        Ok(floor)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Floor<S> {
    /// A queue: with each message goes the envelope of the next, and `last` with the last one.
    async fn by_data(&mut self, mail: &Mail, messages: usize, last: &[u8]) -> Result<(), Failure> {
        let envelope = mail.by_hand.concat() + "DATA\r\n";
        let answers = mail.by_hand.len() + 1;
        self.say(envelope.as_bytes(), answers).await?;
        for left in (0..messages).rev() {
            // Where a line begins with a dot, that goes out twice.
            let mut slices = Vec::with_capacity(8);
            let mut from = 0;
            for at in memmem::find_iter(&mail.raw, b"\n.") {
                slices.push(IoSlice::new(&mail.raw[from..at + 2]));
                from = at + 1;
            }
            slices.push(IoSlice::new(&mail.raw[from..]));
            slices.push(IoSlice::new(b".\r\n"));
            let (next, answers) = match left {
                0 => (last, 1),
                _ => (envelope.as_bytes(), 1 + answers),
            };
            slices.push(IoSlice::new(next));
            self.write(&mut slices).await?;
            self.replies(answers).await?;
        }
        Ok(())
    }

    /// One flight a message, each awaited.
    pub async fn by_bdat(&mut self, mail: &Mail, messages: usize) -> Result<(), Failure> {
        let head = self.bdat(mail);
        for _ in 0..messages {
            let slices = [IoSlice::new(&head), IoSlice::new(&mail.raw)];
            self.write(&mut slices.to_vec()).await?;
            self.replies(mail.by_hand.len() + 1).await?;
        }
        Ok(())
    }

    /// With up to 32 messages on their way, 16 in each write.
    async fn streamed(&mut self, mail: &Mail, messages: usize) -> Result<(), Failure> {
        let head = self.bdat(mail);
        let answers = mail.by_hand.len() + 1;
        let (mut left, mut pending) = (messages, 0);
        while left > 0 || pending > 0 {
            while left > 0 && pending <= 16 {
                let group = left.min(16);
                let one = [IoSlice::new(&head), IoSlice::new(&mail.raw)];
                self.write(&mut one.repeat(group)).await?;
                (left, pending) = (left - group, pending + group);
            }
            let group = pending.min(16);
            self.replies(group * answers).await?;
            pending -= group;
        }
        Ok(())
    }

    /// The envelope, and the BDAT behind it.
    fn bdat(&self, mail: &Mail) -> Vec<u8> {
        let size = mail.raw.len();
        (mail.by_hand.concat() + &format!("BDAT {size} LAST\r\n")).into_bytes()
    }

    async fn say(&mut self, commands: &[u8], replies: usize) -> Result<(), Failure> {
        self.stream.write_all(commands).await?;
        self.stream.flush().await?;
        self.replies(replies).await
    }

    async fn write(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<(), Failure> {
        while !slices.is_empty() {
            let some = slices.len().min(1024);
            let written = self.stream.write_vectored(&slices[..some]).await?;
            IoSlice::advance_slices(&mut slices, written);
        }
        self.stream.flush().await?;
        Ok(())
    }

    /// Waits for so many; those that come beyond them count for the next call.
    async fn replies(&mut self, count: usize) -> Result<(), Failure> {
        // An idle connection has none.
        let mut input = Vec::with_capacity(4096);
        while self.ahead < count || !input.is_empty() {
            if self.stream.read_buf(&mut input).await? == 0 {
                return Err("the server has closed the connection".into());
            }
            let mut line = 0;
            while let Some(length) = memchr::memchr(b'\n', &input[line..]) {
                if input[line] > b'3' {
                    return Err(String::from_utf8_lossy(&input[line..line + length]).into());
                }
                self.ahead += usize::from(input.get(line + 3) == Some(&b' '));
                line += length + 1;
            }
            input.drain(..line);
        }
        self.ahead -= count;
        Ok(())
    }
}
