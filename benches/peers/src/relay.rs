//! A line with a round-trip time, emulated by a relay between client and sink: whatever it reads it
//! passes on half a round trip later. TCP itself does not see the delay, and acknowledges at once; a
//! client that waits for an acknowledgement waits less than on a real line.
//!
//! It counts round trips: what a client writes is one deeper than the deepest reply that has reached
//! it, and a reply as deep as what it answers. What nobody answers, as the end of TLS, is none.
//!
//! Threads that sleep, since their time is more exact than that of tokio, which counts whole
//! milliseconds.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::work::HOST;

/// The most round trips that a connection has had.
#[derive(Default)]
pub struct Depth(AtomicUsize);

impl Depth {
    pub fn deepest(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Accepts connections, and makes one to the target for each. Returns its port.
pub fn start(round_trip: Duration, target: SocketAddr, depth: Arc<Depth>) -> std::io::Result<u16> {
    let listener = TcpListener::bind((HOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let depth = Arc::clone(&depth);
            thread::spawn(move || connection(client, round_trip, target, &depth));
        }
    });
    Ok(port)
}

/// What was read, when it is due, and how deep it is.
struct Piece {
    octets: Vec<u8>,
    due: Instant,
    depth: usize,
}

fn connection(
    client: TcpStream,
    round_trip: Duration,
    target: SocketAddr,
    deepest: &Depth,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    // The client believes to be connected: on a real line it would be now, and the server half a
    // round trip later.
    thread::sleep(round_trip);
    let (to_server, at_server) = channel();
    let (to_client, at_client) = channel();
    let (heard, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let half = round_trip / 2;
    let (from_client, into_client) = (client.try_clone()?, client);
    thread::scope(|scope| {
        scope.spawn(|| {
            read(from_client, to_server, half, &|| {
                heard.load(Ordering::SeqCst) + 1
            })
        });
        thread::sleep(half);
        let server = TcpStream::connect(target)?;
        server.set_nodelay(true)?;
        let from_server = server.try_clone()?;
        scope.spawn(|| {
            read(from_server, to_client, half, &|| {
                taken.load(Ordering::SeqCst)
            })
        });
        scope.spawn(|| {
            write(into_client, at_client, &|depth| {
                raise(&heard, depth);
                raise(&deepest.0, depth);
            });
        });
        write(server, at_server, &|depth| raise(&taken, depth));
        Ok(())
    })
}

fn raise(depth: &AtomicUsize, to: usize) {
    depth.fetch_max(to, Ordering::SeqCst);
}

fn read(mut stream: TcpStream, out: Sender<Piece>, half: Duration, depth: &dyn Fn() -> usize) {
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        let piece = Piece {
            octets: buffer[..length].to_vec(),
            due: Instant::now() + half,
            depth: depth(),
        };
        if out.send(piece).is_err() {
            return;
        }
    }
}

fn write(mut stream: TcpStream, pieces: Receiver<Piece>, reached: &dyn Fn(usize)) {
    for piece in pieces {
        thread::sleep(piece.due.saturating_duration_since(Instant::now()));
        reached(piece.depth);
        if stream.write_all(&piece.octets).is_err() {
            break;
        }
    }
    // The other direction may still have something to say.
    let _ = stream.shutdown(Shutdown::Write);
}
