//! `cargo simulate`: random operations and faults over four nodes, from a seed; then everything
//! must agree.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use entente_node::command;
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
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Node::Node(node)) = &cli.node {
        return command::run_cli(node);
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
