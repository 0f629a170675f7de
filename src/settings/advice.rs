//! What works, or may work, but is likely not meant.

use super::Password;
use super::account::Account;
use super::remark::{Field, Remark, RemarkKind};
use crate::net::Trust;
use crate::proto::config::PlaintextAuth;
use crate::providers::{self, Encryption, LoginForm, Provider, SenderRule, UsernameForm};

/// The account with its warnings, in the order of the form.
pub(super) fn with_warnings(mut account: Account, password: &Password) -> Account {
    let mut warnings = Vec::new();
    warnings.extend(sender(&account));
    warnings.extend(host(&account));
    warnings.extend(endpoint(&account));
    warnings.extend(in_clear(&account));
    warnings.extend(username(&account));
    warnings.extend(password_form(&account, password));
    warnings.extend(validation(&account));
    warnings.sort_by_key(|remark| remark.field);
    account.warnings = warnings;
    account
}

/// Whether the server will let the account send as this sender, and others believe it.
fn sender(account: &Account) -> Option<Remark> {
    let (sender, provider) = (account.sender(), account.provider());
    let say = |kind, message| Some(Remark::new(Field::SenderEmail, kind, message));
    let rule = provider.and_then(|provider| provider.sender);
    let owner = providers::by_domain(sender.domain());
    let is_elsewhere = provider.is_none() || rule == Some(SenderRule::Verified);
    if let (Some(owner), true) = (owner, is_elsewhere) {
        return say(
            RemarkKind::SenderDomain,
            format!(
                "Addresses of {} belong to {}. Mail from them that another server sends is mostly \
                 refused or marked as spam (DMARC). Send through {}, or as an address of a domain of \
                 your own.",
                sender.domain(),
                owner.name,
                owner.name
            ),
        );
    }
    let username = account.username().filter(|name| name.contains('@'))?;
    if username.eq_ignore_ascii_case(sender.as_str()) {
        return None;
    }
    let name = provider.map_or("the server", |provider| &provider.name);
    let why = match rule {
        Some(SenderRule::Verified) => return None,
        Some(SenderRule::OwnReplaced) => format!(
            "{name} puts the account's address in its place, unless it is set up as an alias of the \
             account"
        ),
        Some(SenderRule::OwnRefused) => {
            format!("{name} refuses mail from addresses that are not the account's own")
        }
        None => "many servers refuse mail from addresses that are not the account's own".to_owned(),
    };
    let warning = say(
        RemarkKind::SenderDiffers,
        format!("{sender} is not the account that logs in, {username}: {why}."),
    )?;
    Some(warning.instead(username))
}

/// A host that is nearly a known one.
fn host(account: &Account) -> Option<Remark> {
    if account.provider().is_some() {
        return None;
    }
    let near = providers::near_host(account.host())?;
    let remark = Remark::new(
        Field::Host,
        RemarkKind::NearHost,
        format!(
            "{} is not known as a server for outgoing mail. Was {near} meant?",
            account.host()
        ),
    );
    Some(remark.instead(near))
}

/// Ports and encryptions that do not go together, there or anywhere.
fn endpoint(account: &Account) -> Option<Remark> {
    let (port, encryption) = (account.port(), account.encryption());
    let known = account
        .provider()
        .map(|provider| provider.endpoints_at(account.host()))
        .unwrap_or_default();
    if let Some(best) = known.first() {
        let same_port = known.iter().find(|endpoint| endpoint.port == port);
        let message = |instead| {
            format!(
                "Port {port} with {encryption} is not among what is known of {}. Choose {instead}, \
                 unless the provider says otherwise.",
                account.host()
            )
        };
        return match same_port {
            Some(endpoint) if endpoint.encryption == encryption => None,
            Some(endpoint) => Some(
                Remark::new(
                    Field::Encryption,
                    RemarkKind::ProviderEndpoint,
                    message(format!("{} for this port", endpoint.encryption)),
                )
                .instead(endpoint.encryption.as_str()),
            ),
            None => {
                let same_encryption = known.iter().find(|one| one.encryption == encryption);
                let better = same_encryption.unwrap_or(best);
                let remark = Remark::new(
                    Field::Port,
                    RemarkKind::ProviderEndpoint,
                    message(format!("port {} with {}", better.port, better.encryption)),
                );
                Some(remark.instead(better.port.to_string()))
            }
        };
    }
    let usual = match (port, encryption) {
        (465, Encryption::StartTls | Encryption::None) => Encryption::Tls,
        (587 | 25, Encryption::Tls) => Encryption::StartTls,
        _ => return None,
    };
    let mut message = format!(
        "Port {port} goes with {usual}, and {encryption} with port {}.",
        encryption.default_port()
    );
    if encryption == Encryption::Tls {
        message.push_str(" (Other programs call STARTTLS by the name of TLS.)");
    }
    let remark = Remark::new(Field::Encryption, RemarkKind::PortEncryption, message);
    Some(remark.instead(usual.as_str()))
}

