//! A server as a child process that says `ready` and stops when its standard input ends: so it
//! stops whatever happens to the tests, an interrupt or a crash included.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use ehlo::Security;
use ehlo::net::TlsOptions;
use libtest_mimic::{Completion, Failed, Trial};
use tempfile::TempDir;

use crate::certificates;

/// A server that is started when a case first asks for it.
pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    recipe: Recipe,
    state: OnceLock<Result<Server, NoServer>>,
}

/// How to start one kind of server, and where it puts mail.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    /// The command that serves from a folder with `server.pem` and `server.key` in it.
    pub(crate) command: fn(&Path) -> Result<Command, NoServer>,
    /// The ports, from what it printed behind `ready` and the arguments it was given.
    pub(crate) ports: fn(&Command, &str) -> Option<[u16; 3]>,
    /// The message of a sender, each line end as CRLF, once it is stored.
    pub(crate) stored: fn(&Path, &str) -> Option<Vec<u8>>,
}

/// Why a case cannot run.
#[derive(Clone, Debug)]
pub(crate) enum NoServer {
    /// What is not installed.
    Missing(&'static str),
    /// It is there, but does not start.
    Broken(String),
}

impl Fixture {
    pub(crate) const fn new(name: &'static str, recipe: Recipe) -> Self {
        Self {
            name,
            recipe,
            state: OnceLock::new(),
        }
    }

    /// A test of this server.
    pub(crate) fn trial(
        &'static self,
        name: &str,
        case: impl FnOnce(&Server) + Send + 'static,
    ) -> Trial {
        Trial::ignorable_test(format!("{}::{name}", self.name), move || {
            match self.state.get_or_init(|| Server::start(self.recipe)) {
                Ok(server) => {
                    case(server);
                    Ok(Completion::Completed)
                }
                Err(NoServer::Missing(what)) if std::env::var_os(REQUIRE).is_none() => {
                    Ok(Completion::ignored_with(what))
                }
                Err(NoServer::Missing(what)) => Err(Failed::from(*what)),
                Err(NoServer::Broken(why)) => Err(Failed::from(why)),
            }
        })
    }

    /// Stops the server, if it was started.
    pub(crate) fn stop(&self) {
        if let Some(Ok(server)) = self.state.get() {
            server.stop();
        }
    }
}

/// How a case connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Clear,
    StartTls,
    Implicit,
}

impl Mode {
    pub(crate) fn security(self) -> Security {
        match self {
            Self::Clear => Security::Plaintext,
            Self::StartTls => Security::StartTls,
            Self::Implicit => Security::Implicit,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::StartTls => "starttls",
            Self::Implicit => "implicit",
        }
    }
}

/// A running server with three ports: in clear and without AUTH; STARTTLS and AUTH required; TLS
/// from the first byte and AUTH required. It knows alice@example.test and refuses everybody else.
pub(crate) struct Server {
    folder: TempDir,
    ports: [u16; 3],
    ca_pem: String,
    stored: fn(&Path, &str) -> Option<Vec<u8>>,
    child: Mutex<Child>,
}

impl Server {
    fn start(recipe: Recipe) -> Result<Self, NoServer> {
        match Self::try_start(recipe) {
            // A port that was found to be free may be taken by the time the server wants it.
            Err(NoServer::Broken(_)) => Self::try_start(recipe),
            result => result,
        }
    }

    fn try_start(recipe: Recipe) -> Result<Self, NoServer> {
        let folder = tempfile::tempdir().map_err(|error| broken("a folder", &error))?;
        let ca_pem = certificates::make(folder.path()).map_err(|error| {
            NoServer::Broken(format!("the certificates cannot be made: {error}"))
        })?;
        let mut command = (recipe.command)(folder.path())?;
        let errors = std::fs::File::create(folder.path().join("stderr"))
            .map_err(|error| broken("a log", &error))?;
        // A group of its own: an interrupt at the terminal must not end it before it cleans up.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| broken("the server", &error))?;
        let line = first_line(&mut child);
        let ports = line
            .strip_prefix("ready")
            .and_then(|rest| (recipe.ports)(&command, rest));
        let Some(ports) = ports else {
            stop(&mut child);
            return Err(NoServer::Broken(format!(
                "the server does not start: it said {line:?}\n{}",
                logs(folder.path())
            )));
        };
        Ok(Self {
            folder,
            ports,
            ca_pem,
            stored: recipe.stored,
            child: Mutex::new(child),
        })
    }

    pub(crate) fn port(&self, mode: Mode) -> u16 {
        match mode {
            Mode::Clear => self.ports[0],
            Mode::StartTls => self.ports[1],
            Mode::Implicit => self.ports[2],
        }
    }

    /// TLS that trusts the authority of the server's certificate.
    pub(crate) fn tls(&self) -> TlsOptions {
        TlsOptions::default()
            .with_ca_pem(self.ca_pem.as_bytes())
            .expect("the certificate was made a moment ago")
    }

    /// The message from this sender, with line ends as they were on the wire. A server may store it
    /// some time after it has accepted it, and tells nobody when: this asks again until then.
    #[track_caller]
    pub(crate) fn stored(&self, sender: &str) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = (self.stored)(self.folder.path(), sender) {
                return message;
            }
            assert!(
                Instant::now() < deadline,
                "nothing was stored from {sender}\n{}",
                logs(self.folder.path())
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(&self) {
        let mut child = self
            .child
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        stop(&mut child);
        let _ = std::fs::remove_dir_all(self.folder.path());
    }
}

/// Ends its input and waits until it has cleaned up.
fn stop(child: &mut Child) {
    drop(child.stdin.take());
    let _ = child.wait();
}

/// The first line that it prints, or nothing if it has not printed any in time.
fn first_line(child: &mut Child) -> String {
    let Some(output) = child.stdout.take() else {
        return String::new();
    };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(output).read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(PATIENCE).unwrap_or_default();
    line.trim_end().to_owned()
}

fn logs(folder: &Path) -> String {
    ["stderr", "control.log", "dovecot.log", "postfix.log"]
        .iter()
        .filter_map(|name| std::fs::read_to_string(folder.join(name)).ok())
        .collect()
}

fn broken(what: &str, error: &std::io::Error) -> NoServer {
    NoServer::Broken(format!("{what} cannot be made: {error}"))
}

const REQUIRE: &str = "EHLO_REQUIRE_SERVERS";
const PATIENCE: Duration = Duration::from_secs(60);
