//! The engine by itself: no socket, no task. `cargo bench --bench engine` prints what each piece of work
//! takes in time and, where valgrind is installed, in instructions; `engine NAME COUNT` does one of
//! them so many times. See README.md beside this file.

use std::hint::black_box;
use std::io::IoSlice;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ehlo::proto::{Chunking, Config, Connection, Context, Event};
use ehlo::{BareNewlines, Content, Envelope, Mailbox, Security, Streamed};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [name, count] => {
            let work = WORK.iter().find(|work| work.name == *name);
            let count = count.parse().expect("COUNT is a number");
            (work.expect("NAME is one of the table's").run)(count);
        }
        // `cargo bench` adds an option.
        _ => print_table(),
    }
}

/// A piece of work.
struct Work {
    name: &'static str,
    unit: &'static str,
    /// Of how many units a time is one.
    units: usize,
    /// How often, for a time that can be measured.
    times: usize,
    run: fn(usize),
}

const WORK: [Work; 11] = [
    Work {
        name: "greet",
        unit: "session to its EHLO reply",
        units: 1,
        times: 20_000,
        run: greet,
    },
    Work {
        name: "recipients",
        unit: "recipient: RCPT and its reply",
        units: 100,
        times: 1_000,
        run: recipients,
    },
    Work {
        name: "data",
        unit: "message of 1 KiB by DATA",
        units: 1,
        times: 50_000,
        run: |times| messages(times, Chunking::Off),
    },
    Work {
        name: "bdat",
        unit: "message of 1 KiB by BDAT",
        units: 1,
        times: 50_000,
        run: |times| messages(times, Chunking::WhereOffered),
    },
    Work {
        name: "scan",
        unit: "octet, scanned",
        units: BLOCK,
        times: 2_000,
        run: |times| scan(times, &lines(BLOCK, 0, "\r\n")),
    },
    Work {
        name: "scan-dots",
        unit: "octet, scanned, a dot every 4 lines",
        units: BLOCK,
        times: 2_000,
        run: |times| scan(times, &lines(BLOCK, 4, "\r\n")),
    },
    Work {
        name: "normalise",
        unit: "octet, scanned, bare LF made CRLF",
        units: BLOCK,
        times: 1_000,
        run: |times| scan(times, &lines(BLOCK, 0, "\n")),
    },
    Work {
        name: "stuff",
        unit: "octet, streamed by DATA",
        units: BLOCK,
        times: 2_000,
        run: |times| stream(times, Chunking::Off, &lines(BLOCK, 0, "\r\n")),
    },
    Work {
        name: "stuff-dots",
        unit: "octet, streamed by DATA, a dot every 4 lines",
        units: BLOCK,
        times: 2_000,
        run: |times| stream(times, Chunking::Off, &lines(BLOCK, 4, "\r\n")),
    },
    Work {
        name: "stuff-normalise",
        unit: "octet, streamed by DATA, bare LF made CRLF",
        units: BLOCK,
        times: 1_000,
        run: |times| stream(times, Chunking::Off, &lines(BLOCK, 0, "\n")),
    },
    Work {
        name: "chunk",
        unit: "octet, streamed by BDAT",
        units: BLOCK,
        times: 2_000,
        run: |times| stream(times, Chunking::WhereOffered, &lines(BLOCK, 0, "\r\n")),
    },
];

fn print_table() {
    println!("| work | of one | ns | instructions |\n| --- | --- | ---: | ---: |");
    for work in &WORK {
        (work.run)(work.times / 10);
        let begun = Instant::now();
        (work.run)(work.times);
        let time = begun.elapsed().as_nanos() as f64 / (work.times * work.units) as f64;
        let count = match work.instructions() {
            Some(count) => format!("{count:.2}"),
            None => String::new(),
        };
        println!("| {} | {} | {time:.2} | {count} |", work.name, work.unit);
    }
}

impl Work {
    /// The difference of two counts, so that what comes before is not in it.
    fn instructions(&self) -> Option<f64> {
        let (few, many) = (self.times / 100, self.times / 20);
        let counted = self.count(many)? - self.count(few)?;
        Some(counted / ((many - few) * self.units) as f64)
    }

