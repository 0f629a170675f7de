//! A sandbox that misbehaves, a client that meets it, and what is diagnosed.

use std::time::Duration;

use ehlo::diagnosis::{Diagnosis, Situation};
use ehlo::net::{AddressPolicy, Proxy, TlsOptions, Trust};
use ehlo::proto::{Config, Pipelining, Timeouts};
use ehlo::sandbox::{Auth, Fault, Mechanism, Options, Sandbox, TlsMode};
use ehlo::{
    BareNewlines, Client, ClientConfig, Content, Credentials, Envelope, Error, Mailbox, Security,
};

use crate::net::closed_port;

/// How the client's settings differ from those that would work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum With {
    Host(&'static str),
    Encryption(Security),
    NoLogin,
    Password(&'static str),
    Token,
    AnotherPin,
    PublicOnly,
    ProxyThatIsNotThere,
    /// A port on which nothing listens.
    ClosedPort,
    Recipient(&'static str),
    /// A message of so many octets.
    Size(usize),
    /// Each command waits for the reply to the one before.
    OneByOne,
    /// Time-outs of a third of a second for the greeting, the handshake, or RCPT.
    ShortGreeting,
    ShortHandshake,
    ShortRcpt,
}

impl With {
    /// In the words of a settings form.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Host(host) => format!("host `{host}`"),
            Self::Encryption(Security::Implicit) => "encryption TLS".into(),
            Self::Encryption(Security::StartTls) => "encryption STARTTLS".into(),
            Self::Encryption(Security::Opportunistic) => "encryption where offered".into(),
            Self::Encryption(Security::Plaintext) => "encryption none".into(),
            Self::NoLogin => "no user name".into(),
            Self::Password(_) => "another password".into(),
            Self::Token => "a token that is not alice's".into(),
            Self::AnotherPin => "another certificate pinned".into(),
            Self::PublicOnly => "public addresses only".into(),
            Self::ProxyThatIsNotThere => "a proxy that does not run".into(),
            Self::ClosedPort => "a port on which nothing listens".into(),
            Self::Recipient(recipient) => format!("recipient `{recipient}`"),
            Self::Size(_) => "a large message".into(),
            Self::OneByOne => "no pipelining".into(),
            Self::ShortGreeting | Self::ShortHandshake | Self::ShortRcpt => {
                "little patience".into()
            }
        }
    }
}

/// What came of a client's visit.
pub(crate) struct Visit {
    pub(crate) error: Error,
    pub(crate) diagnosis: Diagnosis,
    /// What differs from run to run, and what stands for it.
    pub(crate) varying: Vec<(String, &'static str)>,
}

/// Connects to a sandbox that was started with these options of `ehlo sandbox`, and sends a message.
pub(crate) async fn visit(arguments: &[&str], with: &[With]) -> Visit {
    let sandbox = Sandbox::start(options(arguments))
        .await
        .expect("a sandbox can be started");
    let port = match with.contains(&With::ClosedPort) {
        true => closed_port(),
        false => sandbox.address().port(),
    };
    let config = config(&sandbox, port, with);
    let sender: Mailbox = SENDER.parse().expect("an address");
    let situation = Situation::of(&config).with_sender(sender.clone());
    let (error, situation) = match Client::connect(config).await {
        Err(error) => (error, situation),
        Ok(client) => {
            let situation = situation.with_session(client.session());
            let outcome = client.send(envelope(sender, with), message(with)).await;
            let error = outcome.error().expect("the message must fail");
            (error, situation)
        }
    };
    let pin: String = sandbox
        .certificate_sha256()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    Visit {
        diagnosis: Diagnosis::of(&error, &situation),
        error,
        varying: vec![(pin, "FINGERPRINT"), (port.to_string(), "2525")],
    }
}

/// The options of `ehlo sandbox`, as far as cases use them.
pub(crate) fn options(arguments: &[&str]) -> Options {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        options = match *argument {
            "--tls" => options.with_tls(TlsMode::Implicit),
            "--require-auth" => options.with_auth(Auth::Required),
            "--auth" => {
                let names = rest.next().expect("--auth has a value").split(',');
                let mechanisms: Result<Vec<Mechanism>, _> = names.map(str::parse).collect();
                options.with_mechanisms(mechanisms.expect("they are mechanisms"))
            }
            "--fault" => {
                let fault = rest.next().expect("--fault has a value");
                let fault: Fault = fault.parse().unwrap_or_else(|error| panic!("{error}"));
                options.with_fault(fault)
            }
            other => panic!("{other} is no option"),
        };
    }
    options
}

fn config(sandbox: &Sandbox, port: u16, with: &[With]) -> ClientConfig {
    let mut security = Security::StartTls;
    let mut host = "localhost";
    let mut credentials = Some(Credentials::password("alice", "password"));
    let mut timeouts = Timeouts::default();
    let mut tls = TlsOptions::default()
        .with_trust(Trust::Webpki)
        .with_ca_pem(sandbox.certificate_pem().as_bytes())
        .expect("the sandbox's authority is a certificate");
    let short = Duration::from_millis(333);
    for with in with {
        match *with {
            With::Host(name) => host = name,
            With::Encryption(other) => security = other,
            With::NoLogin => credentials = None,
            With::Password(password) => {
                credentials = Some(Credentials::password("alice", password));
            }
            With::Token => credentials = Some(Credentials::token("alice", "another-token")),
            With::AnotherPin => tls = tls.with_trust(Trust::Pinned([7; 32])),
            With::ShortGreeting => timeouts.greeting = short,
            With::ShortHandshake => timeouts.handshake = short,
            With::ShortRcpt => timeouts.rcpt = short,
            With::PublicOnly
            | With::ProxyThatIsNotThere
            | With::ClosedPort
            | With::Recipient(_)
            | With::Size(_)
            | With::OneByOne => {}
        }
    }
    let mut session = Config::new(security).with_timeouts(timeouts);
    if let Some(credentials) = credentials {
        session = session.with_credentials(credentials.expect("they are well-formed"));
    }
    if with.contains(&With::OneByOne) {
        session = session.with_pipelining(Pipelining::Off);
    }
    let mut config = ClientConfig::new(host, security)
        .with_port(port)
        .with_session(session)
        .with_tls(tls);
    if with.contains(&With::PublicOnly) {
        config = config.with_address_policy(AddressPolicy::PublicOnly);
    }
    if with.contains(&With::ProxyThatIsNotThere) {
        let proxy = Proxy::socks5("127.0.0.1", closed_port()).expect("it is well-formed");
        config = config.with_proxy(proxy);
    }
    config
}

fn envelope(sender: Mailbox, with: &[With]) -> Envelope {
    let recipient = with.iter().find_map(|with| match with {
        With::Recipient(recipient) => Some(*recipient),
        _ => None,
    });
    let recipient: Mailbox = recipient
        .unwrap_or("bob@example.net")
        .parse()
        .expect("an address");
    Envelope::new(sender, [recipient])
}

fn message(with: &[With]) -> Content {
    let size = with.iter().find_map(|with| match with {
        With::Size(size) => Some(*size),
        _ => None,
    });
    let line = "A line of 32 octets, with CRLF.\r\n";
    let body = line.repeat(size.unwrap_or(1).div_ceil(line.len()));
    let message = format!("Subject: Hello\r\n\r\n{body}");
    Content::check(message, BareNewlines::Reject).expect("it is a message")
}

const SENDER: &str = "alice@example.org";
