//! One message in several transactions, where a server takes fewer recipients at a time than it has
//! (RFC 5321 §4.5.3.1.10, RFC 9422): for the caller it stays one, with a verdict for each recipient.
//!
//! The driver goes from one round to the next as soon as its replies are there, whether or not the
//! caller polls.

use std::task::{Context, Waker};
use std::time::Instant;

use super::shared::{State, register};
use crate::proto::body::Content;
use crate::proto::notice::Notice;
use crate::proto::transaction::{Body, Commitment, Envelope, Outcome, TransactionId, Verdict};

/// The transactions of a message with several recipients.
pub(super) struct Rounds {
    number: u64,
    envelope: Envelope,
    content: Content,
    /// Those that are not finished, in the order of their submission.
    parts: Vec<Part>,
    /// In envelope order.
    verdicts: Vec<Option<Verdict>>,
    notices: Vec<Notice>,
    /// The places of those who were put off, and have no part.
    put_off: Vec<usize>,
    /// Whether a part of this round was accepted for somebody.
    worth: Worth,
    /// How many recipients the server seems to take, where it has put off all behind them.
    seeming: Option<usize>,
    standing: Standing,
    waker: Option<Waker>,
}

/// One transaction.
struct Part {
    id: TransactionId,
    /// The places of its recipients in the envelope.
    places: Vec<usize>,
}

/// Whether a round was worth it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worth {
    Nothing,
    Something,
}

/// Whether more rounds may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Wanted,
    Withdrawn,
}

impl Rounds {
    /// Whether a message whose content can be sent again may need more than one transaction: one
    /// recipient can be accepted where another is put off.
    pub(super) fn may_be_needed(envelope: &Envelope) -> bool {
        match envelope.commitment() {
            Commitment::Each => envelope.recipients().len() > 1,
            Commitment::AllOrNothing => false,
        }
    }

    /// Submits the message in as many transactions as the server's limit makes of it.
    ///
    /// # Errors
    /// The verdicts, where nothing can be submitted.
    pub(super) fn begin(
        state: &mut State,
        number: u64,
        (envelope, content): (Envelope, Content),
        permits: u32,
        now: Instant,
    ) -> Result<Self, Vec<Verdict>> {
        let count = envelope.recipients().len();
        let mut rounds = Self {
            number,
            parts: Vec::new(),
            verdicts: vec![None; count],
            notices: Vec::new(),
            put_off: Vec::new(),
            worth: Worth::Nothing,
            seeming: None,
            standing: Standing::Wanted,
            waker: None,
            envelope,
            content,
        };
        let places: Vec<usize> = (0..count).collect();
        rounds.submit(state, &places, permits, now);
        match rounds.is_finished() {
            true => Err(rounds.verdicts.into_iter().flatten().collect()),
            false => Ok(rounds),
        }
    }

    /// Whether nothing of it is on its way or will be.
    pub(super) fn is_finished(&self) -> bool {
        self.parts.is_empty()
    }

    /// By which the connection knows it.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Its transactions that are not finished.
    pub(super) fn unfinished(&self) -> Vec<TransactionId> {
        self.parts.iter().map(|part| part.id).collect()
    }

    /// No further transaction is begun.
    pub(super) fn withdraw(&mut self) {
        self.standing = Standing::Withdrawn;
    }

    pub(super) fn register(&mut self, cx: &Context<'_>) {
        register(&mut self.waker, cx);
    }

    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// The verdicts of a message that is finished.
    pub(super) fn into_outcome(self) -> Outcome {
        Outcome::new(self.verdicts.into_iter().flatten().collect()).with_notices(self.notices)
    }

    /// Takes the verdicts of one of its transactions; behind the last of a round, whoever was put off
    /// gets another one, if this one was of use to somebody: so there is an end to it.
    pub(super) fn take(
        &mut self,
        state: &mut State,
        id: TransactionId,
        outcome: (Vec<Verdict>, Vec<Notice>),
        now: Instant,
    ) {
        let Some(index) = self.parts.iter().position(|part| part.id == id) else {
            return;
        };
        let part = self.parts.remove(index);
        let (verdicts, notices) = outcome;
        if verdicts.iter().any(Verdict::is_accepted) {
            self.worth = Worth::Something;
        }
        self.guess(state, &verdicts);
        for (index, place) in part.places.into_iter().enumerate() {
            // A connection that ended without the engine has one verdict for all.
            let Some(verdict) = verdicts.get(index).or(verdicts.last()) else {
                continue;
            };
            if matches!(verdict, Verdict::Deferred(_)) {
                self.put_off.push(place);
            }
            self.verdicts[place] = Some(verdict.clone());
        }
        for notice in notices {
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
        self.go_on(state, now);
    }

    /// The first behind a limit that only seems one go alone; the others when it has proved to be one.
    fn go_on(&mut self, state: &mut State, now: Instant) {
        let may_go_on = self.worth == Worth::Something && self.standing == Standing::Wanted;
        if !self.parts.is_empty() || self.put_off.is_empty() || !may_go_on || !state.is_open() {
            return;
        }
        self.worth = Worth::Nothing;
        let count = match (state.found_limit(), self.seeming) {
            (None, Some(seeming)) => seeming.min(self.put_off.len()),
            (Some(_), _) | (None, None) => self.put_off.len(),
        };
        let places: Vec<usize> = self.put_off.drain(..count).collect();
        self.submit(state, &places, 0, now);
    }

    /// Learns from a transaction where the server put off all from some recipient on.
    fn guess(&mut self, state: &mut State, verdicts: &[Verdict]) {
        let accepted = verdicts.iter().filter(|one| one.is_accepted()).count();
        // Those who were put off before are taken now: there were too many of them, and nothing else.
        if let (Some(seeming), true) = (self.seeming, accepted > 0) {
            state.note_limit(seeming);
        }
        let deferred = |verdict: &Verdict| matches!(verdict, Verdict::Deferred(_));
        let first = verdicts.iter().position(deferred);
        let accepted_behind = verdicts
            .iter()
            .skip_while(|verdict| !deferred(verdict))
            .any(Verdict::is_accepted);
        if first.is_some() {
            self.seeming = (accepted > 0 && !accepted_behind).then_some(accepted);
        }
    }

    fn submit(&mut self, state: &mut State, places: &[usize], permits: u32, now: Instant) {
        let most = state.recipient_limit().unwrap_or(places.len()).max(1);
        let mut permits = permits;
        for places in places.chunks(most) {
            let envelope = self.envelope.part(places);
            let body = Body::Whole(self.content.clone());
            let permits = std::mem::take(&mut permits);
            match state.submit_part(self.number, (envelope, body), permits, now) {
                Ok(id) => self.parts.push(Part {
                    id,
                    places: places.to_vec(),
                }),
                Err(verdicts) => {
                    for (&place, verdict) in places.iter().zip(verdicts) {
                        self.verdicts[place] = Some(verdict);
                    }
                }
            }
        }
    }
}
