//! The data on providers: that it is well-formed, and found.

use std::collections::BTreeSet;

use ehlo::providers::{self, Encryption, KnownReply, LoginForm, Provider, Quantity, UsernameForm};
use ehlo::settings::Settings;
use ehlo::{Domain, EnhancedCode};

fn is_slug(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_name(text: &str) -> bool {
    let plain = text.replace('*', "x");
    plain.parse::<Domain>().is_ok() && plain.contains('.') && plain == plain.to_lowercase()
}

fn is_page(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or(text.strip_prefix("http://"));
    rest.is_some_and(|rest| rest.contains('.') && !rest.contains(char::is_whitespace))
}

fn is_date(text: &str) -> bool {
    let digits = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> = text.split('-').collect();
    matches!(parts[..], [year, month, day]
        if digits(year, 4) && digits(month, 2) && digits(day, 2)
            && ("01"..="12").contains(&month) && ("01"..="31").contains(&day))
}

fn is_sentence(text: &str) -> bool {
    text.len() > 10 && text.ends_with('.') && text.starts_with(|c: char| !c.is_whitespace())
}

#[test]
fn every_entry_is_well_formed() {
    for provider in providers::all() {
        let id = &provider.id;
        assert!(is_slug(id), "{id}");
        assert!(!provider.name.trim().is_empty(), "{id}");
        assert!(!provider.login.is_empty(), "{id} says nothing of passwords");
        assert!(!provider.sources.is_empty(), "{id} has no source");
        assert!(provider.sources.iter().all(|page| is_page(page)), "{id}");
        assert!(is_date(&provider.checked), "{id}: {}", provider.checked);
        assert!(provider.checked.as_str() >= "2026-11-01", "{id}");
        assert!(provider.notes.iter().all(|note| is_sentence(note)), "{id}");
        // An entry without a host describes hosts that anybody may have.
        let has_hosts = !provider.endpoints.is_empty();
        assert!(
            has_hosts || (provider.aliases.is_empty() && !provider.notes.is_empty()),
            "{id}"
        );
        for endpoint in &provider.endpoints {
            assert!(
                is_name(&endpoint.host) && endpoint.port > 0,
                "{id}: {endpoint}"
            );
            assert!(!endpoint.host.contains('*'), "{id}: {endpoint}");
            assert_ne!(endpoint.encryption, Encryption::None, "{id}: {endpoint}");
        }
        for name in provider
            .aliases
            .iter()
            .chain(&provider.domains)
            .chain(&provider.mx)
        {
            assert!(is_name(name), "{id}: {name}");
            assert!(name.matches('*').count() <= 1, "{id}: {name}");
        }
        for region in &provider.regions {
            assert!(provider.mx.contains(&region.mx), "{id}: {region:?}");
            assert!(
                !provider.endpoints_at(&region.host).is_empty(),
                "{id}: {region:?}"
            );
        }
        if let Some(app_password) = &provider.app_password {
            assert!(provider.login.contains(&LoginForm::AppPassword), "{id}");
            assert!(is_page(&app_password.url), "{id}");
        }
        if let UsernameForm::Fixed(word) = &provider.username {
            assert!(!word.is_empty(), "{id}");
        }
        let mut quantities = BTreeSet::new();
        for limit in &provider.limits {
            assert!(limit.most > 0 && is_page(&limit.source), "{id}: {limit:?}");
            assert!(quantities.insert(limit.of.words()), "{id}: {limit:?} twice");
        }
        provider
            .replies
            .iter()
            .for_each(|reply| assert_reply(id, reply));
    }
}

fn assert_reply(id: &str, reply: &KnownReply) {
    assert!(
        KnownReply::KINDS.contains(&reply.kind.as_str()),
        "{id}: {reply:?}"
    );
    assert!(
        reply.code.is_none_or(|code| (400..600).contains(&code)),
        "{id}: {reply:?}"
    );
    let numbers = |text: &str| {
        let parts: Option<Vec<u16>> = text.split('.').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some([class, subject, detail]) => EnhancedCode::new(*class as u8, *subject, *detail),
            _ => None,
        }
    };
    if let Some(enhanced) = &reply.enhanced {
        assert!(numbers(enhanced).is_some(), "{id}: {reply:?}");
    }
    let says_something = reply.code.is_some() || reply.enhanced.is_some() || reply.text.is_some();
    assert!(says_something, "{id}: {reply:?}");
    assert!(
        reply.text.as_ref().is_none_or(|text| text.len() >= 5),
        "{id}: {reply:?}"
    );
    assert!(
        is_sentence(&reply.meaning) && is_sentence(&reply.advice),
        "{id}: {reply:?}"
    );
    assert!(
        reply.source.as_ref().is_none_or(|page| is_page(page)),
        "{id}: {reply:?}"
    );
}

