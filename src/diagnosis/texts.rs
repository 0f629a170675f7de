//! What is said of each kind: the table in `texts.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::facts::Facts;
use super::kind::Kind;
use super::suggestion::Source;

/// What is said of a kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Texts {
    observed: Vec<Sentence>,
    causes: Vec<Sentence>,
    advice: Vec<Sentence>,
    #[serde(default)]
    pub(super) suggest: Vec<Source>,
}

impl Texts {
    pub(super) fn of(kind: Kind) -> &'static Self {
        TEXTS
            .get(&kind)
            .expect("every kind has its texts, which a test holds")
    }

    /// The first sentence that can be said.
    pub(super) fn observed(&self, facts: &Facts<'_>) -> String {
        let mut said = self.observed.iter().filter_map(|it| it.say(facts));
        said.next()
            .unwrap_or_else(|| facts.error.message().to_owned())
    }

    pub(super) fn causes(&self, facts: &Facts<'_>) -> Vec<String> {
        said(&self.causes, facts)
    }

    pub(super) fn advice(&self, facts: &Facts<'_>) -> Vec<String> {
        said(&self.advice, facts)
    }
}

fn said(sentences: &[Sentence], facts: &Facts<'_>) -> Vec<String> {
    let said = sentences.iter().filter_map(|it| it.say(facts));
    said.collect()
}

/// A sentence with its facts in braces, and the condition under which it is said.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sentence {
    Always(String),
    If { when: String, say: String },
}

impl Sentence {
    fn say(&self, facts: &Facts<'_>) -> Option<String> {
        match self {
            Self::Always(say) => facts.fill(say),
            Self::If { when, say } if facts.meet(when) => facts.fill(say),
            Self::If { .. } => None,
        }
    }
}

static TEXTS: LazyLock<BTreeMap<Kind, Texts>> = LazyLock::new(|| {
    toml::from_str(include_str!("texts.toml"))
        .expect("the file is part of the program, and a test reads it")
});

#[cfg(test)]
mod tests {
    use super::super::facts::{SIGNS, WORDS};
    use super::*;

    fn parts(sentence: &Sentence) -> (&str, &str) {
        match sentence {
            Sentence::Always(say) => ("", say),
            Sentence::If { when, say } => (when, say),
        }
    }

    #[test]
    fn every_kind_has_texts_that_name_only_what_there_is() {
        for kind in Kind::ALL {
            let texts = Texts::of(kind);
            let sentences = [&texts.observed, &texts.causes, &texts.advice];
            for sentence in sentences.into_iter().flatten() {
                let (when, say) = parts(sentence);
                for sign in when.split_whitespace() {
                    let sign = sign.trim_start_matches('!');
                    assert!(SIGNS.contains(&sign), "{kind}: {sign}");
                }
                for word in say.split('{').skip(1) {
                    let (word, _) = word.split_once('}').expect("a brace is closed");
                    assert!(WORDS.contains(&word), "{kind}: {word}");
                }
                let ends = say.ends_with('.') || say.ends_with('}');
                assert!(ends && !say.contains("  "), "{kind}: {say}");
            }
            // Whatever is known, something can be said.
            for sentences in [&texts.causes, &texts.advice] {
                let always = sentences.iter().any(|sentence| {
                    let (when, say) = parts(sentence);
                    let facts = ["{host}", "{port}", "{stage}", "{message}"];
                    let rest = facts
                        .iter()
                        .fold(say.to_owned(), |say, fact| say.replace(fact, ""));
                    when.is_empty() && !rest.contains('{')
                });
                assert!(always, "{kind} may have nothing to say");
            }
        }
    }
}
