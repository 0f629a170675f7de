//! Time as data: how long each step may take (RFC 5321 §4.5.3.2), and which deadline is next.

use std::time::Duration;

use crate::error::Stage;

/// How long to wait for the peer at each step.
///
/// A reply's time starts when its command has left and the reply before it is complete; octets of an
/// unfinished reply do not extend it. A body's time is for each block that the peer takes.
/// `Duration::MAX` waits for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The greeting. Default 5 minutes.
    pub greeting: Duration,
    /// EHLO, HELO, STARTTLS, AUTH. Default 5 minutes.
    pub command: Duration,
    /// The TLS handshake. Default 1 minute.
    pub handshake: Duration,
    /// MAIL and RSET. Default 5 minutes.
    pub mail: Duration,
    /// RCPT. Default 5 minutes.
    pub rcpt: Duration,
    /// DATA, until 354. Default 2 minutes.
    pub data: Duration,
    /// Until the peer takes more of what is being written. Default 3 minutes.
    pub block: Duration,
    /// The reply to the end of the message. Default 10 minutes.
    pub body: Duration,
    /// QUIT. Default 5 seconds: nothing depends on the answer.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            greeting: 5 * MINUTE,
            command: 5 * MINUTE,
            handshake: MINUTE,
            mail: 5 * MINUTE,
            rcpt: 5 * MINUTE,
            data: 2 * MINUTE,
            block: 3 * MINUTE,
            body: 10 * MINUTE,
            quit: Duration::from_secs(5),
        }
    }
}

impl Timeouts {
    /// None of them longer than `longest`.
    #[must_use]
    pub fn capped(self, longest: Duration) -> Self {
        Self {
            greeting: self.greeting.min(longest),
            command: self.command.min(longest),
            handshake: self.handshake.min(longest),
            mail: self.mail.min(longest),
            rcpt: self.rcpt.min(longest),
            data: self.data.min(longest),
            block: self.block.min(longest),
            body: self.body.min(longest),
            quit: self.quit.min(longest),
        }
    }

    /// The wait for a reply at this stage.
    pub(crate) fn reply(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Greeting => self.greeting,
            Stage::Mail => self.mail,
            Stage::Rcpt => self.rcpt,
            Stage::Data => self.data,
            Stage::Body => self.body,
            Stage::Handshake => self.handshake,
            Stage::Quit => self.quit,
            Stage::Resolve | Stage::Connect | Stage::Ehlo | Stage::StartTls | Stage::Auth => {
                self.command
            }
        }
    }
}
