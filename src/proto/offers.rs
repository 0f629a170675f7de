//! What of a session bears on transactions: what the server offers, and what the caller makes of it.

use super::config::{Chunking, Config, Pipelining, Protocol, SmtpUtf8, Unadvertised};
use super::extensions::Extensions;
use super::limits::ServerLimits;
use super::link::Link;
use super::session::{Session, TlsSession};

/// What of the server's offers bears on transactions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    pub(crate) pipelining: Pipelining,
    pub(crate) size: Offer<u64>,
    pub(crate) eight_bit_mime: Offer<()>,
    pub(crate) smtputf8: Offer<()>,
    pub(crate) binarymime: Offer<()>,
    pub(crate) way: Way,
    pub(crate) protocol: Protocol,
    pub(crate) limits: ServerLimits,
    pub(crate) utf8_policy: SmtpUtf8,
    pub(crate) unadvertised: Unadvertised,
    pub(crate) peer: Peer,
    pub(crate) extensions: Extensions,
}

/// How messages travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// By DATA, once the server invites it.
    #[default]
    Data,
    /// By BDAT.
    Bdat,
}

/// What is known of who the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Peer {
    #[default]
    InClear,
    Unverified,
    Verified,
}

/// One extension, with what it limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Offer<L> {
    #[default]
    Absent,
    Unlimited,
    Limited(L),
}

impl Offers {
    pub(crate) fn new(session: &Session, config: &Config) -> Self {
        let extensions = session.extensions();
        let offer = |keyword| match extensions.offers(keyword) {
            true => Offer::Unlimited,
            false => Offer::Absent,
        };
        let pipelining = match extensions.offers("PIPELINING") {
            true => config.pipelining,
            false => Pipelining::Off,
        };
        let size = match (extensions.offers("SIZE"), extensions.size()) {
            (true, Some(limit)) => Offer::Limited(limit),
            (true, None) => Offer::Unlimited,
            (false, _) => Offer::Absent,
        };
        Self {
            pipelining,
            size,
            eight_bit_mime: offer("8BITMIME"),
            smtputf8: match config.smtputf8 {
                SmtpUtf8::WhereNeeded | SmtpUtf8::Always => offer("SMTPUTF8"),
                SmtpUtf8::Never => Offer::Absent,
            },
            binarymime: offer("BINARYMIME"),
            way: match (extensions.offers("CHUNKING"), config.chunking) {
                (true, Chunking::WhereOffered) => Way::Bdat,
                (true, Chunking::Off) | (false, _) => Way::Data,
            },
            protocol: config.protocol,
            limits: extensions.limits(),
            utf8_policy: config.smtputf8,
            unadvertised: config.unadvertised,
            peer: Peer::of(session.tls()),
            extensions: extensions.clone(),
        }
    }

    /// Whether a command may be sent now.
    #[inline]
    pub(crate) fn may_speak(&self, link: &Link) -> bool {
        match self.pipelining {
            Pipelining::Conservative | Pipelining::Groups | Pipelining::Overlapping => {
                link.has_window()
            }
            Pipelining::Off => link.is_idle(),
        }
    }
}

impl Peer {
    fn of(tls: Option<&TlsSession>) -> Self {
        match tls {
            None => Self::InClear,
            Some(tls) if tls.verification.is_verified() => Self::Verified,
            Some(_) => Self::Unverified,
        }
    }
}
