//! The engine.
//!
//! What is absent here, and held absent by a test: sockets, clocks, tasks, threads, files, the
//! environment, randomness, logging, and `async`. Time comes in as an argument, octets go in and
//! out, and everything else is an [`Event`].
//!
//! The rules of the protocol, and what shows that each is kept, are a page of their own: [`rules`].
//!
//! # Where a server does not keep its word
//!
//! What comes of it when an extension is refused, misspelt or half there. An error is given as
//! [category](crate::Category) at [stage](crate::Stage); *not sent*, *refused*, *deferred* and *in
//! doubt* are [verdicts](crate::Verdict), behind which the session goes on. The last column names
//! what shows it: a dialogue in `testdata/transcripts`, or a test of the driver.
//!
//! | the server | what comes of it | shown by |
//! | --- | --- | --- |
//! | does not list CHUNKING | DATA | `chunking/not_on_offer` |
//! | lists BINARYMIME or CHUNKING alone | binary content is not sent: `usage` at `mail` | `chunking/binary_without_chunking`, `chunking/binary_without_binarymime` |
//! | may want TLS or a log-in before MAIL | its first message waits until MAIL and RCPT are accepted | `chunking/not_before_the_server_lets_us`, `chunking/no_login_where_it_may_be_demanded` |
//! | refuses a chunk | refused; RSET, and the next message | `chunking/refused_chunk`, `chunking/message_refused` |
//! | refuses a chunk that is on its way | the chunk is completed, then RSET | `chunking/refused_chunk_early` |
//! | does not know BDAT (502, and reads on) | refused; `protocol` at `body` ends the session | `chunking/not_understood` |
//! | answers BDAT by 354 | in doubt; `protocol` at `body` ends the session | `chunking/intermediate_to_a_chunk` |
//! | takes one message at a time where overlapping was asked for | what it refused is sent again, one after the other | `chunking/overlapping_not_there` |
//! | refuses MAIL behind a message, and takes the message | in doubt; `protocol` at `body` ends the session | `chunking/overlapping_taken_against_its_word` |
//! | lists no mechanism that will do, or no AUTH | `auth-unavailable` at `auth` | `auth/no_mechanism_in_common`, `auth/not_offered` |
//! | lists mechanisms as `AUTH=` | read as `AUTH` | `auth/legacy_line` |
//! | bars or does not know a mechanism that it lists (534, 504) | the next one; `authentication` at `auth` behind the last | `auth/mechanism_too_weak`, `auth/mechanism_unknown_after_all`, `auth/scram_unknown_after_all` |
//! | refuses the password (535) | `authentication` at `auth`, no second try | `auth/refused`, `auth/scram_refused` |
//! | refuses a token by a challenge | the challenge is answered; a fresh token if the caller has one, `authentication` at `auth` if not | `auth/oauthbearer_refused`, `auth/xoauth2_refused`, `auth/token_renewed` |
//! | says 235 where the refusal is due, or refuses a token twice | `protocol` at `auth` | `auth/token_success_after_refusal`, `auth/token_refused_twice` |
//! | does not prove by SCRAM that it knows the password | `protocol` at `auth` | `auth/scram_success_without_proof`, `auth/scram_wrong_signature` |
//! | asks for too little or too much of SCRAM, or not in base64 | `protocol` at `auth` | `auth/scram_few_iterations`, `auth/scram_many_iterations`, `auth/scram_not_base64` |
//! | says 250 instead of 235, or asks for more than the mechanism has | `protocol` at `auth` | `auth/other_success_code`, `auth/unwanted_challenge` |
//! | had its -PLUS taken from the list on the way | it can tell, and refuses: `authentication` at `auth` | `a_server_whose_plus_was_hidden_on_the_way_finds_out` |
//! | lists no SMTPUTF8, the domain alone is beyond ASCII | A-labels | `extensions/utf8_a_labels` |
//! | lists no SMTPUTF8, one recipient needs it | that one is not sent to: `usage` at `rcpt`; in a message for all or for nobody, none is | `extensions/utf8_recipient_not_offered`, `extensions/utf8_recipient_all_or_nothing` |
//! | lists no SMTPUTF8, the sender or the headers need it | not sent: `usage` at `mail` | `extensions/utf8_sender_not_offered`, `extensions/utf8_headers_not_offered` |
//! | does not list the extension of a wish | the parameter is left out, and a [`Notice`] says so | `extensions/dsn_not_offered`, `extensions/priority_not_offered` |
//! | does not list that of a demand | not sent: `usage` at `mail` | `extensions/dsn_required`, `extensions/hold_not_offered` |
//! | lists an extension and refuses its parameter (555) | refused; the next message follows | `extensions/listed_and_refused` |
//! | states a limit that the message passes | not sent: `usage` at `mail` | `extensions/deliver_by_too_soon`, `extensions/hold_for_too_long`, `extensions/hold_until_too_late` |
//! | states a limit that is none (`SIZE 12Mb`, `DELIVERBY -1`) | no limit; the extension counts as listed | `data/limit_malformed`, `extensions/least_time_malformed` |
//! | takes a message with another priority | accepted; a [`Notice`] has its reply | `extensions/priority_changed` |
//! | lists no REQUIRETLS, or in clear alone | not sent: `usage` at `mail` | `extensions/require_tls_listed_in_clear_only`, `extensions/require_tls_in_clear` |
//! | lists REQUIRETLS, and its certificate was not verified | not sent: `usage` at `mail` | `extensions/require_tls_unverified` |
//! | states LIMITS | recipients or messages beyond them are not sent for now: `temporary`; the driver spreads recipients | `extensions/limits_recipients`, `extensions/limits_domains`, `extensions/limits_messages`, `extensions/limits_domains_all_or_nothing` |
//! | misspells a limit | that one does not count, those beside it do | `extensions/limits_malformed` |
//! | takes fewer recipients than it said, or did not say | deferred; the driver begins further transactions while each is of use | `pipelining/too_many_recipients`, `a_recipient_who_is_always_put_off_ends_it` |
//! | refuses some for now and others for good, and nobody has the message | `temporary` at `rcpt`, also where a recipient was left out and where it was for all or for nobody | `a_refusal_for_now_is_not_hidden_by_a_recipient_that_was_left_out`, `pipelining/all_or_nothing_refused_for_now` |
//! | takes fewer recipients than a message has, which is then to be the last | QUIT waits for the further transactions | `the_connection_is_not_closed_between_the_rounds_of_a_message` |
//! | decides for each recipient (LMTP), the message is for all or for nobody | not sent: `usage` at `mail` | `lmtp/all_or_nothing` |
//! | speaks SMTP where LMTP was asked for, or the reverse | `sender-refused` at `ehlo` | `lmtp/no_helo_behind_lhlo`, `smtp_is_not_spoken_to_an_lmtp_server` |
//! | invites a message of LMTP for nobody (354) | `protocol` at `data` ends the session: what it would answer is unknown | `lmtp/invited_without_recipients` |
//! | gives fewer replies than recipients, and ends or falls silent | the answered have their verdicts, the others are in doubt | `lmtp/lost_between_replies`, `lmtp/silence_between_replies`, `lmtp/closing_between_replies` |
//! | gives one reply too many | the verdicts stand; `protocol` ends the session | `lmtp/one_reply_too_many` |
//! | is a proxy that gives no way, or not for this log-in | `connection-refused`, `connection-timeout` or `authentication` at `connect`; never gone round | `a_socks_proxy_that_gives_no_way_is_told_by_category`, `an_http_proxy_that_gives_no_way_is_told_by_category`, `a_proxy_that_is_not_there_is_not_gone_round` |
//! | is a proxy that does not speak what it should | `protocol` at `connect` | `a_socks_proxy_that_gives_no_way_is_told_by_category`, `an_http_proxy_that_gives_no_way_is_told_by_category` |

