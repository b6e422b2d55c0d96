//! The process's recorder of metrics, and what is counted when it happens.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::id::AuthorityId;

/// Upper bounds of the buckets for the duration of a call, in seconds: a search should stay in the
/// first few, an import or a stream fills the last.
const CALL_SECONDS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 60.0];

/// The recorder of the process. Several nodes in a process share it; every series names its node.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = with_buckets(PrometheusBuilder::new())
            .unwrap_or_else(|_| PrometheusBuilder::new())
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("this process already has a metrics recorder: /metrics stays empty");
        }
        describe();
        handle
    })
}

fn with_buckets(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    builder.set_buckets_for_metric(Matcher::Full("entente_call_seconds".to_owned()), &CALL_SECONDS)
}

fn describe() {
    metrics::describe_counter!("entente_calls_total", "Calls by door, method and gRPC code");
    metrics::describe_histogram!("entente_call_seconds", "From a call's beginning to its end");
    metrics::describe_counter!(
        "entente_statements_refused_total",
        "Statements refused, by direction (in: theirs, out: ours) and reason"
    );
    metrics::describe_counter!("entente_reloads_total", "Reloads by outcome");
    metrics::describe_counter!(
        "entente_panics_total",
        "Work that broke off by a fault of the node, by task: tell its makers"
    );
    metrics::describe_counter!(
        "entente_index_faults_total",
        "Hits that were not shown, since the record does not say what the index says of it"
    );
    metrics::describe_counter!(
        "entente_handshakes_refused_total",
        "Handshakes that let nobody in, by door and reason"
    );
    metrics::describe_counter!(
        "entente_door_accept_failures_total",
        "Times that a listener could not accept, by door: out of file descriptors, mostly"
    );
}

/// Counts a statement that was refused: `in` when it is a peer's, `out` when a peer refused ours.
pub fn refused(
    authority: &AuthorityId,
    peer: &AuthorityId,
    direction: &'static str,
    reason: &'static str,
) {
    metrics::counter!(
        "entente_statements_refused_total",
        "authority" => authority.to_string(),
        "peer" => peer.to_string(),
        "direction" => direction,
        "reason" => reason,
    )
    .increment(1);
}

/// Counts a reload of certificates and peers.
pub fn reloaded(authority: &AuthorityId, outcome: &'static str) {
    metrics::counter!(
        "entente_reloads_total",
        "authority" => authority.to_string(),
        "outcome" => outcome,
    )
    .increment(1);
}

/// Counts work that broke off by a fault of this node.
pub(crate) fn panicked(authority: &AuthorityId, task: &'static str) {
    metrics::counter!(
        "entente_panics_total",
        "authority" => authority.to_string(),
        "task" => task,
    )
    .increment(1);
}

/// Counts a hit that was not shown because the record does not have the value that the index gave.
pub fn index_fault(authority: &AuthorityId) {
    metrics::counter!("entente_index_faults_total", "authority" => authority.to_string())
        .increment(1);
}
