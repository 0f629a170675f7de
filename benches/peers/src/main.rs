//! Other clients beside this one, on the same work, in the same run: see ../README.md.
//!
//! `peers table` starts a server (`peers serve`) and a client (`peers client`) for each run, each a
//! process of its own, the clients in turns, and prints what they took beside what they should take.
//!
//! Reading order: `scenarios` (what is measured, and the goals), `table` (the runs), `measure` (one
//! run), `report` (printing); then `work` (what a client is told), `clients`, `parsers`, `sink` and
//! `relay`.

mod clients;
mod measure;
mod parsers;
mod relay;
mod report;
mod scenarios;
mod sink;
mod table;
mod work;

use crate::work::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, rest)) => match command.as_str() {
            "serve" => sink::serve(sink::Options::from_arguments(rest)?).await,
            "client" => clients::run(&work::Job::from_arguments(rest)?).await,
            "parse" => parsers::run(rest),
            "table" => table::print(rest).await,
            // Options of the table, which is what one mostly wants.
            _ => table::print(&arguments).await,
        },
        None => table::print(&[]).await,
    }
}
