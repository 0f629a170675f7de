//! `ehlo conformance`: the project's transcripts, played against another program.

use std::time::Duration;

use super::args::ConformanceArguments;
use super::exit::Exit;
use super::failure::Failure;
use super::terminal::{self, Ink, Tint};
use crate::conformance::{Examination, Row, RuleVerdict, Table, Template, page};

/// Plays them, and shows the table.
pub(crate) async fn run(arguments: ConformanceArguments) -> Result<Exit, Failure> {
    let template = Template::parse(&arguments.client)
        .map_err(|error| Failure::usage(format!("--client: {error}")))?;
    let seconds = arguments.timeout;
    let examination = Examination {
        template,
        only: arguments.only.clone(),
        timeout: Duration::from_secs(seconds),
        parallel: arguments.parallel,
        progress: |done, total| terminal::status(format_args!("{done} of {total} dialogues")),
    };
    let table = examination
        .run()
        .await
        .map_err(|error| Failure::usage(format!("the client cannot be run: {error}")))?;
    if table.runs.is_empty() {
        return Err(Failure::usage("--only means no transcript and no rule"));
    }
    if let Some(path) = &arguments.html {
        tokio::fs::write(path, page(&table, &arguments.client))
            .await
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
    }
    match arguments.json {
        true => terminal::line(table.json(&arguments.client)),
        false => show(&table, arguments.only.as_deref()),
    }
    let [kept, broken, _] = table.counts();
    match (kept, broken) {
        (_, 1..) => Ok(Exit::Refused),
        (1.., 0) => Ok(Exit::Done),
        (0, 0) => {
            let run = table.runs.iter().find_map(|run| run.reason());
            let reason = run.unwrap_or("no transcript was played");
            Err(Failure::usage(format!("nothing could be judged: {reason}")))
        }
    }
}

fn show(table: &Table, only: Option<&str>) {
    let ink = Ink::for_stream(&std::io::stdout());
    let mut section = "";
    // Of some transcripts, only what they have to say.
    let says = |row: &&Row| only.is_none() || row.verdict.is_applicable();
    for row in table.rows.iter().filter(says) {
        if row.rule.section != section {
            section = row.rule.section;
            terminal::line(format_args!("{section}"));
        }
        let (tint, what) = match &row.verdict {
            RuleVerdict::Kept(count) => (Tint::Good, format!("kept            in {count}")),
            RuleVerdict::Broken(_) => {
                let dialogues = row.verdict.broken_in();
                (Tint::Bad, format!("BROKEN          in {dialogues}"))
            }
            RuleVerdict::NotApplicable(reason) => {
                (Tint::Faint, format!("not applicable  {reason}"))
            }
        };
        let line = format!("  {:<10} {} {what}", row.rule.id, row.rule.level);
        terminal::line(ink.paint(tint, line));
        if let RuleVerdict::Broken(breaches) = &row.verdict {
            for (transcript, what) in breaches.iter().take(SHOWN_BREACHES) {
                terminal::line(format_args!("               {transcript}: {what}"));
            }
        }
    }
    for run in table.broken() {
        terminal::line(format_args!("\n{}: {}", run.name, run.purpose));
        for line in &run.dialogue {
            terminal::line(format_args!("  {line}"));
        }
    }
    let [kept, broken, not_applicable] = table.counts();
    terminal::line(format_args!(
        "\n{kept} rules kept, {broken} broken, {not_applicable} not applicable, in {} dialogues.",
        table.played()
    ));
}

/// Breaches named for one rule; the dialogues below show all.
const SHOWN_BREACHES: usize = 5;
