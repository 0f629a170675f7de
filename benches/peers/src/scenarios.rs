//! What is measured, and what this client should reach: the nine scenarios as data.
//!
//! Goals that are times were set on two cores of a server of 2026, client and sink on one machine,
//! and mean little elsewhere; beside each stands a ratio to a peer or to the floor of the same run.

use crate::report::{Bound, Column, Goal};
use crate::work::{Peer, Text, Wire};

pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    /// What no client can pass, and why.
    pub limit: &'static str,
    pub tables: &'static [Table],
    pub goals: &'static [Goal],
}

/// Rows that are measured in turns.
pub struct Table {
    /// What goals call it; empty where there is one alone.
    pub key: &'static str,
    pub kind: Kind,
    pub wire: Wire,
    pub connections: usize,
    /// Of a client that does not stall.
    pub messages: usize,
    pub size: usize,
    pub recipients: usize,
    pub text: Text,
    pub peers: &'static [Peer],
}

/// How a table is measured, and so what its columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Messages,
    /// One message; work is counted by the octet.
    Large,
    /// Over lines with a delay.
    Lines,
    Sessions,
    Idle,
    Parsers,
    Stuffing,
}

impl Table {
    const ONE: Self = Self {
        key: "",
        kind: Kind::Messages,
        wire: Wire::Clear,
        connections: 1,
        messages: 10_000,
        size: 1024,
        recipients: 1,
        text: Text::Clean,
        peers: &ALL,
    };

    const LARGE: Self = Self {
        kind: Kind::Large,
        messages: 1,
        size: 100 << 20,
        peers: &LARGE,
        ..Self::ONE
    };

    const SESSIONS: Self = Self {
        kind: Kind::Sessions,
        messages: 300,
        peers: &SESSIONS,
        ..Self::ONE
    };
}

