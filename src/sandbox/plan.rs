//! The options, prepared once for all sessions of a server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::{Act, Kind, Quirk, Step, Which};
use super::options::Options;

/// What all sessions of one server share: its options, and how often each step was reached.
#[derive(Debug)]
pub struct Plan {
    options: Options,
    quirks: Vec<Quirk>,
    steps: [Planned; Step::ALL.len()],
    addressed: HashMap<(Step, String), Vec<Act>>,
}

#[derive(Debug, Default)]
struct Planned {
    reached: AtomicU64,
    acts: Vec<(Which, Act)>,
}

impl Plan {
    /// A plan of these options.
    pub fn new(options: Options) -> Self {
        let mut plan = Self {
            quirks: Vec::new(),
            steps: Default::default(),
            addressed: HashMap::new(),
            options,
        };
        for fault in &plan.options.faults {
            match fault.0.clone() {
                Kind::Quirk(quirk) => plan.quirks.push(quirk),
                // Of the server's identity, and of no session.
                Kind::Certificate(_) | Kind::Tls(_) => {}
                Kind::Act(step, Which::Address(address), act) => {
                    let acts = plan.addressed.entry((step, address)).or_default();
                    acts.push(act);
                }
                Kind::Act(step, which, act) => plan.steps[step as usize].acts.push((which, act)),
            }
        }
        plan
    }

    /// The options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Counts that the step was reached, and says what is to happen there.
    pub(super) fn reach(&self, step: Step, address: &str) -> Vec<Act> {
        let planned = &self.steps[step as usize];
        if planned.acts.is_empty() && self.addressed.is_empty() {
            return Vec::new();
        }
        let time = planned.reached.fetch_add(1, Ordering::Relaxed) + 1;
        let due = |which: &Which| match which {
            Which::Every => true,
            Which::Nth(n) => *n == time,
            Which::Address(_) => false,
        };
        let acts = planned.acts.iter().filter(|(which, _)| due(which));
        let mut acts: Vec<_> = acts.map(|(_, act)| act.clone()).collect();
        if !self.addressed.is_empty() && !address.is_empty() {
            let key = (step, address.to_ascii_lowercase());
            acts.extend(self.addressed.get(&key).into_iter().flatten().cloned());
        }
        acts
    }
}
