//! The sandbox's own reading of the parameters that extensions define, strict, and apart from the
//! client's writing of them.

use super::command::Parameter;
use super::options::Extension;
use super::transaction::Addresses;

/// What is wrong with a parameter of MAIL; `None` where it is none of those on offer.
pub(super) fn of_mail(
    parameter: &Parameter<'_>,
    offered: impl Fn(Extension) -> bool,
    limits: Holding,
) -> Option<Result<(), &'static str>> {
    let value = parameter.value.unwrap_or_default();
    let is = |keyword: &str, extension| {
        parameter.keyword.eq_ignore_ascii_case(keyword) && offered(extension)
    };
    let (valid, problem) = if is("RET", Extension::Dsn) {
        let known = ["FULL", "HDRS"];
        let valid = known.iter().any(|word| word.eq_ignore_ascii_case(value));
        (valid, "RET is FULL or HDRS")
    } else if is("ENVID", Extension::Dsn) {
        let valid = !value.is_empty() && value.len() <= 100 && is_xtext(value);
        (valid, "ENVID is xtext of at most 100 octets")
    } else if is("REQUIRETLS", Extension::RequireTls) {
        (parameter.value.is_none(), "REQUIRETLS takes no value")
    } else if is("BY", Extension::DeliverBy) {
        (is_by(value), "BY is seconds, ';', and R or N")
    } else if is("HOLDFOR", Extension::FutureRelease) {
        let seconds = number(value).filter(|_| !value.starts_with('0'));
        let valid = seconds.is_some_and(|seconds| seconds <= limits.longest);
        (valid, "HOLDFOR is a number of seconds within the limit")
    } else if is("HOLDUNTIL", Extension::FutureRelease) {
        let valid = value.len() == LATEST.len() && value.ends_with('Z') && value <= LATEST;
        (valid, "HOLDUNTIL is a time within the limit")
    } else if is("MT-PRIORITY", Extension::MtPriority) {
        let digit = value.strip_prefix('-').unwrap_or(value);
        let valid = digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit() && value != "-0";
        (valid, "MT-PRIORITY is -9 to 9")
    } else {
        return None;
    };
    Some(if valid { Ok(()) } else { Err(problem) })
}

/// What is wrong with a parameter of RCPT; `None` where it is none of those on offer.
pub(super) fn of_rcpt(
    parameter: &Parameter<'_>,
    addresses: Addresses,
    offered: impl Fn(Extension) -> bool,
) -> Option<Result<(), &'static str>> {
    if !offered(Extension::Dsn) {
        return None;
    }
    let value = parameter.value.unwrap_or_default();
    let (valid, problem) = if parameter.keyword.eq_ignore_ascii_case("NOTIFY") {
        let problem = "NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY";
        (is_notify(value), problem)
    } else if parameter.keyword.eq_ignore_ascii_case("ORCPT") {
        let valid = value.len() <= 500
            && value
                .split_once(';')
                .is_some_and(|(kind, address)| is_address(kind, address, addresses));
        (valid, "ORCPT is a type, ';' and xtext")
    } else {
        return None;
    };
    Some(if valid { Ok(()) } else { Err(problem) })
}

/// RFC 3461 §4.2; RFC 6533 §3 for `utf-8`, which with SMTPUTF8 may be UTF-8 as it is.
fn is_address(kind: &str, address: &str, addresses: Addresses) -> bool {
    let as_it_is = kind.eq_ignore_ascii_case("utf-8") && addresses == Addresses::Utf8;
    let ascii: String = address.chars().filter(char::is_ascii).collect();
    match as_it_is {
        _ if kind.is_empty() || address.is_empty() => false,
        true => is_xtext(&ascii),
        false => is_xtext(address),
    }
}

/// How long messages are held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    /// In seconds.
    pub(super) longest: u32,
}

fn is_notify(value: &str) -> bool {
    if value.eq_ignore_ascii_case("NEVER") {
        return true;
    }
    let words: Vec<String> = value.split(',').map(str::to_ascii_uppercase).collect();
    words.iter().enumerate().all(|(index, word)| {
        ["SUCCESS", "FAILURE", "DELAY"].contains(&word.as_str()) && !words[..index].contains(word)
    })
}

fn is_by(value: &str) -> bool {
    let Some((time, mode)) = value.split_once(';') else {
        return false;
    };
    let negative = time.starts_with('-');
    let seconds = number(time.strip_prefix(['-', '+']).unwrap_or(time));
    match (mode.to_ascii_uppercase().as_str(), seconds) {
        ("N" | "NT", Some(_)) => true,
        ("R" | "RT", Some(seconds)) => !negative && seconds > 0,
        (_, _) => false,
    }
}

/// A number of one to nine digits.
fn number(text: &str) -> Option<u32> {
    let valid = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| valid)
}

fn is_xtext(text: &str) -> bool {
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |b: Option<u8>| b.is_some_and(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
        let valid = match byte {
            b'+' => hex(rest.next()) && hex(rest.next()),
            b'=' => false,
            33..=126 => true,
            _ => false,
        };
        if !valid {
            return false;
        }
    }
    true
}

/// Until when messages are held at most: a server without a clock has to say something.
pub(super) const LATEST: &str = "2099-12-31T23:59:59Z";
