//! What one run came to.

use super::case::{Case, Encryption, Expected, Inside};
use super::client::Ending;
use super::server::Conversation;
use super::watch::{Breach, Taken};
use crate::proto::Protocol;

/// What became of one transcript.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) name: &'static str,
    pub(crate) purpose: &'static str,
    /// The rules that it cites, or those of them that the run has shown.
    pub(crate) rules: Vec<String>,
    pub(crate) verdict: Verdict,
    /// What was said.
    pub(crate) dialogue: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Kept,
    Broken(Vec<Breach>),
    NotApplicable(String),
}

impl Judged {
    /// A transcript that cannot be played.
    pub(crate) fn inside(inside: Inside) -> Self {
        Self {
            name: inside.name,
            purpose: "",
            rules: inside.rules,
            verdict: Verdict::NotApplicable(inside.reason),
            dialogue: Vec::new(),
        }
    }

    /// Why it says nothing of the client, if it does not.
    pub(crate) fn reason(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::NotApplicable(reason) if !self.purpose.is_empty() => Some(reason),
            Verdict::NotApplicable(_) | Verdict::Kept | Verdict::Broken(_) => None,
        }
    }

    /// A transcript that is nothing for this client.
    pub(crate) fn not_applicable(case: &Case, reason: String) -> Self {
        Self {
            name: case.name,
            purpose: case.purpose,
            rules: case.rules.clone(),
            verdict: Verdict::NotApplicable(reason),
            dialogue: Vec::new(),
        }
    }
}

/// Judges a run.
pub(crate) fn judge(case: &Case, conversations: &[Conversation], ending: &Ending) -> Judged {
    if conversations.is_empty() {
        return Judged::not_applicable(case, ending.reason_not_to_connect());
    }
    let mut breaches: Vec<Breach> = Vec::new();
    for breach in conversations.iter().flat_map(|talk| &talk.breaches) {
        if !breaches.contains(breach) {
            breaches.push(breach.clone());
        }
    }
    let missed = missed(case, conversations).or_else(|| never_ends(case, ending));
    breaches.extend(outcome(case, conversations, ending, missed.is_none()));
    breaches.extend(sent_twice(conversations));
    breaches.extend(left_without_a_word(case, conversations, ending));
    breaches.extend(ending.tells_secrets().then(|| Breach {
        rule: "R-4954-10".into(),
        what: "it writes the secret to its output".into(),
    }));
    let verdict = match (breaches.is_empty(), missed) {
        (false, _) => Verdict::Broken(breaches),
        (true, Some(reason)) => Verdict::NotApplicable(reason),
        (true, None) => Verdict::Kept,
    };
    Judged {
        name: case.name,
        purpose: case.purpose,
        rules: shown(case, conversations),
        verdict,
        dialogue: dialogue(conversations, ending),
    }
}

/// Why the situation of the transcript did not come.
fn missed(case: &Case, conversations: &[Conversation]) -> Option<String> {
    let mut mechanisms = conversations.iter().flat_map(|talk| &talk.said.mechanisms);
    let exchanges = &case.script.exchanges;
    let tried = exchanges.is_empty()
        || mechanisms.any(|used| {
            let same = |name: &String| name.eq_ignore_ascii_case(used);
            exchanges.iter().any(|exchange| same(&exchange.mechanism))
        });
    if case.script.has_chunks && conversations.iter().all(|talk| talk.said.chunks == 0) {
        Some("the client does not use BDAT".into())
    } else if !tried {
        Some("the client does not log in by this mechanism".into())
    } else if case.script.has_mark && conversations.iter().all(|talk| !talk.was_reached) {
        Some("the client takes another way".into())
    } else {
        None
    }
}

/// Nothing stood in its way: it is the program that does not end, and no rule that it breaks.
fn never_ends(case: &Case, ending: &Ending) -> Option<String> {
    let is_its_own = !case.script.has_mark && case.expected == Expected::Accepted;
    (is_its_own && ending.code().is_none()).then(|| ending.words())
}

/// What the client says of it all, against what the server has.
fn outcome(
    case: &Case,
    conversations: &[Conversation],
    ending: &Ending,
    reached: bool,
) -> Option<Breach> {
    let about = case.rules.first().map_or("R-5321-16", String::as_str);
    let breach = |rule: &str, what: String| {
        Some(Breach {
            rule: rule.to_owned(),
            what,
        })
    };
    let Some(code) = ending.code() else {
        return breach(about, ending.words()).filter(|_| reached);
    };
    let has_it = |path: &String| {
        let mut taken = conversations.iter().flat_map(|talk| &talk.taken);
        taken.any(|taken: &Taken| {
            // A domain beyond ASCII may travel as A-labels.
            let other = |name: &String| !path.is_ascii() && !case.wants.to.contains(name);
            let mut names = taken.recipients.iter();
            names.any(|name| name == path || other(name))
        })
    };
    let delivered = case.wants.to.iter().filter(|path| has_it(path)).count();
    let all = delivered == case.wants.to.len();
    if code == 0 && delivered == 0 {
        let rule = match reached {
            true => about,
            false => "R-5321-16",
        };
        return breach(
            rule,
            "it claims success, but the server took no message".into(),
        );
    }
    if !reached {
        return None;
    }
    match case.expected {
        Expected::Accepted if code != 0 && all => breach(
            about,
            format!("it has been taken for all, yet it fails with {code}"),
        ),
        Expected::Accepted if !all => breach(
            about,
            format!(
                "only {delivered} of {} have it; it ends with {code}",
                case.wants.to.len()
            ),
        ),
        Expected::Partial if delivered == 0 => breach(
            about,
            format!("nobody has it, though some would have been taken; it ends with {code}"),
        ),
        Expected::Failed if code == 0 => breach(about, "it takes this for a success".into()),
        Expected::Accepted | Expected::Partial | Expected::Failed | Expected::Open => None,
    }
}

