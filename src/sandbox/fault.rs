//! What a sandbox can be told to do wrong, and where.

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use super::answer::{Answer, AnswerError};
use super::tls_fault::{CertificateFault, TlsFault};

/// One thing that the sandbox does instead of, or besides, behaving well.
///
/// It is either a [`Quirk`] of the whole server, a [`CertificateFault`] or a [`TlsFault`], or an
/// [`Act`] at a [`Step`] of the dialogue: at each time the step is reached, at the n-th time alone,
/// or for one address alone.
///
/// Steps are counted over all connections of one sandbox, so that `close@greeting#1` lets the second
/// attempt through; only commands that the server would have accepted count. Where several faults
/// fit, all delays are kept, and of the other acts the first in the list is taken.
///
/// # From text
///
/// ```abnf
/// fault   = quirk / act "@" step [ "#" n / ":" address ] [ "=" argument ]
///         / "banner" "=" protocol / "certificate" "=" problem / "tls" "=" manner
/// quirk   = "split" / "refuse-behind-body" / "data-without-recipients" / "close-pipelined"
///         / "scram-wrong-signature" / "scram-no-signature" / "scram-wrong-nonce"
///         / "scram-few-iterations" / "starttls-stripped" / "starttls-masked"
/// act     = "close" / "reset" / "truncate" / "stall" / "freeze" / "shutdown"
///         / "reply"          ; argument: the reply, as "451 4.3.0 try later"
///         / "garbage"        ; argument: the octets, or a stock of them where it is missing
///         / "inject"         ; argument: the octets, or a stock of them where it is missing
///         / "delay"          ; argument: seconds, fractions allowed
///         / "split"
/// step    = "greeting" / "ehlo" / "starttls" / "handshake" / "auth" / "mail" / "rcpt"
///         / "data" / "content" / "body" / "rset" / "quit"
/// n       = 1*DIGIT          ; 1 is the first time
/// protocol = "imap" / "pop3" / "http" / "ssh" / "ftp" / "tls"
/// problem = "expired" / "not-yet-valid" / "wrong-name" / "self-signed" / "unknown-issuer"
///         / "incomplete-chain"
/// manner  = "old" / "no-cipher" / "unknown-name" / "garbage" / "client-certificate"
/// ```
///
/// An address goes with `mail`, `rcpt` and, for LMTP, `body` only. In an argument `\r`, `\n`, `\0`, `\xNN` and `\\` are
/// escapes; `\n` in a reply begins another line of it.
///
/// ```
/// use ehlo::sandbox::{Act, Fault, Step};
///
/// let fault: Fault = "close@rcpt#2".parse()?;
/// assert_eq!(fault, Fault::nth(Step::Rcpt, 2, Act::Close));
/// # Ok::<(), ehlo::sandbox::FaultError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub(super) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Quirk(Quirk),
    Certificate(CertificateFault),
    Tls(TlsFault),
    Act(Step, Which, Act),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Every,
    Nth(u64),
    Address(String),
}

impl Fault {
    /// The act at each time that the step is reached.
    pub fn at(step: Step, act: Act) -> Self {
        Self(Kind::Act(step, Which::Every, act))
    }

    /// The act at the n-th time that the step is reached, counted from 1 over all connections.
    pub fn nth(step: Step, n: u64, act: Act) -> Self {
        Self(Kind::Act(step, Which::Nth(n), act))
    }

    /// The act where this sender (at [`Step::Mail`]) or recipient (at [`Step::Rcpt`], and where LMTP
    /// is spoken at [`Step::Body`]) is named, compared without regard to ASCII case. At another step it never happens.
    pub fn for_address(step: Step, address: impl Into<String>, act: Act) -> Self {
        let address = address.into().to_ascii_lowercase();
        Self(Kind::Act(step, Which::Address(address), act))
    }

    /// A peculiarity of the whole server.
    pub fn quirk(quirk: Quirk) -> Self {
        Self(Kind::Quirk(quirk))
    }

