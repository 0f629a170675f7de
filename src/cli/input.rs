//! The messages to send: composed here, or read from files and standard input.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};

use super::args::{BareNewlinesRule, LongLinesRule, MessageArguments};
use super::failure::Failure;
use super::mbox::is_postmark;
use super::terminal;
use crate::error::Stage;
use crate::message::{Attachment, Message};
use crate::proto::address::Mailbox;
use crate::proto::body::{BareNewlines, Content, ContentFacts, Scanner};
use crate::proto::transaction::{Encoding, Streamed};

/// Where a message comes from, or several.
#[derive(Clone)]
pub(crate) enum Input {
    /// Composed, and so in order.
    Composed(Content),
    /// A file with a message, or an mbox.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// The messages of a command.
pub(crate) struct Inputs {
    pub(crate) list: Vec<Input>,
    pub(crate) number: Number,
}

/// How many messages there may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    One,
    /// As many as there are inputs.
    Counted,
    /// One of the inputs is an mbox.
    Unknown,
}

/// A message that has been scanned.
pub(crate) enum Loaded {
    /// In memory.
    Whole(Content),
    /// Too large for that: it is read again while it is sent.
    Stream(Streamed, File),
}

/// What to do with messages that are not quite in order.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) newlines: BareNewlinesRule,
    pub(crate) long_lines: LongLinesRule,
}

impl Input {
    /// The messages that the options name; every named file is there.
    pub(crate) async fn from_arguments(
        arguments: &MessageArguments,
        from: Option<&Mailbox>,
        to: &[Mailbox],
    ) -> Result<Inputs, Failure> {
        if arguments.message.is_empty() {
            let Some(from) = from else {
                return Err(Failure::usage("a composed message needs --from"));
            };
            let octets = compose(arguments, from, to).await?;
            let content = Content::check(octets, BareNewlines::Reject)
                .map_err(|error| Failure::Internal(error.to_string()))?;
            return Ok(Inputs {
                list: vec![Self::Composed(content)],
                number: Number::One,
            });
        }
        let mut list = Vec::with_capacity(arguments.message.len());
        let mut number = match arguments.message.len() {
            1 => Number::One,
            _ => Number::Counted,
        };
        for path in &arguments.message {
            if path.as_os_str() == "-" {
                list.push(Self::Stdin);
                continue;
            }
            match look_at(path).await? {
                Kind::Message => list.push(Self::File(path.clone())),
                Kind::Mbox => {
                    list.push(Self::File(path.clone()));
                    number = Number::Unknown;
                }
                Kind::Folder(files) => {
                    list.extend(files.into_iter().map(Self::File));
                    if number == Number::One {
                        number = Number::Counted;
                    }
                }
            }
        }
        Ok(Inputs { list, number })
    }

    /// Its name in a report.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Composed(_) => "(composed)".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
        }
    }

    /// Reads and scans it.
    pub(crate) async fn load(&self, rules: Rules) -> Result<Loaded, Failure> {
        match self {
            Self::Composed(content) => Ok(Loaded::Whole(content.clone())),
            Self::Stdin => {
                let octets = read_whole(tokio::io::stdin()).await.map_err(|error| {
                    Failure::NoInput(format!("cannot read standard input: {error}"))
                })?;
                self.check_whole(octets, rules).map(Loaded::Whole)
            }
            Self::File(path) => {
                let (mut file, size) = open(path).await?;
                let unreadable = |error| Failure::unreadable(path, &error);
                if size.is_none_or(|size| size <= LARGE) {
                    let octets = read_whole(file).await.map_err(unreadable)?;
                    return self.check_whole(octets, rules).map(Loaded::Whole);
                }
                let scan = scan(&mut file).await.map_err(unreadable)?;
                file.rewind().await.map_err(unreadable)?;
                check(&self.name(), &scan.facts, &scan.beginning, rules)?;
                Ok(Loaded::Stream(streamed(&scan.facts, rules), file))
            }
        }
    }

    fn check_whole(&self, octets: Bytes, rules: Rules) -> Result<Content, Failure> {
        check_whole(&self.name(), octets, rules)
    }
}