pub const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "one",
        title: "1. Messages of 1 KiB, one connection",
        limit: "An awaited message needs one round trip and three system calls (send, receive, \
            wait). Streamed by BDAT nothing waits: 1.1 KiB out and 64 octets back a message.",
        tables: &[
            Table {
                key: "clear",
                ..Table::ONE
            },
            Table {
                key: "TLS",
                wire: Wire::Implicit,
                ..Table::ONE
            },
        ],
        goals: &[
            at_least("clear", "ehlo-stream-data", Column::Rate, 36_000.0),
            at_least("clear", "ehlo-stream-data", Column::OfBest, 2.1),
            times_of(
                "clear",
                "ehlo-stream-data",
                Column::Rate,
                (0.885, "floor-data"),
            ),
            at_most("clear", "ehlo-stream-data", Column::Instructions, 6_000.0),
            at_most("clear", "ehlo-stream-data", Column::Syscalls, 3.1),
            at_least("clear", "ehlo-awaited-data", Column::Rate, 18_000.0),
            at_least("clear", "ehlo-awaited", Column::Rate, 36_000.0),
            at_most("clear", "ehlo-awaited", Column::Instructions, 5_000.0),
            at_least("clear", "ehlo-stream", Column::Rate, 350_000.0),
            times_of("clear", "ehlo-stream", Column::Rate, (0.5, "floor-stream")),
            at_most("clear", "ehlo-stream", Column::Instructions, 1_500.0),
            at_most("clear", "ehlo-stream", Column::Syscalls, 0.25),
        ],
    },
    Scenario {
        name: "sixteen",
        title: "2. Messages of 1 KiB, 16 connections",
        limit: "The processor: client and server share it. Of the client two system calls a \
            message, and what the floor needs beside them.",
        tables: &[Table {
            connections: 16,
            messages: 32_000,
            ..Table::ONE
        }],
        goals: &[
            at_least("", "ehlo-stream-data", Column::Rate, 120_000.0),
            at_least("", "ehlo-awaited", Column::Rate, 125_000.0),
            at_least("", "ehlo-awaited", Column::OfBest, 3.0),
            at_least("", "ehlo-stream", Column::Rate, 350_000.0),
            at_most("", "ehlo-stream-data", Column::Instructions, 4_500.0),
            at_most("", "ehlo-stream-data", Column::Syscalls, 2.2),
            at_most("", "ehlo-awaited", Column::Instructions, 4_500.0),
            at_most("", "ehlo-awaited", Column::Syscalls, 2.2),
            at_most("", "ehlo-pool-data", Column::Connections, 16.0),
            at_most("", "ehlo-pool", Column::Connections, 16.0),
        ],
    },
    Scenario {
        name: "recipients",
        title: "3. Messages of 1 KiB to 50 recipients, one connection",
        limit: "One flight a message: 1.4 KB of envelope out, 0.7 KB of replies back, four system \
            calls. A client in lock-step needs 53 round trips.",
        tables: &[Table {
            messages: 1_000,
            recipients: 50,
            ..Table::ONE
        }],
        goals: &[
            at_least("", "ehlo-stream-data", Column::Rate, 32_000.0),
            at_least("", "ehlo-stream-data", Column::OfBest, 5.0),
            at_most("", "ehlo-stream-data", Column::Instructions, 17_000.0),
            at_most("", "ehlo-stream-data", Column::Syscalls, 5.0),
        ],
    },
    Scenario {
        name: "lines",
        title: "4. One connection over a line with a round-trip time",
        limit: "RFC 2920 lets a message and the next envelope share a group: N + 1 flights for N \
            messages by DATA. By BDAT a window of messages is on its way. The delay is emulated in \
            user space, where TCP itself does not see it: on a real line whoever waits for an \
            acknowledgement waits a round trip longer.",
        tables: &[Table {
            kind: Kind::Lines,
            messages: 0,
            ..Table::ONE
        }],
        goals: &[
            at_most("", "ehlo-stream-data", Column::RttsAt20, 1.02),
            at_most("", "ehlo-stream-data", Column::RttsAt100, 1.02),
            at_most("", "ehlo-awaited-data", Column::RttsAt100, 2.02),
            at_most("", "ehlo-awaited", Column::RttsAt100, 1.01),
            at_most("", "ehlo-stream", Column::RttsAt20, 0.05),
            at_most("", "ehlo-stream", Column::RttsAt100, 0.05),
            at_most("", "ehlo-stream-data", Column::Waits, 0.05),
            at_most("", "ehlo-awaited-data", Column::Waits, 0.05),
            at_most("", "ehlo-awaited", Column::Waits, 0.05),
            at_most("", "ehlo-stream", Column::Waits, 0.05),
        ],
    },
    Scenario {
        name: "large",
        title: "5. One message of 100 MiB",
        limit: "In clear the kernel's copy out and the server's copy in, some 3.9 GB/s; in TLS \
            AES-256-GCM on two cores, some 1.25 GB/s. A client that streams needs one buffer: of 4 \
            MiB in all 2.7 are a program on tokio that does nothing. This one links every client and \
            is larger, so what counts is what comes on top of its sending 1 KiB by the floor.",
        tables: &[
            Table {
                key: "clear",
                ..Table::LARGE
            },
            Table {
                key: "dots",
                text: Text::Dots,
                peers: &LARGE_BY_DATA,
                ..Table::LARGE
            },
            Table {
                key: "TLS",
                wire: Wire::Implicit,
                ..Table::LARGE
            },
        ],
        goals: &[
            at_least("clear", "ehlo-awaited-data", Column::MbRate, 3_000.0),
            times_of(
                "clear",
                "ehlo-awaited-data",
                Column::MbRate,
                (3.4, "mail-send"),
            ),
            times_of(
                "clear",
                "ehlo-awaited-data",
                Column::MbRate,
                (0.77, "floor-data"),
            ),
            at_least("clear", "ehlo-awaited", Column::MbRate, 3_000.0),
            at_most("clear", "ehlo-awaited-data", Column::InstructionsOctet, 2.0),
            at_most("clear", "ehlo-awaited", Column::InstructionsOctet, 0.05),
            at_most("clear", "ehlo-awaited-data", Column::SyscallsMiB, 4.0),
            at_most("clear", "ehlo-awaited", Column::SyscallsMiB, 4.0),
            at_most("clear", "ehlo-reader", Column::AboveMiB, 1.3),
            at_most("clear", "ehlo-reader-data", Column::AboveMiB, 1.3),
            at_most("clear", "ehlo-awaited-data", Column::AboveMiB, 101.3),
            at_most("clear", "ehlo-awaited", Column::AboveMiB, 101.3),
            at_least("dots", "ehlo-awaited-data", Column::MbRate, 1_500.0),
            at_least("TLS", "ehlo-awaited-data", Column::MbRate, 1_200.0),
            times_of(
                "TLS",
                "ehlo-awaited-data",
                Column::MbRate,
                (0.95, "floor-data"),
            ),
            at_least("TLS", "ehlo-awaited", Column::MbRate, 1_200.0),
            at_most("TLS", "ehlo-awaited-data", Column::InstructionsOctet, 6.0),
            at_most("TLS", "ehlo-awaited-data", Column::SyscallsMiB, 16.5),
            at_most("TLS", "ehlo-awaited", Column::SyscallsMiB, 16.5),
            at_most("TLS", "ehlo-reader", Column::AboveMiB, 1.3),
            at_most("TLS", "ehlo-reader-data", Column::AboveMiB, 1.3),
        ],
    },
    Scenario {
        name: "sessions",
        title: "6. Connection, TLS, log-in and one message",
        limit: "STARTTLS by DATA: EHLO, STARTTLS, ClientHello, Finished and EHLO, AUTH, envelope, \
            message and QUIT are 7 flights, and 2 RTTs for TCP and the greeting; one flight less by \
            BDAT. Implicit TLS: 6 and 1, or 5 and 1. Nearly all of the work is TLS.",
        tables: &[
            Table {
                key: "STARTTLS",
                wire: Wire::StartTls,
                ..Table::SESSIONS
            },
            Table {
                key: "implicit TLS",
                wire: Wire::Implicit,
                ..Table::SESSIONS
            },
        ],
        goals: &[
            at_most("STARTTLS", "ehlo-awaited-data", Column::RoundTrips, 7.0),
            at_most("STARTTLS", "ehlo-awaited", Column::RoundTrips, 6.0),
            at_most("STARTTLS", "ehlo-awaited-data", Column::SessionRtts, 9.3),
            at_most("STARTTLS", "ehlo-awaited", Column::SessionRtts, 8.3),
            at_most("STARTTLS", "ehlo-awaited-data", Column::Syscalls, 36.0),
            at_most("STARTTLS", "ehlo-awaited", Column::Syscalls, 33.0),
            at_most(
                "STARTTLS",
                "ehlo-awaited",
                Column::SessionInstructions,
                1_190.0,
            ),
            at_most(
                "STARTTLS",
                "ehlo-awaited",
                Column::FullInstructions,
                2_620.0,
            ),
            times_of(
                "STARTTLS",
                "ehlo-awaited",
                Column::SessionRate,
                (0.95, "floor-bdat"),
            ),
            times_of(
                "STARTTLS",
                "ehlo-awaited",
                Column::FullRate,
                (0.95, "floor-bdat"),
            ),
            at_most("implicit TLS", "ehlo-awaited-data", Column::RoundTrips, 6.0),
            at_most("implicit TLS", "ehlo-awaited", Column::RoundTrips, 5.0),
            at_most(
                "implicit TLS",
                "ehlo-awaited-data",
                Column::SessionRtts,
                7.3,
            ),
            at_most("implicit TLS", "ehlo-awaited", Column::SessionRtts, 6.3),
            at_most("implicit TLS", "ehlo-awaited-data", Column::Syscalls, 31.0),
            at_most("implicit TLS", "ehlo-awaited", Column::Syscalls, 28.0),
            at_most(
                "implicit TLS",
                "ehlo-awaited",
                Column::SessionInstructions,
                1_190.0,
            ),
            at_most(
                "implicit TLS",
                "ehlo-awaited",
                Column::FullInstructions,
                2_620.0,
            ),
            times_of(
                "implicit TLS",
                "ehlo-awaited",
                Column::SessionRate,
                (0.95, "floor-bdat"),
            ),
            times_of(
                "implicit TLS",
                "ehlo-awaited",
                Column::FullRate,
                (0.95, "floor-bdat"),
            ),
        ],
    },
    Scenario {
        name: "idle",
        title: "7. Memory of an idle connection",
        limit: "The task and the state of the socket, less than 1 KiB; in TLS rustls' own 7 to 8 \
            KiB. The kernel's buffers are not in it.",
        tables: &[Table {
            kind: Kind::Idle,
            connections: 2_000,
            messages: 1,
            peers: &IDLE,
            ..Table::ONE
        }],
        goals: &[
            at_most("", "ehlo-awaited", Column::GreetedClear, 1.2),
            at_most("", "ehlo-awaited", Column::GreetedTls, 8.2),
        ],
    },
    Scenario {
        name: "parsers",
        title: "8. Reply parsers",
        limit: "One search for the line end, three digits, the status code by its form, the text \
            borrowed: 13 to 14 ns a line. `ehlo` is the engine's whole work for a reply, which it \
            matches to its command and makes a verdict of; `ehlo-line` is the parsing alone, of \
            lines of a reply that is not complete. 8:1:1 is the weighted mean.",
        tables: &[Table {
            kind: Kind::Parsers,
            messages: 500,
            peers: &[],
            ..Table::ONE
        }],
        goals: &[
            at_most("", "ehlo-line", Column::NsOk, 20.0),
            at_most("", "ehlo-line", Column::InstructionsOk, 250.0),
            at_most("", "ehlo-line", Column::NsMix, 26.0),
            at_most("", "ehlo", Column::NsEhlo, 150.0),
        ],
    },
    Scenario {
        name: "stuffing",
        title: "9. Dot-stuffing and CRLF normalisation, 16 MiB in memory",
        limit: "Reading memory once, 11 GB/s. Each client sends by DATA over a transport that \
            swallows what is written; of them ehlo alone makes line ends CRLF. `ehlo-awaited-data` \
            scans the message and then sends it, `ehlo-reader-data` gets it in pieces.",
        tables: &[Table {
            kind: Kind::Stuffing,
            wire: Wire::Swallow,
            messages: 8,
            size: 16 << 20,
            peers: &STUFFING,
            ..Table::ONE
        }],
        goals: &[
            at_least("", "ehlo-awaited-data", Column::MixedRate, 6.0),
            at_least("", "ehlo-awaited-data", Column::CleanRate, 8.0),
            at_least("", "ehlo-awaited-data", Column::OfBest, 6.0),
            at_most("", "ehlo-awaited-data", Column::InstructionsMixed, 2.0),
            at_most("", "ehlo-awaited-data", Column::InstructionsClean, 2.0),
            at_most("", "ehlo-reader-data", Column::InstructionsMixed, 2.0),
        ],
    },
];

