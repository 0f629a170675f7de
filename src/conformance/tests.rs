//! Clients that break one rule each, and must be found out.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::case::{Case, Expected, Key, Played, Then, reply_length};
use super::server::serve;
use super::{Certificates, transcript};

/// A transcript, what a client writes in turn, and the rules that it breaks.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// No extension is on offer, and the message is a line with a dot.
const PLAIN: &str = "data/only_a_dot";
const EHLO: &str = "EHLO client.example\r\n";
const MAIL: &str = "MAIL FROM:<a@example.com>\r\n";
const RCPT: &str = "RCPT TO:<b@example.org>\r\n";
const DATA: &str = "DATA\r\n";
const QUIT: &str = "QUIT\r\n";

const ROWS: [Row; 34] = [
    (PLAIN, &[EHLO, MAIL, RCPT, DATA, "..\r\n.\r\n", QUIT], &[]),
    (PLAIN, &["EHLO client.example\n"], &["R-5321-1"]),
    (PLAIN, &[EHLO, "NOOP a\rb\r\n"], &["R-5321-1"]),
    (PLAIN, &[EHLO, "GET / HTTP/1.1\r\n"], &["R-5321-1"]),
    (PLAIN, &[MAIL], &["R-5321-3"]),
    (PLAIN, &["HELO client.example\r\n"], &["R-5321-3"]),
    (PLAIN, &["EHLO a_client\r\n"], &["R-5321-4"]),
    (PLAIN, &[EHLO, MAIL, MAIL], &["R-5321-10"]),
    (PLAIN, &[EHLO, RCPT], &["R-5321-10"]),
    (PLAIN, &[EHLO, MAIL, DATA], &["R-5321-17"]),
    (
        PLAIN,
        &[EHLO, "MAIL FROM: <a@example.com>\r\n"],
        &["R-5321-11"],
    ),
    (
        PLAIN,
        &[EHLO, "MAIL FROM:<@x:a@example.com>\r\n"],
        &["R-5321-11"],
    ),
    (
        PLAIN,
        &[EHLO, "MAIL FROM:<a@example.com> X=1 X=2\r\n"],
        &["R-5321-12"],
    ),
    (
        PLAIN,
        &[EHLO, MAIL, RCPT, DATA, ".\r\n.\r\n"],
        &["R-5321-14", "R-5321-14"],
    ),
    (
        PLAIN,
        &[EHLO, MAIL, RCPT, DATA, "..\r\n\r\n.\r\n"],
        &["R-5321-14"],
    ),
    (
        PLAIN,
        &[EHLO, MAIL, RCPT, DATA, "a\n..\r\n.\r\n"],
        &["R-5321-15"],
    ),
    (
        PLAIN,
        &[EHLO, MAIL, RCPT, DATA, "a\n..\n.\n"],
        &["R-5321-15"],
    ),
    (PLAIN, &[EHLO, MAIL, RCPT, DATA, "..\r\n.."], &["R-5321-14"]),
    (PLAIN, &["EHLO client.example\r"], &["R-5321-1"]),
    (
        PLAIN,
        &[EHLO, MAIL, RCPT, DATA, "é\r\n..\r\n.\r\n"],
        &["R-6152-1"],
    ),
    (
        PLAIN,
        &[EHLO, "MAIL FROM:<a@example.com> SIZE=9\r\n"],
        &["R-1870-1"],
    ),
    (
        PLAIN,
        &[EHLO, "MAIL FROM:<a@example.com> BODY=8BITMIME\r\n"],
        &["R-6152-1"],
    ),
    (
        PLAIN,
        &[EHLO, "MAIL FROM:<a@example.com> BODY=BINARYMIME\r\n"],
        &["R-3030-5"],
    ),
    (
        PLAIN,
        &[EHLO, "MAIL FROM:<a@example.com> RET=FULL\r\n"],
        &["R-3461-3"],
    ),
    (
        PLAIN,
        &[EHLO, "MAIL FROM:<ä@example.com> SMTPUTF8\r\n"],
        &["R-6531-2", "R-6531-1"],
    ),
    (
        PLAIN,
        &[EHLO, MAIL, "BDAT 3 LAST\r\n..\n"],
        &["R-3030-1", "R-3030-7"],
    ),
    (PLAIN, &[EHLO, "STARTTLS\r\n"], &["R-3207-1"]),
    (PLAIN, &[EHLO, "AUTH CRAM-MD5\r\n"], &["R-4954-1"]),
    (
        PLAIN,
        &[EHLO, "AUTH PLAIN YQ\r\n"],
        &["R-4954-1", "R-4954-2", "R-8314-2"],
    ),
    (
        PLAIN,
        &["EHLO x\r\nMAIL FROM:<a@example.com>\r\n"],
        &["R-2920-2"],
    ),
    (
        PLAIN,
        &[
            EHLO,
            "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n",
        ],
        &["R-2920-1"],
    ),
    (
        "pipelining/closing_in_step",
        &[EHLO, MAIL, RCPT, DATA],
        &["R-5321-18", "R-5321-17"],
    ),
    (
        "data/other_success_code",
        &[EHLO, MAIL, RCPT, DATA, "Hi\r\n"],
        &["R-5321-13"],
    ),
    ("starttls/not_offered", &[EHLO, MAIL], &["R-3207-2"]),
];

