//! `cargo simulate`: random operations and faults over four nodes, from a seed; then everything
//! must agree.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use entente_node::id::{Clock, Entropy, Timestamp};
use entente_node::store::{Progress, Upgrade};
use entente_node::{command, home};
use entente_tests::simulation::{Simulation, run};

#[derive(Parser)]
#[command(
    name = "simulate",
    about,
    after_help = "Example:\n  cargo simulate --seeds 100 --first 1000"
)]
struct Cli {
    /// First seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many seeds, one after the other
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Operations of each
    #[arg(long, default_value_t = 60)]
    operations: usize,
    #[command(subcommand)]
    node: Option<Node>,
}

#[derive(Subcommand)]
enum Node {
    /// A node as a process of its own, for tests that kill it
    #[command(hide = true)]
    Node(command::Cli),
    /// An upgrade as a process of its own, for tests that kill it
    #[command(hide = true)]
    Upgrade(Upgrading),
}

#[derive(Args)]
struct Upgrading {
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

/// Prints a line for each word on how far it has come: step, of how many, records, of how many.
fn upgrade(asked: &Upgrading) -> ExitCode {
    let mut words = 0;
    let mut told = |progress: &Progress| {
        let Progress { step, steps, done, total, .. } = progress;
        println!("{step} {steps} {done} {total}");
        words += 1;
        while words >= asked.stop_at {
            std::thread::park();
        }
    };
    let whole = Upgrade::Whole { records_at_once: asked.records_at_once, told: &mut told };
    match home::upgrade(&asked.home, Clock::fixed(asked.at), Entropy::os(), whole) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.node {
        Some(Node::Node(node)) => return command::run_cli(node),
        Some(Node::Upgrade(asked)) => return upgrade(asked),
        None => {}
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for seed in cli.first..cli.first + cli.seeds {
        let simulation = Simulation { seed, operations: cli.operations };
        match runtime.block_on(run(&simulation)) {
            Ok(report) => println!("seed {seed}: {report}"),
            Err(error) => {
                eprintln!("seed {seed} failed: {error:#}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