#[test]
fn nothing_is_said_twice() {
    let ids: Vec<_> = providers::all()
        .iter()
        .map(|provider| &provider.id)
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let mut seen = BTreeSet::new();
    for provider in providers::all() {
        let hosts: BTreeSet<_> = provider.endpoints.iter().map(|one| &one.host).collect();
        for name in hosts.into_iter().chain(&provider.aliases) {
            // Gmail's is Workspace's too.
            let shared =
                (provider.id.as_str(), name.as_str()) == ("google-workspace", "smtp.gmail.com");
            assert!(seen.insert(("host", name)) || shared, "{name}");
        }
        for domain in &provider.domains {
            assert!(seen.insert(("domain", domain)), "{domain}");
        }
        for mx in &provider.mx {
            assert!(seen.insert(("mx", mx)), "{mx}");
        }
        let endpoints: BTreeSet<_> = provider.endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(endpoints.len(), provider.endpoints.len(), "{}", provider.id);
    }
}

#[test]
fn the_best_settings_of_every_provider_raise_no_warning_of_the_server() {
    for provider in providers::all() {
        for endpoint in &provider.endpoints {
            let settings = Settings::new("jo@acme.example", endpoint.host.as_str())
                .with_port(endpoint.port)
                .with_encryption(endpoint.encryption);
            let account = settings.account().unwrap();
            assert!(
                account.warnings().is_empty(),
                "{endpoint}: {:?}",
                account.warnings()
            );
            assert!(account.provider().is_some(), "{endpoint}");
        }
    }
}