const fn at_least(table: &'static str, row: &'static str, column: Column, value: f64) -> Goal {
    Goal {
        table,
        row,
        column,
        bound: Bound::AtLeast(value),
    }
}

const fn at_most(table: &'static str, row: &'static str, column: Column, value: f64) -> Goal {
    Goal {
        table,
        row,
        column,
        bound: Bound::AtMost(value),
    }
}

const fn times_of(
    table: &'static str,
    row: &'static str,
    column: Column,
    (times, other): (f64, &'static str),
) -> Goal {
    Goal {
        table,
        row,
        column,
        bound: Bound::TimesOf(times, other),
    }
}

const ALL: [Peer; 17] = [
    Peer::Lettre,
    Peer::LettreNodelay,
    Peer::MailSend,
    Peer::MailSendNodelay,
    Peer::MailSendByHandData,
    Peer::MailSendByHandBdat,
    Peer::AsyncSmtp,
    Peer::AsyncSmtpNodelay,
    Peer::EhloAwaitedData,
    Peer::EhloAwaited,
    Peer::EhloStreamData,
    Peer::EhloStream,
    Peer::EhloPoolData,
    Peer::EhloPool,
    Peer::FloorData,
    Peer::FloorBdat,
    Peer::FloorStream,
];

const LARGE: [Peer; 10] = [
    Peer::Lettre,
    Peer::MailSend,
    Peer::MailSendByHandBdat,
    Peer::AsyncSmtp,
    Peer::EhloAwaitedData,
    Peer::EhloAwaited,
    Peer::EhloReaderData,
    Peer::EhloReader,
    Peer::FloorData,
    Peer::FloorBdat,
];

const LARGE_BY_DATA: [Peer; 6] = [
    Peer::Lettre,
    Peer::MailSend,
    Peer::AsyncSmtp,
    Peer::EhloAwaitedData,
    Peer::EhloReaderData,
    Peer::FloorData,
];

const SESSIONS: [Peer; 8] = [
    Peer::Lettre,
    Peer::MailSend,
    Peer::MailSendByHandBdat,
    Peer::AsyncSmtp,
    Peer::EhloAwaitedData,
    Peer::EhloAwaited,
    Peer::FloorData,
    Peer::FloorBdat,
];

const IDLE: [Peer; 5] = [
    Peer::LettreNodelay,
    Peer::MailSendNodelay,
    Peer::AsyncSmtpNodelay,
    Peer::EhloAwaited,
    Peer::FloorBdat,
];

const STUFFING: [Peer; 5] = [
    Peer::Lettre,
    Peer::MailSend,
    Peer::AsyncSmtp,
    Peer::EhloAwaitedData,
    Peer::EhloReaderData,
];
