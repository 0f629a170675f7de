//! What mail providers want of a client: hosts, ports, user names, limits, and what they mean by
//! their replies.
