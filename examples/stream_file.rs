//! Streams a message from a file to a relay on this machine, whatever its size, in little memory.
//!
//! ```sh
//! cargo run --example stream_file -- 127.0.0.1 2525 message.eml alice@example.org bob@example.org
//! ```

use std::error::Error;

use ehlo::proto::{ContentFacts, Scanner};
use ehlo::{BareNewlines, Client, ClientConfig, Encoding, Envelope, Mailbox, Security, Streamed};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, path, from, to] = arguments.as_slice() else {
        return Err("usage: stream_file HOST PORT FILE FROM TO".into());
    };

    // The server is told beforehand how large the message is and whether it has 8-bit text.
    let facts = scan(path).await?;
    let encoding = if facts.eight_bit {
        Encoding::EightBit
    } else {
        Encoding::SevenBit
    };
    let streamed = Streamed::default()
        .with_size(facts.wire_size)
        .with_encoding(encoding)
        .with_utf8_headers(facts.utf8_headers)
        .with_newlines(BareNewlines::Normalise);

    let config = ClientConfig::new(host, Security::Plaintext).with_port(port.parse()?);
    let client = Client::connect(config).await?;
    let sender: Mailbox = from.parse()?;
    let recipient: Mailbox = to.parse()?;
    let outcome = client
        .send_from(
            Envelope::new(sender, [recipient]),
            streamed,
            File::open(path).await?,
        )
        .await
        .into_result()?;
    if let Some(reply) = outcome.verdicts()[0].reply() {
        println!("accepted {} octets: {reply}", facts.wire_size);
    }
    client.close().await?;
    Ok(())
}

async fn scan(path: &str) -> std::io::Result<ContentFacts> {
    let mut file = File::open(path).await?;
    let mut scanner = Scanner::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(scanner.finish()),
            length => scanner.push(&buffer[..length]),
        }
    }
}
