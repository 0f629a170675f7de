//! lettre as a client under examination; see `../README.md` for the arguments.

use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};

fn main() -> ExitCode {
    match send() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn send() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [
        scheme,
        encryption,
        host,
        port,
        ca,
        from,
        message,
        user,
        password,
        token,
        mechanisms,
        recipients @ ..,
    ] = arguments.as_slice()
    else {
        return Ok(ExitCode::from(64));
    };
    // It speaks no LMTP.
    if scheme == "lmtp" {
        return Ok(ExitCode::from(64));
    }
    let parameters = TlsParameters::builder(host.clone())
        .certificate_store(lettre::transport::smtp::client::CertificateStore::None);
    let mut parameters = parameters;
    for certificate in fs::read_to_string(ca)?.split_inclusive("-----END CERTIFICATE-----\n") {
        parameters =
            parameters.add_root_certificate(Certificate::from_pem(certificate.as_bytes())?);
    }
    let parameters = parameters.build()?;
    let mut transport = SmtpTransport::builder_dangerous(host)
        .port(port.parse()?)
        .timeout(Some(Duration::from_secs(15)))
        .tls(match encryption.as_str() {
            "starttls" => Tls::Required(parameters),
            "tls" => Tls::Wrapper(parameters),
            "opportunistic" => Tls::Opportunistic(parameters),
            _ => Tls::None,
        });
    if !token.is_empty() {
        transport = transport
            .credentials(Credentials::new(user.clone(), token.clone()))
            .authentication(vec![Mechanism::Xoauth2]);
    } else if !user.is_empty() {
        transport = transport.credentials(Credentials::new(user.clone(), password.clone()));
    }
    if !mechanisms.is_empty() {
        let mut chosen = Vec::new();
        for name in mechanisms.split(',') {
            chosen.push(match name {
                "PLAIN" => Mechanism::Plain,
                "LOGIN" => Mechanism::Login,
                "XOAUTH2" => Mechanism::Xoauth2,
                _ => return Ok(ExitCode::from(64)),
            });
        }
        transport = transport.authentication(chosen);
    }
    let mut to = Vec::new();
    for recipient in recipients {
        to.push(recipient.parse()?);
    }
    let envelope = Envelope::new(Some(from.parse()?), to)?;
    transport.build().send_raw(&envelope, &fs::read(message)?)?;
    Ok(ExitCode::SUCCESS)
}
