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
    If {
        when: String,
        say: String,
    },
    /// The first that can be said.
    Either(Vec<Self>),
}

impl Sentence {
    fn say(&self, facts: &Facts<'_>) -> Option<String> {
        match self {
            Self::Always(say) => facts.fill(say),
            Self::If { when, say } if facts.meet(when) => facts.fill(say),
            Self::If { .. } => None,
            Self::Either(sentences) => sentences.iter().find_map(|it| it.say(facts)),
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

    /// Condition and text of each sentence, those of a list within a list too.
    fn parts(sentences: &[Sentence]) -> Vec<(&str, &str)> {
        let mut all = Vec::new();
        for sentence in sentences {
            match sentence {
                Sentence::Always(say) => all.push(("", say.as_str())),
                Sentence::If { when, say } => all.push((when, say)),
                Sentence::Either(sentences) => all.extend(parts(sentences)),
            }
        }
        all
    }

    #[test]
    fn every_kind_has_texts_that_name_only_what_there_is() {
        for kind in Kind::ALL {
            let texts = Texts::of(kind);
            let all = [&texts.observed, &texts.causes, &texts.advice];
            for (when, say) in all.into_iter().flat_map(|list| parts(list)) {
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
        }
    }

    #[test]
    fn whatever_is_known_something_can_be_said_of_every_kind() {
        for kind in Kind::ALL {
            let texts = Texts::of(kind);
            for sentences in [&texts.causes, &texts.advice] {
                let always = parts(sentences).into_iter().any(|(when, say)| {
                    let facts = ["{host}", "{port}", "{stage}", "{message}"];
                    let rest = facts
                        .iter()
                        .fold(say.to_owned(), |say, it| say.replace(it, ""));
                    when.is_empty() && !rest.contains('{')
                });
                assert!(always, "{kind}");
            }
        }
    }
}
