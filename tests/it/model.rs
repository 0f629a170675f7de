//! A server without IO that decodes strictly by its own code, answers by chance, and notes whatever
//! a client must not do.

use std::fmt::Write;

use ehlo::proto::Protocol;

/// What a server offers, and how it treats its clients.
#[derive(Clone, Debug)]
pub(crate) struct Character {
    /// Decides the answers: the same seed, the same answers to the same commands.
    pub(crate) seed: u64,
    /// Out of 100 commands, how many are refused.
    pub(crate) refusals: usize,
    /// Out of 100 commands, how many are answered by 421 and the end.
    pub(crate) endings: usize,
    /// Out of 100 commands and messages, how many are the last that it answers, if at all: it falls
    /// silent, ends without a word, says what is no reply, or judges a message before its end.
    pub(crate) breakdowns: usize,
    pub(crate) offers: Vec<&'static str>,
    pub(crate) protocol: Protocol,
    /// MAIL before the reply to a message by BDAT has been read.
    pub(crate) behind_chunks: BehindChunks,
}

/// How a server takes MAIL before the reply to a message by BDAT has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BehindChunks {
    Takes,
    /// With 503.
    Refuses,
    /// It must not come.
    Complains,
}

/// A message that the server has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) reverse_path: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) content: Vec<u8>,
    pub(crate) declared_size: Option<u64>,
}

/// The server's side of one connection.
pub(crate) struct Server {
    character: Character,
    random: Random,
    mode: Mode,
    channel: Channel,
    input: Vec<u8>,
    output: Vec<u8>,
    transaction: Option<Transaction>,
    offered: bool,
    /// A chunk was refused, and no RSET has come since: nothing else is taken (Exim).
    broken: bool,
    /// The reply to a message by BDAT has not been read.
    unread: bool,
    /// Messages that were answered with 250, or that it took before it broke down.
    pub(crate) stored: Vec<Stored>,
    /// What the client did wrong.
    pub(crate) complaints: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Commands,
    /// The client's next line is a SASL response; so many more follow.
    Responses(u8),
    Content,
    /// So many octets of a chunk are to come.
    Chunk {
        left: usize,
        last: bool,
    },
    /// 220 to STARTTLS was sent.
    Handshake,
    /// It reads, and never says anything again.
    Silent,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Clear,
    Tls,
}

struct Transaction {
    reverse_path: String,
    recipients: Vec<String>,
    declared_size: Option<u64>,
    /// What has come by BDAT.
    chunks: Option<Vec<u8>>,
}

impl Server {
    /// A server that has just accepted a connection: its greeting is ready.
    pub(crate) fn new(character: Character) -> Self {
        let mut server = Self {
            random: Random(character.seed),
            character,
            mode: Mode::Commands,
            channel: Channel::Clear,
            input: Vec::new(),
            output: Vec::new(),
            transaction: None,
            offered: false,
            broken: false,
            unread: false,
            stored: Vec::new(),
            complaints: Vec::new(),
        };
        server.say("220 model.example ESMTP");
        server
    }

    /// A server whose clients begin with TLS.
    pub(crate) fn within_tls(character: Character) -> Self {
        Self {
            channel: Channel::Tls,
            ..Self::new(character)
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.mode == Mode::Closed && self.output.is_empty()
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.mode == Mode::Silent
    }

    /// What the server has to say now.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.unread = false;
        std::mem::take(&mut self.output)
    }

    pub(crate) fn tls_established(&mut self) {
        if self.mode != Mode::Handshake {
            self.complain("a handshake that was not due");
        }
        self.channel = Channel::Tls;
        self.mode = Mode::Commands;
        self.offered = false;
        self.transaction = None;
    }

    /// Reads what the client sent.
    pub(crate) fn receive(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        loop {
            let before = self.input.len();
            match self.mode {
                Mode::Closed | Mode::Silent => self.input.clear(),
                Mode::Handshake => {
                    if !self.input.is_empty() {
                        self.complain("octets in clear where a handshake is due");
                        self.input.clear();
                    }
                }
                Mode::Content => self.read_content(),
                Mode::Chunk { left, last } => self.read_chunk(left, last),
                Mode::Commands | Mode::Responses(_) => self.read_line(),
            }
            if self.input.len() == before {
                return;
            }
        }
    }

