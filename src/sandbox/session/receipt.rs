//! The session while content comes: by DATA and by BDAT, and what becomes of it.

use super::{BodyAnswer, Fate, NO_RECIPIENTS, OK, Phase, Reset, Session};
use crate::proto::Protocol;
use crate::sandbox::command::Chunk;
use crate::sandbox::content::Taken;
use crate::sandbox::fault::{Quirk, Step};
use crate::sandbox::options::Extension;
use crate::sandbox::received::{Received, Transfer};
use crate::sandbox::terms::{Channel, TOO_BIG};
use crate::sandbox::transaction::{Progress, Transaction};
use crate::sandbox::voice::{Course, Usual};

impl Session {
    pub(super) fn take_data(&mut self, rest: &[u8]) -> usize {
        self.reach_content();
        let (Phase::Data(unstuffer), Some(transaction)) = (&mut self.phase, &mut self.transaction)
        else {
            // A fault at the content has ended the session.
            return rest.len();
        };
        match unstuffer.take(rest, &mut transaction.content) {
            Taken::All => rest.len(),
            Taken::Ended(used) => {
                self.phase = Phase::Command;
                self.end_of_message();
                self.behind_content(used < rest.len());
                used
            }
        }
    }

    pub(super) fn take_chunk(&mut self, rest: &[u8]) -> usize {
        self.reach_content();
        let Phase::Chunk { left, chunk, fate } = &mut self.phase else {
            return rest.len();
        };
        let take = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
        *left -= take as u64;
        let (left, chunk, fate) = (*left, *chunk, *fate);
        if let (Fate::Wanted, Some(transaction)) = (fate, &mut self.transaction) {
            transaction.content.push(&rest[..take]);
        }
        if left == 0 {
            self.end_of_chunk(chunk, fate);
            self.behind_content(take < rest.len());
        }
        take
    }

    /// Whether something came behind a message or a chunk that had to wait for its reply.
    fn behind_content(&mut self, more: bool) {
        let early = more && !self.terms.offers(Extension::Pipelining);
        if early && !matches!(self.phase, Phase::Over) {
            self.turn_away();
        }
    }

    /// The first octets of a message have come.
    fn reach_content(&mut self) {
        match &mut self.transaction {
            Some(transaction) => match transaction.progress {
                Progress::Announced(transfer) => transaction.progress = Progress::Begun(transfer),
                Progress::Envelope | Progress::Begun(_) | Progress::Answered => return,
            },
            None => return,
        }
        if self.respond(Step::Content, "", Usual::Nothing) == Course::Refused
            && let Some(transaction) = &mut self.transaction
        {
            transaction.progress = Progress::Answered;
        }
    }

    pub(super) fn end_of_chunk(&mut self, chunk: Chunk, fate: Fate) {
        self.phase = Phase::Command;
        if let Fate::Refused(usual) = fate {
            self.transaction = None;
            self.reset = Reset::Unsaid;
            return self.voice.write(usual);
        }
        if chunk == Chunk::Last {
            return self.end_of_message();
        }
        let Some(transaction) = &self.transaction else {
            return;
        };
        if transaction.progress == Progress::Answered {
            self.transaction = None;
            self.reset = Reset::Unsaid;
        } else if transaction.content.size() > self.terms.size_limit() {
            self.transaction = None;
            self.reset = Reset::Unsaid;
            self.voice.write(TOO_BIG);
        } else if self.respond(Step::Data, "", OK) != Course::Took {
            // Whatever chunks follow are refused until the next MAIL.
            self.transaction = None;
            self.reset = Reset::Unsaid;
        }
    }

    fn end_of_message(&mut self) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        let size = transaction.content.size();
        self.voice.note(|| format!("{size} octets of message"));
        for violation in transaction.violations() {
            self.note_violation(violation);
        }
        if transaction.progress == Progress::Answered {
            return;
        }
        if self.plan.has(Quirk::RefuseBehindBody) {
            self.body_answer = BodyAnswer::Waiting;
        }
        if transaction.recipients.is_empty() {
            return self.voice.write(NO_RECIPIENTS);
        }
        if size > self.terms.size_limit() {
            let replies = match self.plan.options().protocol {
                Protocol::Smtp => 1,
                Protocol::Lmtp => transaction.recipients.len(),
            };
            return (0..replies).for_each(|_| self.voice.write(TOO_BIG));
        }
        match self.plan.options().protocol {
            Protocol::Smtp => {
                if self.keeps("") {
                    self.store(transaction);
                } else if transaction.progress == Progress::Begun(Transfer::Bdat) {
                    self.reset = Reset::Unsaid;
                }
            }
            Protocol::Lmtp => self.deliver(transaction),
        }
    }

    /// Answers for each recipient (RFC 2033 §4.2), and stores the message for those who have it.
    fn deliver(&mut self, mut transaction: Transaction) {
        let mut recipients = Vec::new();
        for recipient in std::mem::take(&mut transaction.recipients) {
            if matches!(self.phase, Phase::Over) {
                break;
            }
            if self.keeps(&recipient) {
                recipients.push(recipient);
            }
        }
        if !recipients.is_empty() {
            transaction.recipients = recipients;
            self.store(transaction);
        }
    }

    /// Answers the end of a message, for this recipient if one is named.
    fn keeps(&mut self, recipient: &str) -> bool {
        let usual = Usual::Line(250, "2.0.0", "message stored");
        match self.respond(Step::Body, recipient, usual) {
            // Where no reply was given the message is stored all the same: so duplicates arise.
            Course::Took | Course::Garbled | Course::Cut => true,
            Course::Refused | Course::Asked | Course::Shut => false,
        }
    }

    fn store(&mut self, transaction: Transaction) {
        self.messages.push_back(Received {
            authenticated: self.authenticated.clone(),
            tls: self.terms.channel == Channel::Tls,
            connection: self.connection,
            ..transaction.into_received()
        });
    }
}
