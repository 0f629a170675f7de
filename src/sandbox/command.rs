//! The sandbox's own reading of commands (RFC 5321 §4.1.1), strict, and apart from the client's
//! writing of them.

/// A command, its arguments as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Ehlo,
    Helo,
    Lhlo,
    StartTls,
    Auth {
        mechanism: &'a str,
        initial: Option<&'a str>,
    },
    Mail {
        path: &'a str,
        parameters: Vec<Parameter<'a>>,
    },
    Rcpt {
        path: &'a str,
        parameters: Vec<Parameter<'a>>,
    },
    Data,
    Bdat {
        size: u64,
        chunk: Chunk,
    },
    Rset,
    Noop,
    Vrfy,
    Quit,
}

/// A parameter of MAIL or RCPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    pub(super) keyword: &'a str,
    pub(super) value: Option<&'a str>,
}

/// Whether more chunks follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    More,
    Last,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// No command: 500.
    Unrecognised,
    /// A command that this server does not have: 502.
    Unimplemented,
    /// The line itself is broken: 500.
    Line(&'static str),
    /// The arguments are wrong: 501.
    Arguments(&'static str),
}

impl<'a> Command<'a> {
    /// Reads a line, its line end included.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Complaint> {
        let text = text(line)?;
        let (verb, arguments) = match text.split_once(' ') {
            Some((verb, arguments)) => (verb, Some(arguments)),
            None => (text, None),
        };
        let verb = Verb::find(verb)?;
        match verb {
            Verb::Ehlo => name(arguments).map(|()| Self::Ehlo),
            Verb::Helo => name(arguments).map(|()| Self::Helo),
            Verb::Lhlo => name(arguments).map(|()| Self::Lhlo),
            Verb::Auth => auth(arguments),
            Verb::Mail => {
                let (path, parameters) = path_and_parameters("FROM:", arguments)?;
                if !path.is_empty() {
                    mailbox(path)?;
                }
                Ok(Self::Mail { path, parameters })
            }
            Verb::Rcpt => {
                let (path, parameters) = path_and_parameters("TO:", arguments)?;
                if !path.eq_ignore_ascii_case("postmaster") {
                    mailbox(path)?;
                }
                Ok(Self::Rcpt { path, parameters })
            }
            Verb::Bdat => bdat(arguments),
            Verb::StartTls => alone(arguments, Self::StartTls),
            Verb::Data => alone(arguments, Self::Data),
            Verb::Rset => alone(arguments, Self::Rset),
            Verb::Quit => alone(arguments, Self::Quit),
            Verb::Noop => Ok(Self::Noop),
            Verb::Vrfy => arguments
                .map(|_| Self::Vrfy)
                .ok_or(Complaint::Arguments("VRFY needs a name")),
        }
    }

    /// Whether it has to be the last of its group (RFC 2920 §3.1, RFC 3207 §4, RFC 4954 §4).
    pub(super) fn ends_group(&self) -> bool {
        match self {
            Self::Ehlo
            | Self::Helo
            | Self::Lhlo
            | Self::StartTls
            | Self::Auth { .. }
            | Self::Data
            | Self::Noop
            | Self::Vrfy
            | Self::Quit => true,
            Self::Mail { .. } | Self::Rcpt { .. } | Self::Bdat { .. } | Self::Rset => false,
        }
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Ehlo,
    Helo,
    Lhlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Quit,
}

impl Verb {
    fn find(word: &str) -> Result<Self, Complaint> {
        let found = VERBS
            .iter()
            .find(|(verb, _)| verb.eq_ignore_ascii_case(word));
        match found {
            Some((_, Some(verb))) => Ok(*verb),
            Some((_, None)) => Err(Complaint::Unimplemented),
            None => Err(Complaint::Unrecognised),
        }
    }
}

/// The line without its end, which has to be CRLF, with neither CR nor NUL nor LF elsewhere.
pub(super) fn text(line: &[u8]) -> Result<&str, Complaint> {
    let text = line
        .strip_suffix(b"\r\n")
        .ok_or(Complaint::Line("the line ends in a bare newline"))?;
    if memchr::memchr3(b'\r', b'\n', 0, text).is_some() {
        return Err(Complaint::Line("the line has a CR or a NUL inside"));
    }
    str::from_utf8(text).map_err(|_| Complaint::Line("the line is not UTF-8"))
}

fn alone<'a>(arguments: Option<&str>, command: Command<'a>) -> Result<Command<'a>, Complaint> {
    match arguments {
        None => Ok(command),
        Some(_) => Err(Complaint::Arguments("the command takes no argument")),
    }
}

