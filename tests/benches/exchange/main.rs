//! `cargo bench -p entente-tests --bench exchange`: speed and memory of real nodes, as ratios
//! measured in one run where that is possible. Absolute figures are of the machine it runs on.

mod create;
mod deliver;
mod echo;
mod fanout;
mod imports;
mod memory;
mod scale;
mod search;

use entente_node::roles::Role;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use entente_tests::federation::{Federation, TestNode, person};
use serde_json::json;
use tokio::time::Instant;

#[derive(Parser)]
struct Cli {
    /// How the table is written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Few alerts, to see that it runs; no bar is held
    #[arg(long)]
    smoke: bool,
    /// Only one part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Instead, what must stay level up to so many alerts; minutes for a million
    #[arg(long, value_name = "ALERTS", num_args = 0..=1, default_missing_value = "1000000")]
    #[arg(value_parser = clap::value_parser!(u32).range(100..))]
    #[arg(conflicts_with_all = ["smoke", "only"])]
    scale: Option<u32>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    Create,
    Imports,
    Deliver,
    Fanout,
    Search,
}

/// One line of the table.
pub struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    bar: Bar,
}

/// What a value must keep to.
#[derive(Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
    /// Shown beside the others.
    None,
}

impl Row {
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str, bar: Bar) -> Self {
        Self { name: name.into(), value, unit, bar }
    }

    fn ok(&self) -> bool {
        match self.bar {
            Bar::AtLeast(bar) => self.value >= bar,
            Bar::AtMost(bar) => self.value <= bar,
            Bar::None => true,
        }
    }

    fn bar(&self) -> String {
        match self.bar {
            Bar::AtLeast(bar) => format!("≥ {bar}"),
            Bar::AtMost(bar) => format!("≤ {bar}"),
            Bar::None => String::new(),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Size {
    /// Alerts in a full store.
    pub full: usize,
    /// Alerts in a small one.
    pub small: usize,
    /// Alerts created or delivered for a rate.
    pub batch: usize,
    /// Alerts delivered to each of many peers.
    pub fanned: usize,
    /// How long calls are counted.
    pub counting: Duration,
    /// Calls whose times are looked at.
    pub timed: usize,
}

const FULL: Size = Size {
    full: 100_000,
    small: 1_000,
    batch: 10_000,
    fanned: 400,
    counting: Duration::from_secs(5),
    timed: 1000,
};

const SMOKE: Size = Size {
    full: 600,
    small: 100,
    batch: 300,
    fanned: 20,
    counting: Duration::from_millis(500),
    timed: 20,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let size = if cli.smoke { SMOKE } else { FULL };
    let runtime = entente_node::run::runtime().expect("a runtime");
    let measured = async {
        match cli.scale {
            Some(alerts) => scale::rows(alerts as usize).await,
            None => measure(size, cli.only).await,
        }
    };
    let rows = match runtime.block_on(measured) {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("entente: error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    print(&rows, cli.format);
    let ok = cli.smoke || rows.iter().all(Row::ok);
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(size: Size, only: Option<Part>) -> anyhow::Result<Vec<Row>> {
    let wanted = |part| only.is_none_or(|only| only == part);
    let mut rows = Vec::new();
    if wanted(Part::Create) {
        rows.extend(create::rows(size).await?);
    }
    if wanted(Part::Imports) {
        rows.extend(imports::rows(size).await?);
    }
    if wanted(Part::Deliver) {
        rows.extend(deliver::rows(size).await?);
    }
    if wanted(Part::Fanout) {
        rows.extend(fanout::rows(size).await?);
    }
    if wanted(Part::Search) {
        rows.extend(search::rows(size).await?);
    }
    Ok(rows)
}

fn print(rows: &[Row], format: Format) {
    if format == Format::Json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "value": row.value, "unit": row.unit,
                    "bar": row.bar(), "ok": row.ok(),
                })
            })
            .collect();
        println!("{}", json!({ "rows": rows }));
        return;
    }
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
    for row in rows {
        let mark = if row.ok() { "ok" } else { "MISSED" };
        println!(
            "{:width$}  {:>10.3} {:12} {:>8}  {mark}",
            row.name,
            row.value,
            row.unit,
            row.bar()
        );
    }
}

/// One node that knows nobody, holding `alerts` samples.
pub async fn filled(alerts: usize) -> anyhow::Result<Federation> {
    let federation = Federation::start(&["dk.politi"]).await?;
    create::fill(&federation.nodes[0], alerts, 64).await?;
    Ok(federation)
}

/// Keeps `at_once` calls in flight for `counting`; returns calls per second.
pub async fn rate<F, W>(at_once: usize, counting: Duration, mut call: F) -> anyhow::Result<f64>
where
    F: FnMut(usize) -> W,
    W: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut open = tokio::task::JoinSet::new();
    let (began, mut done, mut next) = (Instant::now(), 0usize, 0usize);
    while began.elapsed() < counting {
        while open.len() < at_once {
            open.spawn(call(next));
            next += 1;
        }
        if let Some(ended) = open.join_next().await {
            ended??;
            done += 1;
        }
    }
    let rate = done as f64 / began.elapsed().as_secs_f64();
    while let Some(ended) = open.join_next().await {
        ended??;
    }
    Ok(rate)
}

/// The value below which `share` of the times lie, in milliseconds.
pub fn quantile(mut times: Vec<Duration>, share: f64) -> f64 {
    times.sort();
    let place = ((times.len() as f64 - 1.0) * share).round() as usize;
    times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

/// The middle one.
pub fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// Times of `count` creates, one after the other, with a pause between.
pub async fn create_times(
    node: &TestNode,
    count: usize,
    seed: u64,
) -> anyhow::Result<Vec<Duration>> {
    let officer = person(Role::Officer);
    let mut times = Vec::with_capacity(count);
    for sample in entente_node::sample::Samples::new(seed).take(count) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let began = Instant::now();
        // As the desk door counts its callers.
        let _person = node.node().precedence.person();
        entente_node::desk::create(node.node(), &sample.to_string(), "", &officer).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}
