//! `--settings FILE`: what a settings form has, beneath the options given beside it.

use std::path::Path;

use super::args::{ConnectionArguments, Encryption, TlsArguments};
use super::failure::Failure;
use super::server::Secret;
use super::terminal;
use crate::net::Trust;
use crate::proto::config::PlaintextAuth;
use crate::providers;
use crate::settings::{Account, Field, RemarkKind, Settings};

/// What a file says besides how to connect.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    pub(crate) address: Option<String>,
    pub(crate) name: Option<String>,
}

/// Reads the file, if one is named, and fills in the options that were not given. A server that is
/// named by a URL has nothing to do with the file's: then its host, its user name and its password do
/// not count.
pub(crate) async fn apply(
    connection: &mut ConnectionArguments,
    from: Option<&str>,
) -> Result<Sender, Failure> {
    let Some(path) = connection.server.settings.clone() else {
        return Ok(Sender::default());
    };
    let octets = tokio::fs::read(&path)
        .await
        .map_err(|error| Failure::unreadable(&path, &error))?;
    let settings = merged(read(&path, octets)?, connection, from);
    let account = judged(&path, &settings, connection)?;
    fill_in(connection, &settings, &account);
    let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    Ok(Sender {
        address: given(&settings.sender_email),
        name: given(&settings.from_name),
    })
}

/// JSON where it begins with a brace, as no TOML does.
fn read(path: &Path, octets: Vec<u8>) -> Result<Settings, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::Config(format!("the settings in {}: {error}", path.display()))
    };
    let text = String::from_utf8(octets).map_err(|_| wrong(&"they are not UTF-8"))?;
    let settings = match text.trim_start().starts_with('{') {
        true => Settings::from_json(&text),
        false => Settings::from_toml(&text),
    };
    settings.map_err(|error| wrong(&error))
}

/// Field by field, options go before the file.
fn merged(mut settings: Settings, given: &ConnectionArguments, from: Option<&str>) -> Settings {
    if let Some(from) = from {
        settings.sender_email = from.to_owned();
    }
    let server = &given.server;
    if server.server.is_some() {
        let elsewhere = Settings {
            sender_email: settings.sender_email,
            from_name: settings.from_name,
            validate_certificate: settings.validate_certificate,
            certificate_sha256: settings.certificate_sha256,
            ..Settings::default()
        };
        settings = elsewhere;
    }
    if let Some(host) = &server.host {
        settings.host.clone_from(host);
    }
    if let Some(port) = server.port {
        settings.port = port.to_string();
    }
    match server.encryption {
        Some(Encryption::Starttls) => settings.encryption = "starttls".into(),
        Some(Encryption::Tls) => settings.encryption = "tls".into(),
        Some(Encryption::None) => settings.encryption = "none".into(),
        // No form has it.
        Some(Encryption::Opportunistic) => settings.encryption = String::new(),
        None => {}
    }
    if let Some(username) = &given.login.username {
        settings.username.clone_from(username);
    }
    if given.login.has_secret() || given.login.is_external() {
        settings.password = "".into();
    }
    if given.tls.says_whom_to_trust() {
        settings.validate_certificate.clear();
        settings.certificate_sha256.clear();
    }
    if given.login.allow_plaintext_auth {
        settings.plaintext_auth = PlaintextAuth::Allow;
    }
    settings
}

/// The account, or all problems at once. What is said elsewhere, or need not be said, is stood in for.
fn judged(
    path: &Path,
    settings: &Settings,
    given: &ConnectionArguments,
) -> Result<Account, Failure> {
    let mut complete = settings.clone();
    let mut stood_in = Vec::new();
    let mut stand_in = |field, text: &mut String, with: &str| {
        if text.trim().is_empty() {
            with.clone_into(text);
            stood_in.push(field);
        }
    };
    stand_in(
        Field::SenderEmail,
        &mut complete.sender_email,
        "sender@localhost",
    );
    if given.server.server.is_some() {
        stand_in(Field::Host, &mut complete.host, "localhost");
    }
    if given.login.is_external() {
        complete.username.clear();
    } else if given.login.has_secret() && !complete.username.trim().is_empty() {
        complete.password = "given elsewhere".into();
        stood_in.push(Field::Password);
    }
    let account = complete.account().map_err(|problems| {
        let lines: Vec<_> = problems
            .iter()
            .map(|remark| format!("\n  {remark}"))
            .collect();
        Failure::Config(format!(
            "the settings in {} cannot be used:{}",
            path.display(),
            lines.concat()
        ))
    })?;
    for remark in account.warnings() {
        // Of a certificate that is not checked, the TLS options warn.
        if !stood_in.contains(&remark.field) && remark.kind != RemarkKind::ValidationOff {
            terminal::warn(remark);
        }
    }
    Ok(account)
}

fn fill_in(connection: &mut ConnectionArguments, settings: &Settings, account: &Account) {
    let ConnectionArguments {
        server, login, tls, ..
    } = connection;
    if server.server.is_none() {
        server.host = Some(account.host().to_owned());
        let is_opportunistic = server.encryption == Some(Encryption::Opportunistic);
        // Where neither names a port, it is the one that goes with the option.
        if !(is_opportunistic && settings.port.trim().is_empty()) {
            server.port = Some(account.port());
        }
        if !is_opportunistic {
            server.encryption = Some(match account.encryption() {
                providers::Encryption::StartTls => Encryption::Starttls,
                providers::Encryption::Tls => Encryption::Tls,
                providers::Encryption::None => Encryption::None,
            });
        }
        let username = settings.username.trim();
        if !username.is_empty() {
            login.username = Some(username.to_owned());
        }
        if !settings.password.is_empty() {
            login.password = Some(Secret(settings.password.expose().to_owned()));
        }
    }
    if !tls.says_whom_to_trust() {
        fill_in_trust(tls, account);
    }
}

fn fill_in_trust(tls: &mut TlsArguments, account: &Account) {
    match account.trust() {
        Trust::Off => tls.validate_certificate = Some(false),
        Trust::Pinned(fingerprint) => {
            let digits = fingerprint.iter().map(|octet| format!("{octet:02x}"));
            tls.pin_sha256 = Some(digits.collect());
        }
        Trust::Native | Trust::Webpki => {}
    }
}
