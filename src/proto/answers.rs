//! The replies that come back for transactions: what each means for its recipients, and whether the
//! connection can go on.

use std::time::Instant;

use super::config::{BehindMessage, Protocol};
use super::fault;
use super::link::{Expect, Link};
use super::notice::Notice;
use super::offers::Way;
use super::ongoing::{Fate, Opened, Place, Slot, Step, Transaction, Work};
use super::pipeline::{Flow, Held, LastMessage, Leftover, Overlap, Pipeline, Welcome, find};
use super::reply::{Class, Code, Reply};
use super::transaction::{TransactionId, Verdict};
use crate::error::{Category, Error, Party, Stage};

impl Pipeline {
    /// Takes the reply to one of a transaction's commands.
    pub(crate) fn handle(
        &mut self,
        expect: Expect,
        code: Code,
        link: &mut Link,
        now: Instant,
    ) -> Flow {
        match expect {
            Expect::Mail(id) => self.mail_answered(id, code, link),
            Expect::Rcpt(id, index) => self.rcpt_answered(id, index, code, link),
            Expect::Data(id) => self.data_answered(id, code, link, now),
            Expect::Body(id) => self.body_answered(id, code, link, now),
            Expect::Chunk(id) => self.chunk_answered(id, code, link),
            Expect::Rset => reset_answered(code, link),
            Expect::Greeting
            | Expect::Ehlo
            | Expect::Helo
            | Expect::StartTls
            | Expect::Handshake
            | Expect::Auth
            | Expect::Quit => Flow::Continue,
        }
    }

