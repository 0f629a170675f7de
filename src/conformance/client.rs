//! The program under examination: its command line, and how it ends.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::case::{Encryption, Wants};
use crate::proto::Protocol;

/// A command line with placeholders.
///
/// Words are split at spaces, with quotes and backslashes as in a shell; no shell is started. Words
/// between `[` and `]` are left out where a placeholder among them has nothing to stand for, and
/// with `]...` they come once for each recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    kind: Kind,
    words: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Always,
    WhereFilled,
    EachRecipient,
}

/// A command line that makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    Empty,
    OpenQuote,
    OpenBracket,
    Unknown(String),
    /// A placeholder that none can do without.
    Missing(&'static str),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no command"),
            Self::OpenQuote => f.write_str("a quote is not closed"),
            Self::OpenBracket => f.write_str("'[' and ']' do not match"),
            Self::Unknown(name) => {
                write!(
                    f,
                    "{{{name}}} is no placeholder, those are: {}",
                    NAMES.join(", ")
                )
            }
            Self::Missing(name) => write!(f, "{{{name}}} is missing"),
        }
    }
}

impl Template {
    /// Reads a command line.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut groups = Vec::new();
        let mut open = None;
        for word in split(text)? {
            match (word.as_str(), &mut open) {
                ("[", None) => open = Some(Vec::new()),
                ("[", Some(_)) | ("]" | "]...", None) => return Err(TemplateError::OpenBracket),
                ("]" | "]...", words) => groups.push(Group {
                    kind: match word.as_str() {
                        "]" => Kind::WhereFilled,
                        _ => Kind::EachRecipient,
                    },
                    words: words.take().unwrap_or_default(),
                }),
                (_, Some(words)) => words.push(word),
                (_, None) => groups.push(Group {
                    kind: Kind::Always,
                    words: vec![word],
                }),
            }
        }
        let template = Self { groups };
        if open.is_some() {
            return Err(TemplateError::OpenBracket);
        }
        if template
            .groups
            .first()
            .is_none_or(|group| group.kind != Kind::Always)
        {
            return Err(TemplateError::Empty);
        }
        for name in template.names() {
            if !NAMES.contains(&name.as_str()) {
                return Err(TemplateError::Unknown(name));
            }
        }
        match ["port", "to", "message"]
            .into_iter()
            .find(|name| !template.has(name))
        {
            Some(name) => Err(TemplateError::Missing(name)),
            None => Ok(template),
        }
    }

    /// Why this client cannot be asked for that.
    pub(crate) fn lacks(&self, wants: &Wants) -> Option<String> {
        let chooses = self.has("encryption") || self.has("scheme");
        let many = self
            .groups
            .iter()
            .any(|group| group.kind == Kind::EachRecipient && has(&group.words, "to"));
        let reason = if wants.protocol == Protocol::Lmtp && !self.has("scheme") {
            "LMTP: the command has no {scheme}"
        } else if wants.encryption != Encryption::None && !chooses {
            "TLS: the command has no {encryption} and no {scheme}"
        } else if wants.encryption == Encryption::Opportunistic && !self.has("encryption") {
            "TLS where it is offered: the command has no {encryption}"
        } else if wants.to.len() > 1 && !many {
            "several recipients: the command has no '[ {to} ]...'"
        } else if wants.password.is_some() && !(self.has("user") && self.has_password()) {
            "a log-in: the command has no {user} and {password}"
        } else if wants.token.is_some() && !(self.has("token") || self.has("token-env")) {
            "a token: the command has no {token}"
        } else if wants.mechanisms.is_some() && !self.has("mechanisms") {
            "the choice of mechanisms: the command has no {mechanisms}"
        } else {
            return None;
        };
        Some(reason.into())
    }

    /// Starts the client.
    pub(crate) fn start(
        &self,
        wants: &Wants,
        port: u16,
        message: &Path,
        folder: &Folder,
    ) -> io::Result<Running> {
        let words = self.filled(wants, port, message, folder);
        let Some((program, arguments)) = words.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("PASSWORD", wants.password.as_deref().unwrap_or_default())
            .env("TOKEN", wants.token.as_deref().unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
        Ok(Running {
            child,
            secrets: secrets(wants),
        })
    }

    fn filled(&self, wants: &Wants, port: u16, message: &Path, folder: &Folder) -> Vec<String> {
        let mut words = Vec::new();
        for group in &self.groups {
            let each = match group.kind {
                Kind::EachRecipient => wants.to.as_slice(),
                Kind::Always | Kind::WhereFilled => &wants.to[..1],
            };
            for to in each {
                let value = |name: &str| match name {
                    "host" => super::HOST.to_owned(),
                    "port" => port.to_string(),
                    "from" => wants.from.clone(),
                    "to" => to.clone(),
                    "message" => message.display().to_string(),
                    "ca" => folder.authority().display().to_string(),
                    "encryption" => wants.encryption.word().to_owned(),
                    "scheme" => scheme(wants).to_owned(),
                    "user" => wants.user.clone().unwrap_or_default(),
                    "password" => wants.password.clone().unwrap_or_default(),
                    "token" => wants.token.clone().unwrap_or_default(),
                    "password-env" => wants.password.as_ref().map_or("", |_| "PASSWORD").into(),
                    "token-env" => wants.token.as_ref().map_or("", |_| "TOKEN").into(),
                    "mechanisms" => wants.mechanisms.clone().unwrap_or_default(),
                    _ => String::new(),
                };
                let used = group.words.iter().flat_map(|word| names(word));
                let is_empty = used.into_iter().any(|name| value(&name).is_empty());
                if group.kind == Kind::WhereFilled && is_empty {
                    continue;
                }
                words.extend(group.words.iter().map(|word| fill(word, &value)));
            }
        }
        words
    }

    fn has(&self, name: &str) -> bool {
        self.groups.iter().any(|group| has(&group.words, name))
    }

    fn has_password(&self) -> bool {
        self.has("password") || self.has("password-env")
    }

    fn names(&self) -> Vec<String> {
        let words = self.groups.iter().flat_map(|group| &group.words);
        words.flat_map(|word| names(word)).collect()
    }
}

