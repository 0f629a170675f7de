//! The session by itself: each dialogue whole, octet by octet, and in pieces between.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Act, Action, Answer, Auth, ClearAuth, Contents, Extension, Fault, Line, LineEnds, Options,
    Plan, Quirk, Received, Session, Step, TlsMode, Transfer,
};

/// What came of a dialogue.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    /// Everything written.
    text: String,
    /// The actions that are not writes.
    actions: Vec<Action>,
    received: Vec<Received>,
}

/// A session in clear without STARTTLS, where AUTH is allowed.
fn clear() -> Options {
    Options::default()
        .with_tls(TlsMode::None)
        .with_clear_auth(ClearAuth::Allowed)
        .with_hostname("mx.test")
}

fn session(options: Options) -> Session {
    Session::new(Arc::new(Plan::new(options)), 7)
}

fn collect(session: &mut Session, heard: &mut Heard) {
    while let Some(message) = session.poll_message() {
        heard.received.push(message);
    }
    while let Some(action) = session.poll_action() {
        match action {
            Action::Write(octets) | Action::Trickle(octets) => {
                heard.text.push_str(&String::from_utf8_lossy(&octets));
            }
            other => heard.actions.push(other),
        }
    }
}

/// Plays a whole dialogue in pieces of a size.
fn play(options: Options, input: &[u8], piece: usize) -> Heard {
    let mut session = session(options);
    let mut heard = Heard {
        text: String::new(),
        actions: Vec::new(),
        received: Vec::new(),
    };
    collect(&mut session, &mut heard);
    for chunk in input.chunks(piece) {
        session.receive(chunk);
        collect(&mut session, &mut heard);
    }
    heard
}

/// Plays it whole and cut in every way of equal pieces, which must not differ.
#[track_caller]
fn hear(options: &Options, input: &str) -> Heard {
    let whole = play(options.clone(), input.as_bytes(), usize::MAX);
    for piece in [1, 2, 3, 5, 7, 16, 61] {
        let pieces = play(options.clone(), input.as_bytes(), piece);
        assert_eq!(pieces, whole, "in pieces of {piece}");
    }
    whole
}

/// The codes of the replies behind the greeting, last lines only.
fn codes(text: &str) -> Vec<&str> {
    text.lines()
        .skip(1)
        .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
        .map(|line| line.split(' ').next().unwrap_or(line))
        .collect()
}

#[track_caller]
fn check_codes(options: &Options, input: &str, expected: &str) {
    let heard = hear(options, input);
    assert_eq!(codes(&heard.text).join(" "), expected, "{}", heard.text);
}

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
    let mut heard = Heard {
        text: String::new(),
        actions: Vec::new(),
        received: Vec::new(),
    };
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

const MESSAGE: &str = "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\nhi\r\n.\r\n\
                       RSET\r\nQUIT\r\n";

#[test]
fn a_reply_at_a_step_takes_the_place_of_the_usual_one() {
    let cases = [
        (
            "reply@greeting=554 5.3.2 no service",
            "503 503 503 503 503 500 500 503 221",
            0,
        ),
        (
            "reply@ehlo=550 no",
            "550 503 503 503 503 500 500 250 221",
            0,
        ),
        (
            "reply@mail=451 4.3.0 later",
            "250 451 503 503 503 500 500 250 221",
            0,
        ),
        (
            "reply@mail:A@B=451 later",
            "250 451 503 503 503 500 500 250 221",
            0,
        ),
        (
            "reply@mail:x@b=451 later",
            "250 250 250 250 354 250 250 221",
            1,
        ),
        (
            "reply@rcpt=550 no",
            "250 250 550 550 554 500 500 250 221",
            0,
        ),
        ("reply@rcpt#2=550 no", "250 250 250 550 354 250 250 221", 1),
        (
            "reply@rcpt:e@f=252 5.1.1 no",
            "250 250 250 252 354 250 250 221",
            1,
        ),
        (
            "reply@data=451 no",
            "250 250 250 250 451 500 500 250 221",
            0,
        ),
        (
            "reply@content=552 too big",
            "250 250 250 250 354 552 250 221",
            0,
        ),
        ("reply@body=554 spam", "250 250 250 250 354 554 250 221", 0),
        ("reply@rset=500 no", "250 250 250 250 354 250 500 221", 1),
        ("reply@quit=503 no", "250 250 250 250 354 250 250 503", 1),
    ];
    for (fault, expected, stored) in cases {
        let options = clear().with_fault(fault.parse().unwrap());
        let heard = {
            // A new plan for each, since steps are counted over all sessions of one.
            let whole = play(options.clone(), MESSAGE.as_bytes(), usize::MAX);
            assert_eq!(play(options, MESSAGE.as_bytes(), 1), whole);
            whole
        };
        assert_eq!(codes(&heard.text).join(" "), expected, "{fault}");
        assert_eq!(heard.received.len(), stored, "{fault}");
    }
}

