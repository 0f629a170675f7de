//! What a well-behaved server says.

use std::sync::Arc;

use super::super::{
    Action, Auth, Contents, Extension, Line, LineEnds, Options, Plan, Session, TlsMode, Transfer,
};
use super::{Heard, check_codes, clear, codes, collect, hear, session};

#[test]
fn a_pipelined_message_is_received_and_answered() {
    let heard = hear(
        &clear(),
        "EHLO me\r\nMAIL FROM:<a@b> SIZE=9 body=8BITMIME\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n\
         DATA\r\n..hi\r\n.\r\nQUIT\r\n",
    );
    assert_eq!(
        heard.text,
        "220 mx.test ESMTP sandbox\r\n\
         250-mx.test\r\n250-PIPELINING\r\n250-SIZE 67108864\r\n250-8BITMIME\r\n\
         250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN\r\n\
         250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n250 2.1.5 recipient ok\r\n\
         354 end with a dot on a line of its own\r\n250 2.0.0 message stored\r\n221 2.0.0 bye\r\n"
    );
    assert_eq!(heard.actions, [Action::Close]);
    let [message] = &heard.received[..] else {
        panic!("{:?}", heard.received);
    };
    assert_eq!(message.reverse_path, "a@b");
    assert_eq!(message.recipients, ["c@d", "e@f"]);
    assert_eq!(&message.content[..], b".hi\r\n");
    assert_eq!(message.size, 5);
    assert_eq!(message.transfer, Transfer::Data);
    assert_eq!(message.connection, 7);
    assert_eq!(
        message.parameters,
        [
            ("SIZE".to_owned(), Some("9".to_owned())),
            ("BODY".to_owned(), Some("8BITMIME".to_owned()))
        ]
    );
}

#[test]
fn commands_are_kept_in_order() {
    let cases = [
        ("MAIL FROM:<a@b>\r\n", "503"),
        (
            "EHLO me\r\nRCPT TO:<a@b>\r\nDATA\r\nBDAT 3\r\nxyzNOOP\r\n",
            "250 503 503 503 250",
        ),
        ("EHLO me\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n", "250 250 503"),
        (
            "EHLO me\r\nMAIL FROM:<>\r\nDATA\r\nRSET\r\nMAIL FROM:<>\r\n",
            "250 250 554 250 250",
        ),
        (
            "EHLO me\r\nMAIL FROM:<>\r\nEHLO me\r\nRCPT TO:<a@b>\r\n",
            "250 250 250 503",
        ),
        (
            "HELO me\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b> SIZE=1\r\n",
            "250 250 503",
        ),
        ("HELO me\r\nMAIL FROM:<a@b> SIZE=1\r\n", "250 555"),
        ("HELO me\r\nBDAT 1\r\n", "250 502"),
        ("HELO me\r\nAUTH PLAIN\r\n", "250 503"),
        (
            "NOOP\r\nVRFY x\r\nEXPN x\r\nWHAT\r\n\r\nRSET\r\n",
            "250 252 502 500 500 250",
        ),
        ("EHLO me\r\nSTARTTLS\r\n", "250 502"),
        ("EHLO me\n", "500"),
        ("EHLO\r\nMAIL FROM:<a@b>\r\n", "501 503"),
        ("EHLO me\r\nMAIL FROM:<a@b> X=1\r\n", "250 555"),
        ("EHLO me\r\nMAIL FROM:<a@b> SIZE=x\r\n", "250 501"),
        ("EHLO me\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\n", "250 501"),
        ("EHLO me\r\nMAIL FROM:<a@b> SMTPUTF8\r\n", "250 555"),
        ("EHLO me\r\nMAIL FROM:<ü@b>\r\n", "250 553"),
        (
            "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ü@b>\r\nRCPT TO:<c@d> X\r\n",
            "250 250 553 555",
        ),
    ];
    for (input, expected) in cases {
        check_codes(&clear(), input, expected);
    }
}

#[test]
fn extensions_that_are_off_are_neither_listed_nor_taken() {
    let mut options = clear().with_auth(Auth::Off);
    for extension in [
        Extension::Pipelining,
        Extension::Size,
        Extension::EightBitMime,
        Extension::Chunking,
        Extension::EnhancedStatusCodes,
    ] {
        options = options.without_extension(extension);
    }
    let heard = hear(
        &options,
        "EHLO me\r\nMAIL FROM:<> SIZE=1\r\nMAIL FROM:<> BODY=7BIT\r\nBDAT 1\r\nAUTH PLAIN\r\n",
    );
    assert_eq!(
        heard.text,
        "220 mx.test ESMTP sandbox\r\n250 mx.test\r\n555 unknown parameter\r\n\
         555 unknown parameter\r\n502 CHUNKING is not on offer\r\n502 AUTH is not on offer\r\n"
    );
}

