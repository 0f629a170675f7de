//! `config`, `submit` and `probe` lines: words of the form `key=value`.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ehlo::proto::{
    BehindMessage, Chunking, Config, Context, InitialResponse, Login, MechanismName, Pipelining,
    PlaintextAuth, Protocol, SmtpUtf8, Timeouts, Unadvertised,
};
use ehlo::{
    BareNewlines, Body, Commitment, Content, Credentials, Encoding, Envelope, Mailbox, Params,
    Recipient, ReversePath, Security, Streamed, Weight,
};

use super::escape;
use super::parse::testdata;

/// What the `config` line says.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) local: Option<IpAddr>,
    /// What the masked dialogue must never hold.
    pub(crate) secrets: Vec<String>,
}

impl Settings {
    pub(crate) fn parse(words: &[Word]) -> Result<Self, String> {
        let mut config = Config::new(Security::Plaintext);
        let mut local = None;
        let mut secrets = Vec::new();
        let mut username = None;
        let mut timeout = None;
        for word in words {
            let value = word.value.as_str();
            match word.key.as_str() {
                "security" => config.security = security(value)?,
                "hello" => config.hello = Some(value.parse().map_err(show)?),
                "local" => local = Some(value.parse().map_err(show)?),
                "username" => username = Some(value.to_owned()),
                "password" => {
                    let username: String = username.take().ok_or("password= without username=")?;
                    secrets = forms_of_a_secret(&username, value);
                    config.login =
                        Login::With(Credentials::password(username, value).map_err(show)?);
                }
                "token" => {
                    let username: String = username.take().ok_or("token= without username=")?;
                    secrets = forms_of_a_secret(&username, value);
                    config.login = Login::With(Credentials::token(username, value).map_err(show)?);
                }
                "external" => {
                    config.login = Login::With(Credentials::external(value).map_err(show)?);
                }
                "login" if value == "ask" => config.login = Login::Ask,
                "mechanisms" => config.mechanisms = mechanisms(value)?,
                "plaintext-auth" if value == "allow" => {
                    config.plaintext_auth = PlaintextAuth::Allow;
                }
                "initial-response" => {
                    config.initial_response = match value {
                        "always" => InitialResponse::Always,
                        "never" => InitialResponse::Never,
                        _ => return Err(format!("initial-response={value}")),
                    };
                }
                "pipelining" => config.pipelining = pipelining(value)?,
                "chunking" if value == "off" => config.chunking = Chunking::Off,
                "protocol" if value == "lmtp" => config.protocol = Protocol::Lmtp,
                "behind-message" if value == "wait" => config.behind_message = BehindMessage::Wait,
                "smtputf8" => {
                    config.smtputf8 = match value {
                        "always" => SmtpUtf8::Always,
                        "never" => SmtpUtf8::Never,
                        _ => return Err(format!("smtputf8={value}")),
                    };
                }
                "unadvertised" if value == "send" => config.unadvertised = Unadvertised::Send,
                "timeout" => timeout = Some(duration(value)?),
                "reply-line" => config.limits.reply_line = number(value)?,
                "reply" => config.limits.reply = number(value)?,
                "scram-iterations" => {
                    config.limits.scram_iterations = value.parse().map_err(show)?;
                }
                key => return Err(format!("unknown setting {key}={value}")),
            }
        }
        if let Some(longest) = timeout {
            config.timeouts = Timeouts::default().capped(longest);
        }
        Ok(Self {
            config,
            local,
            secrets,
        })
    }

    pub(crate) fn context(&self) -> Context {
        Context::new(self.local, [7; 32])
    }
}

/// What a `submit` or `probe` line says.
#[derive(Clone)]
pub(crate) struct Submission {
    pub(crate) envelope: Envelope,
    pub(crate) body: Option<Body>,
}

impl Submission {
    pub(crate) fn parse(words: &[Word]) -> Result<Self, String> {
        let mut reverse_path = ReversePath::Null;
        let mut recipients: Vec<(Mailbox, Params)> = Vec::new();
        let mut params = Params::new();
        let mut commitment = Commitment::Each;
        let mut body = None;
        let mut streamed = Streamed::default();
        let mut newlines = BareNewlines::Reject;
        let mut kind = Kind::Text;
        let mut times = 1;
        for word in words {
            let value = word.value.as_str();
            match word.key.as_str() {
                "from" => reverse_path = path(value)?.parse().map_err(show)?,
                "to" => recipients.push((path(value)?.parse().map_err(show)?, Params::new())),
                "mail-param" => params = with_param(params, value)?,
                "rcpt-param" => {
                    let last = recipients.last_mut().ok_or("rcpt-param= before to=")?;
                    last.1 = with_param(std::mem::take(&mut last.1), value)?;
                }
                "mail-wish" => params = with_wish(params, value)?,
                "rcpt-wish" => {
                    let last = recipients.last_mut().ok_or("rcpt-wish= before to=")?;
                    last.1 = with_wish(std::mem::take(&mut last.1), value)?;
                }
                "body" => body = Some(word.clone()),
                "size" => streamed.size = Some(number(value)? as u64),
                "encoding" => {
                    streamed.encoding = match value {
                        "7bit" => Encoding::SevenBit,
                        "8bit" => Encoding::EightBit,
                        "text-with-nul" => Encoding::TextWithNul,
                        "binary" => Encoding::Binary,
                        _ => return Err(format!("encoding={value}")),
                    };
                }
                "newlines" if value == "normalise" => newlines = BareNewlines::Normalise,
                "binary" => kind = Kind::Binary,
                "times" => times = number(value)?,
                "all-or-nothing" => commitment = Commitment::AllOrNothing,
                "utf8-headers" => streamed.utf8_headers = true,
                key => return Err(format!("unknown word {key}={value}")),
            }
        }
        let recipients = recipients
            .into_iter()
            .map(|(mailbox, params)| Recipient::new(mailbox).with_params(params));
        let envelope = Envelope::new(reverse_path, recipients)
            .with_params(params)
            .with_commitment(commitment);
        let body = match body {
            None => None,
            Some(word) if !word.quoted && word.value == "streamed" => {
                Some(Body::Streamed(streamed.with_newlines(newlines)))
            }
            Some(word) => {
                let octets = if word.quoted {
                    escape::decode(&word.value)?.repeat(times)
                } else {
                    testdata(&word.value)?
                };
                let content = match kind {
                    Kind::Text => Content::check(Bytes::from(octets), newlines).map_err(show)?,
                    Kind::Binary => Content::binary(octets),
                };
                Some(Body::Whole(match streamed.utf8_headers {
                    true => content.with_utf8_headers(),
                    false => content,
                }))
            }
        };
        Ok(Self { envelope, body })
    }
}

