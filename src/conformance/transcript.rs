//! Reads transcripts: what they want, and the answers that they have.

use std::collections::VecDeque;

use super::case::{
    Answer, Case, Encryption, Expected, Handshake, Inside, Key, Played, Script, Then, Turn, Wants,
    reply_length,
};
use super::ear::{Ear, Heard, Mode};
use super::files::{MESSAGES, TRANSCRIPTS};
use crate::proto::Protocol;

/// All transcripts.
pub(crate) fn all() -> impl Iterator<Item = Played> {
    TRANSCRIPTS.iter().map(|(name, text)| read(name, text))
}

fn read(name: &'static str, text: &'static str) -> Played {
    let rules = cited(text);
    let mut rules = rules;
    let mut reader = Reader::new(text);
    if let Some(about) = reader
        .outside
        .and_then(|words| words.strip_prefix("about "))
    {
        // A breach is one of this rule.
        rules.sort_by_key(|rule| rule != about);
    }
    let purpose = text.lines().next().unwrap_or_default();
    match text.lines().try_for_each(|line| reader.line(line)) {
        Ok(()) => {}
        Err(reason) => {
            return Played::Inside(Inside {
                name,
                rules,
                reason,
            });
        }
    }
    let expected = reader.expected();
    let (Some(mut wants), expected) = (reader.wants, expected) else {
        let reason = "it has no settings".into();
        return Played::Inside(Inside {
            name,
            rules,
            reason,
        });
    };
    let expected = match expected {
        Ok(expected) => expected,
        Err(reason) => {
            return Played::Inside(Inside {
                name,
                rules,
                reason,
            });
        }
    };
    if wants.to.is_empty() {
        wants.from = "a@example.com".into();
        wants.to = vec!["b@example.org".into()];
        wants.message = b"Subject: Hello\r\n\r\nHello.\r\n".to_vec();
    }
    Played::Outside(Box::new(Case {
        name,
        purpose: purpose.trim_start_matches("# "),
        rules,
        wants,
        script: Script::of(reader.turns, reader.handshake),
        expected,
    }))
}

fn cited(text: &str) -> Vec<String> {
    let comments = text.lines().take_while(|line| line.starts_with('#'));
    let words = comments.flat_map(|line| line.split(|c: char| !(c.is_alphanumeric() || c == '-')));
    let mut rules: Vec<String> = Vec::new();
    for word in words.filter(|word| word.starts_with("R-")) {
        if !rules.iter().any(|rule| rule == word) {
            rules.push(word.to_owned());
        }
    }
    rules
}

struct Reader {
    /// What the comment says about judging from outside.
    outside: Option<&'static str>,
    wants: Option<Wants>,
    submits: usize,
    ear: Ear,
    /// Commands that are not answered.
    pending: VecDeque<Pending>,
    turns: Vec<Turn>,
    handshake: Handshake,
    accepted: usize,
    verdicts: Option<String>,
    is_ready: bool,
    closed: Option<String>,
}

/// A command that is not answered.
struct Pending {
    key: Key,
    /// Of AUTH: the mechanism, and whether there was an initial response.
    auth: Option<(String, bool)>,
    /// The line, where it belongs to a log-in.
    said: String,
}

impl Pending {
    fn of(key: Key) -> Self {
        Self {
            key,
            auth: None,
            said: String::new(),
        }
    }
}

impl Reader {
    fn new(text: &'static str) -> Self {
        let comments = text.lines().take_while(|line| line.starts_with('#'));
        Self {
            outside: comments
                .filter_map(|line| line.strip_prefix("# outside: "))
                .next(),
            wants: None,
            submits: 0,
            ear: Ear::new(),
            pending: VecDeque::from([Pending::of(Key::Greeting)]),
            turns: Vec::new(),
            handshake: Handshake::Good,
            accepted: 0,
            verdicts: None,
            is_ready: false,
            closed: None,
        }
    }

