//! Plays a transcript against the engine, with octets cut in different ways.

use std::fmt::Write;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ehlo::proto::{
    Connection, Entry, Event, Observer, TlsSession, TransactionId, TransportError, Verification,
};

use ehlo::{Error, Verdict};

use super::escape::client_lines;
use super::event;
use super::parse::{Block, Stimulus, Transcript};
use super::settings::Submission;

/// How the server's octets are cut into pieces. All pieces of a run arrive before output is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pieces {
    Whole,
    Octets,
    /// At random, by this seed.
    Random(u64),
}

/// How much of the output the transport takes at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writes {
    Whole,
    Octets,
}

/// Plays the file; the error is the transcript with the difference marked.
pub(crate) fn play(transcript: &Transcript, pieces: Pieces, writes: Writes) -> Result<(), String> {
    let mut player = Player::new(transcript, pieces, writes);
    for block in &transcript.blocks {
        let seen = player.step(block)?;
        if !seen.agrees(block, transcript.shows_reached) {
            let shown = difference(transcript, block, &seen);
            return Err(format!("{shown}\n({pieces:?} pieces, {writes:?} writes)"));
        }
    }
    player.end()
}

/// What came out of the engine after one stimulus.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) flight: Vec<u8>,
    pub(crate) events: Vec<String>,
}

impl Seen {
    /// Whether this is what the block lists.
    pub(crate) fn agrees(&self, block: &Block, shows_reached: bool) -> bool {
        let events = self
            .events
            .iter()
            .filter(|event| shows_reached || !is_reached(event));
        self.flight == block.flight && events.eq(&block.events)
    }

    /// As lines of a transcript.
    pub(crate) fn lines(&self, shows_reached: bool) -> Vec<String> {
        let events = self
            .events
            .iter()
            .filter(|event| shows_reached || !is_reached(event));
        let mut lines: Vec<_> = events.map(|event| format!("event   {event}")).collect();
        lines.extend(client_lines(&self.flight));
        lines
    }
}

fn is_reached(event: &str) -> bool {
    event.starts_with("reached ")
}

/// An engine, the clock, and the transport's state.
pub(crate) struct Player {
    connection: Connection,
    now: Instant,
    pieces: Pieces,
    writes: Writes,
    random: Random,
    ids: Vec<TransactionId>,
    finished: Vec<TransactionId>,
    /// What events and verdicts said of what went wrong.
    pub(crate) errors: Vec<Error>,
    /// Octets that the transport still takes; `None` while it takes all.
    room: Option<usize>,
    ended: Ended,
    secrets: Vec<String>,
    heard: Arc<Mutex<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Yes,
}

impl Player {
    pub(crate) fn new(transcript: &Transcript, pieces: Pieces, writes: Writes) -> Self {
        let settings = &transcript.settings;
        let now = Instant::now();
        let seed = match pieces {
            Pieces::Random(seed) => seed,
            Pieces::Whole | Pieces::Octets => 0,
        };
        let config = Arc::new(settings.config.clone());
        let mut connection = Connection::new(config, settings.context(), now);
        let heard = Arc::new(Mutex::new(String::new()));
        connection.observe(Box::new(Listener(heard.clone())));
        Self {
            connection,
            now,
            pieces,
            writes,
            random: Random(seed),
            ids: Vec::new(),
            finished: Vec::new(),
            errors: Vec::new(),
            room: None,
            ended: Ended::No,
            secrets: settings.secrets.clone(),
            heard,
        }
    }