/// Whether the line ends of a message in memory mean anything.
enum Kind {
    Text,
    Binary,
}

/// A `key=value` word; the value may be in double quotes, and then keeps its escapes.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) quoted: bool,
}

impl Word {
    /// The words of a line.
    pub(crate) fn split(line: &str) -> Result<Vec<Self>, String> {
        let mut words = Vec::new();
        let mut rest = line.trim();
        while !rest.is_empty() {
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            let key = rest[..end].to_owned();
            rest = &rest[end..];
            let (value, quoted) = match rest.strip_prefix('=') {
                None => (String::new(), false),
                Some(tail) if tail.starts_with('"') => {
                    let end = closing_quote(tail).ok_or("a quote that is not closed")?;
                    rest = &tail[end + 1..];
                    (tail[1..end].to_owned(), true)
                }
                Some(tail) => {
                    let end = tail.find(' ').unwrap_or(tail.len());
                    rest = &tail[end..];
                    (tail[..end].to_owned(), false)
                }
            };
            words.push(Self { key, value, quoted });
            rest = rest.trim_start();
        }
        Ok(words)
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let octets = text.as_bytes();
    let mut at = 1;
    while at < octets.len() {
        match octets[at] {
            b'\\' => at += 2,
            b'"' => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// `credentials none`, `credentials username=… password=…` or `credentials username=… token=…`.
pub(crate) fn credentials(line: &str) -> Result<Option<Credentials>, String> {
    if line.trim() == "none" {
        return Ok(None);
    }
    let words = Word::split(line)?;
    let find = |key: &str| {
        let word = words.iter().find(|word| word.key == key);
        word.map(|word| word.value.clone())
            .ok_or(format!("{key}= is missing"))
    };
    let username = find("username")?;
    match find("token") {
        Ok(token) => Credentials::token(username, token),
        Err(_) => Credentials::password(username, find("password")?),
    }
    .map(Some)
    .map_err(show)
}

/// The forms in which a password travels, and itself unless it is a common word.
fn forms_of_a_secret(username: &str, password: &str) -> Vec<String> {
    let plain = format!("\0{username}\0{password}");
    let mut forms = vec![
        BASE64_STANDARD.encode(plain),
        BASE64_STANDARD.encode(password),
    ];
    if password != "password" {
        forms.push(password.to_owned());
    }
    forms
}

/// A number of seconds (`30s`), minutes (`5m`) or milliseconds (`10ms`).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let unit = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or("a time without a unit")?;
    let count = text[..unit].parse().map_err(show)?;
    match &text[unit..] {
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "m" => Ok(Duration::from_secs(60 * count)),
        unit => Err(format!("unknown unit {unit:?}")),
    }
}

fn security(value: &str) -> Result<Security, String> {
    match value {
        "implicit" => Ok(Security::Implicit),
        "starttls" => Ok(Security::StartTls),
        "opportunistic" => Ok(Security::Opportunistic),
        "plaintext" => Ok(Security::Plaintext),
        _ => Err(format!("security={value}")),
    }
}

fn pipelining(value: &str) -> Result<Pipelining, String> {
    match value {
        "off" => Ok(Pipelining::Off),
        "conservative" => Ok(Pipelining::Conservative),
        "overlapping" => Ok(Pipelining::Overlapping),
        _ => Err(format!("pipelining={value}")),
    }
}

fn mechanisms(value: &str) -> Result<Vec<MechanismName>, String> {
    value
        .split(',')
        .map(|name| name.parse().map_err(show))
        .collect()
}

fn with_param(params: Params, text: &str) -> Result<Params, String> {
    match text.split_once('=') {
        None => params.with(text, None).map_err(show),
        Some((keyword, value)) => params.with(keyword, Some(value)).map_err(show),
    }
}

/// A parameter that the message can do without.
fn with_wish(params: Params, text: &str) -> Result<Params, String> {
    let keyword = text.split('=').next().unwrap_or_default();
    Ok(with_param(params, text)?.with_weight(keyword, Weight::Wish))
}

fn path(text: &str) -> Result<&str, String> {
    let inner = text
        .strip_prefix('<')
        .and_then(|text| text.strip_suffix('>'));
    inner.ok_or(format!("{text} is not in angle brackets"))
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(show)
}

fn show(problem: impl std::fmt::Display) -> String {
    problem.to_string()
}
