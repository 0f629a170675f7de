//! The parameters that extensions define.

use super::super::{Extension, Options};
use super::{check_codes, clear, codes, hear, session};

fn with(extensions: &[Extension]) -> Options {
    extensions
        .iter()
        .fold(clear(), |options, &one| options.with_extension(one))
}

/// Whether MAIL with these parameters gets 250, 501 or 555.
#[track_caller]
fn check_mail(options: &Options, parameters: &str, expected: &str) {
    let input = format!("EHLO me\r\nMAIL FROM:<a@b> {parameters}\r\n");
    check_codes(options, &input, &format!("250 {expected}"));
}

#[test]
fn what_is_on_offer_is_checked_and_what_is_not_is_unknown() {
    let cases = [
        (Extension::Dsn, "RET=hdrs ENVID=a+20b", "RET=SOME"),
        (Extension::Dsn, "ENVID=x", "ENVID=a+2b"),
        (Extension::DeliverBy, "BY=60;R", "BY=0;R"),
        (Extension::DeliverBy, "BY=-1;NT", "BY=1;X"),
        (
            Extension::FutureRelease,
            "HOLDFOR=2592000",
            "HOLDFOR=2592001",
        ),
        (
            Extension::FutureRelease,
            "HOLDUNTIL=2099-12-31T23:59:59Z",
            "HOLDUNTIL=2100-01-01T00:00:00Z",
        ),
        (
            Extension::FutureRelease,
            "HOLDFOR=1",
            "HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z",
        ),
        (Extension::DeliverBy, "BY=+5;N", "BY=--5;N"),
        (Extension::FutureRelease, "HOLDFOR=7", "HOLDFOR=0"),
        (Extension::FutureRelease, "HOLDFOR=70", "HOLDFOR=07"),
        (Extension::MtPriority, "MT-PRIORITY=-9", "MT-PRIORITY=10"),
        (Extension::MtPriority, "MT-PRIORITY=0", "MT-PRIORITY=-0"),
    ];
    for (extension, right, wrong) in cases {
        let options = with(&[extension]);
        check_mail(&options, right, "250");
        check_mail(&options, wrong, "501");
        check_mail(&clear(), right, "555");
    }
}

#[test]
fn each_recipient_has_its_own() {
    let heard = hear(
        &with(&[Extension::Dsn]),
        "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\n\
         RCPT TO:<e@f> NOTIFY=NEVER,DELAY\r\nRCPT TO:<g@h>\r\nRCPT TO:<i@j> X=1\r\n\
         RCPT TO:<k@l> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;a+2Bb@c\r\nDATA\r\n.\r\n",
    );
    assert_eq!(
        codes(&heard.text).join(" "),
        "250 250 250 501 250 555 250 354 250"
    );
    let received = &heard.received[0];
    assert_eq!(received.recipients, ["c@d", "g@h", "k@l"]);
    let pair = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    assert_eq!(
        received.recipient_parameters,
        [
            vec![pair("NOTIFY", "NEVER")],
            vec![],
            vec![
                pair("NOTIFY", "DELAY,SUCCESS"),
                pair("ORCPT", "rfc822;a+2Bb@c")
            ]
        ]
    );
}

#[test]
fn requiretls_is_for_tls_alone() {
    let options = with(&[Extension::RequireTls]);
    check_mail(&options, "REQUIRETLS", "555");
    let mut session = session(options);
    session.tls_established();
    session.receive(b"EHLO me\r\nMAIL FROM:<a@b> REQUIRETLS=1\r\nMAIL FROM:<a@b> REQUIRETLS\r\n");
    let mut heard = super::Heard::default();
    super::collect(&mut session, &mut heard);
    assert!(heard.text.contains("250-REQUIRETLS"), "{}", heard.text);
    assert_eq!(codes(&heard.text).join(" "), "250 501 250");
}

#[test]
fn limits_are_told_and_kept() {
    let options = with(&[Extension::Limits])
        .with_recipient_limit(1)
        .with_message_limit(1);
    let heard = hear(
        &options,
        "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nRSET\r\n\
         MAIL FROM:<a@b>\r\nNOOP\r\n",
    );
    assert!(heard.text.contains("250-LIMITS RCPTMAX=1 MAILMAX=1\r\n"));
    assert_eq!(codes(&heard.text).join(" "), "250 250 250 452 250 421");
}

#[test]
fn domains_are_counted_over_the_whole_session() {
    let options = with(&[Extension::Limits]).with_domain_limit(2);
    let heard = hear(
        &options,
        "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@D>\r\nRSET\r\n\
         MAIL FROM:<a@b>\r\nRCPT TO:<g@h>\r\nRCPT TO:<i@j>\r\nRCPT TO:<k@d>\r\nNOOP\r\n",
    );
    assert!(heard.text.contains("250-LIMITS RCPTDOMAINMAX=2\r\n"));
    let expected = "250 250 250 250 250 250 250 452 250 250";
    assert_eq!(codes(&heard.text).join(" "), expected);
}

#[test]
fn the_original_recipient_has_an_address_and_may_be_in_utf_8_with_smtputf8() {
    let options = with(&[Extension::Dsn, Extension::SmtpUtf8]);
    for (mail, rcpt, expected) in [
        ("", "ORCPT=rfc822;a", "250"),
        ("", "ORCPT=rfc822;", "501"),
        ("", "ORCPT=utf-8;é@x", "501"),
        (" SMTPUTF8", "ORCPT=utf-8;é@x", "250"),
        (" SMTPUTF8", "ORCPT=rfc822;é@x", "501"),
    ] {
        let input = format!("EHLO me\r\nMAIL FROM:<a@b>{mail}\r\nRCPT TO:<c@d> {rcpt}\r\n");
        check_codes(&options, &input, &format!("250 250 {expected}"));
    }
}
