//! What can be written on the command line: names, help, and which options exclude each other.
//! What the values mean is decided where they are used.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::server::Secret;

/// Sends mail over SMTP, and shows exactly what happened.
#[derive(Parser)]
#[command(name = "ehlo", version, after_help = TOP_EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Send messages to a server
    #[command(after_help = SEND_EXAMPLES)]
    Send(Box<SendArguments>),
    /// Go through every step of a connection, and say what is wrong
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Box<CheckArguments>),
    /// Run a server that accepts mail, shows it, and misbehaves when told to
    #[command(after_help = SANDBOX_EXAMPLES)]
    Sandbox(Box<SandboxArguments>),
    /// Examine another program that sends mail, rule by rule
    #[command(after_help = CONFORMANCE_EXAMPLES)]
    Conformance(ConformanceArguments),
}

#[derive(Args)]
pub(crate) struct SendArguments {
    #[command(flatten)]
    pub(crate) envelope: EnvelopeArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    #[command(flatten)]
    pub(crate) extensions: ExtensionArguments,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
    /// Send several messages over up to so many connections at a time [default: 1]
    #[arg(long, value_name = "NUMBER", help_heading = "Server")]
    pub(crate) connections: Option<NonZeroUsize>,
    /// Print one JSON document (one a line for several messages) instead of text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct CheckArguments {
    /// Address that is to send [default: the user name, if it is an address]
    #[arg(long, value_name = "ADDRESS", help_heading = "Check")]
    pub(crate) from: Option<String>,
    /// Send a test mail to this address
    #[arg(long, value_name = "ADDRESS", help_heading = "Check")]
    pub(crate) send_to: Option<String>,
    /// Longest time for everything, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "30",
        help_heading = "Check"
    )]
    pub(crate) deadline: String,
    /// Find settings that work, for an address or a domain; nobody logs in, and nothing is sent
    #[arg(long, value_name = "ADDRESS", help_heading = "Check")]
    #[arg(conflicts_with_all = ["server", "host", "settings", "username", "password", "from", "send_to"])]
    pub(crate) discover: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
    /// Print one JSON document instead of text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Envelope")]
pub(crate) struct EnvelopeArguments {
    /// Return address, and the From header of a composed message
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<String>,
    /// Recipient; may be given many times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Vec<String>,
    /// Return address if not the sender; '' is the null path of automatic mail
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) envelope_from: Option<String>,
    /// Send to every recipient or to none
    #[arg(long)]
    pub(crate) all_or_nothing: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Message")]
pub(crate) struct MessageArguments {
    /// Complete message, - for standard input; or a folder or an mbox of them; may be given many
    /// times
    #[arg(long, value_name = "FILE", conflicts_with_all = ["subject", "text", "html", "attach"])]
    pub(crate) message: Vec<PathBuf>,
    /// Subject of a composed message
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Its plain text
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// Its text in HTML
    #[arg(long)]
    pub(crate) html: Option<String>,
    /// File to attach; may be given many times
    #[arg(long, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,
    /// The sender's name, of a settings file.
    #[arg(skip)]
    pub(crate) from_name: Option<String>,
    /// Make a bare CR or LF a CRLF, or refuse the message
    #[arg(long, value_name = "normalise|reject", default_value = "normalise")]
    #[arg(hide_possible_values = true)]
    pub(crate) bare_newlines: BareNewlinesRule,
    /// Lines beyond 998 octets, which some servers fold or refuse
    #[arg(
        long,
        value_name = "send|reject",
        default_value = "send",
        hide_possible_values = true
    )]
    pub(crate) long_lines: LongLinesRule,
}