    /// Reads one line; an error is the reason why the transcript stays inside.
    fn line(&mut self, line: &'static str) -> Result<(), String> {
        if line.trim().is_empty() {
            return Ok(());
        }
        if line.starts_with('#') {
            return match self.outside.and_then(|words| words.strip_prefix("no, ")) {
                Some(reason) => Err(reason.into()),
                None => Ok(()),
            };
        }
        if let Some(octets) = spoken(line, 'C')? {
            self.ear.push(&octets);
            while let Some(heard) = self.ear.next() {
                self.heard(heard)?;
            }
            return Ok(());
        }
        if let Some(octets) = spoken(line, 'S')? {
            self.said(&octets);
            return Ok(());
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match verb {
            "config" => self.wants = Some(wants(&words(rest)?)?),
            "submit" => self.submit(&words(rest)?)?,
            "event" => self.event(rest),
            "quit" => {}
            "tls" if rest.is_empty() => {}
            "tls" => return Err("the TLS session is the engine's own".into()),
            "eof" => self.close(),
            "failed" => match rest {
                "lost" => self.close(),
                "certificate" => self.handshake(Handshake::Stranger),
                "tls" => self.handshake(Handshake::Noise),
                _ => return Err("the transport fails in a way of its own".into()),
            },
            "wait" => return Err("it takes minutes".into()),
            "cancel" => return Err("the caller changes its mind".into()),
            "hold" | "release" => return Err("the transport is held".into()),
            "probe" => return Err("nothing is sent".into()),
            "credentials" => return Err("the caller is asked for credentials".into()),
            _ => return Err("the message comes in pieces".into()),
        }
        Ok(())
    }

    fn submit(&mut self, words: &[(String, String)]) -> Result<(), String> {
        self.submits += 1;
        if self.submits > 1 {
            return Err("several messages go over one connection".into());
        }
        let wants = self.wants.as_mut().ok_or("it has no settings")?;
        let mut times = 1;
        let mut body = None;
        for (key, value) in words {
            match key.as_str() {
                "from" => wants.from = value.trim_matches(['<', '>']).into(),
                "to" => wants.to.push(value.trim_matches(['<', '>']).into()),
                "body" => body = Some(value.clone()),
                "times" => times = value.parse().map_err(|_| "a malformed count")?,
                "newlines" => {}
                "all-or-nothing" => return Err("all recipients or none are asked for".into()),
                _ => return Err("parameters are asked for".into()),
            }
        }
        if wants.from.is_empty() {
            return Err("the reverse-path is null".into());
        }
        let body = body.ok_or("there is no body")?;
        let file = MESSAGES.iter().find(|(name, _)| *name == body);
        wants.message = match file {
            Some((_, octets)) => octets.to_vec(),
            None if body == "streamed" => return Err("the message comes in pieces".into()),
            None => unescaped(&body)?.repeat(times),
        };
        Ok(())
    }

    fn event(&mut self, words: &str) {
        if let Some(verdicts) = words.strip_prefix("finished 0 ") {
            self.verdicts = Some(verdicts.into());
        } else if words.starts_with("ready") {
            self.is_ready = true;
        } else if let Some(end) = words.strip_prefix("closed ") {
            self.closed = Some(end.into());
        }
    }

    fn expected(&self) -> Result<Expected, String> {
        if self.outside == Some("commands alone") {
            return Ok(Expected::Open);
        }
        if self.submits == 0 {
            return match &self.closed {
                Some(end) if end == "ok" => Err("the caller says QUIT and sends nothing".into()),
                Some(_) if self.is_ready => Err("the session is idle".into()),
                Some(_) => Ok(Expected::Failed),
                None if self.is_ready => Ok(Expected::Accepted),
                None => Ok(Expected::Open),
            };
        }
        let Some(verdicts) = &self.verdicts else {
            return Ok(match self.closed {
                Some(_) => Expected::Failed,
                None => Expected::Open,
            });
        };
        let mut verdicts = verdicts.split(", ").peekable();
        let accepted = |verdict: &str| verdict.starts_with("accepted");
        let all = verdicts.clone().all(accepted);
        Ok(match (all, verdicts.any(accepted)) {
            (true, _) => Expected::Accepted,
            (false, true) => Expected::Partial,
            (false, false) => Expected::Failed,
        })
    }

    /// Notes a command of the transcript's client as one to be answered.
    fn heard(&mut self, heard: Heard) -> Result<(), String> {
        let line = match heard {
            Heard::Line(line) => line,
            Heard::Response(line) => {
                self.pending.push_back(Pending {
                    said: String::from_utf8_lossy(&line).trim_end().to_owned(),
                    ..Pending::of(Key::Response)
                });
                return Ok(());
            }
            Heard::Content(_) => {
                self.pending.push_back(Pending::of(Key::Content));
                return Ok(());
            }
            // Its answer is due since its command.
            Heard::Chunk(_) => return Ok(()),
        };
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let key = Key::of(&text);
        let mut words = text.split(' ').skip(1);
        let auth = (key == Key::Auth).then(|| {
            let mechanism = words.next().unwrap_or_default().to_owned();
            (mechanism, words.next().is_some())
        });
        if auth
            .as_ref()
            .is_some_and(|(name, _)| name.ends_with("-PLUS"))
        {
            return Err("the exchange is bound to the engine's own TLS session".into());
        }
        if key == Key::Chunk
            && let Some(length) = text.split(' ').nth(1).and_then(|size| size.parse().ok())
        {
            self.ear.mode = Mode::Chunk(length);
        }
        let said = match key {
            Key::Auth => text,
            _ => String::new(),
        };
        self.pending.push_back(Pending { key, auth, said });
        Ok(())
    }

    /// Gives the server's octets to the commands that wait for them, one reply each.
    fn said(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            let length = match self.pending.len() {
                0 => rest.len(),
                _ => reply_length(rest).unwrap_or(rest.len()),
            };
            let (reply, tail) = rest.split_at(length);
            rest = tail;
            match self.pending.pop_front() {
                Some(pending) => self.answered(pending, reply),
                None => {
                    if let Some(turn) = self.turns.last_mut() {
                        turn.answer.octets.extend_from_slice(reply);
                    }
                }
            }
        }
    }