impl Encryption {
    /// As `ehlo send` has it.
    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::Opportunistic => "opportunistic",
        }
    }
}

/// A client that runs.
pub(crate) struct Running {
    child: Child,
    /// What it must not show.
    secrets: Arc<[Vec<u8>]>,
}

impl Running {
    /// Waits for its end, or puts one to it and to all that it started.
    pub(crate) async fn end(mut self, longest: Duration) -> io::Result<Ending> {
        let secrets = Arc::clone(&self.secrets);
        let streams = (self.child.stdout.take(), self.child.stderr.take());
        let output = tokio::spawn(both(streams, secrets));
        let status = match timeout(longest, self.child.wait()).await {
            Ok(status) => Some(status?),
            Err(_) => {
                self.kill().await;
                None
            }
        };
        let output = timeout(Duration::from_secs(1), output).await;
        let output = output.ok().and_then(Result::ok).unwrap_or_default();
        Ok(Ending {
            how: match status.map(|status| status.code()) {
                None => How::Hung(longest),
                Some(None) => How::Killed,
                Some(Some(code)) => How::Exit(code),
            },
            output,
        })
    }

    /// Kills its process group, for it may have children that hold the connection.
    async fn kill(&mut self) {
        #[cfg(unix)]
        if let Some(id) = self.child.id() {
            let kill = Command::new("sh")
                .args(["-c", "kill -KILL -- \"-$0\"", &id.to_string()])
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .status();
            kill.await.ok();
        }
        self.child.kill().await.ok();
    }
}

/// How a client ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    how: How,
    output: Output,
}

/// What it wrote to its output and its errors.
#[derive(Clone, Debug, Default)]
struct Output {
    /// The last of it.
    text: String,
    /// A secret is in it, perhaps further up.
    tells: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Exit(i32),
    /// By a signal of its own.
    Killed,
    Hung(Duration),
}

impl Ending {
    /// Its exit code, if it ended in time; what a signal ended counts as a failure.
    pub(crate) fn code(&self) -> Option<i32> {
        match self.how {
            How::Exit(code) => Some(code),
            How::Killed => Some(128),
            How::Hung(_) => None,
        }
    }

    pub(crate) fn words(&self) -> String {
        match self.how {
            How::Exit(code) => format!("the client exits with {code}"),
            How::Killed => "the client was ended by a signal".into(),
            How::Hung(longest) => format!("the client has not ended in {} s", longest.as_secs()),
        }
    }

