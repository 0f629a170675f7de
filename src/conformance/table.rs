//! What all runs came to, rule by rule.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::judge::{Judged, Verdict};
use super::rules::{self, Rule};

/// The result of an examination.
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// All transcripts, by name.
    pub(crate) runs: Vec<Judged>,
}

/// One rule.
pub(crate) struct Row {
    pub(crate) rule: Rule,
    pub(crate) verdict: RuleVerdict,
}

/// Whether a rule is kept.
pub(crate) enum RuleVerdict {
    /// In so many dialogues.
    Kept(usize),
    /// In each of these transcripts, by what.
    Broken(Vec<(&'static str, String)>),
    NotApplicable(String),
}

impl Table {
    pub(crate) fn of(runs: Vec<Judged>) -> Self {
        let rows = rules::all()
            .into_iter()
            .map(|rule| Row {
                rule,
                verdict: RuleVerdict::of(rule.id, &runs),
            })
            .collect();
        Self { rows, runs }
    }

    /// How many rules are kept, broken and not applicable.
    pub(crate) fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for row in &self.rows {
            counts[match row.verdict {
                RuleVerdict::Kept(_) => 0,
                RuleVerdict::Broken(_) => 1,
                RuleVerdict::NotApplicable(_) => 2,
            }] += 1;
        }
        counts
    }

    /// Transcripts that came to a dialogue.
    pub(crate) fn played(&self) -> usize {
        let played = self.runs.iter().filter(|run| !run.dialogue.is_empty());
        played.count()
    }

    /// The runs in which something was broken.
    pub(crate) fn broken(&self) -> impl Iterator<Item = &Judged> {
        self.runs
            .iter()
            .filter(|run| matches!(run.verdict, Verdict::Broken(_)))
    }

    /// As one document.
    pub(crate) fn json(&self, client: &str) -> Value {
        let [kept, broken, not_applicable] = self.counts();
        let rules: Vec<_> = self.rows.iter().map(Row::json).collect();
        let dialogues: Vec<_> = self.runs.iter().map(run).collect();
        json!({
            "client": client,
            "ehlo": env!("CARGO_PKG_VERSION"),
            "kept": kept,
            "broken": broken,
            "not_applicable": not_applicable,
            "rules": rules,
            "transcripts": dialogues,
        })
    }
}

impl Row {
    fn json(&self) -> Value {
        let breaches: Vec<_> = match &self.verdict {
            RuleVerdict::Broken(breaches) => breaches
                .iter()
                .map(|(transcript, what)| json!({"transcript": transcript, "what": what}))
                .collect(),
            RuleVerdict::Kept(_) | RuleVerdict::NotApplicable(_) => Vec::new(),
        };
        json!({
            "rule": self.rule.id,
            "section": self.rule.section,
            "level": self.rule.level,
            "text": self.rule.text,
            "verdict": self.verdict.word(),
            "dialogues": match &self.verdict {
                RuleVerdict::Kept(count) => Some(*count),
                RuleVerdict::Broken(_) | RuleVerdict::NotApplicable(_) => None,
            },
            "reason": match &self.verdict {
                RuleVerdict::NotApplicable(reason) => Some(reason),
                RuleVerdict::Kept(_) | RuleVerdict::Broken(_) => None,
            },
            "breaches": breaches,
        })
    }
}

impl RuleVerdict {
    fn of(rule: &str, runs: &[Judged]) -> Self {
        let mut breaches = Vec::new();
        let mut kept = 0;
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for run in runs {
            let cites = run.rules.iter().any(|cited| cited == rule);
            match &run.verdict {
                Verdict::Broken(found) => {
                    let mut found = found.iter().filter(|breach| breach.rule == rule).peekable();
                    kept += usize::from(cites && found.peek().is_none());
                    breaches.extend(found.map(|breach| (run.name, breach.what.clone())));
                }
                Verdict::Kept => kept += usize::from(cites),
                Verdict::NotApplicable(reason) if cites => {
                    *reasons.entry(reason).or_default() += 1;
                }
                Verdict::NotApplicable(_) => {}
            }
        }
        if !breaches.is_empty() {
            return Self::Broken(breaches);
        }
        if let Some(reason) = rules::unseen(rule) {
            return Self::NotApplicable(reason.into());
        }
        if kept > 0 {
            return Self::Kept(kept);
        }
        let most = reasons.into_iter().max_by_key(|(_, count)| *count);
        let reason = most.map_or("no dialogue from outside shows it", |(reason, _)| reason);
        Self::NotApplicable(reason.into())
    }

    /// How many dialogues broke it.
    pub(crate) fn broken_in(&self) -> usize {
        match self {
            Self::Broken(breaches) => {
                let names: BTreeSet<_> = breaches.iter().map(|(name, _)| name).collect();
                names.len()
            }
            Self::Kept(_) | Self::NotApplicable(_) => 0,
        }
    }

    pub(crate) fn is_applicable(&self) -> bool {
        match self {
            Self::Kept(_) | Self::Broken(_) => true,
            Self::NotApplicable(_) => false,
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Kept(_) => "kept",
            Self::Broken(_) => "broken",
            Self::NotApplicable(_) => "not-applicable",
        }
    }
}

fn run(run: &Judged) -> Value {
    let verdict = match &run.verdict {
        Verdict::Kept => "kept",
        Verdict::Broken(_) => "broken",
        Verdict::NotApplicable(_) => "not-applicable",
    };
    let reason = match &run.verdict {
        Verdict::NotApplicable(reason) => Some(reason),
        Verdict::Kept | Verdict::Broken(_) => None,
    };
    // What was kept needs no proof.
    let dialogue = match &run.verdict {
        Verdict::Broken(_) => Some(&run.dialogue),
        Verdict::Kept | Verdict::NotApplicable(_) => None,
    };
    json!({
        "transcript": run.name,
        "rules": run.rules,
        "verdict": verdict,
        "reason": reason,
        "dialogue": dialogue,
    })
}
