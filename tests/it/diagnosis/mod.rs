//! Diagnoses: what is said of each thing that a server or a network can do wrong.

mod cases;
mod evidence;
mod secrets;
mod stage;
mod table;
