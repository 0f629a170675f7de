//! What is taken as an address or a parameter is written as it was read, and stays in its place.

#![no_main]

use ehlo::{Domain, Mailbox, Params, ReversePath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    if let Ok(mailbox) = input.parse::<Mailbox>() {
        assert_eq!(mailbox.to_string(), input);
        assert_eq!(input.parse().as_ref(), Ok(&mailbox));
        assert_eq!(
            input,
            format!("{}@{}", mailbox.local_part(), mailbox.domain())
        );
        assert!(!mailbox.domain().contains(['@', '<', '>', ' ', '"', '\\']));
        assert!(!input.contains(char::is_control));
        let quoted = mailbox.local_part().starts_with('"');
        assert!(quoted || !mailbox.local_part().contains(['<', '>', ' ', '@', '"']));
    }
    if let Ok(domain) = input.parse::<Domain>() {
        assert_eq!(domain.to_string(), input);
        assert!(input.is_ascii() && !input.contains(char::is_control) && !input.contains(' '));
    }
    if let Some(problem) = problem_in_a_command(input) {
        panic!("{problem}");
    }
    if let Ok(path) = input.parse::<ReversePath>() {
        assert_eq!(path.to_string(), format!("<{input}>"));
    }

    let (first, second) = input.split_once('\u{1f}').unwrap_or((input, "example.org"));
    if let Ok(mailbox) = Mailbox::new(first, second) {
        assert_eq!(unquoted(mailbox.local_part()), first);
        assert_eq!(mailbox.domain(), second);
        assert_eq!(mailbox.as_str().parse().as_ref(), Ok(&mailbox));
    }
    if let Ok(params) = Params::new().with(first, Some(second)) {
        for param in params.iter() {
            let (keyword, value) = (param.keyword(), param.value().unwrap_or_default());
            assert!(!keyword.contains([' ', '=']) && !value.contains([' ', '=']));
            assert!(!keyword.contains(char::is_control) && !value.contains(char::is_control));
        }
        assert!(params.get(&first.to_ascii_lowercase()).is_some());
    }
});

/// Everything that the input can be, in one command each.
fn problem_in_a_command(input: &str) -> Option<String> {
    let plain = "a@example.org".parse();
    let mailbox = input.parse::<Mailbox>().or(plain).ok()?;
    let (keyword, value) = input.split_once('=').unwrap_or((input, "1"));
    let params = Params::new().with(keyword, Some(value)).unwrap_or_default();
    ehlo_fuzz::command(mailbox, params, input.parse().ok()).err()
}

fn unquoted(local_part: &str) -> String {
    let Some(inside) = local_part
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return local_part.to_owned();
    };
    let mut text = String::new();
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' {
            characters.next()
        } else {
            Some(character)
        });
    }
    text
}
