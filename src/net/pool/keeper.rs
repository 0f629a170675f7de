//! The task of each connection: it opens it, and closes it when its time has come.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::books::Books;
use super::desk::Server;
use crate::error::Error;
use crate::net::client::Client;

/// A connection's place in the books. Dropped, it is given up.
pub(super) struct Place {
    books: Arc<Books>,
    server: Arc<Server>,
    line: u64,
    /// Told when there may be nothing left to do for it.
    stop: Arc<Notify>,
    /// Why there is no connection.
    error: Option<Error>,
}

impl Place {
    pub(super) fn new(
        books: Arc<Books>,
        server: Arc<Server>,
        line: u64,
        stop: Arc<Notify>,
    ) -> Self {
        Self {
            books,
            server,
            line,
            stop,
            error: None,
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.books.gone(self, self.error.as_ref());
    }
}

/// Keeps a connection for as long as it is wanted.
pub(super) async fn keep(mut place: Place) {
    // Boxed, so that what connecting needs is not kept for as long as the connection is.
    let opening = Box::pin(open(&place));
    let opened = tokio::select! {
        biased;
        () = place.stop.notified() => return,
        opened = opening => opened,
    };
    let client = match opened {
        Ok(client) => client,
        Err(error) => {
            place.error = Some(error);
            return;
        }
    };
    place.books.ready(&place, client.clone());
    while let Some(until) = place.books.rest(&place) {
        tokio::select! {
            biased;
            _ = client.closed() => return,
            () = place.stop.notified() => {}
            () = sleep_until(until.into()) => {}
        }
    }
    // Its outcomes are told: how the good-bye goes changes nothing.
    let _ = client.close().await;
}

async fn open(place: &Place) -> Result<Client, Error> {
    let config = place.server.config().clone();
    match &place.books.options().observers {
        Some(observers) => Client::connect_observed(config, observers()).await,
        None => Client::connect(config).await,
    }
}
