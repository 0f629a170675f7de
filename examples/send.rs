//! Sends one message: connect, send, see what became of each recipient.
//!
//! ```sh
//! SMTP_PASSWORD=… cargo run --example send -- mail.example.org alice alice@example.org bob@example.org
//! ```

use std::error::Error;

use ehlo::{BareNewlines, Client, ClientConfig, Content, Credentials, Envelope, Mailbox, Security};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, username, from, to] = arguments.as_slice() else {
        return Err("usage: send HOST USERNAME FROM TO, with the password in SMTP_PASSWORD".into());
    };
    let password = std::env::var("SMTP_PASSWORD")?;

    let config = ClientConfig::new(host, Security::StartTls)
        .with_credentials(Credentials::password(username, password)?);
    let client = Client::connect(config).await?;

    let sender: Mailbox = from.parse()?;
    let recipient: Mailbox = to.parse()?;
    let message = format!("From: {from}\r\nTo: {to}\r\nSubject: Hello\r\n\r\nHello from ehlo.\r\n");
    let outcome = client
        .send(
            Envelope::new(sender, [recipient]),
            Content::check(message, BareNewlines::Reject)?,
        )
        .await
        .into_result()?;
    if let Some(reply) = outcome.verdicts()[0].reply() {
        println!("accepted: {reply}");
    }
    client.close().await?;
    Ok(())
}