    /// Lets the stimulus happen, and takes all that comes out.
    pub(crate) fn step(&mut self, block: &Block) -> Result<Seen, String> {
        let mut seen = Seen::default();
        let now = self.now;
        let connection = &mut self.connection;
        match &block.stimulus {
            Stimulus::Start => {}
            Stimulus::Receive(octets) => self.receive(octets),
            Stimulus::Submit(submission) => self.submit(submission)?,
            Stimulus::Probe(submission) => {
                let id = connection.probe(submission.envelope.clone(), now);
                self.ids.push(id.map_err(|error| error.to_string())?);
            }
            Stimulus::Write(piece) => {
                let writer = connection.body_writer();
                writer
                    .ok_or(wants_no_body(block))?
                    .write(piece.clone(), now);
            }
            Stimulus::Finish => {
                connection
                    .body_writer()
                    .ok_or(wants_no_body(block))?
                    .finish(now);
            }
            Stimulus::Abandon => {
                connection
                    .body_writer()
                    .ok_or(wants_no_body(block))?
                    .abandon(now);
            }
            Stimulus::Cancel(ordinal) => {
                let id = self.ids.get(*ordinal).ok_or("no such transaction")?;
                connection.cancel(*id, now);
            }
            Stimulus::Quit => connection.quit(now),
            Stimulus::Tls(binding, verification) => {
                let session = tls_session(*verification).with_binding(binding.clone());
                connection.tls_established(session, now);
            }
            Stimulus::Eof => connection.receive_eof(now),
            Stimulus::Failed(kind) => {
                connection.failed(TransportError::new(*kind, "the transport failed"), now);
            }
            Stimulus::Wait(time) => self.wait(*time, &mut seen)?,
            Stimulus::Credentials(credentials) => {
                connection.credentials(credentials.clone(), now);
            }
            Stimulus::Hold(octets) => self.room = Some(*octets),
            Stimulus::Release => self.room = None,
        }
        self.drain(&mut seen)?;
        Ok(seen)
    }

    /// The file is over: ends the connection if it is still open, and checks that nothing is owed.
    pub(crate) fn end(mut self) -> Result<(), String> {
        self.connection.receive_eof(self.now);
        self.drain(&mut Seen::default())?;
        if self.ended == Ended::No {
            return Err("no event closed the connection after the end of the file and EOF".into());
        }
        for id in &self.ids {
            let times = self
                .finished
                .iter()
                .filter(|finished| *finished == id)
                .count();
            if times != 1 {
                return Err(format!("transaction {id} finished {times} times"));
            }
        }
        let stats = self.connection.stats();
        self.connection.receive(b"250 late\r\n", self.now);
        self.connection
            .handle_timeout(self.now + Duration::from_secs(86_400));
        let mut late = Seen::default();
        self.drain(&mut late)?;
        if !late.flight.is_empty() || self.connection.stats() != stats {
            return Err("it goes on after the end".into());
        }
        self.is_discreet()?;
        match self.connection.poll_timeout() {
            None => Ok(()),
            Some(_) => Err("a timer runs after the end".into()),
        }
    }

    /// Neither who watched nor who reads an error has learnt a secret.
    fn is_discreet(&self) -> Result<(), String> {
        let heard = self.heard.lock().map_err(|error| error.to_string())?;
        if let Some(secret) = self.secrets.iter().find(|secret| heard.contains(*secret)) {
            return Err(format!("the observer heard {secret}:\n{heard}"));
        }
        for error in &self.errors {
            let shown = format!("{error}\n{}", error.progress().transcript);
            if let Some(secret) = self.secrets.iter().find(|secret| shown.contains(*secret)) {
                return Err(format!("an error has {secret}:\n{shown}"));
            }
        }
        Ok(())
    }

