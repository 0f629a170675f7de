//! What a session counts.

/// What a session counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Commands, well-formed or not.
    pub commands: u64,
    /// Input behind a command that has to be the last of its group.
    pub out_of_turn: u64,
}