#[tokio::test]
async fn each_rule_that_a_client_breaks_is_named() {
    let listener = TcpListener::bind((super::HOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let certificates = Certificates::make().expect("certificates");
    let mut problems = Vec::new();
    for (name, steps, expected) in ROWS {
        let case = case(name);
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.expect("a connection");
        let talking = talk(client.expect("a connection"), steps);
        let (conversation, ()) = tokio::join!(serve(stream, &case, &certificates), talking);
        let broken: Vec<_> = conversation
            .breaches
            .iter()
            .map(|breach| breach.rule.as_str())
            .collect();
        if broken != expected {
            let lines = conversation.lines.join(
                "
",
            );
            problems.push(format!(
                "{broken:?}, not {expected:?}:
{lines}"
            ));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[test]
fn every_transcript_is_read_or_says_why_not() {
    let mut outside = 0;
    for played in transcript::all() {
        match played {
            Played::Outside(case) => {
                outside += 1;
                assert!(!case.rules.is_empty(), "{}", case.name);
                assert!(!case.wants.to.is_empty(), "{}", case.name);
            }
            Played::Inside(inside) => {
                assert!(!inside.reason.contains("malformed"), "{}", inside.name);
                assert!(!inside.reason.contains("no settings"), "{}", inside.name);
            }
        }
    }
    assert!(outside > 200, "{outside} transcripts are played");
}

#[test]
fn the_answers_of_a_transcript_are_given_to_their_commands() {
    let injected = case("starttls/injected_reply");
    let answer = &injected.script.answers[&Key::StartTls][0];
    assert_eq!(answer.octets, b"220 go ahead\r\n250 AUTH PLAIN\r\n");
    assert!(answer.mark && matches!(answer.then, Then::Tls(_)));
    assert_eq!(injected.expected, Expected::Failed);
    assert_eq!(injected.rules[0], "R-3207-8");

    let refused = case("pipelining/one_recipient_refused");
    let codes = |key: Key| refused.script.answers[&key][0].octets[..3].to_vec();
    assert_eq!(codes(Key::Rcpt("b@example.org".into())), b"250");
    assert_eq!(codes(Key::Rcpt("c@example.org".into())), b"550");
    assert_eq!(refused.expected, Expected::Partial);
}

/// Reads a reply before each step, and one behind the last.
async fn talk(mut stream: TcpStream, steps: &[&str]) {
    for step in steps {
        if !hear(&mut stream).await {
            return;
        }
        stream.write_all(step.as_bytes()).await.ok();
    }
    hear(&mut stream).await;
}

async fn hear(stream: &mut TcpStream) -> bool {
    let mut heard = Vec::new();
    let mut buffer = [0; 1024];
    while reply_length(&heard).is_none() {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(length) => heard.extend_from_slice(&buffer[..length]),
        }
    }
    true
}

fn case(name: &str) -> Case {
    let found = transcript::all().find_map(|played| match played {
        Played::Outside(case) if case.name == name => Some(*case),
        Played::Outside(_) | Played::Inside(_) => None,
    });
    found.unwrap_or_else(|| panic!("{name} is not played"))
}