    fn submit(&mut self, submission: &Submission) -> Result<(), String> {
        let body = submission.body.clone().ok_or("submit wants body=")?;
        let id = self
            .connection
            .submit(submission.envelope.clone(), body, self.now);
        self.ids.push(id.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn receive(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            let length = match self.pieces {
                Pieces::Whole => rest.len(),
                Pieces::Octets => 1,
                Pieces::Random(_) => {
                    let longest = 1 + self.random.below(40);
                    (1 + self.random.below(longest)).min(rest.len())
                }
            };
            let (piece, tail) = rest.split_at(length);
            self.connection.receive(piece, self.now);
            rest = tail;
        }
    }

    /// Moves the clock, stopping at each deadline on the way.
    fn wait(&mut self, time: Duration, seen: &mut Seen) -> Result<(), String> {
        let until = self.now + time;
        for _ in 0..1000 {
            match self.connection.poll_timeout() {
                Some(due) if due <= until => {
                    self.now = self.now.max(due);
                    self.connection.handle_timeout(self.now);
                    self.drain(seen)?;
                }
                _ => {
                    self.now = until;
                    return Ok(());
                }
            }
        }
        Err("a deadline that comes again and again".into())
    }

    fn drain(&mut self, seen: &mut Seen) -> Result<(), String> {
        loop {
            while let Some(event) = self.connection.poll_event() {
                if self.ended == Ended::Yes {
                    return Err(format!("an event behind the last: {event:?}"));
                }
                match &event {
                    Event::Finished { id, recipients } => {
                        self.finished.push(*id);
                        self.errors.extend(recipients.iter().filter_map(reason));
                    }
                    Event::Closed(result) => {
                        self.ended = Ended::Yes;
                        self.errors.extend(result.clone().err());
                    }
                    _ => {}
                }
                seen.events.push(event::words(&event, &self.ids));
            }
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.connection.transmit(&mut slices);
            let most = match self.writes {
                Writes::Whole => usize::MAX,
                Writes::Octets => 1,
            };
            let most = self.room.unwrap_or(usize::MAX).min(most);
            let start = seen.flight.len();
            for slice in &slices[..count] {
                if slice.is_empty() {
                    return Err("an empty slice to transmit".into());
                }
                let left = most - (seen.flight.len() - start);
                seen.flight
                    .extend_from_slice(&slice[..slice.len().min(left)]);
            }
            let taken = seen.flight.len() - start;
            if taken == 0 {
                return Ok(());
            }
            if let Some(room) = &mut self.room {
                *room -= taken;
            }
            self.connection.sent(taken, self.now);
        }
    }
}

/// The error of a verdict that has one.
fn reason(verdict: &Verdict) -> Option<Error> {
    match verdict {
        Verdict::NotSent(error) | Verdict::InDoubt(error) => Some(error.clone()),
        _ => None,
    }
}

/// Keeps the masked dialogue.
struct Listener(Arc<Mutex<String>>);

impl Observer for Listener {
    fn observe(&mut self, entry: Entry<'_>, _: Instant) {
        if let Ok(mut heard) = self.0.lock() {
            let _ = writeln!(heard, "{entry:?}");
        }
    }
}

/// The transcript with `-` at what was expected and `+` at what came.
fn difference(transcript: &Transcript, block: &Block, seen: &Seen) -> String {
    let mut shown = format!("{}\n", transcript.path.display());
    let last = block
        .observed
        .last()
        .copied()
        .unwrap_or(block.line)
        .max(block.line);
    for (index, line) in transcript.lines.iter().enumerate() {
        if index > last + 6 {
            break;
        }
        let mark = if block.observed.contains(&index) {
            '-'
        } else {
            ' '
        };
        let _ = writeln!(shown, "{mark} {line}");
        if index == last {
            for line in seen.lines(transcript.shows_reached) {
                let _ = writeln!(shown, "+ {}", shortened(&line));
            }
        }
    }
    shown
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(400) {
        None => line.to_owned(),
        Some((at, _)) => format!("{}… ({} characters)", &line[..at], line.len()),
    }
}

fn wants_no_body(block: &Block) -> String {
    format!("line {}: the engine wants no body now", block.line + 1)
}

fn tls_session(verification: Verification) -> TlsSession {
    TlsSession::new("TLSv1.3", "TLS_AES_128_GCM_SHA256", verification)
}

/// A small generator: the same numbers for the same seed on every machine (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`, which is above 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
