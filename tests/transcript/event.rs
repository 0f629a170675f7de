//! Events as the words of an `event` line.

use ehlo::proto::{Event, Notice, Session, TransactionId};
use ehlo::{Error, Verdict};

/// The words of an event. Transactions are named by their place in the file.
pub(crate) fn words(event: &Event, ids: &[TransactionId]) -> String {
    match event {
        Event::Reached { stage, reply } => format!("reached {stage} {}", reply.code()),
        Event::StartTls => "starttls".to_owned(),
        Event::CredentialsWanted {
            mechanism,
            previous,
        } => match previous {
            None => format!("credentials {mechanism}"),
            Some(reply) => format!("credentials {mechanism} {}", reply.code()),
        },
        Event::Ready(session) => ready(session),
        Event::Recipient {
            id,
            index,
            stage,
            reply,
        } => {
            let place = match ordinal(*id, ids) {
                0 => format!("{index}"),
                ordinal => format!("{ordinal}/{index}"),
            };
            match reply.enhanced() {
                None => format!("recipient {place} {stage} {}", reply.code()),
                Some(enhanced) => format!("recipient {place} {stage} {} {enhanced}", reply.code()),
            }
        }
        Event::Finished { id, recipients } => {
            let verdicts: Vec<_> = recipients.iter().map(verdict).collect();
            format!("finished {} {}", ordinal(*id, ids), verdicts.join(", "))
        }
        Event::Noticed { id, notice } => {
            let ordinal = ordinal(*id, ids);
            match notice {
                Notice::LeftOut { keyword, .. } => format!("left-out {ordinal} {keyword}"),
                Notice::Priority(reply) => format!("priority-changed {ordinal} {}", reply.code()),
                other => format!("{other:?}"),
            }
        }
        Event::Closed(Ok(())) => "closed ok".to_owned(),
        Event::Closed(Err(error)) => format!("closed {}", fault(error)),
        other => format!("{other:?}"),
    }
}

/// The words of a session that is ready: the keywords on offer.
pub(crate) fn ready(session: &Session) -> String {
    let mut words = "ready".to_owned();
    for line in session.extensions().lines() {
        let keyword = line.split(|octet| b" \t=".contains(octet)).next();
        words.push(' ');
        words.push_str(&String::from_utf8_lossy(keyword.unwrap_or_default()));
    }
    words
}

/// The words of one verdict.
pub(crate) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted(reply) => format!("accepted {}", reply.code()),
        Verdict::Refused { stage, reply } => format!("refused {stage} {}", reply.code()),
        Verdict::Deferred(reply) => format!("deferred {}", reply.code()),
        Verdict::NotSent(error) => format!("not-sent {} {}", error.category(), error.stage()),
        Verdict::InDoubt(error) => format!("in-doubt {} {}", error.category(), error.stage()),
        other => format!("{other:?}"),
    }
}

/// Category, stage, and whether another try may succeed.
pub(crate) fn fault(error: &Error) -> String {
    let lasting = if error.is_temporary() {
        "temporary"
    } else {
        "permanent"
    };
    format!("{} {} {lasting}", error.category(), error.stage())
}

fn ordinal(id: TransactionId, ids: &[TransactionId]) -> usize {
    ids.iter()
        .position(|&known| known == id)
        .unwrap_or(usize::MAX)
}
