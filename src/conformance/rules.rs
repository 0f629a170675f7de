//! The rules of `testdata/rules.md`.

/// One rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The RFC that it stands in.
    pub(crate) section: &'static str,
    /// As in `R-5321-1`.
    pub(crate) id: &'static str,
    /// `M`, `S` or `H`: a MUST, a SHOULD, or hardening.
    pub(crate) level: &'static str,
    pub(crate) text: &'static str,
}

/// All rules, in their order.
pub(crate) fn all() -> Vec<Rule> {
    let mut section = "";
    let mut rules = Vec::new();
    for line in TEXT.lines() {
        if let Some(heading) = line.strip_prefix("**") {
            section = heading.split("**").next().unwrap_or_default();
        } else if let Some(rule) = line.strip_prefix("- ") {
            let mut words = rule.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default();
            rules.push(Rule {
                section,
                id: word(),
                level: word(),
                text: word(),
            });
        }
    }
    rules
}

const TEXT: &str = include_str!("../../testdata/rules.md");
