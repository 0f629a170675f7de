//! Diagnoses: what is said of each thing that a server or a network can do wrong.

pub(crate) mod cases;
mod evidence;
mod replies;
mod secrets;
pub(crate) mod stage;
mod table;
