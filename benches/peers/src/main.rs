//! Other clients beside this one, on the same work, in the same run: see ../README.md.
//!
//! `peers table` starts a server (`peers serve`) and one client after the other (`peers client`), each
//! a process of its own, in turns, and prints what they took.

mod clients;
mod sink;
mod table;
mod work;

use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_else(|| "table".to_owned());
    let arguments: Vec<String> = arguments.collect();
    match command.as_str() {
        "serve" => sink::serve(&arguments).await,
        "client" => clients::run(&work::Job::from_arguments(&arguments)?).await,
        "table" => table::print(&arguments).await,
        other => Err(format!("serve, client or table, not {other}").into()),
    }
}
