//! The `ehlo` program.

fn main() {}