/// Scans a message that is in memory.
pub(super) fn check_whole(name: &str, octets: Bytes, rules: Rules) -> Result<Content, Failure> {
    let content = Content::check(octets, rules.newlines.into())
        .map_err(|error| has_bare_newline(name, &error.to_string()))?;
    check(name, content.facts(), content.bytes(), rules)?;
    Ok(content)
}

fn check(name: &str, facts: &ContentFacts, beginning: &[u8], rules: Rules) -> Result<(), Failure> {
    if is_postmark(beginning) {
        return Err(Failure::data(
            Stage::Body,
            format!("{name} is an mbox, not a message: it begins with 'From '"),
            "Put it in a file: its messages are then sent one by one.",
        ));
    }
    if let (BareNewlinesRule::Reject, Some(offset)) = (rules.newlines, facts.bare_newline) {
        return Err(has_bare_newline(
            name,
            &format!("bare CR or LF at offset {offset}"),
        ));
    }
    match (facts.longest_line > LONGEST_LINE, rules.long_lines) {
        (false, _) => Ok(()),
        (true, LongLinesRule::Send) => {
            let longest = facts.longest_line;
            terminal::warn(format_args!(
                "{name} has a line of {longest} octets; beyond {LONGEST_LINE} some servers \
                     fold or refuse it"
            ));
            Ok(())
        }
        (true, LongLinesRule::Reject) => Err(Failure::data(
            Stage::Body,
            format!("{name} has a line of {} octets", facts.longest_line),
            "Encode the text (quoted-printable or base64), or leave out --long-lines reject.",
        )),
    }
}

fn has_bare_newline(name: &str, problem: &str) -> Failure {
    Failure::data(
        Stage::Body,
        format!("{name} cannot be sent as it is: {problem}"),
        "Give it CRLF line ends, or leave out --bare-newlines reject to have that done.",
    )
}

impl From<BareNewlinesRule> for BareNewlines {
    fn from(rule: BareNewlinesRule) -> Self {
        match rule {
            BareNewlinesRule::Normalise => Self::Normalise,
            BareNewlinesRule::Reject => Self::Reject,
        }
    }
}

async fn compose(
    arguments: &MessageArguments,
    from: &Mailbox,
    to: &[Mailbox],
) -> Result<Bytes, Failure> {
    // In a header, where any server takes it.
    let written = |mailbox: &Mailbox| mailbox.to_ascii().unwrap_or_else(|| mailbox.clone());
    let to: Vec<Mailbox> = to.iter().map(written).collect();
    let mut message = Message::new(written(from));
    if let Some(name) = &arguments.from_name {
        message = message.with_from_name(name);
    }
    // An address beyond ASCII in a header keeps a server without SMTPUTF8 from taking the message
    // for anybody; in the envelope alone it concerns nobody else.
    let any_ascii = to.iter().any(Mailbox::is_ascii);
    for recipient in to.iter().filter(|to| to.is_ascii() || !any_ascii) {
        message = message.with_recipient(recipient.clone());
    }
    if let Some(subject) = &arguments.subject {
        message = message.with_subject(subject);
    }
    if let Some(text) = &arguments.text {
        message = message.with_text(text);
    }
    if let Some(html) = &arguments.html {
        message = message.with_html(html);
    }
    for path in &arguments.attach {
        let octets = tokio::fs::read(path)
            .await
            .map_err(|error| Failure::unreadable(path, &error))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        message = message.with_attachment(Attachment::new(name, octets));
    }
    message.compose().map_err(|error| {
        Failure::data(
            Stage::Body,
            format!("the message cannot be composed: {error}"),
            "Take it out: what a header holds must stay in one line.",
        )
    })
}

/// What a named file is.
enum Kind {
    Message,
    Mbox,
    /// Its files, in the order of their names.
    Folder(Vec<PathBuf>),
}

/// So that a name that is wrong is known before anything is sent. A pipe is not opened: its writer
/// would take that for its only reader.
async fn look_at(path: &Path) -> Result<Kind, Failure> {
    let metadata = tokio::fs::metadata(path).await;
    let metadata = metadata.map_err(|error| Failure::unreadable(path, &error))?;
    if metadata.is_dir() {
        return folder(path).await.map(Kind::Folder);
    }
    if !metadata.is_file() {
        return Ok(Kind::Message);
    }
    Ok(match is_mbox(path).await? {
        true => Kind::Mbox,
        false => Kind::Message,
    })
}

