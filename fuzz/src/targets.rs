//! The bodies of the targets: the properties of `tests/it/oracles.rs` and `tests/it/reference.rs`, fed
//! from bytes.
//!
//! Steps are what a server sends, with other things in between: the octet 255 and one more octet, of
//! which [`step`] says what it does. So a stretch of a real dialogue is an input as it is.

use std::time::Duration;

use ehlo::proto::{Chunking, Config, Pipelining, PlaintextAuth, Protocol};
use ehlo::{Commitment, Domain, Envelope, Mailbox, Params, Recipient, ReversePath, Security};

use crate::bench::{Action, Bench, Form, Mail, credentials};
use crate::model::{BehindChunks, Character, NOTHING_BEHIND};
use crate::oracles::{
    Conversation, LogIn, Want, Way, Wish, converse, cut_anyhow, replay, stays_in_its_line,
};
use crate::reference;

/// What a server sends is judged alike however it is cut.
pub(crate) fn reply(input: &[u8]) -> Result<(), String> {
    let (cuts, input) = number(input);
    let config = Config::new(Security::Opportunistic);
    let mut steps = vec![step(b'S')];
    steps.extend(actions(input));
    cut_anyhow(&config, &steps, cuts)
}

/// Octets, ends, time-outs and the caller's wishes in any order end well.
pub(crate) fn session(input: &[u8]) -> Result<(), String> {
    let Some((&first, input)) = input.split_first() else {
        return Ok(());
    };
    let security = match first % 4 {
        0 => Security::Implicit,
        1 => Security::StartTls,
        2 => Security::Opportunistic,
        _ => Security::Plaintext,
    };
    let mut config = Config::new(security);
    if first & 4 != 0 {
        config = config.with_credentials(credentials());
    }
    if first & 8 != 0 {
        config = config.with_plaintext_auth(PlaintextAuth::Allow);
    }
    config = config.with_pipelining(match (first >> 4) % 4 {
        0 => Pipelining::Groups,
        1 => Pipelining::Conservative,
        2 => Pipelining::Overlapping,
        _ => Pipelining::Off,
    });
    if first & 64 != 0 {
        config = config.with_protocol(Protocol::Lmtp);
    }
    let mut bench = Bench::new(config);
    for action in actions(input) {
        bench.act(&action);
    }
    bench.check()
}

/// A strict server decodes what was submitted, and for one that ends lines at LF or at CR alone the
/// message ends nowhere else.
pub(crate) fn body(input: &[u8]) -> Result<(), String> {
    if holds_the_password(input) {
        return Ok(());
    }
    let Some((&first, content)) = input.split_first() else {
        return Ok(());
    };
    // Its high octets choose between DATA and BDAT.
    let seed = u64::from_be_bytes([first; 8]);
    let talk = conversation(first, seed, vec![mail(first, content)]);
    converse(&talk, Way::Faithful).map(drop)
}

/// Several messages to a server that refuses some of it, ends, falls silent or says what is no reply, while
/// the caller submits, withdraws, probes, gives up and lets time pass: nobody is told what is not
/// so, and all of it again in other pieces gives the same.
pub(crate) fn dialogue(input: &[u8]) -> Result<(), String> {
    if holds_the_password(input) {
        return Ok(());
    }
    let (seed, input) = number(input);
    let Some((&first, input)) = input.split_first() else {
        return Ok(());
    };
    let (mut mails, mut late, mut wishes) = (Vec::new(), Vec::new(), Vec::new());
    for piece in input.split(|&octet| octet == MARK).take(24) {
        match piece {
            [LATE, turn, form, content @ ..] if late.len() < 4 => {
                late.push(mail(*form, content));
                wishes.push(wish(*turn, Want::Submit));
            }
            [name, turn, rest @ ..] if want(*name, rest).is_some() => {
                wishes.extend(want(*name, rest).map(|want| wish(*turn, want)));
            }
            [form, content @ ..] if mails.len() < 8 => mails.push(mail(*form, content)),
            _ => {}
        }
    }
    mails.append(&mut late);
    wishes.sort_by_key(|wish| wish.turn);
    let mut talk = conversation(first, seed, mails);
    talk.wishes = wishes;
    talk.server.refusals = [0, 5, 20, 50][usize::from(first & 3)];
    talk.server.endings = [0, 0, 0, 3][usize::from(seed as u8 & 3)];
    talk.server.breakdowns = [0, 0, 0, 6][usize::from(seed as u8 >> 2 & 3)];
    let record = converse(&talk, Way::Faithful)?;
    replay(&talk, &record, seed)
}

