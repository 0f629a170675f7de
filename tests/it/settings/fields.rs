//! Field by field: what is taken, what is not, and all that is wrong at once.

use ehlo::message::Message;
use ehlo::net::Trust;
use ehlo::proto::PlaintextAuth;
use ehlo::providers::Encryption;
use ehlo::settings::{Field, RemarkKind, Settings};
use ehlo::{Mailbox, Security};

use super::{account, good, problems, with};

#[test]
fn a_wrong_field_is_named_with_the_kind_of_problem_and_what_to_write() {
    use Field as F;
    use RemarkKind as K;
    for (field, text, kind, instead, words) in [
        (F::SenderEmail, "", K::Missing, None, "address"),
        (F::SenderEmail, " \t ", K::Missing, None, "address"),
        (F::SenderEmail, "jo", K::Malformed, None, "jo@example.org"),
        (F::SenderEmail, "jo@", K::Malformed, None, "no address"),
        (
            F::SenderEmail,
            "MAILTO:jo@example.org",
            K::Surplus,
            Some("jo@example.org"),
            "alone",
        ),
        (
            F::SenderEmail,
            "jo @example.org",
            K::Surplus,
            Some("jo@example.org"),
            "alone",
        ),
        (
            F::SenderEmail,
            "jo@example.org, ann@example.org",
            K::Surplus,
            None,
            "one address",
        ),
        (
            F::SenderEmail,
            "Jo <jo@example.org>",
            K::Surplus,
            Some("jo@example.org"),
            "from_name",
        ),
        (
            F::FromName,
            "Jo\r\nBcc: ann@example.com",
            K::Malformed,
            Some("Jo Bcc: ann@example.com"),
            "line end",
        ),
        (F::FromName, "Jo\0", K::Malformed, Some("Jo"), "control"),
        (F::Host, "", K::Missing, None, "smtp.example.org"),
        (
            F::Host,
            "https://mail.example.org/login",
            K::Surplus,
            Some("mail.example.org"),
            "scheme",
        ),
        (
            F::Host,
            "smtp://mail.example.org:465",
            K::Surplus,
            Some("mail.example.org"),
            "\"465\"",
        ),
        (
            F::Host,
            "mail.example.org:587",
            K::Surplus,
            Some("mail.example.org"),
            "field port",
        ),
        (
            F::Host,
            "mail.example.org/",
            K::Surplus,
            Some("mail.example.org"),
            "alone",
        ),
        (F::Host, "[::1]:25", K::Surplus, Some("::1"), "field port"),
        (
            F::Host,
            "smtp.gmail.com 587",
            K::Surplus,
            Some("smtp.gmail.com"),
            "\"587\"",
        ),
        (
            F::Host,
            "smtp,gmail.com",
            K::Malformed,
            Some("smtp.gmail.com"),
            "no host name",
        ),
        (
            F::Host,
            "jo:secret@mail.example.org",
            K::Surplus,
            Some("mail.example.org"),
            "alone",
        ),
        (F::Host, "jo@example.org", K::Surplus, None, "'@'"),
        (
            F::Host,
            "jo@gmail.com",
            K::Surplus,
            Some("smtp.gmail.com"),
            "'@'",
        ),
        (
            F::Host,
            "mail example.org",
            K::Malformed,
            None,
            "no host name",
        ),
        (
            F::Host,
            "mail..example.org",
            K::Malformed,
            Some("mail.example.org"),
            "no host name",
        ),
        (F::Host, "192.168.1", K::Malformed, None, "no host name"),
        (
            F::Host,
            "-mail.example.org",
            K::Malformed,
            None,
            "no host name",
        ),
        (F::Port, "0", K::Malformed, None, "1 to 65535"),
        (F::Port, "65536", K::Malformed, None, "1 to 65535"),
        (F::Port, "+25", K::Malformed, Some("25"), "587"),
        (F::Port, "587/tcp", K::Malformed, Some("587"), "587/tcp"),
        (F::Port, "587 (STARTTLS)", K::Malformed, Some("587"), "587"),
        (F::Port, "5 8 7", K::Malformed, None, "1 to 65535"),
        (F::Port, "smtp", K::Malformed, None, "smtp"),
        (F::Encryption, "auto", K::UnknownValue, None, "STARTTLS"),
        (F::Encryption, "tls1.2", K::UnknownValue, None, "tls1.2"),
        (
            F::Encryption,
            "none",
            K::InClear,
            Some("starttls"),
            "password",
        ),
        (
            F::Username,
            "",
            K::Missing,
            Some("jo@example.org"),
            "user name",
        ),
        (F::Username, "jo\n", K::Malformed, None, ""),
        (F::Password, "", K::Missing, None, "Write the password"),
        (F::Password, "secret\n", K::Malformed, None, "line end"),
        (
            F::ValidateCertificate,
            "ja",
            K::UnknownValue,
            Some("true"),
            "neither",
        ),
        (F::CertificateSha256, "12:34", K::Malformed, None, "64"),
        (F::CertificateSha256, "secret", K::Malformed, None, "64"),
    ] {
        let settings = with(good(), field, text);
        if (field, text) == (F::Username, "jo\n") {
            // White space around does not count.
            account(&settings);
            continue;
        }
        let problems = problems(&settings);
        let [problem] = problems.iter().collect::<Vec<_>>()[..] else {
            panic!("{text:?}: {problems}");
        };
        assert_eq!((problem.field, problem.kind), (field, kind), "{text:?}");
        assert_eq!(problem.instead.as_deref(), instead, "{text:?}");
        assert!(problem.message.contains(words), "{text:?}: {problem}");
        assert!(problem.message.ends_with('.'), "{problem}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once_in_the_order_of_the_form() {
    let mut settings = Settings::default();
    settings.from_name = "a\nb".into();
    settings.port = "x".into();
    settings.encryption = "y".into();
    settings.password = "z".into();
    settings.validate_certificate = "perhaps".into();
    settings.certificate_sha256 = "12".into();
    let problems = problems(&settings);
    let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
    let expected = [
        Field::SenderEmail,
        Field::FromName,
        Field::Host,
        Field::Port,
        Field::Encryption,
        Field::Username,
        Field::ValidateCertificate,
        Field::CertificateSha256,
    ];
    assert_eq!(fields, expected);
    assert_eq!(problems.of_field(Field::Host).count(), 1);
    let text = problems.to_string();
    assert_eq!(text.lines().count(), 8, "{text}");
    for field in expected {
        assert!(text.contains(&format!("{field}: ")), "{text}");
    }
    let json = serde_json::to_value(&problems).unwrap();
    assert_eq!(json[2]["field"], "host");
    assert_eq!(json[2]["kind"], "missing");
}

#[test]
fn names_for_programs_are_the_same_in_text_and_in_json() {
    for field in Field::ALL {
        assert_eq!(serde_json::to_value(field).unwrap(), field.as_str());
        assert_eq!(Field::named(field.as_str()), Some(field));
    }
    for kind in [
        RemarkKind::InClear,
        RemarkKind::ProviderEndpoint,
        RemarkKind::UnknownValue,
    ] {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
    for encryption in [Encryption::StartTls, Encryption::Tls, Encryption::None] {
        assert_eq!(
            serde_json::to_value(encryption).unwrap(),
            encryption.as_str()
        );
        assert_eq!(encryption.as_str().parse(), Ok(encryption));
    }
}

#[test]
fn encryption_is_understood_as_people_and_forms_write_it() {
    for (texts, encryption) in [
        (
            &[
                "STARTTLS",
                "starttls",
                " StartTLS ",
                "START-TLS",
                "start_tls",
                "Explicit TLS",
            ][..],
            Encryption::StartTls,
        ),
        (
            &[
                "SSL/TLS",
                "TLS/SSL",
                "ssl",
                "TLS",
                "tls",
                "SSL",
                "smtps",
                "Implicit TLS",
            ],
            Encryption::Tls,
        ),
        (
            &["None", "none", "NO", "plain", "No encryption"],
            Encryption::None,
        ),
    ] {
        for text in texts {
            let mut settings = Settings::new("jo@example.org", "mail.example.org");
            settings.encryption = (*text).into();
            assert_eq!(account(&settings).encryption(), encryption, "{text}");
        }
    }
}

#[test]
fn port_and_encryption_follow_each_other() {
    for (port, encryption, expected) in [
        ("", "", (587, Encryption::StartTls)),
        ("465", "", (465, Encryption::Tls)),
        (" 25 ", "", (25, Encryption::StartTls)),
        ("2525", "", (2525, Encryption::StartTls)),
        ("", "tls", (465, Encryption::Tls)),
        ("", "none", (25, Encryption::None)),
        ("465", "starttls", (465, Encryption::StartTls)),
    ] {
        let mut settings = Settings::new("jo@example.org", "mail.example.org");
        settings.port = port.into();
        settings.encryption = encryption.into();
        let account = account(&settings);
        assert_eq!((account.port(), account.encryption()), expected);
    }
}

#[test]
fn hosts_are_names_or_addresses_in_ascii() {
    for (text, host) in [
        (" mail.example.org ", "mail.example.org"),
        ("mail.example.org.", "mail.example.org"),
        ("Mail.Example.ORG", "Mail.Example.ORG"),
        ("localhost", "localhost"),
        ("mail_1.example.org", "mail_1.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
    ] {
        let settings = with(good(), Field::Host, text);
        assert_eq!(account(&settings).host(), host);
    }
}

#[test]
fn validation_is_on_unless_it_is_switched_off() {
    for (text, trust) in [
        ("", Trust::Native),
        ("true", Trust::Native),
        ("on", Trust::Native),
        ("1", Trust::Native),
        ("YES", Trust::Native),
        ("false", Trust::Off),
        ("off", Trust::Off),
        ("0", Trust::Off),
        ("No", Trust::Off),
    ] {
        let account = account(&with(good(), Field::ValidateCertificate, text));
        assert_eq!(account.trust(), trust, "{text}");
        assert_eq!(account.client_config().tls.trust(), trust);
        let is_visible = account.to_string().contains("NOT CHECKED");
        assert_eq!(is_visible, trust == Trust::Off, "{account}");
    }
}

#[test]
fn a_pin_is_read_in_any_case_with_or_without_colons_and_goes_with_validation() {
    let colons = ["00", "fF"].repeat(16).join(":");
    let plain = colons.replace(':', "");
    let expected: Vec<u8> = [0, 255].repeat(16);
    for text in [&colons, &plain] {
        let account = account(&good().with_certificate_sha256(text));
        match account.client_config().tls.trust() {
            Trust::Pinned(pin) => assert_eq!(pin.as_slice(), expected),
            trust => panic!("{trust:?}"),
        }
        assert!(account.to_string().contains("one certificate only"));
    }
    let both = good()
        .with_certificate_sha256(plain)
        .without_certificate_validation();
    let problems = problems(&both);
    let problem = problems.iter().next().unwrap();
    assert_eq!(problem.kind, RemarkKind::Contradiction);
    assert_eq!(problem.field, Field::ValidateCertificate);
}

#[test]
fn a_password_in_clear_is_refused_unless_whoever_runs_the_program_allows_it() {
    let clear = good().with_encryption(Encryption::None).with_port(25);
    let refused = problems(&clear);
    assert_eq!(refused.iter().next().unwrap().kind, RemarkKind::InClear);

    let allowed = account(&clear.with_plaintext_auth(PlaintextAuth::Allow));
    assert_eq!(allowed.warnings()[0].kind, RemarkKind::InClear);
    let config = allowed.client_config();
    assert_eq!(config.session.plaintext_auth, PlaintextAuth::Allow);

    let nobody = Settings::new("jo@example.org", "mail.example.org");
    let nobody = account(&nobody.with_encryption(Encryption::None));
    assert_eq!(nobody.warnings()[0].kind, RemarkKind::InClear);
    assert_eq!(nobody.username(), None);
}

#[test]
fn an_account_becomes_the_configuration_of_a_client() {
    let account = account(&good());
    let config = account.client_config();
    assert_eq!(
        (config.host.as_str(), config.port),
        ("mail.example.org", 587)
    );
    assert_eq!(config.session.security, Security::StartTls);
    assert_eq!(config.session.plaintext_auth, PlaintextAuth::Refuse);
    assert_eq!(config.tls.trust(), Trust::Native);
    assert_eq!(
        account.sender(),
        &"jo@example.org".parse::<Mailbox>().unwrap()
    );
    assert_eq!(
        account.to_string(),
        "jo@example.org at mail.example.org, port 587, STARTTLS"
    );
    assert!(account.warnings().is_empty(), "{:?}", account.warnings());
    assert!(account.provider().is_none());
}

#[test]
fn the_senders_name_goes_into_a_message_as_it_is() {
    for (typed, name, written) in [
        ("Jo Doe", Some("Jo Doe"), "\"Jo Doe\" <jo@example.org>"),
        ("  Jo  ", Some("Jo"), "\"Jo\" <jo@example.org>"),
        ("", None, "From: <jo@example.org>"),
    ] {
        let account = account(&good().with_from_name(typed));
        assert_eq!(account.from_name(), name);
        let message: Message = account.message();
        let octets = message.with_text("Hello").compose().unwrap();
        let text = String::from_utf8(octets.to_vec()).unwrap();
        assert!(text.contains(written), "{text}");
    }
    let account = account(&good().with_from_name("Jörg, \"der\" Große"));
    assert!(account.message().with_text("x").compose().is_ok());
}
