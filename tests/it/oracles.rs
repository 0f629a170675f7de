//! What must always hold, as plain functions over the public interface: for the property tests, and
//! for a fuzzer that includes this file by path.

use std::collections::VecDeque;
use std::time::Duration;

use ehlo::proto::{Chunking, Config, Event, Pipelining, Unadvertised};
use ehlo::{BareNewlines, Content, Domain, Envelope, Security, Verdict};

use crate::bench::{Action, Bench, Form, Mail, credentials, sender};
use crate::model::{Character, Random, Server, Stored};

/// A whole conversation with the model: settings, messages, and the server's character.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    pub(crate) security: Security,
    pub(crate) login: LogIn,
    pub(crate) pipelining: Pipelining,
    pub(crate) chunking: Chunking,
    /// Those that no wish is for are submitted at once.
    pub(crate) mails: Vec<Mail>,
    /// Without any, QUIT is said at once; else when all is done.
    pub(crate) wishes: Vec<Wish>,
    pub(crate) server: Character,
    /// Decides how both directions are cut into pieces.
    pub(crate) cuts: u64,
}

/// What its caller wants in the middle of it, or lets happen.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// When so many steps are done, or nothing moves before.
    pub(crate) turn: usize,
    pub(crate) want: Want,
}

#[derive(Clone, Debug)]
pub(crate) enum Want {
    /// The next message that is not submitted.
    Submit,
    /// The transaction at this place is withdrawn.
    Cancel(usize),
    Probe(Mail),
    /// The streamed body that is wanted will never be complete.
    Abandon,
    Quit,
    /// Time passes, and nothing else.
    Wait(Duration),
}

/// Whether the client has credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogIn {
    No,
    Yes,
}

/// What happens to octets on their way to the server: a planted fault must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Faithful,
    /// The first doubled dot at the start of a line loses one: as if the client forgot it.
    LosesADot,
}

/// Each thing that happened, with what came out of the engine.
pub(crate) type Record = Vec<(Action, Vec<u8>)>;

/// Lets the two talk to the end. What was accepted must be what was submitted, and nothing may be
/// owed or out of order.
pub(crate) fn converse(conversation: &Conversation, way: Way) -> Result<Record, String> {
    let mut talk = Talk::new(conversation, way);
    talk.run()?;
    let Talk {
        mut bench,
        server,
        record,
        places,
        ..
    } = talk;
    if let Some(complaint) = server.complaints.first() {
        return Err(format!("the server complains: {complaint}"));
    }
    bench.check()?;
    agree(conversation, &places, &bench, &server.stored)?;
    Ok(record)
}

/// The actions of a record again, the server's octets cut by a seed, and the output taken in small
/// pieces: the same must come out.
pub(crate) fn replay(
    conversation: &Conversation,
    record: &Record,
    cuts: u64,
) -> Result<(), String> {
    let mut random = Random(cuts);
    let mut once = Bench::new(config(conversation));
    let mut again = Bench::new(config(conversation));
    for (action, _) in record {
        once.act(action);
        again.act_in_pieces(action, &mut random);
        while !once.take(usize::MAX).is_empty() {}
        while !again.take(1 + random.below(9)).is_empty() {}
        same(&once, &again)?;
    }
    Ok(())
}

/// Any steps twice, the server's octets whole and cut by a seed: the same must come out.
pub(crate) fn cut_anyhow(config: &Config, steps: &[Action], cuts: u64) -> Result<(), String> {
    let mut random = Random(cuts);
    let mut once = Bench::new(config.clone());
    let mut again = Bench::new(config.clone());
    for step in steps {
        once.act(step);
        again.act_in_pieces(step, &mut random);
        same(&once, &again).map_err(|problem| format!("{problem}\nafter {step:?}"))?;
    }
    Ok(())
}

