//! The end of transactions: their verdicts, when the last reply is there or the connection is over,
//! and another beginning for those that have to.

use super::fault;
use super::link::Link;
use super::ongoing::{Fate, Opened, Step, Transaction};
use super::pipeline::{Leftover, Pipeline};
use crate::error::Error;

impl Pipeline {
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
