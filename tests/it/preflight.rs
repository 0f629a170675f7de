//! What a message needs and a session lacks: told beforehand, and judged alike by the engine.

use std::sync::Arc;
use std::time::Instant;

use ehlo::proto::{
    Config, Connection, Context, Effect, Event, Need, Protocol, Session, Shortfall, SmtpUtf8,
    preflight,
};
use ehlo::{
    BareNewlines, Body, Commitment, Content, Envelope, Mailbox, Notify, Params, Recipient,
    Security, Verdict,
};

fn mailbox(address: &str) -> Mailbox {
    address.parse().expect("a test's address is valid")
}

fn envelope(recipients: &[&str]) -> Envelope {
    let recipients = recipients.iter().map(|address| mailbox(address));
    Envelope::new(mailbox("a@example.com"), recipients)
}

fn body(text: impl Into<Vec<u8>>) -> Body {
    let content = Content::check(text.into(), BareNewlines::Normalise);
    Body::Whole(content.expect("a test's content is clean"))
}

/// A connection to a server with these offers, after EHLO.
fn connection(config: &Config, offers: &[&str]) -> (Connection, Session) {
    let now = Instant::now();
    let mut connection = Connection::new(Arc::new(config.clone()), Context::default(), now);
    connection.receive(b"220 mx.example.org\r\n", now);
    take(&mut connection);
    let mut reply = String::new();
    for offer in offers {
        reply.push_str(&format!("250-{offer}\r\n"));
    }
    connection.receive(
        format!("250-mx.example.org\r\n{reply}250 XEND\r\n").as_bytes(),
        now,
    );
    let session = connection.session().expect("EHLO is answered").clone();
    while connection.poll_event().is_some() {}
    (connection, session)
}

/// Takes what it has to send.
fn take(connection: &mut Connection) {
    let mut slices = [std::io::IoSlice::new(&[]); 16];
    let count = connection.transmit(&mut slices);
    let sent = slices[..count].iter().map(|slice| slice.len()).sum();
    connection.sent(sent, Instant::now());
}

/// The shortfalls, after it is certain that the engine acts as they say.
fn judged(config: &Config, offers: &[&str], envelope: &Envelope, body: &Body) -> Vec<Shortfall> {
    let (mut connection, session) = connection(config, offers);
    let shortfalls = preflight(envelope, Some(body), &session, config);
    let submitted = connection.submit(envelope.clone(), body.clone(), Instant::now());
    submitted.expect("the caller did nothing wrong");
    let events: Vec<Event> = std::iter::from_fn(|| connection.poll_event()).collect();
    let stopped = events.iter().find_map(|event| match event {
        Event::Finished { recipients, .. } => Some(recipients),
        _ => None,
    });
    let not_sent = shortfalls
        .iter()
        .find(|shortfall| shortfall.effect == Effect::NotSent);
    match (not_sent, stopped) {
        (Some(shortfall), Some(verdicts)) => {
            for verdict in verdicts {
                let Verdict::NotSent(error) = verdict else {
                    panic!("{verdict:?}");
                };
                assert_eq!(error.message(), shortfall.to_string());
                assert_eq!(error.hint(), Some(shortfall.hint));
            }
        }
        (None, Some(verdicts)) => {
            // Every recipient was left out for itself.
            let left_out = |place| {
                let effect = Effect::RecipientNotSent(place);
                shortfalls
                    .iter()
                    .any(|shortfall| shortfall.effect == effect)
            };
            assert!((0..verdicts.len()).all(left_out), "{shortfalls:?}");
        }
        (None, None) => assert!(connection.stats().flights > 0),
        (Some(shortfall), None) => panic!("it is sent all the same: {shortfall:?}"),
    }
    let noticed = events
        .iter()
        .filter(|event| matches!(event, Event::Noticed { .. }))
        .count();
    let dropped = shortfalls
        .iter()
        .filter(|shortfall| matches!(shortfall.effect, Effect::LeftOut { .. }))
        .count();
    assert_eq!(noticed > 0, dropped > 0 && not_sent.is_none());
    shortfalls
}

