//! What a client must not say, command by command.

use super::case::{Case, Encryption, Key, path, reply_length};
use super::ear::{Mode, canonical, unstuffed};
use super::forms::{extension_of, has_bare_newline, is_base64, is_host, offers};
use super::server::Conversation;
use crate::proto::Protocol;

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) rule: String,
    pub(crate) what: String,
}

/// A message that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Those for whom the server said that it has it.
    pub(crate) recipients: Vec<String>,
    /// Whether the server said anything.
    pub(crate) is_answered: bool,
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Ended,
    /// It waits for a reply.
    Silent,
}

/// The state of a dialogue, as a client has to know it.
pub(crate) struct Watch<'a> {
    case: &'a Case,
    channel: Channel,
    greeting: Vec<u8>,
    hello: Hello,
    offers: Vec<String>,
    login: Login,
    transaction: Option<Open>,
    /// What MAIL or RCPT named, until it is answered.
    named: String,
    parameters: Vec<String>,
    /// The last command had others behind it.
    group: Group,
    data_refused: bool,
    is_closing: bool,
    /// More replies were given than were due: whose fault it is that the client runs ahead.
    ahead: Option<&'static str>,
    line: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Clear,
    Tls,
}

#[derive(Clone, PartialEq, Eq)]
enum Hello {
    No,
    Refused(Vec<u8>),
    Yes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Login {
    No,
    /// For now.
    Deferred,
    Refused,
    In,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Alone,
    Within,
}

#[derive(Default)]
struct Open {
    parameters: Vec<String>,
    accepted: Vec<String>,
    chunks: Option<Vec<u8>>,
    is_broken: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(case: &'a Case) -> Self {
        Self {
            case,
            channel: match case.wants.encryption {
                Encryption::Tls => Channel::Tls,
                Encryption::None | Encryption::StartTls | Encryption::Opportunistic => {
                    Channel::Clear
                }
            },
            greeting: Vec::new(),
            hello: Hello::No,
            offers: Vec::new(),
            login: Login::No,
            transaction: None,
            named: String::new(),
            parameters: Vec::new(),
            group: Group::Alone,
            data_refused: false,
            is_closing: false,
            ahead: None,
            line: String::new(),
        }
    }

    /// The client spoke first.
    pub(crate) fn before_greeting(&self, octets: &[u8], talk: &mut Conversation) {
        if octets.first() != Some(&TLS_HANDSHAKE) {
            blame(talk, "R-5321-2", "it spoke before the greeting");
        }
    }

    /// Whether a handshake comes where a command is due; then there is no more to be understood.
    pub(crate) fn is_handshake(&self, octets: &[u8], talk: &mut Conversation) -> bool {
        let is_one = octets.first() == Some(&TLS_HANDSHAKE);
        if is_one && self.channel == Channel::Clear {
            let what = "it shakes hands, though no reply to STARTTLS was 220";
            blame(talk, "R-3207-2", what);
        }
        is_one
    }

    /// The client spoke while a reply was unfinished. Where that was asked for is another rule's matter.
    pub(crate) fn between_lines(&self, talk: &mut Conversation) {
        match self.ahead {
            Some(rule) => blame(talk, rule, "it did not wait for the end of a reply"),
            None if self.group == Group::Within => {}
            None => blame(
                talk,
                "R-5321-6",
                "it did not wait for the last line of a reply",
            ),
        }
    }

    /// The client went on in clear where a handshake had failed.
    pub(crate) fn behind_a_failure(&self, octets: &[u8], talk: &mut Conversation) {
        // A TLS record begins with its type.
        if !matches!(octets.first(), Some(0x14..=0x17)) {
            blame(
                talk,
                "R-3207-6",
                "it went on in clear behind a failed handshake",
            );
        }
    }

    pub(crate) fn tls(&mut self) {
        self.channel = Channel::Tls;
        self.hello = Hello::No;
        self.offers.clear();
        self.transaction = None;
    }

