//! One step of a check.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::error::Stage;

/// A step of the way to a server: what was seen there, and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// Which step it is.
    #[serde(serialize_with = "by_name")]
    pub name: Stage,
    /// Whether it came to a good end.
    pub ok: bool,
    /// How long it took.
    #[serde(rename = "ms", serialize_with = "in_milliseconds")]
    pub took: Duration,
    /// What was seen, or what went wrong.
    pub detail: String,
}

impl Step {
    pub(super) fn done(name: Stage, took: Duration, detail: impl Into<String>) -> Self {
        Self {
            name,
            ok: true,
            took,
            detail: detail.into(),
        }
    }

    pub(super) fn failed(name: Stage, took: Duration, detail: impl Into<String>) -> Self {
        Self {
            ok: false,
            ..Self::done(name, took, detail)
        }
    }
}

/// In milliseconds, to a tenth.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

pub(super) fn in_milliseconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(milliseconds(*duration))
}

fn by_name<S: Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stage.as_str())
}