fn name(arguments: Option<&str>) -> Result<(), Complaint> {
    let name = arguments.unwrap_or_default();
    let literal = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let valid = match literal {
        Some(literal) => !literal.is_empty() && literal.bytes().all(|b| b.is_ascii_graphic()),
        None => is_domain(name) && name.is_ascii(),
    };
    if valid {
        Ok(())
    } else {
        Err(Complaint::Arguments(
            "a domain or an address literal is needed",
        ))
    }
}

fn auth(arguments: Option<&str>) -> Result<Command<'_>, Complaint> {
    let mut words = arguments.unwrap_or_default().split(' ');
    let mechanism = words.next().unwrap_or_default();
    let initial = words.next();
    if mechanism.is_empty() || initial == Some("") || words.next().is_some() {
        return Err(Complaint::Arguments(
            "a mechanism and at most one response are needed",
        ));
    }
    Ok(Command::Auth { mechanism, initial })
}

fn bdat(arguments: Option<&str>) -> Result<Command<'_>, Complaint> {
    let error = Complaint::Arguments("a size, and LAST at the last chunk, are needed");
    let arguments = arguments.ok_or(error)?;
    let (size, chunk) = match arguments.split_once(' ') {
        None => (arguments, Chunk::More),
        Some((size, word)) if word.eq_ignore_ascii_case("LAST") => (size, Chunk::Last),
        Some(_) => return Err(error),
    };
    if !is_number(size) {
        return Err(error);
    }
    let size = size.parse().map_err(|_| error)?;
    Ok(Command::Bdat { size, chunk })
}

/// `FROM:<path>` or `TO:<path>`, no space before the path, and parameters one space apart.
fn path_and_parameters<'a>(
    prefix: &'static str,
    arguments: Option<&'a str>,
) -> Result<(&'a str, Vec<Parameter<'a>>), Complaint> {
    let arguments = arguments.unwrap_or_default();
    let rest = match arguments.split_at_checked(prefix.len()) {
        Some((word, rest)) if word.eq_ignore_ascii_case(prefix) => rest,
        Some(_) | None => {
            return Err(Complaint::Arguments(
                "FROM: or TO: and a path in angle brackets are needed",
            ));
        }
    };
    let Some(rest) = rest.strip_prefix('<') else {
        return Err(Complaint::Arguments("the path has to begin with '<'"));
    };
    let Some(end) = end_of_path(rest) else {
        return Err(Complaint::Arguments("the path has to end with '>'"));
    };
    let (path, rest) = (&rest[..end], &rest[end + 1..]);
    if rest.is_empty() {
        return Ok((path, Vec::new()));
    }
    let Some(rest) = rest.strip_prefix(' ') else {
        return Err(Complaint::Arguments("something follows the path's '>'"));
    };
    let parameters: Vec<_> = rest.split(' ').map(parameter).collect::<Result<_, _>>()?;
    for (index, one) in parameters.iter().enumerate() {
        let mut earlier = parameters[..index].iter();
        if earlier.any(|other| other.keyword.eq_ignore_ascii_case(one.keyword)) {
            return Err(Complaint::Arguments("a parameter is given twice"));
        }
    }
    Ok((path, parameters))
}

