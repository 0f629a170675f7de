//! What an error most likely means, and what to change.

mod kind;

pub use kind::{Kind, UnknownKind};
