//! Gauges that are measured when they are read: sizes, streams, leases, free space on the disk.

use metrics::Label;

use crate::exchange;
use crate::node::{Node, clock_doubt};
use crate::readiness::{Level, readiness};
use crate::store::{
    Copies, Own, ParkedIn, ParkedOut, StoreError, StreamsIn, StreamsOut, Tombstones,
};
use crate::trust::Known;

/// Describes each gauge.
pub(super) fn describe() {
    for (name, meaning) in [
        ("entente_store_records", "Records in a table of the store"),
        ("entente_audit_log_entries", "Entries of the audit log, durable"),
        ("entente_disk_free_bytes", "Free space where the store lies"),
        ("entente_policy_version", "Version of the sharing policy in force"),
        ("entente_lost_state", "1 while nothing is issued because state was lost"),
        ("entente_clock_in_doubt", "1 while nothing is erased because the clock leapt"),
        ("entente_readiness", "0 ready, 1 degraded, 2 refusing: /health/ready says why"),
        ("entente_peer_active", "1 while the peer is active"),
        ("entente_stream_sending", "1 while our stream to the peer is open"),
        ("entente_stream_receiving", "1 while the peer's stream to us is open"),
        ("entente_stream_offered", "Last place offered to the peer"),
        ("entente_stream_acknowledged", "Last place the peer acknowledged"),
        ("entente_stream_received", "Last place of the peer's stream committed here"),
        ("entente_stream_behind", "Places of the feed not yet decided for the peer"),
        (
            "entente_stream_confirmed_age_seconds",
            "Since the peer last confirmed its copies; -1: never",
        ),
        ("entente_peer_silent", "1 while the peer was not heard for longer than peer_silence_s"),
    ] {
        metrics::describe_gauge!(name, meaning);
    }
}

/// Sets every gauge to its present value.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn measure(node: &Node) -> Result<(), StoreError> {
    let gauge = |name: &'static str, value: f64| set(node, name, None, value);
    tables(node);
    gauge("entente_audit_log_entries", node.store.log().size() as f64);
    gauge("entente_policy_version", node.policy.load().0 as f64);
    gauge("entente_lost_state", flag(exchange::lost_state(node)?));
    gauge("entente_clock_in_doubt", flag(clock_doubt(node).is_some()));
    let level = readiness(node).iter().map(|reason| reason.level).max();
    gauge(
        "entente_readiness",
        match level {
            None => 0.0,
            Some(Level::Degraded) => 1.0,
            Some(Level::Refusing) => 2.0,
        },
    );
    if let Ok(disk) = rustix::fs::statvfs(&node.home) {
        gauge("entente_disk_free_bytes", (disk.f_bavail * disk.f_frsize) as f64);
    }
    node.directory.load().all().try_for_each(|known| peer(node, known))
}

fn tables(node: &Node) {
    let store = &node.store;
    for (table, records) in [
        ("own", store.count::<Own>()),
        ("copies", store.count::<Copies>()),
        ("tombstones", store.count::<Tombstones>()),
        ("parked_out", store.count::<ParkedOut>()),
        ("parked_in", store.count::<ParkedIn>()),
    ] {
        set(node, "entente_store_records", Some(("table", table)), records as f64);
    }
}

fn peer(node: &Node, known: &Known) -> Result<(), StoreError> {
    let name = &known.peer.authority;
    let gauge = |metric, value| set(node, metric, Some(("peer", name.as_str())), value);
    let live = node.streams.status(name);
    gauge("entente_peer_active", flag(known.peer.state == crate::trust::PeerState::Active));
    gauge("entente_stream_sending", flag(live.sending));
    gauge("entente_stream_receiving", flag(live.receiving));
    if let Some(stream) = node.store.get::<StreamsOut>(name)? {
        gauge("entente_stream_offered", stream.tail as f64);
        gauge("entente_stream_acknowledged", stream.acked as f64);
        gauge("entente_stream_behind", exchange::behind(node, name, &stream)? as f64);
    }
    if let Some(stream) = node.store.get::<StreamsIn>(name)? {
        gauge("entente_stream_received", stream.seq as f64);
    }
    let age = exchange::lease(node, name).1.map(|at| node.clock.now().since(at));
    gauge("entente_stream_confirmed_age_seconds", age.unwrap_or(-1) as f64);
    gauge("entente_peer_silent", flag(exchange::is_silent(node, &known.peer)));
    Ok(())
}

fn flag(set: bool) -> f64 {
    if set { 1.0 } else { 0.0 }
}

fn set(node: &Node, name: &'static str, about: Option<(&'static str, &str)>, value: f64) {
    let mut labels = vec![Label::new("authority", node.authority.to_string())];
    labels.extend(about.map(|(key, value)| Label::new(key, value.to_owned())));
    metrics::gauge!(name, labels).set(value);
}
