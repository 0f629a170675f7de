//! aiosmtpd: a server without PIPELINING and enhanced status codes, in Python.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::server::{Fixture, NoServer, Recipe};

pub(crate) static FIXTURE: Fixture = Fixture::new(
    "aiosmtpd",
    Recipe {
        command,
        ports,
        stored,
    },
);

fn command(folder: &Path) -> Result<Command, NoServer> {
    let python = std::env::var_os("EHLO_PYTHON").unwrap_or_else(|| "python3".into());
    let import = Command::new(&python)
        .args(["-c", "import aiosmtpd.smtp"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !import.is_ok_and(|status| status.success()) {
        return Err(NoServer::Missing(
            "this Python has no aiosmtpd; EHLO_PYTHON may name another",
        ));
    }
    let mut command = Command::new(python);
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/servers/serve_aiosmtpd.py"
        ))
        .arg(folder);
    Ok(command)
}

fn ports(_: &Command, printed: &str) -> Option<[u16; 3]> {
    let ports: Vec<u16> = printed
        .split_whitespace()
        .filter_map(|port| port.parse().ok())
        .collect();
    ports.try_into().ok()
}

/// The file is complete before the server answers.
fn stored(folder: &Path, sender: &str) -> Option<Vec<u8>> {
    std::fs::read(folder.join("mail").join(sender)).ok()
}
