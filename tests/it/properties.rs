//! The properties of `oracles` on generated conversations and on random steps.

use std::time::Duration;

use ehlo::proto::{Chunking, Config, Pipelining, PlaintextAuth, Protocol};
use ehlo::{Commitment, Domain, Envelope, Mailbox, Params, Recipient, Security};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use proptest::test_runner::TestCaseError;

use crate::bench::{Action, Bench, Form, Mail, credentials};
use crate::model::{BehindChunks, Character, NOTHING_BEHIND, decode, loose_end};
use crate::oracles::{
    Conversation, LogIn, Want, Way, Wish, canonical, converse, cut_anyhow, replay,
    stays_in_its_line,
};
use crate::reference;

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn what_the_server_decodes_is_what_was_submitted(talk in conversation()) {
        converse(&talk, Way::Faithful).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn how_replies_are_cut_changes_nothing(talk in conversation(), cuts in any::<u64>()) {
        let record = converse(&talk, Way::Faithful).map_err(TestCaseError::fail)?;
        replay(&talk, &record, cuts).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn random_steps_end_well(
        security in security(),
        login in select(vec![None, Some(PlaintextAuth::Refuse), Some(PlaintextAuth::Allow)]),
        steps in vec(action(), 0..60),
    ) {
        let mut config = Config::new(security);
        if let Some(plaintext_auth) = login {
            config = config.with_credentials(credentials()).with_plaintext_auth(plaintext_auth);
        }
        let mut bench = Bench::new(config);
        for step in &steps {
            bench.act(step);
        }
        bench.check().map_err(TestCaseError::fail)?;
    }

    #[test]
    fn no_address_that_is_taken_breaks_out_of_its_command(
        sender in odd_address(),
        recipient in odd_address(),
        hello in odd_text(),
        value in odd_text(),
    ) {
        let hello: Option<Domain> = hello.parse().ok();
        let fallback = || "plain@example.org".parse::<Mailbox>().expect("that is a mailbox");
        let sender = sender.parse().unwrap_or_else(|_| fallback());
        let recipient = Recipient::new(recipient.parse().unwrap_or_else(|_| fallback()));
        let params = Params::new().with("X-ODD", Some(&value)).unwrap_or_default();
        let recipient = recipient.with_params(params.clone());
        let envelope = Envelope::new(sender, [recipient]).with_params(params);
        stays_in_its_line(envelope, hello).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn how_random_steps_are_cut_changes_nothing(
        security in security(),
        steps in vec(action(), 0..60),
        cuts in any::<u64>(),
    ) {
        cut_anyhow(&Config::new(security), &steps, cuts).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn replies_are_read_as_the_reference_reads_them(
        octets in vec(prop_oneof![6 => reply(), 1 => vec(any::<u8>(), 0..20)], 0..30),
        cuts in any::<u64>(),
    ) {
        reference::agrees(&octets.concat(), cuts).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn how_plausible_steps_are_cut_changes_nothing(
        offers in offers(),
        manner in manner(),
        steps in vec(plausible(), 0..60),
        cuts in any::<u64>(),
    ) {
        let steps: Vec<_> = opening(offers).into_iter().chain(steps).collect();
        let config = in_manner(&manner);
        cut_anyhow(&config, &steps, cuts).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn plausible_steps_end_well(
        offers in offers(),
        manner in manner(),
        steps in vec(plausible(), 0..80),
    ) {
        let mut bench = Bench::new(in_manner(&manner));
        for step in opening(offers).iter().chain(&steps) {
            bench.act(step);
        }
        bench.check().map_err(TestCaseError::fail)?;
    }
}

/// A failure becomes a transcript, not a file of seeds. `PROPTEST_CASES` asks for more cases.
fn settings() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(150),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn a_large_message_arrives_whole() {
    let line = b".a line of some length that begins with a dot\r\n";
    let forms = [Form::Whole, Form::Streamed(50_000)];
    let chunking = [Chunking::Off, Chunking::WhereOffered];
    let pairs = forms
        .into_iter()
        .flat_map(|form| chunking.map(|chunking| (form, chunking)));
    for (form, chunking) in pairs {
        let talk = Conversation {
            security: Security::Plaintext,
            login: LogIn::No,
            pipelining: Pipelining::Groups,
            chunking,
            wishes: Vec::new(),
            mails: vec![
                mail_to_bob(line.repeat(6_000), form),
                mail_to_bob(vec![b'x'; 300_000], form),
                mail_to_bob(b"small\r\n".to_vec(), form),
            ],
            server: Character {
                offers: vec!["PIPELINING", "8BITMIME", "SIZE", "CHUNKING"],
                ..quiet()
            },
            cuts: 7,
        };
        converse(&talk, Way::Faithful).expect("nothing is refused");
    }
}

#[test]
fn a_forgotten_dot_is_found() {
    let talk = Conversation {
        security: Security::Plaintext,
        login: LogIn::No,
        pipelining: Pipelining::Groups,
        chunking: Chunking::WhereOffered,
        wishes: Vec::new(),
        mails: vec![mail_to_bob(
            b"one\r\n.two\r\nthree\r\n".to_vec(),
            Form::Whole,
        )],
        server: quiet(),
        // Large pieces, so that the fault meets the dot.
        cuts: 0,
    };
    converse(&talk, Way::Faithful).expect("without the fault all is well");
    let faults = (0..40).filter(|&cuts| {
        let talk = Conversation {
            cuts,
            ..talk.clone()
        };
        converse(&talk, Way::LosesADot).is_err()
    });
    assert!(faults.count() > 0, "the planted fault was not found");
}

#[test]
fn looser_readers_are_told_apart() {
    assert_eq!(loose_end(b"a\r\n..\r\n.\r\n"), None);
    assert_eq!(loose_end(b".\r\n"), None);
    for early in [
        b"a\n.\nb\r\n.\r\n".as_slice(),
        b"a\r\n.\nb\r\n.\r\n",
        b"a\n.\r\nb\r\n.\r\n",
    ] {
        assert!(loose_end(early).is_some_and(|problem| problem.contains("bare LF")));
    }
    assert!(loose_end(b"a\r.\rb\r\n.\r\n").is_some_and(|problem| problem.contains("bare CR")));
    assert!(loose_end(b"a\rb\r\n.\r\n").is_some());
}

#[test]
fn the_strict_decoder_ends_at_crlf_dot_crlf_alone() {
    let wire = b"a\n.\nb\r\n..c\r\n.\r\nMAIL";
    assert_eq!(
        decode(wire),
        Some((b"a\n.\nb\r\n.c\r\n".to_vec(), wire.len() - 4))
    );
    assert_eq!(decode(b"a\r\n."), None);
    assert_eq!(canonical(b"a\n\r\rb\r\nc"), b"a\r\n\r\n\r\nb\r\nc\r\n");
}

/// A server that refuses nothing.
fn quiet() -> Character {
    Character {
        seed: 1,
        refusals: 0,
        endings: 0,
        breakdowns: 0,
        offers: vec!["PIPELINING"],
        protocol: Protocol::Smtp,
        behind_chunks: BehindChunks::Complains,
    }
}

fn mail_to_bob(content: Vec<u8>, form: Form) -> Mail {
    Mail {
        recipients: vec!["bob".into()],
        content,
        form,
        commitment: Commitment::Each,
    }
}

/// A session that is ready.
fn opening(offers: &str) -> [Action; 3] {
    [
        Action::Receive(b"220 mx\r\n".to_vec()),
        Action::Take(usize::MAX),
        Action::Receive(format!("250-mx\r\n250-{offers}\r\n250 SIZE 1000\r\n").into_bytes()),
    ]
}

fn offers() -> impl Strategy<Value = &'static str> {
    select(vec![
        "PIPELINING",
        "X-NOTHING",
        "PIPELINING\r\n250-CHUNKING",
        "CHUNKING",
        "PIPELINING\r\n250-LIMITS RCPTMAX=1 MAILMAX=2 RCPTDOMAINMAX=1",
    ])
}

fn conversation() -> impl Strategy<Value = Conversation> {
    let server = (
        any::<u64>(),
        select(vec![0, 0, 10, 40]),
        select(vec![0, 0, 3]),
        select(vec![0, 0, 4]),
    );
    let offers = proptest::sample::subsequence(
        vec![
            "PIPELINING",
            "SIZE 100000",
            "ENHANCEDSTATUSCODES",
            NOTHING_BEHIND,
            "CHUNKING",
        ],
        0..=4,
    );
    (
        server,
        offers,
        select(vec![0, 1, 2]),
        vec(mail(), 1..7),
        prop_oneof![2 => Just(Vec::new()), 1 => wishes()],
        any::<u64>(),
        manner(),
    )
        .prop_map(
            |(server, offers, protection, mails, wishes, cuts, manner)| {
                let (seed, refusals, endings, breakdowns) = server;
                // The model takes 8-bit text always; TLS and AUTH come by turns.
                let mut all = vec!["8BITMIME"];
                all.extend(offers.iter().map(|offer| match *offer {
                    "SIZE 100000" => "SIZE",
                    other => other,
                }));
                let (security, login) = match protection {
                    0 => (Security::Plaintext, LogIn::No),
                    1 => {
                        all.extend(["STARTTLS", "AUTH PLAIN LOGIN"]);
                        (Security::StartTls, LogIn::Yes)
                    }
                    _ => {
                        all.push("AUTH LOGIN");
                        (Security::Implicit, LogIn::Yes)
                    }
                };
                let server = Character {
                    seed,
                    refusals,
                    endings,
                    breakdowns,
                    offers: all,
                    protocol: manner.protocol,
                    behind_chunks: match manner.pipelining {
                        Pipelining::Overlapping => manner.behind_chunks,
                        _ => BehindChunks::Complains,
                    },
                };
                Conversation {
                    security,
                    login,
                    pipelining: manner.pipelining,
                    chunking: manner.chunking,
                    mails,
                    wishes,
                    server,
                    cuts,
                }
            },
        )
}

/// How the two talk.
#[derive(Clone, Debug)]
struct Manner {
    pipelining: Pipelining,
    chunking: Chunking,
    protocol: Protocol,
    behind_chunks: BehindChunks,
}

fn in_manner(manner: &Manner) -> Config {
    Config::new(Security::Plaintext)
        .with_pipelining(manner.pipelining)
        .with_chunking(manner.chunking)
        .with_protocol(manner.protocol)
}

fn manner() -> impl Strategy<Value = Manner> {
    let pipelining = select(vec![
        Pipelining::Off,
        Pipelining::Conservative,
        Pipelining::Groups,
        Pipelining::Overlapping,
        Pipelining::Overlapping,
    ]);
    let chunking = select(vec![
        Chunking::Off,
        Chunking::WhereOffered,
        Chunking::WhereOffered,
    ]);
    let protocol = select(vec![Protocol::Smtp, Protocol::Smtp, Protocol::Lmtp]);
    let behind_chunks = select(vec![BehindChunks::Takes, BehindChunks::Refuses]);
    (pipelining, chunking, protocol, behind_chunks).prop_map(
        |(pipelining, chunking, protocol, behind_chunks)| Manner {
            pipelining,
            chunking,
            protocol,
            behind_chunks,
        },
    )
}

/// What a caller does while others talk.
fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let want = prop_oneof![
        3 => Just(Want::Submit),
        2 => (0_usize..6).prop_map(Want::Cancel),
        1 => mail().prop_map(Want::Probe),
        1 => Just(Want::Abandon),
        1 => select(vec![1_u64, 29, 301]).prop_map(|time| Want::Wait(Duration::from_secs(time))),
        1 => Just(Want::Quit),
    ];
    let wish = (0_usize..80, want).prop_map(|(turn, want)| Wish { turn, want });
    vec(wish, 1..6).prop_map(|mut wishes| {
        wishes.sort_by_key(|wish| wish.turn);
        wishes
    })
}

fn mail() -> impl Strategy<Value = Mail> {
    let form = prop_oneof![
        Just(Form::Whole),
        (1_usize..20).prop_map(Form::Streamed),
        Just(Form::Streamed(5000)),
        Just(Form::Streamed(100_000)),
    ];
    let commitment = prop_oneof![
        4 => Just(Commitment::Each),
        1 => Just(Commitment::AllOrNothing),
    ];
    (vec("[a-z]{1,6}", 1..5), content(), form, commitment).prop_map(
        |(recipients, content, form, commitment)| Mail {
            recipients,
            form: match form {
                Form::Streamed(_) if content.len() > 20_000 => Form::Streamed(20_000),
                form => form,
            },
            content,
            commitment,
        },
    )
}

/// Mostly what is hard: dots and line ends.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => select(vec![".", "\r\n", "\r", "\n", "..", "\r\n.\r\n", "\n.\n", "\r.\r"])
            .prop_map(|text| text.as_bytes().to_vec()),
        3 => "[ -~]{0,30}".prop_map(String::into_bytes),
        1 => vec(1_u8.., 0..40),
        1 => (200_usize..3000).prop_map(|length| vec![b'x'; length]),
    ];
    let pieces = vec(piece, 0..24).prop_map(|pieces| pieces.concat());
    // Now and then, what makes several chunks.
    let long = (30_000_usize..70_000).prop_map(|length| b".234567\n".repeat(length / 8));
    prop_oneof![30 => pieces, 1 => long]
}

fn security() -> impl Strategy<Value = Security> {
    select(vec![
        Security::Implicit,
        Security::StartTls,
        Security::Opportunistic,
        Security::Plaintext,
    ])
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => reply().prop_map(Action::Receive),
        2 => vec(any::<u8>(), 0..60).prop_map(Action::Receive),
        6 => (1_usize..200).prop_map(Action::Take),
        4 => Just(Action::Take(usize::MAX)),
        3 => mail().prop_map(Action::Submit),
        1 => mail().prop_map(Action::Probe),
        2 => content().prop_map(Action::Write),
        1 => Just(Action::Finish),
        1 => Just(Action::Tls),
        1 => select(vec![Action::Credentials, Action::NoCredentials]),
        1 => (0_usize..4).prop_map(Action::Cancel),
        1 => (0_u64..400).prop_map(|seconds| Action::Wait(Duration::from_secs(seconds))),
        1 => select(vec![Action::Eof, Action::Failed, Action::Quit, Action::Abandon]),
    ]
}

