//! Ctrl-C: the first time to stop in good order, the second time at once.

use tokio::sync::watch;

use crate::error::{Category, Error, Party, Stage};
use crate::proto::transaction::{Outcome, Verdict};

/// Becomes true when the user wants the program to stop.
#[derive(Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens for Ctrl-C from here on.
    pub(crate) fn listen() -> Self {
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if sender.send_replace(true) {
                    std::process::exit(KILLED);
                }
            }
            // Without a handler the signal ends the program by itself.
            std::future::pending::<()>().await;
        });
        Self(receiver)
    }

    /// Resolves when Ctrl-C was pressed, now or earlier.
    pub(crate) async fn wait(&mut self) {
        // The sender lives as long as the runtime.
        let _ = self.0.wait_for(|pressed| *pressed).await;
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_pressed(&self) -> bool {
        *self.0.borrow()
    }
}

/// Nothing was sent, because the user wanted to stop.
pub(crate) fn stopped(stage: Stage) -> Error {
    Error::new(
        Category::ConnectionLost,
        stage,
        Party::Caller,
        "interrupted before the message was sent",
    )
    .with_hint("Nothing was delivered: the message can be sent again without a duplicate.")
}

/// The outcome, with the user's wish as the reason where that is what it was.
pub(crate) fn explained(outcome: &Outcome) -> Outcome {
    let verdicts = outcome.verdicts().iter().map(explain).collect();
    Outcome::new(verdicts).with_notices(outcome.notices().to_vec())
}

fn explain(verdict: &Verdict) -> Verdict {
    match verdict {
        Verdict::NotSent(error) => Verdict::NotSent(stopped(error.stage())),
        Verdict::InDoubt(_) => Verdict::InDoubt(unanswered()),
        Verdict::Accepted(_) | Verdict::Refused { .. } | Verdict::Deferred(_) => verdict.clone(),
    }
}

/// The server had the message, and its answer was not waited for.
fn unanswered() -> Error {
    Error::new(
        Category::ConnectionLost,
        Stage::Body,
        Party::Caller,
        "interrupted while the server had the message and had not answered",
    )
    .with_hint("The server may have it: sending it again may make a duplicate.")
}

/// What a shell says of a program that Ctrl-C has ended: 128 and SIGINT.
const KILLED: i32 = 130;
