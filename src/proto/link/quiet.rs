//! A link on which nothing is said or expected, and what it does without then.

use std::sync::Arc;
use std::time::Instant;

use super::{Link, Text, Turn};
use crate::proto::config::Config;
use crate::proto::dialogue::Kept;
use crate::proto::session::Session;

/// What is kept of a link on which nothing is said or expected.
pub(crate) struct Quiet {
    pub(crate) config: Arc<Config>,
    dialogue: Kept,
    sent: u64,
    received: u64,
    flights: u64,
    replies: u64,
    last_command: Option<&'static str>,
    heard_at: Option<Instant>,
}

impl Link {
    /// Whether nothing is to be written or told, nothing expected, and nothing left over.
    pub(crate) fn is_quiet(&self) -> bool {
        self.expected.is_empty()
            && self.output.unsent() == 0
            && self.input.is_empty()
            && self.events.is_empty()
    }

    /// Leaves what a quiet link keeps.
    pub(crate) fn put_by(&mut self, session: &Session) -> Quiet {
        self.record_commands();
        self.record_replies();
        Quiet {
            config: Arc::clone(&self.config),
            dialogue: self.dialogue.put_by(session.texts()),
            sent: self.output.sent_total(),
            received: self.received,
            flights: self.flights,
            replies: self.replies,
            last_command: self.last_command,
            heard_at: self.heard_at,
        }
    }

    /// Goes on from what a quiet link kept.
    pub(crate) fn take_up(&mut self, quiet: Quiet, session: &Session) {
        self.input.begin_again(quiet.config.limits);
        self.output.take_up(quiet.sent);
        self.dialogue.take_up(quiet.dialogue, session.texts());
        self.config = quiet.config;
        self.expected.clear();
        self.turn = Turn::Server;
        self.text = Text::Shown;
        self.waiting_since = None;
        self.received = quiet.received;
        self.flights = quiet.flights;
        self.replies = quiet.replies;
        self.last_command = quiet.last_command;
        self.heard_at = quiet.heard_at;
    }

    /// Gives back memory that an idle connection does without, but for what so many short messages
    /// need.
    pub(crate) fn rest(&mut self, messages: usize) {
        self.expected.shrink_to(messages * COMMANDS);
        self.events.shrink_to(messages * COMMANDS);
        self.output.rest(messages, messages * COMMANDS * LINE);
        self.input.rest(messages * COMMANDS * LINE);
    }
}

/// Commands of an ordinary transaction, and replies to it.
const COMMANDS: usize = 4;

/// Octets of an ordinary command or reply.
const LINE: usize = 64;
