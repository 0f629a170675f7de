//! What a transcript wants of a client, the answers it has for it, and what must come of it.

use std::collections::{HashMap, VecDeque};

use crate::proto::Protocol;

/// A transcript, and whether it can be judged from outside.
pub(crate) enum Played {
    Outside(Box<Case>),
    Inside(Inside),
}

/// A transcript that cannot be judged from outside.
pub(crate) struct Inside {
    pub(crate) name: &'static str,
    pub(crate) rules: Vec<String>,
    pub(crate) reason: String,
}

/// A transcript that can.
pub(crate) struct Case {
    /// `folder/file`.
    pub(crate) name: &'static str,
    /// The bug that it would catch.
    pub(crate) purpose: &'static str,
    /// The rules that it cites; the first is what it is about.
    pub(crate) rules: Vec<String>,
    pub(crate) wants: Wants,
    pub(crate) script: Script,
    pub(crate) expected: Expected,
}

/// What the client is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Wants {
    pub(crate) encryption: Encryption,
    pub(crate) protocol: Protocol,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) mechanisms: Option<String>,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) message: Vec<u8>,
}

/// As in `ehlo send --encryption`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    StartTls,
    Tls,
    Opportunistic,
}

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Everybody has it, and the client says so.
    Accepted,
    /// Some have it.
    Partial,
    /// Nobody has it, or nobody knows, and the client says so.
    Failed,
    /// Commands alone are judged.
    Open,
}

/// The command that an answer is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Response,
    Mail,
    /// By its path, without brackets.
    Rcpt(String),
    Data,
    Content,
    Chunk,
    Rset,
    Quit,
    Other,
}

/// The answers of a transcript.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) answers: HashMap<Key, VecDeque<Answer>>,
    pub(crate) exchanges: VecDeque<Exchange>,
    /// How the server shakes hands, if it comes to that.
    pub(crate) handshake: Handshake,
    /// Whether some answer is what the transcript is about.
    pub(crate) has_mark: bool,
    pub(crate) has_chunks: bool,
}

/// One attempt at AUTH: the answers to the command and to each response.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) mechanism: String,
    /// Whether the transcript's client sent an initial response.
    pub(crate) initial: bool,
    pub(crate) answers: VecDeque<Answer>,
}

/// What the server says, and what it does then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) octets: Vec<u8>,
    /// What the transcript's client said, where that is a log-in.
    pub(crate) to: String,
    pub(crate) then: Then,
    /// The first answer that is out of the ordinary: the situation of the transcript.
    pub(crate) mark: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Then {
    #[default]
    Go,
    Close,
    Tls(Handshake),
}

/// How the server shakes hands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Handshake {
    #[default]
    Good,
    /// By a certificate that nobody vouches for.
    Stranger,
    /// By one for another host.
    OtherName,
    /// By octets that are no TLS.
    Noise,
}

impl Played {
    /// Whether `--only` means it: a part of its name, or a rule.
    pub(crate) fn matches(&self, only: &str) -> bool {
        let (name, rules) = match self {
            Self::Outside(case) => (case.name, &case.rules),
            Self::Inside(inside) => (inside.name, &inside.rules),
        };
        name.contains(only) || rules.iter().any(|rule| rule.eq_ignore_ascii_case(only))
    }
}

/// One command of the transcript's client, with its answer.
pub(crate) struct Turn {
    pub(crate) key: Key,
    /// Of AUTH: the mechanism, and whether there was an initial response.
    pub(crate) auth: Option<(String, bool)>,
    pub(crate) answer: Answer,
}

impl Key {
    /// What a command line asks for.
    pub(crate) fn of(line: &str) -> Self {
        let line = line.trim_end_matches(['\r', '\n']);
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "LHLO" => Self::Ehlo,
            "HELO" => Self::Helo,
            "STARTTLS" => Self::StartTls,
            "AUTH" => Self::Auth,
            "MAIL" => Self::Mail,
            "RCPT" => Self::Rcpt(path(line).unwrap_or_default().to_owned()),
            "DATA" => Self::Data,
            "BDAT" => Self::Chunk,
            "RSET" => Self::Rset,
            "QUIT" => Self::Quit,
            _ => Self::Other,
        }
    }

    /// The code that is usual behind it.
    fn usual(&self) -> &'static [&'static str] {
        match self {
            Self::Greeting | Self::StartTls => &["220"],
            Self::Auth | Self::Response => &["334", "235"],
            Self::Data => &["354"],
            Self::Quit => &["221"],
            Self::Ehlo
            | Self::Helo
            | Self::Mail
            | Self::Rcpt(_)
            | Self::Content
            | Self::Chunk
            | Self::Rset
            | Self::Other => &["250"],
        }
    }
}

/// The path within the brackets of MAIL or RCPT.
pub(crate) fn path(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once('<')?;
    rest.rsplit_once('>').map(|(path, _)| path)
}

impl Script {
    /// Sorts the answers by their commands, and marks the first that is out of the ordinary.
    pub(crate) fn of(turns: Vec<Turn>, handshake: Handshake) -> Self {
        let mut script = Self {
            handshake,
            ..Self::default()
        };
        for Turn {
            key,
            auth,
            mut answer,
        } in turns
        {
            if !script.has_mark && is_special(&key, &answer) {
                answer.mark = true;
                script.has_mark = true;
            }
            script.has_chunks |= key == Key::Chunk;
            match (auth, script.exchanges.back_mut()) {
                (Some((mechanism, initial)), _) => script.exchanges.push_back(Exchange {
                    mechanism,
                    initial,
                    answers: VecDeque::from([answer]),
                }),
                (None, Some(exchange)) if key == Key::Response => {
                    exchange.answers.push_back(answer)
                }
                (None, _) => script.answers.entry(key).or_default().push_back(answer),
            }
        }
        script
    }
}

/// Whether an answer is another than a friendly server gives.
fn is_special(key: &Key, answer: &Answer) -> bool {
    let is_usual = key
        .usual()
        .iter()
        .any(|code| answer.octets.starts_with(code.as_bytes()))
        && reply_length(&answer.octets) == Some(answer.octets.len());
    let goes_on = match answer.then {
        Then::Go | Then::Tls(Handshake::Good) => true,
        Then::Close => *key == Key::Quit,
        Then::Tls(Handshake::Stranger | Handshake::OtherName | Handshake::Noise) => false,
    };
    !is_usual || !goes_on
}

/// The length of the first reply, if it is complete and lines begin with a code.
pub(crate) fn reply_length(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = octets.get(at..)?;
        let end = memchr::memchr(b'\n', rest)? + 1;
        let line = &rest[..end];
        at += end;
        let code = line.get(..3)?;
        if !code.iter().all(u8::is_ascii_digit) {
            return None;
        }
        if line.get(3) != Some(&b'-') {
            return Some(at);
        }
    }
}
