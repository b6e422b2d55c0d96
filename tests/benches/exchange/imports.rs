//! What an officer waits for while imports are open: creates and searches over mTLS at a node of
//! its own process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use entente_node::sample::Samples;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::import_result::Outcome;
use entente_proto::desk::{CreateAlertRequest, ImportLine};
use entente_tests::processes::Process;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::search::search;
use super::{Bar, Row, Size, median, quantile};

/// Imports that are open at once.
const IMPORTS: usize = 4;

/// Lines on their way to the node: more than it takes at once.
const LINES: usize = 256;

/// Rounds, of which the middle one counts: the speed of disk and machine varies.
const ROUNDS: usize = 3;

/// Pause between two calls of the officer.
const PAUSE: Duration = Duration::from_millis(5);

pub async fn rows(size: Size) -> anyhow::Result<Vec<Row>> {
    let folder = TempDir::with_prefix("entente-bench-")?;
    let mut node = Process::prepare(folder.path(), "dk.politi", env!("CARGO_BIN_EXE_simulate"))?;
    node.start().await?;
    let (mut creates, mut searches, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let idle = waits(&node, size.timed / 4, round).await?;
        let imported = Arc::new(AtomicUsize::new(0));
        let mut imports = JoinSet::new();
        for number in 0..IMPORTS {
            let (officer, imported) = (node.desk("officer").await?, Arc::clone(&imported));
            imports.spawn(import(officer, round * IMPORTS + number, imported));
        }
        while imported.load(Ordering::Relaxed) < LINES {
            tokio::time::sleep(PAUSE).await;
        }
        let (began, before) = (Instant::now(), imported.load(Ordering::Relaxed));
        let busy = waits(&node, size.timed / 4, round + ROUNDS).await?;
        let done = imported.load(Ordering::Relaxed) - before;
        rates.push(done as f64 / began.elapsed().as_secs_f64());
        imports.shutdown().await;
        creates.push(busy.0 / idle.0);
        searches.push(busy.1 / idle.1);
    }
    node.terminate().await?;
    let row = |what: &str, ratios| {
        let name = format!("median {what} behind {IMPORTS} open imports / idle");
        Row::new(name, median(ratios), "ratio", Bar::AtMost(2.0))
    };
    Ok(vec![
        row("create", creates),
        row("search", searches),
        Row::new("imported meanwhile", median(rates), "alerts/s", Bar::None),
    ])
}

/// Medians of creates and of searches, one after the other, in milliseconds.
async fn waits(node: &Process, calls: usize, seed: usize) -> anyhow::Result<(f64, f64)> {
    let channel = node.desk("officer").await?;
    let (mut creates, mut searches) = (Vec::new(), Vec::new());
    for (number, sample) in Samples::new(seed as u64 + 900).take(calls).enumerate() {
        tokio::time::sleep(PAUSE).await;
        let asked = CreateAlertRequest { draft: sample.to_string(), ..Default::default() };
        let began = Instant::now();
        match DeskClient::new(channel.clone()).create_alert(asked).await {
            Ok(_) => creates.push(began.elapsed()),
            // Two samples may have one name and birth date.
            Err(status) if status.code() == tonic::Code::FailedPrecondition => {}
            Err(status) => return Err(status.into()),
        }
        tokio::time::sleep(PAUSE).await;
        let began = Instant::now();
        search(channel.clone(), number).await?;
        searches.push(began.elapsed());
    }
    Ok((quantile(creates, 0.5), quantile(searches, 0.5)))
}

/// Imports until it is dropped.
pub async fn import(
    officer: Channel,
    seed: usize,
    imported: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    let (lines, stream) = mpsc::channel(LINES);
    let feeding = async move {
        for (line, draft) in (0..).zip(Samples::new(seed as u64)) {
            if lines
                .send(ImportLine { line, draft: draft.to_string(), ..Default::default() })
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let taking = async move {
        let mut desk = DeskClient::new(officer);
        let mut answers = desk.import_alerts(ReceiverStream::new(stream)).await?.into_inner();
        while let Some(answer) = answers.next().await.transpose()? {
            if matches!(answer.outcome, Some(Outcome::Created(_))) {
                imported.fetch_add(1, Ordering::Relaxed);
            }
        }
        anyhow::Ok(())
    };
    tokio::join!(feeding, taking).1
}
