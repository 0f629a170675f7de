//! One transaction on its way: what the sender has still to say for it, and what is known of its
//! recipients.

use std::time::Instant;

use super::body::{ContentCursor, Transfer};
use super::command::Utf8Param;
use super::config::Protocol;
use super::event::Event;
use super::fault;
use super::limits::{ServerLimits, Used};
use super::link::{Link, Named};
use super::notice::Notice;
use super::offers::{Offers, Way};
use super::pipeline::Flow;
use super::preflight::{self, Effect, Judgement, Shortfall};
use super::reply::{Class, Code, Reply};
use super::stream::StreamState;
use super::transaction::{Body, Commitment, Encoding, Envelope, TransactionId, Verdict};
use crate::error::{Category, Error, Party, Stage};

/// A transaction between its submission and its verdicts.
pub(super) struct Transaction {
    pub(super) id: TransactionId,
    pub(super) envelope: Envelope,
    pub(super) work: Work,
    pub(super) step: Step,
    pub(super) fate: Fate,
    pub(super) slots: Vec<Slot>,
    /// Recipients accepted at RCPT.
    pub(super) accepted: usize,
    /// RCPT replies still due.
    pub(super) unanswered: usize,
    /// Replies still due.
    pub(super) outstanding: usize,
    pub(super) place: Place,
    pub(super) way: Way,
    /// Replies to the message that have come (LMTP has one for each recipient).
    pub(super) body_replies: usize,
    pub(super) opened: Opened,
    /// What was said of it so far.
    pub(super) notices: Vec<Notice>,
}

/// What a transaction is for.
pub(super) enum Work {
    Send(Body),
    Probe,
}

/// What the sender does next for a transaction.
pub(super) enum Step {
    Begin,
    Recipients(usize),
    Commit,
    AwaitData,
    Whole(ContentCursor),
    /// Boxed, so that the many whole ones do not pay for it.
    Streamed(Box<StreamState>),
    /// It will begin again once its last reply is there.
    Restarting,
    Ended,
}

/// What will become of a transaction.
#[derive(Debug)]
pub(super) enum Fate {
    /// Replies decide.
    Open,
    /// Every recipient's verdict is there; the replies still due are read and dropped.
    Decided,
    /// It began behind a message, and the server would not have it: it begins again.
    Restart,
    /// The caller gave it up.
    Cancelled(Error),
}

/// What is known of one recipient.
pub(super) enum Slot {
    Waiting,
    /// RCPT was accepted.
    Taken,
    Decided(Verdict),
}

/// Whether MAIL was sent behind an unanswered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Clear,
    BehindMessage,
}

/// Whether the server has this transaction open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    No,
    Yes,
    /// Perhaps, but a RSET is on its way or will be.
    Reset,
}

impl Transaction {
    /// RCPT for the recipients from this place on that still need one: for one of them, and for the
    /// others as long as there may be more.
    pub(super) fn recipients(
        &mut self,
        from: usize,
        offers: &Offers,
        link: &mut Link,
        now: Instant,
    ) -> Step {
        let places = self.slots.iter().zip(self.envelope.recipients());
        let waiting = places.enumerate().skip(from);
        let waiting = waiting.filter_map(|(index, (slot, recipient))| match slot {
            Slot::Waiting => Some((index, recipient)),
            Slot::Taken | Slot::Decided(_) => None,
        });
        let Named { count, left } = link.recipients(self.id, waiting, offers, now);
        self.outstanding += count;
        self.unanswered += count;
        left.map_or(Step::Commit, Step::Recipients)
    }