/// The offset of the first `>` that is not inside quotes.
fn end_of_path(rest: &str) -> Option<usize> {
    let octets = rest.as_bytes();
    let first = memchr::memchr2(b'>', b'"', octets)?;
    if octets[first] == b'>' {
        return Some(first);
    }
    let close = first + 1 + end_of_quotes(&octets[first + 1..])?;
    memchr::memchr(b'>', &octets[close + 1..]).map(|end| close + 1 + end)
}

/// The offset of the quote that is not behind a backslash.
fn end_of_quotes(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let next = at + memchr::memchr2(b'\\', b'"', octets.get(at..)?)?;
        match octets[next] {
            b'"' => return Some(next),
            _ => at = next + 2,
        }
    }
}

fn parameter(text: &str) -> Result<Parameter<'_>, Complaint> {
    let (keyword, value) = match text.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (text, None),
    };
    let keyword_ok = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
        && keyword
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let value_ok = value.is_none_or(|value| {
        !value.is_empty() && value.bytes().all(|b| b > b' ' && b != b'=' && b != 127)
    });
    if keyword_ok && value_ok {
        Ok(Parameter { keyword, value })
    } else {
        Err(Complaint::Arguments("a parameter is malformed"))
    }
}

/// A local part, quoted or not, `@`, and a domain or a literal; no source route.
fn mailbox(path: &str) -> Result<(), Complaint> {
    let (local_ok, domain) = match path.strip_prefix('"') {
        Some(rest) => {
            let close = end_of_quotes(rest.as_bytes());
            let close = close.ok_or(Complaint::Arguments("the path's quotes are not closed"))?;
            let printable = !rest[..close].bytes().any(|b| b.is_ascii_control());
            (printable, rest[close + 1..].strip_prefix('@'))
        }
        None => {
            let (local, domain) = path.split_once('@').unwrap_or((path, ""));
            (is_dot_string(local), Some(domain))
        }
    };
    let domain = domain.unwrap_or_default();
    let domain_ok = match domain.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|inner| {
            !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_graphic() && b != b'[')
        }),
        None => is_domain(domain),
    };
    if local_ok && domain_ok {
        Ok(())
    } else {
        Err(Complaint::Arguments("the path is not a mailbox"))
    }
}

fn is_dot_string(local: &str) -> bool {
    let special = |b: u8| b <= b' ' || b == 127 || b"()<>[]:;,\\\"".contains(&b);
    local
        .split('.')
        .all(|atom| !atom.is_empty() && !atom.bytes().any(special))
}

fn is_domain(domain: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || !c.is_ascii();
    domain.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(inside)
    })
}

