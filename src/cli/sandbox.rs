//! `ehlo sandbox`: the built-in server, until Ctrl-C.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;

use super::args::SandboxArguments;
use super::exit::Exit;
use super::failure::Failure;
use super::terminal::{self, Ink, Tint};
use crate::proto::config::Protocol;
use crate::sandbox::{
    Auth, Fault, Happening, Line, Mechanism, Options, Received, Sandbox, TlsMode,
};

/// Runs the server, and shows what happens there.
pub(crate) async fn run(arguments: SandboxArguments) -> Result<Exit, Failure> {
    if !arguments.listen.ip().is_loopback() {
        terminal::warn(format_args!(
            "{} can be reached from other machines, and the account is no secret",
            arguments.listen
        ));
    }
    let (sandbox, mut happenings) =
        Sandbox::start_watched(options(&arguments)?)
            .await
            .map_err(|error| {
                Failure::usage(format!("cannot listen on {}: {error}", arguments.listen))
            })?;
    if let Some(path) = &arguments.write_ca {
        write(path, sandbox.certificate_pem()).await?;
    }
    if let Some(path) = &arguments.write_client {
        let client = sandbox
            .client_certificate("alice")
            .map_err(|error| Failure::Internal(error.to_string()))?;
        let both = [client.certificate_pem(), client.key_pem()].concat();
        write(path, &both).await?;
    }
    introduce(&sandbox, &arguments);
    let screen = Screen {
        ink: Ink::for_stream(&io::stdout()),
    };
    // One for all turns of the loop: in between nobody would hear the signal.
    let mut stop = pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            biased;
            stop = &mut stop => {
                return match stop {
                    Ok(()) => Ok(Exit::Done),
                    Err(error) => Err(Failure::Internal(format!("no signals: {error}"))),
                };
            }
            happening = happenings.recv() => match happening {
                Some(happening) => screen.show(&happening),
                None => return Ok(Exit::Done),
            },
        }
    }
}

/// Prints a stored message behind a label: its envelope, then its text.
pub(crate) fn show_message(label: &str, message: &Received) {
    let ink = Ink::for_stream(&io::stdout());
    let who = match &message.authenticated {
        Some(name) => format!(", logged in as {name}"),
        None => String::new(),
    };
    let how = match message.tls {
        true => "by TLS",
        false => "in clear",
    };
    terminal::line(ink.paint(
        Tint::Good,
        format_args!("{label}Stored: {} octets, {how}{who}", message.size),
    ));
    terminal::line(format_args!(
        "  from <{}>",
        printable(&message.reverse_path)
    ));
    for recipient in &message.recipients {
        terminal::line(format_args!("  to   <{}>", printable(recipient)));
    }
    let text = String::from_utf8_lossy(&message.content);
    let mut lines = text.lines();
    for line in lines.by_ref().take(SHOWN_LINES) {
        let line: String = printable(line).chars().take(SHOWN_COLUMNS).collect();
        terminal::line(format_args!("  {} {line}", ink.paint(Tint::Faint, "|")));
    }
    match lines.count() {
        0 => {}
        more => terminal::line(ink.paint(Tint::Faint, format_args!("  … and {more} more lines"))),
    }
}

fn options(arguments: &SandboxArguments) -> Result<Options, Failure> {
    let mut options = Options::default()
        .with_listen(arguments.listen)
        .with_protocol(match arguments.lmtp {
            true => Protocol::Lmtp,
            false => Protocol::Smtp,
        })
        .with_tls(match arguments.tls {
            true => TlsMode::Implicit,
            false => TlsMode::StartTls,
        })
        .with_auth(match arguments.require_auth {
            true => Auth::Required,
            false => Auth::Optional,
        });
    if !arguments.auth.is_empty() {
        let mechanisms: Result<Vec<Mechanism>, _> =
            arguments.auth.iter().map(|name| name.parse()).collect();
        let mechanisms = mechanisms.map_err(|error| Failure::usage(format!("--auth: {error}")))?;
        options = options.with_mechanisms(mechanisms);
    }
    for text in &arguments.fault {
        let fault: Fault = text
            .parse()
            .map_err(|error| Failure::usage(format!("--fault: {error}")))?;
        options = options.with_fault(fault);
    }
    Ok(options)
}

async fn write(path: &Path, text: &str) -> Result<(), Failure> {
    tokio::fs::write(path, text)
        .await
        .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))
}

fn introduce(sandbox: &Sandbox, arguments: &SandboxArguments) {
    let address = sandbox.address();
    let (scheme, tls) = match (arguments.lmtp, arguments.tls) {
        (true, true) => ("lmtp", "TLS from the first octet"),
        (true, false) => ("lmtp", "STARTTLS offered"),
        (false, true) => ("smtps", "TLS from the first octet"),
        (false, false) => ("smtp", "STARTTLS offered"),
    };
    let login = match arguments.require_auth {
        true => "required",
        false => "optional",
    };
    let fingerprint: String = sandbox
        .certificate_sha256()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    terminal::line(format_args!("Listening on {scheme}://{address} ({tls})"));
    terminal::line(format_args!(
        "  account      alice, password: password ({login})"
    ));
    let is_bearer = |name: &String| name.to_ascii_uppercase().contains("OAUTH");
    if arguments.auth.iter().any(is_bearer) {
        terminal::line("  token        access-token, of alice");
    }
    terminal::line(format_args!("  certificate  SHA-256 {fingerprint}"));
    if let Some(path) = &arguments.write_ca {
        terminal::line(format_args!("  trust        --ca-file {}", path.display()));
    }
    terminal::line("Try it from another terminal:");
    terminal::line(format_args!(
        "  PASSWORD=password ehlo send --server {scheme}://alice@{address} \\\n    \
         --password-env PASSWORD --pin-sha256 {fingerprint} \\\n    \
         --from me@example.org --to you@example.org --subject Hello --text 'It works.'"
    ));
    terminal::line("Ctrl-C ends it.\n");
}

struct Screen {
    ink: Ink,
}

impl Screen {
    fn show(&self, happening: &Happening) {
        match happening {
            Happening::Connected { connection, peer } => self.event(*connection, &arrival(*peer)),
            Happening::Line { connection, line } => self.line(*connection, line),
            Happening::Stored(message) => {
                show_message(&format!("[{}] ", message.connection), message);
            }
            Happening::Disconnected { connection } => self.event(*connection, "disconnected"),
        }
    }

    fn event(&self, connection: u64, text: &str) {
        let text = format!("[{connection}] -- {text}");
        terminal::line(self.ink.paint(Tint::Faint, text));
    }

    fn line(&self, connection: u64, line: &Line) {
        let (tint, mark, text) = match line {
            Line::Client(text) => (Tint::Client, "C:", text),
            Line::Server(text) => (Tint::Server, "S:", text),
            Line::Note(text) => (Tint::Faint, "--", text),
        };
        let text = format!("[{connection}] {mark} {text}");
        terminal::line(self.ink.paint(tint, text));
    }
}

fn arrival(peer: Option<SocketAddr>) -> String {
    match peer {
        Some(peer) => format!("connected from {peer}"),
        None => "connected by the Unix socket".to_owned(),
    }
}

/// A terminal obeys control characters: none that a client sent gets there.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Lines of a message that are shown.
const SHOWN_LINES: usize = 60;
/// Characters of a line that are shown.
const SHOWN_COLUMNS: usize = 400;