    /// Judges a command; `behind` is what came with it.
    pub(crate) fn command(
        &mut self,
        key: &Key,
        line: &[u8],
        behind: &[u8],
        talk: &mut Conversation,
    ) {
        self.line = String::from_utf8_lossy(line).trim_end().to_owned();
        self.form(key, line, talk);
        self.company(key, behind, talk);
        if self.is_closing && *key != Key::Quit && self.group == Group::Alone {
            self.complain(talk, "R-5321-18", "behind 421");
        }
        match key {
            Key::Ehlo | Key::Helo => self.hello(key, talk),
            Key::StartTls => self.start_tls(talk),
            Key::Auth => self.auth(talk),
            Key::Mail => self.mail(talk),
            Key::Rcpt(_) => self.rcpt(talk),
            Key::Data => self.data(talk),
            Key::Chunk => self.bdat(talk),
            Key::Quit => talk.said.quit += 1,
            Key::Other if self.data_refused && !self.knows_what_it_says() => {
                self.complain(talk, "R-5321-13", "the message follows a refused DATA:");
            }
            Key::Other if !self.knows_what_it_says() && !talk.taken.is_empty() => {
                let why = "the message ended before its end:";
                self.complain(talk, "R-5321-14", why);
            }
            Key::Other if !self.knows_what_it_says() => {
                self.complain(talk, "R-5321-1", "this is no command:");
            }
            Key::Greeting | Key::Response | Key::Content | Key::Rset | Key::Other => {}
        }
        self.group = match behind.is_empty() {
            true => Group::Alone,
            false => Group::Within,
        };
    }

    /// Whether the last command is one that every server knows.
    pub(crate) fn knows_what_it_says(&self) -> bool {
        let verb = self.line.split(' ').next().unwrap_or_default();
        ["NOOP", "VRFY", "EXPN", "HELP"]
            .iter()
            .any(|known| verb.eq_ignore_ascii_case(known))
    }

    /// Judges a response of SASL; whether it gives the exchange up.
    pub(crate) fn response(&self, line: &[u8], talk: &mut Conversation) -> bool {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n']);
        if text != "*" && !is_base64(text) {
            blame(talk, "R-4954-4", "a response is not in base64");
        }
        text == "*"
    }

    /// The server has answered.
    pub(crate) fn answered(&mut self, key: &Key, octets: &[u8]) {
        let code = octets.get(..3).unwrap_or_default();
        let is_positive = code.first() == Some(&b'2');
        self.is_closing |= code == b"421";
        let is_surplus = reply_length(octets).is_some_and(|length| length < octets.len());
        if is_surplus && self.case.wants.protocol == Protocol::Smtp && self.ahead.is_none() {
            self.ahead = Some(match key {
                Key::StartTls => "R-3207-3",
                _ => "R-5321-24",
            });
        }
        match key {
            Key::Greeting => self.greeting = code.to_vec(),
            Key::Ehlo | Key::Helo if is_positive => {
                self.hello = Hello::Yes;
                self.transaction = None;
                self.offers = match key {
                    Key::Ehlo => offers(octets),
                    _ => Vec::new(),
                };
            }
            Key::Ehlo | Key::Helo => self.hello = Hello::Refused(code.to_vec()),
            Key::Auth | Key::Response => match code {
                b"235" => self.login = Login::In,
                b"334" | b"504" | b"534" => {}
                [b'4', ..] => self.login = Login::Deferred,
                _ => self.login = Login::Refused,
            },
            Key::Mail if is_positive => {
                self.transaction = Some(Open {
                    parameters: std::mem::take(&mut self.parameters),
                    ..Open::default()
                });
            }
            Key::Rcpt(_) if is_positive => {
                if let Some(open) = &mut self.transaction {
                    open.accepted.push(std::mem::take(&mut self.named));
                }
            }
            Key::Data => self.data_refused = code != b"354",
            Key::Rset if is_positive => self.transaction = None,
            Key::StartTls
            | Key::Mail
            | Key::Rcpt(_)
            | Key::Content
            | Key::Chunk
            | Key::Rset
            | Key::Quit
            | Key::Other => {}
        }
    }