/// Replies are read as a reader does that was written for nothing but the test, and alike in any
/// pieces.
pub(crate) fn differential(input: &[u8]) -> Result<(), String> {
    let (cuts, input) = number(input);
    reference::agrees(input, cuts)
}

/// What is taken as an address or a parameter is written as it was read, and stays in its place.
pub(crate) fn address(input: &str) -> Result<(), String> {
    if let Ok(mailbox) = input.parse::<Mailbox>() {
        assert_eq!(mailbox.to_string(), input);
        assert_eq!(input.parse().as_ref(), Ok(&mailbox));
        assert_eq!(
            input,
            format!("{}@{}", mailbox.local_part(), mailbox.domain())
        );
        assert!(!mailbox.domain().contains(['@', '<', '>', ' ', '"', '\\']));
        assert!(!input.contains(char::is_control));
        let quoted = mailbox.local_part().starts_with('"');
        assert!(quoted || !mailbox.local_part().contains(['<', '>', ' ', '@', '"']));
    }
    if let Ok(domain) = input.parse::<Domain>() {
        assert_eq!(domain.to_string(), input);
        assert!(input.is_ascii() && !input.contains(char::is_control) && !input.contains(' '));
    }
    if let Some(problem) = problem_in_a_command(input) {
        return Err(problem);
    }
    if let Ok(path) = input.parse::<ReversePath>() {
        assert_eq!(path.to_string(), format!("<{input}>"));
    }

    let (first, second) = input.split_once('\u{1f}').unwrap_or((input, "example.org"));
    if let Ok(mailbox) = Mailbox::new(first, second) {
        assert_eq!(unquoted(mailbox.local_part()), first);
        assert_eq!(mailbox.domain(), second);
        assert_eq!(mailbox.as_str().parse().as_ref(), Ok(&mailbox));
    }
    if let Ok(params) = Params::new().with(first, Some(second)) {
        for param in params.iter() {
            let (keyword, value) = (param.keyword(), param.value().unwrap_or_default());
            assert!(!keyword.contains([' ', '=']) && !value.contains([' ', '=']));
            assert!(!keyword.contains(char::is_control) && !value.contains(char::is_control));
        }
        assert!(params.get(&first.to_ascii_lowercase()).is_some());
    }
    Ok(())
}

/// Everything that the input can be, in one command each.
fn problem_in_a_command(input: &str) -> Option<String> {
    let plain = "a@example.org".parse();
    let mailbox = input.parse::<Mailbox>().or(plain).ok()?;
    let (keyword, value) = input.split_once('=').unwrap_or((input, "1"));
    let params = Params::new().with(keyword, Some(value)).unwrap_or_default();
    command(mailbox, params, input.parse().ok()).err()
}

fn unquoted(local_part: &str) -> String {
    let Some(inside) = local_part
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return local_part.to_owned();
    };
    let mut text = String::new();
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' {
            characters.next()
        } else {
            Some(character)
        });
    }
    text
}

/// What may be in a command stays where it is put.
fn command(mailbox: Mailbox, params: Params, hello: Option<Domain>) -> Result<(), String> {
    let recipients = [
        Recipient::new(mailbox.clone()).with_params(params.clone()),
        mailbox.clone().into(),
    ];
    let envelope = Envelope::new(mailbox, recipients).with_params(params);
    stays_in_its_line(envelope, hello)
}

