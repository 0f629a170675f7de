//! Envelopes that are built and parted, and outcomes that are one error.

use super::*;
use crate::error::Party;
use crate::proto::dsn::{EnvelopeId, Notify, OriginalRecipient, Return};
use crate::proto::reply::{Code, Statuses};
use crate::proto::schedule::Priority;

fn reply(text: &str) -> Reply {
    let code = text[..3].parse().ok().and_then(Code::new).unwrap();
    Reply::new(code, Statuses::Read, format!("{text}\r\n"))
}

fn refused(text: &str) -> Verdict {
    let (stage, reply) = (Stage::Rcpt, reply(text));
    Verdict::Refused { stage, reply }
}

fn not_sent(category: Category, stage: Stage) -> Verdict {
    Verdict::NotSent(Error::new(category, stage, Party::Caller, "not sent"))
}

fn in_doubt() -> Verdict {
    let error = Error::new(
        Category::ConnectionLost,
        Stage::Body,
        Party::Network,
        "lost",
    );
    Verdict::InDoubt(error)
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

fn of_three(commitment: Commitment) -> Envelope {
    let recipients = ["b@x.org", "c@x.org", "d@x.org"].map(mailbox);
    Envelope::new(mailbox("a@x.org"), recipients).with_commitment(commitment)
}

#[test]
fn the_weightiest_verdict_is_the_error_of_an_outcome() {
    let for_one = || not_sent(Category::Usage, Stage::Rcpt);
    let for_all = || not_sent(Category::Usage, Stage::Mail);
    let by_weight = [
        (for_one(), "not sent"),
        (refused("550 no"), "the server refused RCPT: 550 no"),
        (refused("450 later"), "the server refused RCPT: 450 later"),
        (for_all(), "not sent"),
        (in_doubt(), "lost"),
    ];
    for (place, (heavy, words)) in by_weight.iter().enumerate() {
        for (light, _) in &by_weight[..=place] {
            for verdicts in [[heavy, light], [light, heavy]] {
                let outcome = Outcome::new(verdicts.map(Verdict::clone).to_vec());
                let error = outcome.error().unwrap();
                assert_eq!(error.to_string(), *words, "{outcome:?}");
                assert!(!outcome.is_accepted() && outcome.into_result().is_err());
            }
        }
    }
    let deferred = Outcome::new(vec![
        refused("550 no"),
        Verdict::Deferred(reply("452 many")),
    ]);
    assert_eq!(
        deferred.error().unwrap().to_string(),
        "the server refused RCPT: 452 many"
    );
    let first = Outcome::new(vec![refused("550 one"), refused("551 two")]);
    assert_eq!(first.error().unwrap().reply().unwrap().code().number(), 550);
}

#[test]
fn an_outcome_that_reached_somebody_is_no_error() {
    let accepted = || Verdict::Accepted(reply("250 ok"));
    let some = Outcome::new(vec![in_doubt(), accepted()]);
    assert!(some.error().is_none() && !some.is_accepted());
    assert_eq!(some.into_result().unwrap().into_verdicts().len(), 2);
    assert!(Outcome::new(vec![accepted(), accepted()]).is_accepted());
    assert_eq!(accepted().reply().unwrap().code().number(), 250);
    assert!(in_doubt().reply().is_none());
}

#[test]
fn what_a_session_did_not_get_to_goes_to_the_next_and_comes_back_in_its_place() {
    let lost = || not_sent(Category::ConnectionLost, Stage::Rcpt);
    let closing = Verdict::Refused {
        stage: Stage::Mail,
        reply: reply("421 bye"),
    };
    let outcome = || Outcome::new(vec![lost(), refused("550 no"), closing.clone()]);
    let rest = of_three(Commitment::Each).rest(&outcome()).unwrap();
    let places: Vec<_> = rest
        .recipients()
        .iter()
        .map(|to| to.mailbox().as_str())
        .collect();
    assert_eq!(places, ["b@x.org", "d@x.org"]);
    assert!(
        of_three(Commitment::AllOrNothing)
            .rest(&outcome())
            .is_none()
    );
    let untouched = Outcome::new(vec![lost(), lost(), lost()]);
    assert!(
        of_three(Commitment::AllOrNothing)
            .rest(&untouched)
            .is_some()
    );
    let decided = Outcome::new(vec![refused("550 no"), in_doubt(), refused("421 bye")]);
    assert!(of_three(Commitment::Each).rest(&decided).is_none());
    for category in [Category::ConnectionTimeout, Category::Protocol] {
        for (stage, goes_on) in [
            (Stage::Mail, true),
            (Stage::Body, true),
            (Stage::Connect, false),
        ] {
            let silent = Outcome::new(vec![not_sent(category, stage), in_doubt(), in_doubt()]);
            let rest = of_three(Commitment::Each).rest(&silent);
            assert_eq!(rest.is_some(), goes_on, "{category} at {stage}");
        }
    }
    let later = Outcome::new(vec![refused("551 b"), refused("552 d")]);
    let whole = outcome().with_rest(later).into_verdicts();
    let codes = whole
        .iter()
        .map(|verdict| verdict.reply().unwrap().code().number());
    assert_eq!(codes.collect::<Vec<_>>(), [551, 550, 552]);
}

#[test]
fn notices_of_two_sessions_are_told_once() {
    let notice = |keyword: &str| Notice::LeftOut {
        keyword: keyword.to_owned(),
        extension: "DSN".to_owned(),
    };
    let first = Outcome::new(Vec::new()).with_notices(vec![notice("RET")]);
    let rest = Outcome::new(Vec::new()).with_notices(vec![notice("RET"), notice("ENVID")]);
    let told = first.with_rest(rest);
    let told: Vec<_> = told.notices().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "the parameter RET was left out: the server does not offer DSN",
            "the parameter ENVID was left out: the server does not offer DSN",
        ]
    );
    let changed = Notice::Priority(reply("250 2.3.6 taken"));
    assert!(
        changed
            .to_string()
            .ends_with("priority of the message: 250 2.3.6 taken")
    );
}

