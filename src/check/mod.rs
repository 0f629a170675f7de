//! The connection check, step by step, and the search for settings that work.