    /// Does what the lack of something means for this message, and counts the recipients that are
    /// left. What the session has used up of its limits is counted with them.
    pub(super) fn apply(
        &mut self,
        judgement: &Judgement,
        limits: &ServerLimits,
        used: &mut Used,
        link: &mut Link,
    ) -> Result<usize, Error> {
        let lacks_all = |shortfall: &&Shortfall| shortfall.effect == Effect::NotSent;
        if let Some(shortfall) = judgement.shortfalls.iter().find(lacks_all) {
            return Err(shortfall.to_error(link));
        }
        if !used.may_mail(limits) {
            return Err(preflight::no_more_mail(limits).to_error(link));
        }
        let recipients = self.envelope.recipients();
        if self.envelope.commitment() == Commitment::AllOrNothing
            && !used.may_name_all(recipients, limits)
        {
            return Err(preflight::too_many_domains(limits).to_error(link));
        }
        for shortfall in &judgement.shortfalls {
            match &shortfall.effect {
                Effect::RecipientNotSent(place) => self.leave_out(*place, shortfall, link),
                Effect::LeftOut { keyword, recipient } => {
                    self.drop_param(keyword, *recipient, link)
                }
                Effect::NotSent | Effect::Sent => {}
            }
        }
        if judgement.params.utf8 == Utf8Param::Absent && !self.envelope.is_ascii() {
            self.envelope.use_a_labels();
        }
        if limits.recipient_domains.is_none() {
            let left = self.slots.iter();
            return Ok(left.filter(|slot| matches!(slot, Slot::Waiting)).count());
        }
        let mut left = 0;
        for place in 0..self.slots.len() {
            if !matches!(self.slots[place], Slot::Waiting) {
                continue;
            }
            match self.envelope.recipients().get(place) {
                Some(recipient) if used.may_name(recipient, limits) => left += 1,
                None => left += 1,
                Some(_) => {
                    self.leave_out(place, &preflight::no_more_domains(place, limits), link);
                }
            }
        }
        Ok(left)
    }

    fn leave_out(&mut self, place: usize, shortfall: &Shortfall, link: &Link) {
        if let Some(slot @ Slot::Waiting) = self.slots.get_mut(place) {
            *slot = Slot::Decided(Verdict::NotSent(shortfall.to_error(link)));
        }
    }

    /// Takes a parameter out of the envelope, and says so: of many recipients' at the first one.
    fn drop_param(&mut self, keyword: &str, recipient: Option<usize>, link: &mut Link) {
        let Some(param) = self.envelope.remove_param(keyword, recipient) else {
            return;
        };
        let notice = Notice::LeftOut {
            keyword: param.keyword().to_owned(),
            extension: param.extension().to_owned(),
        };
        self.notice(notice, link);
    }

