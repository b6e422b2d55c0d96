//! Serves the connections of a door over HTTP/2, bounds what each may use, and ends them in time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tower::{Layer, Service};

use super::door::{Accepted, Connection};
use super::gate::{Budget, Gate, Line, Phase, RequestBody};
use crate::node::SharedNode;
use crate::shutdown::Shutdown;
use crate::telemetry::CallsLayer;

/// Most bytes of requests that a connection has sent and no handler has read. Together with the
/// round-trip time this bounds the speed of one connection: 256 KiB are 5 MiB/s over 50 ms.
const WINDOW_BYTES: u32 = 256 * 1024;

/// Most bytes of an answer that wait in a stream for a slow reader.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Most bytes of the headers of a request: ours have a few hundred.
const HEADERS_BYTES_MAX: u32 = 8 * 1024;

/// Most streams that a caller has reset before they were looked at.
const RESETS_MAX: usize = 20;

/// How often an idle connection is asked whether it is alive; it is cut if it does not answer in
/// time.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// How often to check whether a caller's certificate has expired.
const LOOK_INTERVAL: Duration = Duration::from_millis(400);

/// How long after a call lost its right the connection is cut, if the call is still open because
/// its caller does not read that it ended.
const CUT_AFTER: Duration = Duration::from_millis(900);

/// How long calls may take to end once their connection is old, or the node stops.
const LINGER: Duration = Duration::from_secs(5);

/// How a door serves.
pub struct Serving<S> {
    /// What is served.
    pub services: S,
    /// Of which node.
    pub node: SharedNode,
    /// Counts the calls.
    pub calls: CallsLayer,
    /// What its calls may hold.
    pub budget: Budget,
    /// Calls at once on a connection.
    pub calls_max: usize,
    /// How old a connection may become.
    pub age: Duration,
}

impl<S> Serving<S>
where
    S: Service<
            Request<RequestBody<Incoming>>,
            Response = Response<tonic::body::Body>,
            Error = Infallible,
        > + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    /// Serves the connections from `accepted` until the node stops, and returns once every
    /// connection has ended.
    pub async fn run(self, mut accepted: Accepted, mut shutdown: Shutdown) {
        let serving = Arc::new(self);
        let mut open = JoinSet::new();
        loop {
            let connection = tokio::select! {
                connection = accepted.next() => connection,
                Some(_) = open.join_next() => continue,
                () = shutdown.begun() => break,
            };
            match connection {
                Some(Ok(connection)) => {
                    let allowance = serving.budget.of(&connection.caller().identity);
                    let caller = connection.caller().clone();
                    let line = Line::new(serving.node.clone(), caller, allowance);
                    let serving = Arc::clone(&serving);
                    open.spawn(serving.serve(connection, Arc::new(line), shutdown.clone()));
                }
                Some(Err(_)) => {}
                None => break,
            }
        }
        drop(accepted);
        while open.join_next().await.is_some() {}
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_connection_window_size(WINDOW_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .max_concurrent_streams(u32::try_from(self.calls_max).unwrap_or(u32::MAX))
            .max_header_list_size(HEADERS_BYTES_MAX)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .auto_date_header(false);
        builder
    }

    async fn serve(self: Arc<Self>, connection: Connection, line: Arc<Line>, shutdown: Shutdown) {
        let gate = Gate::new(Arc::clone(&line), self.services.clone());
        let counted = self.calls.layer(gate);
        // The services are always ready: the gate bounds what they get.
        let service = service_fn(move |request| counted.clone().call(request));
        let serving = self.http2().serve_connection(TokioIo::new(connection), service);
        let mut serving = std::pin::pin!(serving);
        let mut watch = Watch::new(line, self.age, shutdown);
        loop {
            tokio::select! {
                // Errors of a connection concern only its caller; its calls are counted and logged.
                _ = serving.as_mut() => return,
                end = watch.next() => match end {
                    End::Soon => serving.as_mut().graceful_shutdown(),
                    End::Now => return,
                },
            }
        }
    }
}

/// When a connection ends.
enum End {
    /// Once its calls have ended; it takes no more.
    Soon,
    /// At once.
    Now,
}

/// Watches one connection: has its calls judged again when the record changes, and says when it
/// ends.
struct Watch {
    line: Arc<Line>,
    refreshed: watch::Receiver<()>,
    shutdown: Shutdown,
    /// When it reaches its age.
    old_at: Instant,
    certificate_ended: bool,
    /// When to look for calls that may not continue and have not ended.
    look_at: Option<Instant>,
    /// When it is cut in any case.
    cut_at: Option<Instant>,
}

impl Watch {
    fn new(line: Arc<Line>, age: Duration, shutdown: Shutdown) -> Self {
        Self {
            refreshed: line.node.refreshed.subscribe(),
            shutdown,
            old_at: Instant::now() + age,
            certificate_ended: false,
            look_at: None,
            cut_at: None,
            line,
        }
    }

    async fn next(&mut self) -> End {
        loop {
            let closes = self.cut_at.is_some();
            tokio::select! {
                _ = self.refreshed.changed() => self.judge_anew(),
                () = tokio::time::sleep(LOOK_INTERVAL), if !self.certificate_ended => {
                    if self.line.node.clock.now() > self.line.caller.ends_at {
                        self.certificate_ended = true;
                        self.judge_anew();
                        return End::Soon;
                    }
                }
                () = at(self.look_at) => {
                    self.look_at = None;
                    if self.line.is_overdue() {
                        return End::Now;
                    }
                }
                () = tokio::time::sleep_until(self.old_at), if !closes => {
                    return self.close(Phase::Old);
                }
                () = self.shutdown.begun(), if !closes => return self.close(Phase::Ending),
                () = at(self.cut_at) => return End::Now,
            }
        }
    }

    fn judge_anew(&mut self) {
        self.line.phase.send_modify(|_| {});
        self.look_at = Some(Instant::now() + CUT_AFTER);
    }

    fn close(&mut self, phase: Phase) -> End {
        self.line.phase.send_replace(phase);
        self.cut_at = Some(Instant::now() + LINGER);
        End::Soon
    }
}

/// Returns at that time; never returns if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
