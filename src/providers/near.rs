//! Slips of the keyboard.

use strsim::osa_distance;

use super::{Provider, fits};

/// A known host that was most likely meant. `host` is in lower case.
pub(super) fn host<'a>(host: &str, providers: &'a [Provider]) -> Option<&'a str> {
    let known = || providers.iter().flat_map(Provider::hosts);
    if host.is_empty() || known().any(|known| known == host) {
        return None;
    }
    other_service(host, providers).or_else(|| {
        known()
            .filter_map(|known| Some((slips(host, known)?, known)))
            .min_by_key(|&(slips, _)| slips)
            .map(|(_, known)| known)
    })
}

/// The host that sends, where the one given is a provider's domain, or another service of it.
fn other_service<'a>(host: &str, providers: &'a [Provider]) -> Option<&'a str> {
    let (first, rest) = host
        .split_once('.')
        .filter(|(first, _)| SERVICES.contains(first) || FOR_SENDING.contains(first))
        .unzip();
    let is_own = |domain: &String| domain == host || Some(domain.as_str()) == rest;
    let owner = providers
        .iter()
        .find(|provider| provider.domains.iter().any(is_own));
    if let Some(owner) = owner {
        return owner.hosts().next();
    }
    // A name for sending may be a newer one of the same provider's.
    first.filter(|first| SERVICES.contains(first))?;
    providers
        .iter()
        .flat_map(|provider| provider.hosts().map(move |known| (provider, known)))
        .filter(|(provider, known)| !is_one_of_many(provider, known))
        .map(|(_, known)| known)
        .find(|known| known.split_once('.').unzip().1 == rest)
}

/// Whether it is a machine for some of the customers.
fn is_one_of_many(provider: &Provider, host: &str) -> bool {
    let mut patterns = provider.aliases.iter().filter(|alias| alias.contains('*'));
    patterns.any(|pattern| fits(pattern, host))
}

/// How many slips lead from one name to the other; `None` where they are names in their own right.
///
/// Names of as many labels are compared label by label, since a short label leaves no room for a
/// slip: `smtp.aol.com` and `smtp.abl.com` are two companies.
fn slips(typed: &str, known: &str) -> Option<usize> {
    let all = osa_distance(typed, known);
    if all > 2 {
        return None;
    }
    let (typed, known): (Vec<_>, Vec<_>) = (typed.split('.').collect(), known.split('.').collect());
    if typed.len() != known.len() {
        // A dot too many, or one too few.
        return (all == 1).then_some(all);
    }
    let main = known.len().checked_sub(2)?;
    let are_near = typed.iter().zip(&known).enumerate().all(|(index, (a, b))| {
        let distance = osa_distance(a, b);
        match index.checked_sub(main) {
            _ if distance == 0 => true,
            // The name of a service, such as `smtp`, or of a machine.
            None if index == 0 => is_slip(a, b) && !differ_by_digits(a, b),
            None => is_slip(a, b) && begin_alike(a, b) && !differ_by_digits(a, b),
            Some(0) => is_slip(a, b) && begin_alike(a, b),
            // Two letters are a country: another one is another provider.
            Some(_) => distance == 1 && !(a.len() == 2 && b.len() == 2),
        }
    });
    are_near.then_some(all)
}

fn is_slip(typed: &str, known: &str) -> bool {
    osa_distance(typed, known) <= room(known) && are_neighbours(typed, known)
}

/// How many slips a label has room for.
fn room(label: &str) -> usize {
    match label.len() {
        0..=3 => 0,
        4..=9 => 1,
        _ => 2,
    }
}

/// Whether a letter in place of another is beside it on the keys, or looks like it: `zeho` is a name of
/// its own beside `zoho`, and `zpho` is not.
fn are_neighbours(typed: &str, known: &str) -> bool {
    if typed.len() != known.len() {
        return true;
    }
    let pairs: Vec<_> = typed.bytes().zip(known.bytes()).collect();
    let is_swapped = |index: usize| {
        let swaps = |other: Option<usize>| {
            let other = other.and_then(|other| pairs.get(other));
            other.is_some_and(|&(a, b)| (b, a) == pairs[index])
        };
        swaps(index.checked_sub(1)) || swaps(index.checked_add(1))
    };
    pairs.iter().enumerate().all(|(index, &(a, b))| {
        a == b
            || is_swapped(index)
            || ALIKE.contains(&(a, b))
            || ALIKE.contains(&(b, a))
            || are_beside(a, b)
    })
}

/// On the rows of keys, straight and aslant.
fn are_beside(a: u8, b: u8) -> bool {
    let place = |key| {
        let mut rows = KEYS.iter().zip(0_usize..);
        rows.find_map(|(row, y)| Some((row.bytes().position(|k| k == key)?, y)))
    };
    match (place(a), place(b)) {
        (Some((xa, ya)), Some((xb, yb))) => xa.abs_diff(xb) <= 1 && ya.abs_diff(yb) <= 1,
        (_, _) => false,
    }
}

/// Nobody misses the first letter, but for its order: `email.com` is not meant to be `gmail.com`.
fn begin_alike(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    a.first() == b.first() || (a.first() == b.get(1) && a.get(1) == b.first())
}

/// `ex1` and `ex2` are two machines.
fn differ_by_digits(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    letters(a) == letters(b)
}

/// Names that people find in settings for reading mail, or try.
const SERVICES: [&str; 11] = [
    "email", "imap", "imap4", "imaps", "in", "incoming", "mx", "outlook", "pop", "pop3", "www",
];

/// Names of servers for outgoing mail.
const FOR_SENDING: [&str; 4] = ["mail", "out", "outgoing", "smtp"];

const KEYS: [&str; 4] = ["1234567890-", "qwertyuiop", "asdfghjkl", "zxcvbnm"];

const ALIKE: [(u8, u8); 4] = [(b'1', b'l'), (b'1', b'i'), (b'0', b'o'), (b'i', b'l')];