    /// How many recipients will answer for a message, where LMTP is spoken.
    pub(crate) fn accepted(&self) -> usize {
        self.transaction
            .as_ref()
            .map_or(0, |open| open.accepted.len())
    }

    /// Judges a message sent by DATA.
    pub(crate) fn content(&mut self, travelled: &[u8], answer: &[u8], talk: &mut Conversation) {
        let open = self.transaction.take().unwrap_or_default();
        let body = travelled.strip_suffix(b".\r\n").unwrap_or(travelled);
        if has_bare_newline(body) {
            blame(talk, "R-5321-15", "a bare CR or LF is in the content");
        }
        if body.iter().any(|octet| *octet >= 0x80) && !declares(&open, "BODY") {
            let rule = match declares(&open, "SMTPUTF8") {
                true => "R-6531-4",
                false => "R-6152-1",
            };
            blame(talk, rule, "octets beyond ASCII, and no BODY=8BITMIME");
        }
        if open.accepted.is_empty() && !body.is_empty() {
            let what = "a whole message behind 354, though no recipient was taken";
            blame(talk, "R-2920-5", what);
        }
        if !open.accepted.is_empty() {
            self.compare(&unstuffed(travelled), talk);
        }
        self.took(open.accepted, answer, talk);
    }

    pub(crate) fn chunk(&mut self, octets: &[u8], talk: &mut Conversation) {
        if let Some(open) = &mut self.transaction
            && !open.is_broken
        {
            open.chunks
                .get_or_insert_default()
                .extend_from_slice(octets);
        }
        if has_bare_newline(octets) {
            blame(talk, "R-3030-7", "a bare CR or LF is in a chunk");
        }
    }

    pub(crate) fn chunk_answered(&mut self, answer: &[u8], last: bool, talk: &mut Conversation) {
        let is_positive = answer.first() == Some(&b'2');
        if !last {
            if let Some(open) = &mut self.transaction {
                open.is_broken |= !is_positive;
            }
            return;
        }
        let Some(mut open) = self.transaction.take() else {
            return;
        };
        let accepted = std::mem::take(&mut open.accepted);
        let content = open.chunks.take().unwrap_or_default();
        if !accepted.is_empty() {
            self.compare(&content, talk);
        }
        self.took(accepted, answer, talk);
        if !is_positive {
            self.transaction = Some(Open {
                is_broken: true,
                ..open
            });
        }
    }

    /// Judges what was begun, and has no end. Whoever ends the connection may have given up.
    pub(crate) fn unfinished(&self, mode: Mode, begun: &[u8], why: Why, talk: &mut Conversation) {
        let lines = begun.strip_suffix(b"\r").unwrap_or(begun);
        match (mode, why) {
            (Mode::Content, _) if has_bare_newline(lines) => {
                let what = "a bare CR or LF is in the content, which has no end";
                blame(talk, "R-5321-15", what);
            }
            (_, Why::Ended) => {}
            (Mode::Content, Why::Silent) => {
                blame(
                    talk,
                    "R-5321-14",
                    "the message has no end: no CRLF, dot, CRLF",
                );
            }
            (Mode::Chunk(_), Why::Silent) => {
                blame(talk, "R-3030-1", "fewer octets came than were announced");
            }
            (Mode::Commands | Mode::Response, Why::Silent) if !begun.is_empty() => {
                blame(talk, "R-5321-1", "no CRLF ends the line");
            }
            (Mode::Commands | Mode::Response, Why::Silent) => {}
        }
    }

