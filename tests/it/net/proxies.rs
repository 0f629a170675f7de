//! Two small proxies for tests, which forward to one server whatever they are asked for, and one
//! that answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ehlo::net::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const USER: &str = "jo@corp";
pub(crate) const SECRET: &str = "s3c:r@t%";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Socks5,
    Http,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Socks5, Kind::Http];

/// Who may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Everybody,
    /// Only [`USER`] with [`SECRET`].
    Login,
}

/// Who speaks first behind the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The server: its greeting goes out in one piece with the proxy's own reply.
    Server,
    Client,
}

/// A running proxy; it ends when it is dropped.
pub(crate) struct TestProxy {
    kind: Kind,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl TestProxy {
    pub(crate) async fn start(kind: Kind, access: Access, to: SocketAddr, first: First) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    // A client that is refused goes away in the middle of it.
                    let _ = serve(stream, kind, access, to, first, &seen).await;
                });
            }
        });
        Self {
            kind,
            address,
            asked,
            task,
        }
    }

    /// Answers each read with the next of these, and then closes or is silent.
    pub(crate) async fn scripted(kind: Kind, answers: Vec<Vec<u8>>, end: End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                for answer in &answers {
                    let mut octets = [0; 2048];
                    let _ = stream.read(&mut octets).await;
                    let _ = stream.write_all(answer).await;
                }
                match end {
                    End::Close => {
                        // What the client has sent is read, so that the close is no reset.
                        let mut octets = [0; 2048];
                        if answers.is_empty() {
                            let _ = stream.read(&mut octets).await;
                        }
                    }
                    End::Silence => std::future::pending().await,
                }
            }
        });
        Self {
            kind,
            address,
            asked: Arc::default(),
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        match self.kind {
            Kind::Socks5 => format!("socks5://{}", self.address),
            Kind::Http => format!("http://{}", self.address),
        }
    }

    pub(crate) fn proxy(&self) -> Proxy {
        self.url().parse().unwrap()
    }

    /// What it was asked to connect to.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Close,
    Silence,
}

async fn serve(
    mut client: TcpStream,
    kind: Kind,
    access: Access,
    to: SocketAddr,
    first: First,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let target = match kind {
        Kind::Socks5 => socks_request(&mut client, access).await?,
        Kind::Http => http_request(&mut client, access).await?,
    };
    let Some(target) = target else {
        return Ok(());
    };
    asked.lock().unwrap().push(target);
    let mut server = TcpStream::connect(to).await?;
    let mut answer = match kind {
        Kind::Socks5 => vec![5, 0, 0, 3, 4, b'h', b'o', b's', b't', 0, 25],
        Kind::Http => b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n".to_vec(),
    };
    if first == First::Server {
        let mut greeting = [0; 1024];
        let count = server.read(&mut greeting).await?;
        answer.extend_from_slice(&greeting[..count]);
    }
    client.write_all(&answer).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// RFC 1928 and RFC 1929; `None` where the log-in was refused.
async fn socks_request(client: &mut TcpStream, access: Access) -> std::io::Result<Option<String>> {
    let [version, count] = octets(client).await?;
    assert_eq!(version, 5);
    let mut methods = vec![0; count.into()];
    client.read_exact(&mut methods).await?;
    let wanted = match access {
        Access::Everybody => 0,
        Access::Login => 2,
    };
    if !methods.contains(&wanted) {
        client.write_all(&[5, 0xff]).await?;
        return Ok(None);
    }
    client.write_all(&[5, wanted]).await?;
    if access == Access::Login {
        let [1] = octets(client).await? else {
            panic!("not a log-in of RFC 1929");
        };
        let login = (counted(client).await?, counted(client).await?);
        let is_right = login == (USER.to_owned(), SECRET.to_owned());
        client.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Ok(None);
        }
    }
    let [5, 1, 0, form] = octets(client).await? else {
        panic!("not a request to connect");
    };
    let host = match form {
        1 => std::net::Ipv4Addr::from(octets::<4>(client).await?).to_string(),
        3 => counted(client).await?,
        4 => format!(
            "[{}]",
            std::net::Ipv6Addr::from(octets::<16>(client).await?)
        ),
        form => panic!("no form of address: {form}"),
    };
    let port = u16::from_be_bytes(octets(client).await?);
    Ok(Some(format!("{host}:{port}")))
}

/// `None` where the log-in was refused.
async fn http_request(client: &mut TcpStream, access: Access) -> std::io::Result<Option<String>> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let [octet] = octets(client).await?;
        request.push(octet);
    }
    let request = String::from_utf8(request).expect("a request in UTF-8");
    let mut lines = request.split("\r\n");
    let target = lines
        .next()
        .and_then(|line| line.strip_prefix("CONNECT "))
        .and_then(|line| line.strip_suffix(" HTTP/1.1"))
        .expect("a request to connect");
    let fields: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    assert_eq!(fields[0], format!("Host: {target}"));
    let login = format!("{USER}:{SECRET}");
    let login = format!("Proxy-Authorization: Basic {}", STANDARD.encode(login));
    if access == Access::Login && fields[1..] != [login.as_str()] {
        let refusal = b"HTTP/1.1 407 s3c:r@t% is wrong\r\nProxy-Authenticate: Basic\r\n\r\n";
        client.write_all(refusal).await?;
        return Ok(None);
    }
    Ok(Some(target.to_owned()))
}

async fn octets<const N: usize>(client: &mut TcpStream) -> std::io::Result<[u8; N]> {
    let mut octets = [0; N];
    client.read_exact(&mut octets).await?;
    Ok(octets)
}

/// Text after its length.
async fn counted(client: &mut TcpStream) -> std::io::Result<String> {
    let [length] = octets(client).await?;
    let mut text = vec![0; length.into()];
    client.read_exact(&mut text).await?;
    Ok(String::from_utf8(text).expect("text in UTF-8"))
}