#[test]
fn steps_are_counted_over_all_sessions_of_a_plan() {
    let plan = Arc::new(Plan::new(
        clear().with_fault("shutdown@greeting#1".parse().unwrap()),
    ));
    for expected in [&b"421 "[..], b"220 "] {
        let mut session = Session::new(Arc::clone(&plan), 1);
        assert!(matches!(session.poll_action(), Some(Action::Write(o)) if o.starts_with(expected)));
    }
}

#[test]
fn connections_end_at_the_step_that_was_asked_for() {
    let steps = [
        (Step::Greeting, 0, 0),
        (Step::Ehlo, 0, 0),
        (Step::Mail, 1, 0),
        (Step::Rcpt, 2, 0),
        (Step::Data, 4, 0),
        (Step::Content, 5, 0),
        (Step::Body, 5, 1),
        (Step::Rset, 6, 1),
        (Step::Quit, 7, 1),
    ];
    let acts = [
        (Act::Close, Some(Action::Close)),
        (Act::Reset, Some(Action::Reset)),
        (Act::Truncate, Some(Action::Truncate)),
        (Act::Freeze, Some(Action::Freeze)),
        (Act::Stall, None),
    ];
    for (step, replies, stored) in steps {
        for (act, action) in &acts {
            let heard = hear(&clear().with_fault(Fault::at(step, act.clone())), MESSAGE);
            assert_eq!(
                codes(&heard.text).len(),
                replies,
                "{step} {act:?}: {}",
                heard.text
            );
            assert_eq!(
                heard.actions,
                Vec::from_iter(action.clone()),
                "{step} {act:?}"
            );
            assert_eq!(heard.received.len(), stored, "{step} {act:?}");
        }
        let heard = hear(&clear().with_fault(Fault::at(step, Act::Shutdown)), MESSAGE);
        assert!(
            heard.text.ends_with("421 4.3.2 shutting down\r\n"),
            "{step}: {}",
            heard.text
        );
        assert_eq!(heard.actions, [Action::Close], "{step}");
    }
}

#[test]
fn injected_octets_share_the_write_of_the_reply() {
    let options = Options::default().with_fault("inject@starttls=250 evil\\r\\n".parse().unwrap());
    let mut session = session(options);
    assert!(session.poll_action().is_some());
    session.receive(b"EHLO me\r\n");
    assert!(session.poll_action().is_some());
    session.receive(b"STARTTLS\r\n");
    let expected = Action::Write("220 2.0.0 go ahead\r\n250 evil\r\n".into());
    assert_eq!(session.poll_action(), Some(expected));
    assert_eq!(session.poll_action(), Some(Action::StartTls));
}

#[test]
fn delays_come_between_the_replies_they_concern() {
    let delay = Duration::from_secs(3);
    let mut session = session(clear().with_delay(Step::Mail, delay));
    assert!(session.poll_action().is_some());
    session.receive(b"EHLO me\r\nMAIL FROM:<>\r\nRSET\r\n");
    assert!(!session.wants_input());
    assert!(matches!(session.poll_action(), Some(Action::Write(_))));
    assert_eq!(session.poll_action(), Some(Action::Delay(delay)));
    let rest = Action::Write("250 2.1.0 sender ok\r\n250 2.0.0 ok\r\n".into());
    assert_eq!(session.poll_action(), Some(rest));
}

#[test]
fn split_replies_are_written_octet_by_octet() {
    let mut split = session(clear().with_fault("split@ehlo".parse().unwrap()));
    assert!(matches!(split.poll_action(), Some(Action::Write(_))));
    split.receive(b"NOOP\r\nEHLO me\r\nNOOP\r\n");
    assert!(matches!(split.poll_action(), Some(Action::Write(_))));
    assert!(matches!(split.poll_action(), Some(Action::Trickle(o)) if o.starts_with(b"250-")));
    assert!(matches!(split.poll_action(), Some(Action::Write(_))));
    let mut always = session(clear().with_quirk(Quirk::Split));
    assert!(matches!(always.poll_action(), Some(Action::Trickle(_))));
}

#[test]
fn commands_behind_an_unanswered_dot_can_be_refused() {
    let options = clear().with_quirk(Quirk::RefuseBehindBody);
    let head = b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
    let behind = b"hi\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
    let mut session = session(options);
    let mut heard = Heard {
        text: String::new(),
        actions: Vec::new(),
        received: Vec::new(),
    };
    for piece in [&head[..], behind, b"MAIL FROM:<a@b>\r\n"] {
        session.receive(piece);
        collect(&mut session, &mut heard);
    }
    assert_eq!(
        codes(&heard.text).join(" "),
        "250 250 250 354 250 503 503 503 250"
    );
}