    /// For a client that never connected.
    pub(crate) fn reason_not_to_connect(&self) -> String {
        match self.how {
            How::Exit(64) => "the client declines".into(),
            How::Exit(code) => {
                let said = self.output().last().map(|line| format!(": {line}"));
                let said = said.unwrap_or_default();
                format!("the client does not connect, and exits with {code}{said}")
            }
            How::Killed | How::Hung(_) => format!("no connection; {}", self.words()),
        }
    }

    /// Whether it wrote the password or the token to its output, in clear or as AUTH carries it.
    pub(crate) fn tells_secrets(&self) -> bool {
        self.output.tells
    }

    /// The last lines of what it said.
    pub(crate) fn output(&self) -> impl Iterator<Item = String> + '_ {
        let lines: Vec<_> = self.output.text.lines().collect();
        let first = lines.len().saturating_sub(MOST_LINES);
        let lines = lines.into_iter().skip(first);
        lines.map(|line| line.chars().filter(|c| !c.is_control()).take(300).collect())
    }
}

/// A folder for the files that clients are given; it is removed at the end.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes one, with the certificates to be trusted.
    pub(crate) fn make(trusted: &str) -> io::Result<Self> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(io::Error::other)?;
        let name = format!("ehlo-conformance-{:016x}", u64::from_be_bytes(number));
        let folder = Self {
            path: std::env::temp_dir().join(name),
        };
        fs::create_dir(&folder.path)?;
        fs::write(folder.authority(), trusted)?;
        Ok(folder)
    }

    fn authority(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// Writes the message of a transcript.
    pub(crate) fn message(&self, case: &str, message: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(format!("{}.eml", case.replace('/', "-")));
        fs::write(&path, message)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

fn scheme(wants: &Wants) -> &'static str {
    match (wants.protocol, wants.encryption) {
        (Protocol::Lmtp, _) => "lmtp",
        (Protocol::Smtp, Encryption::Tls) => "smtps",
        (Protocol::Smtp, Encryption::None | Encryption::StartTls | Encryption::Opportunistic) => {
            "smtp"
        }
    }
}

/// What secrets look like in a trace. A word as plain as `password` may be there for another reason.
fn secrets(wants: &Wants) -> Arc<[Vec<u8>]> {
    let user = wants.user.as_deref().unwrap_or_default();
    let password = wants.password.iter().flat_map(|password| {
        let plain = Some(password.clone()).filter(|word| word != "password");
        let encoded = [password.clone(), format!("\0{user}\0{password}")];
        plain
            .into_iter()
            .chain(encoded.map(|text| BASE64_STANDARD.encode(text)))
    });
    let shown = password.chain(wants.token.clone());
    let long = shown.filter(|secret| secret.len() >= SHORTEST_SECRET);
    long.map(String::into_bytes).collect()
}

/// Reads both to their ends: a client that writes much must not be stopped by a full or a broken pipe.
async fn both(
    (stdout, stderr): (
        Option<impl AsyncRead + Unpin>,
        Option<impl AsyncRead + Unpin>,
    ),
    secrets: Arc<[Vec<u8>]>,
) -> Output {
    let (out, err) = tokio::join!(read(stdout, &secrets), read(stderr, &secrets));
    let octets = [out.0, err.0].concat();
    Output {
        text: String::from_utf8_lossy(&octets).into_owned(),
        tells: out.1 || err.1,
    }
}

/// The last of what comes, and whether a secret was in all of it.
async fn read(stream: Option<impl AsyncRead + Unpin>, secrets: &[Vec<u8>]) -> (Vec<u8>, bool) {
    let (mut last, mut tells) = (Vec::new(), false);
    let Some(mut stream) = stream else {
        return (last, tells);
    };
    let longest = secrets.iter().map(Vec::len).max().unwrap_or_default();
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let from = last.len().saturating_sub(longest);
        last.extend_from_slice(&buffer[..length]);
        tells |= secrets
            .iter()
            .any(|secret| memchr::memmem::find(&last[from..], secret).is_some());
        let surplus = last.len().saturating_sub(MOST_OUTPUT);
        last.drain(..surplus);
    }
    (last, tells)
}

fn split(text: &str) -> Result<Vec<String>, TemplateError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(TemplateError::OpenQuote);
    }
    words.extend(word);
    Ok(words)
}

/// The placeholders in a word.
fn names(word: &str) -> Vec<String> {
    let pieces = word.split('{').skip(1);
    let named = pieces.filter_map(|piece| piece.split_once('}'));
    named.map(|(name, _)| name.to_owned()).collect()
}