fn conversation(first: u8, seed: u64, mails: Vec<Mail>) -> Conversation {
    let mut offers = vec!["8BITMIME"];
    let (security, login) = match (first >> 2) % 3 {
        0 => (Security::Plaintext, LogIn::No),
        1 => (Security::StartTls, LogIn::Yes),
        _ => (Security::Implicit, LogIn::Yes),
    };
    match login {
        LogIn::No => {}
        LogIn::Yes => offers.extend(["STARTTLS", "AUTH PLAIN LOGIN"]),
    }
    let optional = [
        (16, "PIPELINING"),
        (32, "SIZE"),
        (64, "ENHANCEDSTATUSCODES"),
    ];
    offers.extend(
        optional
            .iter()
            .filter(|(bit, _)| first & bit == 0)
            .map(|(_, offer)| offer),
    );
    let [manner, protocol, ..] = seed.to_be_bytes();
    if manner & 4 != 0 {
        offers.push("CHUNKING");
    }
    if manner & 8 != 0 {
        offers.push(NOTHING_BEHIND);
    }
    let (pipelining, behind_chunks) = match manner & 3 {
        0 => (Pipelining::Groups, BehindChunks::Complains),
        1 => (Pipelining::Conservative, BehindChunks::Complains),
        2 => (Pipelining::Overlapping, BehindChunks::Takes),
        _ => (Pipelining::Overlapping, BehindChunks::Refuses),
    };
    Conversation {
        security,
        login,
        pipelining,
        chunking: Chunking::WhereOffered,
        mails,
        wishes: Vec::new(),
        server: Character {
            seed,
            refusals: 0,
            endings: 0,
            breakdowns: 0,
            offers,
            protocol: match protocol & 1 {
                0 => Protocol::Smtp,
                _ => Protocol::Lmtp,
            },
            behind_chunks,
        },
        cuts: seed,
    }
}

fn wish(turn: u8, want: Want) -> Wish {
    Wish {
        turn: usize::from(turn),
        want,
    }
}

/// What a piece that begins with this octet is, if it is no message.
fn want(name: u8, rest: &[u8]) -> Option<Want> {
    let place = rest.first().map_or(0, |&octet| usize::from(octet & 7));
    Some(match name {
        0xf1 => Want::Cancel(place),
        0xf2 => Want::Probe(mail(1, b"")),
        0xf3 => Want::Quit,
        0xf4 => Want::Abandon,
        0xf5 => Want::Wait(Duration::from_secs(29)),
        0xf6 => Want::Wait(Duration::from_secs(301)),
        _ => return None,
    })
}

fn mail(form: u8, content: &[u8]) -> Mail {
    Mail {
        recipients: (0..=form % 3).map(|number| format!("r{number}")).collect(),
        content: content.to_vec(),
        form: match form & 4 {
            0 => Form::Whole,
            _ => Form::Streamed(1 + usize::from(form >> 3)),
        },
        commitment: match form & 128 {
            0 => Commitment::Each,
            _ => Commitment::AllOrNothing,
        },
    }
}

/// A fuzzer sees what is compared, and soon writes a message that tells the password.
fn holds_the_password(input: &[u8]) -> bool {
    let forms = ["dHIwdWI0ZG9y", "AGFsaWNlAHRyMHViNGRvcg=="];
    forms.iter().any(|form| {
        let mut windows = input.windows(form.len());
        windows.any(|octets| octets == form.as_bytes())
    })
}

fn actions(input: &[u8]) -> impl Iterator<Item = Action> {
    let mut runs = input.split(|&octet| octet == MARK);
    let first = runs.next().unwrap_or_default();
    let rest = runs.filter_map(|run| run.split_first());
    let rest = rest.flat_map(|(&name, run)| [step(name), Action::Receive(run.to_vec())]);
    std::iter::once(Action::Receive(first.to_vec())).chain(rest)
}

fn step(name: u8) -> Action {
    match name {
        b'A' => Action::Abandon,
        b'B' => Action::Write(b"Subject: x\n\n.\n.x".to_vec()),
        b'C' => Action::Cancel(0),
        b'c' => Action::Cancel(1),
        b'E' => Action::Eof,
        b'F' => Action::Failed,
        b'f' => Action::Finish,
        b'K' => Action::Credentials,
        b'k' => Action::NoCredentials,
        b'L' => Action::Tls,
        b'P' => Action::Probe(mail(1, b"")),
        b'Q' => Action::Quit,
        b'S' => Action::Submit(mail(1, b"Subject: x\r\n\r\n.\r\n")),
        b'T' => Action::Wait(Duration::from_secs(301)),
        b't' => Action::Wait(Duration::from_secs(29)),
        b'W' => Action::Submit(mail(4 | 1, b"")),
        b'1'..=b'9' => Action::Take(usize::from(name - b'0')),
        _ => Action::Take(usize::MAX),
    }
}

fn number(input: &[u8]) -> (u64, &[u8]) {
    match input.split_first_chunk() {
        Some((number, rest)) => (u64::from_le_bytes(*number), rest),
        None => (0, input),
    }
}

/// UTF-8 has no such octet.
const MARK: u8 = 255;
/// A message that is submitted later.
const LATE: u8 = 0xf0;
