//! One connection of a client under examination: a transcript's answers, to whatever it says.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Certificates;
use super::case::{Answer, Case, Encryption, Exchange, Handshake, Key, Then, reply_length};
use super::ear::{Ear, Heard, Mode};
use super::scram::{self, Scram};
use super::watch::{Breach, Taken, Watch, Why, blame};
use crate::proto::Protocol;
use crate::sandbox::script::{Player, Turn};

/// What was said over one connection, and what was wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    pub(crate) lines: Vec<String>,
    pub(crate) breaches: Vec<Breach>,
    pub(crate) taken: Vec<Taken>,
    /// The situation of the transcript came.
    pub(crate) was_reached: bool,
    pub(crate) said: Said,
}

/// What a client made use of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) quit: u32,
    pub(crate) chunks: u32,
    pub(crate) groups: u32,
    pub(crate) handshakes: u32,
    pub(crate) mechanisms: Vec<String>,
    /// The server ended it first.
    pub(crate) cut_off: u32,
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    stream: TcpStream,
    case: &Case,
    certificates: &Certificates,
) -> Conversation {
    let handshake = case.script.handshake;
    let player = Player::new(stream).with_certificate(certificates.of(handshake));
    let mut server = Server {
        player,
        case,
        ear: Ear::new(),
        watch: Watch::new(case),
        answers: case.script.answers.clone(),
        exchanges: case.script.exchanges.clone(),
        exchange: VecDeque::new(),
        scram: None,
        last_ehlo: Vec::new(),
        chunk_is_last: false,
        injected: false,
        talk: Conversation::default(),
    };
    match server.run().await {
        Ok(()) => server.note("the client ended the connection"),
        Err(End::Server) => {}
        Err(End::Silence) => server.note("silence: the server ended the connection"),
        Err(End::Failed(error)) => server.note(&format!("the connection failed: {error}")),
    }
    server.talk
}

/// Why a connection is over, if the client did not close it.
enum End {
    Server,
    Silence,
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

struct Server<'a> {
    player: Player<'a, TcpStream>,
    case: &'a Case,
    ear: Ear,
    watch: Watch<'a>,
    answers: HashMap<Key, VecDeque<Answer>>,
    exchanges: VecDeque<Exchange>,
    /// The answers of the exchange under way.
    exchange: VecDeque<Answer>,
    scram: Option<Scram>,
    last_ehlo: Vec<u8>,
    chunk_is_last: bool,
    /// Octets in clear stood behind the reply to STARTTLS.
    injected: bool,
    talk: Conversation,
}