fn same(once: &Bench, again: &Bench) -> Result<(), String> {
    if once.wire != again.wire {
        return Err("cut in another way, other octets".into());
    }
    let (once, again) = (once.words(), again.words());
    if once != again {
        return Err(format!(
            "cut in another way, other events:\n{once:?}\n{again:?}"
        ));
    }
    Ok(())
}

struct Talk<'a> {
    conversation: &'a Conversation,
    bench: Bench,
    server: Server,
    way: Way,
    random: Random,
    record: Record,
    wishes: VecDeque<Wish>,
    /// Where each message that was handed over stands among the transactions.
    places: Vec<Option<usize>>,
    has_quit: bool,
    /// Octets of each streamed message that were written.
    written: Vec<usize>,
    seen: usize,
}

impl<'a> Talk<'a> {
    fn new(conversation: &'a Conversation, way: Way) -> Self {
        let character = conversation.server.clone();
        let implicit = conversation.security == Security::Implicit;
        Self {
            conversation,
            bench: Bench::new(config(conversation)),
            server: if implicit {
                Server::within_tls(character)
            } else {
                Server::new(character)
            },
            way,
            random: Random(conversation.cuts),
            record: Vec::new(),
            wishes: conversation.wishes.iter().cloned().collect(),
            places: Vec::new(),
            has_quit: false,
            written: vec![0; conversation.mails.len()],
            seen: 0,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        if self.conversation.security == Security::Implicit {
            self.act(Action::Tls);
        }
        let wanted = |wish: &&Wish| matches!(wish.want, Want::Submit);
        let later = self.wishes.iter().filter(wanted).count();
        for _ in later..self.conversation.mails.len() {
            self.submit_next();
        }
        if self.wishes.is_empty() {
            self.wish(Want::Quit);
        }
        for turn in 0..100_000 {
            if self.bench.is_closed() {
                return Ok(());
            }
            while self.wishes.front().is_some_and(|wish| wish.turn <= turn) {
                self.wish_next();
            }
            let moved = self.react() | self.hand_over() | self.answer() | self.write();
            if !(moved || self.wish_next() || self.wait_for_silence()) {
                return Err(format!(
                    "both wait; events so far: {:?}",
                    self.bench.words()
                ));
            }
        }
        Err("they never end".into())
    }

    fn submit_next(&mut self) {
        let Some(mail) = self.conversation.mails.get(self.places.len()) else {
            return;
        };
        let place = self.bench.submitted.len();
        self.act(Action::Submit(mail.clone()));
        let is_taken = self.bench.submitted.len() > place;
        self.places.push(is_taken.then_some(place));
    }

    /// The next wish, or the last that there is without any.
    fn wish_next(&mut self) -> bool {
        let wish = self.wishes.pop_front().map(|wish| wish.want);
        let wish = wish.or((!self.has_quit).then_some(Want::Quit));
        let is_one = wish.is_some();
        if let Some(want) = wish {
            self.wish(want);
        }
        is_one
    }

    fn wish(&mut self, want: Want) {
        match want {
            Want::Submit => self.submit_next(),
            Want::Cancel(place) => self.act(Action::Cancel(place)),
            Want::Probe(mail) => self.act(Action::Probe(mail)),
            Want::Abandon => self.act(Action::Abandon),
            Want::Quit => {
                self.has_quit = true;
                self.act(Action::Quit);
            }
            Want::Wait(time) => self.act(Action::Wait(time)),
        }
    }

    /// A server that says nothing more is given up in time.
    fn wait_for_silence(&mut self) -> bool {
        let due = self.bench.connection.poll_timeout();
        let Some(due) = due.filter(|_| self.server.is_silent()) else {
            return false;
        };
        self.act(Action::Wait(due.saturating_duration_since(self.bench.now)));
        true
    }

    fn act(&mut self, action: Action) {
        self.bench.act(&action);
        self.record.push((action, Vec::new()));
    }

    /// Does what the events ask for.
    fn react(&mut self) -> bool {
        let Some(event) = self.bench.events.get(self.seen) else {
            return false;
        };
        self.seen += 1;
        let starts = matches!(event, Event::StartTls);
        let asks = matches!(event, Event::CredentialsWanted { .. });
        if starts {
            self.server.tls_established();
            self.act(Action::Tls);
        }
        if asks {
            self.act(Action::Credentials);
        }
        true
    }

    /// The client's octets, some of them, to the server.
    fn hand_over(&mut self) -> bool {
        let most = [1, 7, 64, 4096, usize::MAX][self.random.below(5)];
        let mut octets = self.bench.take(most);
        if octets.is_empty() {
            return false;
        }
        if let Some((_, flight)) = self.record.last_mut() {
            flight.extend_from_slice(&octets);
        }
        if self.way == Way::LosesADot
            && let Some(at) = octets.windows(4).position(|four| four == b"\r\n..")
        {
            octets.remove(at + 2);
            self.way = Way::Faithful;
        }
        self.server.receive(&octets);
        true
    }

    /// The server's octets to the client.
    fn answer(&mut self) -> bool {
        let octets = self.server.take_output();
        if octets.is_empty() {
            if self.server.is_closed() {
                self.act(Action::Eof);
                return true;
            }
            return false;
        }
        self.act(Action::Receive(octets));
        true
    }

    fn write(&mut self) -> bool {
        let Some(writer) = self.bench.connection.body_writer() else {
            return false;
        };
        let id = writer.id();
        let room = writer.room();
        let submitted = self.bench.submitted.iter();
        let place = submitted
            .map(|(known, _)| *known)
            .position(|known| known == id);
        let Some(place) = self.places.iter().position(|known| *known == place) else {
            return false;
        };
        let mail = &self.conversation.mails[place];
        let rest = &mail.content[self.written[place]..];
        if rest.is_empty() {
            self.act(Action::Finish);
            return true;
        }
        let longest = match mail.form {
            Form::Whole => rest.len(),
            Form::Streamed(longest) => longest.clamp(1, rest.len()),
        };
        let piece = rest[..longest.min(room)].to_vec();
        self.written[place] += piece.len();
        self.act(Action::Write(piece));
        true
    }
}

/// Whether verdicts and stored messages say the same.
fn agree(
    conversation: &Conversation,
    places: &[Option<usize>],
    bench: &Bench,
    stored: &[Stored],
) -> Result<(), String> {
    let mut unmatched: Vec<&Stored> = stored.iter().collect();
    for (mail, place) in conversation.mails.iter().zip(places) {
        let Some(place) = *place else { continue };
        let verdicts = bench.verdicts(place).unwrap_or_default();
        let names = mail
            .recipients
            .iter()
            .map(|local| format!("{local}@example.org"));
        let accepted: Vec<_> = names
            .zip(verdicts)
            .filter(|(_, verdict)| verdict.is_accepted())
            .map(|(name, _)| name)
            .collect();
        let doubtful = verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::InDoubt(_)));
        let sender = sender(place);
        let found = unmatched
            .iter()
            .position(|stored| stored.reverse_path == sender);
        let Some(found) = found else {
            if accepted.is_empty() {
                continue;
            }
            return Err(format!(
                "message {place} is accepted, yet the server has none"
            ));
        };
        let stored = unmatched.remove(found);
        if doubtful {
            continue;
        }
        if stored.recipients != accepted {
            return Err(format!(
                "accepted for {accepted:?}, stored for {:?}",
                stored.recipients
            ));
        }
        let meant = canonical(&mail.content);
        if stored.content != meant {
            return Err(format!("message {place} was changed on its way"));
        }
        if stored
            .declared_size
            .is_some_and(|size| size != meant.len() as u64)
        {
            return Err(format!(
                "message {place} has {} octets, not SIZE",
                meant.len()
            ));
        }
    }
    match unmatched.first() {
        None => Ok(()),
        Some(stored) => Err(format!("nobody sent {stored:?}")),
    }
}

