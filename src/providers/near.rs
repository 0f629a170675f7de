//! Slips of the keyboard.

use strsim::osa_distance;

use super::Provider;

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
    let parent = match host.split_once('.') {
        Some((first, rest)) if SERVICES.contains(&first) => Some(rest),
        Some(_) | None => None,
    };
    let is_own = |domain: &String| domain == host || Some(domain.as_str()) == parent;
    let is_sibling = |known: &&str| {
        let (_, rest) = known.split_once('.').unwrap_or_default();
        Some(rest) == parent
    };
    let owner = providers
        .iter()
        .find(|provider| provider.domains.iter().any(is_own));
    owner
        .and_then(|owner| owner.hosts().next())
        .or_else(|| providers.iter().flat_map(Provider::hosts).find(is_sibling))
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
            None if index == 0 => distance <= room(b) && !differ_by_digits(a, b),
            None => distance <= room(b) && begin_alike(a, b) && !differ_by_digits(a, b),
            Some(0) => distance <= room(b) && begin_alike(a, b),
            // Two letters are a country: another one is another provider.
            Some(_) => distance == 1 && !(a.len() == 2 && b.len() == 2),
        }
    });
    are_near.then_some(all)
}

/// How many slips a label has room for.
fn room(label: &str) -> usize {
    match label.len() {
        0..=3 => 0,
        4..=5 => 1,
        _ => 2,
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

/// Names that people try, or find in settings for reading mail.
const SERVICES: [&str; 15] = [
    "email", "imap", "imap4", "imaps", "in", "incoming", "mail", "mx", "out", "outgoing",
    "outlook", "pop", "pop3", "smtp", "www",
];
