//! What a client does against the rules, and gets away with.

use super::super::{Extension, Options, Violation};
use super::{clear, session};

fn with(extension: Extension) -> Options {
    clear().with_extension(extension)
}

/// The violations of a dialogue in which each piece comes when the one before was answered.
fn violations(options: &Options, dialogue: &[&[u8]], cut: usize) -> Vec<Violation> {
    let mut session = session(options.clone());
    let mut found = Vec::new();
    for piece in dialogue {
        for octets in piece.chunks(cut) {
            session.receive(octets);
        }
        while session.poll_action().is_some() {}
        found.extend(std::iter::from_fn(|| session.poll_violation()));
    }
    found
}

#[track_caller]
fn check(options: &Options, dialogue: &[&[u8]], expected: &[Violation]) {
    for cut in [usize::MAX, 1, 2, 3, 7] {
        let found = violations(options, dialogue, cut);
        assert_eq!(found, expected, "in pieces of {cut}");
    }
}

/// One message by DATA, with these parameters of MAIL.
#[track_caller]
fn check_content(parameters: &str, content: &[u8], expected: &[Violation]) {
    let options = with(Extension::SmtpUtf8);
    let mail = format!("EHLO me\r\nMAIL FROM:<a@b>{parameters}\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    let content = [content, b"\r\n.\r\n"].concat();
    check(&options, &[mail.as_bytes(), &content], expected);
}

#[test]
fn content_is_held_against_what_mail_said() {
    check_content("", b"A: b\r\n\r\nplain", &[]);
    check_content("", b"\r\n\xe9", &[Violation::EightBit]);
    check_content(" BODY=7BIT", b"\r\n\xe9", &[Violation::EightBit]);
    check_content(" BODY=8BITMIME", b"\r\n\xe9", &[]);
    let both = [Violation::Utf8Headers, Violation::EightBit];
    check_content("", "A: é".as_bytes(), &both);
    check_content(" BODY=8BITMIME", "A: é".as_bytes(), &both[..1]);
    check_content(" BODY=8BITMIME SMTPUTF8", "A: é".as_bytes(), &[]);
    check_content("", b"a\0b", &[Violation::Nul]);
    for bare in [b"a\nb".as_slice(), b"a\rb", b"a\r\r\nb", b"a\n"] {
        check_content("", bare, &[Violation::BareNewline]);
    }
    check_content("", &[b'x'; 998], &[]);
    check_content("", &[b'x'; 999], &[Violation::LongLine { octets: 1001 }]);
    check_content(" SIZE=5", b"abc", &[]);
    let understated = Violation::Understated {
        declared: 4,
        octets: 5,
    };
    check_content(" SIZE=4", b"abc", &[understated]);
}

#[test]
fn binary_content_has_no_lines_and_needs_to_be_declared() {
    let octets = b"BDAT 4 LAST\r\n\0\n\r\xff";
    for (parameter, expected) in [
        (" BODY=BINARYMIME", [].as_slice()),
        (" BODY=8BITMIME", &[Violation::Nul, Violation::BareNewline]),
    ] {
        let mail = format!("EHLO me\r\nMAIL FROM:<a@b>{parameter}\r\nRCPT TO:<c@d>\r\n");
        let options = with(Extension::BinaryMime);
        let dialogue = [mail.as_bytes(), octets];
        check(&options, &dialogue, expected);
    }
}

#[test]
fn a_refused_bdat_calls_for_rset() {
    let envelope = b"EHLO me\r\nMAIL FROM:<a@b>\r\n".as_slice();
    let refused = b"BDAT 3 LAST\r\nabc".as_slice();
    let mail = b"MAIL FROM:<a@b>\r\n".as_slice();
    let options = clear();
    check(&options, &[envelope, refused, mail], &[Violation::NoReset]);
    check(&options, &[envelope, refused, b"RSET\r\n", mail], &[]);
    // Sent before the refusal could be read.
    let together = [refused, mail].concat();
    let found = violations(&options, &[envelope, &together], usize::MAX);
    assert_eq!(found, []);
    let options = clear().with_fault("reply@body=552 no".parse().unwrap());
    let taken = b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n".as_slice();
    check(&options, &[taken, refused, mail], &[Violation::NoReset]);
}

#[test]
fn a_command_line_has_its_length() {
    let ehlo = b"EHLO me\r\n".as_slice();
    let noop = [b"NOOP ".as_slice(), &[b'x'; 505], b"\r\n"].concat();
    check(&clear(), &[ehlo, &noop], &[]);
    let noop = [b"NOOP ".as_slice(), &[b'x'; 506], b"\r\n"].concat();
    check(
        &clear(),
        &[ehlo, &noop],
        &[Violation::LongCommand { octets: 513 }],
    );
}

#[test]
fn the_refusal_of_a_token_is_acknowledged() {
    for (mechanism, token, right) in [
        ("OAUTHBEARER", "bixhPWpvLAFhdXRoPUJlYXJlciB4AQE=", "AQ=="),
        ("XOAUTH2", "dXNlcj1qbwFhdXRoPUJlYXJlciB4AQE=", ""),
    ] {
        let options = clear().with_mechanisms([mechanism.parse().unwrap()]);
        let auth = format!("EHLO me\r\nAUTH {mechanism} {token}\r\n");
        for (answer, expected) in [
            (right, [].as_slice()),
            ("bm9uc2Vuc2U=", &[Violation::Unacknowledged]),
        ] {
            let answer = format!("{answer}\r\n");
            check(&options, &[auth.as_bytes(), answer.as_bytes()], expected);
        }
    }
}
