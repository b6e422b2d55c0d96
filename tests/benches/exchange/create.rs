//! Creating, measured at the use case: against a bare sled writer, and with peers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use entente_node::desk::{self, DeskError};
use entente_node::exchange;
use entente_node::id::{Clock, Entropy};
use entente_node::jose::SigningKey;
use entente_node::node::SharedNode;
use entente_node::pki::Authority;
use entente_node::roles::Role;
use entente_node::sample::Samples;
use entente_node::store::{Feed, Log, Own, StreamOut, StreamsOut, Table};
use entente_node::trust::{Draft, SignedDescriptor};
use entente_tests::federation::{ALL, Federation, TestNode, person, until};
use entente_tests::processes::Process;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Bar, Row, Size, create_times, median, quantile};

/// Alerts of one group of the bare writer: as many as are in flight.
const GROUP: usize = 64;

/// Rounds of a comparison, of which the middle one counts: the speed of disk and machine varies.
const ROUNDS: usize = 5;

/// Tables whose keys are running numbers.
const RUNNING_NUMBERS: [u8; 2] = [Feed::PREFIX, Log::PREFIX];

/// Creates samples with so many in flight; returns alerts per second.
pub async fn fill(node: &TestNode, alerts: usize, at_once: usize) -> anyhow::Result<f64> {
    let drafts = Samples::new(alerts as u64).take(alerts).map(|sample| sample.to_string());
    let drafts = Arc::new(Mutex::new(drafts.collect::<Vec<_>>()));
    let mut officers = JoinSet::new();
    let began = Instant::now();
    for _ in 0..at_once {
        officers.spawn(create_all(node.node().clone(), Arc::clone(&drafts)));
    }
    while let Some(ended) = officers.join_next().await {
        ended??;
    }
    Ok(alerts as f64 / began.elapsed().as_secs_f64())
}