/// Text made of what could end a path, a line or a quote.
fn odd_text() -> impl Strategy<Value = String> {
    let pieces = vec![
        "a", "b.c", ".", "@", "\"", "\\", "<", ">", " ", "\r", "\n", "\0", "ü", "[", "]", ":", "=",
        "\u{85}", "\u{2028}",
    ];
    vec(select(pieces), 1..8).prop_map(|pieces| pieces.concat())
}

/// Often a mailbox that is taken.
fn odd_address() -> impl Strategy<Value = String> {
    let quoted = odd_text().prop_map(|text| format!("\"{text}\"@example.org"));
    let escaped = odd_text().prop_map(|text| {
        let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
        format!("\"{escaped}\"@example.org")
    });
    let at_domain = odd_text().prop_map(|text| format!("a@{text}"));
    let literal = odd_text().prop_map(|text| format!("a@[x-tag:{text}]"));
    prop_oneof![odd_text(), quoted, escaped, at_domain, literal]
}

/// Steps that get far into the session.
fn plausible() -> impl Strategy<Value = Action> {
    let replies = select(vec![
        "250 2.0.0 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
        "354 go\r\n",
        "550 5.1.1 no\r\n",
        "452 full\r\n",
        "503 no\r\n",
    ]);
    prop_oneof![
        10 => vec(replies, 1..4).prop_map(|replies| Action::Receive(replies.concat().into_bytes())),
        10 => Just(Action::Take(usize::MAX)),
        2 => (1_usize..40).prop_map(Action::Take),
        3 => mail().prop_map(Action::Submit),
        1 => mail().prop_map(Action::Probe),
        2 => content().prop_map(Action::Write),
        1 => Just(Action::Finish),
        1 => (0_usize..4).prop_map(Action::Cancel),
        1 => (0_u64..100).prop_map(|seconds| Action::Wait(Duration::from_secs(seconds))),
        1 => select(vec![Action::Quit, Action::Abandon, Action::Receive(b"421 bye\r\n".to_vec())]),
    ]
}

fn reply() -> impl Strategy<Value = Vec<u8>> {
    let whole = select(vec![
        "220 mx ESMTP\r\n",
        "250 ok\r\n",
        "250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1000\r\n",
        "250-mx\r\n250 STARTTLS\r\n",
        "334 \r\n",
        "235 ok\r\n",
        "354 go\r\n",
        "421 bye\r\n",
        "221 bye\r\n",
        "450 4.0.0 no\r\n",
        "452 no\r\n",
        "503 no\r\n",
        "504 no\r\n",
        "535 no\r\n",
        "550 5.1.1 no\r\n",
        "250-a\r\n",
        "250",
        "\r\n",
        "junk\r\n",
        "*",
        "\u{16}\u{3}\u{1}",
    ]);
    whole.prop_map(|text| text.as_bytes().to_vec())
}