    fn form(&self, key: &Key, line: &[u8], talk: &mut Conversation) {
        let Some(text) = line.strip_suffix(b"\r\n") else {
            return self.complain(talk, "R-5321-1", "a bare LF ends");
        };
        if text.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
            self.complain(talk, "R-5321-1", "CR, LF or NUL is in");
        }
        if !text.is_ascii() && !self.offers("SMTPUTF8") {
            let rule = match key {
                Key::Mail | Key::Rcpt(_) => "R-6531-2",
                _ => "R-5321-1",
            };
            self.complain(talk, rule, "SMTPUTF8 is not on offer, and beyond ASCII is");
        }
        let (rule, limit) = match key {
            Key::Auth => ("R-4954-3", COMMAND_LIMIT),
            Key::Mail | Key::Rcpt(_) => ("R-5321-22", COMMAND_LIMIT + GROWTH),
            _ => ("R-5321-22", COMMAND_LIMIT),
        };
        if line.len() > limit {
            self.complain(talk, rule, &format!("{} octets are in", line.len()));
        }
    }

    fn company(&self, key: &Key, behind: &[u8], talk: &mut Conversation) {
        let is_strange = *key == Key::Other && !self.knows_what_it_says();
        if behind.is_empty() || *key == Key::Chunk || is_strange {
            return;
        }
        talk.said.groups += 1;
        let ends_group = match key {
            Key::Ehlo
            | Key::Helo
            | Key::StartTls
            | Key::Auth
            | Key::Data
            | Key::Quit
            | Key::Other => true,
            Key::Greeting
            | Key::Response
            | Key::Mail
            | Key::Rcpt(_)
            | Key::Content
            | Key::Chunk
            | Key::Rset => false,
        };
        let (rule, why) = if ends_group {
            ("R-2920-2", "more stood in one group behind")
        } else if !self.offers("PIPELINING") {
            (
                "R-2920-1",
                "PIPELINING is not on offer, and more came behind",
            )
        } else {
            return;
        };
        match self.ahead {
            // Only whoever believed a forged reply goes on before the true one.
            Some(rule) => self.complain(talk, rule, "it did not wait for the reply to"),
            None => self.complain(talk, rule, why),
        }
    }

    fn hello(&self, key: &Key, talk: &mut Conversation) {
        let (verb, name) = self.line.split_once(' ').unwrap_or((&self.line, ""));
        let lmtp = self.case.wants.protocol == Protocol::Lmtp;
        if lmtp != verb.eq_ignore_ascii_case("LHLO") {
            self.complain(talk, "R-2033-1", "another protocol's");
        }
        if !is_host(name) {
            self.complain(
                talk,
                "R-5321-4",
                "neither a domain nor an address literal is in",
            );
        }
        if *key == Key::Ehlo {
            return;
        }
        match &self.hello {
            Hello::No => self.complain(talk, "R-5321-3", "EHLO was not tried before"),
            Hello::Refused(code) if code == b"421" => {
                self.complain(talk, "R-5321-3", "behind 421");
            }
            Hello::Refused(_) | Hello::Yes => {}
        }
    }

    fn start_tls(&self, talk: &mut Conversation) {
        if self.channel == Channel::Tls {
            return self.complain(talk, "R-3207-7", "within TLS");
        }
        if !self.offers("STARTTLS") {
            self.complain(talk, "R-3207-1", "it is not on offer:");
        }
        if self.line.contains(' ') {
            self.complain(talk, "R-3207-1", "an argument is in");
        }
    }

    fn auth(&self, talk: &mut Conversation) {
        let mut words = self.line.split(' ').skip(1);
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let shown = format!("AUTH {mechanism}");
        let listed = self.offers.iter().any(|offer| {
            let mut words = offer.split([' ', '=']);
            words.next() == Some("AUTH") && words.any(|word| word == mechanism)
        });
        let blame =
            |talk: &mut Conversation, rule, why| blame(talk, rule, &format!("{why} {shown}"));
        if !listed {
            blame(talk, "R-4954-1", "it is not on offer:");
        }
        if self.transaction.is_some() || self.login == Login::In {
            blame(talk, "R-4954-1", "out of place:");
        }
        if self.login == Login::Refused {
            blame(talk, "R-4954-11", "another attempt with what was refused:");
        }
        if words
            .next()
            .is_some_and(|initial| initial != "=" && !is_base64(initial))
        {
            blame(talk, "R-4954-2", "the initial response is not base64:");
        }
        let tells = ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"].contains(&mechanism.as_str());
        if self.channel == Channel::Clear && tells {
            let rule = match self.case.wants.encryption {
                Encryption::StartTls => "R-3207-2",
                Encryption::None | Encryption::Tls | Encryption::Opportunistic => "R-8314-2",
            };
            blame(talk, rule, "the secret is readable on the way:");
        }
    }