    /// A certificate that is not as it should be. Of several the first counts.
    pub fn certificate(fault: CertificateFault) -> Self {
        Self(Kind::Certificate(fault))
    }

    /// TLS that is not as a client would like it. Of several the first counts.
    pub fn tls(fault: TlsFault) -> Self {
        Self(Kind::Tls(fault))
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (head, argument) = match text.split_once('=') {
            Some((head, argument)) => (head, Some(argument)),
            None => (text, None),
        };
        let Some((name, place)) = head.split_once('@') else {
            return parse_unplaced(head, argument);
        };
        let (step, which) = parse_place(name, place)?;
        let act = parse_act(name, argument)?;
        Ok(Self(Kind::Act(step, which, act)))
    }
}

/// Where in the dialogue something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The greeting.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// The STARTTLS command.
    StartTls,
    /// The TLS handshake: the act takes its place.
    Handshake,
    /// The AUTH command.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, or a BDAT chunk that is not the last.
    Data,
    /// In the midst of the message: its first octets have come, its end has not been answered.
    /// After a reply given here the rest of the message is read, and not answered again.
    Content,
    /// The end of the message: the final dot, or the last BDAT chunk. A message whose reply is
    /// swallowed by a fault is stored all the same, as it may be on a real server.
    Body,
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
}

impl Step {
    pub(super) const ALL: [Self; 12] = [
        Self::Greeting,
        Self::Ehlo,
        Self::StartTls,
        Self::Handshake,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Content,
        Self::Body,
        Self::Rset,
        Self::Quit,
    ];

    /// The step's name, as in a fault's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Handshake => "handshake",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Content => "content",
            Self::Body => "body",
            Self::Rset => "rset",
            Self::Quit => "quit",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// No answer: the connection ends in good order (inside TLS with a close_notify).
    Close,
    /// No answer: the connection is reset.
    Reset,
    /// No answer: the connection ends, inside TLS without a close_notify.
    Truncate,
    /// No answer, ever; what the client sends is still read.
    Stall,
    /// No answer, ever, and nothing is read any more, so that the client's writes come to a halt.
    Freeze,
    /// `421`, and the connection ends.
    Shutdown,
    /// This reply instead of the server's own. A step succeeds only if the reply is of the class
    /// that success has there: a 5yz refuses, a 252 to RCPT does not.
    Reply(Answer),
    /// These octets instead of a reply.
    Garbage(Bytes),
    /// These octets behind the reply, in the same write: at [`Step::StartTls`] this is the injection
    /// that RFC 3207 warns of, elsewhere it is a reply that nobody asked for.
    Inject(Bytes),
    /// A pause before the reply.
    Delay(Duration),
    /// The reply octet by octet, each written alone.
    Split,
}

/// A peculiarity of the whole server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quirk {
    /// Every reply is written octet by octet.
    Split,
    /// Each command that arrives behind a final dot that is not answered yet gets a 503, as from
    /// Haraka 3.3, which offers PIPELINING all the same.
    RefuseBehindBody,
    /// DATA gets 354 though no recipient was accepted, and 554 follows the final dot, as RFC 2920
    /// §3.1 allows.
    DataWithoutRecipients,
    /// Where PIPELINING is not on offer, two commands in one segment end the connection, as from
    /// OpenSMTPD.
    ClosePipelined,
    /// SCRAM: the server's proof is wrong, as from one that does not know the password.
    ScramWrongSignature,
    /// SCRAM: success is reported without the server's proof.
    ScramNoSignature,
    /// SCRAM: the server's nonce does not continue the client's.
    ScramWrongNonce,
    /// SCRAM: 1,000 iterations, which makes the password easy to guess.
    ScramFewIterations,
    /// STARTTLS is not on offer, as behind a firewall that removes it.
    StartTlsStripped,
    /// Greeting and offer of STARTTLS are written over, as by Cisco's PIX and ASA.
    StartTlsMasked,
}

