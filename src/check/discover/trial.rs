//! A connection that shows whether settings work, and of what server.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::recorder::Recorder;
use super::super::search::bare;
use super::super::server::Server;
use super::super::step::Step;
use crate::error::Error;
use crate::net::client::Client;
use crate::net::config::ClientConfig;
use crate::providers::Endpoint;

/// What a trial has found.
pub(super) struct Trial {
    pub(super) server: Server,
    pub(super) steps: Vec<Step>,
    pub(super) offers_login: bool,
}

impl Trial {
    /// Tries an endpoint the way that the configuration goes, with its trust and its policy for
    /// addresses.
    ///
    /// # Errors
    /// Why there is no session.
    pub(super) async fn of(
        endpoint: &Endpoint,
        config: &ClientConfig,
        longest: Duration,
    ) -> Result<Self, Error> {
        let config = bare(endpoint, config, longest);
        let (tell, _) = mpsc::unbounded_channel();
        let recorder = Recorder::new(config.clone(), tell, Instant::now().into_std());
        let recorder = Arc::new(recorder);
        let watcher: Arc<Recorder> = Arc::clone(&recorder);
        let client = Client::connect(config.clone().with_watcher(watcher)).await?;
        let session = client.session();
        let mut server = Server::new(&config).with_session(&session);
        server.address = recorder.address();
        // Dropped, the client says QUIT.
        Ok(Self {
            server,
            steps: recorder.steps(),
            offers_login: session.extensions().offers("AUTH"),
        })
    }
}
