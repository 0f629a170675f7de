//! The project's transcripts, played against any program that sends mail.
//!
//! A transcript says what a server says to the engine, turn by turn. Here its answers are taken apart,
//! one a command, so that another client may take its own way through them: other names, no
//! PIPELINING, RSET and NOOP in between, HELO as a second try. What it says is judged command by command
//! ([`watch`]), and at the end by what it told whoever started it ([`judge`]): success where nobody
//! has the mail, or a failure where somebody has it.
//!
//! What cannot be judged from outside is told apart with the reason ([`transcript`]): what takes
//! minutes, what a command line cannot ask for, what only the engine's own events show.
//!
//! Reading order: `case` (what a transcript wants, and its answers), `transcript` (reads them), `ear`
//! (octets to commands), `server` and `watch` with `forms` and `scram` (one connection), `client` (the program),
//! `judge` (one run), `table` (by rule), `page` (HTML).

mod case;
mod client;
mod ear;
mod files;
mod forms;
mod judge;
mod page;
mod rules;
mod scram;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod transcript;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use case::{Case, Handshake, Played};
pub(crate) use client::Template;
use judge::Judged;
pub(crate) use page::page;
use server::{Conversation, serve};
pub(crate) use table::{Row, RuleVerdict, Table};

use crate::sandbox::CertificateOptions;
use crate::sandbox::script::Certificate;

/// How the transcripts are played.
pub(crate) struct Examination {
    pub(crate) template: Template,
    /// Only transcripts whose name has this, or that cite the rule of this name.
    pub(crate) only: Option<String>,
    /// The longest a client may take for one.
    pub(crate) timeout: Duration,
    /// Transcripts played at a time.
    pub(crate) parallel: usize,
    /// Is told after each of them: how many are done, of how many.
    pub(crate) progress: fn(usize, usize),
}

impl Examination {
    /// Plays them all.
    pub(crate) async fn run(self) -> io::Result<Table> {
        let hall = Arc::new(Hall::open(self.template, self.timeout)?);
        let places = Arc::new(Semaphore::new(self.parallel.max(1)));
        let mut runs = JoinSet::new();
        let mut judged = Vec::new();
        for played in transcript::all() {
            if !self.only.as_deref().is_none_or(|only| played.matches(only)) {
                continue;
            }
            let case = match played {
                Played::Outside(case) => case,
                Played::Inside(inside) => {
                    judged.push(Judged::inside(inside));
                    continue;
                }
            };
            let (hall, places) = (Arc::clone(&hall), Arc::clone(&places));
            runs.spawn(async move {
                let _place = places.acquire_owned().await.map_err(io::Error::other)?;
                hall.examine(*case).await
            });
        }
        let total = runs.len();
        while let Some(run) = runs.join_next().await {
            judged.push(run.map_err(io::Error::other)??);
            (self.progress)(total - runs.len(), total);
        }
        judged.sort_by(|one, other| one.name.cmp(other.name));
        Ok(Table::of(judged))
    }
}

/// Where the runs take place: certificates, and a folder for their files.
struct Hall {
    template: Template,
    timeout: Duration,
    certificates: Certificates,
    folder: client::Folder,
}

/// What the servers show.
pub(crate) struct Certificates {
    good: Certificate,
    stranger: Certificate,
    other_name: Certificate,
}

impl Certificates {
    fn make() -> io::Result<Self> {
        let ours = CertificateOptions::default().with_names(["localhost", HOST]);
        Ok(Self {
            good: Certificate::make(&ours)?,
            stranger: Certificate::make(&ours)?,
            other_name: Certificate::make(
                &CertificateOptions::default().with_names(["elsewhere.example"]),
            )?,
        })
    }

    /// What a client is told to trust.
    fn trusted(&self) -> String {
        [self.good.pem(), self.other_name.pem()].concat()
    }

    fn of(&self, handshake: Handshake) -> &Certificate {
        match handshake {
            Handshake::Good | Handshake::Noise => &self.good,
            Handshake::Stranger => &self.stranger,
            Handshake::OtherName => &self.other_name,
        }
    }
}

impl Hall {
    fn open(template: Template, timeout: Duration) -> io::Result<Self> {
        let certificates = Certificates::make()?;
        let folder = client::Folder::make(&certificates.trusted())?;
        Ok(Self {
            template,
            timeout,
            certificates,
            folder,
        })
    }

    async fn examine(self: Arc<Self>, case: Case) -> io::Result<Judged> {
        if let Some(reason) = self.template.lacks(&case.wants) {
            return Ok(Judged::not_applicable(&case, reason));
        }
        let listener = TcpListener::bind((HOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let case = Arc::new(case);
        let message = self.folder.message(case.name, &case.wants.message)?;
        let running = self
            .template
            .start(&case.wants, port, &message, &self.folder)?;

        let mut connections = JoinSet::new();
        let mut conversations: Vec<Conversation> = Vec::new();
        let end = {
            let mut running = std::pin::pin!(running.end(self.timeout));
            loop {
                tokio::select! {
                    end = &mut running => break end?,
                    Ok((stream, _)) = listener.accept() => {
                        let (hall, case) = (Arc::clone(&self), Arc::clone(&case));
                        let number = connections.len() + conversations.len();
                        connections.spawn(async move {
                            (number, serve(stream, &case, &hall.certificates).await)
                        });
                    }
                }
            }
        };
        let mut numbered = Vec::new();
        // The client is gone: what it sent last is read, and that was all.
        let _ = tokio::time::timeout(LINGER, async {
            while let Some(connection) = connections.join_next().await {
                numbered.extend(connection);
            }
        })
        .await;
        numbered.sort_by_key(|(number, _)| *number);
        conversations.extend(numbered.into_iter().map(|(_, conversation)| conversation));
        Ok(judge::judge(&case, &conversations, &end))
    }
}

/// Where the servers listen.
const HOST: &str = "127.0.0.1";

/// How long the servers read on behind a client's end.
const LINGER: Duration = Duration::from_secs(5);