    fn read_line(&mut self) {
        let Some(end) = self.input.iter().position(|&octet| octet == b'\n') else {
            if self.input.len() > 100_000 {
                self.complain("a line without end");
                self.input.clear();
            }
            return;
        };
        let line: Vec<u8> = self.input.drain(..=end).collect();
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return self.complain("a command that ends in a bare LF");
        };
        if line.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
            self.complain("CR, LF or NUL within a command");
        }
        let line = String::from_utf8_lossy(line).into_owned();
        match self.mode {
            Mode::Responses(more) => self.response(more),
            _ => self.command(&line),
        }
    }

    fn command(&mut self, line: &str) {
        if line.len() + 2 > 512 {
            self.complain(&format!("a command of {} octets", line.len() + 2));
        }
        let verb = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let last_in_group = matches!(
            verb.as_str(),
            "EHLO" | "HELO" | "STARTTLS" | "AUTH" | "DATA" | "QUIT" | "NOOP"
        );
        let alone = !self.offered || !self.character.offers.contains(&"PIPELINING");
        // What is behind BDAT is its chunk.
        if !self.input.is_empty() && (last_in_group || alone) && verb != "BDAT" {
            self.complain(&format!("octets behind {verb} in the same group"));
        }
        if self.random.below(100) < self.character.endings {
            self.say("421 4.3.2 enough");
            self.mode = Mode::Closed;
            return;
        }
        if self.breaks_down() {
            return self.break_down();
        }
        match (verb.as_str(), self.character.protocol) {
            ("EHLO" | "HELO", Protocol::Lmtp) | ("LHLO", Protocol::Smtp) => {
                self.complain("the greeting of another protocol");
            }
            (verb, _) => self.obey(verb, line),
        }
    }

    fn obey(&mut self, verb: &str, line: &str) {
        if self.broken && !matches!(verb, "RSET" | "QUIT" | "BDAT") {
            return self.say("503 5.5.1 RSET first");
        }
        match verb {
            "EHLO" | "LHLO" => self.ehlo(),
            "HELO" => {
                self.transaction = None;
                self.say("250 model.example");
            }
            "STARTTLS" => self.starttls(),
            "AUTH" => self.auth(line),
            "MAIL" => self.mail(line),
            "RCPT" => self.rcpt(line),
            "DATA" => self.data(),
            "BDAT" => self.bdat(line),
            "RSET" => {
                self.transaction = None;
                self.broken = false;
                self.say("250 2.0.0 flushed");
            }
            "NOOP" => self.say("250 2.0.0 ok"),
            "QUIT" => {
                self.say("221 2.0.0 bye");
                self.mode = Mode::Closed;
            }
            _ => self.complain(&format!("not a command: {line}")),
        }
    }

    fn ehlo(&mut self) {
        self.transaction = None;
        self.offered = true;
        let mut lines = String::from("250-model.example\r\n");
        for offer in &self.character.offers {
            if *offer == "STARTTLS" && self.channel == Channel::Tls {
                continue;
            }
            let _ = write!(lines, "250-{offer}\r\n");
        }
        lines.push_str("250 X-LAST");
        self.say(&lines);
    }

    fn starttls(&mut self) {
        if self.channel == Channel::Tls {
            self.complain("STARTTLS within TLS");
        }
        if !self.character.offers.contains(&"STARTTLS") {
            self.complain("STARTTLS where it is not offered");
        }
        if self.is_refused() {
            return self.say("454 4.7.0 not now");
        }
        self.say("220 2.0.0 go ahead");
        self.mode = Mode::Handshake;
    }

    fn auth(&mut self, line: &str) {
        if self.channel == Channel::Clear {
            self.complain("AUTH in clear");
        }
        if self.transaction.is_some() {
            self.complain("AUTH within a transaction");
        }
        if self.is_refused() {
            return self.say("535 5.7.8 no");
        }
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            [_, "PLAIN", _] => self.say("235 2.7.0 welcome"),
            [_, "PLAIN"] | [_, "LOGIN", _] => self.ask(1),
            [_, "LOGIN"] => self.ask(2),
            _ => self.complain(&format!("a mechanism that is not offered: {line}")),
        }
    }

    fn ask(&mut self, responses: u8) {
        self.say("334 ");
        self.mode = Mode::Responses(responses);
    }

    fn response(&mut self, left: u8) {
        if left > 1 {
            return self.ask(left - 1);
        }
        self.mode = Mode::Commands;
        self.say("235 2.7.0 welcome");
    }

    fn mail(&mut self, line: &str) {
        if self.transaction.is_some() {
            self.complain("MAIL within a transaction");
        }
        match self.character.behind_chunks {
            BehindChunks::Refuses if self.unread => return self.say("503 5.5.1 not yet"),
            BehindChunks::Complains if self.unread => {
                self.complain("MAIL behind the last chunk");
            }
            BehindChunks::Takes | BehindChunks::Refuses | BehindChunks::Complains => {}
        }
        let Some(path) = path_of(line, "MAIL FROM:") else {
            return self.complain(&format!("malformed: {line}"));
        };
        if self.is_refused() {
            return self.refuse();
        }
        let declared_size = line
            .split(' ')
            .find_map(|word| word.strip_prefix("SIZE="))
            .and_then(|digits| digits.parse().ok());
        if declared_size.is_some() && !self.character.offers.contains(&"SIZE") {
            self.complain("SIZE where it is not offered");
        }
        self.transaction = Some(Transaction {
            reverse_path: path.to_owned(),
            recipients: Vec::new(),
            declared_size,
            chunks: None,
        });
        self.say("250 2.1.0 ok");
    }

    fn rcpt(&mut self, line: &str) {
        let Some(path) = path_of(line, "RCPT TO:") else {
            return self.complain(&format!("malformed: {line}"));
        };
        if self.transaction.is_none() {
            return self.say("503 5.5.1 MAIL first");
        }
        if self.is_refused() {
            return self.refuse();
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.recipients.push(path.to_owned());
        }
        self.say("250 2.1.5 ok");
    }

    fn data(&mut self) {
        let recipients = self
            .transaction
            .as_ref()
            .map_or(0, |open| open.recipients.len());
        // RFC 2920 §3.1: some say 354 although there is no recipient.
        let lenient = self.transaction.is_some()
            && self.character.protocol == Protocol::Smtp
            && self.random.below(2) == 0;
        if recipients == 0 && !lenient {
            return self.say("503 5.5.1 no valid recipients");
        }
        if self.is_refused() {
            return self.refuse();
        }
        self.say("354 go ahead");
        self.mode = Mode::Content;
    }

    fn read_content(&mut self) {
        let Some((content, length)) = decode(&self.input) else {
            if self.breaks_down() {
                // Of the message it has a part at most, whatever it says.
                let verdicts = ["250 2.0.0 queued", "450 4.3.0 not now", "554 5.7.1 no"];
                let verdict = verdicts[self.random.below(verdicts.len())];
                self.say(verdict);
                self.mode = Mode::Silent;
            }
            return;
        };
        let region = self.input[..length].to_vec();
        if let Some(problem) = loose_end(&region) {
            self.complain(problem);
        }
        self.input.drain(..length);
        self.mode = Mode::Commands;
        if self
            .transaction
            .as_ref()
            .is_some_and(|open| open.chunks.is_some())
        {
            self.complain("DATA and BDAT in one transaction");
        }
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        if transaction.recipients.is_empty() {
            if !content.is_empty() {
                self.complain("a message for nobody");
            }
            return self.say("554 5.5.1 no valid recipients");
        }
        self.finish(transaction, content);
        if self.mode == Mode::Commands && self.character.offers.contains(&NOTHING_BEHIND) {
            self.refuse_what_is_behind();
        }
    }

    fn bdat(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let (size, last) = match words.as_slice() {
            [_, size] => (*size, false),
            [_, size, "LAST"] => (*size, true),
            _ => return self.complain(&format!("malformed: {line}")),
        };
        let digits = size.bytes().all(|octet| octet.is_ascii_digit());
        let Some(left) = size.parse().ok().filter(|_| digits) else {
            return self.complain(&format!("malformed: {line}"));
        };
        if !self.character.offers.contains(&"CHUNKING") {
            self.complain("BDAT where it is not offered");
        }
        if !last && left < 32 * 1024 {
            self.complain(&format!("a chunk of {left} octets that is not the last"));
        }
        self.mode = Mode::Chunk { left, last };
        if left == 0 {
            self.read_chunk(0, last);
        }
    }

    fn read_chunk(&mut self, left: usize, last: bool) {
        let taken = left.min(self.input.len());
        let octets: Vec<u8> = self.input.drain(..taken).collect();
        let accepted = |open: &Transaction| !open.recipients.is_empty();
        match &mut self.transaction {
            Some(open) if accepted(open) && !self.broken => {
                open.chunks
                    .get_or_insert_default()
                    .extend_from_slice(&octets);
            }
            _ => self.broken = true,
        }
        if taken < left {
            let left = left - taken;
            return self.mode = Mode::Chunk { left, last };
        }
        self.mode = Mode::Commands;
        let alone = !self.character.offers.contains(&"PIPELINING");
        if !self.input.is_empty() && alone {
            self.complain("octets behind a chunk in the same group");
        }
        self.unread |= last;
        if self.broken {
            return self.say("503 5.5.1 no");
        }
        if !last {
            if self.is_refused() {
                self.broken = true;
                return self.refuse();
            }
            return self.say("250 2.0.0 chunk");
        }
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        let content = transaction.chunks.clone().unwrap_or_default();
        let taken = self.finish(transaction, content);
        self.broken = !taken;
    }

    /// Answers a complete message; whether somebody has it.
    fn finish(&mut self, transaction: Transaction, content: Vec<u8>) -> bool {
        let replies = match self.character.protocol {
            Protocol::Smtp => vec![transaction.recipients],
            Protocol::Lmtp => transaction
                .recipients
                .into_iter()
                .map(|one| vec![one])
                .collect(),
        };
        if self.breaks_down() {
            self.break_down();
            // It may have it, and nobody is told.
            if self.random.below(2) == 0 {
                self.store(replies.concat(), transaction.reverse_path, content, None);
            }
            return false;
        }
        let mut recipients = Vec::new();
        for whose in replies {
            if self.is_refused() {
                self.refuse();
            } else {
                recipients.extend(whose);
                self.say("250 2.0.0 queued");
            }
        }
        let taken = !recipients.is_empty();
        if taken {
            let size = transaction.declared_size;
            self.store(recipients, transaction.reverse_path, content, size);
        }
        taken
    }

    fn store(
        &mut self,
        recipients: Vec<String>,
        reverse_path: String,
        content: Vec<u8>,
        declared_size: Option<u64>,
    ) {
        self.stored.push(Stored {
            reverse_path,
            recipients,
            content,
            declared_size,
        });
    }

    /// As Haraka does: each command that came in one flight with the message, 503.
    fn refuse_what_is_behind(&mut self) {
        while let Some(end) = self.input.iter().position(|&octet| octet == b'\n') {
            self.input.drain(..=end);
            self.say("503 5.5.1 not now");
        }
    }

    fn breaks_down(&mut self) -> bool {
        self.character.breakdowns > 0 && self.random.below(100) < self.character.breakdowns
    }

    fn break_down(&mut self) {
        match self.random.below(4) {
            0 => self.mode = Mode::Silent,
            1 => self.mode = Mode::Closed,
            last => {
                self.say(["** out of order **", "354 what more"][last - 2]);
                self.mode = Mode::Silent;
            }
        }
    }

    fn is_refused(&mut self) -> bool {
        self.random.below(100) < self.character.refusals
    }

    fn refuse(&mut self) {
        let refusals = [
            "450 4.2.1 not now",
            "452 full",
            "550 5.7.1 no",
            "552 no",
            "554-5.0.0 no\r\n554 5.0.0 never",
        ];
        let refusal = refusals[self.random.below(refusals.len())];
        self.say(refusal);
    }

    fn say(&mut self, lines: &str) {
        self.output.extend_from_slice(lines.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn complain(&mut self, problem: &str) {
        self.complaints.push(problem.to_owned());
        self.say("500 5.5.2 what");
    }
}

/// Among the offers, the mark of a server that takes nothing behind a message.
pub(crate) const NOTHING_BEHIND: &str = "X-NOTHING-BEHIND";

/// The path of `MAIL FROM:<path> …`: no space before the bracket.
fn path_of<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(start)?.strip_prefix('<')?;
    rest.split_once('>').map(|(path, _)| path)
}

