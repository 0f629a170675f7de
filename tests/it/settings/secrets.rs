//! Passwords show themselves nowhere.

use ehlo::settings::{Field, Password, Settings};

use super::{account, good, problems, with};

const SECRET: &str = "s3cr3t";

#[track_caller]
fn assert_hidden(text: impl AsRef<str>) {
    assert!(!text.as_ref().contains(SECRET), "{}", text.as_ref());
}

#[test]
fn a_password_is_masked_wherever_settings_are_shown() {
    let settings = good().with_login("jo", SECRET);
    assert_hidden(format!(
        "{settings:?} {settings:#?} {:?}",
        settings.revealed()
    ));
    let account = account(&settings);
    assert_hidden(format!("{account} {account:?} {:?}", account.warnings()));
    assert_hidden(format!("{:?}", account.client_config()));
    let password = Password::new(SECRET);
    assert_eq!(format!("{password} {password:?}"), "*** ***");
    assert_eq!(format!("{:?}", Password::default()), "none");
}

#[test]
fn a_password_is_serialised_only_when_asked_for() {
    let settings = good().with_login("jo", SECRET);
    assert_hidden(serde_json::to_string(&settings).unwrap());
    assert_hidden(toml::to_string(&settings).unwrap());
    let json = serde_json::to_value(settings.revealed()).unwrap();
    assert_eq!(json["password"], SECRET);
    assert_eq!(json["port"], 587);
    assert_eq!(json.get("validate_certificate"), None);
}

#[test]
fn no_problem_and_no_error_shows_it() {
    for password in [format!("{SECRET}\n"), format!("\0{SECRET}")] {
        let settings = with(good(), Field::Password, &password);
        assert_hidden(problems(&settings).to_string());
    }
    for document in [
        format!("password = \"{SECRET}"),
        format!("password = {SECRET}"),
        format!("password = \"{SECRET}\" x"),
        format!("password = [\"{SECRET}\"]"),
        format!("password = {{ a = \"{SECRET}\" }}"),
        format!("\"{SECRET}\""),
    ] {
        assert_hidden(Settings::from_toml(&document).unwrap_err().to_string());
        assert_hidden(Settings::from_json(&document).unwrap_err().to_string());
    }
    for document in [
        format!("{{\"password\": \"{SECRET}"),
        format!("{{\"password\": [\"{SECRET}\"]}}"),
        format!("{{\"password\": {{\"a\": \"{SECRET}\"}}}}"),
        format!("\"{SECRET}\""),
    ] {
        let error = Settings::from_json(&document).unwrap_err();
        assert_hidden(format!("{error} {error:?}"));
    }
    assert_hidden(
        serde_json::from_str::<Settings>(&format!("\"{SECRET}\""))
            .unwrap_err()
            .to_string(),
    );
}

#[test]
fn a_url_in_place_of_the_host_shows_no_password_however_malformed_it_is() {
    for host in [
        format!("smtp://jo:{SECRET}@mail.example.org"),
        format!("smtp://jo:{SECRET}@mail..example.org"),
        format!("smtp://jo:{SECRET}@mail.example.org,"),
        format!("smtp://jo:a/{SECRET}@mail.example.org"),
        format!("smtp://jo:a?{SECRET}#@mail.example.org:x"),
        format!("smtp://jo:a@{SECRET}@-"),
        format!("jo:{SECRET}@smtp example.org"),
        format!("jo:{SECRET}@"),
    ] {
        let settings = with(good(), Field::Host, &host);
        let problems = problems(&settings);
        assert_hidden(format!("{settings:?} {problems} {problems:?}"));
        assert_hidden(serde_json::to_string(&problems).unwrap());
    }
}

#[test]
fn a_password_that_is_a_number_is_in_no_error() {
    let number = "12345678901234567890123";
    for value in [
        "1234567890",
        number,
        "1234567890.5",
        "-1234567890",
        "1234567890e300",
    ] {
        for document in [
            format!("password = {value}\n"),
            format!("username = {value}\n"),
            format!("certificate_sha256 = [{value}]\n"),
            format!("{value}\n"),
        ] {
            let error = Settings::from_toml(&document).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("12345"), "{error}");
        }
        for document in [
            format!("{{\"password\": {value}}}"),
            format!("{{\"username\": {value}}}"),
            format!("{{\"host\": [{value}]}}"),
            value.to_owned(),
        ] {
            let error = Settings::from_json(&document).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("12345"), "{error}");
        }
    }
}
