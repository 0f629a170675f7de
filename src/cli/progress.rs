//! How far a run of several messages is, for people.

use std::time::{Duration, Instant};

use super::terminal;

/// Shows at the foot of a terminal how far it is.
pub(super) struct Progress {
    begun: Instant,
    shown: Option<Instant>,
    done: u64,
    total: Option<u64>,
}

impl Progress {
    /// Of so many messages, where that is known.
    pub(super) fn new(total: Option<u64>) -> Self {
        Self {
            begun: Instant::now(),
            shown: None,
            done: 0,
            total,
        }
    }

    pub(super) fn total_is_unknown(&mut self) {
        self.total = None;
    }

    /// One more has its report.
    pub(super) fn step(&mut self) {
        self.done += 1;
        let now = Instant::now();
        if self.shown.is_some_and(|shown| now - shown < PAUSE) {
            return;
        }
        self.shown = Some(now);
        terminal::status(line(self.done, self.total, now - self.begun));
    }
}

fn line(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = rate(done, elapsed);
    match total {
        Some(total) if total > 0 => {
            let full = (WIDTH * done.min(total) / total) as usize;
            let bar = "#".repeat(full) + &"-".repeat(WIDTH as usize - full);
            format!("[{bar}] {done} of {total} messages, {rate} a second")
        }
        Some(_) | None => format!("{done} messages, {rate} a second"),
    }
}

/// Messages a second, with as many digits as say something.
pub(super) fn rate(messages: u64, elapsed: Duration) -> String {
    let rate = messages as f64 / elapsed.as_secs_f64().max(1e-6);
    match rate < 10.0 {
        true => format!("{rate:.1}"),
        false => format!("{rate:.0}"),
    }
}

/// Signs in the bar.
const WIDTH: u64 = 30;
/// Between two showings.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        let second = Duration::from_secs(1);
        for (done, total, expected) in [
            (
                0,
                Some(2),
                "[------------------------------] 0 of 2 messages, 0.0 a second",
            ),
            (
                1,
                Some(2),
                "[###############---------------] 1 of 2 messages, 1.0 a second",
            ),
            (
                60,
                Some(60),
                "[##############################] 60 of 60 messages, 60 a second",
            ),
            (
                3,
                Some(2),
                "[##############################] 3 of 2 messages, 3.0 a second",
            ),
            (7, None, "7 messages, 7.0 a second"),
        ] {
            assert_eq!(line(done, total, second), expected);
        }
    }
}