/// The content up to the lone dot, dots undone, and how many octets that is on the wire. Lines end
/// at CRLF and at nothing else (RFC 5321 §4.5.2).
pub(crate) fn decode(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let end = at + wire[at..].windows(2).position(|pair| pair == b"\r\n")? + 2;
        let line = &wire[at..end];
        at = end;
        match line {
            b".\r\n" => return Some((content, at)),
            [b'.', rest @ ..] => content.extend_from_slice(rest),
            _ => content.extend_from_slice(line),
        }
    }
}

/// What a looser reader would take for the end of a message before its end: content as it
/// travelled, the lone dot included.
pub(crate) fn loose_end(region: &[u8]) -> Option<&'static str> {
    let ends_early = |mut lines: Box<dyn Iterator<Item = &[u8]> + '_>| {
        // What follows the lone dot of a proper end is the rest behind its last separator.
        lines.find(|line| *line == b".").is_some() && lines.any(|rest| !matches!(rest, b"" | b"\n"))
    };
    let by_lf = region.split(|&octet| octet == b'\n');
    let by_lf = by_lf.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let by_cr = region.split(|&octet| octet == b'\r');
    let by_cr = by_cr.map(|line| line.strip_prefix(b"\n").unwrap_or(line));
    if ends_early(Box::new(by_lf)) {
        return Some("the message ends early for a reader of bare LF");
    }
    if ends_early(Box::new(by_cr)) {
        return Some("the message ends early for a reader of bare CR");
    }
    let bare = region.iter().enumerate().any(|(at, octet)| match octet {
        b'\r' => region.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || region[at - 1] != b'\r',
        _ => false,
    });
    bare.then_some("a bare CR or LF in the content")
}

/// A small generator: the same numbers for the same seed on every machine (splitmix64).
#[derive(Clone, Debug)]
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
