//! A connection by each of the clients, as their documentation has it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ehlo::{BareNewlines, Client, ClientConfig, Content, Envelope, Mailbox};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use mail_send::{SmtpClient, SmtpClientBuilder};
use tokio::io::BufStream;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::floor::Floor;
use super::swallow::Swallow;
use super::{Stream, connector, ours};
use crate::work::{Failure, HOST, Job, PASSWORD, Peer, SENDER, Side, Task, USER, Wire};

/// What all connections of a job have in common, TLS sessions to be resumed among it.
#[derive(Clone)]
pub struct Setup {
    pub job: Job,
    pub tls: TlsConnector,
    pub ehlo: ClientConfig,
    lettre: Option<TlsParameters>,
}

impl Setup {
    pub fn of(job: &Job) -> Result<Self, Failure> {
        let lettre = match (&job.ca_file, job.peer) {
            (Some(path), Peer::Lettre) => {
                let certificate = Certificate::from_pem(&std::fs::read(path)?)?;
                let builder = TlsParameters::builder(HOST.to_owned())
                    .certificate_store(CertificateStore::None)
                    .add_root_certificate(certificate);
                Some(builder.build_rustls()?)
            }
            _ => None,
        };
        Ok(Self {
            job: job.clone(),
            tls: connector(job)?,
            ehlo: ours::config(job)?,
            lettre,
        })
    }

    pub fn logs_in(&self) -> bool {
        self.job.task == Task::Sessions
    }
}

/// What is sent, in each client's own words.
pub struct Mail {
    pub raw: Bytes,
    pub ehlo: (Envelope, Content),
    lettre: lettre::address::Envelope,
    recipients: Vec<String>,
    /// MAIL and the RCPTs.
    pub by_hand: Vec<String>,
}

impl Mail {
    pub fn of(job: &Job) -> Result<Self, Failure> {
        let recipients = job.recipients();
        let parse = |address: &String| address.parse::<lettre::Address>();
        let to = recipients.iter().map(parse).collect::<Result<_, _>>()?;
        let mut by_hand = vec![format!("MAIL FROM:<{SENDER}>\r\n")];
        by_hand.extend(recipients.iter().map(|to| format!("RCPT TO:<{to}>\r\n")));
        let raw = Bytes::from(job.message());
        let content = Content::check(raw.clone(), BareNewlines::Normalise)?;
        Ok(Self {
            lettre: lettre::address::Envelope::new(Some(SENDER.parse()?), to)?,
            by_hand,
            ehlo: (envelope(job)?, content),
            recipients,
            raw,
        })
    }
}

pub fn envelope(job: &Job) -> Result<Envelope, Failure> {
    let to: Vec<Mailbox> = job
        .recipients()
        .iter()
        .map(|address| address.parse())
        .collect::<Result<_, _>>()?;
    Ok(Envelope::new(SENDER.parse::<Mailbox>()?, to))
}

pub fn host() -> Result<ServerName<'static>, Failure> {
    Ok(ServerName::try_from(HOST)?)
}

/// A connection by one of the clients.
pub enum Line {
    Lettre(Box<AsyncSmtpConnection>),
    MailSend(SmtpClient<Octets>),
    AsyncSmtp(Box<async_smtp::SmtpTransport<BufStream<Octets>>>),
    Ehlo(Client),
    Floor(Floor<Octets>),
}

/// A stream of any kind.
pub type Octets = Box<dyn Stream>;

impl fmt::Debug for dyn Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stream")
    }
}

impl Line {
    pub async fn connect(setup: &Setup) -> Result<Self, Failure> {
        match setup.job.peer {
            Peer::Lettre | Peer::LettreNodelay => lettre_line(setup).await,
            Peer::MailSend
            | Peer::MailSendNodelay
            | Peer::MailSendByHandData
            | Peer::MailSendByHandBdat => mail_send_line(setup).await,
            Peer::AsyncSmtp | Peer::AsyncSmtpNodelay => async_smtp_line(setup).await,
            _ if setup.job.peer.side() == Side::Ours => Ok(Self::Ehlo(ours::connect(setup).await?)),
            _ => Ok(Self::Floor(Floor::connect(setup).await?)),
        }
    }

    pub async fn send(&mut self, setup: &Setup, mail: &Mail) -> Result<(), Failure> {
        match self {
            Self::Lettre(connection) => {
                connection.send(&mail.lettre, &mail.raw).await?;
                Ok(())
            }
            Self::MailSend(client) => mail_send_one(client, setup.job.peer, mail).await,
            Self::AsyncSmtp(transport) => {
                let address = |text: &str| async_smtp::EmailAddress::new(text.to_owned());
                let to = mail.recipients.iter().map(|to| address(to));
                let to = to
                    .collect::<Result<_, _>>()
                    .map_err(|error| error.to_string())?;
                let from = address(SENDER).map_err(|error| error.to_string())?;
                let envelope = async_smtp::Envelope::new(Some(from), to);
                let envelope = envelope.map_err(|error| error.to_string())?;
                let email = async_smtp::SendableEmail::new(envelope, mail.raw.to_vec());
                transport.send(email).await?;
                Ok(())
            }
            Self::Ehlo(client) => ours::send_one(client, &setup.job, mail).await,
            Self::Floor(floor) => floor.by_bdat(mail, 1).await,
        }
    }

    pub async fn quit(self) -> Result<(), Failure> {
        match self {
            Self::Lettre(mut connection) => {
                connection.quit().await?;
            }
            Self::MailSend(client) => client.quit().await?,
            Self::AsyncSmtp(mut transport) => transport.quit().await?,
            Self::Ehlo(client) => client.close().await?,
            Self::Floor(_) => {}
        }
        Ok(())
    }
}