    fn mail(&mut self, talk: &mut Conversation) {
        if matches!(self.greeting.first(), Some(b'4' | b'5')) {
            self.complain(talk, "R-5321-2", "the greeting was a refusal:");
        }
        match &self.hello {
            Hello::Yes => {}
            Hello::No if self.channel == Channel::Tls => {
                self.complain(talk, "R-3207-4", "EHLO does not come first:");
            }
            // Neither accepted nor refused: it is how the code is read that is wrong then.
            Hello::Refused(code) if code.first() == Some(&b'3') => {}
            Hello::No | Hello::Refused(_) => {
                self.complain(talk, "R-5321-3", "EHLO does not come first:");
            }
        }
        if self.channel == Channel::Clear && self.case.wants.encryption == Encryption::StartTls {
            self.complain(talk, "R-3207-2", "TLS is demanded, and in clear goes");
        }
        if matches!(self.login, Login::Refused | Login::Deferred) {
            self.complain(talk, "R-4954-7", "the log-in was refused:");
        }
        match &self.transaction {
            Some(open) if open.is_broken && self.group == Group::Alone => {
                self.complain(talk, "R-3030-4", "no RSET behind a refused chunk:");
            }
            Some(_) => self.complain(talk, "R-5321-10", "within a transaction:"),
            None => {}
        }
        self.path("MAIL FROM:<", talk);
    }

    fn rcpt(&mut self, talk: &mut Conversation) {
        if self.transaction.is_none() && self.group == Group::Alone {
            self.complain(talk, "R-5321-10", "no MAIL was accepted before");
        }
        self.path("RCPT TO:<", talk);
    }

    fn data(&self, talk: &mut Conversation) {
        match &self.transaction {
            Some(open) if open.chunks.is_some() => {
                self.complain(talk, "R-3030-3", "chunks came before");
            }
            Some(open) if open.accepted.is_empty() && self.group == Group::Alone => {
                self.complain(talk, "R-5321-17", "no recipient was taken before");
            }
            None if self.group == Group::Alone => {
                self.complain(talk, "R-5321-10", "no MAIL was accepted before");
            }
            Some(_) | None => {}
        }
    }

    fn bdat(&self, talk: &mut Conversation) {
        if !self.offers("CHUNKING") {
            self.complain(talk, "R-3030-1", "it is not on offer:");
        }
        let words: Vec<_> = self.line.split(' ').collect();
        let digits = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        match words.as_slice() {
            [_, "0"] => self.complain(talk, "R-3030-6", "an empty chunk that is not the last:"),
            [_, size] if digits(size) => {}
            [_, size, last] if digits(size) && last.eq_ignore_ascii_case("LAST") => {}
            _ => self.complain(talk, "R-3030-1", "malformed:"),
        }
    }

