//! Mail code and its unit test: the sandbox is a real server on loopback, with STARTTLS and AUTH, and
//! it shows what it was sent.
//!
//! ```sh
//! cargo test --features sandbox --example test_with_sandbox
//! ```

use ehlo::{BareNewlines, Client, ClientConfig, Content, Envelope, Error, Mailbox, Security};

/// The code under test: tells a customer that an order has left.
async fn notify(config: ClientConfig, customer: &Mailbox, order: u32) -> Result<(), Error> {
    let shop = Mailbox::new("shop", "example.com").expect("a constant address");
    let message = format!(
        "From: {shop}\r\nTo: {customer}\r\nSubject: Order {order}\r\n\r\nIt is on its way.\r\n"
    );
    let content =
        Content::check(message, BareNewlines::Normalise).expect("newlines are normalised");
    let client = Client::connect(config).await?;
    let envelope = Envelope::new(shop, [customer.clone()]);
    client.send(envelope, content).await.into_result()?;
    client.close().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = ClientConfig::new("mail.example.com", Security::StartTls);
    notify(config, &"alice@example.org".parse()?, 7).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use ehlo::net::TlsOptions;
    use ehlo::sandbox::{Options, Sandbox};
    use ehlo::{Category, Credentials};

    use super::*;

    fn config(sandbox: &Sandbox) -> ClientConfig {
        let tls = TlsOptions::default()
            .with_ca_pem(sandbox.certificate_pem().as_bytes())
            .expect("the sandbox's own certificate");
        ClientConfig::new("localhost", Security::StartTls)
            .with_port(sandbox.address().port())
            .with_tls(tls)
    }

    #[tokio::test]
    async fn the_customer_is_told_about_the_order() {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let login = Credentials::password("alice", "password").unwrap();
        let customer = "bob@example.org".parse().unwrap();

        notify(config(&sandbox).with_credentials(login), &customer, 7)
            .await
            .unwrap();

        let mail = &sandbox.received()[0];
        assert_eq!(mail.recipients, ["bob@example.org"]);
        assert_eq!(mail.authenticated.as_deref(), Some("alice"));
        assert!(mail.tls);
        assert!(String::from_utf8_lossy(&mail.content).contains("Subject: Order 7\r\n"));
    }

    #[tokio::test]
    async fn a_wrong_password_is_an_error() {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let login = Credentials::password("alice", "wrong").unwrap();
        let customer = "bob@example.org".parse().unwrap();

        let error = notify(config(&sandbox).with_credentials(login), &customer, 7)
            .await
            .unwrap_err();

        assert_eq!(error.category(), Category::Authentication);
        assert!(sandbox.received().is_empty());
    }
}
