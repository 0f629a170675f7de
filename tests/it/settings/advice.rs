//! Warnings: what works, or may work, but is likely not meant.

use ehlo::settings::{Field, RemarkKind, Settings};

use super::account;

fn settings(sender: &str, host: &str, port: u16, encryption: &str) -> Settings {
    let mut settings = Settings::new(sender, host).with_port(port);
    settings.encryption = encryption.into();
    settings
}

/// Field, kind and what to write instead.
type Seen = (Field, RemarkKind, Option<String>);

#[track_caller]
fn warnings(settings: &Settings) -> Vec<Seen> {
    let account = account(settings);
    for warning in account.warnings() {
        assert!(warning.message.ends_with(['.', '?', ')']) || warning.message.contains("https://"));
    }
    let seen = account.warnings().iter();
    seen.map(|warning| (warning.field, warning.kind, warning.instead.clone()))
        .collect()
}

#[track_caller]
fn assert_warns(settings: &Settings, field: Field, kind: RemarkKind, instead: Option<&str>) {
    let expected = (field, kind, instead.map(str::to_owned));
    assert_eq!(warnings(settings), [expected]);
}

#[test]
fn a_sender_that_is_not_the_account_is_a_warning_with_the_reason() {
    let differing = |host: &str, username: &str| {
        settings("news@acme.example", host, 587, "starttls").with_login(username, "secret")
    };
    let differs = RemarkKind::SenderDiffers;
    for (host, username, reason) in [
        (
            "mail.acme.example",
            "jo@acme.example",
            "many servers refuse",
        ),
        (
            "smtp.office365.com",
            "jo@acme.example",
            "Microsoft 365 refuses",
        ),
    ] {
        let settings = differing(host, username);
        assert_warns(&settings, Field::SenderEmail, differs, Some(username));
        let account = account(&settings);
        assert!(
            account.warnings()[0].message.contains(reason),
            "{account:?}"
        );
    }
    // An address in another case is the same; a name that is no address may be anybody's.
    let same = differing("mail.acme.example", "News@ACME.example");
    assert_eq!(warnings(&same), []);
    assert_eq!(warnings(&differing("mail.acme.example", "jo")), []);
    // Any verified sender will do.
    let ses = differing("email-smtp.eu-west-1.amazonaws.com", "AKIAEXAMPLE");
    assert_eq!(warnings(&ses), []);
}

#[test]
fn a_sender_of_another_providers_domain_is_told_of_dmarc() {
    let settings =
        settings("jo@gmail.com", "smtp.sendgrid.net", 587, "starttls").with_login("apikey", "SG.x");
    let domain = RemarkKind::SenderDomain;
    assert_warns(&settings, Field::SenderEmail, domain, None);
    let account = account(&settings);
    assert!(account.warnings()[0].message.contains("DMARC"));
}

#[test]
fn a_near_miss_of_a_known_host_is_asked_about() {
    let near = settings("jo@acme.example", "smtp.gmial.com", 587, "starttls");
    let kind = RemarkKind::NearHost;
    assert_warns(&near, Field::Host, kind, Some("smtp.gmail.com"));
}

#[test]
fn ports_and_encryptions_that_do_not_go_together_are_warned_of() {
    let at = |port, encryption| settings("jo@acme.example", "mail.acme.example", port, encryption);
    let kind = RemarkKind::PortEncryption;
    assert_warns(&at(465, "starttls"), Field::Encryption, kind, Some("tls"));
    assert_warns(&at(587, "tls"), Field::Encryption, kind, Some("starttls"));
    assert_warns(&at(25, "tls"), Field::Encryption, kind, Some("starttls"));
    for (port, encryption) in [
        (587, "starttls"),
        (465, "tls"),
        (2525, "tls"),
        (25, "starttls"),
    ] {
        assert_eq!(warnings(&at(port, encryption)), [], "{port} {encryption}");
    }
}

#[test]
fn a_known_host_says_which_ports_it_has() {
    let at = |port, encryption| settings("jo@acme.example", "smtp.office365.com", port, encryption);
    let kind = RemarkKind::ProviderEndpoint;
    assert_warns(&at(465, "tls"), Field::Port, kind, Some("587"));
    assert_warns(&at(587, "tls"), Field::Encryption, kind, Some("starttls"));
    let postmark = settings("jo@acme.example", "smtp.postmarkapp.com", 465, "tls");
    assert_warns(&postmark, Field::Port, kind, Some("587"));
    let gmail = settings("jo@acme.example", "smtp.gmail.com", 25, "tls");
    assert_warns(&gmail, Field::Port, kind, Some("465"));
}

