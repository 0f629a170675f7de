//! TOML, JSON, a URL and variables say the same.

use std::collections::BTreeMap;

use ehlo::providers::Encryption;
use ehlo::settings::{Field, ReadError, Settings};
use proptest::prelude::*;

use super::{account, good, with};

/// What a URL can say: its scheme always says something of the encryption.
fn any_settings() -> impl Strategy<Value = Settings> {
    let text = || prop_oneof![Just(String::new()), any::<String>(), "[ -~]{1,12}"];
    let encryption = prop::sample::select(vec![
        Encryption::StartTls,
        Encryption::Tls,
        Encryption::None,
    ]);
    let validate = prop::sample::select(vec!["", "true", "false"]);
    (
        (text(), text(), "[a-z]{1,8}(\\.[a-z]{2,8}){0,2}"),
        (prop::option::of(1..=u16::MAX), encryption),
        (text(), text(), validate, "([0-9a-f]{64})?"),
    )
        .prop_map(|(sender, server, login)| {
            let mut settings = Settings::default();
            (settings.sender_email, settings.from_name, settings.host) = sender;
            settings.port = server.0.map(|port| port.to_string()).unwrap_or_default();
            settings.encryption = server.1.as_str().into();
            settings.username = login.0;
            settings.password = login.1.into();
            settings.validate_certificate = login.2.into();
            settings.certificate_sha256 = login.3;
            settings
        })
}

proptest! {
    #[test]
    fn four_sources_agree(settings in any_settings()) {
        let toml = toml::to_string(&settings.revealed()).unwrap();
        prop_assert_eq!(&Settings::from_toml(&toml).unwrap(), &settings, "{}", toml);
        let json = serde_json::to_string(&settings.revealed()).unwrap();
        prop_assert_eq!(&Settings::from_json(&json).unwrap(), &settings, "{}", json);
        let url = url(&settings);
        prop_assert_eq!(&Settings::from_url(&url).unwrap(), &settings, "{}", url);
        let read = Settings::from_variables("EHLO_SMTP_", variables(&settings)).unwrap();
        prop_assert_eq!(read, settings);
    }

    #[test]
    fn no_text_makes_reading_or_judging_panic(text in any::<String>(), field in 0..Field::ALL.len()) {
        let _ = Settings::from_toml(&text);
        let _ = Settings::from_json(&text);
        let _ = Settings::from_url(&text);
        let _ = Settings::from_url(&format!("smtp://{text}"));
        let _ = with(good(), Field::ALL[field], &text).account();
    }
}

/// With everything encoded that can be.
fn url(settings: &Settings) -> String {
    let scheme = match settings.encryption.as_str() {
        "tls" => "smtps",
        _ => "smtp",
    };
    let login = format!(
        "{}:{}@",
        encoded(&settings.username),
        encoded(settings.password.expose())
    );
    let port = match settings.port.as_str() {
        "" => String::new(),
        port => format!(":{port}"),
    };
    let mut query = Vec::new();
    for field in [
        Field::SenderEmail,
        Field::FromName,
        Field::Encryption,
        Field::ValidateCertificate,
        Field::CertificateSha256,
    ] {
        let text = settings.text(field).unwrap_or_default();
        if !text.is_empty() {
            query.push(format!("{field}={}", encoded(text)));
        }
    }
    format!(
        "{scheme}://{login}{}{port}/?{}",
        settings.host,
        query.join("&")
    )
}

fn encoded(text: &str) -> String {
    let octets = text
        .bytes()
        .map(|octet| match octet.is_ascii_alphanumeric() {
            true => char::from(octet).to_string(),
            false => format!("%{octet:02X}"),
        });
    octets.collect()
}

fn variables(settings: &Settings) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for field in Field::ALL {
        let text = settings.text(field).unwrap_or(settings.password.expose());
        let name = format!("EHLO_SMTP_{}", field.as_str().to_uppercase());
        variables.insert(name, text.to_owned());
    }
    variables
}

#[test]
fn fields_may_be_named_and_valued_as_forms_do() {
    let read = Settings::from_json(
        r#"{"senderEmail": "jo@example.org", "from-name": null, "Host": "mail.example.org",
            "port": "465", "Encryption": "SSL/TLS", "validate certificate": "on",
            "certificate-sha256": ""}"#,
    )
    .unwrap();
    let account = account(&read);
    assert_eq!(
        (account.port(), account.encryption()),
        (465, Encryption::Tls)
    );
    let toml = "host = 'mail.example.org'\nport = 25\nvalidate_certificate = false\n";
    let read = Settings::from_toml(toml).unwrap();
    assert_eq!(
        (read.port.as_str(), read.validate_certificate.as_str()),
        ("25", "false")
    );
}

