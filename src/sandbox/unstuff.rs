//! Unstuffing.