impl Server<'_> {
    async fn run(&mut self) -> Result<(), End> {
        if self.case.wants.encryption == Encryption::Tls {
            self.shake_hands(self.case.script.handshake).await?;
        }
        if let Some(octets) = self.hear(BEFORE_THE_GREETING).await? {
            if octets.is_empty() {
                return Ok(());
            }
            self.watch.before_greeting(&octets, &mut self.talk);
            self.ear.push(&octets);
        }
        let answer = self.answer_to(&Key::Greeting);
        self.give(answer, Key::Greeting).await?;
        loop {
            let begins = self.ear.mode == Mode::Commands;
            if begins && self.watch.is_handshake(self.ear.waiting(), &mut self.talk) {
                self.player.turn(&Turn::Close).await.ok();
                return Err(End::Server);
            }
            let Some(heard) = self.ear.next() else {
                match self.hear(SILENCE).await? {
                    Some(octets) if octets.is_empty() => {
                        self.leave_unfinished(Why::Ended);
                        return Ok(());
                    }
                    Some(octets) => self.ear.push(&octets),
                    None => {
                        self.leave_unfinished(Why::Silent);
                        self.player.turn(&Turn::Close).await.ok();
                        return Err(End::Silence);
                    }
                }
                continue;
            };
            match heard {
                Heard::Line(line) => self.command(line).await?,
                Heard::Response(line) => self.response(&line).await?,
                Heard::Content(content) => self.content(&content).await?,
                Heard::Chunk(octets) => self.chunk(&octets).await?,
            }
        }
    }

    /// What was begun and has no end is shown and judged as it is.
    fn leave_unfinished(&mut self, why: Why) {
        let begun = self.ear.waiting().to_vec();
        self.show('C', &begun);
        let mode = self.ear.mode;
        self.watch.unfinished(mode, &begun, why, &mut self.talk);
    }

    async fn command(&mut self, line: Vec<u8>) -> Result<(), End> {
        self.show('C', &line);
        let text = String::from_utf8_lossy(&line).into_owned();
        let key = Key::of(&text);
        if key == Key::Chunk {
            return self.announce_chunk(&text, &line).await;
        }
        self.settle(&key).await?;
        let behind = self.ear.waiting().to_vec();
        self.watch.command(&key, &line, &behind, &mut self.talk);
        match key {
            Key::Auth => self.auth(&text).await,
            key => {
                let answer = self.answer_to(&key);
                self.give(answer, key).await
            }
        }
    }

    /// Waits a little for what may stand behind a command, and should not.
    async fn settle(&mut self, key: &Key) -> Result<(), End> {
        if !self.ear.waiting().is_empty() {
            return Ok(());
        }
        // Whoever took injected octets for the reply does not wait for this one.
        let patience = match (key, self.injected) {
            (Key::Ehlo, true) => BEHIND_AN_INJECTION,
            _ => BEHIND_A_COMMAND,
        };
        if let Some(octets) = self.hear(patience).await? {
            self.ear.push(&octets);
        }
        Ok(())
    }

    async fn announce_chunk(&mut self, text: &str, line: &[u8]) -> Result<(), End> {
        self.talk.said.chunks += 1;
        self.watch.command(&Key::Chunk, line, b"", &mut self.talk);
        let mut words = text.split_whitespace().skip(1);
        let Some(length) = words.next().and_then(|word| word.parse().ok()) else {
            let answer = Answer::line("501 5.5.4 malformed");
            return self.give(answer, Key::Other).await;
        };
        self.chunk_is_last = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        self.ear.mode = Mode::Chunk(length);
        Ok(())
    }

    async fn chunk(&mut self, octets: &[u8]) -> Result<(), End> {
        self.note(&format!("a chunk of {} octets", octets.len()));
        self.watch.chunk(octets, &mut self.talk);
        let answer = self.answer_to(&Key::Chunk);
        let last = self.chunk_is_last;
        self.watch
            .chunk_answered(&answer.octets, last, &mut self.talk);
        self.give(answer, Key::Chunk).await
    }

    async fn content(&mut self, content: &[u8]) -> Result<(), End> {
        if content.len() < 4096 {
            self.show('C', content);
        } else {
            self.note(&format!("a message of {} octets", content.len()));
        }
        self.settle(&Key::Content).await?;
        let mut answer = self.answer_to(&Key::Content);
        let replies = match self.case.wants.protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => self.watch.accepted(),
        };
        if answer.octets == USUAL_CONTENT {
            answer.octets = USUAL_CONTENT.repeat(replies);
        }
        self.watch.content(content, &answer.octets, &mut self.talk);
        self.give(answer, Key::Content).await
    }

    async fn auth(&mut self, text: &str) -> Result<(), End> {
        let mut words = text.trim_end().split(' ').skip(1);
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let initial = words.next();
        self.talk.said.mechanisms.push(mechanism.clone());
        let place = self
            .exchanges
            .iter()
            .position(|exchange| exchange.mechanism.eq_ignore_ascii_case(&mechanism));
        let known = place.and_then(|place| self.exchanges.remove(place));
        let wants = &self.case.wants;
        let user = wants.user.as_deref().unwrap_or_default();
        let password = wants.password.as_deref().unwrap_or_default();
        let scram = known.as_ref();
        self.scram = scram.and_then(|exchange| Scram::new(exchange, user, password));
        self.exchange = match known {
            Some(exchange) => exchange.answers_from(initial.is_some()),
            // What the transcript's client never tried.
            None if self.case.script.exchanges.is_empty() => {
                usual_exchange(&mechanism, initial.is_some())
            }
            None => VecDeque::from([Answer::line("504 5.5.4 not this one")]),
        };
        if let Some(initial) = initial {
            self.hear_scram(initial);
        }
        self.go_on(Key::Auth).await
    }

    async fn response(&mut self, line: &[u8]) -> Result<(), End> {
        self.show('C', line);
        let gives_up = self.watch.response(line, &mut self.talk);
        let expects_it = self.exchange.front().is_some_and(|answer| answer.to == "*");
        if expects_it && !gives_up {
            let about = self.case.rules.first().map_or("R-4954-6", String::as_str);
            let what = "it goes on where it had to give the exchange up";
            blame(&mut self.talk, about, what);
        }
        if gives_up {
            let next = self.exchange.pop_front();
            let answer = next.filter(|answer| !answer.octets.starts_with(b"334"));
            let answer = answer.unwrap_or_else(|| Answer::line("501 5.7.0 given up"));
            return self.give(answer, Key::Response).await;
        }
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        self.hear_scram(&text);
        self.go_on(Key::Response).await
    }

    /// A message of SCRAM; behind a wrong proof the server's answers are no more those of the transcript.
    fn hear_scram(&mut self, message: &str) {
        match self.scram.as_mut().map(|scram| scram.hear(message)) {
            None | Some(Ok(scram::Heard::Fine)) => {}
            Some(Ok(scram::Heard::WrongProof)) => {
                self.note("the proof is not one of this password, salt and nonce");
                self.exchange.clear();
            }
            Some(Err((rule, what))) => blame(&mut self.talk, rule, what),
        }
    }

    async fn go_on(&mut self, key: Key) -> Result<(), End> {
        let answer = self.exchange.pop_front();
        let mut answer = answer.unwrap_or_else(|| Answer::line("535 5.7.8 no"));
        if let Some(scram) = &mut self.scram {
            scram.answer(&mut answer);
        }
        if answer.octets.starts_with(b"334") {
            self.ear.mode = Mode::Response;
        }
        self.give(answer, key).await
    }

    /// The transcript's answer, or what a friendly server says.
    fn answer_to(&mut self, key: &Key) -> Answer {
        if let Some(answer) = self.answers.get_mut(key).and_then(VecDeque::pop_front) {
            return answer;
        }
        Answer::line(match key {
            Key::Greeting => "220 mx.example.org",
            Key::Ehlo if !self.last_ehlo.is_empty() => {
                return Answer {
                    octets: self.last_ehlo.clone(),
                    ..Answer::default()
                };
            }
            Key::StartTls => "502 5.5.1 not here",
            Key::Data => "354 go ahead",
            Key::Quit => {
                return Answer {
                    then: Then::Close,
                    ..Answer::line("221 bye")
                };
            }
            Key::Other => match self.watch.knows_what_it_says() {
                true => "250 ok",
                false => "500 5.5.2 what",
            },
            Key::Content | Key::Chunk => "250 ok",
            Key::Ehlo | Key::Helo | Key::Mail | Key::Rcpt(_) | Key::Rset => "250 ok",
            Key::Auth | Key::Response => "535 5.7.8 no",
        })
    }

    async fn give(&mut self, answer: Answer, key: Key) -> Result<(), End> {
        self.talk.was_reached |= answer.mark;
        self.watch.answered(&key, &answer.octets);
        match (&key, answer.octets.get(..3)) {
            (Key::Data, Some(b"354")) => self.ear.mode = Mode::Content,
            (Key::Ehlo, Some(b"250")) => self.last_ehlo.clone_from(&answer.octets),
            _ => {}
        }
        self.show('S', &answer.octets);
        self.say(&key, &answer.octets).await?;
        match answer.then {
            Then::Go => Ok(()),
            Then::Close => {
                if key != Key::Quit {
                    self.talk.said.cut_off += 1;
                    self.note("the server ends the connection");
                }
                self.player.turn(&Turn::Close).await.ok();
                // What comes now is nobody's; a reset would take the reply from the client.
                while let Ok(Some(octets)) = self.hear(SILENCE).await {
                    if octets.is_empty() {
                        break;
                    }
                }
                Err(End::Server)
            }
            Then::Tls(handshake) => {
                self.injected = answer.mark && handshake == Handshake::Good;
                self.ear.forget();
                self.shake_hands(handshake).await
            }
        }
    }

    /// Of a reply of several lines the last comes a little later, for clients that do not wait for it.
    async fn say(&mut self, key: &Key, octets: &[u8]) -> Result<(), End> {
        let ends_group = match key {
            Key::Greeting | Key::Ehlo | Key::Helo | Key::StartTls | Key::Auth | Key::Data => true,
            Key::Response
            | Key::Mail
            | Key::Rcpt(_)
            | Key::Content
            | Key::Chunk
            | Key::Rset
            | Key::Quit
            | Key::Other => false,
        };
        let body = &octets[..octets.len().saturating_sub(1)];
        let last_line = match reply_length(octets) {
            Some(length) if length == octets.len() && ends_group => {
                memchr::memrchr(b'\n', body).map_or(0, |end| end + 1)
            }
            Some(_) | None => 0,
        };
        let (first, last) = octets.split_at(last_line);
        if !first.is_empty() {
            self.write(first).await?;
            if let Some(octets) = self.hear(BEHIND_A_COMMAND).await?
                && !octets.is_empty()
            {
                self.watch.between_lines(&mut self.talk);
                self.ear.push(&octets);
            }
        }
        self.write(last).await
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), End> {
        if octets.is_empty() {
            return Ok(());
        }
        let turn = Turn::server(octets.to_vec());
        match timeout(SILENCE, self.player.turn(&turn)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Failed(io::Error::other(error))),
            Err(_) => Err(End::Silence),
        }
    }

    async fn shake_hands(&mut self, handshake: Handshake) -> Result<(), End> {
        if handshake == Handshake::Noise {
            self.note("the server answers the handshake by what is no TLS");
            let hello = self.hear(SILENCE).await?.unwrap_or_default();
            if hello.first() == Some(&0x16) {
                self.talk.was_reached = true;
            }
            self.player.turn(&Turn::server("500 what\r\n")).await.ok();
            while let Ok(Some(octets)) = self.hear(SILENCE).await {
                if octets.is_empty() {
                    break;
                }
                self.watch.behind_a_failure(&octets, &mut self.talk);
            }
            return Err(End::Server);
        }
        match timeout(HANDSHAKE, self.player.turn(&Turn::Tls)).await {
            Ok(Ok(())) => {
                self.note("TLS");
                self.talk.said.handshakes += 1;
                self.watch.tls();
                Ok(())
            }
            Ok(Err(error)) => {
                self.note(&format!("no handshake: {error}"));
                Err(End::Server)
            }
            Err(_) => {
                self.note("no handshake came");
                Err(End::Server)
            }
        }
    }

    /// What comes next: nothing at an end, `None` where nothing came in that time.
    async fn hear(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, End> {
        match timeout(patience, self.player.hear_some()).await {
            Ok(octets) => Ok(Some(octets?)),
            Err(_) => Ok(None),
        }
    }

    fn show(&mut self, who: char, octets: &[u8]) {
        for line in octets
            .split_inclusive(|&octet| octet == b'\n')
            .take(MOST_LINES)
        {
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            let text: String = text
                .iter()
                .take(MOST_OCTETS)
                .map(|octet| printable(*octet))
                .collect();
            self.talk.lines.push(format!("{who}: {text}"));
        }
    }

    fn note(&mut self, what: &str) {
        self.talk.lines.push(format!("-- {what}"));
    }
}

