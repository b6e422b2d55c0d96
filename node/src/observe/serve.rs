//! Metrics and health over HTTP/1.1, for monitoring.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::gauges;
use crate::node::SharedNode;
use crate::readiness::{Level, readiness, state};
use crate::shutdown::Shutdown;
use crate::telemetry::{AcceptFailures, recorder};

/// Most connections at once: a scraper and a few probes need one each.
const CONNECTIONS_MAX: usize = 16;

/// How long a client may take to send the head of its request.
const HEADER_TIMEOUT_S: u64 = 5;

/// How long a connection may last, whatever it does: a probe takes milliseconds.
const CONNECTION_S_MAX: u64 = 30;

/// Most bytes kept of a request; hyper's minimum. A probe sends a few hundred.
const REQUEST_BYTES_MAX: usize = 8192;

/// How long to wait after a failed `accept` (no file descriptors left), in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Answers until the node stops. The listener is on a loopback address; `config` ensures that.
pub async fn serve(listener: TcpListener, node: SharedNode, mut shutdown: Shutdown) {
    gauges::describe();
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut failures = AcceptFailures::new(node.authority.clone(), "telemetry");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.begun() => return,
        };
        match (accepted, Arc::clone(&seats).try_acquire_owned()) {
            (Ok((stream, _)), Ok(seat)) => {
                let answering = connection(stream, Arc::clone(&node), shutdown.clone());
                tokio::spawn(async move {
                    let limit = Duration::from_secs(CONNECTION_S_MAX);
                    let _ = tokio::time::timeout(limit, answering).await;
                    drop(seat);
                });
            }
            (Ok(_), Err(_)) => tracing::debug!("telemetry connection refused: too many at once"),
            (Err(error), _) => {
                failures.failed(&error);
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, node: SharedNode, shutdown: Shutdown) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &node, &shutdown);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADER_TIMEOUT_S))
        .max_buf_size(REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "telemetry connection ended");
    }
}

fn answer(
    method: &Method,
    path: &str,
    node: &SharedNode,
    shutdown: &Shutdown,
) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned());
    }
    match path {
        "/health/live" => text(StatusCode::OK, "live\n".to_owned()),
        "/health/ready" => ready(node, shutdown),
        "/metrics" => measured(node),
        _ => text(StatusCode::NOT_FOUND, "/metrics, /health/live, /health/ready\n".to_owned()),
    }
}

/// A line for the state, and one for each reason.
fn ready(node: &SharedNode, shutdown: &Shutdown) -> Response<Full<Bytes>> {
    if shutdown.has_begun() {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "refusing\nending: the node is ending\n".to_owned(),
        );
    }
    let reasons = readiness(node);
    let refusing = reasons.iter().any(|reason| reason.level == Level::Refusing);
    let status = if refusing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let lines = reasons.iter().map(|reason| format!("{}: {}\n", reason.reason, reason.message));
    text(status, format!("{}\n{}", state(&reasons), lines.collect::<String>()))
}

fn measured(node: &SharedNode) -> Response<Full<Bytes>> {
    let handle = recorder();
    if let Err(error) = gauges::measure(node) {
        tracing::error!(%error, "the store could not be measured");
    }
    handle.run_upkeep();
    text(StatusCode::OK, handle.render())
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