    /// Says something of this message, once.
    pub(super) fn notice(&mut self, notice: Notice, link: &mut Link) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice.clone());
            let id = self.id;
            link.events.push_back(Event::Noticed { id, notice });
        }
    }

    /// Why DATA is not sent although every RCPT has its reply.
    pub(super) fn nothing_to_send(&self, link: &Link) -> Option<Error> {
        let refusals = self.slots.iter().filter_map(|slot| match slot {
            Slot::Decided(Verdict::Refused { reply, .. } | Verdict::Deferred(reply)) => Some(reply),
            Slot::Decided(Verdict::Accepted(_) | Verdict::NotSent(_) | Verdict::InDoubt(_))
            | Slot::Waiting
            | Slot::Taken => None,
        });
        // One for now, if there is one: another try may fare better.
        let refusal = refusals
            .min_by_key(|reply| reply.code().class() != Class::Transient)
            .cloned();
        let complete = self.accepted == self.slots.len();
        let all_or_nothing = self.envelope.commitment() == Commitment::AllOrNothing;
        if self.accepted > 0 && (complete || !all_or_nothing) {
            return None;
        }
        let category = match refusal.as_ref().map(|reply| reply.code().class()) {
            Some(Class::Transient) => Category::Temporary,
            Some(Class::Permanent | Class::Completed | Class::Intermediate) | None => {
                Category::RecipientRefused
            }
        };
        let message = "another recipient was refused, and the message was for all or for nobody";
        let error = link.error(category, Stage::Rcpt, Party::Caller, message);
        Some(match refusal {
            Some(reply) => error.with_reply(reply),
            None => error,
        })
    }

    /// The server asks for the message.
    pub(super) fn data_invited(&mut self, link: &mut Link, now: Instant) -> Flow {
        match &self.fate {
            Fate::Open if self.accepted > 0 => {
                link.expect_body(self.id);
                self.outstanding += 1;
                self.step = self.content_step(Transfer::Dotted);
                Flow::Continue
            }
            Fate::Cancelled(_) if self.accepted > 0 => Flow::Close(fault::half_sent(link)),
            Fate::Restart => refused_yet_invited(link),
            // A lone dot would deliver an empty message to whoever was accepted after all.
            Fate::Decided if self.accepted > 0 => refused_yet_invited(link),
            // RFC 2033 §4.2: without a recipient an LMTP server must not invite the message.
            Fate::Open | Fate::Decided | Fate::Cancelled(_)
                if link.config.protocol == Protocol::Lmtp =>
            {
                refused_yet_invited(link)
            }
            // RFC 2920 §3.1: no recipient is valid, so the message is a lone dot, and fails.
            Fate::Open | Fate::Decided | Fate::Cancelled(_) => {
                if matches!(self.fate, Fate::Open) {
                    self.fate = Fate::Decided;
                }
                link.lone_dot(self.id, now);
                self.outstanding += 1;
                self.step = Step::Ended;
                Flow::Continue
            }
        }
    }

    /// Whether so much content would be wasted on a refused envelope that its replies are awaited.
    pub(super) fn content_is_large(&self) -> bool {
        match &self.work {
            Work::Send(Body::Whole(content)) => content.facts().wire_size > LARGE,
            Work::Send(Body::Streamed(_)) | Work::Probe => true,
        }
    }

    /// The form in which the content follows BDAT.
    pub(super) fn counted(&self) -> Transfer {
        let encoding = match &self.work {
            Work::Send(Body::Whole(content)) => content.encoding(),
            Work::Send(Body::Streamed(streamed)) => streamed.encoding,
            Work::Probe => Encoding::SevenBit,
        };
        match encoding {
            Encoding::SevenBit | Encoding::EightBit | Encoding::TextWithNul => Transfer::Counted,
            Encoding::Binary => Transfer::Verbatim,
        }
    }

    /// The step that sends the message.
    pub(super) fn content_step(&self, transfer: Transfer) -> Step {
        match &self.work {
            Work::Send(Body::Whole(content)) => Step::Whole(ContentCursor::new(content, transfer)),
            Work::Send(Body::Streamed(streamed)) => {
                Step::Streamed(Box::new(StreamState::new(streamed, transfer)))
            }
            Work::Probe => Step::Ended,
        }
    }

    /// Whether a recipient is put off, or may be: one of several, whose message is not for all or for
    /// nobody.
    pub(super) fn may_defer(&self) -> bool {
        let open =
            |slot: &Slot| matches!(slot, Slot::Waiting | Slot::Decided(Verdict::Deferred(_)));
        self.slots.len() > 1
            && self.envelope.commitment() == Commitment::Each
            && self.slots.iter().any(open)
    }

    /// The server took a command of this transaction, and so has one open.
    pub(super) fn was_opened(&mut self) {
        if self.opened == Opened::No {
            self.opened = Opened::Yes;
        }
    }

    /// The rest of the envelope need not be sent. (DATA, once sent, is waited for.)
    pub(super) fn stop_envelope(&mut self) {
        if matches!(
            self.step,
            Step::Recipients(_) | Step::Commit | Step::Restarting
        ) {
            self.step = Step::Ended;
        }
    }

    /// No more chunks: RSET comes next.
    pub(super) fn stop_chunks(&mut self) {
        self.step = Step::Ended;
        self.opened = Opened::Reset;
    }

    /// Whether it has begun, and its last reply is not there.
    pub(super) fn is_under_way(&self) -> bool {
        self.outstanding > 0
            || match self.step {
                Step::Recipients(_)
                | Step::Commit
                | Step::AwaitData
                | Step::Whole(_)
                | Step::Streamed(_) => true,
                Step::Begin | Step::Restarting | Step::Ended => false,
            }
    }

    /// The server would not have it here: what it still answers is dropped.
    pub(super) fn restart_later(&mut self) {
        self.fate = Fate::Restart;
        if matches!(self.step, Step::Recipients(_) | Step::Commit) {
            self.step = Step::Restarting;
        }
    }

    /// MAIL was accepted: for a probe without recipients that is the verdict.
    pub(super) fn sender_accepted(&mut self, code: Code, link: &Link) {
        self.was_opened();
        if self.envelope.recipients().is_empty() {
            self.accept(&link.reply(code));
        }
    }

    /// The message was accepted, for whoever was accepted before.
    pub(super) fn accept(&mut self, reply: &Reply) {
        if matches!(self.fate, Fate::Open) {
            self.resolve(|| Verdict::Accepted(reply.clone()));
        }
    }

    /// One recipient's reply after the message (RFC 2033 §4.2): they come in the order of RCPT.
    pub(super) fn answer_next(&mut self, code: Code, link: &mut Link) {
        if !matches!(self.fate, Fate::Open) {
            return;
        }
        let taken = |slot: &Slot| matches!(slot, Slot::Taken);
        let Some(index) = self.slots.iter().position(taken) else {
            return;
        };
        let reply = link.reply(code);
        self.slots[index] = Slot::Decided(match code.class() {
            Class::Completed | Class::Intermediate => Verdict::Accepted(reply),
            Class::Transient | Class::Permanent => Verdict::Refused {
                stage: Stage::Body,
                reply,
            },
        });
        link.tell_recipient(self.id, index, (Stage::Body, code));
    }

    /// Whether somebody has the message.
    pub(super) fn is_accepted(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| matches!(slot, Slot::Decided(Verdict::Accepted(_))))
    }

    /// A refusal for everybody who has no verdict yet.
    pub(super) fn refuse(&mut self, stage: Stage, reply: &Reply) {
        if matches!(self.fate, Fate::Open) {
            self.resolve(|| Verdict::Refused {
                stage,
                reply: reply.clone(),
            });
            self.fate = Fate::Decided;
        }
    }

    /// Whether the server can only take the message against its word: it has refused it before. (A
    /// message by DATA would not even have been sent.)
    pub(super) fn was_refused(&self) -> bool {
        match &self.fate {
            Fate::Open => false,
            Fate::Restart => true,
            Fate::Cancelled(_) => self.way == Way::Bdat,
            Fate::Decided => self.way == Way::Bdat && self.accepted > 0,
        }
    }

    /// Whether a server that has the end of the message, and did not refuse that, may have taken it. One
    /// that is to begin again, or was cancelled while it waited for that, has its end sent by BDAT
    /// alone, and was taken if at all for a recipient that was accepted.
    pub(super) fn may_be_taken(&self) -> bool {
        let for_somebody = self.accepted > 0 || self.unanswered > 0;
        match &self.fate {
            Fate::Open => true,
            Fate::Restart | Fate::Cancelled(_) => self.way == Way::Bdat && for_somebody,
            Fate::Decided => false,
        }
    }

    /// The refusal of the whole message is void: the server took it all the same.
    pub(super) fn forget_refusal(&mut self) {
        for slot in &mut self.slots {
            if let Slot::Decided(Verdict::Refused { stage, .. }) = slot
                && matches!(stage, Stage::Mail | Stage::Body)
            {
                *slot = Slot::Waiting;
            }
        }
    }

    /// In doubt, for everybody who has no verdict yet.
    pub(super) fn doubt(&mut self, error: &Error) {
        self.resolve(|| Verdict::InDoubt(error.clone()));
        self.fate = Fate::Decided;
    }

    /// Not sent, for everybody who has no verdict yet.
    pub(super) fn decide(&mut self, error: &Error) {
        self.resolve(|| Verdict::NotSent(error.clone()));
        self.fate = Fate::Decided;
    }

    /// What was cancelled is decided when its last reply is there.
    pub(super) fn give_up(&mut self) {
        if let Fate::Cancelled(error) = &self.fate {
            let error = error.clone();
            self.decide(&error);
        }
    }

    /// The connection is over. Where the message was sent to its end, there is a doubt.
    pub(super) fn close(&mut self, doubt: Option<&Error>, error: &Error) {
        if doubt.is_none() {
            self.give_up();
        }
        for slot in &mut self.slots {
            let verdict = match (&slot, doubt) {
                (Slot::Decided(_), _) => continue,
                // By BDAT the message may have gone out before RCPT was answered.
                (Slot::Taken | Slot::Waiting, Some(doubt)) => Verdict::InDoubt(doubt.clone()),
                (Slot::Taken | Slot::Waiting, None) => Verdict::NotSent(error.clone()),
            };
            *slot = Slot::Decided(verdict);
        }
    }

    pub(super) fn resolve(&mut self, verdict: impl Fn() -> Verdict) {
        for slot in &mut self.slots {
            match slot {
                Slot::Waiting | Slot::Taken => *slot = Slot::Decided(verdict()),
                Slot::Decided(_) => {}
            }
        }
    }

    pub(super) fn restart(&mut self) {
        for slot in &mut self.slots {
            *slot = Slot::Waiting;
        }
        self.fate = Fate::Open;
        self.step = Step::Begin;
        self.place = Place::Clear;
        self.opened = Opened::No;
        self.accepted = 0;
        self.body_replies = 0;
    }

    pub(super) fn finish(self, link: &mut Link) {
        let recipients = self.slots.into_iter().filter_map(|slot| match slot {
            Slot::Decided(verdict) => Some(verdict),
            Slot::Waiting | Slot::Taken => None,
        });
        let recipients = recipients.collect();
        link.events.push_back(Event::Finished {
            id: self.id,
            recipients,
        });
    }
}

fn refused_yet_invited(link: &Link) -> Flow {
    let message = "the server refused MAIL, then asked for the message";
    Flow::Close(link.error(Category::Protocol, Stage::Data, Party::Server, message))
}

/// Octets of content that go out in the flight of their envelope at most.
const LARGE: u64 = 64 * 1024;
