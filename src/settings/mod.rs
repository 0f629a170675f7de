//! The fields of a settings form, and a client's configuration made of them.