fn in_clear(account: &Account) -> Option<Remark> {
    let has_login = account.credentials.is_some();
    match (account.encryption(), account.plaintext_auth) {
        (Encryption::None, PlaintextAuth::Allow) if has_login => Some(Remark::new(
            Field::Encryption,
            RemarkKind::InClear,
            "Without encryption everybody on the way can read the password and the mail.",
        )),
        (Encryption::None, PlaintextAuth::Allow | PlaintextAuth::Refuse) => Some(Remark::new(
            Field::Encryption,
            RemarkKind::InClear,
            "Without encryption everybody on the way can read the mail.",
        )),
        (Encryption::StartTls | Encryption::Tls, _) => None,
    }
}

/// The form of user names that the provider takes.
fn username(account: &Account) -> Option<Remark> {
    let provider = account.provider()?;
    let username = account.username()?;
    let say = |message| Remark::new(Field::Username, RemarkKind::UsernameForm, message);
    let name = &provider.name;
    match &provider.username {
        UsernameForm::Address if !username.contains('@') => Some(
            say(format!(
                "{name} takes the whole address as the user name, such as {}.",
                account.sender()
            ))
            .instead(account.sender().as_str()),
        ),
        UsernameForm::LocalPart => {
            let (local, _) = username.split_once('@')?;
            let message =
                format!("{name} takes the part before the '@' as the user name: {local}.");
            Some(say(message).instead(local))
        }
        UsernameForm::Fixed(word) if username != word => {
            let message = format!("The user name of {name} is the word {word}, for every account.");
            Some(say(message).instead(word.as_str()))
        }
        UsernameForm::Credential if username.eq_ignore_ascii_case(account.sender().as_str()) => {
            Some(say(format!(
                "{name} mostly takes a user name of its own for sending mail, which it shows with \
                 the password, and not an address."
            )))
        }
        UsernameForm::Address
        | UsernameForm::Fixed(_)
        | UsernameForm::Credential
        | UsernameForm::Any => None,
    }
}

/// The kind of password that the provider takes, and white space that came with copying.
fn password_form(account: &Account, password: &Password) -> Option<Remark> {
    account.username()?;
    if let Some(message) = account
        .provider()
        .and_then(|provider| wrong_form(provider, password))
    {
        let kind = RemarkKind::PasswordForm;
        return Some(Remark::new(Field::Password, kind, message));
    }
    let text = password.expose();
    (text.trim() != text).then(|| {
        Remark::new(
            Field::Password,
            RemarkKind::WhiteSpace,
            "The password begins or ends with white space. If that came with copying, write it \
             without.",
        )
    })
}

fn wrong_form(provider: &Provider, password: &Password) -> Option<String> {
    let name = &provider.name;
    if provider.takes_account_password() {
        return None;
    }
    if provider.login.iter().all(|form| *form == LoginForm::OAuth) {
        return Some(format!(
            "{name} takes no passwords for sending mail, but OAuth 2.0 tokens only."
        ));
    }
    let app_password = provider.app_password.as_ref();
    if provider.login.contains(&LoginForm::AppPassword) {
        let looks_right = app_password.and_then(|form| form.looks_like(password.expose()));
        let page = app_password.map_or(String::new(), |form| format!(": {}", form.url));
        return match looks_right {
            Some(true) => None,
            Some(false) => Some(format!(
                "{name} does not take the account's password from programs, and this does not look \
                 like one of its app passwords. Make one{page}"
            )),
            None => Some(format!(
                "{name} does not take the account's password from programs. Make an app password, \
                 if this is none{page}"
            )),
        };
    }
    None
}

fn validation(account: &Account) -> Option<Remark> {
    match (account.trust(), account.encryption()) {
        (Trust::Off, Encryption::StartTls | Encryption::Tls) => Some(
            Remark::new(
                Field::ValidateCertificate,
                RemarkKind::ValidationOff,
                "The certificate is not checked: anybody between here and the server can read and \
                 change everything, the password included. Write its fingerprint into the field \
                 certificate_sha256 instead, and switch validation on.",
            )
            .instead("true"),
        ),
        (Trust::Pinned(_), Encryption::None) => Some(Remark::new(
            Field::CertificateSha256,
            RemarkKind::Unused,
            "Without encryption there is no certificate: the fingerprint is without effect.",
        )),
        (Trust::Off | Trust::Native | Trust::Webpki | Trust::Pinned(_), _) => None,
    }
}