    /// The path and the parameters of MAIL and RCPT.
    fn path(&mut self, start: &str, talk: &mut Conversation) {
        let found = self.line.get(..start.len());
        if !found.is_some_and(|found| found.eq_ignore_ascii_case(start)) {
            return self.complain(talk, "R-5321-11", "malformed:");
        }
        let path = path(&self.line).unwrap_or_default().to_owned();
        if path.starts_with('@') {
            self.complain(talk, "R-5321-11", "a source route is in");
        }
        let behind = self.line.rsplit_once('>').map_or("", |(_, rest)| rest);
        let parameters: Vec<String> = behind.split(' ').skip(1).map(str::to_owned).collect();
        for (place, parameter) in parameters.iter().enumerate() {
            let (keyword, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let keyword = keyword.to_ascii_uppercase();
            let same = |other: &&String| other.split('=').next() == parameter.split('=').next();
            if parameters[..place].iter().any(|other| same(&other)) {
                self.complain(talk, "R-5321-12", "a parameter is there twice in");
            }
            let (offer, rule) = extension_of(&keyword, value);
            if offer.is_some_and(|offer| !self.offers(offer)) {
                let why = format!("{keyword} is not on offer, and is in");
                self.complain(talk, rule, &why);
            }
            let is_number = value.len() <= 20 && value.bytes().all(|b| b.is_ascii_digit());
            if keyword == "SIZE" && (value.is_empty() || !is_number) {
                self.complain(talk, "R-1870-1", "SIZE is no number in");
            }
        }
        self.named = path;
        self.parameters = parameters;
    }

    /// Whether what arrived is what was to be sent.
    fn compare(&self, arrived: &[u8], talk: &mut Conversation) {
        let meant = &self.case.wants.message;
        let travels = canonical(meant);
        // Where it cannot travel as it is, what becomes of it is the client's choice.
        let as_it_is = !has_bare_newline(meant);
        let is_eight_bit = !meant.is_ascii() && !self.offers("8BITMIME");
        if arrived.ends_with(&travels) || !as_it_is || is_eight_bit || meant.contains(&0) {
            return;
        }
        let what = match arrived.strip_suffix(b"\r\n") {
            Some(shorter) if shorter.ends_with(&travels) => {
                "a line was added to the end of the message"
            }
            Some(_) | None => "the message is another than was to be sent",
        };
        blame(talk, "R-5321-14", what);
    }

    fn took(&self, accepted: Vec<String>, answer: &[u8], talk: &mut Conversation) {
        let replies = answer
            .split_inclusive(|octet| *octet == b'\n')
            .filter(|line| line.get(3) != Some(&b'-'));
        let mut codes: Vec<_> = replies.map(|line| line.first() == Some(&b'2')).collect();
        let is_answered = !codes.is_empty();
        if self.case.wants.protocol == Protocol::Smtp {
            let first = codes.first().copied().unwrap_or(false);
            codes = vec![first; accepted.len()];
        }
        let has_it = accepted.into_iter().zip(codes);
        talk.taken.push(Taken {
            recipients: has_it
                .filter(|(_, yes)| *yes)
                .map(|(name, _)| name)
                .collect(),
            is_answered,
        });
    }

    fn offers(&self, keyword: &str) -> bool {
        self.offers
            .iter()
            .any(|offer| offer.split([' ', '=']).next() == Some(keyword))
    }

    fn complain(&self, talk: &mut Conversation, rule: &str, why: &str) {
        let line: String = self
            .line
            .chars()
            .filter(|c| !c.is_control())
            .take(120)
            .collect();
        blame(talk, rule, &format!("{why} {line}"));
    }
}

/// Notes a breach, and shows it in its place.
pub(crate) fn blame(talk: &mut Conversation, rule: &str, what: &str) {
    talk.lines.push(format!("!! {rule}: {what}"));
    talk.breaches.push(Breach {
        rule: rule.to_owned(),
        what: what.to_owned(),
    });
}

fn declares(open: &Open, keyword: &str) -> bool {
    open.parameters.iter().any(|parameter| {
        let found = parameter.split('=').next().unwrap_or_default();
        found.eq_ignore_ascii_case(keyword) && !parameter.to_ascii_uppercase().ends_with("7BIT")
    })
}

/// The first octet of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// RFC 5321 §4.5.3.1.4.
const COMMAND_LIMIT: usize = 512;
/// At least what SIZE, 8BITMIME, DSN and SMTPUTF8 together add to MAIL and RCPT.
const GROWTH: usize = 700;