#[test]
fn what_a_number_would_alter_is_to_be_put_in_quotes() {
    for value in ["12345678901234567890123", "1.50", "1e3", "12", "true"] {
        for field in ["username", "password"] {
            let json = Settings::from_json(&format!("{{\"{field}\": {value}}}")).unwrap_err();
            assert_eq!(
                json.to_string(),
                format!("line 1: {field}: this is no text: put it in quotes")
            );
        }
    }
    for value in [
        "12345678901234567890123",
        "0x1F",
        "1_000",
        "+12",
        "1.50",
        "false",
    ] {
        let error = Settings::from_toml(&format!("password = {value}")).unwrap_err();
        assert!(error.to_string().contains("put it in quotes"), "{error}");
        let quoted = Settings::from_toml(&format!("password = '{value}'")).unwrap();
        assert_eq!(quoted.password.expose(), value);
    }
    let long = Settings::from_toml("from_name = 12345678901234567890123").unwrap_err();
    assert!(long.to_string().contains("put it in quotes"), "{long}");
}

#[test]
fn a_document_that_cannot_be_read_says_where_and_why() {
    for (text, line, words) in [
        ("host = ", Some(1), ""),
        ("a = 1", None, "\"a\" is no field; there are sender_email"),
        ("\nhots = 'x'", None, "hots"),
        ("host = 'a'\nHost = 'b'", None, "host is given twice"),
        ("host = 'a'\npassword = ['b']", None, "password: "),
        ("host = 'a'\nport = 1979-05-27", None, "port: "),
    ] {
        let error = Settings::from_toml(text).unwrap_err();
        assert!(error.to_string().contains(words), "{text:?}: {error}");
        if line.is_some() {
            assert_eq!(error.line(), line, "{text:?}: {error}");
        }
    }
    for (text, words) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "a table of settings"),
        ("\"text\"", "no table"),
        (r#"{"port": {}}"#, "port: "),
        (r#"{"smtp": 1}"#, "\"smtp\" is no field"),
    ] {
        let error = Settings::from_json(text).unwrap_err();
        assert!(error.to_string().contains(words), "{text:?}: {error}");
    }
}

#[test]
fn a_url_is_read_as_people_write_it() {
    for (url, host, port, encryption, username, password) in [
        ("smtp://h", "h", "", "starttls", "", ""),
        (" SMTPS://h/ ", "h", "", "tls", "", ""),
        ("smtp://h:25?encryption=none", "h", "25", "none", "", ""),
        (
            "smtp://[2001:db8::1]:587",
            "2001:db8::1",
            "587",
            "starttls",
            "",
            "",
        ),
        ("smtp://jo@h", "h", "", "starttls", "jo", ""),
        (
            "smtp://jo@x.org:p%40ss@h",
            "h",
            "",
            "starttls",
            "jo@x.org",
            "p@ss",
        ),
        ("smtp://jo%3Aa:b:c@h", "h", "", "starttls", "jo:a", "b:c"),
        ("smtp://jo:a+b%20c@h", "h", "", "starttls", "jo", "a+b c"),
        ("smtps://h?encryption=TLS", "h", "", "tls", "", ""),
    ] {
        let settings = Settings::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let read = [
            settings.host.as_str(),
            &settings.port,
            &settings.encryption,
            &settings.username,
            settings.password.expose(),
        ];
        assert_eq!(read, [host, port, encryption, username, password], "{url}");
    }
}

#[test]
fn a_url_that_cannot_be_read_says_why_and_shows_nothing_of_itself() {
    for (url, field, words) in [
        ("", None, "smtp://"),
        ("s3cr3t.example.org", None, "no URL"),
        ("http://s3cr3t@h", None, "scheme"),
        ("smtp://jo:s3cr3t/@h", None, "%2F"),
        ("smtp://jo:s3cr3t#@h", None, "%23"),
        ("smtp://jo:s3cr3t?@h", Some(Field::Port), "%3F"),
        ("smtp://jo:s3cr3t", Some(Field::Port), "no port"),
        ("smtp://jo:s3cr3t%4@h", Some(Field::Password), "%25"),
        ("smtp://s3cr3t%ff@h", Some(Field::Username), "%25"),
        ("smtp://h?s3cr3t=1", None, "no field"),
        (
            "smtp://h?password=s3cr3t",
            Some(Field::Password),
            "before the '?'",
        ),
        (
            "smtps://h?encryption=none",
            Some(Field::Encryption),
            "smtps",
        ),
    ] {
        let error = Settings::from_url(url).unwrap_err();
        assert_eq!(error.field(), field, "{url}: {error}");
        let text = error.to_string();
        assert!(text.contains(words), "{url}: {text}");
        assert!(!text.contains("s3cr3t"), "{url}: {text}");
    }
}

#[test]
fn variables_are_read_by_their_exact_names_under_a_prefix() {
    let read = |name: &str| -> Result<Settings, ReadError> {
        Settings::from_variables("APP_", [(name, "x")])
    };
    assert_eq!(read("APP_HOST").unwrap().host, "x");
    for other in ["HOST", "app_host", "APP_host", "APP_HOSTS", "APP_"] {
        assert_eq!(read(other).unwrap(), Settings::default(), "{other}");
    }
    let unset = Settings::from_env("EHLO_TEST_NOTHING_HAS_THIS_PREFIX_").unwrap();
    assert_eq!(unset, Settings::default());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf_8_is_named() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let variables = [(OsString::from("P_PASSWORD"), OsString::from_vec(vec![0xff]))];
    let error = Settings::from_variables("P_", variables).unwrap_err();
    assert_eq!(error.field(), Some(Field::Password));
    assert!(error.to_string().contains("P_PASSWORD"), "{error}");
}
