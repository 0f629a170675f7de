//! One message in several transactions, where a server takes fewer recipients at a time than it has
//! (RFC 5321 §4.5.3.1.10, RFC 9422): for the caller it stays one, with a verdict for each recipient.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use super::shared::State;
use crate::proto::body::Content;
use crate::proto::notice::Notice;
use crate::proto::transaction::{Body, Commitment, Envelope, Outcome, TransactionId, Verdict};

/// The transactions of a message with several recipients.
pub(super) struct Rounds {
    envelope: Envelope,
    content: Content,
    /// Those that are not finished, in the order of their submission.
    parts: VecDeque<Part>,
    /// In envelope order.
    verdicts: Vec<Option<Verdict>>,
    notices: Vec<Notice>,
    /// Transactions submitted before its own.
    begun: u64,
}

/// One transaction.
struct Part {
    id: TransactionId,
    /// The places of its recipients in the envelope.
    places: Vec<usize>,
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
            verdicts: vec![None; count],
            notices: Vec::new(),
            begun: state.submitted(),
            envelope,
            content,
        };
        let mut permits = permits;
        let places: Vec<usize> = (0..count).collect();
        for places in places.chunks(limit.unwrap_or(count).max(1)) {
            rounds.submit(state, places.to_vec(), std::mem::take(&mut permits), now);
        }
        match rounds.parts.is_empty() {
            true => Err(rounds.verdicts.into_iter().flatten().collect()),
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
                self.take(state, part, &outcome, now);
            }
        }
        let verdicts = std::mem::take(&mut self.verdicts);
        let outcome = Outcome::new(verdicts.into_iter().flatten().collect())
            .with_notices(std::mem::take(&mut self.notices));
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
    fn take(&mut self, state: &mut State, part: Part, outcome: &Outcome, now: Instant) {
        let mut put_off = Vec::new();
        let last = outcome.verdicts().last();
        for (index, place) in part.places.into_iter().enumerate() {
            // A connection that ended without the engine has one verdict for all.
            let Some(verdict) = outcome.verdicts().get(index).or(last) else {
                continue;
            };
            if matches!(verdict, Verdict::Deferred(_)) {
                put_off.push(place);
            }
            self.verdicts[place] = Some(verdict.clone());
        }
        for notice in outcome.notices() {
            if !self.notices.contains(notice) {
                self.notices.push(notice.clone());
            }
        }
        let was_of_use = outcome.verdicts().iter().any(Verdict::is_accepted);
        if was_of_use && !put_off.is_empty() && state.may_go_on(self.begun) {
            self.submit(state, put_off, 0, now);
        }
    }

    fn submit(&mut self, state: &mut State, places: Vec<usize>, permits: u32, now: Instant) {
        let envelope = self.envelope.part(&places);
        let body = Some(Body::Whole(self.content.clone()));
        match state.submit(envelope, body, permits, now) {
            Ok(id) => self.parts.push_back(Part { id, places }),
            Err(verdicts) => {
                for (place, verdict) in places.into_iter().zip(verdicts) {
                    self.verdicts[place] = Some(verdict);
                }
            }
        }
    }
}