pub(crate) mod address;
mod answers;
mod auth;
pub(crate) mod body;
mod command;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod dialogue;
pub(crate) mod dsn;
pub(crate) mod event;
pub(crate) mod evidence;
pub(crate) mod extensions;
mod fault;
mod framing;
mod grammar;
mod handshake;
pub(crate) mod labels;
pub(crate) mod limits;
mod link;
pub(crate) mod notice;
mod offers;
mod ongoing;
mod output;
pub(crate) mod params;
mod pipeline;
pub(crate) mod preflight;
mod refusal;
pub(crate) mod reply;
#[cfg(doc)]
#[doc = include_str!("rules.md")]
pub mod rules {}
pub(crate) mod sasl;
pub(crate) mod schedule;
pub(crate) mod session;
mod status;
mod stream;
pub(crate) mod timer;
pub(crate) mod transaction;

pub use body::{ContentFacts, Scanner};
pub use config::{
    BehindMessage, Chunking, Config, Context, InitialResponse, Limits, Login, Pipelining,
    PlaintextAuth, Protocol, SmtpUtf8, Unadvertised,
};
pub use connection::{BodyWriter, Connection};
pub use dialogue::{Entry, Observer};
pub use event::{Event, Stats};
pub use evidence::{
    Attempt, CertificateProblem, Evidence, RefusedCertificate, Resolution, Spoken, TlsProblem,
};
pub use extensions::Extensions;
pub use limits::ServerLimits;
pub use notice::Notice;
pub use preflight::{Effect, Need, Shortfall, preflight};
pub use reply::Class;
pub use sasl::{MechanismName, MechanismNameError};
pub use session::{
    Certificate, CertificateRole, ChannelBinding, Session, TlsSession, TransportError,
    TransportErrorKind, Verification,
};
pub use status::StatusMeaning;
pub use timer::Timeouts;
pub use transaction::{SubmitError, SubmitProblem, TransactionId};
