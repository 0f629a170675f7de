//! The end of transactions: their verdicts, when the last reply is there or the connection is over,
//! and another beginning for those that have to.

use std::sync::Arc;

use super::config::BehindMessage;
use super::fault;
use super::limits::Used;
use super::link::Link;
use super::offers::Offers;
use super::ongoing::{Fate, Opened, Step, Transaction};
use super::pipeline::{Held, LastMessage, Leftover, Overlap, Pipeline, Welcome};
use crate::error::Error;

/// What is kept of a session without transactions.
pub(crate) struct Settled {
    next_id: u64,
    offers: Arc<Offers>,
    used: Used,
    behind: BehindMessage,
    overlap: Overlap,
    last_message: LastMessage,
    welcome: Welcome,
    leftover: Leftover,
}

impl Pipeline {
    /// Whether there is no transaction, and none to begin again.
    pub(crate) fn is_settled(&self) -> bool {
        self.transactions.is_empty() && self.restarting == 0 && self.cursor == self.next_id
    }

    /// Leaves what a settled session keeps.
    pub(crate) fn put_by(&mut self) -> Settled {
        Settled {
            next_id: self.next_id,
            offers: Arc::clone(&self.offers),
            used: std::mem::take(&mut self.used),
            behind: self.behind,
            overlap: self.overlap,
            last_message: self.last_message,
            welcome: self.welcome,
            leftover: self.leftover,
        }
    }

    /// Goes on from what a settled session kept.
    pub(crate) fn take_up(&mut self, settled: Settled) {
        self.next_id = settled.next_id;
        self.cursor = settled.next_id;
        self.offers = settled.offers;
        self.used = settled.used;
        self.behind = settled.behind;
        self.overlap = settled.overlap;
        self.last_message = settled.last_message;
        self.welcome = settled.welcome;
        self.leftover = settled.leftover;
        self.held = Held::ByOthers;
    }

    /// The connection is over: every transaction gets its verdicts, and its event.
    pub(crate) fn close(&mut self, error: &Error, link: &mut Link) {
        let doubt = fault::in_doubt(error);
        while let Some(mut transaction) = self.transactions.pop_front() {
            // Only what the sender is done with can be sent: the queue is not searched for the rest.
            let is_done = matches!(transaction.step, Step::Ended) && transaction.may_be_taken();
            let sent = is_done && link.body_is_sent(transaction.id);
            transaction.close(sent.then_some(&doubt), error);
            transaction.finish(link);
        }
        self.cursor = self.next_id;
    }

    /// Finishes what has its last reply, begins again what has to.
    #[inline]
    pub(crate) fn settle(&mut self, link: &mut Link) {
        let first = self.transactions.front();
        if first.is_some_and(|transaction| transaction.outstanding == 0) {
            self.settle_answered(link);
        }
    }

    #[inline(never)]
    fn settle_answered(&mut self, link: &mut Link) {
        while let Some(transaction) = self.transactions.front_mut() {
            if transaction.outstanding > 0 {
                return;
            }
            if matches!(transaction.fate, Fate::Restart) {
                return self.restart();
            }
            if !matches!(transaction.step, Step::Ended) {
                return;
            }
            if transaction.opened == Opened::Yes {
                self.leftover = Leftover::Envelope;
            }
            let Some(mut transaction) = self.transactions.pop_front() else {
                return;
            };
            self.cursor = self.cursor.max(transaction.id.0 + 1);
            transaction.give_up();
            transaction.finish(link);
        }
    }

    /// What has to begin again does, in order: not before all that went out behind it is answered,
    /// for the server may have taken some of that, and be in the middle of it.
    fn restart(&mut self) {
        let cursor = self.cursor;
        let begun = |transaction: &&mut Transaction| transaction.id.0 <= cursor;
        if self
            .transactions
            .iter_mut()
            .take_while(begun)
            .any(|t| t.is_under_way())
        {
            return;
        }
        for transaction in self.transactions.iter_mut().take_while(begun) {
            if !matches!(transaction.fate, Fate::Restart) {
                continue;
            }
            if transaction.opened == Opened::Yes {
                self.leftover = Leftover::Envelope;
            }
            transaction.restart();
            self.cursor = self.cursor.min(transaction.id.0);
        }
        self.restarting = 0;
    }
}