#[test]
fn an_envelope_has_the_parameters_that_it_was_given() {
    let id: EnvelopeId = "a b".parse().unwrap();
    let priority: Priority = "-3".parse().unwrap();
    let envelope = of_three(Commitment::Each)
        .with_return(Return::Headers)
        .with_envelope_id(id)
        .with_require_tls()
        .with_priority(priority);
    let params = envelope.part(&[2]).params().clone();
    let written: Vec<_> = params.iter().map(|p| (p.keyword(), p.value())).collect();
    assert_eq!(
        written,
        [
            ("RET", Some("HDRS")),
            ("ENVID", Some("a+20b")),
            ("REQUIRETLS", None),
            ("MT-PRIORITY", Some("-3")),
        ]
    );
    assert_eq!(envelope.part(&[2, 7]).recipients().len(), 1);
}

#[test]
fn a_wish_for_a_time_of_delivery_weighs_as_much_as_what_lateness_costs() {
    let by = |late| {
        let by = DeliverBy::new(60, late).unwrap();
        let envelope = of_three(Commitment::Each).with_deliver_by(by);
        let param = envelope.params().get("BY").unwrap();
        (param.value().unwrap().to_owned(), param.weight())
    };
    assert_eq!(by(Late::Return), ("60;R".to_owned(), Weight::Need));
    assert_eq!(by(Late::Notify), ("60;N".to_owned(), Weight::Wish));
}

#[test]
fn a_message_is_held_in_one_way_the_last_that_was_asked_for() {
    let seconds = || Hold::for_seconds(60).unwrap();
    let until = || Hold::until("2030-01-31T09:00:00Z").unwrap();
    for (first, last, keyword, value) in [
        (seconds(), until(), "HOLDUNTIL", "2030-01-31T09:00:00Z"),
        (until(), seconds(), "HOLDFOR", "60"),
    ] {
        let envelope = of_three(Commitment::Each).with_hold(first).with_hold(last);
        let params: Vec<_> = envelope.params().iter().collect();
        let [param] = params[..] else {
            panic!("{params:?}");
        };
        assert_eq!((param.keyword(), param.value()), (keyword, Some(value)));
        assert_eq!(param.weight(), Weight::Need);
    }
}