/// An address, name or parameter that the types let through must not change the shape of a command:
/// one line each, in the order of the envelope.
pub(crate) fn stays_in_its_line(envelope: Envelope, hello: Option<Domain>) -> Result<(), String> {
    let mut config = Config::new(Security::Plaintext);
    config.hello = hello;
    config.unadvertised = Unadvertised::Send;
    let commands = 3 + envelope.recipients().len();
    // A parameter that the engine knows may be at the wrong command, or ask for too much; and a
    // command may be longer than servers read.
    let may_be_refused = {
        let recipients = envelope.recipients();
        let of_recipients = recipients.iter().map(|it| it.params());
        let mut params = of_recipients.chain([envelope.params()]);
        let mut paths = recipients.iter().map(|it| it.mailbox().as_str().len());
        params.any(|params| params.iter().any(|it| it.keyword() != "X-ODD"))
            || paths.any(|length| length > 1_000)
    };
    let mut bench = Bench::new(config);
    bench.act(&Action::Receive(b"220 mx\r\n".to_vec()));
    bench.take(usize::MAX);
    bench.act(&Action::Receive(
        b"250-mx\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n250 PIPELINING\r\n".to_vec(),
    ));
    let content =
        Content::check("Hi\r\n", BareNewlines::Reject).map_err(|error| error.to_string())?;
    let submitted = bench.connection.submit(envelope, content.into(), bench.now);
    submitted.map_err(|error| error.to_string())?;
    bench.take(usize::MAX);
    let wire = &bench.wire;
    if wire.contains(&0) {
        return Err("NUL in a command".into());
    }
    let lines: Vec<_> = wire.split(|octet| matches!(octet, b'\r' | b'\n')).collect();
    // Between CR and LF, and behind the last LF, there is nothing.
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let starts: [&[u8]; 3] = [b"EHLO ", b"MAIL FROM:<", b"DATA"];
    if may_be_refused && lines.len() == 1 && lines[0].starts_with(starts[0]) {
        let mut events = std::iter::from_fn(|| bench.connection.poll_event());
        let refused = events.any(|event| match event {
            Event::Finished { recipients, .. } => {
                let not_sent = |verdict: &Verdict| matches!(verdict, Verdict::NotSent(_));
                recipients.iter().all(not_sent)
            }
            _ => false,
        });
        return match refused {
            true => Ok(()),
            false => Err("nothing was sent, and nobody is told".into()),
        };
    }
    let in_order = lines.len() == commands
        && lines[0].starts_with(starts[0])
        && lines[1].starts_with(starts[1])
        && lines[2..commands - 1]
            .iter()
            .all(|line| line.starts_with(b"RCPT TO:<"))
        && lines[commands - 1] == starts[2];
    if in_order {
        Ok(())
    } else {
        Err(format!("{:?}", String::from_utf8_lossy(wire)))
    }
}

/// The message as it must arrive: CR, LF and CRLF are line ends, and the last line is ended.
pub(crate) fn canonical(content: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(content.len() + 2);
    let mut at = 0;
    while at < content.len() {
        match content[at] {
            b'\r' => {
                lines.extend_from_slice(b"\r\n");
                at += usize::from(content.get(at + 1) == Some(&b'\n'));
            }
            b'\n' => lines.extend_from_slice(b"\r\n"),
            octet => lines.push(octet),
        }
        at += 1;
    }
    if !lines.is_empty() && !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

fn config(conversation: &Conversation) -> Config {
    let config = Config::new(conversation.security)
        .with_pipelining(conversation.pipelining)
        .with_chunking(conversation.chunking)
        .with_protocol(conversation.server.protocol);
    match conversation.login {
        LogIn::No => config,
        LogIn::Yes => config.with_credentials(credentials()),
    }
}
