//! Octets, ends, time-outs and the caller's own wishes in any order: no panic, every message is
//! reported once, and nothing follows the end.

#![no_main]

use std::time::Instant;

use ehlo::Security;
use ehlo_fuzz::{Chunks, Peer, with_login};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&first, input)) = input.split_first() else {
        return;
    };
    let security = match first % 4 {
        0 => Security::Implicit,
        1 => Security::StartTls,
        2 => Security::Opportunistic,
        _ => Security::Plaintext,
    };
    let mut peer = Peer::new(with_login(security), Instant::now());
    peer.play(input, Chunks::Whole);
    // In clear no secret may leave, in whatever form AUTH carries it.
    if security == Security::Plaintext {
        let wire = String::from_utf8_lossy(&peer.wire);
        assert!(!wire.contains("AUTH "), "{wire}");
    }
});
