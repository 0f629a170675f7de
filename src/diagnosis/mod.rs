//! What an error most likely means, and what to change.
