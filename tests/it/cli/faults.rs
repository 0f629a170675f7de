//! `ehlo check` and each fault of the troubleshooting page: category, stage and kind are the page's.

use std::sync::Arc;

use ehlo::Security;
use ehlo::diagnosis::Kind;
use ehlo::sandbox::{Account, Sandbox};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Run, Server, command, finished, text};
use crate::diagnosis::cases::{CASES, Case};
use crate::diagnosis::stage::{With, options, visit};
use crate::net::closed_port;

#[tokio::test]
async fn each_fault_is_diagnosed_as_on_the_troubleshooting_page() {
    let turns = Arc::new(Semaphore::new(4));
    let mut checks = JoinSet::new();
    for case in CASES.iter().filter(|case| can_be_checked(case)) {
        let turns = Arc::clone(&turns);
        checks.spawn(async move {
            let _turn = turns.acquire().await.expect("nobody closes it");
            compare(case).await
        });
    }
    let mut wrong = Vec::new();
    let mut count = 0;
    while let Some(checked) = checks.join_next().await {
        count += 1;
        wrong.extend(checked.expect("no panic"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(count > 80, "{count} faults");
}

/// What differs, in words.
async fn compare(case: &'static Case) -> Option<String> {
    let visit = visit(case.sandbox, case.with).await;
    let run = check(case).await;
    let document = run.json();
    let found = [
        &document["error"]["category"],
        &document["error"]["stage"],
        &document["diagnosis"]["kind"],
    ]
    .map(|value| value.as_str().unwrap_or_default());
    let (category, stage) = (visit.error.category(), visit.error.stage());
    let expected = match case.sandbox {
        // The check finds out what the silence means.
        ["--tls"] => [
            "encryption-mismatch",
            "greeting",
            Kind::TlsExpected.as_str(),
        ],
        _ => [category.as_str(), stage.as_str(), case.kind.as_str()],
    };
    let advised = document["diagnosis"]["advice"][0].is_string();
    let says_secret = run.all().contains(PASSWORD) || run.all().contains("another-token");
    match found == expected && advised && !says_secret && run.code != 0 {
        true => None,
        false => Some(format!(
            "{expected:?} expected for {:?} {:?}: {}",
            case.sandbox,
            case.with,
            run.all()
        )),
    }
}

async fn check(case: &Case) -> Run {
    let mut options = options(case.sandbox);
    options.accounts = vec![Account::new("alice", PASSWORD)];
    let server = Server::of(Sandbox::start(options).await.expect("a sandbox"));
    let mut host = "localhost";
    let mut port = server.sandbox.address().port();
    let mut encryption = "starttls";
    let mut login = vec!["--username", "alice", "--password-env", "PASSWORD"];
    let mut password = PASSWORD;
    let mut recipient = "bob@example.net";
    let mut more: Vec<String> = Vec::new();
    let ca = text(&server.path("ca.pem"));
    let mut trust = vec!["--roots", "webpki", "--ca-file", ca.as_str()];
    let pin = "07".repeat(32);
    for with in case.with {
        match *with {
            With::Host(name) => host = name,
            With::Encryption(Security::Implicit) => encryption = "tls",
            With::Encryption(_) => encryption = "none",
            With::NoLogin => login.clear(),
            With::Password(another) => password = another,
            With::Token => {
                login = vec!["--username", "alice", "--token-env", "PASSWORD"];
                password = "another-token";
            }
            With::AnotherPin => trust = vec!["--pin-sha256", &pin],
            With::PublicOnly => more.push("--public-only".to_owned()),
            With::ProxyThatIsNotThere => {
                let proxy = format!("socks5://127.0.0.1:{}", closed_port());
                more.extend(["--proxy".to_owned(), proxy]);
            }
            With::ClosedPort => port = closed_port(),
            With::Recipient(another) => recipient = another,
            With::OneByOne => more.push("--no-pipelining".to_owned()),
            With::ShortGreeting | With::ShortHandshake | With::ShortRcpt => {
                more.extend(["--timeout".to_owned(), "5".to_owned()]);
            }
            With::Size(_) => {}
        }
    }
    let port = port.to_string();
    let mut arguments = vec!["check", "--json", "--host", host, "--port", &port];
    arguments.extend(["--encryption", encryption, "--deadline", "30"]);
    arguments.extend(["--from", "alice@example.org", "--send-to", recipient]);
    arguments.extend(login);
    arguments.extend(trust);
    arguments.extend(more.iter().map(String::as_str));
    let mut command = command(&arguments);
    command.env("PASSWORD", password);
    finished(command).await
}

/// A host that is none is refused as an option, and a test mail is small.
fn can_be_checked(case: &Case) -> bool {
    !case.with.iter().any(|with| match with {
        With::Host(name) => !name.ends_with(".invalid"),
        With::Size(_) => true,
        _ => false,
    })
}

/// No word that a server or a diagnosis would say by itself.
const PASSWORD: &str = "fifteen-quinces";
