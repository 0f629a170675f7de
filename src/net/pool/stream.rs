//! Many messages: taken one by one as connections have room for them, their outcomes given as they
//! come.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::books::Boarding;
use super::errand::{Errand, Manner, Passage};
use super::{Pool, Sent};
use crate::error::Error;
use crate::proto::body::Content;
use crate::proto::transaction::{Envelope, Outcome};

/// The outcomes of many messages, in the order in which they come: see [`Pool::send_all`].
#[must_use = "nothing is sent unless it is polled"]
pub struct SendAll<K, S> {
    pool: Pool,
    /// `None` once it has ended.
    source: Option<Pin<Box<S>>>,
    /// Messages that wait for a connection: one that is new, and those that set out again.
    waiting: Vec<(K, Errand, Boarding)>,
    /// Messages on their way, by the number of their connection.
    lanes: Vec<Lane<K>>,
    done: VecDeque<(K, Sent)>,
}

/// Messages that follow each other on one connection. They are answered in this order.
struct Lane<K> {
    line: u64,
    under_way: VecDeque<(K, Errand, Passage)>,
}

impl Pool {
    /// Sends many messages, each with a key by which its outcome is known.
    ///
    /// The next one is asked for when a connection has room for it, so at most
    /// [`PoolOptions::depth`](crate::net::PoolOptions::depth) of them for each connection, and one
    /// more, are in memory; and only as the outcomes are taken, so those are as few. Where the
    /// stream knows at least how many there are ([`Stream::size_hint`]), as many connections are
    /// opened at once as they need; else one after the other.
    ///
    /// An outcome of a message for which there was no connection is told before the next message is
    /// asked for: whoever sees it can stop.
    ///
    /// Dropping it withdraws what is not finished, as far as the protocol still allows.
    ///
    /// ```no_run
    /// use std::pin::pin;
    /// use std::future::poll_fn;
    ///
    /// use ehlo::{Content, Envelope, Pool};
    /// use futures_core::Stream;
    ///
    /// # async fn example<S: Stream<Item = (u64, Envelope, Content)>>(pool: Pool, messages: S) {
    /// let mut outcomes = pool.send_all(messages);
    /// let mut outcomes = pin!(outcomes);
    /// while let Some((key, outcome)) = poll_fn(|cx| outcomes.as_mut().poll_next(cx)).await {
    ///     println!("{key}: {:?}", outcome.verdicts());
    /// }
    /// # }
    /// ```
    pub fn send_all<K, S>(&self, messages: S) -> SendAll<K, S>
    where
        S: Stream<Item = (K, Envelope, Content)>,
    {
        SendAll {
            pool: self.clone(),
            source: Some(Box::pin(messages)),
            waiting: Vec::new(),
            lanes: Vec::new(),
            done: VecDeque::new(),
        }
    }
}

