//! A connection that has nothing to do, as the little that it cannot do without.

use std::sync::Arc;

use super::{Connection, Phase, Progress};
use crate::proto::config::Context;
use crate::proto::link::Link;
use crate::proto::link::quiet::Quiet;
use crate::proto::offers::Offers;
use crate::proto::pipeline::{Pipeline, Quit};
use crate::proto::session::Session;
use crate::proto::settling::Settled;

/// What is kept of a connection that is ready and has nothing to do. All else, as queues, buffers and
/// places in them, is the same for each: one [`Connection`] serves many of them in turn.
pub(crate) struct Dormant {
    session: Session,
    link: Quiet,
    pipeline: Settled,
}

/// What a connection has in common with others to the same server, as long as that says the same to
/// each of them.
#[derive(Debug)]
pub(crate) struct Likeness {
    session: Session,
    offers: Arc<Offers>,
}

impl Connection {
    /// Leaves what must be kept, if there is nothing to do, and is vacant then.
    pub(crate) fn put_by(&mut self) -> Option<Dormant> {
        let quiet = matches!(self.phase, Phase::Ready)
            && self.link.is_quiet()
            && self.pipeline.quit == Quit::No;
        if !quiet || !self.pipeline.is_settled() {
            return None;
        }
        let session = self.progress.session.take()?;
        self.progress.tls = None;
        Some(Dormant {
            link: self.link.put_by(&session),
            pipeline: self.pipeline.put_by(),
            session,
        })
    }

    /// Goes on as the one that was put by. Only for a vacant connection.
    pub(crate) fn take_up(&mut self, dormant: Dormant) {
        let Dormant {
            session,
            link,
            pipeline,
        } = dormant;
        self.phase = Phase::Ready;
        self.replies_before_tls = None;
        self.link.take_up(link, &session);
        self.pipeline.take_up(pipeline);
        self.progress.session = Some(session);
    }

    /// What others to the same server may have in common with it, once it is ready.
    pub(crate) fn likeness(&self) -> Option<Likeness> {
        Some(Likeness {
            session: self.progress.session.clone()?,
            offers: Arc::clone(&self.pipeline.offers),
        })
    }

    /// Shares with another connection what is equal in both.
    pub(crate) fn share(&mut self, other: &Likeness) {
        if let Some(session) = &mut self.progress.session {
            session.share(&other.session);
        }
        if *self.pipeline.offers == *other.offers {
            self.pipeline.offers = Arc::clone(&other.offers);
        }
    }
}

impl Dormant {
    /// A vacant connection: it can go on as this one, or as any other.
    pub(crate) fn vacant(&self) -> Connection {
        let config = Arc::clone(&self.link.config);
        Connection {
            phase: Phase::Ready,
            progress: Progress::new(&config, &Context::default()),
            // Nonces are drawn before a session is ready.
            link: Link::new(config, [0; 32]),
            pipeline: Pipeline::new(),
            replies_before_tls: None,
        }
    }

    /// The facts of the session.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }
}
