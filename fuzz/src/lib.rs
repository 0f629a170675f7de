//! The targets' bodies, and the tests' modules that they stand on.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/bench.rs"]
mod bench;
#[path = "../../tests/transcript/event.rs"]
mod event;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/model.rs"]
mod model;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/oracles.rs"]
mod oracles;
#[path = "../../tests/it/reference.rs"]
mod reference;
mod targets;

/// Runs the target of this name, and panics at what it finds.
pub fn reply(input: &[u8]) {
    judge(targets::reply(input));
}

/// Runs the target of this name, and panics at what it finds.
pub fn session(input: &[u8]) {
    judge(targets::session(input));
}

/// Runs the target of this name, and panics at what it finds.
pub fn body(input: &[u8]) {
    judge(targets::body(input));
}

/// Runs the target of this name, and panics at what it finds.
pub fn dialogue(input: &[u8]) {
    judge(targets::dialogue(input));
}

/// Runs the target of this name, and panics at what it finds.
pub fn differential(input: &[u8]) {
    judge(targets::differential(input));
}

/// Runs the target of this name, and panics at what it finds.
pub fn address(input: &str) {
    judge(targets::address(input));
}

fn judge(result: Result<(), String>) {
    if let Err(problem) = result {
        panic!("{problem}");
    }
}