/// What the server is asked for besides delivery.
#[derive(Args)]
#[command(next_help_heading = "Extensions")]
pub(crate) struct ExtensionArguments {
    /// Report on these occasions: never, or of success,failure,delay
    #[arg(long, value_name = "WHEN")]
    pub(crate) dsn_notify: Option<String>,
    /// What a report of failure returns: full or hdrs
    #[arg(long, value_name = "WHAT")]
    pub(crate) dsn_ret: Option<String>,
    /// Name of the message in reports
    #[arg(long, value_name = "TEXT")]
    pub(crate) dsn_envid: Option<String>,
    /// Send over TLS to verified servers alone, all the way to the recipient
    #[arg(long)]
    pub(crate) require_tls: bool,
    /// Use SMTPUTF8 where something needs it, for every message, or not at all. Where only the
    /// headers of a MIME part need it, say always: they are not looked at
    #[arg(long, value_name = "auto|always|never", default_value = "auto")]
    #[arg(hide_possible_values = true)]
    pub(crate) smtputf8: SmtpUtf8Rule,
    /// Return the message if it is not delivered in so many seconds
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) deliver_by: Option<String>,
    /// Let the server hold the message for so many seconds
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) hold_for: Option<String>,
    /// Priority from -9 to 9, as in --priority=-4
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) priority: Option<String>,
    /// Any other parameter of MAIL; may be given many times
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) mail_param: Vec<String>,
    /// Any other parameter of each RCPT; may be given many times
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) rcpt_param: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SmtpUtf8Rule {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BareNewlinesRule {
    Normalise,
    Reject,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LongLinesRule {
    Send,
    Reject,
}

/// The same for every command that connects.
#[derive(Args)]
pub(crate) struct ConnectionArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    #[command(flatten)]
    pub(crate) login: LoginArguments,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
    #[command(flatten)]
    pub(crate) route: RouteArguments,
    #[command(flatten)]
    pub(crate) dialogue: DialogueArguments,
}

#[derive(Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArguments {
    /// smtp://[USER@]HOST[:PORT]   STARTTLS required, port 587
    /// smtps://[USER@]HOST[:PORT]  TLS from the first octet, port 465
    /// lmtp://HOST:PORT            LMTP into a mail store, in clear unless --encryption says otherwise
    /// lmtp+unix:/PATH             the same to a Unix socket
    /// sandbox:                    the built-in server, started for this command
    #[arg(long, value_name = "URL", conflicts_with_all = ["host", "port"])]
    #[arg(verbatim_doc_comment)]
    pub(crate) server: Option<String>,
    /// File in TOML or JSON with the fields of a settings form: sender_email, from_name, host, port,
    /// encryption, username, password, validate_certificate, certificate_sha256; options go before it
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Name or address of the server
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Its port [default: by the encryption: 587, 465, 25, 25]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// starttls, tls, none or opportunistic [default: tls on port 465, else starttls]
    #[arg(long, value_name = "MODE", hide_possible_values = true)]
    pub(crate) encryption: Option<Encryption>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encryption {
    Starttls,
    Tls,
    None,
    Opportunistic,
}

#[derive(Args)]
#[command(next_help_heading = "Log-in")]
pub(crate) struct LoginArguments {
    /// Name of the account; with one of the next five options
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Environment variable that holds the password
    #[arg(long, value_name = "VAR", group = "password")]
    pub(crate) password_env: Option<String>,
    /// File that holds the password; one line end after it is dropped
    #[arg(long, value_name = "FILE", group = "password")]
    pub(crate) password_file: Option<PathBuf>,
    /// Read the password from standard input
    #[arg(long, group = "password")]
    pub(crate) password_stdin: bool,
    /// Environment variable that holds an OAuth 2.0 access token
    #[arg(long, value_name = "VAR", group = "password")]
    pub(crate) token_env: Option<String>,
    /// File that holds an OAuth 2.0 access token; one line end after it is dropped
    #[arg(long, value_name = "FILE", group = "password")]
    pub(crate) token_file: Option<PathBuf>,
    /// Use only these SASL mechanisms, in this order, of SCRAM-SHA-256-PLUS, SCRAM-SHA-256,
    /// OAUTHBEARER, XOAUTH2, EXTERNAL, PLAIN, LOGIN and CRAM-MD5
    #[arg(long, value_name = "MECHANISM", value_delimiter = ',')]
    pub(crate) auth: Vec<String>,
    /// Let the password travel without TLS, readable on the way (a token never does)
    #[arg(long)]
    pub(crate) allow_plaintext_auth: bool,
    /// The password of a settings file.
    #[arg(skip)]
    pub(crate) password: Option<Secret>,
}

#[derive(Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArguments {
    /// Whether the server must prove who it is, true or false [default: true]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, hide_possible_values = true)]
    pub(crate) validate_certificate: Option<bool>,
    /// Short for --validate-certificate false
    #[arg(long)]
    pub(crate) insecure: bool,
    /// File with root certificates to trust besides the usual ones
    #[arg(long, value_name = "PEM")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Accept exactly the certificate with this SHA-256 fingerprint
    #[arg(long, value_name = "HEX", conflicts_with_all = ["insecure", "ca_file", "roots"])]
    pub(crate) pin_sha256: Option<String>,
    /// File with a certificate of this client, and those that it was signed by
    #[arg(long, value_name = "PEM", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// File with its private key
    #[arg(long, value_name = "PEM", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
    /// The system's, or Mozilla's [default: native, webpki if it has none]
    #[arg(long, value_name = "native|webpki", hide_possible_values = true)]
    pub(crate) roots: Option<Roots>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Roots {
    Native,
    Webpki,
}

#[derive(Args)]
#[command(next_help_heading = "Way to the server")]
pub(crate) struct RouteArguments {
    /// Go through this proxy: socks5://[USER:PASSWORD@]HOST[:PORT], or http://… for CONNECT
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Address of this machine to connect from
    #[arg(long, value_name = "IP")]
    pub(crate) source_address: Option<IpAddr>,
    /// Connect to public addresses only, never to loopback, private, link-local and their like
    #[arg(long)]
    pub(crate) public_only: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Dialogue")]
pub(crate) struct DialogueArguments {
    /// Name to give in EHLO [default: this machine's, or an address literal]
    #[arg(long, value_name = "NAME")]
    pub(crate) helo: Option<String>,
    /// Longest time to connect, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) connect_timeout: Option<String>,
    /// Longest wait for any reply, in seconds [default: by step]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<String>,
    /// Send one command at a time though the server offers PIPELINING
    #[arg(long)]
    pub(crate) no_pipelining: bool,
    /// Send messages by DATA though the server offers CHUNKING
    #[arg(long)]
    pub(crate) no_chunking: bool,
    /// Begin the next message before the reply to BDAT LAST
    #[arg(long, conflicts_with_all = ["no_pipelining", "no_chunking"])]
    pub(crate) overlap: bool,
    /// Write the dialogue here, - for standard output; credentials are always masked
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct SandboxArguments {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2525")]
    pub(crate) listen: SocketAddr,
    /// TLS from the first octet instead of STARTTLS
    #[arg(long)]
    pub(crate) tls: bool,
    /// Speak LMTP, with a reply for each recipient behind the message
    #[arg(long)]
    pub(crate) lmtp: bool,
    /// Take no mail before a log-in
    #[arg(long)]
    pub(crate) require_auth: bool,
    /// SASL mechanisms on offer, of those of 'ehlo send' [default: PLAIN,LOGIN]
    #[arg(long, value_name = "MECHANISM", value_delimiter = ',')]
    pub(crate) auth: Vec<String>,
    /// A way to misbehave; may be given many times (see below)
    #[arg(long, value_name = "FAULT")]
    pub(crate) fault: Vec<String>,
    /// Write the server's certificate here, for --ca-file
    #[arg(long, value_name = "FILE")]
    pub(crate) write_ca: Option<PathBuf>,
    /// Write a client's certificate for alice and its key here, for --client-cert, --client-key and
    /// --auth EXTERNAL
    #[arg(long, value_name = "FILE")]
    pub(crate) write_client: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ConformanceArguments {
    /// Command that sends {message} to {host} {port}, with placeholders (see below)
    #[arg(long, value_name = "COMMAND")]
    pub(crate) client: String,
    /// Only transcripts with this in their name, or that cite this rule
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the result here as a page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Longest time for one message, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub(crate) timeout: u64,
    /// Transcripts played at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    pub(crate) parallel: usize,
}

const TOP_EXAMPLES: &str = "\
Try it, with nothing else installed:
  ehlo send --server sandbox:

'ehlo send --help', 'ehlo check --help' and 'ehlo sandbox --help' show all options, with examples.";

const CONFORMANCE_EXAMPLES: &str = "\
Placeholders:
  {host} {port}      where the server listens      {from} {to}  sender, recipient
  {message}          file with the message         {ca}         file with certificates to trust
  {encryption}       none, starttls, tls or opportunistic
  {scheme}           smtp, smtps or lmtp
  {user} {password} {token} {mechanisms}   what to log in with; empty where not wanted
  {password-env} {token-env}               PASSWORD and TOKEN, variables that hold them
  [ words ]          left out where a placeholder in them is empty
  [ words ]...       once for each recipient
What the command has no placeholder for is not asked of it. It is run without a shell, must exit with
0 if and only if the server took the message, and with 64 for what it cannot do at all.

Examples:
  ehlo conformance --client 'curl -sS smtp://{host}:{port}/client.example --mail-from {from}
       [ --mail-rcpt {to} ]... --upload-file {message}'
  ehlo conformance --only R-3207-3 --client './my-client.sh {port} {encryption} {to} {message}'

Exit status:
   0  no rule was broken    1  some were    64  wrong use of options";

const SEND_EXAMPLES: &str = "\
Examples:
  Try it on the built-in server; the dialogue is shown:
    ehlo send --server sandbox:
  A notice, through a provider (the password is asked of the environment):
    ehlo send --server smtp://jo@mail.example.org --password-env MAIL_PASSWORD \\
         --from jo@example.org --to ann@example.com --subject Hello --text 'It works.'
  A finished message as it is, to two recipients, all or nothing:
    ehlo send --server smtps://mail.example.org --from jo@example.org \\
         --to ann@example.com --to bob@example.com --all-or-nothing --message letter.eml
  By an OAuth 2.0 access token, from a file that is kept fresh by something else:
    ehlo send --server smtp://jo@mail.example.org --token-file token \\
         --from jo@example.org --to ann@example.com --subject Hello --text 'It works.'
  All messages of a folder, by four connections at a time:
    ehlo send --server smtp://jo@mail.example.org --password-env MAIL_PASSWORD \\
         --from jo@example.org --to archive@example.com --message letters/ --connections 4
  To a server on this machine, without TLS, with the dialogue and a result for a script:
    ehlo send --host localhost --encryption none --from jo@example.org \\
         --to ann@example.com --message - --trace dialogue.txt --json < letter.eml

Exit status:
   0  sent, to all recipients or to some
   1  refused for good
  64  wrong use of options          65  malformed address or message
  66  a file cannot be read         68  host name not found
  69  no connection                 75  failed for now, or in doubt: see the output
  76  protocol or TLS error         77  not logged in
  78  a settings file cannot be used";

const CHECK_EXAMPLES: &str = "\
Nothing is sent to anybody without --send-to: the last step is MAIL, taken back by RSET.

Examples:
  See what it looks like, on the built-in server:
    ehlo check --server sandbox:
  An account, up to the question whether its address may send:
    ehlo check --server smtp://jo@mail.example.org --password-env MAIL_PASSWORD \\
         --from jo@example.org
  Settings, where only the address is known:
    ehlo check --discover jo@example.org
  An account and a test mail:
    ehlo check --server smtp://jo@mail.example.org --password-env MAIL_PASSWORD \\
         --from jo@example.org --send-to ann@example.com

Exit status: 0 if every step came to a good end, else as of 'ehlo send'.";

const SANDBOX_EXAMPLES: &str = "\
Faults:
  ACT@STEP[#N | :ADDRESS][=ARGUMENT]
    ACT   close, reset, truncate, stall, freeze, shutdown, split, garbage, inject,
          reply=REPLY, delay=SECONDS
    STEP  greeting, ehlo, starttls, handshake, auth, mail, rcpt, data, content, body, rset, quit
    #N    only the n-th time; with mail and rcpt, :ADDRESS only for that address
  split, refuse-behind-body, close-pipelined,
  scram-wrong-signature, scram-no-signature, scram-wrong-nonce, scram-few-iterations,
  starttls-stripped, starttls-masked
  banner=imap | pop3 | http | ssh | ftp | tls
  certificate=expired | not-yet-valid | wrong-name | self-signed | unknown-issuer |
              incomplete-chain
  tls=old | no-cipher | unknown-name | garbage | client-certificate

Examples:
  ehlo sandbox
  ehlo sandbox --listen 127.0.0.1:0 --tls --require-auth --write-ca sandbox.pem
  ehlo sandbox --fault 'reply@rcpt:bob@example.org=550 5.1.1 no such user'
  ehlo sandbox --fault close@body#1 --fault delay@greeting=2.5
  ehlo sandbox --fault certificate=expired";
