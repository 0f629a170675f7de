//! A check under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::dialogue::{Dialogue, Ending};
use super::recorder::Recorder;
use super::report::Report;
use super::search::{Search, Working};
use super::step::Step;
use super::{Check, NEVER};
use crate::net::config::ClientConfig;
use crate::proto::address::Mailbox;
use crate::proto::dialogue::Observer;

/// A check under way: a stream of its steps as they happen, and the report when it is over.
///
/// A step's name may come twice in the stream, as EHLO does around STARTTLS; the report has it once.
/// Dropping it ends the connection.
#[must_use = "a check goes on only while it is polled"]
pub struct Running {
    work: Work,
    steps: mpsc::UnboundedReceiver<Step>,
}

enum Work {
    Going(Pin<Box<dyn Future<Output = Report> + Send>>),
    Done(Box<Report>),
}

impl Running {
    pub(super) fn new(check: Check) -> Self {
        let (tell, steps) = mpsc::unbounded_channel();
        let work = Course::new(check, tell).run();
        Self {
            work: Work::Going(Box::pin(work)),
            steps,
        }
    }

    /// Goes through with the check. Steps that were not taken from the stream are in the report all
    /// the same.
    pub async fn report(self) -> Report {
        match self.work {
            Work::Going(work) => work.await,
            Work::Done(report) => *report,
        }
    }
}

impl Stream for Running {
    type Item = Step;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        if let Work::Going(work) = &mut self.work
            && let Poll::Ready(report) = work.as_mut().poll(cx)
        {
            self.work = Work::Done(Box::new(report));
        }
        match (self.steps.poll_recv(cx), &self.work) {
            (Poll::Ready(Some(step)), _) => Poll::Ready(Some(step)),
            // The connection may outlive the check by its good-bye, and hold the other end.
            (_, Work::Done(_)) | (Poll::Ready(None), _) => Poll::Ready(None),
            (Poll::Pending, Work::Going(_)) => Poll::Pending,
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// The course of a check: one dialogue, and, where nothing comes of it, a search beside it or behind
/// it.
struct Course {
    config: ClientConfig,
    dialogue: Dialogue,
    observer: Option<Box<dyn Observer + Send>>,
    recorder: Arc<Recorder>,
    begun: Instant,
    until: Instant,
    patience: Duration,
    sender: Option<Mailbox>,
    /// What is to be said of the settings before anything is tried.
    remarks: Vec<String>,
}

impl Course {
    fn new(check: Check, tell: mpsc::UnboundedSender<Step>) -> Self {
        let begun = Instant::now();
        let until = begun.checked_add(check.deadline).unwrap_or(begun + NEVER);
        let recorder = Recorder::new(check.config.clone(), tell, begun.into_std());
        let recorder = Arc::new(recorder);
        let patience = PATIENCE.min(check.deadline / 3);
        let sender = check.sender();
        Self {
            dialogue: Dialogue::new(&check, Arc::clone(&recorder), until),
            config: check.config,
            observer: check.observer,
            recorder,
            begun,
            until,
            patience,
            sender,
            remarks: check.remarks,
        }
    }

    async fn run(self) -> Report {
        let Self {
            config,
            dialogue,
            observer,
            recorder,
            begun,
            until,
            patience,
            sender,
            remarks,
        } = self;
        let search = Search::new(&config);
        let mut dialogue = Box::pin(dialogue.run(observer));
        let silence = tokio::select! {
            biased;
            ending = &mut dialogue => Err(ending),
            stage = recorder.silence(patience) => Ok(stage),
        };
        let (ending, found) = match silence {
            Err(ending) => {
                let ending = told(ending, &recorder, &search);
                let found = match &ending.error {
                    Some(error) => timeout_at(until, search.after(error)).await,
                    None => Ok(None),
                };
                (ending, found.unwrap_or(None))
            }
            // A slow server may still answer, and then it is believed.
            Ok(stage) => {
                let mut beside = Box::pin(search.while_silent(stage));
                tokio::select! {
                    biased;
                    ending = &mut dialogue => {
                        let ending = told(ending, &recorder, &search);
                        let found = match &ending.error {
                            Some(error) if search.hope(error).is_some() => {
                                timeout_at(until, beside).await.unwrap_or(None)
                            }
                            Some(_) | None => None,
                        };
                        (ending, found)
                    }
                    found = &mut beside => match found {
                        Some(found) if search.is_other_mode(&found) => {
                            let mismatch = Ending::failed(found.mismatch(stage));
                            (told(mismatch, &recorder, &search), Some(found))
                        }
                        found => (told(dialogue.await, &recorder, &search), found),
                    },
                }
            }
        };
        let ending = conclude(&search, &recorder, ending, &found);
        Report::new(&config, &recorder, ending, found, sender)
            .with_remarks(remarks)
            .took(begun.elapsed())
    }
}

/// Tells at which step it ended, unless a search may still find another reason.
fn told(ending: Ending, recorder: &Recorder, search: &Search<'_>) -> Ending {
    if let Some(error) = &ending.error
        && !search.may_be_mismatch(error)
    {
        recorder.failed(error, ending.at.into_std());
    }
    ending
}

/// Silence where the other mode was then found to work is no silence.
fn conclude(
    search: &Search<'_>,
    recorder: &Recorder,
    ending: Ending,
    found: &Option<Working>,
) -> Ending {
    let error = match (ending.error, found) {
        (Some(error), found) if search.may_be_mismatch(&error) => {
            let error = match found {
                Some(found) if search.is_other_mode(found) => found.mismatch(error.stage()),
                Some(_) | None => error,
            };
            recorder.failed(&error, ending.at.into_std());
            Some(error)
        }
        (error, _) => error,
    };
    Ending { error, ..ending }
}

/// A healthy server speaks within this time; after it, other settings are tried beside.
const PATIENCE: Duration = Duration::from_secs(5);
