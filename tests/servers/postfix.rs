//! Postfix 3.6 or later, with Dovecot for its password questions. Needs root.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::server::{Fixture, NoServer, Recipe};

pub(crate) static FIXTURE: Fixture = Fixture::new(
    "postfix",
    Recipe {
        command,
        ports,
        stored,
    },
);

fn command(folder: &Path) -> Result<Command, NoServer> {
    let needed = [
        "/usr/sbin/postfix",
        "/usr/sbin/dovecot",
        "/usr/share/postfix/master.cf.dist",
    ];
    if !needed.iter().all(|path| Path::new(path).exists()) {
        return Err(NoServer::Missing(
            "the packages postfix and dovecot-core are not installed",
        ));
    }
    // The folder was made by this process, so its owner is the user that runs it.
    if !std::fs::metadata(folder).is_ok_and(|folder| folder.uid() == 0) {
        return Err(NoServer::Missing("Postfix can be started by root only"));
    }
    let mut command = Command::new("/bin/sh");
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/servers/serve_postfix.sh"
        ))
        .arg(folder)
        .args(free_ports()?.map(|port| port.to_string()));
    Ok(command)
}

/// Postfix cannot be told to take any port, so three free ones are looked for, all at once.
fn free_ports() -> Result<[u16; 3], NoServer> {
    let find = || -> std::io::Result<[u16; 3]> {
        let listeners = [
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
        ];
        let mut ports = [0; 3];
        for (port, listener) in ports.iter_mut().zip(&listeners) {
            *port = listener.local_addr()?.port();
        }
        Ok(ports)
    };
    find().map_err(|error| NoServer::Broken(format!("there are no free ports: {error}")))
}

fn ports(command: &Command, _: &str) -> Option<[u16; 3]> {
    let ports: Vec<u16> = command
        .get_args()
        .skip(2)
        .filter_map(|argument| argument.to_str()?.parse().ok())
        .collect();
    ports.try_into().ok()
}

/// Finds the message in alice's Maildir by the Return-Path that Postfix puts on top, and takes the
/// trace off. Postfix ends lines with LF alone.
fn stored(folder: &Path, sender: &str) -> Option<Vec<u8>> {
    let first = format!("Return-Path: <{sender}>\n");
    let mut found = None;
    for entry in std::fs::read_dir(folder.join("mail/alice/new")).ok()? {
        let message = std::fs::read(entry.ok()?.path()).ok()?;
        if message.starts_with(first.as_bytes()) {
            assert!(found.is_none(), "two messages are from {sender}");
            found = Some(message);
        }
    }
    let message = found?;
    let mut wire = Vec::with_capacity(message.len() + message.len() / 32);
    for &byte in below_trace(&message) {
        if byte == b'\n' {
            wire.push(b'\r');
        }
        wire.push(byte);
    }
    Some(wire)
}

/// What lies below Return-Path, X-Original-To, Delivered-To and Received, with the lines that
/// continue the last.
fn below_trace(message: &[u8]) -> &[u8] {
    let mut rest = message;
    for field in [
        "Return-Path:",
        "X-Original-To:",
        "Delivered-To:",
        "Received:",
    ] {
        assert!(rest.starts_with(field.as_bytes()), "{field} is missing");
        loop {
            let end = rest.iter().position(|&byte| byte == b'\n');
            rest = end.map_or(&[][..], |end| &rest[end + 1..]);
            if !rest.starts_with(b"\t") {
                break;
            }
        }
    }
    rest
}