    fn mail_answered(&mut self, id: TransactionId, code: Code, link: &mut Link) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        heed_priority(transaction, code, link);
        transaction.outstanding -= 1;
        let refused_for_place = code.number() == 503 && transaction.place == Place::BehindMessage;
        match code.class() {
            Class::Completed => {
                self.welcome = Welcome::Sure;
                transaction.sender_accepted(code, link);
                Flow::Continue
            }
            Class::Intermediate => Flow::Close(fault::unexpected(
                Stage::Mail,
                "250",
                link.reply(code),
                link,
            )),
            Class::Transient | Class::Permanent => {
                if refused_for_place {
                    match self.last_message {
                        LastMessage::Closed => self.behind = BehindMessage::Wait,
                        LastMessage::Refused => self.overlap = Overlap::Paused,
                    }
                }
                match transaction.fate {
                    Fate::Open if refused_for_place => {
                        transaction.restart_later();
                        self.restarting += 1;
                    }
                    Fate::Open => {
                        transaction.refuse(Stage::Mail, &link.reply(code));
                        transaction.stop_envelope();
                    }
                    Fate::Decided | Fate::Restart | Fate::Cancelled(_) => {}
                }
                Flow::Continue
            }
        }
    }

    /// Takes the replies that accept one recipient after the other: what is done for all is done once.
    /// Nothing is said between them, for the sender waits for another reply than these. Returns how
    /// many they were.
    pub(crate) fn recipients_accepted(
        &mut self,
        id: TransactionId,
        link: &mut Link,
        now: Instant,
    ) -> usize {
        if self.held != Held::ByOthers {
            return 0;
        }
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return 0;
        };
        match (&transaction.fate, &transaction.work) {
            (Fate::Open, Work::Send(_)) if !asks_for_priority(transaction) => {}
            (Fate::Open | Fate::Decided | Fate::Restart | Fate::Cancelled(_), _) => return 0,
        }
        let slots = &mut transaction.slots;
        let count = link.accepted_run(id, now, |index| {
            if let Some(slot @ Slot::Waiting) = slots.get_mut(index) {
                *slot = Slot::Taken;
            }
        });
        if count > 0 {
            transaction.outstanding -= count;
            transaction.unanswered -= count;
            transaction.accepted += count;
            transaction.was_opened();
        }
        count
    }

    fn rcpt_answered(
        &mut self,
        id: TransactionId,
        index: usize,
        code: Code,
        link: &mut Link,
    ) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        heed_priority(transaction, code, link);
        // Left unanswered, so that its recipient has a verdict when the connection closes.
        if code.class() == Class::Intermediate {
            return Flow::Close(fault::unexpected(
                Stage::Rcpt,
                "250",
                link.reply(code),
                link,
            ));
        }
        transaction.outstanding -= 1;
        transaction.unanswered -= 1;
        if code.is_positive() {
            // Whatever was decided here, the server has a transaction open, and DATA can get 354.
            transaction.accepted += 1;
            transaction.was_opened();
        }
        if !matches!(transaction.fate, Fate::Open) {
            return Flow::Continue;
        }
        let slot = match (&transaction.work, code.class()) {
            (Work::Send(_), Class::Completed | Class::Intermediate) => Slot::Taken,
            (Work::Probe, Class::Completed | Class::Intermediate) => {
                Slot::Decided(Verdict::Accepted(link.reply(code)))
            }
            (_, Class::Transient | Class::Permanent) => {
                let reply = link.reply(code);
                Slot::Decided(if transaction.accepted > 0 && is_over_limit(&reply) {
                    Verdict::Deferred(reply)
                } else {
                    Verdict::Refused {
                        stage: Stage::Rcpt,
                        reply,
                    }
                })
            }
        };
        if let Some(place) = transaction.slots.get_mut(index) {
            *place = slot;
        }
        link.tell_recipient(id, index, (Stage::Rcpt, code));
        Flow::Continue
    }

    fn data_answered(
        &mut self,
        id: TransactionId,
        code: Code,
        link: &mut Link,
        now: Instant,
    ) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        transaction.outstanding -= 1;
        match (code.number(), code.class()) {
            (354, _) => transaction.data_invited(link, now),
            (_, Class::Completed | Class::Intermediate) => Flow::Close(fault::unexpected(
                Stage::Data,
                "354",
                link.reply(code),
                link,
            )),
            (_, Class::Transient | Class::Permanent) => {
                if matches!(transaction.fate, Fate::Open) {
                    transaction.refuse(Stage::Data, &link.reply(code));
                }
                transaction.step = Step::Ended;
                Flow::Continue
            }
        }
    }

    fn body_answered(
        &mut self,
        id: TransactionId,
        code: Code,
        link: &mut Link,
        now: Instant,
    ) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        heed_priority(transaction, code, link);
        let class = code.class();
        if class == Class::Completed && transaction.was_refused() {
            let error = fault::contradiction(link.reply(code), link);
            transaction.forget_refusal();
            transaction.doubt(&fault::in_doubt(&error));
            return Flow::Close(error);
        }
        if class == Class::Intermediate {
            // Neither taken nor refused: the server may have it, and may still read text.
            let error = fault::unexpected(Stage::Body, "250", link.reply(code), link);
            if transaction.may_be_taken() {
                transaction.doubt(&fault::in_doubt(&error));
            }
            return Flow::Close(error);
        }
        transaction.body_replies += 1;
        if self.offers.protocol == Protocol::Lmtp {
            let more = transaction.body_replies < transaction.accepted;
            // Here 501 and its like are one recipient's: only the first reply can be about BDAT. A 503
            // may be either: a server in front of others passes on what they say, for each recipient
            // (RFC 2033 §4.2). If it was about BDAT, the others' replies never come, and the time-out
            // puts them in doubt; ended at once, they would be so where their replies do come.
            let is_unknown = matches!(code.number(), 500 | 502);
            let misunderstood = match transaction.body_replies == 1 && is_unknown {
                true => misunderstood(transaction.way, code, link),
                false => None,
            };
            transaction.answer_next(code, link);
            if let Some(error) = misunderstood {
                return Flow::Close(error);
            }
            if more {
                link.expect_again(id, now);
                return Flow::Continue;
            }
        } else if class == Class::Completed {
            transaction.accept(&link.reply(code));
        } else {
            transaction.refuse(Stage::Body, &link.reply(code));
            if let Some(error) = misunderstood(transaction.way, code, link) {
                return Flow::Close(error);
            }
        }
        transaction.outstanding -= 1;
        match (transaction.way, class) {
            // RFC 5321 §4.1.1.4: the end of data closes the transaction, whatever the reply.
            (Way::Data, _) | (Way::Bdat, Class::Completed | Class::Intermediate) => {
                transaction.opened = Opened::No;
            }
            // One of several recipients may have it (LMTP): then the transaction was completed.
            (Way::Bdat, _) if transaction.is_accepted() => transaction.opened = Opened::No,
            // RFC 3030 §2: behind a refused chunk nothing is taken but RSET.
            (Way::Bdat, Class::Transient | Class::Permanent) => transaction.was_opened(),
        }
        self.last_message = match transaction.opened {
            Opened::No => LastMessage::Closed,
            Opened::Yes | Opened::Reset => LastMessage::Refused,
        };
        if class == Class::Completed {
            self.overlap = Overlap::Allowed;
        }
        Flow::Continue
    }

    fn chunk_answered(&mut self, id: TransactionId, code: Code, link: &Link) -> Flow {
        let Some(transaction) = find(&mut self.transactions, id.0) else {
            return Flow::Continue;
        };
        transaction.outstanding -= 1;
        match code.class() {
            Class::Completed => {}
            Class::Intermediate => {
                return Flow::Close(fault::unexpected(
                    Stage::Body,
                    "250",
                    link.reply(code),
                    link,
                ));
            }
            Class::Transient | Class::Permanent => {
                transaction.refuse(Stage::Body, &link.reply(code));
                if let Some(error) = misunderstood(Way::Bdat, code, link) {
                    return Flow::Close(error);
                }
                transaction.was_opened();
                if matches!(transaction.step, Step::Streamed(_)) {
                    transaction.stop_chunks();
                    self.leftover = Leftover::Envelope;
                }
            }
        }
        Flow::Continue
    }
}

