//! The transcript format; `testdata/transcripts/README.md` is its description.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use ehlo::Credentials;
use ehlo::proto::{ChannelBinding, TransportErrorKind, Verification};

use super::escape;
use super::settings::{Settings, Submission, Word, credentials, duration};

/// One file: settings, and what happens in order.
pub(crate) struct Transcript {
    /// `folder/name`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The file's lines, for messages.
    pub(crate) lines: Vec<String>,
    pub(crate) settings: Settings,
    pub(crate) blocks: Vec<Block>,
    /// Whether `event reached` lines are compared.
    pub(crate) shows_reached: bool,
}

/// One thing that happens to the engine, and all that comes out of it until the next.
pub(crate) struct Block {
    pub(crate) stimulus: Stimulus,
    /// What the client must send now, no more and no less.
    pub(crate) flight: Vec<u8>,
    /// The events that must come now, in order.
    pub(crate) events: Vec<String>,
    /// Indices of the lines of `flight` and `events`.
    pub(crate) observed: Vec<usize>,
    /// Index of the last line of the stimulus.
    pub(crate) line: usize,
}

/// What happens to the engine.
#[derive(Clone)]
pub(crate) enum Stimulus {
    /// The connection is there.
    Start,
    Receive(Vec<u8>),
    Submit(Box<Submission>),
    Probe(Box<Submission>),
    Write(Bytes),
    Finish,
    Abandon,
    Cancel(usize),
    Quit,
    Tls(ChannelBinding, Verification),
    Eof,
    Failed(TransportErrorKind),
    Wait(Duration),
    Credentials(Option<Credentials>),
    /// The transport takes so many octets more, then none.
    Hold(usize),
    Release,
}

impl Transcript {
    /// Reads one file.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let stem = path.file_stem().unwrap_or_default();
        let name = format!("{}/{}", folder.display(), stem.display());
        Self::parse(name, path.to_owned(), &text)
    }

    fn parse(name: String, path: PathBuf, text: &str) -> Result<Self, String> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut reader = Reader::new();
        for (index, line) in lines.iter().enumerate() {
            reader.line(index, line).map_err(|problem| {
                format!("{}:{}: {problem}: {line}", path.display(), index + 1)
            })?;
        }
        let shows_reached = reader.blocks.iter().any(|block| {
            block
                .events
                .iter()
                .any(|event| event.starts_with("reached "))
        });
        Ok(Self {
            name,
            path,
            lines,
            settings: reader.settings.ok_or("there is no config line")?,
            blocks: reader.blocks,
            shows_reached,
        })
    }

    /// Whether the clock moves in it.
    #[cfg(feature = "sandbox")]
    pub(crate) fn waits(&self) -> bool {
        self.blocks
            .iter()
            .any(|block| matches!(block.stimulus, Stimulus::Wait(_)))
    }
}

struct Reader {
    settings: Option<Settings>,
    blocks: Vec<Block>,
    /// Whether the last line was the server's, so that another one belongs to the same run.
    in_run: bool,
}

impl Reader {
    fn new() -> Self {
        let start = Block {
            stimulus: Stimulus::Start,
            flight: Vec::new(),
            events: Vec::new(),
            observed: Vec::new(),
            line: 0,
        };
        Self {
            settings: None,
            blocks: vec![start],
            in_run: false,
        }
    }

    fn line(&mut self, index: usize, line: &str) -> Result<(), String> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(octets) = spoken(line, 'C')? {
            let block = self.observe(index)?;
            block.flight.extend_from_slice(&octets);
            return Ok(());
        }
        if let Some(octets) = spoken(line, 'S')? {
            self.receive(index, octets);
            return Ok(());
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        match verb {
            "config" => {
                self.settings = Some(Settings::parse(&Word::split(rest)?)?);
                self.blocks[0].line = index;
            }
            "event" => {
                let words: Vec<_> = rest.split_whitespace().collect();
                self.observe(index)?.events.push(words.join(" "));
            }
            _ => {
                let stimulus = stimulus(verb, rest)?;
                self.push(index, stimulus);
            }
        }
        Ok(())
    }

    fn observe(&mut self, index: usize) -> Result<&mut Block, String> {
        self.in_run = false;
        if self.settings.is_none() {
            return Err("before the config line".into());
        }
        let block = self.blocks.last_mut().ok_or("nothing has happened yet")?;
        block.observed.push(index);
        Ok(block)
    }

    fn receive(&mut self, index: usize, octets: Vec<u8>) {
        if self.in_run
            && let Some(block) = self.blocks.last_mut()
            && let Stimulus::Receive(run) = &mut block.stimulus
        {
            run.extend_from_slice(&octets);
            block.line = index;
            return;
        }
        self.push(index, Stimulus::Receive(octets));
        self.in_run = true;
    }