impl Exchange {
    /// The answers for a client that sends an initial response, or none, unlike the transcript's.
    fn answers_from(mut self, initial: bool) -> VecDeque<Answer> {
        match (self.initial, initial) {
            (true, false) if self.mechanism.eq_ignore_ascii_case("LOGIN") => {
                self.answers.push_front(Answer::line("334 VXNlcm5hbWU6"));
            }
            (true, false) => self.answers.push_front(Answer::line("334 ")),
            (false, true) if self.answers.len() > 1 => drop(self.answers.pop_front()),
            (true, true) | (false, _) => {}
        }
        self.answers
    }
}

impl Answer {
    fn line(text: &str) -> Self {
        Self {
            octets: format!("{text}\r\n").into_bytes(),
            ..Self::default()
        }
    }
}

/// How a server takes a log-in that no transcript has something against.
fn usual_exchange(mechanism: &str, initial: bool) -> VecDeque<Answer> {
    let challenges: &[&str] = match (mechanism, initial) {
        ("LOGIN", false) => &["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"],
        ("LOGIN", true) => &["334 UGFzc3dvcmQ6"],
        ("PLAIN" | "XOAUTH2" | "OAUTHBEARER" | "EXTERNAL", false) => &["334 "],
        ("PLAIN" | "XOAUTH2" | "OAUTHBEARER" | "EXTERNAL", true) => &[],
        ("CRAM-MD5", _) => &["334 PDFAbXguZXhhbXBsZS5vcmc+"],
        _ => return VecDeque::from([Answer::line("504 5.5.4 not this one")]),
    };
    let answers = challenges.iter().chain(&["235 2.7.0 welcome"]);
    answers.map(|line| Answer::line(line)).collect()
}

/// A terminal obeys control characters.
fn printable(octet: u8) -> char {
    match octet {
        b' '..=b'~' => char::from(octet),
        b'\r' => '␍',
        b'\n' => '␊',
        0 => '␀',
        _ => '·',
    }
}

/// How long a server listens before it greets.
const BEFORE_THE_GREETING: Duration = Duration::from_millis(80);

/// How long it waits for what stands behind a command.
const BEHIND_A_COMMAND: Duration = Duration::from_millis(15);

/// How long it keeps its reply to EHLO back where another was forged.
const BEHIND_AN_INJECTION: Duration = Duration::from_millis(500);

/// How long it waits for a client that has nothing to wait for.
const SILENCE: Duration = Duration::from_secs(4);

/// How long a handshake may take, on a machine that has much else to do.
const HANDSHAKE: Duration = Duration::from_secs(15);

const USUAL_CONTENT: &[u8] = b"250 ok\r\n";

/// Lines and octets of a line that are kept to be shown.
const MOST_LINES: usize = 40;
const MOST_OCTETS: usize = 200;
