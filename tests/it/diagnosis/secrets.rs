//! No secret is in a diagnosis, whatever the server repeats.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ehlo::diagnosis::Situation;
use ehlo::{ClientConfig, Credentials, Security};

use super::stage::{With, visit};

const SECRET: &str = "correct-horse-battery";

#[tokio::test]
async fn a_password_that_the_server_repeats_is_not_in_the_diagnosis() {
    let encoded = STANDARD.encode(SECRET);
    for reply in [
        format!("reply@auth=535 5.7.8 not {SECRET}, alice"),
        format!("reply@auth=535 5.7.8 {encoded} is wrong"),
        format!("reply@mail=550 5.7.1 {SECRET} may not send"),
        format!("garbage@rcpt={SECRET}\\r\\n"),
    ] {
        let with = [With::Password(SECRET)];
        // Behind a log-in that succeeds whatever the password is.
        let anyone = "reply@auth=235 2.7.0 ok";
        let visit = visit(&["--fault", &reply, "--fault", anyone], &with).await;
        let json = serde_json::to_string(&visit.diagnosis).expect("it serialises");
        let texts = [
            visit.diagnosis.to_string(),
            format!("{:?}", visit.diagnosis),
            format!("{:?}", visit.error),
            json,
        ];
        for text in texts {
            assert!(!text.contains(SECRET), "{reply}: {text}");
            assert!(!text.contains(&encoded), "{reply}: {text}");
        }
    }
}

#[test]
fn a_situation_holds_no_secret() {
    let credentials = Credentials::password("alice", SECRET).expect("plain ASCII");
    let config = ClientConfig::new("localhost", Security::StartTls).with_credentials(credentials);
    let shown = format!("{:?}", Situation::of(&config));
    assert!(
        shown.contains("alice") && !shown.contains(SECRET),
        "{shown}"
    );
}

#[tokio::test]
async fn what_a_server_says_cannot_move_the_cursor() {
    let reply = "reply@rcpt=550 5.1.1 \\x1b[2J\\x07no such user";
    let visit = visit(&["--fault", reply], &[]).await;
    let text = visit.diagnosis.to_string();
    assert!(text.contains("no such user"), "{text}");
    let is_odd = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(is_odd), "{text:?}");
}