/// A text that is no [`Fault`]. Its message lists what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError(String);

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for FaultError {}

fn parse_unplaced(name: &str, argument: Option<&str>) -> Result<Fault, FaultError> {
    let quirk = QUIRKS.into_iter().find(|(known, _)| *known == name);
    match (quirk, argument) {
        (Some((_, quirk)), None) => Ok(Fault::quirk(quirk)),
        (Some(_), Some(_)) => Err(takes_none(name)),
        (None, argument) if name == "banner" => parse_banner(argument),
        (None, argument) if name == "certificate" => {
            let all = CertificateFault::ALL.map(|fault| (fault.as_str(), fault));
            named("certificate", argument, &all).map(Fault::certificate)
        }
        (None, argument) if name == "tls" => {
            let all = TlsFault::ALL.map(|fault| (fault.as_str(), fault));
            named("tls", argument, &all).map(Fault::tls)
        }
        _ if ACTS.contains(&name) => Err(FaultError(format!(
            "the fault '{name}' needs a step, as in '{name}@rcpt'; the steps are {}",
            step_names()
        ))),
        _ => Err(unknown_fault(name)),
    }
}

/// The one of this name.
fn named<T: Copy>(fault: &str, argument: Option<&str>, all: &[(&str, T)]) -> Result<T, FaultError> {
    let found = all.iter().find(|(name, _)| Some(*name) == argument);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        FaultError(format!(
            "the fault '{fault}' needs a word, as in '{fault}={}'; there are {}",
            names.first().unwrap_or(&""),
            names.join(", ")
        ))
    })
}

fn parse_banner(argument: Option<&str>) -> Result<Fault, FaultError> {
    let banner = BANNERS
        .iter()
        .find(|(name, _)| Some(*name) == argument)
        .map(|(_, octets)| Bytes::from_static(octets));
    match banner {
        Some(octets) => Ok(Fault::at(Step::Greeting, Act::Garbage(octets))),
        None => {
            let names: Vec<_> = BANNERS.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            Err(FaultError(format!(
                "the fault 'banner' needs a protocol, as in 'banner=imap'; there are {names}"
            )))
        }
    }
}

fn parse_place(name: &str, place: &str) -> Result<(Step, Which), FaultError> {
    let end = place.find(['#', ':']).unwrap_or(place.len());
    let (word, which) = place.split_at(end);
    let Some(step) = Step::ALL.into_iter().find(|step| step.as_str() == word) else {
        return Err(FaultError(format!(
            "the fault '{name}@{place}' has no known step; the steps are {}",
            step_names()
        )));
    };
    if let Some(number) = which.strip_prefix('#') {
        return match number.parse::<u64>() {
            Ok(number) if number > 0 => Ok((step, Which::Nth(number))),
            Ok(_) | Err(_) => Err(FaultError(format!(
                "'#{number}' is not a count; '{name}@{word}#1' is the first time"
            ))),
        };
    }
    let Some(address) = which.strip_prefix(':') else {
        return Ok((step, Which::Every));
    };
    match step {
        Step::Mail | Step::Rcpt | Step::Body => {
            Ok((step, Which::Address(address.to_ascii_lowercase())))
        }
        Step::Greeting
        | Step::Ehlo
        | Step::StartTls
        | Step::Handshake
        | Step::Auth
        | Step::Data
        | Step::Content
        | Step::Rset
        | Step::Quit => Err(FaultError(format!(
            "an address goes with 'mail', 'rcpt' and 'body' only, not with '{word}'"
        ))),
    }
}

