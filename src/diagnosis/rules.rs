//! From what is known of an error to its kind: the table in `rules.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

use super::facts::Facts;
use super::kind::Kind;
use crate::error::Error;
use crate::proto::reply::{EnhancedCode, Reply};

/// The kind of an error: that of the first rule that fits.
pub(super) fn kind(facts: &Facts<'_>) -> Kind {
    let text = facts.error.reply().map(|reply| reply.text().to_lowercase());
    RULES
        .iter()
        .find(|rule| rule.fits(facts, text.as_deref().unwrap_or_default()))
        .map_or(Kind::Unexplained, |rule| rule.kind)
}

/// A rule. What it does not name fits everything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    kind: Kind,
    #[serde(default)]
    category: Vec<String>,
    #[serde(default)]
    stage: Vec<String>,
    #[serde(default)]
    code: Vec<String>,
    #[serde(default)]
    status: Vec<String>,
    #[serde(default)]
    text: Vec<String>,
    #[serde(default)]
    when: String,
}

impl Rule {
    fn fits(&self, facts: &Facts<'_>, text: &str) -> bool {
        let error: &Error = facts.error;
        let names =
            |list: &[String], found: &str| list.is_empty() || list.iter().any(|name| name == found);
        names(&self.category, error.category().as_str())
            && names(&self.stage, error.stage().as_str())
            && self.fits_code(error.reply())
            && self.fits_status(error.reply())
            && (self.text.is_empty() || self.text.iter().any(|words| text.contains(words)))
            && facts.meet(&self.when)
    }

    fn fits_code(&self, reply: Option<&Reply>) -> bool {
        let Some(reply) = reply else {
            return self.code.is_empty();
        };
        let number = reply.code().to_string();
        let fits = |code: &String| match code.strip_suffix("yz") {
            Some(class) => number.starts_with(class),
            None => number == *code,
        };
        self.code.is_empty() || self.code.iter().any(fits)
    }

    fn fits_status(&self, reply: Option<&Reply>) -> bool {
        let Some(found) = reply.and_then(Reply::enhanced) else {
            return self.status.is_empty();
        };
        self.status.is_empty() || self.status.iter().any(|status| is_status(status, found))
    }
}

/// Whether a code is the one of a rule, `5.7.8`, or of any class, `x.7.8`.
fn is_status(status: &str, found: EnhancedCode) -> bool {
    let text = found.to_string();
    match status.strip_prefix('x') {
        Some(rest) => text.get(1..) == Some(rest),
        None => text == status,
    }
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let book: Book = toml::from_str(include_str!("rules.toml"))
        .expect("the file is part of the program, and a test reads it");
    book.rule
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    rule: Vec<Rule>,
}

#[cfg(test)]
mod tests {
    use super::super::facts::SIGNS;
    use super::*;

    #[test]
    fn rules_name_only_what_there_is() {
        for rule in RULES.iter() {
            for sign in rule.when.split_whitespace() {
                let sign = sign.trim_start_matches('!');
                assert!(SIGNS.contains(&sign), "{}: {sign}", rule.kind);
            }
            for words in &rule.text {
                assert_eq!(*words, words.to_lowercase(), "{}", rule.kind);
            }
            for code in &rule.code {
                let is_class = matches!(code.as_str(), "4yz" | "5yz");
                assert!(
                    is_class || code.parse::<u16>().is_ok(),
                    "{}: {code}",
                    rule.kind
                );
            }
            for status in &rule.status {
                let parts: Vec<_> = status.split('.').collect();
                assert!(parts.len() == 3, "{}: {status}", rule.kind);
            }
        }
    }

    #[test]
    fn every_kind_has_a_rule() {
        for kind in Kind::ALL {
            assert!(RULES.iter().any(|rule| rule.kind == kind), "{kind}");
        }
    }
}