#[test]
fn smtputf8_is_taken_where_it_is_on_offer() {
    let options = clear().with_extension(Extension::SmtpUtf8);
    let heard = hear(
        &options,
        "EHLO me\r\nMAIL FROM:<ü@b> SMTPUTF8\r\nRCPT TO:<é@b>\r\nDATA\r\n.\r\n",
    );
    assert_eq!(codes(&heard.text).join(" "), "250 250 250 354 250");
    assert_eq!(heard.received[0].recipients, ["é@b"]);
}

#[test]
fn chunks_make_a_message() {
    let heard = hear(
        &clear(),
        "EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nBDAT 5\r\n.\r\n.\rBDAT 3 LAST\r\n\n..NOOP\r\n",
    );
    assert_eq!(codes(&heard.text).join(" "), "250 250 250 250 250 250");
    assert_eq!(&heard.received[0].content[..], b".\r\n.\r\n..");
    assert_eq!(heard.received[0].transfer, Transfer::Bdat);
    let head = "EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\n";
    let cases = [
        ("BDAT 0 LAST\r\nMAIL FROM:<>\r\n", "250 250"),
        (
            "BDAT 2\r\nhiDATA\r\nRCPT TO:<a@b>\r\nBDAT 0 LAST\r\n",
            "250 503 503 250",
        ),
        ("RSET\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "250 503 250"),
        (
            "RSET\r\nMAIL FROM:<>\r\nBDAT 1 LAST\r\nxNOOP\r\n",
            "250 250 554 250",
        ),
        ("BDAT 1 FIRST\r\nNOOP\r\n", "501 250"),
    ];
    for (input, expected) in cases {
        check_codes(
            &clear(),
            &format!("{head}{input}"),
            &format!("250 250 250 {expected}"),
        );
    }
}

#[test]
fn the_size_limit_holds_at_mail_and_at_the_end() {
    let options = clear().with_size_limit(6);
    let head = "EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\n";
    check_codes(
        &options,
        "EHLO me\r\nMAIL FROM:<> SIZE=7\r\nMAIL FROM:<> SIZE=6\r\n",
        "250 552 250",
    );
    check_codes(
        &options,
        "EHLO me\r\nMAIL FROM:<> SIZE=99999999999999999999\r\n",
        "250 552",
    );
    let cases = [
        ("DATA\r\n..345\r\n.\r\nNOOP\r\n", "354 250 250", 1),
        ("DATA\r\n12345\r\n.\r\nNOOP\r\n", "354 552 250", 0),
        ("BDAT 6 LAST\r\n123456NOOP\r\n", "250 250", 1),
        ("BDAT 4\r\n1234BDAT 3 LAST\r\n567NOOP\r\n", "250 552 250", 0),
        (
            "BDAT 7\r\n1234567BDAT 1 LAST\r\n8NOOP\r\n",
            "552 503 250",
            0,
        ),
    ];
    for (input, expected, stored) in cases {
        let heard = hear(&options, &format!("{head}{input}"));
        assert_eq!(codes(&heard.text)[3..].join(" "), expected, "{input}");
        assert_eq!(heard.received.len(), stored, "{input}");
    }
}

#[test]
fn bare_newlines_smuggle_nothing() {
    let head = "EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
    for end in ["\n.\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\n.\r\n", "\r.\r\n"] {
        let input = format!("{head}hi{end}MAIL FROM:<evil@x>\r\n.\r\nQUIT\r\n");
        let heard = hear(&clear(), &input);
        assert_eq!(codes(&heard.text)[3..].join(" "), "354 250 221", "{end:?}");
        assert_eq!(heard.received.len(), 1);
        let content = &heard.received[0].content;
        assert!(content.ends_with(b"MAIL FROM:<evil@x>\r\n"), "{end:?}");
    }
    let lenient = clear().with_line_ends(LineEnds::OrLf);
    let heard = hear(&lenient, &format!("{head}hi\n.\nNOOP\r\n"));
    assert_eq!(codes(&heard.text)[3..].join(" "), "354 250 250");
}

#[test]
fn plain_and_login_check_the_credentials() {
    // "\0alice\0password", "\0alice\0wrong", "bob\0alice\0password", "alice", "password".
    let good = "AGFsaWNlAHBhc3N3b3Jk";
    let cases = [
        (format!("AUTH PLAIN {good}\r\n"), "235"),
        (format!("auth plain\r\n{good}\r\n"), "334 235"),
        ("AUTH PLAIN AGFsaWNlAHdyb25n\r\n".into(), "535"),
        ("AUTH PLAIN Ym9iAGFsaWNlAHBhc3N3b3Jk\r\n".into(), "535"),
        ("AUTH PLAIN =\r\n".into(), "501"),
        ("AUTH PLAIN !!\r\nNOOP\r\n".into(), "501 250"),
        ("AUTH PLAIN\r\n*\r\nNOOP\r\n".into(), "334 501 250"),
        (
            "AUTH LOGIN\r\nYWxpY2U=\r\ncGFzc3dvcmQ=\r\n".into(),
            "334 334 235",
        ),
        ("AUTH LOGIN YWxpY2U=\r\ncGFzc3dvcmQ=\r\n".into(), "334 235"),
        ("AUTH LOGIN YWxpY2U=\r\n*\r\n".into(), "334 501"),
        ("AUTH LOGIN YWxpY2U=\r\nYWxpY2U=\r\n".into(), "334 535"),
        ("AUTH CRAM-MD5\r\n".into(), "504"),
        (
            format!("AUTH PLAIN {good}\r\nAUTH PLAIN {good}\r\n"),
            "235 503",
        ),
        (format!("MAIL FROM:<>\r\nAUTH PLAIN {good}\r\n"), "250 503"),
    ];
    for (input, expected) in cases {
        check_codes(
            &clear(),
            &format!("EHLO me\r\n{input}"),
            &format!("250 {expected}"),
        );
    }
    let required = clear().with_auth(Auth::Required);
    check_codes(&required, "EHLO me\r\nMAIL FROM:<>\r\n", "250 530");
    let mail = "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\n";
    let heard = hear(
        &required,
        &format!("EHLO me\r\nAUTH PLAIN {good}\r\n{mail}"),
    );
    assert_eq!(heard.received[0].authenticated.as_deref(), Some("alice"));
}

#[test]
fn auth_in_clear_and_mail_before_tls_are_refused_where_they_should_be() {
    let options = Options::default().with_tls(TlsMode::StartTlsRequired);
    let heard = hear(&options, "EHLO me\r\nAUTH PLAIN =\r\nMAIL FROM:<>\r\n");
    assert!(!heard.text.contains("AUTH PLAIN"), "{}", heard.text);
    assert_eq!(codes(&heard.text).join(" "), "250 538 530");
    assert!(
        heard
            .text
            .contains("530 5.7.0 Must issue a STARTTLS command first")
    );
}

#[test]
fn starttls_forgets_everything_and_reads_nothing_that_came_before() {
    let mut session = session(Options::default());
    let mut heard = Heard::default();
    session.receive(b"EHLO me\r\nSTARTTLS\r\nRSET\r\nEHLO other\r\nNOO");
    assert!(!session.wants_input());
    collect(&mut session, &mut heard);
    assert_eq!(heard.actions, [Action::StartTls]);
    assert!(
        heard.text.ends_with("220 2.0.0 go ahead\r\n"),
        "{}",
        heard.text
    );
    assert_eq!(session.take_tally().out_of_turn, 2);
    heard.text.clear();
    session.tls_established();
    session.receive(b"MAIL FROM:<>\r\nSTARTTLS\r\nEHLO me\r\nSTARTTLS\r\n");
    collect(&mut session, &mut heard);
    assert!(heard.text.starts_with("503 "), "{}", heard.text);
    assert!(!heard.text.contains("STARTTLS\r\n"), "{}", heard.text);
    assert!(
        heard.text.contains("250 AUTH PLAIN LOGIN\r\n"),
        "{}",
        heard.text
    );
    assert!(
        heard.text.ends_with("503 5.5.1 TLS is active already\r\n"),
        "{}",
        heard.text
    );
}

#[test]
fn implicit_tls_comes_before_the_greeting() {
    let mut session = session(Options::default().with_tls(TlsMode::Implicit));
    assert_eq!(session.poll_action(), Some(Action::StartTls));
    assert_eq!(session.poll_action(), None);
    session.tls_established();
    assert!(
        matches!(session.poll_action(), Some(Action::Write(octets)) if octets.starts_with(b"220 "))
    );
}

#[test]
fn a_line_that_is_too_long_ends_the_session() {
    let options = clear().with_line_limit(100);
    let fits = format!("NOOP {}\r\n", "x".repeat(93));
    check_codes(&options, &format!("{fits}NOOP\r\n"), "250 250");
    let heard = hear(&options, &format!("NOOP {}\r\nNOOP\r\n", "x".repeat(94)));
    assert_eq!(codes(&heard.text).join(" "), "421");
    assert_eq!(heard.actions, [Action::Close]);
    let response = "A".repeat(12_288);
    check_codes(
        &options,
        &format!("EHLO me\r\nAUTH PLAIN\r\n{response}\r\n"),
        "250 334 501",
    );
}

#[test]
fn recipients_beyond_the_limit_are_put_off() {
    let options = clear().with_recipient_limit(1);
    let input = "EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n";
    check_codes(&options, input, "250 250 250 452");
}

#[test]
fn ten_thousand_recipients_in_one_piece_are_answered_in_one_write() {
    let mut input = String::from("EHLO me\r\nMAIL FROM:<>\r\n");
    for index in 0..10_000 {
        input.push_str(&format!("RCPT TO:<user{index}@example.org>\r\n"));
    }
    let mut session = session(clear());
    assert!(session.poll_action().is_some());
    session.receive(input.as_bytes());
    let Some(Action::Write(octets)) = session.poll_action() else {
        panic!("no write");
    };
    assert_eq!(memchr::memchr_iter(b'\n', &octets).count(), 7 + 10_001);
    assert_eq!(session.poll_action(), None);
}

#[test]
fn discarded_contents_are_counted() {
    let options = clear().with_contents(Contents::Discard);
    let input = "EHLO me\r\nMAIL FROM:<> SIZE=100\r\nRCPT TO:<a@b>\r\nDATA\r\n..\r\n.\r\n";
    let heard = hear(&options, input);
    assert_eq!(heard.received[0].size, 3);
    assert!(heard.received[0].content.is_empty());
}

#[test]
fn what_comes_behind_the_last_command_of_a_group_is_counted() {
    let cases = [
        ("EHLO me\r\n", 0),
        ("EHLO me\r\nNOOP\r\n", 1),
        ("RSET\r\nRSET\r\nNOOP\r\n", 0),
        ("QUIT\r\nNOOP\r\n", 1),
    ];
    for (input, expected) in cases {
        let mut session = session(clear());
        session.receive(input.as_bytes());
        assert_eq!(session.take_tally().out_of_turn, expected, "{input:?}");
    }
}

#[test]
fn the_transcript_shows_no_credentials() {
    let mut session = Session::watched(Arc::new(Plan::new(clear())), 1);
    session.receive(b"EHLO me\r\nAUTH PLAIN c2VjcmV0\r\nauth  c2VjcmV0 c2VjcmV0\r\n");
    session.receive(b"AUTH LOGIN c2VjcmV0\r\nc2VjcmV0\r\nAUTH LOGIN\r\n*\r\nNOOP\r\n");
    let mut client = Vec::new();
    while let Some(line) = session.poll_line() {
        match line {
            Line::Client(line) => client.push(line),
            Line::Server(line) | Line::Note(line) => assert!(!line.contains("c2Vj"), "{line}"),
        }
    }
    assert_eq!(
        client,
        [
            "EHLO me",
            "AUTH PLAIN ***",
            "auth  ***",
            "AUTH LOGIN ***",
            "***",
            "AUTH LOGIN",
            "*",
            "NOOP"
        ]
    );
}

#[test]
fn debug_shows_no_credentials_not_even_half_of_them() {
    let mut session = session(clear());
    // base64 of NUL, alice, NUL, password; its line has not ended.
    session.receive(b"EHLO x.test\r\nAUTH PLAIN AGFsaWNlAHBhc3N3b3Jk");
    let octets: Vec<String> = b"AGFsaWNl".iter().map(ToString::to_string).collect();
    for shown in [format!("{session:?}"), format!("{session:#?}")] {
        assert!(!shown.contains("AGFsaWNl"), "{shown}");
        assert!(!shown.contains(&octets.join(", ")), "{shown}");
    }
}
