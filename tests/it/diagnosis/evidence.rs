//! What errors know, as data.

use ehlo::proto::{CertificateProblem, CertificateRole, Evidence, Resolution, Spoken, TlsProblem};

use super::stage::{With, visit};

async fn evidence(sandbox: &[&str], with: &[With]) -> Evidence {
    let visit = visit(sandbox, with).await;
    let error = visit.error;
    error
        .evidence()
        .unwrap_or_else(|| panic!("{error:?} has no evidence"))
        .clone()
}

#[tokio::test]
async fn a_certificate_that_was_refused_can_be_looked_at() {
    for (fault, problem) in [
        ("certificate=expired", CertificateProblem::Expired),
        ("certificate=not-yet-valid", CertificateProblem::NotYetValid),
        ("certificate=wrong-name", CertificateProblem::WrongName),
        ("certificate=self-signed", CertificateProblem::SelfSigned),
        (
            "certificate=unknown-issuer",
            CertificateProblem::UnknownIssuer,
        ),
        (
            "certificate=incomplete-chain",
            CertificateProblem::IncompleteChain,
        ),
    ] {
        let found = evidence(&["--fault", fault], &[]).await;
        let Evidence::Certificate(refused) = found else {
            panic!("{fault}: {found:?}");
        };
        assert_eq!(refused.problem, problem);
        assert_eq!(refused.expected, "localhost");
        let [own] = refused.chain.as_slice() else {
            panic!("{fault}: {:?}", refused.chain);
        };
        assert_eq!(
            own.is_self_issued(),
            problem == CertificateProblem::SelfSigned
        );
        assert_eq!(own.role, CertificateRole::EndEntity);
        assert_eq!(own.key, "EC, 256 bits");
        let has_location = own.issuer_location.is_some();
        assert_eq!(has_location, problem == CertificateProblem::IncompleteChain);
    }
}

#[tokio::test]
async fn no_stranger_s_certificate_names_the_host_to_send_the_password_to() {
    let visit = visit(&["--fault", "certificate=wrong-name"], &[]).await;
    assert_eq!(visit.diagnosis.suggestion, None);
    // It is named all the same, with who has to confirm it.
    let first = &visit.diagnosis.advice[0];
    assert!(first.starts_with("If your provider names "), "{first}");
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_there_to_be_pinned() {
    let visit = visit(&[], &[With::AnotherPin]).await;
    let Some(Evidence::Certificate(refused)) = visit.error.evidence() else {
        panic!("{:?}", visit.error);
    };
    assert_eq!(refused.problem, CertificateProblem::PinMismatch);
    assert_eq!(refused.chain[0].fingerprint(), visit.varying[0].0);
}

#[tokio::test]
async fn what_was_spoken_and_what_tls_came_to_is_told() {
    let spoken = |spoken| Evidence::Spoken(spoken);
    let tls = |problem| Evidence::Tls(problem);
    for (fault, expected) in [
        ("banner=tls", spoken(Spoken::Tls)),
        ("banner=http", spoken(Spoken::Http)),
        ("banner=imap", spoken(Spoken::Imap)),
        ("banner=pop3", spoken(Spoken::Pop3)),
        ("banner=ssh", spoken(Spoken::Ssh)),
        ("tls=old", tls(TlsProblem::Alert(70))),
        ("tls=no-cipher", tls(TlsProblem::Alert(40))),
        ("tls=unknown-name", tls(TlsProblem::Alert(112))),
        ("tls=client-certificate", tls(TlsProblem::Alert(116))),
        ("tls=garbage", tls(TlsProblem::NotTls)),
        ("close@handshake", tls(TlsProblem::ClosedWithin)),
        ("close@body", Evidence::ReplyLost),
    ] {
        assert_eq!(
            evidence(&["--fault", fault], &[]).await,
            expected,
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_name_and_every_attempt_to_connect_are_told() {
    let nowhere = evidence(&[], &[With::Host("smtp.invalid")]).await;
    assert_eq!(nowhere, Evidence::Resolution(Resolution::NoSuchName));
    let refused = evidence(&[], &[With::ClosedPort]).await;
    let Evidence::Attempts(attempts) = refused else {
        panic!("{refused:?}");
    };
    assert!(!attempts.is_empty());
    for attempt in attempts {
        assert!(attempt.address.ip().is_loopback(), "{attempt:?}");
    }
}

#[tokio::test]
async fn what_the_server_has_said_of_itself_is_in_the_error() {
    let fault = "reply@auth=535 5.7.8 no";
    let visit = visit(&["--fault", fault], &[]).await;
    let progress = visit.error.progress();
    let greeting = progress.greeting.as_ref().expect("a greeting");
    assert!(greeting.text().contains("sandbox"), "{greeting}");
    let offers = progress.offers.as_ref().expect("an answer to EHLO");
    assert!(offers.text().contains("AUTH PLAIN"), "{offers}");
}
