//! Dialogues as files: the format, a player for the engine, and the ways each file is played.

pub(crate) mod bless;
pub(crate) mod combinations;
pub(crate) mod escape;
pub(crate) mod event;
pub(crate) mod matrix;
#[cfg(feature = "sandbox")]
pub(crate) mod network;
pub(crate) mod parse;
pub(crate) mod play;
pub(crate) mod says;
pub(crate) mod settings;
