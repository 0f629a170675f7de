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

/// Why a server cannot tell whether a client keeps this rule, if it cannot.
pub(crate) fn unseen(id: &str) -> Option<&'static str> {
    match id {
        "R-2034-1" | "R-2034-2" | "R-2034-3" => Some("what a client reads in a status is not seen"),
        "R-4954-8" => Some("no mechanism with a security layer is played"),
        "R-9422-1" | "R-9422-2" | "R-9422-3" => Some("a client need not know LIMITS"),
        _ => None,
    }
}

const TEXT: &str = include_str!("../../testdata/rules.md");