    fn push(&mut self, index: usize, stimulus: Stimulus) {
        self.in_run = false;
        self.blocks.push(Block {
            stimulus,
            flight: Vec::new(),
            events: Vec::new(),
            observed: Vec::new(),
            line: index,
        });
    }
}

/// The octets of a `C` or `S` line; `None` if it is another line.
fn spoken(line: &str, who: char) -> Result<Option<Vec<u8>>, String> {
    let Some(rest) = line.strip_prefix(who) else {
        return Ok(None);
    };
    let Some(kind) = rest.chars().next() else {
        return Ok(None);
    };
    let text = rest[kind.len_utf8()..]
        .strip_prefix(' ')
        .unwrap_or(&rest[kind.len_utf8()..]);
    match kind {
        ':' => {
            let mut octets = text.as_bytes().to_vec();
            octets.extend_from_slice(b"\r\n");
            Ok(Some(octets))
        }
        '|' => escape::decode(text).map(Some),
        '=' => Ok(Some(stuffed(&testdata(text.trim())?))),
        '~' => testdata(text.trim()).map(Some),
        '*' => {
            let (count, text) = text
                .split_once(' ')
                .ok_or("a count and a text are wanted")?;
            let count = count.parse().map_err(|_| "that is no count")?;
            Ok(Some(escape::decode(text)?.repeat(count)))
        }
        _ => Ok(None),
    }
}

fn stimulus(verb: &str, rest: &str) -> Result<Stimulus, String> {
    Ok(match verb {
        "submit" => Stimulus::Submit(Box::new(Submission::parse(&Word::split(rest)?)?)),
        "probe" => Stimulus::Probe(Box::new(Submission::parse(&Word::split(rest)?)?)),
        "body" => Stimulus::Write(escape::decode(rest)?.into()),
        "body*" => {
            let (count, text) = rest
                .split_once(' ')
                .ok_or("a count and a text are wanted")?;
            let count = count.parse().map_err(|_| "that is no count")?;
            Stimulus::Write(escape::decode(text)?.repeat(count).into())
        }
        "finish" => Stimulus::Finish,
        "abandon" => Stimulus::Abandon,
        "cancel" => Stimulus::Cancel(rest.parse().map_err(|_| "a transaction's number")?),
        "quit" => Stimulus::Quit,
        "tls" => match rest {
            "" => Stimulus::Tls(ChannelBinding::None, Verification::Trusted),
            "unverified" => Stimulus::Tls(ChannelBinding::None, Verification::Off),
            "exporter" => {
                Stimulus::Tls(ChannelBinding::TlsExporter([9; 32]), Verification::Trusted)
            }
            "server-end-point" => Stimulus::Tls(
                ChannelBinding::TlsServerEndPoint(vec![9; 32]),
                Verification::Trusted,
            ),
            _ => return Err(format!("unknown kind of session {rest}")),
        },
        "eof" => Stimulus::Eof,
        "failed" => Stimulus::Failed(match rest {
            "lost" => TransportErrorKind::Lost,
            "certificate" => TransportErrorKind::Certificate,
            "tls" => TransportErrorKind::Tls,
            "mismatch" => TransportErrorKind::Mismatch,
            "protocol" => TransportErrorKind::Protocol,
            _ => return Err(format!("unknown failure {rest}")),
        }),
        "wait" => Stimulus::Wait(duration(rest)?),
        "credentials" => Stimulus::Credentials(credentials(rest)?),
        "hold" => Stimulus::Hold(rest.parse().map_err(|_| "a number of octets")?),
        "release" => Stimulus::Release,
        _ => return Err(format!("unknown verb {verb}")),
    })
}

/// A file under `testdata`.
pub(crate) fn testdata(name: &str) -> Result<Vec<u8>, String> {
    let path = root().join(name);
    fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The folder `testdata`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// All transcripts, by name.
pub(crate) fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("transcripts")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "smtp")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A message as it must travel: line ends are CRLF, the last line is ended, dots are doubled. The
/// lone dot behind it is not included.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len());
    let mut at_start = true;
    let mut octets = message.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        if at_start && octet == b'.' {
            wire.push(b'.');
        }
        at_start = matches!(octet, b'\r' | b'\n');
        if at_start {
            if octet == b'\r' {
                octets.next_if_eq(&b'\n');
            }
            wire.extend_from_slice(b"\r\n");
        } else {
            wire.push(octet);
        }
    }
    if !at_start {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}
