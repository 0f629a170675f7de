//! Rewrites the `C` and `event` lines of a file to what the engine does. For new files, and for
//! changes that were meant: read the difference before it is committed.

use std::fs;

use super::parse::Transcript;
use super::play::{Pieces, Player, Writes};

/// Plays the file whole, and writes it anew where something differs.
pub(crate) fn bless(transcript: &Transcript) -> Result<(), String> {
    let mut player = Player::new(transcript, Pieces::Whole, Writes::Whole);
    let mut lines: Vec<Option<String>> = transcript.lines.iter().cloned().map(Some).collect();
    let mut behind: Vec<Vec<String>> = vec![Vec::new(); lines.len()];
    for block in &transcript.blocks {
        let seen = player.step(block)?;
        if seen.agrees(block, transcript.shows_reached) {
            continue;
        }
        for &index in &block.observed {
            lines[index] = None;
        }
        behind[block.line] = seen.lines(transcript.shows_reached);
    }
    let mut text = String::new();
    for (line, behind) in lines.into_iter().zip(behind) {
        for line in line.into_iter().chain(behind) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    fs::write(&transcript.path, text).map_err(|error| error.to_string())
}
