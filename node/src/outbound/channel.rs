//! A gRPC channel over a connection that TLS let in: a node that calls a peer, or a person who
//! calls their own node.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::tls::{Target, Wanted, answered, dial, listed, with_causes};

/// How often an idle connection is checked.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long an answer to that check may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a connection to `endpoint` (`host:port`), and a channel over it. A lost connection is not
/// restored: the caller decides, with the trust of that moment.
///
/// # Errors
/// A sentence for people, with the whole chain of causes.
pub async fn connect(endpoint: &str, target: &Target) -> Result<Channel, String> {
    let dialled = dial(&[endpoint.to_owned()], target, Wanted::First).await;
    let Some((tls, ..)) = dialled.reached else { return Err(listed(&dialled.missed)) };
    let tls = answered(tls, target).await?;
    channel(tls).await.map_err(|error| with_causes(&error))
}

/// A channel over one connection.
///
/// # Errors
/// When HTTP/2 does not begin on it.
pub(super) async fn channel(tls: TlsStream<TcpStream>) -> Result<Channel, tonic::transport::Error> {
    let mut once = Some(TokioIo::new(tls));
    let connector = tower::service_fn(move |_: http::Uri| {
        let tls = once.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(tls)
    });
    Endpoint::from_static("http://entente.invalid")
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}
