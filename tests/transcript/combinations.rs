//! A group of MAIL, RCPT, RCPT and DATA, or BDAT, with every combination of answers to its commands.
//!
//! Behind it another message waits: it must be sent in step, whatever became of the first.

use libtest_mimic::{Failed, Trial};

use super::matrix::Peer;

/// How the message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Data,
    Chunk,
}

/// The answers to the group.
#[derive(Clone, Copy, Debug)]
struct Answers {
    mail: u16,
    rcpt: [u16; 2],
    /// To DATA, or to BDAT.
    message: u16,
}

/// A test for each way, with PIPELINING and without.
pub(crate) fn trials() -> Vec<Trial> {
    let offers = [
        ("data", Way::Data, "250 PIPELINING\r\n"),
        ("data-in-step", Way::Data, "250 HELP\r\n"),
        ("chunk", Way::Chunk, "250-PIPELINING\r\n250 CHUNKING\r\n"),
        ("chunk-in-step", Way::Chunk, "250 CHUNKING\r\n"),
    ];
    let trials = offers.map(|(name, way, offers)| {
        Trial::test(format!("combinations::{name}"), move || {
            for answers in all(way) {
                let mut peer = Peer::with_two_messages(offers);
                let talk = Talk::of(&mut peer, answers);
                talk.judge(&peer, way, answers)
                    .map_err(|problem| format!("{answers:?}: {problem}\n{}", peer.log))?;
            }
            Ok::<(), Failed>(())
        })
    });
    trials.into()
}

fn all(way: Way) -> Vec<Answers> {
    let mut all = Vec::new();
    for mail in [250, 450, 550] {
        for first in [250, 450, 550] {
            for second in [250, 450, 550] {
                let rcpt = [first, second];
                let messages: &[u16] = match way {
                    Way::Data => &[354, 451, 554],
                    // What nobody is to have is not taken; that some take it all the same is for
                    // transcripts to show.
                    Way::Chunk if mail == 250 && rcpt.contains(&250) => &[250, 451, 554],
                    Way::Chunk => &[503],
                };
                all.extend(messages.iter().map(|&message| Answers {
                    mail,
                    rcpt,
                    message,
                }));
            }
        }
    }
    all
}

/// What a server heard of it all.
#[derive(Default)]
struct Talk {
    mails: usize,
    /// Octets of each message that came to its end.
    contents: Vec<usize>,
    /// The first message was invited by 354.
    was_invited: bool,
}

impl Talk {
    /// Answers every command in turn, as long as there is one.
    fn of(peer: &mut Peer, answers: Answers) -> Self {
        let mut talk = Self::default();
        let mut to_rcpt = answers.rcpt.into_iter();
        let mut at = 0;
        let mut content = None;
        while let Some(line) = line_at(&peer.said, at) {
            at += line.len() + 2;
            let is_first = talk.mails < 2;
            let code = match (line.split([' ', ':']).next().unwrap_or_default(), content) {
                (".", Some(length)) => {
                    content = None;
                    talk.contents.push(length);
                    if is_first && !answers.has_recipients() {
                        554
                    } else {
                        250
                    }
                }
                (_, Some(length)) => {
                    content = Some(length + line.len() + 2);
                    continue;
                }
                ("MAIL", None) => {
                    talk.mails += 1;
                    if talk.mails == 1 { answers.mail } else { 250 }
                }
                ("RCPT", None) if is_first => to_rcpt.next().unwrap_or(250),
                ("DATA", None) => {
                    let code = if is_first { answers.message } else { 354 };
                    content = (code == 354).then_some(0);
                    talk.was_invited |= is_first && code == 354;
                    code
                }
                ("BDAT", None) => {
                    at += MESSAGE;
                    talk.contents.push(MESSAGE);
                    if is_first { answers.message } else { 250 }
                }
                (_, None) => 250,
            };
            peer.hear(&format!("{code} text\r\n"));
        }
        talk
    }

    fn judge(&self, peer: &Peer, way: Way, answers: Answers) -> Result<(), String> {
        let stage = match (way, answers.message) {
            (Way::Data, 400..) => "data",
            (Way::Data | Way::Chunk, _) => "body",
        };
        let verdicts = answers
            .rcpt
            .map(|code| match (answers.mail, code, answers.message) {
                (250, 250, 250 | 354) => "accepted 250".to_owned(),
                (250, 250, code) => format!("refused {stage} {code}"),
                (250, code, _) => format!("refused rcpt {code}"),
                (code, _, _) => format!("refused mail {code}"),
            });
        let expected = format!("finished 0 {}", verdicts.join(", "));
        // An end of the message would be one for those whom the server took behind a refused MAIL.
        let must_close = self.was_invited && answers.mail != 250 && answers.rcpt.contains(&250);
        let second = match must_close {
            true => "finished 1 not-sent protocol data",
            false => "finished 1 accepted 250",
        };
        for words in [expected.as_str(), second] {
            if !peer.words.iter().any(|found| found == words) {
                return Err(format!("{words:?} is not among {:?}", peer.words));
            }
        }
        let mut contents = match (self.was_invited, must_close) {
            (true, true) => return Ok(()),
            (true, false) if !answers.has_recipients() => vec![0],
            (true, false) => vec![MESSAGE],
            (false, _) => Vec::new(),
        };
        contents.push(MESSAGE);
        if way == Way::Data && self.contents != contents {
            return Err(format!("{contents:?} octets, not {:?}", self.contents));
        }
        Ok(())
    }
}

impl Answers {
    fn has_recipients(self) -> bool {
        self.mail == 250 && self.rcpt.contains(&250)
    }
}

fn line_at(octets: &[u8], at: usize) -> Option<String> {
    let rest = octets.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

/// Octets of each message.
const MESSAGE: usize = "Hi\r\n".len();
