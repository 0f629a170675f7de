//! Settings as a form has them, and what is known of mail providers.

mod advice;
mod fields;
mod providers;
mod secrets;
mod sources;

use ehlo::settings::{Account, Field, Problems, Settings};

/// Settings that nothing is wrong with.
fn good() -> Settings {
    Settings::new("jo@example.org", "mail.example.org")
        .with_from_name("Jo Doe")
        .with_port(587)
        .with_login("jo@example.org", "secret")
}

#[track_caller]
fn account(settings: &Settings) -> Account {
    settings
        .account()
        .unwrap_or_else(|problems| panic!("{settings:?}\n{problems}"))
}

#[track_caller]
fn problems(settings: &Settings) -> Problems {
    match settings.account() {
        Ok(account) => panic!("{account:?}"),
        Err(problems) => problems,
    }
}

/// A field, written anew.
fn with(mut settings: Settings, field: Field, text: &str) -> Settings {
    match field {
        Field::SenderEmail => settings.sender_email = text.into(),
        Field::FromName => settings.from_name = text.into(),
        Field::Host => settings.host = text.into(),
        Field::Port => settings.port = text.into(),
        Field::Encryption => settings.encryption = text.into(),
        Field::Username => settings.username = text.into(),
        Field::Password => settings.password = text.into(),
        Field::ValidateCertificate => settings.validate_certificate = text.into(),
        Field::CertificateSha256 => settings.certificate_sha256 = text.into(),
    }
    settings
}
