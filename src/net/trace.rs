//! A span for each connection, where the `tracing` feature is on; nothing otherwise.
//!
//! The span has a number, the host and the stage. No payload ever gets here.

use crate::error::{Error, Stage};

#[cfg(feature = "tracing")]
pub(super) struct Trace(tracing::Span);

#[cfg(feature = "tracing")]
impl Trace {
    pub(super) fn new(host: &str) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let id = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let span = tracing::info_span!("smtp", id, host, stage = tracing::field::Empty);
        tracing::debug!(parent: &span, "connected");
        Self(span)
    }

    pub(super) fn reached(&self, stage: Stage, code: u16) {
        self.0.record("stage", stage.as_str());
        tracing::debug!(parent: &self.0, stage = stage.as_str(), code, "reached");
    }

    pub(super) fn ready(&self) {
        tracing::debug!(parent: &self.0, "ready");
    }

    pub(super) fn closed(&self, result: &Result<(), Error>) {
        match result {
            Ok(()) => tracing::debug!(parent: &self.0, "closed"),
            Err(error) => {
                self.0.record("stage", error.stage().as_str());
                tracing::debug!(
                    parent: &self.0,
                    category = error.category().as_str(),
                    stage = error.stage().as_str(),
                    "failed"
                );
            }
        }
    }
}

#[cfg(not(feature = "tracing"))]
pub(super) struct Trace;

#[cfg(not(feature = "tracing"))]
impl Trace {
    pub(super) fn new(_host: &str) -> Self {
        Self
    }

    pub(super) fn reached(&self, _stage: Stage, _code: u16) {}

    pub(super) fn ready(&self) {}

    pub(super) fn closed(&self, _result: &Result<(), Error>) {}
}
