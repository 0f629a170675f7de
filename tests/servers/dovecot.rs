//! Dovecot's LMTP server: a real mail store that takes a message for some of its recipients.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::server::{Fixture, NoServer, Recipe};

pub(crate) static FIXTURE: Fixture = Fixture::new(
    "dovecot",
    Recipe {
        command,
        ports,
        stored,
    },
);

fn command(folder: &Path) -> Result<Command, NoServer> {
    let needed = ["/usr/sbin/dovecot", "/usr/lib/dovecot/lmtp"];
    if !needed.iter().all(|path| Path::new(path).exists()) {
        return Err(NoServer::Missing(
            "the packages dovecot-core and dovecot-lmtpd are not installed",
        ));
    }
    // The folder was made by this process, so its owner is the user that runs it.
    if !std::fs::metadata(folder).is_ok_and(|folder| folder.uid() == 0) {
        return Err(NoServer::Missing("Dovecot is started by root only"));
    }
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = listener
        .map_err(|error| NoServer::Broken(format!("there is no free port: {error}")))?
        .port();
    let mut command = Command::new("/bin/sh");
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/servers/serve_dovecot.sh"
        ))
        .arg(folder)
        .arg(port.to_string());
    Ok(command)
}

/// It has one port, in clear.
fn ports(command: &Command, _: &str) -> Option<[u16; 3]> {
    let port = command.get_args().nth(2)?.to_str()?.parse().ok()?;
    Some([port; 3])
}

/// Finds the message in alice's Maildir by the Return-Path that Dovecot puts on top, and takes that
/// and the rest of the trace off. Dovecot ends lines with LF alone.
fn stored(folder: &Path, sender: &str) -> Option<Vec<u8>> {
    let first = format!("Return-Path: <{sender}>\n");
    for entry in std::fs::read_dir(folder.join("mail/alice/new")).ok()? {
        let message = std::fs::read(entry.ok()?.path()).ok()?;
        let text = String::from_utf8_lossy(&message).into_owned();
        if text.starts_with(&first) {
            let below = text.split_once("\nSubject:")?.1;
            return Some(
                format!("Subject:{below}")
                    .replace('\n', "\r\n")
                    .into_bytes(),
            );
        }
    }
    None
}