#[test]
fn data_without_recipients_can_be_let_in() {
    let options = clear().with_quirk(Quirk::DataWithoutRecipients);
    check_codes(
        &options,
        "EHLO me\r\nMAIL FROM:<>\r\nDATA\r\n.\r\nNOOP\r\n",
        "250 250 354 554 250",
    );
}

#[test]
fn commands_together_can_end_the_session_where_pipelining_is_not_on_offer() {
    let together = b"EHLO me\r\nMAIL FROM:<>\r\n";
    let strict = clear().with_quirk(Quirk::ClosePipelined);
    let without = strict.clone().without_extension(Extension::Pipelining);
    assert_eq!(play(strict, together, usize::MAX).actions, []);
    assert_eq!(
        play(without.clone(), together, usize::MAX).actions,
        [Action::Close]
    );
    assert_eq!(play(without.clone(), together, 9).actions, []);
    let body = b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\nQUIT\r\n";
    let mut session = session(without);
    for line in body[..45].split_inclusive(|octet| *octet == b'\n') {
        session.receive(line);
    }
    session.receive(&body[45..]);
    assert_eq!(session.poll_message().map(|message| message.size), Some(0));
    assert_eq!(session.take_tally().out_of_turn, 1);
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
fn faults_are_read_from_text() {
    let octets = |octets: &'static [u8]| bytes::Bytes::from_static(octets);
    let answer: Answer = "451 4.3.0 a\nb".parse().unwrap();
    let cases = [
        ("close@rcpt", Fault::at(Step::Rcpt, Act::Close)),
        (
            "truncate@handshake#3",
            Fault::nth(Step::Handshake, 3, Act::Truncate),
        ),
        ("split", Fault::quirk(Quirk::Split)),
        ("split@ehlo", Fault::at(Step::Ehlo, Act::Split)),
        ("refuse-behind-body", Fault::quirk(Quirk::RefuseBehindBody)),
        (
            "delay@data=0.5",
            Fault::at(Step::Data, Act::Delay(Duration::from_millis(500))),
        ),
        (
            "reply@mail=451 4.3.0 a\\nb",
            Fault::at(Step::Mail, Act::Reply(answer.clone())),
        ),
        (
            "reply@rcpt:A@b=451 4.3.0 a\\nb",
            Fault::for_address(Step::Rcpt, "a@B", Act::Reply(answer)),
        ),
        (
            "garbage@ehlo=\\x00\\\\=",
            Fault::at(Step::Ehlo, Act::Garbage(octets(b"\0\\="))),
        ),
        (
            "inject@starttls=x\\r\\n",
            Fault::at(Step::StartTls, Act::Inject(octets(b"x\r\n"))),
        ),
        (
            "banner=ssh",
            Fault::at(
                Step::Greeting,
                Act::Garbage(octets(b"SSH-2.0-OpenSSH_9.2\r\n")),
            ),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_fault_is_told_what_would_be() {
    let cases = [
        ("", "there is no fault ''"),
        ("explode@rcpt", "there are close, reset"),
        ("close", "as in 'close@rcpt'; the steps are greeting, ehlo"),
        ("close@nowhere", "the steps are greeting, ehlo"),
        ("close@rcpt#0", "is the first time"),
        ("close@rcpt#x", "is the first time"),
        ("close@data:a@b", "'mail' and 'rcpt' only"),
        ("close@rcpt=1", "takes no '='"),
        ("split=1", "takes no '='"),
        ("reply@mail", "as in 'reply@mail=451"),
        ("reply@mail=nope", "needs a code from 200 to 599"),
        ("reply@mail=199 x", "needs a code from 200 to 599"),
        ("reply@mail=4511", "needs a code from 200 to 599"),
        ("reply@mail=ä51 x", "needs a code from 200 to 599"),
        ("delay@mail=-1", "as in 'delay@rcpt=0.5'"),
        ("delay@mail", "as in 'delay@rcpt=0.5'"),
        ("garbage@mail=\\q", "is no escape"),
        ("garbage@mail=\\x4", "is no escape"),
        ("banner=smtp", "there are imap, pop3"),
        ("banner", "there are imap, pop3"),
    ];
    for (text, expected) in cases {
        let error = text.parse::<Fault>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_challenge_of_ones_own_is_answered_as_any_other() {
    let options = clear().with_fault("reply@auth=334 !!".parse().unwrap());
    check_codes(
        &options,
        "EHLO me\r\nAUTH PLAIN =\r\n*\r\nNOOP\r\n",
        "250 334 501 250",
    );
}
