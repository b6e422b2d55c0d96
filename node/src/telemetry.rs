//! What the node says of its own doings: log lines without personal data, metrics, and health on a
//! loopback port.

mod accept;
mod calls;
mod gauges;
mod serve;
pub use accept::AcceptFailures;
pub use calls::{CallsLayer, CountCalls, CountedBody};
pub use serve::serve;

use std::io::{self, Write};
use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};
use crate::id::{AuthorityId, visible};

/// Writes log lines to stderr from now on, for the whole process; the first call wins.
///
/// # Errors
/// When the process already has a subscriber.
pub fn init_log(log: &Log) -> Result<(), TryInitError> {
    // EnvFilter reads what `LogFilter` accepted; `new` passes over what it does not understand.
    let filter = tracing_subscriber::registry().with(EnvFilter::new(log.filter.as_str()));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(|| Lines(io::stderr())).with_ansi(false);
    match log.format {
        LogFormat::Text => filter.with(lines).try_init(),
        LogFormat::Json => filter.with(lines.json().flatten_event(true)).try_init(),
    }
}

/// Writes each event as one line, whatever texts stand in it: none forges another, none steers a
/// terminal.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        self.0.write_all(format!("{}\n", visible(text.trim_end_matches('\n'), &[])).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Upper bounds of the buckets for how long a call takes, in seconds: a search should stay in the
/// first few, an import or a stream fills the last.
const CALL_SECONDS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 60.0];

/// The process's one recorder. Several nodes in a process share it; every series says whose it is.
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
    gauges::describe();
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

/// Counts a hit that was not shown, since the record does not say what the index says of it.
pub fn index_fault(authority: &AuthorityId) {
    metrics::counter!("entente_index_faults_total", "authority" => authority.to_string())
        .increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_stands_in_it() {
        let mut lines = Lines(Vec::new());
        lines.write_all("INFO ended: no\r\nERROR \u{1b}[31mforged\u{202e}\n".as_bytes()).unwrap();
        lines.write_all(b"INFO next\n").unwrap();
        let written = String::from_utf8(lines.0).unwrap();
        assert_eq!(written, "INFO ended: no��ERROR �[31mforged�\nINFO next\n");
    }
}