    fn count(&self, times: usize) -> Option<f64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().ok()?)
            .args([self.name, &times.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8(output.stderr).ok()?;
        let line = text.lines().find(|line| line.contains("Collected"))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

/// New sessions, each up to its EHLO reply: one of ten lines.
fn greet(times: usize) {
    let config = Arc::new(Config::new(Security::Plaintext));
    for _ in 0..times {
        black_box(Bench::greeted(&config));
    }
}

/// Messages to 100 recipients.
fn recipients(times: usize) {
    let config = Arc::new(Config::new(Security::Plaintext).with_chunking(Chunking::Off));
    let mut bench = Bench::greeted(&config);
    let envelope = envelope(100);
    let content = Content::check("Subject: x\r\n\r\n", BareNewlines::Reject).expect("clean");
    let replies = "250 2.1.5 ok\r\n".repeat(1 + 100) + "354 go on\r\n";
    for _ in 0..times {
        bench.submit(&envelope, &content);
        bench.exchange(replies.as_bytes());
        bench.exchange(b"250 2.0.0 ok\r\n");
        bench.finished();
    }
}

/// Messages one after the other.
fn messages(times: usize, chunking: Chunking) {
    let config = Arc::new(Config::new(Security::Plaintext).with_chunking(chunking));
    let mut bench = Bench::greeted(&config);
    let envelope = envelope(1);
    let content = Content::check(lines(1024, 0, "\r\n"), BareNewlines::Reject).expect("clean");
    for number in 0..times {
        bench.submit(&envelope, &content);
        match chunking {
            Chunking::Off => {
                bench.exchange(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n");
                bench.exchange(b"250 2.0.0 ok\r\n");
            }
            // Whether the server lets us in is not known before the first one's envelope.
            Chunking::WhereOffered if number == 0 => {
                bench.exchange(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n");
                bench.exchange(b"250 2.0.0 ok\r\n");
            }
            Chunking::WhereOffered => {
                bench.exchange(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 ok\r\n");
            }
        }
        bench.finished();
    }
}

fn scan(times: usize, text: &[u8]) {
    let text = Bytes::copy_from_slice(text);
    for _ in 0..times {
        let content = Content::check(black_box(text.clone()), BareNewlines::Normalise);
        black_box(content.expect("nothing is refused"));
    }
}

/// One message that is written in pieces.
fn stream(times: usize, chunking: Chunking, text: &[u8]) {
    let config = Arc::new(Config::new(Security::Plaintext).with_chunking(chunking));
    let mut bench = Bench::greeted(&config);
    let text = Bytes::copy_from_slice(text);
    let streamed = Streamed::default().with_newlines(BareNewlines::Normalise);
    let now = Instant::now();
    let submitted = bench.connection.submit(envelope(1), streamed.into(), now);
    submitted.expect("there is a recipient");
    bench.exchange(match chunking {
        Chunking::Off => b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n",
        Chunking::WhereOffered => b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n",
    });
    for _ in 0..times {
        let writer = bench.connection.body_writer();
        writer.expect("there is room").write(text.clone(), now);
        bench.drain();
        if chunking == Chunking::WhereOffered {
            bench.connection.receive(b"250 2.0.0 ok\r\n", now);
        }
    }
    let writer = bench.connection.body_writer();
    writer.expect("there is room").finish(now);
    bench.exchange(b"250 2.0.0 ok\r\n");
    bench.finished();
}

/// An engine, and the time as it was at the beginning.
struct Bench {
    connection: Connection,
    now: Instant,
}

impl Bench {
    fn greeted(config: &Arc<Config>) -> Self {
        let now = Instant::now();
        let context = Context::new(None, [7; 32]);
        let mut bench = Self {
            connection: Connection::new(Arc::clone(config), context, now),
            now,
        };
        bench
            .connection
            .receive(b"220 mx.example.org ESMTP\r\n", now);
        bench.exchange(OFFERS);
        let ready = std::iter::from_fn(|| bench.connection.poll_event());
        let mut ready = ready.filter(|event| matches!(event, Event::Ready(_)));
        assert!(ready.next().is_some(), "the session is ready");
        drop(ready);
        bench
    }

    fn submit(&mut self, envelope: &Envelope, content: &Content) {
        let (envelope, content) = (envelope.clone(), content.clone());
        let submitted = self.connection.submit(envelope, content.into(), self.now);
        submitted.expect("there is a recipient");
    }

    /// What there is to be sent is gone, and this comes.
    fn exchange(&mut self, replies: &[u8]) {
        self.drain();
        self.connection.receive(black_box(replies), self.now);
    }

    fn drain(&mut self) {
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.connection.transmit(&mut slices);
            let sent = slices[..count].iter().map(|slice| slice.len()).sum();
            if sent == 0 {
                return;
            }
            self.connection.sent(sent, self.now);
        }
    }

    fn finished(&mut self) {
        let mut finished = 0;
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Finished { recipients, .. } => {
                    assert!(
                        recipients.iter().all(ehlo::Verdict::is_accepted),
                        "{recipients:?}"
                    );
                    finished += 1;
                }
                Event::Closed(result) => panic!("{result:?}"),
                _ => {}
            }
        }
        assert_eq!(finished, 1);
    }
}

fn envelope(recipients: usize) -> Envelope {
    let mailbox = |name: &str| Mailbox::new(name, "example.org").expect("a valid address");
    let to = (0..recipients).map(|number| mailbox(&format!("recipient{number}")));
    Envelope::new(mailbox("sender"), to)
}

/// Lines of 64 octets, of so many together; every so many begin with a dot, none if that is 0.
fn lines(size: usize, dots_every: usize, end: &str) -> Vec<u8> {
    (0..size / 64)
        .flat_map(|number| {
            let dotted = dots_every > 0 && number % dots_every == 0;
            let first = if dotted { '.' } else { '-' };
            format!("{first}{number:0width$}{end}", width = 63 - end.len()).into_bytes()
        })
        .collect()
}

const BLOCK: usize = 64 * 1024;
const OFFERS: &[u8] = b"250-mx.example.org at your service\r\n250-PIPELINING\r\n\
    250-SIZE 36700160\r\n250-8BITMIME\r\n250-AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n\
    250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-DSN\r\n250-LIMITS RCPTMAX=1000 MAILMAX=1000000\r\n\
    250 SMTPUTF8\r\n";
