//! What a server does that was told to misbehave.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Act, Action, Extension, Fault, Options, Plan, Quirk, Session, Step};
use super::{Heard, check_codes, clear, codes, collect, hear, play, session};

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
    let mut heard = Heard::default();
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
fn a_challenge_of_ones_own_is_answered_as_any_other() {
    let options = clear().with_fault("reply@auth=334 !!".parse().unwrap());
    check_codes(
        &options,
        "EHLO me\r\nAUTH PLAIN =\r\n*\r\nNOOP\r\n",
        "250 334 501 250",
    );
}

#[test]
fn handshakes_fail_in_the_way_that_was_asked_for() {
    let cases = [
        ("close@handshake", "", Some(Action::Close)),
        ("reset@handshake", "", Some(Action::Reset)),
        ("stall@handshake", "", None),
        ("garbage@handshake=no tls", "no tls", None),
        ("reply@handshake=454 4.7.0 no", "454 4.7.0 no\r\n", None),
    ];
    for (fault, text, action) in cases {
        let mut session = session(Options::default().with_fault(fault.parse().unwrap()));
        let mut heard = Heard::default();
        session.receive(b"EHLO me\r\nSTARTTLS\r\n");
        // What would be the client's half of the handshake.
        session.receive(b"\x16\x03\x01\r\nNOOP\r\n");
        collect(&mut session, &mut heard);
        let expected = format!("220 2.0.0 go ahead\r\n{text}");
        assert!(heard.text.ends_with(&expected), "{fault}: {}", heard.text);
        assert_eq!(heard.actions, Vec::from_iter(action), "{fault}");
        assert!(!session.wants_input(), "{fault}");
    }
}
