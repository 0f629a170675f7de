//! A network in memory: the engine and the sandbox's session at its ends, latency, a clock of its own,
//! and a connection that is lost at any octet of either direction.
//!
//! Whole sessions are played again and again, cut one octet later each time. Whatever the client
//! is told must agree with what the server has: accepted and the server stored it; refused or not sent
//! and it did not; in doubt only between the last octet of the content and the end of its reply.
//! An unoptimised build plays some 3,500 sessions a second on one core.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ehlo::proto::{Chunking, Config, Event, Pipelining, Protocol};
use ehlo::sandbox::{Account, Action as ServerAction, Extension, Options, Plan, Session, TlsMode};
use ehlo::{Commitment, Security, Stage, Verdict};

use crate::bench::{Action, Bench, Form, Mail, credentials, sender};
use crate::model::Random;

#[test]
fn a_connection_lost_at_any_octet_tells_nobody_what_is_not_so() {
    let began = Instant::now();
    let mut sessions = 0;
    for scene in scenes() {
        let whole = Whole::of(&scene);
        for direction in [Direction::Up, Direction::Down] {
            let octets = match direction {
                Direction::Up => whole.up.len(),
                Direction::Down => whole.down,
            };
            for at in (0..=octets).step_by(scene.stride) {
                for ending in ENDINGS {
                    let cut = Cut {
                        direction,
                        at,
                        ending,
                    };
                    sessions += 1;
                    if let Err(problem) = whole.agrees(&scene, cut) {
                        panic!("{}, {cut:?}: {problem}", scene.name);
                    }
                }
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate = sessions as f64 / seconds;
    println!("{sessions} sessions in {seconds:.1} s, {rate:.0} a second");
    assert!(sessions > 20_000, "{sessions} sessions");
}

#[test]
fn without_a_loss_everybody_has_what_was_sent() {
    for scene in scenes() {
        let whole = Whole::of(&scene);
        let accepted = whole.verdicts.iter().flatten().filter(|&&was| was).count();
        assert!(accepted >= 1, "{}: {accepted} accepted", scene.name);
    }
}

#[test]
fn a_reply_that_was_planted_is_found() {
    // A server that stores the first message, and says that it did not.
    let scene = Scene {
        options: Options::default()
            .with_fault("reply@body#1=550 no".parse().expect("a fault"))
            .without_extension(Extension::Chunking),
        stores_in_secret: true,
        ..scene("a liar", options())
    };
    let whole = Whole::of(&scene);
    let no_cut = Cut {
        direction: Direction::Up,
        at: usize::MAX,
        ending: Ending::End,
    };
    assert!(
        whole.agrees(&scene, no_cut).is_err(),
        "the lie was not found"
    );
}

/// One session that is cut at each of its octets.
struct Scene {
    name: &'static str,
    options: Options,
    config: Config,
    mails: Vec<Mail>,
    /// It is cut at each so many octets: long messages would take long.
    stride: usize,
    /// The test keeps refused messages as if the server had stored them.
    stores_in_secret: bool,
}

/// Where the connection is lost, and how the client learns of it.
#[derive(Clone, Copy, Debug)]
struct Cut {
    direction: Direction,
    /// So many octets of it arrive.
    at: usize,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The peer's end, once all else has arrived.
    End,
    /// A reset, once all else has arrived.
    Reset,
    /// A reset at once: what is on its way to the client is lost.
    Abrupt,
    /// Nothing ever comes: the clocks run out.
    Silence,
}

const ENDINGS: [Ending; 4] = [Ending::End, Ending::Reset, Ending::Abrupt, Ending::Silence];

/// A session that nothing happened to.
struct Whole {
    /// All that the client sent.
    up: Vec<u8>,
    /// Octets that the server sent.
    down: usize,
    /// For each message, the place behind the last octet of its content.
    ends: Vec<Option<usize>>,
    /// For each recipient of each message, how many octets of the server it took to judge it.
    judged: Vec<Vec<usize>>,
    /// Who was accepted.
    verdicts: Vec<Vec<bool>>,
}

impl Whole {
    fn of(scene: &Scene) -> Self {
        let mut network = Network::new(scene, None);
        network.run();
        let up = network.bench.wire.clone();
        let places = 0..scene.mails.len();
        let ends = places
            .clone()
            .map(|place| content_end(&up, place))
            .collect();
        let verdicts = places.map(|place| {
            let verdicts = network.bench.verdicts(place).unwrap_or_default();
            verdicts.iter().map(Verdict::is_accepted).collect()
        });
        Self {
            ends,
            verdicts: verdicts.collect(),
            judged: network.judged,
            down: network.arrived_down,
            up,
        }
    }

    /// Plays it again with a cut, and compares what both sides know.
    fn agrees(&self, scene: &Scene, cut: Cut) -> Result<(), String> {
        let mut network = Network::new(scene, Some(cut));
        network.run();
        let Network {
            bench,
            stored,
            arrived_down,
            ..
        } = &mut network;
        if !self.up.starts_with(&bench.wire) {
            return Err("other octets than without the cut".into());
        }
        for (place, mail) in scene.mails.iter().enumerate() {
            let verdicts = bench.verdicts(place).ok_or("a message without verdicts")?;
            let mut stored = stored.iter().filter(|(path, ..)| *path == sender(place));
            let (stored, again) = (stored.next(), stored.next());
            if again.is_some() {
                return Err(format!("the server has message {place} twice"));
            }
            if stored.is_some_and(|(.., content)| *content != mail.content) {
                return Err(format!("message {place} was changed on its way"));
            }
            for (index, verdict) in verdicts.iter().enumerate() {
                let name = format!("{}@example.org", mail.recipients[index]);
                let has_it = stored.is_some_and(|(_, names, _)| names.contains(&name));
                let sent = self.ends[place].is_some_and(|end| bench.wire.len() >= end);
                let judged = *arrived_down >= self.judged[place][index];
                let problem = match verdict {
                    Verdict::Accepted(_) if !has_it => "accepted, and the server has it not",
                    Verdict::Refused { .. } | Verdict::Deferred(_) | Verdict::NotSent(_)
                        if has_it =>
                    {
                        "the client says no, and the server has it"
                    }
                    Verdict::InDoubt(_) if !sent => "in doubt, and its last octet was not sent",
                    Verdict::InDoubt(_) if judged => "in doubt, and its reply is here",
                    Verdict::NotSent(_) if self.verdicts[place][index] && sent => {
                        "not sent, though it may have arrived"
                    }
                    _ => continue,
                };
                return Err(format!(
                    "message {place}, recipient {index}: {problem}: {verdict:?}"
                ));
            }
        }
        bench.check()
    }
}

struct Network<'a> {
    scene: &'a Scene,
    cut: Option<Cut>,
    bench: Bench,
    server: Session,
    random: Random,
    up: VecDeque<(Instant, Vec<u8>)>,
    down: VecDeque<(Instant, Vec<u8>)>,
    /// Octets of each streamed message that were handed over.
    written: Vec<usize>,
    arrived_up: usize,
    arrived_down: usize,
    /// Whether the cut has come.
    is_lost: bool,
    /// The server has closed, and the client will read so.
    end: Option<Instant>,
    seen: usize,
    /// Sender, recipients and content of each message that the server has.
    stored: Vec<(String, Vec<String>, Bytes)>,
    judged: Vec<Vec<usize>>,
}

impl<'a> Network<'a> {
    fn new(scene: &'a Scene, cut: Option<Cut>) -> Self {
        let mut bench = Bench::new(scene.config.clone());
        if scene.config.security == Security::Implicit {
            bench.act(&Action::Tls);
        }
        for mail in &scene.mails {
            bench.act(&Action::Submit(mail.clone()));
        }
        bench.act(&Action::Quit);
        let judged = scene
            .mails
            .iter()
            .map(|mail| vec![usize::MAX; mail.recipients.len()]);
        Self {
            judged: judged.collect(),
            server: Session::new(Arc::new(Plan::new(scene.options.clone())), 1),
            scene,
            cut,
            bench,
            random: Random(7),
            up: VecDeque::new(),
            down: VecDeque::new(),
            written: vec![0; scene.mails.len()],
            arrived_up: 0,
            arrived_down: 0,
            is_lost: false,
            end: None,
            seen: 0,
            stored: Vec::new(),
        }
    }

    /// Until the client has closed, and all that it sent has arrived or is lost.
    fn run(&mut self) {
        self.serve();
        for _ in 0..100_000 {
            self.react();
            if self.bench.is_closed() {
                while let Some((_, octets)) = self.up.pop_front() {
                    self.arrive_up(&octets);
                }
                return;
            }
            self.take();
            let up = self.up.front().map(|(due, _)| *due);
            let down = self.down.front().map(|(due, _)| *due);
            let next = [up, down, self.end].into_iter().flatten().min();
            let timer = self.bench.connection.poll_timeout();
            match (next, timer) {
                (Some(next), timer) if timer.is_none_or(|timer| next < timer) => self.arrive(next),
                (_, Some(timer)) if self.is_lost && next.is_none() => self.lose(timer),
                (_, Some(timer)) => self.pass(timer),
                (_, None) => panic!("{}: nobody waits for anything", self.scene.name),
            }
        }
        panic!("{}: they never end", self.scene.name);
    }

    /// The client's octets leave, in pieces.
    fn take(&mut self) {
        loop {
            self.write();
            let most = [40, 400, usize::MAX][self.random.below(3)];
            let octets = self.bench.take(most);
            if octets.is_empty() {
                return;
            }
            self.up.push_back((self.bench.now + LATENCY, octets));
            self.react();
        }
    }

    /// Hands over what is wanted of a streamed message, in pieces.
    fn write(&mut self) {
        while let Some(writer) = self.bench.connection.body_writer() {
            let (id, room) = (writer.id(), writer.room());
            let mut submitted = self.bench.submitted.iter();
            let Some(place) = submitted.position(|(known, _)| *known == id) else {
                return;
            };
            let mail = &self.scene.mails[place];
            let longest = match mail.form {
                Form::Whole => room,
                Form::Streamed(longest) => longest.min(room),
            };
            let rest = &mail.content[self.written[place]..];
            let piece = &rest[..rest.len().min(longest)];
            self.written[place] += piece.len();
            self.bench.act(&match piece {
                [] => Action::Finish,
                piece => Action::Write(piece.to_vec()),
            });
            self.react();
        }
    }

    fn arrive(&mut self, due: Instant) {
        self.pass(due);
        let is_due =
            |queue: &VecDeque<(Instant, Vec<u8>)>| queue.front().is_some_and(|(at, _)| *at <= due);
        if is_due(&self.up) {
            let octets = self.up.pop_front().map(|(_, octets)| octets);
            self.arrive_up(&octets.unwrap_or_default());
        } else if is_due(&self.down) {
            let octets = self.down.pop_front().map(|(_, octets)| octets);
            self.arrive_down(&octets.unwrap_or_default());
        } else if self.end.take_if(|at| *at <= due).is_some() {
            self.bench.act(&Action::Eof);
        }
    }

    fn arrive_up(&mut self, octets: &[u8]) {
        let octets = &octets[..self.left(Direction::Up, self.arrived_up, octets.len())];
        self.arrived_up += octets.len();
        if !octets.is_empty() {
            self.server.receive(octets);
            self.serve();
        }
        self.cut_at(Direction::Up, self.arrived_up);
    }

    /// Without a cut, one octet after the other, so that it is known which of them decided what.
    fn arrive_down(&mut self, octets: &[u8]) {
        let length = self.left(Direction::Down, self.arrived_down, octets.len());
        let pieces = match self.cut {
            None => 1,
            Some(_) => length.max(1),
        };
        for piece in octets[..length].chunks(pieces) {
            self.arrived_down += piece.len();
            self.bench.act(&Action::Receive(piece.to_vec()));
            self.react();
        }
        self.cut_at(Direction::Down, self.arrived_down);
    }

    /// How many of so many octets arrive.
    fn left(&self, direction: Direction, arrived: usize, length: usize) -> usize {
        match self.cut {
            Some(cut) if cut.direction == direction => length.min(cut.at.saturating_sub(arrived)),
            Some(_) | None => length,
        }
    }

    fn cut_at(&mut self, direction: Direction, arrived: usize) {
        let Some(cut) = self.cut else { return };
        if cut.direction != direction || arrived < cut.at {
            return;
        }
        self.is_lost = true;
        match direction {
            Direction::Up => self.up.clear(),
            Direction::Down => {
                self.down.clear();
                self.end = None;
            }
        }
        if cut.ending == Ending::Abrupt {
            self.bench.act(&Action::Failed);
            self.down.clear();
        }
    }

    /// All has arrived that will: the client learns of the loss.
    fn lose(&mut self, timer: Instant) {
        match self.cut.map(|cut| cut.ending) {
            Some(Ending::End) => self.bench.act(&Action::Eof),
            Some(Ending::Reset | Ending::Abrupt) => self.bench.act(&Action::Failed),
            Some(Ending::Silence) | None => self.pass(timer),
        }
    }

    fn pass(&mut self, until: Instant) {
        let time = until.saturating_duration_since(self.bench.now);
        self.bench.act(&Action::Wait(time));
    }

    /// What the server has to say leaves.
    fn serve(&mut self) {
        let mut due = self.bench.now + LATENCY;
        while let Some(action) = self.server.poll_action() {
            match action {
                ServerAction::Write(octets) | ServerAction::Trickle(octets) => {
                    self.down.push_back((due, octets.to_vec()));
                }
                ServerAction::Delay(time) => due += time,
                ServerAction::StartTls => self.server.tls_established(),
                _ => self.end = Some(due + LATENCY),
            }
        }
        while let Some(message) = self.server.poll_message() {
            self.stored
                .push((message.reverse_path, message.recipients, message.content));
        }
        if self.scene.stores_in_secret && self.stored.is_empty() {
            let mail = &self.scene.mails[0];
            let names = mail
                .recipients
                .iter()
                .map(|name| format!("{name}@example.org"));
            let content = Bytes::from(mail.content.clone());
            self.stored.push((sender(0), names.collect(), content));
        }
    }

    /// Does what the client's events ask for, and notes when recipients are judged.
    fn react(&mut self) {
        while let Some(event) = self.bench.events.get(self.seen) {
            self.seen += 1;
            let mut asks = None;
            match event {
                Event::StartTls => asks = Some(Action::Tls),
                Event::CredentialsWanted { .. } => asks = Some(Action::Credentials),
                Event::Recipient {
                    id,
                    index,
                    stage: Stage::Body,
                    ..
                } => {
                    let place = self
                        .bench
                        .submitted
                        .iter()
                        .position(|(known, _)| known == id);
                    if let Some(place) = place {
                        self.judged[place][*index] = self.arrived_down;
                    }
                }
                Event::Finished { id, .. } => {
                    let place = self
                        .bench
                        .submitted
                        .iter()
                        .position(|(known, _)| known == id);
                    if let Some(place) = place {
                        for judged in &mut self.judged[place] {
                            *judged = (*judged).min(self.arrived_down);
                        }
                    }
                }
                _ => {}
            }
            if let Some(action) = asks {
                self.bench.act(&action);
            }
        }
    }
}

/// Behind the last octet of a message's content, the lone dot included where there is one.
fn content_end(wire: &[u8], place: usize) -> Option<usize> {
    let mark = mark(place);
    let at = wire
        .windows(mark.len())
        .position(|octets| octets == mark.as_bytes())?;
    let end = at + mark.len();
    Some(match wire[end..].starts_with(b".\r\n") {
        true => end + 3,
        false => end,
    })
}

fn mark(place: usize) -> String {
    format!("end of message {place}\r\n")
}

fn scenes() -> Vec<Scene> {
    let in_step = options()
        .without_extension(Extension::Pipelining)
        .without_extension(Extension::Chunking);
    let by_data = options().without_extension(Extension::Chunking);
    let refusing = by_data
        .clone()
        .with_fault(
            "reply@rcpt:r1@example.org=550 5.1.1 no"
                .parse()
                .expect("a fault"),
        )
        .with_fault("reply@body#2=554 5.7.1 no".parse().expect("a fault"));
    let overlapping = Config::new(Security::Plaintext).with_pipelining(Pipelining::Overlapping);
    let lmtp = Config::new(Security::Plaintext).with_protocol(Protocol::Lmtp);
    let logged_in = |security| Config::new(security).with_credentials(credentials());
    let account = |mut options: Options| {
        options.accounts = vec![Account::new("alice", "tr0ub4dor")];
        options
    };
    vec![
        scene("in step", in_step),
        scene("pipelined", by_data.clone()),
        scene("chunks", options()),
        streamed(scene("streamed", by_data.clone())),
        streamed(scene("streamed in a chunk", options())),
        in_several_chunks(scene("streamed in chunks", options())),
        for_all_or_nobody(scene("all or nobody", refusing.clone())),
        Scene {
            config: overlapping,
            ..scene("overlapping", options())
        },
        Scene {
            config: Config::new(Security::Plaintext).with_chunking(Chunking::Off),
            ..scene("refusals", refusing)
        },
        Scene {
            config: lmtp.clone(),
            ..scene("LMTP", by_data.with_protocol(Protocol::Lmtp))
        },
        Scene {
            config: lmtp,
            ..scene("LMTP in chunks", options().with_protocol(Protocol::Lmtp))
        },
        Scene {
            config: logged_in(Security::StartTls),
            ..scene("STARTTLS and a log-in", account(options()))
        },
        Scene {
            config: logged_in(Security::Implicit),
            ..scene(
                "a log-in within TLS",
                account(options().with_tls(TlsMode::Implicit)),
            )
        },
    ]
}

fn options() -> Options {
    Options::default()
}

fn scene(name: &'static str, options: Options) -> Scene {
    let mails = (0..3).map(|place| Mail {
        recipients: (0..=place % 2).map(|number| format!("r{number}")).collect(),
        content: format!("Subject: {place}\r\n\r\n.a\r\n{}", mark(place)).into_bytes(),
        form: Form::Whole,
        commitment: Commitment::Each,
    });
    Scene {
        name,
        options,
        config: Config::new(Security::Plaintext),
        mails: mails.collect(),
        stride: 1,
        stores_in_secret: false,
    }
}

/// On the wire it is as it would be whole: fewer cuts will do.
fn streamed(mut scene: Scene) -> Scene {
    for mail in &mut scene.mails {
        mail.form = Form::Streamed(23);
    }
    Scene { stride: 3, ..scene }
}

/// The second message is so long that it goes in chunks.
fn in_several_chunks(mut scene: Scene) -> Scene {
    let mail = &mut scene.mails[1];
    let line = b".234567 101234567 201234567 301234567 401234567 501234567 60123\r\n";
    mail.content.splice(..0, line.repeat(1_200));
    mail.form = Form::Streamed(5_000);
    Scene {
        stride: 997,
        ..scene
    }
}

fn for_all_or_nobody(mut scene: Scene) -> Scene {
    for mail in &mut scene.mails {
        mail.commitment = Commitment::AllOrNothing;
    }
    scene
}

/// One way.
const LATENCY: Duration = Duration::from_millis(20);