fn has(words: &[String], name: &str) -> bool {
    words
        .iter()
        .flat_map(|word| names(word))
        .any(|found| found == name)
}

fn fill(word: &str, value: &dyn Fn(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = word;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, tail)) = behind.split_once('}') else {
            filled.push('{');
            rest = behind;
            continue;
        };
        filled.push_str(&value(name));
        rest = tail;
    }
    filled.push_str(rest);
    filled
}

/// What can be filled in.
const NAMES: [&str; 14] = [
    "host",
    "port",
    "from",
    "to",
    "message",
    "ca",
    "encryption",
    "scheme",
    "user",
    "password",
    "password-env",
    "token",
    "token-env",
    "mechanisms",
];

/// Octets of a client's output that are kept, and lines of it that are shown.
const MOST_OUTPUT: usize = 64 * 1024;
const MOST_LINES: usize = 6;

/// Shorter ones stand in other words.
const SHORTEST_SECRET: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn wants() -> Wants {
        Wants {
            encryption: Encryption::StartTls,
            protocol: Protocol::Smtp,
            user: None,
            password: None,
            token: None,
            mechanisms: None,
            from: "a@example.com".into(),
            to: vec!["b@example.org".into(), "c@example.org".into()],
            message: Vec::new(),
        }
    }

    #[test]
    fn a_command_line_is_filled_in_for_each_run() {
        let text = r#"send 'to '{port} [ --user {user} ] [ --to={to} ]... "{message}" a\ b"#;
        let template = Template::parse(text).expect("it is well-formed");
        let folder = Folder::make("").expect("a folder");
        let words = template.filled(&wants(), 25, Path::new("m.eml"), &folder);
        let expected = [
            "send",
            "to 25",
            "--to=b@example.org",
            "--to=c@example.org",
            "m.eml",
            "a b",
        ];
        assert_eq!(words, expected);
        let with_user = Wants {
            user: Some("alice".into()),
            ..wants()
        };
        let words = template.filled(&with_user, 25, Path::new("m.eml"), &folder);
        assert_eq!(words[2..4], ["--user", "alice"]);
    }

    #[tokio::test]
    async fn much_output_is_read_to_its_end() {
        let noise = b"noise\n".repeat(100_000);
        let octets = [&b"tr0ub4dor\n"[..], &noise, b"the last line\n"].concat();
        let secrets: Arc<[Vec<u8>]> = Arc::new([b"tr0ub4dor".to_vec()]);
        let output = both((Some(octets.as_slice()), None::<&[u8]>), secrets).await;
        assert!(output.tells && output.text.len() <= MOST_OUTPUT);
        assert!(output.text.ends_with("noise\nthe last line\n"));
    }

    #[test]
    fn a_plain_word_is_no_secret_and_its_encoded_form_is() {
        let of = |password: &str| {
            secrets(&Wants {
                user: Some("alice".into()),
                password: Some(password.into()),
                ..wants()
            })
        };
        assert_eq!(
            &*of("password"),
            [&b"cGFzc3dvcmQ="[..], b"AGFsaWNlAHBhc3N3b3Jk"]
        );
        assert!(of("tr0ub4dor").contains(&b"tr0ub4dor".to_vec()));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let error = |text| Template::parse(text).expect_err("it makes no sense");
        assert_eq!(error(""), TemplateError::Empty);
        assert_eq!(error("x 'y"), TemplateError::OpenQuote);
        assert_eq!(error("x [ {to}"), TemplateError::OpenBracket);
        assert_eq!(error("x ]"), TemplateError::OpenBracket);
        assert_eq!(error("x {prot}"), TemplateError::Unknown("prot".into()));
        assert_eq!(error("x {port} {to}"), TemplateError::Missing("message"));
    }

    #[test]
    fn what_a_command_cannot_be_asked_for_is_not_played() {
        let template = Template::parse("x {port} {to} {message}").expect("it is well-formed");
        let reason = template.lacks(&wants()).expect("there is no {encryption}");
        assert!(reason.starts_with("TLS"), "{reason}");
        let plain = Wants {
            encryption: Encryption::None,
            ..wants()
        };
        let reason = template.lacks(&plain).expect("there is no [ {to} ]...");
        assert!(reason.starts_with("several"), "{reason}");
    }
}
