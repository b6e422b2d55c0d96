//! An upgrade as a process of its own, for tests that kill it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use entente_node::home;
use entente_node::id::{Clock, Entropy, Timestamp};
use entente_node::store::{Progress, Upgrade};

/// Upgrades a home as `entente-node upgrade` does, and says how far it has come
#[derive(Parser)]
struct Cli {
    /// The home folder
    #[arg(long)]
    home: PathBuf,
    /// What time it is
    #[arg(long)]
    at: Timestamp,
    /// Records in a batch
    #[arg(long)]
    records_at_once: usize,
    /// After so many words on how far it has come it waits to be killed
    #[arg(long, default_value_t = usize::MAX)]
    stop_at: usize,
}

/// Until it is killed.
fn wait() -> ! {
    loop {
        std::thread::park();
    }
}

/// Prints a line for each word on how far it has come: step, of how many, records, of how many.
fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut words = 0;
    let mut told = |progress: &Progress| {
        let Progress { step, steps, done, total, .. } = progress;
        println!("{step} {steps} {done} {total}");
        words += 1;
        if words >= cli.stop_at {
            wait();
        }
    };
    let whole = Upgrade::Whole { records_at_once: cli.records_at_once, told: &mut told };
    match home::upgrade(&cli.home, Clock::fixed(cli.at), Entropy::os(), whole) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