    fn answered(&mut self, pending: Pending, reply: &[u8]) {
        // A reply in pieces goes on where it began.
        if let Some(last) = self.turns.last_mut()
            && reply_length(&last.answer.octets).is_none()
            && last.answer.then == Then::Go
        {
            last.answer.octets.extend_from_slice(reply);
            self.pending.push_front(pending);
            return;
        }
        let Pending { key, auth, said } = pending;
        let code = reply.get(..3).unwrap_or_default();
        let mut then = Then::Go;
        match (&key, code) {
            (Key::Data, b"354") => self.ear.mode = Mode::Content,
            (Key::Auth | Key::Response, b"334") => self.ear.mode = Mode::Response,
            (Key::StartTls, b"220") => then = Then::Tls(Handshake::Good),
            (Key::Rcpt(_), [b'2', ..]) => self.accepted += 1,
            (
                Key::Greeting
                | Key::Ehlo
                | Key::Helo
                | Key::StartTls
                | Key::Auth
                | Key::Response
                | Key::Mail
                | Key::Rcpt(_)
                | Key::Data
                | Key::Content
                | Key::Chunk
                | Key::Rset
                | Key::Quit
                | Key::Other,
                _,
            ) => {}
        }
        let of_lmtp = self
            .wants
            .as_ref()
            .is_some_and(|wants| wants.protocol == Protocol::Lmtp);
        if of_lmtp && key == Key::Content {
            for _ in 1..self.accepted {
                self.pending.push_front(Pending::of(Key::Other));
            }
            self.accepted = 0;
        }
        if key == Key::Other
            && of_lmtp
            && let Some(last) = self.turns.last_mut()
        {
            last.answer.octets.extend_from_slice(reply);
            return;
        }
        self.turns.push(Turn {
            key,
            auth,
            answer: Answer {
                octets: reply.to_vec(),
                to: said,
                then,
                mark: false,
            },
        });
    }

    fn close(&mut self) {
        match self.pending.pop_front() {
            // Behind some of the replies to a message of LMTP.
            Some(Pending {
                key: Key::Other, ..
            })
            | None => {
                if let Some(last) = self.turns.last_mut() {
                    last.answer.then = Then::Close;
                }
            }
            Some(Pending { key, auth, said }) => self.turns.push(Turn {
                key,
                auth,
                answer: Answer {
                    to: said,
                    then: Then::Close,
                    ..Answer::default()
                },
            }),
        }
    }