/// One to twenty digits.
pub(super) fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// The most frequent first. The last ones are known, and not implemented.
const VERBS: [(&str, Option<Verb>); 18] = [
    ("RCPT", Some(Verb::Rcpt)),
    ("MAIL", Some(Verb::Mail)),
    ("DATA", Some(Verb::Data)),
    ("BDAT", Some(Verb::Bdat)),
    ("RSET", Some(Verb::Rset)),
    ("EHLO", Some(Verb::Ehlo)),
    ("QUIT", Some(Verb::Quit)),
    ("AUTH", Some(Verb::Auth)),
    ("STARTTLS", Some(Verb::StartTls)),
    ("NOOP", Some(Verb::Noop)),
    ("HELO", Some(Verb::Helo)),
    ("VRFY", Some(Verb::Vrfy)),
    ("EXPN", None),
    ("HELP", None),
    ("TURN", None),
    ("ETRN", None),
    ("SEND", None),
    ("LHLO", Some(Verb::Lhlo)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn paths(line: &str) -> String {
        match Command::parse(format!("{line}\r\n").as_bytes()) {
            Ok(Command::Mail { path, parameters } | Command::Rcpt { path, parameters }) => {
                let parameters: Vec<_> = parameters
                    .iter()
                    .map(|p| format!(" {}:{}", p.keyword, p.value.unwrap_or("-")))
                    .collect();
                format!("{path}{}", parameters.concat())
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn paths_and_parameters_are_read() {
        let cases = [
            ("MAIL FROM:<>", ""),
            ("mail from:<a@b>", "a@b"),
            (
                "MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME X",
                "a@b SIZE:1 BODY:8BITMIME X:-",
            ),
            ("RCPT TO:<Postmaster>", "Postmaster"),
            ("RCPT TO:<a@[127.0.0.1]>", "a@[127.0.0.1]"),
            ("RCPT TO:<\"a b\"@c>", "\"a b\"@c"),
            (r#"RCPT TO:<"a\">b@"@c>"#, r#""a\">b@"@c"#),
            ("RCPT TO:<ü@ü.example>", "ü@ü.example"),
        ];
        for (line, expected) in cases {
            assert_eq!(paths(line), expected, "{line}");
        }
    }

    #[test]
    fn malformed_arguments_are_refused() {
        let cases = [
            "MAIL",
            "MAIL FROM",
            "MAIL FROM: <a@b>",
            "MAIL FROM:a@b",
            "MAIL FROM:<a@b",
            "MAIL FROM:<a@b>x",
            "MAIL FROM:<a@b>  X",
            "MAIL FROM:<a@b> ",
            "MAIL FROM:<a@b> SIZE=",
            "MAIL FROM:<a@b> SIZE=1 size=2",
            "MAIL FROM:<a@b> A=b=c",
            "MAIL FROM:<postmaster>",
            "MAIL FROM:<@x:a@b>",
            "RCPT TO:<>",
            "RCPT TO:<a>",
            "RCPT TO:<a@>",
            "RCPT TO:<@b>",
            "RCPT TO:<a..b@c>",
            "RCPT TO:<a b@c>",
            "RCPT TO:<a@b..c>",
            "RCPT TO:<a@[]>",
            "RCPT TO:<\"a@b>",
            "RCPT TO:<\"a\\",
            "RCPT TO:<a@b@c>",
            "EHLO",
            "EHLO ",
            "EHLO a b",
            "EHLO []",
            "DATA now",
            "STARTTLS now",
            "QUIT ",
            "BDAT",
            "BDAT x",
            "BDAT -1",
            "BDAT +1",
            "BDAT 1 FIRST",
            "BDAT 99999999999999999999",
            "AUTH",
            "AUTH PLAIN ",
            "AUTH PLAIN a b",
            "VRFY",
        ];
        for line in cases {
            let line = format!("{line}\r\n");
            let parsed = Command::parse(line.as_bytes());
            assert!(
                matches!(parsed, Err(Complaint::Arguments(_))),
                "{line}: {parsed:?}"
            );
        }
    }

    #[test]
    fn broken_lines_are_refused() {
        for line in [
            &b"NOOP\n"[..],
            b"NO\rOP\r\n",
            b"NOOP \0\r\n",
            b"NOOP \xff\r\n",
        ] {
            let parsed = Command::parse(line);
            assert!(matches!(parsed, Err(Complaint::Line(_))), "{parsed:?}");
        }
        assert_eq!(Command::parse(b"\r\n"), Err(Complaint::Unrecognised));
        assert_eq!(Command::parse(b"MAI\r\n"), Err(Complaint::Unrecognised));
        assert_eq!(Command::parse(b"EXPN a\r\n"), Err(Complaint::Unimplemented));
    }

    #[test]
    fn chunks_are_read() {
        let chunk = |size, chunk| Ok(Command::Bdat { size, chunk });
        assert_eq!(Command::parse(b"BDAT 12\r\n"), chunk(12, Chunk::More));
        assert_eq!(Command::parse(b"bdat 0 last\r\n"), chunk(0, Chunk::Last));
    }
}
