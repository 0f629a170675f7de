//! Whatever a server sends, and however it is cut, the client says and reports the same.

#![no_main]

use std::time::Instant;

use ehlo::proto::Config;
use ehlo::{BareNewlines, Content, Security};
use ehlo_fuzz::{Chunks, Peer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let [whole, octets] = [Chunks::Whole, Chunks::Octets].map(|chunks| {
        let mut peer = Peer::new(Config::new(Security::Opportunistic), now);
        let content = Content::check("Subject: x\r\n\r\n.\r\n", BareNewlines::Reject);
        peer.submit(content.expect("clean"));
        peer.play(input, chunks);
        (peer.wire, peer.events)
    });
    assert_eq!(
        whole.0.escape_ascii().to_string(),
        octets.0.escape_ascii().to_string()
    );
    assert_eq!(whole.1, octets.1);
});