async fn create_all(node: SharedNode, drafts: Arc<Mutex<Vec<String>>>) -> anyhow::Result<()> {
    let next = || drafts.lock().unwrap_or_else(PoisonError::into_inner).pop();
    while let Some(draft) = next() {
        match desk::create(&node, &draft, "", &person(Role::Officer)).await {
            // Two samples may have one name and birth date.
            Ok(_) | Err(DeskError::Incompatible(_) | DeskError::Raced(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub async fn rows(size: Size) -> anyhow::Result<Vec<Row>> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(against_bare_writer(size).await?);
    }
    rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    let (ours, bare) = rounds[ROUNDS / 2];
    let mut rows = vec![
        Row::new("create, 64 in flight", ours, "alerts/s", Bar::None),
        Row::new("bare sled writer of the same records", bare, "alerts/s", Bar::None),
        Row::new("create / bare writer", ours / bare, "ratio", Bar::AtLeast(0.35)),
    ];
    rows.push(with_unreachable_peers(size).await?);
    rows.push(with_live_peers(size).await?);
    Ok(rows)
}

/// The same keys and values as the node wrote, in groups as it wrote them, one batch and one
/// durable flush a group.
async fn against_bare_writer(size: Size) -> anyhow::Result<(f64, f64)> {
    let mut federation = Federation::start(&["dk.politi"]).await?;
    let ours = fill(&federation.nodes[0], size.batch, GROUP).await?;
    federation.nodes[0].stop().await?;
    let written = federation.nodes[0].home.join("store/db");
    let bare = federation.folder().join("bare");
    let alerts = size.batch;
    let rate = tokio::task::spawn_blocking(move || bare_rate(&written, &bare, alerts));
    Ok((ours, rate.await??))
}

fn bare_rate(written: &Path, bare: &Path, alerts: usize) -> anyhow::Result<f64> {
    let groups = groups(written, alerts.div_ceil(GROUP))?;
    let to = sled::Config::new().path(bare).cache_capacity(96 << 20).flush_every_ms(None).open()?;
    let file = std::fs::File::open(bare.join("db"))?;
    let began = Instant::now();
    for group in groups {
        let mut batch = sled::Batch::default();
        group.into_iter().for_each(|(key, value)| batch.insert(key, value));
        to.apply_batch(batch)?;
        to.flush()?;
        // What sled calls flushed is not safe against a power cut: the node syncs as well.
        file.sync_data()?;
    }
    Ok(alerts as f64 / began.elapsed().as_secs_f64())
}

type Records = Vec<(sled::IVec, sled::IVec)>;

/// Each group gets its share of every table: of those with running numbers in their order, of the
/// others, whose keys are random, at random.
fn groups(written: &Path, count: usize) -> anyhow::Result<Vec<Records>> {
    let from = sled::Config::new().path(written).flush_every_ms(None).open()?;
    let mut tables: BTreeMap<u8, Records> = BTreeMap::new();
    let mut cells = std::fs::read(written.with_file_name("cells"))?;
    cells.truncate(cells.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    let own = from.scan_prefix([Own::PREFIX]).count();
    let mut cells = cells.chunks(cells.len().div_ceil(own).max(1));
    for record in from.iter() {
        let (key, mut value) = record?;
        if key[0] == Own::PREFIX {
            // The node keeps tokens in a file of their own; here each is part of its record.
            value = [value.as_ref(), cells.next().unwrap_or_default()].concat().into();
        }
        tables.entry(key[0]).or_default().push((key, value));
    }
    let entropy = Entropy::seeded(1);
    let mut groups = vec![Records::new(); count];
    for (table, mut records) in tables {
        if !RUNNING_NUMBERS.contains(&table) {
            for place in (1..records.len()).rev() {
                records.swap(place, entropy.below(place as u64 + 1) as usize);
            }
        }
        let share = records.len().div_ceil(count);
        for (group, records) in groups.iter_mut().zip(records.chunks(share)) {
            group.extend_from_slice(records);
        }
    }
    Ok(groups)
}

/// Peers that nobody answers for.
async fn unreachable(node: &TestNode, count: usize) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let own = node.descriptor()?;
    for number in 0..count {
        let authority = format!("xx.peer{number}").parse()?;
        let root = Authority::new(&format!("peer {number}"), now)?;
        let draft = Draft {
            authority,
            serial: 1,
            statement_keys: own.descriptor().statement_keys.clone(),
            log_keys: own.descriptor().log_keys.clone(),
            tls_roots: vec![root.certificate_pem().to_owned()],
            endpoints: vec!["127.0.0.1:9".to_owned()],
            schemas: (1, 1),
            contact: "nobody".to_owned(),
        };
        let signed = SignedDescriptor::sign(draft, now, &SigningKey::generate(&Entropy::os()))?;
        let (node, two) = (node.node(), person(Role::Coordinator));
        entente_node::admin::import_peer(node, signed.jws(), &person(Role::Administrator)).await?;
        let (peer, digits) = (&signed.descriptor().authority, signed.fingerprint());
        entente_node::admin::approve_peer(node, peer, &digits, &two).await?;
    }
    Ok(())
}

/// In turn, so that both see the same machine.
async fn with_unreachable_peers(size: Size) -> anyhow::Result<Row> {
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (peers, rates) in [(1, &mut one), (26, &mut many)] {
            let federation = Federation::start(&["dk.politi"]).await?;
            unreachable(&federation.nodes[0], peers).await?;
            federation.nodes[0].apply(ALL).await?;
            rates.push(fill(&federation.nodes[0], size.batch / 2, GROUP).await?);
            federation.stop().await?;
        }
    }
    let ratio = median(many) / median(one);
    Ok(Row::new("create with 26 / with 1 unreachable peer", ratio, "ratio", Bar::AtLeast(0.9)))
}

/// Peers of the first node, which have acknowledged everything. They are processes of their own
/// with what this one leaves of the machine's time: in the field they run on other machines.
pub async fn live_peers(federation: &Federation, names: &[&str]) -> anyhow::Result<Vec<Process>> {
    let dk = &federation.nodes[0];
    let mut peers = Vec::new();
    for name in names {
        let peer = Process::prepare(federation.folder(), name, env!("CARGO_BIN_EXE_simulate"))?;
        let mut peer = peer.in_the_background();
        peer.start().await?;
        peer.admit(&dk.descriptor()?).await?;
        dk.admit(&peer.descriptor()?).await?;
        peers.push(peer);
    }
    acknowledged(dk, names).await?;
    Ok(peers)
}

async fn with_live_peers(size: Size) -> anyhow::Result<Row> {
    const NAMES: [&str; 8] =
        ["fr.one", "de.two", "pl.three", "it.four", "es.five", "nl.six", "be.seven", "at.eight"];
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    dk.apply(ALL).await?;
    let without = quantile(create_times(dk, size.timed, 77).await?, 0.99);
    let mut peers = live_peers(&federation, &NAMES).await?;
    let with = quantile(create_times(dk, size.timed, 78).await?, 0.99);
    acknowledged(dk, &NAMES).await?;
    for peer in &mut peers {
        peer.terminate().await?;
    }
    federation.stop().await?;
    Ok(Row::new(
        "p99 of create with 8 live peers / alone",
        with / without,
        "ratio",
        Bar::AtMost(1.6),
    ))
}

/// Waits until every peer acknowledged everything.
pub async fn acknowledged(node: &TestNode, peers: &[&str]) -> anyhow::Result<()> {
    until("the peers to acknowledge", || {
        for peer in peers {
            let peer = peer.parse()?;
            let stream = node.node().store.get::<StreamsOut>(&peer)?;
            let done = |stream: &StreamOut| stream.acked == stream.tail && !stream.snapshot;
            let Some(stream) = stream.filter(done) else { return Ok(None) };
            if exchange::behind(node.node(), &peer, &stream)? > 0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}
