//! `cargo simulate`: operations and faults over four nodes, from a seed or a file; then everything
//! must agree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use entente_node::command;
use entente_tests::simulation::{Operation, Report, generate, parse, print, run, shrunk};
use tokio::runtime::Runtime;

#[derive(Parser)]
#[command(
    name = "simulate",
    about,
    after_help = "Operations that fail are written to a file, one a line: run them again, shorten \
                  them, and keep them in tests/data/simulation, where a test runs them.\n\n\
                  Examples:\n  \
                  cargo simulate --seeds 100 --first 1000\n  \
                  cargo simulate --replay seed-1007.jsonl --shrink 40"
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
    /// Operations from a file instead, one a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["first", "seeds", "operations"])]
    replay: Option<PathBuf>,
    /// Shortens what fails: as many runs as this, each with fewer operations
    #[arg(long, value_name = "RUNS", default_value_t = 0)]
    shrink: usize,
    /// Where what failed is written
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
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
    match simulate(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(cli: &Cli) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    if let Some(path) = &cli.replay {
        let read = || parse(&fs::read_to_string(path)?);
        let operations = read().with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        return one(cli, &runtime, &name, &operations);
    }
    let seeds = cli.first..cli.first + cli.seeds;
    seeds.into_iter().try_for_each(|seed| {
        one(cli, &runtime, &format!("seed-{seed}"), &generate(seed, cli.operations))
    })
}

fn one(cli: &Cli, runtime: &Runtime, name: &str, operations: &[Operation]) -> anyhow::Result<()> {
    match try_out(runtime, operations) {
        Ok(report) => {
            println!("{name}: {report}");
            Ok(())
        }
        Err(error) => {
            eprintln!("{name} failed: {error:#}");
            let least = shrunk(operations, cli.shrink, |fewer| {
                let failed = try_out(runtime, fewer).err();
                eprintln!(
                    "{} operations {}",
                    fewer.len(),
                    failed.as_ref().map_or("agree".to_owned(), |error| format!("fail: {error:#}"))
                );
                failed.is_some()
            });
            let path = cli.out.join(format!("{name}.failed.jsonl"));
            write(&path, &format!("{error:#}"), &least)?;
            anyhow::bail!("again: cargo simulate --replay {}", path.display())
        }
    }
}

fn try_out(runtime: &Runtime, operations: &[Operation]) -> anyhow::Result<Report> {
    // An assertion that fails within is no reason to lose the list.
    let outcome = runtime.block_on(async {
        let operations = operations.to_vec();
        tokio::spawn(async move { run(&operations).await }).await
    });
    outcome.context("a panic")?
}

fn write(path: &Path, error: &str, operations: &[Operation]) -> anyhow::Result<()> {
    let why = error.lines().next().unwrap_or_default();
    let text = format!("# {why}\n{}", print(operations));
    eprintln!("{text}");
    fs::write(path, text).with_context(|| path.display().to_string())
}
