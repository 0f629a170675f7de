//! Envelopes that are built and parted, and outcomes that are one error.

use super::*;
use crate::error::Party;
use crate::proto::dsn::{EnvelopeId, Return};
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