fn id(provider: Option<&'static Provider>) -> Option<&'static str> {
    provider.map(|provider| provider.id.as_str())
}

#[test]
fn providers_are_found_by_host_whatever_its_case() {
    for (host, expected) in [
        ("smtp.gmail.com", Some("gmail")),
        (" SMTP.Gmail.COM. ", Some("gmail")),
        ("smtp-relay.gmail.com", Some("google-workspace")),
        ("smtp.office365.com", Some("microsoft-365")),
        ("smtp-mail.outlook.com", Some("outlook-com")),
        ("email-smtp.eu-west-1.amazonaws.com", Some("amazon-ses")),
        ("email-smtp.xx-new-9.amazonaws.com", Some("amazon-ses")),
        ("email-smtp..amazonaws.com", None),
        ("email-smtp.a.b.amazonaws.com", None),
        ("ex7.mail.ovh.net", Some("ovh-exchange")),
        ("smtp.zoho.eu", Some("zoho")),
        ("smtppro.zoho.in", Some("zoho")),
        ("mail.example.org", None),
        ("gmail.com", None),
        ("", None),
        ("127.0.0.1", None),
        ("localhost", None),
    ] {
        assert_eq!(id(providers::by_host(host)), expected, "{host}");
    }
}

#[test]
fn providers_are_found_by_the_domain_of_an_address() {
    for (domain, expected) in [
        ("gmail.com", Some("gmail")),
        ("GoogleMail.com", Some("gmail")),
        ("hotmail.co.uk", Some("outlook-com")),
        ("live.com", Some("outlook-com")),
        ("yahoo.co.uk", Some("yahoo")),
        ("icloud.com", Some("icloud")),
        ("gmx.de", Some("gmx-net")),
        ("gmx.com", Some("gmx-com")),
        ("web.de", Some("web-de")),
        ("proton.me", Some("proton")),
        ("example.org", None),
        ("mail.gmail.com", None),
    ] {
        assert_eq!(id(providers::by_domain(domain)), expected, "{domain}");
    }
}

#[test]
fn providers_are_found_by_who_takes_a_domains_mail() {
    for (exchange, expected) in [
        ("aspmx.l.google.com", Some("google-workspace")),
        ("ASPMX2.googlemail.com.", Some("google-workspace")),
        ("smtp.google.com", Some("google-workspace")),
        (
            "acme-example.mail.protection.outlook.com",
            Some("microsoft-365"),
        ),
        (
            "hotmail-com.olc.protection.outlook.com",
            Some("outlook-com"),
        ),
        ("mx.zoho.com", Some("zoho")),
        ("mx.zoho.eu", Some("zoho")),
        ("mailstore1.secureserver.net", Some("godaddy")),
        ("in1-smtp.messagingengine.com", Some("fastmail")),
        ("mx01.mail.icloud.com", Some("icloud")),
        ("mta5.am0.yahoodns.net", Some("yahoo")),
        ("mx-aol.mail.gm0.yahoodns.net", Some("aol")),
        ("mail.protonmail.ch", Some("proton")),
        ("spool.mail.gandi.net", Some("gandi")),
        ("notgoogle.com", None),
        ("mx.example.org", None),
        ("", None),
    ] {
        assert_eq!(id(providers::by_mx(exchange)), expected, "{exchange}");
    }
}

#[test]
fn a_slip_of_the_keyboard_or_another_service_leads_to_the_host_that_was_meant() {
    for (typed, meant) in [
        ("smtp.gmial.com", "smtp.gmail.com"),
        ("stmp.gmail.com", "smtp.gmail.com"),
        ("smtp.gmail.con", "smtp.gmail.com"),
        ("smtp.gmail.co", "smtp.gmail.com"),
        ("smtp.gmaill.com", "smtp.gmail.com"),
        ("smtp.mgail.com", "smtp.gmail.com"),
        ("smtpgmail.com", "smtp.gmail.com"),
        ("SMTP.GMAIL.CMO", "smtp.gmail.com"),
        ("smtp.offce365.com", "smtp.office365.com"),
        ("smtp.office356.com", "smtp.office365.com"),
        ("smtp-mail.outlok.com", "smtp-mail.outlook.com"),
        ("smtp.sendgird.net", "smtp.sendgrid.net"),
        ("smtp.mailgum.org", "smtp.mailgun.org"),
        (
            "email-smtp.eu-wset-1.amazonaws.com",
            "email-smtp.eu-west-1.amazonaws.com",
        ),
        ("gmail.com", "smtp.gmail.com"),
        ("imap.gmail.com", "smtp.gmail.com"),
        ("pop.gmail.com", "smtp.gmail.com"),
        ("mail.yahoo.com", "smtp.mail.yahoo.com"),
        ("smtp.yahoo.com", "smtp.mail.yahoo.com"),
        ("smtp.icloud.com", "smtp.mail.me.com"),
        ("outlook.office365.com", "smtp.office365.com"),
        ("smtp.zhoo.com.au", "smtp.zoho.com.au"),
        ("imap.gmx.net", "mail.gmx.net"),
        ("imap.ionos.de", "smtp.ionos.de"),
        ("imap.mail.ovh.net", "smtp.mail.ovh.net"),
        ("smtp.gmai1.com", "smtp.gmail.com"),
        ("smtp.zpho.com", "smtp.zoho.com"),
    ] {
        assert_eq!(providers::near_host(typed), Some(meant), "{typed}");
    }
}

#[test]
fn hosts_in_their_own_right_are_not_taken_for_slips() {
    for host in [
        "smtp.gmail.com",
        "mail.example.org",
        "smtp.example.com",
        "smtp.abl.com",
        "smtp.acme.com",
        "smtp.mail.de",
        "smtp.zoho.sa",
        "smtp.zoho.de",
        "smtp.coho.com.au",
        "smtp.163.net",
        "smtp.164.com",
        "smtp.mail.com",
        "smtp.mail.ru",
        "mail.gmx.com",
        "smtp.hey.com",
        "smtp.qmail.com",
        "mail.kontent.com",
        "mail.your-server.de",
        "smtp.hetzner.com",
        "smtp.exmail.com",
        "smtp2.example.org",
        "smtp.one.org",
        "smtp.mail.ovh.net",
        "smtp.mail.ovh.ca",
        "smtp5.mail.ovh.net",
        "smtp.purelymail.com",
        "smtp.zeho.com",
        "smtp.libera.it",
        "smtp.dreamhorse.com",
        "smtp.gmx.at.example.org",
        "smtp.orange.pl",
        "smtp.zone.com",
        "mail.mail.de",
        "smtp.email.de",
        "smtp.fastmail.net",
        "smtp.seznam.sk",
        "smtp.strato.com",
        "localhost",
        "127.0.0.1",
        "mail",
        "",
        ".",
        "..",
    ] {
        assert_eq!(providers::near_host(host), None, "{host}");
    }
}

#[test]
fn a_providers_region_is_that_of_the_domains_mx() {
    for (exchange, host) in [
        ("mx.zoho.com", "smtp.zoho.com"),
        ("MX2.zoho.eu.", "smtp.zoho.eu"),
        ("mx.zoho.com.au", "smtp.zoho.com.au"),
        ("mx.zohocloud.ca", "smtp.zohocloud.ca"),
        ("mx00.kundenserver.de", "smtp.ionos.de"),
        ("mx1.mail.ovh.net", "smtp.mail.ovh.net"),
        ("mx1.mail.ovh.ca", "smtp.mail.ovh.ca"),
        ("aspmx.l.google.com", "smtp.gmail.com"),
    ] {
        let provider = providers::by_mx(exchange).unwrap();
        let endpoints = provider.endpoints_by_mx(exchange);
        assert_eq!(endpoints[0].host, host, "{exchange}");
        assert!(endpoints.len() > 1, "{exchange}");
    }
}

#[test]
fn a_provider_serialises_and_knows_its_limits() {
    let gmail = providers::by_id("gmail").unwrap();
    let json = serde_json::to_value(gmail).unwrap();
    assert_eq!(json["endpoints"][0]["encryption"], "starttls");
    assert_eq!(json["login"][1], "oauth");
    assert_eq!(
        gmail.limit(Quantity::RecipientsPerMessage).unwrap().most,
        100
    );
    assert_eq!(gmail.limit(Quantity::Connections), None);
    assert!(!gmail.takes_account_password());
    let back: Provider = serde_json::from_value(json).unwrap();
    assert_eq!(&back, gmail);
    assert_eq!(providers::by_id("nobody"), None);
}

#[test]
fn an_alias_has_the_ports_of_the_first_host() {
    let zoho = providers::by_id("zoho").unwrap();
    let endpoints = zoho.endpoints_at("SMTPpro.zoho.eu");
    assert_eq!(endpoints.len(), 2);
    assert!(endpoints.iter().all(|one| one.host == "smtppro.zoho.eu"));
    assert!(zoho.endpoints_at("mail.example.org").is_empty());
    let mailtrap = providers::by_id("mailtrap").unwrap();
    assert_eq!(mailtrap.endpoints_at("live.smtp.mailtrap.io").len(), 1);
}