/// A message whose end was not answered came again.
fn sent_twice(conversations: &[Conversation]) -> Option<Breach> {
    let doubtful = conversations
        .iter()
        .position(|talk| talk.taken.iter().any(|taken| !taken.is_answered))?;
    let again = conversations[doubtful + 1..]
        .iter()
        .any(|talk| !talk.taken.is_empty());
    again.then(|| Breach {
        rule: "R-5321-16".into(),
        what: "a message in doubt was sent again".into(),
    })
}

/// All went well, and the client closed the connection without QUIT.
fn left_without_a_word(
    case: &Case,
    conversations: &[Conversation],
    ending: &Ending,
) -> Option<Breach> {
    // A server that breaks the protocol is left as it is.
    let went_well =
        case.expected == Expected::Accepted && !case.script.has_mark && ending.code() == Some(0);
    let mut last = conversations
        .iter()
        .filter(|talk| talk.taken.iter().any(|taken| taken.is_answered));
    let left = last.any(|talk| talk.said.quit == 0 && talk.said.cut_off == 0);
    (went_well && left).then(|| Breach {
        rule: "R-5321-20".into(),
        what: "it closed the connection without QUIT".into(),
    })
}

/// The rules that the run has shown: those cited, as far as the client makes use of what they are
/// about, and those that every dialogue shows.
fn shown(case: &Case, conversations: &[Conversation]) -> Vec<String> {
    let any = |used: &dyn Fn(&Conversation) -> bool| conversations.iter().any(used);
    let grouped = any(&|talk| talk.said.groups > 0);
    let chunked = any(&|talk| talk.said.chunks > 0);
    let logs_in = any(&|talk| !talk.said.mechanisms.is_empty());
    let tried = |names: &[&str]| {
        let used = |talk: &Conversation| {
            let mut used = talk.said.mechanisms.iter();
            used.any(|name| names.contains(&name.as_str()))
        };
        any(&used)
    };
    let is_about = |rule: &String| {
        // What is done in clear is about every mechanism.
        if rule == "R-7677-5" {
            return true;
        }
        let family = rule.rsplit_once('-').map_or("", |(family, _)| family);
        match family {
            "R-2920" => grouped,
            "R-3030" => chunked,
            "R-4954" => logs_in || case.expected == Expected::Failed,
            "R-7628" => tried(&["OAUTHBEARER", "XOAUTH2"]),
            "R-7677" => tried(&["SCRAM-SHA-256"]),
            "R-2195" => tried(&["CRAM-MD5"]),
            "R-4422" => tried(&["EXTERNAL"]),
            "R-2033" => case.wants.protocol == Protocol::Lmtp,
            "R-8314" => case.wants.encryption != Encryption::None || case.wants.user.is_some(),
            _ => true,
        }
    };
    let mut shown: Vec<String> = case
        .rules
        .iter()
        .filter(|rule| is_about(rule))
        .cloned()
        .collect();
    let spoke = any(&|talk| talk.lines.iter().any(|line| line.starts_with("C: ")));
    let wrote = any(&|talk| !talk.taken.is_empty());
    let always = ["R-5321-1", "R-5321-2", "R-5321-4", "R-2920-1", "R-2920-2"];
    let written = [
        "R-5321-10",
        "R-5321-11",
        "R-5321-14",
        "R-5321-15",
        "R-5321-20",
    ];
    for (applies, rules) in [(spoke, always), (wrote, written)] {
        for rule in rules.into_iter().filter(|_| applies) {
            if !shown.iter().any(|known| known == rule) {
                shown.push(rule.to_owned());
            }
        }
    }
    shown
}

fn dialogue(conversations: &[Conversation], ending: &Ending) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, talk) in conversations.iter().enumerate() {
        if conversations.len() > 1 {
            lines.push(format!("-- connection {}", number + 1));
        }
        lines.extend(talk.lines.iter().cloned());
    }
    lines.push(format!("-- {}", ending.words()));
    lines.extend(ending.output().map(|line| format!("   {line}")));
    lines
}
