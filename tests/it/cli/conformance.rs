//! `ehlo conformance`, with `ehlo send` as the client under examination.

use std::time::Duration;

use serde_json::Value;

use super::{Run, command, ehlo};

#[tokio::test]
async fn the_projects_own_client_breaks_no_rule() {
    let run = examine(&client(""), &[]).await;
    let document = run.json();
    assert_eq!(document["broken"], 0, "{document:#}");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let kept = document["kept"].as_u64();
    assert!(kept.is_some_and(|kept| kept > 60), "{kept:?} rules kept");
}

#[tokio::test]
async fn a_client_that_takes_any_certificate_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.html");
    let page_name = page.display().to_string();
    let options = [
        "--only",
        "starttls/certificate_refused",
        "--html",
        &page_name,
    ];
    let run = examine(&client("--insecure"), &options).await;
    assert_eq!(run.code, 1, "{}", run.all());
    let document = run.json();
    let rule = rule(&document, "R-3207-5");
    assert_eq!(rule["verdict"], "broken");
    assert_eq!(
        rule["breaches"][0]["transcript"],
        "starttls/certificate_refused"
    );
    let dialogue = document["transcripts"][0]["dialogue"].to_string();
    assert!(dialogue.contains("C: STARTTLS"), "{dialogue}");
    let page = std::fs::read_to_string(page).expect("the page is written");
    assert!(page.contains("C: STARTTLS") && page.contains("R-3207-5"));
}

#[tokio::test]
async fn the_table_for_people_names_rule_and_dialogue() {
    let client = client("--insecure");
    let run = ehlo(&["conformance", "--client", &client, "--only", "R-3207-5"]).await;
    assert_eq!(run.code, 1, "{}", run.all());
    for words in ["R-3207-5   M BROKEN", "S: 220 go ahead", "rules kept"] {
        assert!(run.stdout.contains(words), "no {words:?}: {}", run.stdout);
    }
}

#[tokio::test]
async fn what_a_client_cannot_be_asked_for_is_not_held_against_it() {
    let client = format!(
        "'{}' send --host {{host}} --port {{port}} --encryption none --from {{from}} --to {{to}} \
         --message {{message}}",
        env!("CARGO_BIN_EXE_ehlo")
    );
    let run = examine(&client, &["--only", "starttls/"]).await;
    let document = run.json();
    let rule = rule(&document, "R-3207-5");
    assert_eq!(rule["verdict"], "not-applicable");
    assert!(
        rule["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("TLS")),
        "{rule}"
    );
    assert_eq!(run.code, 0, "{}", run.all());
}

#[tokio::test]
async fn a_command_that_is_none_and_one_that_never_connects_are_wrong_uses() {
    for (client, only) in [
        ("", "dots"),
        ("x {port} {to} {massage}", "dots"),
        ("./no-such-program {port} {to} {message}", "dots"),
        ("sh -c 'exit 3' {port} {to} {message}", "dots"),
        ("sh -c 'exit 3' {port} {to} {message}", "no such transcript"),
    ] {
        let run = ehlo(&["conformance", "--client", client, "--only", only]).await;
        assert_eq!(run.code, 64, "{client}: {}", run.all());
    }
}

/// `ehlo send`, filled in for each run.
fn client(more: &str) -> String {
    format!(
        "'{}' send --server {{scheme}}://{{host}}:{{port}} --encryption {{encryption}} \
         --ca-file {{ca}} --from {{from}} [ --to {{to}} ]... --message {{message}} \
         [ --username {{user}} ] [ --password-env {{password-env}} ] \
         [ --token-env {{token-env}} ] [ --auth {{mechanisms}} ] {more}",
        env!("CARGO_BIN_EXE_ehlo")
    )
}

async fn examine(client: &str, options: &[&str]) -> Run {
    let arguments = [
        "conformance",
        "--json",
        "--parallel",
        "8",
        "--client",
        client,
    ];
    let mut command = command(&arguments);
    command.args(options);
    let output = tokio::time::timeout(Duration::from_secs(300), command.output()).await;
    Run::from_output(output.expect("it hangs").expect("it runs"))
}

#[track_caller]
fn rule<'a>(document: &'a Value, id: &str) -> &'a Value {
    let mut rules = document["rules"].as_array().into_iter().flatten();
    let found = rules.find(|rule| rule["rule"] == id);
    found.unwrap_or_else(|| panic!("no {id}: {document}"))
}