#[test]
fn a_port_that_the_provider_documents_is_not_denied_and_none_is_said_not_to_be() {
    for (host, port, encryption) in [
        ("mail.infomaniak.com", 465, "tls"),
        ("mail.infomaniak.com", 587, "starttls"),
        ("smtp.mandrillapp.com", 465, "tls"),
        ("smtp.mandrillapp.com", 2525, "starttls"),
        ("mail.smtp2go.com", 587, "starttls"),
        ("mail-eu.smtp2go.com", 8465, "tls"),
        ("mail.smtp2go.com", 443, "tls"),
        ("smtp.qq.com", 587, "starttls"),
        ("smtp.migadu.com", 587, "starttls"),
        ("smtp.mail.ovh.net", 465, "tls"),
        ("ssl0.ovh.net", 587, "starttls"),
        ("smtp.mail.ovh.ca", 465, "tls"),
        ("in-v3.mailjet.com", 588, "starttls"),
        ("mail.runbox.com", 587, "starttls"),
        ("smtp.yandex.ru", 587, "starttls"),
        ("secure.emailsrvr.com", 587, "starttls"),
    ] {
        let settings = settings("jo@acme.example", host, port, encryption);
        assert_eq!(warnings(&settings), [], "{host} {port} {encryption}");
    }
    let other = settings("jo@acme.example", "smtp.seznam.cz", 2525, "starttls");
    let account = account(&other);
    let said = &account.warnings()[0].message;
    assert!(said.contains("not among what is known of"), "{said}");
    assert!(
        said.contains("unless the provider says otherwise"),
        "{said}"
    );
}

#[test]
fn the_form_of_a_user_name_is_the_providers() {
    let at = |host, username: &str| {
        settings("jo@acme.example", host, 587, "starttls").with_login(username, "x")
    };
    let kind = RemarkKind::UsernameForm;
    let sendgrid = at("smtp.sendgrid.net", "jo@acme.example");
    assert_warns(&sendgrid, Field::Username, kind, Some("apikey"));
    let zoho = at("smtp.zoho.com", "jo");
    assert_warns(&zoho, Field::Username, kind, Some("jo@acme.example"));
    let ses = at("email-smtp.us-east-1.amazonaws.com", "jo@acme.example");
    assert_warns(&ses, Field::Username, kind, None);
    assert_eq!(warnings(&at("smtp.sendgrid.net", "apikey")), []);
}

#[test]
fn the_kind_of_password_is_the_providers() {
    let gmail = |password: &str| {
        settings("jo@gmail.com", "smtp.gmail.com", 587, "starttls")
            .with_login("jo@gmail.com", password)
    };
    let kind = RemarkKind::PasswordForm;
    assert_warns(&gmail("my own password"), Field::Password, kind, None);
    for app_password in ["abcd efgh ijkl mnop", "abcdefghijklmnop"] {
        assert_eq!(warnings(&gmail(app_password)), [], "{app_password}");
    }
    let outlook = settings("jo@hotmail.com", "smtp-mail.outlook.com", 587, "starttls")
        .with_login("jo@hotmail.com", "password");
    assert_warns(&outlook, Field::Password, kind, None);
    assert!(account(&outlook).warnings()[0].message.contains("OAuth"));
}

#[test]
fn white_space_around_a_password_may_have_come_with_copying() {
    let settings = settings("jo@acme.example", "mail.acme.example", 587, "starttls")
        .with_login("jo", " secret ");
    assert_warns(&settings, Field::Password, RemarkKind::WhiteSpace, None);
}

#[test]
fn a_certificate_that_is_not_checked_is_warned_of() {
    let base = settings("jo@acme.example", "mail.acme.example", 587, "starttls");
    let off = base.clone().without_certificate_validation();
    let kind = RemarkKind::ValidationOff;
    assert_warns(&off, Field::ValidateCertificate, kind, Some("true"));
    let pinned = base.with_certificate_sha256("ab".repeat(32));
    assert_eq!(warnings(&pinned), []);
    let mut clear = pinned;
    clear.encryption = "none".into();
    clear.port = "25".into();
    let kinds: Vec<_> = warnings(&clear).into_iter().map(|seen| seen.1).collect();
    assert_eq!(kinds, [RemarkKind::InClear, RemarkKind::Unused]);
}
