//! Tables and goals, as Markdown.

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Rate,
    OfBest,
    Instructions,
    Syscalls,
    Connections,
    MbRate,
    PeakMiB,
    AboveMiB,
    InstructionsOctet,
    SyscallsMiB,
    RateAt20,
    RttsAt20,
    RateAt100,
    RttsAt100,
    RoundTrips,
    Waits,
    SessionRate,
    FullRate,
    SessionInstructions,
    FullInstructions,
    SessionRtts,
    GreetedClear,
    UsedClear,
    GreetedTls,
    UsedTls,
    NsOk,
    InstructionsOk,
    NsRefused,
    InstructionsRefused,
    NsEhlo,
    InstructionsEhlo,
    NsMix,
    InstructionsMix,
    MixedRate,
    InstructionsMixed,
    CleanRate,
    InstructionsClean,
}

impl Column {
    pub fn title(self) -> &'static str {
        match self {
            Self::Rate => "messages/s",
            Self::OfBest => "of the best peer",
            Self::Instructions => "instructions/message",
            Self::Syscalls => "syscalls/message",
            Self::Connections => "connections",
            Self::MbRate => "MB/s",
            Self::PeakMiB => "peak MiB",
            Self::AboveMiB => "MiB above the program",
            Self::InstructionsOctet => "instructions/octet",
            Self::SyscallsMiB => "syscalls/MiB",
            Self::RateAt20 => "messages/s at 20 ms",
            Self::RttsAt20 => "RTTs/message at 20 ms",
            Self::RateAt100 => "messages/s at 100 ms",
            Self::RttsAt100 => "RTTs/message at 100 ms",
            Self::RoundTrips => "round trips",
            Self::Waits => "RTTs beyond round trips",
            Self::SessionRate => "sessions/s resumed",
            Self::FullRate => "sessions/s full",
            Self::SessionInstructions => "k instructions resumed",
            Self::FullInstructions => "k instructions full",
            Self::SessionRtts => "elapsed, in RTTs of 20 ms",
            Self::GreetedClear => "clear KiB",
            Self::UsedClear => "after a message",
            Self::GreetedTls => "TLS KiB",
            Self::UsedTls => "TLS after a message",
            Self::NsOk => "250: ns",
            Self::InstructionsOk => "250: instructions",
            Self::NsRefused => "550: ns",
            Self::InstructionsRefused => "550: instructions",
            Self::NsEhlo => "EHLO: ns",
            Self::InstructionsEhlo => "EHLO: instructions",
            Self::NsMix => "8:1:1: ns",
            Self::InstructionsMix => "8:1:1: instructions",
            Self::MixedRate => "mixed GB/s",
            Self::InstructionsMixed => "mixed instructions/octet",
            Self::CleanRate => "clean GB/s",
            Self::InstructionsClean => "clean instructions/octet",
        }
    }
}

/// A client in a table.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub is_peer: bool,
    cells: Vec<(Column, f64)>,
}

impl Row {
    pub fn new(name: impl Into<String>, is_peer: bool) -> Self {
        Self {
            name: name.into(),
            is_peer,
            cells: Vec::new(),
        }
    }

    /// Leaves out what could not be measured.
    pub fn set(&mut self, column: Column, value: Option<f64>) {
        self.cells.extend(value.map(|value| (column, value)));
    }

    pub fn get(&self, column: Column) -> Option<f64> {
        let cell = self.cells.iter().find(|(known, _)| *known == column);
        cell.map(|(_, value)| *value)
    }
}

/// What a client should reach.
pub struct Goal {
    pub table: &'static str,
    pub row: &'static str,
    pub column: Column,
    pub bound: Bound,
}

#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// So many times what another client reaches.
    TimesOf(f64, &'static str),
}

/// A goal, and what came of it.
pub struct Verdict {
    /// Scenario and table.
    pub scenario: String,
    what: String,
    goal: String,
    measured: Option<f64>,
    met: Option<bool>,
}

/// Adds what each is of the best peer in this column.
pub fn compare(rows: &mut [Row], column: Column) {
    let theirs = rows.iter().filter(|row| row.is_peer);
    let best = theirs.filter_map(|row| row.get(column)).fold(0.0, f64::max);
    for row in rows.iter_mut() {
        let of_best = row.get(column).map(|value| value / best);
        row.set(Column::OfBest, of_best.filter(|ratio| ratio.is_finite()));
    }
}

pub fn print_table(title: &str, columns: &[Column], rows: &[Row]) {
    println!("### {title}\n");
    let titles: Vec<&str> = columns.iter().map(|column| column.title()).collect();
    println!("| client | {} |", titles.join(" | "));
    println!("| --- |{}", " ---: |".repeat(columns.len()));
    for row in rows {
        let cell = |column: &Column| row.get(*column).map(digits).unwrap_or_default();
        let cells: Vec<String> = columns.iter().map(cell).collect();
        println!("| {} | {} |", row.name, cells.join(" | "));
    }
    println!();
}

pub fn judge(scenario: &str, goal: &Goal, rows: &[Row]) -> Verdict {
    let find = |name: &str| {
        let row = rows.iter().find(|row| row.name == name)?;
        row.get(goal.column)
    };
    let measured = find(goal.row);
    let (text, bound) = match goal.bound {
        Bound::AtLeast(value) => (format!("≥ {}", digits(value)), Some(value)),
        Bound::AtMost(value) => (format!("≤ {}", digits(value)), Some(value)),
        Bound::TimesOf(times, other) => {
            let value = find(other).map(|value| value * times);
            let shown = value.map(digits).unwrap_or_default();
            (format!("≥ {} × {other} = {shown}", digits(times)), value)
        }
    };
    let met = measured
        .zip(bound)
        .map(|(measured, bound)| match goal.bound {
            Bound::AtLeast(_) | Bound::TimesOf(..) => measured >= bound,
            Bound::AtMost(_) => measured <= bound,
        });
    Verdict {
        scenario: match goal.table {
            "" => scenario.to_owned(),
            table => format!("{scenario}, {table}"),
        },
        what: format!("{}: {}", goal.row, goal.column.title()),
        goal: text,
        measured,
        met,
    }
}

pub fn print_verdicts<'a>(verdicts: impl Iterator<Item = &'a Verdict>) {
    println!("| scenario | what | goal | measured | |\n| --- | --- | ---: | ---: | --- |");
    for verdict in verdicts {
        let met = match verdict.met {
            Some(true) => "met",
            Some(false) => "**short**",
            None => "not measured",
        };
        println!(
            "| {} | {} | {} | {} | {met} |",
            verdict.scenario,
            verdict.what,
            verdict.goal,
            verdict.measured.map(digits).unwrap_or_default(),
        );
    }
    println!();
}

/// How many goals are met, short, and not measured.
pub fn tally(verdicts: &[Verdict]) -> [usize; 3] {
    [Some(true), Some(false), None]
        .map(|met| verdicts.iter().filter(|verdict| verdict.met == met).count())
}

/// A number with about three digits, thousands set apart.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let whole = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
