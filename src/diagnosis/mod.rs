//! What an error most likely means, and what to change.
//!
//! A [`Diagnosis`] is made of an [`Error`](crate::Error) and of the [`Situation`] in which it arose:
//! what was seen, the likely causes, what to change, and, where it can be known, the very settings to
//! use instead. Its sentences are for people who have never read an RFC, and hold no secret.
//!
//! ```no_run
//! use ehlo::diagnosis::{Diagnosis, Situation};
//! use ehlo::{Client, ClientConfig, Security};
//!
//! # async fn connect() {
//! let config = ClientConfig::new("smtp.example.org", Security::Implicit).with_port(587);
//! if let Err(error) = Client::connect(config.clone()).await {
//!     let diagnosis = Diagnosis::of(&error, &Situation::of(&config));
//!     println!("{diagnosis}");
//!     if let Some(better) = diagnosis.suggestion {
//!         println!("{}, {}, {}", better.host, better.port, better.encryption);
//!     }
//! }
//! # }
//! ```
//!
//! All of it is data, read on first use. `facts` makes signs and words of an error; the table
//! `rules.toml` makes a [`Kind`] of signs, codes and the server's words, the first rule that fits
//! deciding; `texts.toml` has what is said of each kind. What a provider is known to mean by a reply
//! ([`crate::providers`]) goes before both.

mod facts;
mod kind;
mod rules;
mod situation;
mod suggestion;
mod texts;

use std::fmt;

use serde::{Serialize, Serializer};

pub use kind::{Kind, UnknownKind};
pub use situation::Situation;
pub use suggestion::Suggestion;

use crate::error::{Category, Error, Stage};
use crate::providers::{self, KnownReply};
use facts::Facts;
use texts::Texts;

/// What an error most likely means, and what to change.
///
/// `Display` is a paragraph or two of several lines, for a terminal or a page; it serialises with
/// the names of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What it comes down to.
    pub kind: Kind,
    /// The error's category.
    #[serde(serialize_with = "name_category")]
    pub category: Category,
    /// Where in the dialogue it happened.
    #[serde(serialize_with = "name_stage")]
    pub stage: Stage,
    /// What was seen, in plain words; the server's own, if there are any, in quotation marks.
    pub observed: String,
    /// What it likely comes from, the likeliest first: a sentence each.
    pub causes: Vec<String>,
    /// What to change, in the order to try it: a sentence or two each.
    pub advice: Vec<String>,
    /// Settings to use instead, where they are known.
    pub suggestion: Option<Suggestion>,
    /// The provider whose server it is, by its [id](crate::providers::Provider::id).
    pub provider: Option<String>,
    /// Whether the same attempt may succeed later, with nothing changed.
    pub temporary: bool,
}

impl Diagnosis {
    /// The diagnosis of an error.
    pub fn of(error: &Error, situation: &Situation) -> Self {
        let facts = Facts::of(error, situation);
        let known = known_reply(error, situation);
        let kind = known
            .and_then(|known| known.kind.parse().ok())
            .unwrap_or_else(|| rules::kind(&facts));
        let texts = Texts::of(kind);
        let mut causes = texts.causes(&facts);
        let mut advice = texts.advice(&facts);
        if let Some(known) = known {
            causes.insert(0, known.meaning.clone());
            advice.insert(0, known.advice.clone());
        }
        Self {
            kind,
            category: error.category(),
            stage: error.stage(),
            observed: observed(texts, &facts),
            causes,
            advice,
            suggestion: suggestion::first(&texts.suggest, &facts),
            provider: situation.provider().map(|provider| provider.id.clone()),
            temporary: error.is_temporary(),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.observed)?;
        match self.causes.as_slice() {
            [] => {}
            [cause] => write!(f, "\nLikely cause: {cause}")?,
            causes => {
                f.write_str("\nLikely causes, the likeliest first:")?;
                for cause in causes {
                    write!(f, "\n  - {cause}")?;
                }
            }
        }
        match self.advice.as_slice() {
            [] => {}
            [advice] => write!(f, "\nWhat to do: {advice}")?,
            advice => {
                f.write_str("\nWhat to do:")?;
                for (index, advice) in advice.iter().enumerate() {
                    write!(f, "\n  {}. {advice}", index + 1)?;
                }
            }
        }
        match &self.suggestion {
            Some(suggestion) => write!(f, "\nSettings to try: {suggestion}"),
            None => Ok(()),
        }
    }
}

/// What the provider is known to mean by the reply. The words of one provider say nothing of another's.
fn known_reply(error: &Error, situation: &Situation) -> Option<&'static KnownReply> {
    let reply = error.reply()?;
    match situation.provider() {
        Some(provider) => provider.explain(reply),
        None => providers::explain(reply),
    }
}

/// What was seen, with the server's own words.
fn observed(texts: &Texts, facts: &Facts<'_>) -> String {
    let observed = texts.observed(facts);
    let Some(reply) = facts.error.reply() else {
        return observed;
    };
    let mut said: String = reply.to_string().chars().take(QUOTED).collect();
    if reply.to_string().chars().nth(QUOTED).is_some() {
        said.push('…');
    }
    format!("{observed} The server's answer was \"{said}\".")
}

fn name_category<S: Serializer>(category: &Category, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(category.as_str())
}

fn name_stage<S: Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stage.as_str())
}

/// Characters of a reply that are quoted.
const QUOTED: usize = 400;