/// RFC 6710 §7: 2.3.6 says that the priority was changed.
#[inline]
fn heed_priority(transaction: &mut Transaction, code: Code, link: &mut Link) {
    if asks_for_priority(transaction) {
        note_priority(transaction, code, link);
    }
}

#[inline]
fn asks_for_priority(transaction: &Transaction) -> bool {
    let params = transaction.envelope.params();
    !params.is_empty() && params.get("MT-PRIORITY").is_some()
}

fn note_priority(transaction: &mut Transaction, code: Code, link: &mut Link) {
    let reply = link.reply(code);
    let changed = reply
        .enhanced()
        .is_some_and(|code| (code.class(), code.subject(), code.detail()) == (2, 3, 6));
    if changed {
        transaction.notice(Notice::Priority(reply), link);
    }
}

/// A server that does not know BDAT, or does not let it be said, reads what follows it as commands:
/// nothing that it says from then on can be believed.
fn misunderstood(way: Way, code: Code, link: &Link) -> Option<Error> {
    match (way, code.number()) {
        (Way::Bdat, 500 | 501 | 502 | 504 | 530) => {
            let message = "the server offers CHUNKING, and does not take BDAT";
            let error = link.error(Category::Protocol, Stage::Body, Party::Server, message);
            let error = error.with_hint("Do without CHUNKING on this server.");
            Some(error.with_reply(link.reply(code)))
        }
        (Way::Data | Way::Bdat, _) => None,
    }
}

fn reset_answered(code: Code, link: &Link) -> Flow {
    let message = "the server refused RSET, so that no further message can be sent";
    match code.class() {
        Class::Completed => Flow::Continue,
        // It may read what comes now as a message.
        Class::Intermediate => Flow::Close(fault::unexpected(
            Stage::Mail,
            "250",
            link.reply(code),
            link,
        )),
        Class::Transient | Class::Permanent => {
            let error = link.error(Category::Protocol, Stage::Mail, Party::Server, message);
            Flow::Fail(error.with_reply(link.reply(code)))
        }
    }
}

/// RFC 5321 §4.5.3.1.10: too many recipients, unless a status says that something else is full.
fn is_over_limit(reply: &Reply) -> bool {
    let full = reply
        .enhanced()
        .is_some_and(|code| matches!((code.subject(), code.detail()), (2, 2 | 3) | (3, 1 | 4)));
    matches!(reply.code().number(), 452 | 552) && !full
}