#[test]
fn a_recipient_has_the_parameters_that_it_was_given() {
    let notify: Notify = "NEVER".parse().unwrap();
    let original = OriginalRecipient::new(&mailbox("b+c@x.org")).unwrap();
    let recipient = Recipient::new(mailbox("b@x.org"))
        .with_notify(notify)
        .with_original(original);
    let written: Vec<_> = recipient
        .params()
        .iter()
        .map(|p| (p.keyword(), p.value(), p.weight()))
        .collect();
    assert_eq!(
        written,
        [
            ("NOTIFY", Some("NEVER"), Weight::Wish),
            ("ORCPT", Some("rfc822;b+2Bc@x.org"), Weight::Wish),
        ]
    );
    let none = recipient.with_params(Params::new());
    assert_eq!(none, Recipient::from(mailbox("b@x.org")));
}

#[test]
fn an_envelope_knows_whether_something_in_it_is_beyond_ascii() {
    let plain = of_three(Commitment::Each);
    assert!(plain.is_ascii() && plain.sender_is_ascii());
    assert!(Envelope::new(ReversePath::Null, [mailbox("b@x.org")]).is_ascii());
    let sender = Envelope::new(mailbox("ä@x.org"), [mailbox("b@x.org")]);
    assert!(!sender.is_ascii() && !sender.sender_is_ascii());
    let params = Params::new().with("XA", Some("ä")).unwrap();
    let mut with_params = plain.clone().with_params(params.clone());
    assert!(!with_params.is_ascii() && !with_params.has_recipient_params());
    let _ = with_params.remove_param("XA", None);
    assert_eq!(with_params, plain);
    let recipient = Recipient::new(mailbox("b@x.org")).with_params(params);
    let mut for_one = Envelope::new(mailbox("a@x.org"), [recipient]);
    assert!(!for_one.is_ascii() && for_one.sender_is_ascii() && for_one.has_recipient_params());
    assert_eq!(for_one.remove_param("XA", Some(1)), None);
    assert!(for_one.remove_param("xa", Some(0)).is_some());
    assert!(for_one.is_ascii() && !for_one.has_recipient_params());
}

#[test]
fn an_envelope_knows_of_an_address_longer_than_servers_have_to_take() {
    let long = || mailbox(&format!("{}@x.org", "l".repeat(65)));
    let short = || mailbox("a@x.org");
    assert!(Envelope::new(long(), [short()]).has_long_address());
    assert!(Envelope::new(short(), [short(), long()]).has_long_address());
    assert!(Envelope::new(ReversePath::Null, [long()]).has_long_address());
    assert!(!Envelope::new(ReversePath::Null, [short()]).has_long_address());
}

#[test]
fn what_is_known_of_a_stream_is_what_was_declared() {
    let declared = Streamed::default()
        .with_size(7)
        .with_encoding(Encoding::EightBit)
        .with_utf8_headers(true)
        .with_newlines(BareNewlines::Normalise);
    let expected = Streamed {
        size: Some(7),
        encoding: Encoding::EightBit,
        utf8_headers: true,
        newlines: BareNewlines::Normalise,
    };
    let Body::Streamed(streamed) = Body::from(declared) else {
        panic!("a stream is a streamed body");
    };
    assert_eq!(streamed, expected);
    assert!(!streamed.with_utf8_headers(false).utf8_headers);
}

#[test]
fn a_recipient_who_was_not_sent_to_may_have_another_try_only_where_the_session_is_to_blame() {
    for (category, stage, untried) in [
        (Category::ConnectionLost, Stage::Rcpt, true),
        (Category::Temporary, Stage::Rcpt, true),
        (Category::ConnectionTimeout, Stage::Rcpt, true),
        (Category::Protocol, Stage::Rcpt, true),
        (Category::ConnectionTimeout, Stage::Connect, false),
        (Category::Protocol, Stage::Greeting, false),
        (Category::Usage, Stage::Rcpt, false),
    ] {
        let outcome = Outcome::new(vec![not_sent(category, stage); 3]);
        let rest = of_three(Commitment::Each).rest(&outcome);
        assert_eq!(rest.is_some(), untried, "{category} at {stage}");
    }
}