fn parse_act(name: &str, argument: Option<&str>) -> Result<Act, FaultError> {
    match (name, argument) {
        ("close", None) => Ok(Act::Close),
        ("reset", None) => Ok(Act::Reset),
        ("truncate", None) => Ok(Act::Truncate),
        ("stall", None) => Ok(Act::Stall),
        ("freeze", None) => Ok(Act::Freeze),
        ("shutdown", None) => Ok(Act::Shutdown),
        ("split", None) => Ok(Act::Split),
        ("garbage", None) => Ok(Act::Garbage(Bytes::from_static(GARBAGE))),
        ("garbage", Some(octets)) => Ok(Act::Garbage(unescape(octets)?.into())),
        ("inject", None) => Ok(Act::Inject(Bytes::from_static(INJECTED))),
        ("inject", Some(octets)) => Ok(Act::Inject(unescape(octets)?.into())),
        ("reply", Some(reply)) => parse_reply(reply).map(Act::Reply),
        ("reply", None) => Err(FaultError(
            "the fault 'reply' needs the reply, as in 'reply@mail=451 4.3.0 try later'".into(),
        )),
        ("delay", argument) => argument
            .and_then(|seconds| seconds.parse::<f64>().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(Act::Delay)
            .ok_or_else(|| {
                FaultError("the fault 'delay' needs seconds, as in 'delay@rcpt=0.5'".into())
            }),
        _ if ACTS.contains(&name) => Err(takes_none(name)),
        _ => Err(unknown_fault(name)),
    }
}

fn parse_reply(text: &str) -> Result<Answer, FaultError> {
    let text = String::from_utf8_lossy(&unescape(text)?).into_owned();
    text.parse()
        .map_err(|error: AnswerError| FaultError(error.to_string()))
}

/// Undoes `\r`, `\n`, `\0`, `\xNN` and `\\`.
fn unescape(text: &str) -> Result<Vec<u8>, FaultError> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        octets.extend_from_slice(before.as_bytes());
        let (octet, used) = match after.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b'0', ..] => (0, 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), 3)
            }
            _ => {
                return Err(FaultError(format!(
                    "'\\{}' is no escape; there are \\r, \\n, \\0, \\xNN and \\\\",
                    after.chars().next().map_or(String::new(), String::from)
                )));
            }
        };
        octets.push(octet);
        rest = &after[used..];
    }
    octets.extend_from_slice(rest.as_bytes());
    Ok(octets)
}

fn hex(digit: u8) -> u8 {
    char::from(digit)
        .to_digit(16)
        .map_or(0, |digit| digit as u8)
}

fn takes_none(name: &str) -> FaultError {
    FaultError(format!("the fault '{name}' takes no '='"))
}

fn unknown_fault(name: &str) -> FaultError {
    FaultError(format!(
        "there is no fault '{name}'; there are {} (each with '@' and a step: {}), and {} and \
         banner=PROTOCOL, certificate=PROBLEM, tls=MANNER",
        ACTS.join(", "),
        step_names(),
        QUIRKS.map(|(name, _)| name).join(", ")
    ))
}

fn step_names() -> String {
    Step::ALL.map(Step::as_str).join(", ")
}

const QUIRKS: [(&str, Quirk); 10] = [
    ("split", Quirk::Split),
    ("refuse-behind-body", Quirk::RefuseBehindBody),
    ("data-without-recipients", Quirk::DataWithoutRecipients),
    ("close-pipelined", Quirk::ClosePipelined),
    ("scram-wrong-signature", Quirk::ScramWrongSignature),
    ("scram-no-signature", Quirk::ScramNoSignature),
    ("scram-wrong-nonce", Quirk::ScramWrongNonce),
    ("scram-few-iterations", Quirk::ScramFewIterations),
    ("starttls-stripped", Quirk::StartTlsStripped),
    ("starttls-masked", Quirk::StartTlsMasked),
];

const ACTS: [&str; 11] = [
    "close", "reset", "truncate", "stall", "freeze", "shutdown", "reply", "garbage", "inject",
    "delay", "split",
];

/// Two lines that are no replies: one of NUL and of octets that are no UTF-8.
const GARBAGE: &[u8] = b"\x00\xff\xfe\x80garbage\r\n~~~ not a reply ~~~\r\n";

