//! One message in several transactions, where a server takes fewer recipients at a time than it has
//! (RFC 5321 §4.5.3.1.10, RFC 9422): for the caller it stays one, with a verdict for each recipient.
//!
//! The driver goes from one round to the next as soon as its replies are there, whether or not the
//! caller polls.

use std::task::{Context, Waker};
use std::time::Instant;

use super::shared::{State, closed_error, register};
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
    /// In envelope order, as far as they are known.
    verdicts: Vec<Verdict>,
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
    /// The places of its recipients in the envelope; `None` where it has all of them.
    places: Option<Vec<usize>>,
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
            verdicts: Vec::new(),
            notices: Vec::new(),
            put_off: Vec::new(),
            worth: Worth::Nothing,
            seeming: None,
            standing: Standing::Wanted,
            waker: None,
            envelope,
            content,
        };
        match state.recipient_limit() {
            Some(limit) if limit < count => {
                let places: Vec<usize> = (0..count).collect();
                rounds.submit_to(state, &places, permits, now);
            }
            Some(_) | None => rounds.submit(state, None, permits, now),
        }
        match rounds.is_finished() {
            true => Err(rounds.verdicts),
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

    /// Whether somebody was put off whose turn comes when the others have been answered.
    pub(super) fn has_put_off(&self) -> bool {
        !self.is_finished() && !self.put_off.is_empty()
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
        Outcome::new(self.verdicts).with_notices(self.notices)
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
        let (mut verdicts, notices) = outcome;
        // A connection that ended without the engine has one verdict for all.
        if let Some(last) = verdicts.last().cloned() {
            let all = self.envelope.recipients().len();
            verdicts.resize(part.places.as_ref().map_or(all, Vec::len), last);
        }
        let accepted = verdicts.iter().filter(|one| one.is_accepted()).count();
        if accepted > 0 {
            self.worth = Worth::Something;
        }
        // Those who were put off before are taken now: there were too many of them, and nothing else.
        if let (Some(seeming), true) = (self.seeming, accepted > 0) {
            state.note_limit(seeming);
        }
        if accepted < verdicts.len() {
            self.guess(accepted, &verdicts);
            let put_off = |&index: &usize| matches!(verdicts[index], Verdict::Deferred(_));
            let put_off = (0..verdicts.len()).filter(put_off);
            match &part.places {
                None => self.put_off.extend(put_off),
                Some(places) => self.put_off.extend(put_off.map(|index| places[index])),
            }
        }
        self.place(part.places, verdicts);
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
        self.submit_to(state, &places, 0, now);
    }

    /// Learns from a transaction where the server put off all from some recipient on.
    fn guess(&mut self, accepted: usize, verdicts: &[Verdict]) {
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

    /// Submits it to these, in as many transactions as it takes.
    fn submit_to(&mut self, state: &mut State, places: &[usize], permits: u32, now: Instant) {
        let most = state.recipient_limit().unwrap_or(places.len()).max(1);
        let mut permits = permits;
        for places in places.chunks(most) {
            let permits = std::mem::take(&mut permits);
            self.submit(state, Some(places.to_vec()), permits, now);
        }
    }

    fn submit(
        &mut self,
        state: &mut State,
        places: Option<Vec<usize>>,
        permits: u32,
        now: Instant,
    ) {
        let envelope = match &places {
            None => self.envelope.clone(),
            Some(places) => self.envelope.part(places),
        };
        let body = Body::Whole(self.content.clone());
        match state.submit_part(self.number, (envelope, body), permits, now) {
            Ok(id) => self.parts.push(Part { id, places }),
            Err(verdicts) => self.place(places, verdicts),
        }
    }

    /// Puts verdicts where they belong.
    fn place(&mut self, places: Option<Vec<usize>>, verdicts: Vec<Verdict>) {
        let Some(places) = places else {
            self.verdicts = verdicts;
            return;
        };
        // Until the others have theirs.
        let count = self.envelope.recipients().len();
        self.verdicts
            .resize_with(count, || Verdict::NotSent(closed_error()));
        for (place, verdict) in places.into_iter().zip(verdicts) {
            self.verdicts[place] = verdict;
        }
    }
}