/// TCP, with TCP_NODELAY where the caller sets it.
async fn tcp(setup: &Setup) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect((HOST, setup.job.port)).await?;
    stream.set_nodelay(setup.job.peer.sets_nodelay())?;
    Ok(stream)
}

async fn lettre_line(setup: &Setup) -> Result<Line, Failure> {
    let hello = ClientId::default();
    let job = &setup.job;
    let mut connection = match (job.wire, job.peer) {
        (Wire::Swallow, _) => {
            let stream = Box::new(Swallow::new());
            AsyncSmtpConnection::connect_with_transport(stream, &hello).await?
        }
        (Wire::Clear, Peer::LettreNodelay) => {
            let stream = Box::new(tcp(setup).await?);
            AsyncSmtpConnection::connect_with_transport(stream, &hello).await?
        }
        _ => {
            let tls = setup.lettre.clone().filter(|_| job.wire == Wire::Implicit);
            let address = (HOST, job.port);
            AsyncSmtpConnection::connect_tokio1(address, Some(HOUR), &hello, tls, None).await?
        }
    };
    if let (Wire::StartTls, Some(tls)) = (job.wire, setup.lettre.clone()) {
        connection.starttls(tls, &hello).await?;
    }
    if setup.logs_in() {
        let credentials = Credentials::new(USER.to_owned(), PASSWORD.to_owned());
        connection.auth(&[Mechanism::Plain], &credentials).await?;
    }
    Ok(Line::Lettre(Box::new(connection)))
}

async fn mail_send_line(setup: &Setup) -> Result<Line, Failure> {
    let job = &setup.job;
    let nodelay = job.peer.sets_nodelay();
    let mut builder = SmtpClientBuilder::new_with_tls_connector(HOST, job.port, setup.tls.clone())
        .implicit_tls(job.wire == Wire::Implicit);
    if setup.logs_in() {
        builder = builder.credentials(mail_send::Credentials::new(USER, PASSWORD));
    }
    let (stream, timeout): (Octets, Duration) = match job.wire {
        Wire::Swallow => (Box::new(Swallow::new()), HOUR),
        Wire::Clear => {
            let client = builder.connect_plain().await?;
            client.stream.set_nodelay(nodelay)?;
            (Box::new(client.stream), client.timeout)
        }
        // Only what `connect` gives can be told to: after greeting, TLS and log-in.
        Wire::StartTls | Wire::Implicit => {
            let client = builder.connect().await?;
            client.stream.get_ref().0.set_nodelay(nodelay)?;
            (Box::new(client.stream), client.timeout)
        }
    };
    let mut client = SmtpClient { stream, timeout };
    if job.wire == Wire::Swallow {
        client.read().await?;
        client.ehlo("localhost").await?;
    }
    Ok(Line::MailSend(client))
}

async fn mail_send_one(
    client: &mut SmtpClient<Octets>,
    peer: Peer,
    mail: &Mail,
) -> Result<(), Failure> {
    let mut commands = mail.by_hand.clone();
    match peer {
        Peer::MailSendByHandBdat => {
            accepted(&client.cmds(commands).await?)?;
            client.bdat(&mail.raw).await?;
        }
        Peer::MailSendByHandData => {
            commands.push("DATA\r\n".to_owned());
            accepted(&client.cmds(commands).await?)?;
            client.write_message(&mail.raw).await?;
            accepted(&[client.read().await?])?;
        }
        _ => {
            let to: Vec<&str> = mail.recipients.iter().map(String::as_str).collect();
            let message = mail_send::smtp::message::Message::new(SENDER, to, &mail.raw[..]);
            client.send(message).await?;
        }
    }
    Ok(())
}

fn accepted(replies: &[smtp_proto::Response<String>]) -> Result<(), Failure> {
    match replies.iter().find(|reply| reply.code >= 400) {
        Some(refusal) => Err(refusal.to_string().into()),
        None => Ok(()),
    }
}

async fn async_smtp_line(setup: &Setup) -> Result<Line, Failure> {
    let client = async_smtp::SmtpClient::new();
    let stream: Octets = match setup.job.wire {
        Wire::Swallow => Box::new(Swallow::new()),
        Wire::Clear => Box::new(tcp(setup).await?),
        Wire::Implicit => Box::new(setup.tls.connect(host()?, tcp(setup).await?).await?),
        Wire::StartTls => {
            let clear = BufStream::new(tcp(setup).await?);
            let clear = async_smtp::SmtpTransport::new(client, clear).await?;
            let clear = clear.starttls().await?.into_inner();
            Box::new(setup.tls.connect(host()?, clear).await?)
        }
    };
    let client = match setup.job.wire {
        Wire::StartTls => async_smtp::SmtpClient::new().without_greeting(),
        Wire::Clear | Wire::Implicit | Wire::Swallow => async_smtp::SmtpClient::new(),
    };
    let mut transport = async_smtp::SmtpTransport::new(client, BufStream::new(stream)).await?;
    if setup.logs_in() {
        let credentials =
            async_smtp::authentication::Credentials::new(USER.to_owned(), PASSWORD.to_owned());
        let plain = async_smtp::authentication::Mechanism::Plain;
        transport.auth(plain, &credentials).await?;
    }
    Ok(Line::AsyncSmtp(Box::new(transport)))
}

const HOUR: Duration = Duration::from_secs(3600);
