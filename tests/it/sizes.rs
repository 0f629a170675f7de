//! What a connection costs while nothing happens: the values that exist once for each connection,
//! event or recipient must not grow unseen.

use std::mem::size_of;

use ehlo::proto::{Connection, Event, Session};
use ehlo::{Error, Reply, Verdict};

#[test]
fn values_have_the_sizes_they_had_when_somebody_last_thought_about_it() {
    for (name, size, limit) in [
        ("Connection", size_of::<Connection>(), 768),
        ("Event", size_of::<Event>(), 56),
        ("Session", size_of::<Session>(), 8),
        ("Verdict", size_of::<Verdict>(), 32),
        ("Reply", size_of::<Reply>(), 24),
        ("Error", size_of::<Error>(), 8),
    ] {
        assert!(size <= limit, "{name} has {size} octets, more than {limit}");
    }
}