    fn handshake(&mut self, handshake: Handshake) {
        self.handshake = match self.outside {
            Some("certificate of another name") => Handshake::OtherName,
            Some(_) | None => handshake,
        };
        if let Some(last) = self.turns.last_mut() {
            last.answer.then = Then::Tls(self.handshake);
        }
    }
}

fn wants(words: &[(String, String)]) -> Result<Wants, String> {
    let mut wants = Wants {
        encryption: Encryption::StartTls,
        protocol: Protocol::Smtp,
        user: None,
        password: None,
        token: None,
        mechanisms: None,
        from: String::new(),
        to: Vec::new(),
        message: Vec::new(),
    };
    for (key, value) in words {
        match (key.as_str(), value.as_str()) {
            ("security", "implicit") => wants.encryption = Encryption::Tls,
            ("security", "starttls") => wants.encryption = Encryption::StartTls,
            ("security", "opportunistic") => wants.encryption = Encryption::Opportunistic,
            ("security", "plaintext") => wants.encryption = Encryption::None,
            ("protocol", "lmtp") => wants.protocol = Protocol::Lmtp,
            ("username", name) => wants.user = Some(name.into()),
            ("password", word) => wants.password = Some(word.into()),
            ("token", word) => wants.token = Some(word.into()),
            ("mechanisms", list) => wants.mechanisms = Some(list.into()),
            ("hello" | "local" | "initial-response", _) => {}
            ("reply-line" | "reply", _) => return Err("limits are asked for".into()),
            _ => return Err(format!("the engine is set to {key}={value}")),
        }
    }
    Ok(wants)
}

/// `key=value` words; a value in double quotes may hold spaces.
fn words(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mut in_quotes = false;
        let mut escaped = false;
        let end = rest.find(|c: char| {
            match c {
                '"' if !escaped => in_quotes = !in_quotes,
                ' ' if !in_quotes => return true,
                _ => {}
            }
            escaped = c == '\\' && !escaped;
            false
        });
        let (word, tail) = rest.split_at(end.unwrap_or(rest.len()));
        rest = tail.trim_start();
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let quoted = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        let value = match (quoted, key) {
            // Its escapes stand for octets.
            (Some(value), "body") => value.to_owned(),
            (Some(value), _) => String::from_utf8(unescaped(value)?)
                .map_err(|_| "a word that is no text".to_owned())?,
            (None, _) => value.to_owned(),
        };
        words.push((key.to_owned(), value));
    }
    Ok(words)
}

/// The octets of a `C` or `S` line; `None` for any other.
fn spoken(line: &str, who: char) -> Result<Option<Vec<u8>>, String> {
    let Some(rest) = line.strip_prefix(who) else {
        return Ok(None);
    };
    let mut chars = rest.chars();
    let kind = chars.next();
    let text = chars.as_str();
    let text = text.strip_prefix(' ').unwrap_or(text);
    let file = |name: &str| {
        let found = MESSAGES.iter().find(|(known, _)| *known == name);
        found.map_or(&b""[..], |(_, octets)| octets)
    };
    Ok(match kind {
        Some(':') => Some([text.as_bytes(), b"\r\n"].concat()),
        Some('|') => Some(unescaped(text)?),
        Some('*') => {
            let (count, text) = text.split_once(' ').ok_or("a count is missing")?;
            let count = count.parse().map_err(|_| "a malformed count")?;
            Some(unescaped(text)?.repeat(count))
        }
        // What is in it does not matter here, where it ends does.
        Some('=') => Some(b"content\r\n".to_vec()),
        Some('~') => Some(file(text.trim()).to_vec()),
        _ => None,
    })
}

/// `\r \n \t \0 \" \\ \xNN` undone.
fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'\\' => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(b'x') => {
                    let digits: Vec<u8> = rest.by_ref().take(2).collect();
                    let digits = str::from_utf8(&digits).unwrap_or_default();
                    u8::from_str_radix(digits, 16).map_err(|_| "a malformed escape")?
                }
                Some(other) => other,
                None => return Err("a malformed escape".into()),
            },
            octet => octet,
        });
    }
    Ok(octets)
}