/// Whether a file that can be read twice is an mbox.
pub(super) async fn is_mbox(path: &Path) -> Result<bool, Failure> {
    let (file, size) = open(path).await?;
    if size.is_none() {
        return Ok(false);
    }
    let mut beginning = Vec::new();
    let read = file.take(POSTMARK).read_to_end(&mut beginning).await;
    read.map_err(|error| Failure::unreadable(path, &error))?;
    Ok(is_postmark(&beginning))
}

/// The files of a folder in the order of their names, but for those whose name begins with a dot; of
/// a Maildir those that are new, and then the others. Folders within are not looked into.
async fn folder(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let maildir = ["new", "cur"].map(|name| path.join(name));
    let parts = match maildir.iter().all(|part| part.is_dir()) {
        true => maildir.to_vec(),
        false => vec![path.to_owned()],
    };
    let mut files = Vec::new();
    for part in &parts {
        let unreadable = |error| Failure::unreadable(part, &error);
        let mut entries = tokio::fs::read_dir(part).await.map_err(unreadable)?;
        let mut here = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(unreadable)? {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            // What a link leads to counts.
            let metadata = tokio::fs::metadata(entry.path()).await;
            if !hidden && metadata.is_ok_and(|metadata| metadata.is_file()) {
                here.push(entry.path());
            }
        }
        here.sort();
        files.append(&mut here);
    }
    match files.is_empty() {
        true => Err(Failure::NoInput(format!(
            "there is no message in the folder {}",
            path.display()
        ))),
        false => Ok(files),
    }
}

/// The file, and its size where it is a regular one that can be read twice.
async fn open(path: &Path) -> Result<(File, Option<u64>), Failure> {
    let unreadable = |error| Failure::unreadable(path, &error);
    let file = File::open(path).await.map_err(unreadable)?;
    let metadata = file.metadata().await.map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

async fn read_whole(reader: impl AsyncRead + Unpin) -> io::Result<Bytes> {
    let mut octets = BytesMut::new();
    let mut reader = reader.take(LARGEST_IN_MEMORY + 1);
    while reader.read_buf(&mut octets).await? > 0 {}
    match octets.len() as u64 > LARGEST_IN_MEMORY {
        true => Err(io::Error::other(
            "it is larger than 64 MiB; put the message in a file, which is then streamed",
        )),
        false => Ok(octets.freeze()),
    }
}

struct Scan {
    facts: ContentFacts,
    beginning: Vec<u8>,
}

async fn scan(file: &mut File) -> io::Result<Scan> {
    let mut scanner = Scanner::default();
    let mut beginning = Vec::new();
    let mut buffer = BytesMut::with_capacity(PIECE);
    while file.read_buf(&mut buffer).await? > 0 {
        if beginning.is_empty() {
            beginning.extend(buffer.iter().take(5));
        }
        scanner.push(&buffer);
        buffer.clear();
    }
    Ok(Scan {
        facts: scanner.finish(),
        beginning,
    })
}

fn streamed(facts: &ContentFacts, rules: Rules) -> Streamed {
    let encoding = match (facts.nul, facts.eight_bit) {
        (Some(_), _) => Encoding::TextWithNul,
        (None, true) => Encoding::EightBit,
        (None, false) => Encoding::SevenBit,
    };
    Streamed::default()
        .with_size(facts.wire_size)
        .with_encoding(encoding)
        .with_utf8_headers(facts.utf8_headers)
        .with_newlines(rules.newlines.into())
}

/// Files above this are streamed.
const LARGE: u64 = 1024 * 1024;
/// What cannot be read twice has to fit in memory.
pub(super) const LARGEST_IN_MEMORY: u64 = 64 * 1024 * 1024;
/// RFC 5321 §4.5.3.1.6, without the CRLF.
const LONGEST_LINE: u64 = 998;
/// Octets of `From `.
const POSTMARK: u64 = 5;
/// Octets read at a time.
const PIECE: usize = 256 * 1024;
