//! One message in several transactions, where a server takes fewer recipients at a time than it has
//! (RFC 5321 §4.5.3.1.10, RFC 9422): for the caller it stays one, with a verdict for each recipient.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use super::shared::{State, closed_error};
use crate::proto::body::Content;
use crate::proto::notice::Notice;
use crate::proto::transaction::{Body, Commitment, Envelope, Outcome, TransactionId, Verdict};

/// The transactions of a message with several recipients.
pub(super) struct Rounds {
    envelope: Envelope,
    content: Content,
    /// Those that are not finished, in the order of their submission.
    parts: VecDeque<Part>,
    /// In envelope order, as far as they are known.
    verdicts: Vec<Verdict>,
    notices: Vec<Notice>,
    /// Transactions submitted before its own.
    begun: u64,
}

/// One transaction.
struct Part {
    id: TransactionId,
    /// The places of its recipients in the envelope; `None` where it has all of them.
    places: Option<Vec<usize>>,
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
        envelope: Envelope,
        content: Content,
        permits: u32,
        now: Instant,
    ) -> Result<Self, Vec<Verdict>> {
        let count = envelope.recipients().len();
        let limit = state.connection.session().and_then(|session| {
            let limit = session.extensions().limits().recipients?;
            usize::try_from(limit.get()).ok()
        });
        let mut rounds = Self {
            parts: VecDeque::new(),
            verdicts: Vec::new(),
            notices: Vec::new(),
            begun: state.submitted(),
            envelope,
            content,
        };
        match limit.filter(|limit| (1..count).contains(limit)) {
            None => rounds.submit(state, None, permits, now),
            Some(limit) => {
                let mut permits = permits;
                let places: Vec<usize> = (0..count).collect();
                for places in places.chunks(limit) {
                    let permits = std::mem::take(&mut permits);
                    rounds.submit(state, Some(places.to_vec()), permits, now);
                }
            }
        }
        match rounds.parts.is_empty() {
            true => Err(rounds.verdicts),
            false => Ok(rounds),
        }
    }

    /// Takes what is finished, and submits what was put off again. Ready when nothing is left.
    pub(super) fn poll(
        &mut self,
        state: &mut State,
        cx: &Context<'_>,
        now: Instant,
    ) -> Poll<Outcome> {
        while let Some(part) = self.parts.front() {
            let outcome = match state.poll_finished(part.id, cx) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => return Poll::Pending,
            };
            if let Some(part) = self.parts.pop_front() {
                self.take(state, part, outcome, now);
            }
        }
        let verdicts = std::mem::take(&mut self.verdicts);
        let notices = std::mem::take(&mut self.notices);
        let outcome = Outcome::new(verdicts).with_notices(notices);
        Poll::Ready(match state.connection.session() {
            Some(session) => outcome.in_session(session),
            None => outcome,
        })
    }

    /// Nobody waits for the message any longer.
    pub(super) fn abandon(&self, state: &mut State, now: Instant) {
        for part in &self.parts {
            state.abandon(part.id, now);
        }
    }

    /// Whoever was put off gets another transaction, if this one was of use to somebody: so there is
    /// an end to it.
    fn take(&mut self, state: &mut State, part: Part, outcome: Outcome, now: Instant) {
        for notice in outcome.notices() {
            if !self.notices.contains(notice) {
                self.notices.push(notice.clone());
            }
        }
        let mut verdicts = outcome.into_verdicts();
        // A connection that ended without the engine has one verdict for all.
        let count = match &part.places {
            None => self.envelope.recipients().len(),
            Some(places) => places.len(),
        };
        if let Some(last) = verdicts.last().cloned() {
            verdicts.resize(count, last);
        }
        let was_of_use = verdicts.iter().any(Verdict::is_accepted);
        let put_off = |&index: &usize| matches!(verdicts[index], Verdict::Deferred(_));
        let put_off = (0..verdicts.len()).filter(put_off);
        let put_off: Vec<usize> = match &part.places {
            None => put_off.collect(),
            Some(places) => put_off.map(|index| places[index]).collect(),
        };
        self.place(part.places, verdicts);
        if was_of_use && !put_off.is_empty() && state.may_go_on(self.begun) {
            self.submit(state, Some(put_off), 0, now);
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
        let body = Some(Body::Whole(self.content.clone()));
        match state.submit(envelope, body, permits, now) {
            Ok(id) => self.parts.push_back(Part { id, places }),
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