/// What an attacker in the middle would add: the capabilities of a server that offers no more than
/// passwords in clear.
const INJECTED: &[u8] = b"250-injected.example\r\n250 AUTH PLAIN LOGIN\r\n";

/// What other services greet with, or answer to the first line that they do not understand. `tls` is
/// the alert (`unexpected_message`) of a port that speaks TLS from the start.
const BANNERS: [(&str, &[u8]); 6] = [
    ("imap", b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"),
    ("pop3", b"+OK POP3 ready\r\n"),
    (
        "http",
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    ),
    ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("ftp", b"220 FTP server ready\r\n"),
    ("tls", b"\x15\x03\x03\x00\x02\x02\x0a"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_text() {
        let octets = |octets: &'static [u8]| Bytes::from_static(octets);
        let answer: Answer = "451 4.3.0 a\nb".parse().unwrap();
        let cases = [
            ("close@rcpt", Fault::at(Step::Rcpt, Act::Close)),
            (
                "truncate@handshake#3",
                Fault::nth(Step::Handshake, 3, Act::Truncate),
            ),
            ("split", Fault::quirk(Quirk::Split)),
            ("split@ehlo", Fault::at(Step::Ehlo, Act::Split)),
            ("refuse-behind-body", Fault::quirk(Quirk::RefuseBehindBody)),
            (
                "delay@data=0.5",
                Fault::at(Step::Data, Act::Delay(Duration::from_millis(500))),
            ),
            (
                "reply@mail=451 4.3.0 a\\nb",
                Fault::at(Step::Mail, Act::Reply(answer.clone())),
            ),
            (
                "reply@rcpt:A@b=451 4.3.0 a\\nb",
                Fault::for_address(Step::Rcpt, "a@B", Act::Reply(answer)),
            ),
            (
                "garbage@ehlo=\\x00\\\\=",
                Fault::at(Step::Ehlo, Act::Garbage(octets(b"\0\\="))),
            ),
            (
                "inject@starttls=x\\r\\n",
                Fault::at(Step::StartTls, Act::Inject(octets(b"x\r\n"))),
            ),
            (
                "certificate=self-signed",
                Fault::certificate(CertificateFault::SelfSigned),
            ),
            (
                "tls=client-certificate",
                Fault::tls(TlsFault::ClientCertificate),
            ),
            ("starttls-masked", Fault::quirk(Quirk::StartTlsMasked)),
            (
                "banner=ssh",
                Fault::at(
                    Step::Greeting,
                    Act::Garbage(octets(b"SSH-2.0-OpenSSH_9.2\r\n")),
                ),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_fault_is_told_what_would_be() {
        let cases = [
            ("", "there is no fault ''"),
            ("explode@rcpt", "there are close, reset"),
            ("close", "as in 'close@rcpt'; the steps are greeting, ehlo"),
            ("close@nowhere", "the steps are greeting, ehlo"),
            ("close@rcpt#0", "is the first time"),
            ("close@rcpt#x", "is the first time"),
            ("close@data:a@b", "'rcpt' and 'body' only"),
            ("close@rcpt=1", "takes no '='"),
            ("split=1", "takes no '='"),
            ("reply@mail", "as in 'reply@mail=451"),
            ("reply@mail=nope", "needs a code from 200 to 599"),
            ("reply@mail=199 x", "needs a code from 200 to 599"),
            ("reply@mail=4511", "needs a code from 200 to 599"),
            ("reply@mail=ä51 x", "needs a code from 200 to 599"),
            ("delay@mail=-1", "as in 'delay@rcpt=0.5'"),
            ("delay@mail", "as in 'delay@rcpt=0.5'"),
            ("garbage@mail=\\q", "is no escape"),
            ("garbage@mail=\\x4", "is no escape"),
            ("banner=smtp", "there are imap, pop3"),
            ("banner", "there are imap, pop3"),
            ("certificate=bad", "there are expired, not-yet-valid"),
            ("tls", "there are old, no-cipher"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