#[track_caller]
fn check(offers: &[&str], envelope: &Envelope, body: &Body, expected: &[(Need, Effect, &str)]) {
    let config = Config::new(Security::Plaintext);
    let found = judged(&config, offers, envelope, body);
    let found: Vec<_> = found
        .iter()
        .map(|one| {
            let status = format!("{} {}", one.code, one.status);
            (one.need, one.effect.clone(), status)
        })
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(need, effect, status)| (*need, effect.clone(), (*status).to_owned()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn each_need_has_the_code_of_a_server() {
    let plain = body("Hi\r\n");
    let one = envelope(&["b@example.org"]);
    check(&[], &one, &plain, &[]);
    let too_large = [(Need::Size, Effect::NotSent, "552 5.3.4")];
    check(&["SIZE 3"], &one, &plain, &too_large);
    check(&["SIZE 4"], &one, &plain, &[]);
    let eight_bit = body(b"\r\n\xe9\r\n".as_slice());
    let not_seven = [(Need::EightBit, Effect::NotSent, "554 5.6.3")];
    check(&[], &one, &eight_bit, &not_seven);
    check(&["8BITMIME"], &one, &eight_bit, &[]);
    let binary = body(b"\0".as_slice());
    let no_way = [(Need::Binary, Effect::NotSent, "554 5.6.3")];
    check(&["8BITMIME"], &one, &binary, &no_way);
    check(&["BINARYMIME"], &one, &binary, &no_way);
    let headers = body("Subject: é\r\n");
    let both = [(Need::Utf8, Effect::NotSent, "554 5.6.9")];
    check(&["8BITMIME"], &one, &headers, &both);
    let foreign = Envelope::new(mailbox("é@example.com"), [mailbox("b@example.org")]);
    let sender = [(Need::Utf8, Effect::NotSent, "550 5.6.7")];
    check(&[], &foreign, &plain, &sender);
    check(&["8BITMIME", "SMTPUTF8"], &one, &headers, &[]);
}

#[test]
fn what_is_sent_all_the_same_is_a_warning() {
    let one = envelope(&["b@example.org"]);
    let long = body("x".repeat(999));
    let warned = [(Need::LongLines, Effect::Sent, "500 5.5.2")];
    check(&[], &one, &long, &warned);
    let bare = [(Need::Newlines, Effect::Sent, "554 5.6.0")];
    check(&[], &one, &body("a\nb\r\n"), &bare);
    let local = format!("{}@example.org", "x".repeat(65));
    let address = [(Need::LongAddress, Effect::Sent, "501 5.1.3")];
    check(&[], &envelope(&[&local]), &body("Hi\r\n"), &address);
    let local = format!("{}@example.org", "x".repeat(2000));
    let found = [
        (Need::LongCommand, Effect::RecipientNotSent(0), "500 5.5.2"),
        address[0].clone(),
    ];
    check(&[], &envelope(&[&local]), &body("Hi\r\n"), &found);
}

#[test]
fn recipients_are_judged_one_by_one() {
    let plain = body("Hi\r\n");
    let three = envelope(&["é@example.org", "b@example.org", "c@example.org"]);
    let foreign = (Need::Utf8, Effect::RecipientNotSent(0), "553 5.6.7");
    let many = (Need::Recipients, Effect::RecipientNotSent(2), "452 4.5.3");
    check(&[], &three, &plain, std::slice::from_ref(&foreign));
    check(&["LIMITS RCPTMAX=2"], &three, &plain, &[foreign, many]);
    let all = three.with_commitment(Commitment::AllOrNothing);
    let offers = ["LIMITS RCPTMAX=2", "SMTPUTF8"];
    let none = [(Need::Recipients, Effect::NotSent, "452 4.5.3")];
    check(&offers, &all, &plain, &none);
    let for_all = [(Need::Utf8, Effect::NotSent, "553 5.6.7")];
    check(&[], &all, &plain, &for_all);
    let domains = envelope(&["b@example.org", "c@example.net", "d@EXAMPLE.org"]);
    check(&["LIMITS RCPTDOMAINMAX=1"], &domains, &plain, &[]);
    let domains = domains.with_commitment(Commitment::AllOrNothing);
    let too_many = [(Need::RecipientDomains, Effect::NotSent, "452 4.5.3")];
    check(&["LIMITS RCPTDOMAINMAX=1"], &domains, &plain, &too_many);
    check(&["LIMITS RCPTDOMAINMAX=2"], &domains, &plain, &[]);
    check(
        &[],
        &envelope(&["é@example.org"]),
        &plain,
        &[(Need::Utf8, Effect::RecipientNotSent(0), "553 5.6.7")],
    );
}

#[test]
fn a_wish_is_left_out_and_a_need_keeps_the_message() {
    let plain = body("Hi\r\n");
    let recipient = Recipient::new(mailbox("b@example.org")).with_notify(Notify::never());
    let wish = Envelope::new(mailbox("a@example.com"), [recipient]);
    let left_out = Effect::LeftOut {
        keyword: "NOTIFY".to_owned(),
        recipient: Some(0),
    };
    check(
        &[],
        &wish,
        &plain,
        &[(Need::Parameter, left_out, "555 5.5.4")],
    );
    check(&["DSN"], &wish, &plain, &[]);
    let params = Params::new().with("XNEW", None).expect("a keyword");
    let need = envelope(&["b@example.org"]).with_params(params);
    let kept = [(Need::Parameter, Effect::NotSent, "555 5.5.4")];
    check(&[], &need, &plain, &kept);
    check(&["XNEW 1"], &need, &plain, &[]);
    let tls = envelope(&["b@example.org"]).with_require_tls();
    let in_clear = [(Need::RequireTls, Effect::NotSent, "550 5.7.10")];
    check(&["REQUIRETLS"], &tls, &plain, &in_clear);
}

#[test]
fn smtputf8_for_every_message_is_a_need_of_every_message() {
    let config = Config::new(Security::Plaintext).with_smtputf8(SmtpUtf8::Always);
    let one = envelope(&["b@example.org"]);
    let found = judged(&config, &[], &one, &body("Hi\r\n"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].need, Need::Utf8);
    assert!(judged(&config, &["SMTPUTF8"], &one, &body("Hi\r\n")).is_empty());
}

#[test]
fn lmtp_decides_for_each_and_so_cannot_promise_all_or_nobody() {
    let config = Config::new(Security::Plaintext).with_protocol(Protocol::Lmtp);
    let two = envelope(&["b@example.org", "c@example.org"]);
    assert!(judged(&config, &[], &two, &body("Hi\r\n")).is_empty());
    let all = two.with_commitment(Commitment::AllOrNothing);
    let found = judged(&config, &[], &all, &body("Hi\r\n"));
    assert_eq!((found.len(), found[0].need), (1, Need::OneReply));
    let one = envelope(&["b@example.org"]).with_commitment(Commitment::AllOrNothing);
    assert!(judged(&config, &[], &one, &body("Hi\r\n")).is_empty());
}

#[test]
fn what_an_rfc_forbids_by_keyword_is_refused() {
    for (keyword, value) in [
        ("HOLDFOR", "0"),
        ("HOLDFOR", "007"),
        ("HOLDFOR", "1000000000"),
        ("MT-PRIORITY", "+1"),
        ("BY", "--5;N"),
    ] {
        assert!(
            Params::new().with(keyword, Some(value)).is_err(),
            "{keyword}={value}"
        );
    }
    assert!(Params::new().with("HOLDFOR", Some("7")).is_ok());
}
