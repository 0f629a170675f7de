//! A sandbox that lets no client get away with anything.

use std::io;
use std::ops::Deref;
use std::sync::Mutex;

use ehlo::sandbox::{Options, Sandbox, Violation};

/// A sandbox whose test fails where a client broke a rule.
pub(crate) struct Strict {
    sandbox: Sandbox,
    /// What the test breaks on purpose.
    expected: Mutex<Vec<Violation>>,
}

impl Strict {
    pub(crate) async fn start(options: Options) -> io::Result<Self> {
        Sandbox::start(options).await.map(Self::of)
    }

    pub(crate) fn of(sandbox: Sandbox) -> Self {
        Self {
            sandbox,
            expected: Mutex::default(),
        }
    }

    /// The test breaks this rule on purpose.
    pub(crate) fn expect(&self, violation: Violation) {
        self.expected.lock().expect("no panic").push(violation);
    }
}

impl Deref for Strict {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let expected = self.expected.lock().expect("no panic");
            assert_eq!(self.sandbox.violations(), *expected, "broken rules");
            assert_eq!(self.sandbox.counters().out_of_turn, 0, "too far ahead");
        }
    }
}