impl<K, S: Stream<Item = (K, Envelope, Content)>> SendAll<K, S> {
    /// The next outcome, and the connection it came by.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Option<(K, Sent)>> {
        if let Some(done) = self.done.pop_front() {
            return Poll::Ready(Some(done));
        }
        // Room that has become free is used before an outcome is told. Whoever has set out is looked
        // at once more, so that its outcome is heard of.
        loop {
            self.land(cx);
            match self.fill(cx) {
                Progress::Some => {}
                Progress::None | Progress::Failure => break,
            }
        }
        let under_way = self.lanes.iter().any(|lane| !lane.under_way.is_empty());
        let idle = self.waiting.is_empty() && !under_way && self.source.is_none();
        match self.done.pop_front() {
            Some(done) => Poll::Ready(Some(done)),
            None if idle => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Lets as many set out as there is room for; returns whether there was one.
    fn fill(&mut self, cx: &mut Context<'_>) -> Progress {
        let mut progress = self.set_out(cx);
        while progress != Progress::Failure {
            match self.take(cx) {
                Progress::None => break,
                taken @ (Progress::Some | Progress::Failure) => progress = taken,
            }
        }
        progress
    }

    /// Takes what is finished.
    fn land(&mut self, cx: &mut Context<'_>) {
        let Self {
            lanes,
            waiting,
            done,
            ..
        } = self;
        for lane in &mut *lanes {
            while let Some((_, _, passage)) = lane.under_way.front_mut()
                && let Poll::Ready(outcome) = passage.poll_outcome(cx)
                && let Some((key, mut errand, passage)) = lane.under_way.pop_front()
            {
                match errand.land(passage.land(outcome)) {
                    Some(sent) => done.push_back((key, sent)),
                    None => {
                        let boarding = errand.board(1);
                        waiting.push((key, errand, boarding));
                    }
                }
            }
        }
    }

    /// Lets those set out who have a connection; returns whether there was one.
    fn set_out(&mut self, cx: &mut Context<'_>) -> Progress {
        let mut progress = Progress::None;
        let mut index = 0;
        while let Some((_, _, boarding)) = self.waiting.get_mut(index) {
            let Poll::Ready(boarded) = Pin::new(boarding).poll(cx) else {
                index += 1;
                continue;
            };
            let (key, errand, _) = self.waiting.remove(index);
            progress = progress.max(self.boarded(key, errand, boarded));
        }
        progress
    }

    fn boarded(&mut self, key: K, mut errand: Errand, boarded: Result<Passage, Error>) -> Progress {
        match boarded {
            Ok(passage) => {
                let lane = self.lane(passage.line());
                lane.push_back((key, errand, passage));
                Progress::Some
            }
            Err(error) => {
                self.done.push_back((key, errand.fail(&error)));
                Progress::Failure
            }
        }
    }

    fn lane(&mut self, line: u64) -> &mut VecDeque<(K, Errand, Passage)> {
        let index = self.lanes.iter().position(|lane| lane.line == line);
        let index = index.unwrap_or_else(|| {
            // Those of connections that are over are empty some time.
            self.lanes.retain(|lane| !lane.under_way.is_empty());
            self.lanes.push(Lane {
                line,
                under_way: VecDeque::new(),
            });
            self.lanes.len() - 1
        });
        &mut self.lanes[index].under_way
    }

    /// Asks for the next message, unless one waits already; returns whether one has set out.
    fn take(&mut self, cx: &mut Context<'_>) -> Progress {
        if !self.waiting.is_empty() || self.done.len() >= ENOUGH {
            return Progress::None;
        }
        let Some(source) = &mut self.source else {
            return Progress::None;
        };
        match source.as_mut().poll_next(cx) {
            Poll::Ready(Some((key, envelope, content))) => {
                let demand = source.size_hint().0.clamp(0, MANY) + 1;
                match self.pool.errand(envelope, Manner::Whole(content)) {
                    Ok(errand) => {
                        let mut boarding = errand.board(demand);
                        match Pin::new(&mut boarding).poll(cx) {
                            Poll::Ready(boarded) => self.boarded(key, errand, boarded),
                            Poll::Pending => {
                                self.waiting.push((key, errand, boarding));
                                Progress::None
                            }
                        }
                    }
                    Err(sent) => {
                        self.done.push_back((key, sent));
                        Progress::Failure
                    }
                }
            }
            Poll::Ready(None) => {
                self.source = None;
                Progress::None
            }
            Poll::Pending => Progress::None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    None,
    Some,
    /// A message had no connection.
    Failure,
}

/// Nothing but the source is pinned, and that is boxed.
impl<K, S> Unpin for SendAll<K, S> {}

impl<K, S: Stream<Item = (K, Envelope, Content)>> Stream for SendAll<K, S> {
    type Item = (K, Outcome);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let sent = self.get_mut().poll_sent(cx);
        sent.map(|sent| sent.map(|(key, sent)| (key, sent.outcome)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let lanes = self.lanes.iter().map(|lane| lane.under_way.len());
        let ours = lanes.sum::<usize>() + self.waiting.len() + self.done.len();
        let (least, most) = self.source.as_ref().map_or((0, Some(0)), |s| s.size_hint());
        (
            least.saturating_add(ours),
            most.and_then(|most| most.checked_add(ours)),
        )
    }
}

impl<K, S> fmt::Debug for SendAll<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendAll")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Messages that are as good as endless: no pool has as many connections.
const MANY: usize = 1 << 20;
/// Outcomes that wait to be taken, before nothing more is asked for.
const ENOUGH: usize = 1024;
