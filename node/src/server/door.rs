//! A door: accepts connections, each handshake in a task of its own, and says who is calling.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Code, Request, Status};

use crate::id::{AuthorityId, Digest};
use crate::shutdown::Shutdown;
use crate::trust::{Identity, certificate_identity, key_digest};
use crate::wire::exchange::refusal;

/// Handshakes under way: each costs a signature, and an attacker nothing.
const HANDSHAKES_MAX: usize = 64;

/// How long a handshake may take: past it a slow one is cut.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Finished handshakes that wait for the HTTP/2 server.
const ACCEPTED_MAX: usize = 16;

/// Connections of one caller: a peer or a user can't keep the others out.
const CONNECTIONS_PER_CALLER_MAX: usize = 32;

/// Pause after the listener failed, e.g. without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Largest message taken: a batch of statements with its head.
pub const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Who is at the other end of a connection, as its certificate says.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name.
    pub identity: Identity,
    /// SHA-256 of the public key.
    pub key: Digest,
}

/// What is served at one door, until the end begins.
pub struct Door {
    /// Where it listens.
    pub listener: TcpListener,
    /// Its TLS set-up, swapped whole at a reload.
    pub config: Arc<ArcSwap<ServerConfig>>,
    /// Connections at once.
    pub connections_max: usize,
}

impl Door {
    /// Accepts until `shutdown` begins; what it gives is for `serve_with_incoming`.
    pub fn open(self, mut shutdown: Shutdown) -> ReceiverStream<io::Result<Connection>> {
        let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
        tokio::spawn(async move {
            let ending = shutdown.clone();
            tokio::select! {
                () = self.accept(sender, ending) => {}
                () = shutdown.begun() => {}
            }
        });
        ReceiverStream::new(accepted)
    }

    async fn accept(self, accepted: mpsc::Sender<io::Result<Connection>>, ending: Shutdown) {
        let connections = Arc::new(Semaphore::new(self.connections_max));
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let callers = Callers::default();
        loop {
            let Ok(place) = Arc::clone(&connections).acquire_owned().await else { return };
            let Ok(shaking) = Arc::clone(&handshakes).acquire_owned().await else { return };
            let (tcp, from) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (config, accepted) = (self.config.load_full(), accepted.clone());
            let callers = callers.clone();
            let end = Box::pin(overdue(ending.clone()));
            tokio::spawn(async move {
                match shake_hands(tcp, config, place, end, &callers).await {
                    Ok(connection) => {
                        // The server has ended: so does the connection.
                        let _ = accepted.send(Ok(connection)).await;
                    }
                    Err(error) => refused(from, &error),
                }
                drop(shaking);
            });
        }
    }
}

fn refused(from: SocketAddr, error: &io::Error) {
    metrics::counter!("entente_handshakes_refused_total").increment(1);
    tracing::info!(%from, "a handshake was refused: {error}");
}

async fn shake_hands(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    place: OwnedSemaphorePermit,
    end: End,
    callers: &Callers,
) -> io::Result<Connection> {
    tcp.set_nodelay(true)?;
    let shaking = TlsAcceptor::from(config).accept(tcp);
    let tls = tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await;
    let tls = tls.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let leaf = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let leaf = leaf.ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))?;
    let identity = certificate_identity(leaf).map_err(io::Error::other)?;
    let key = key_digest(leaf).map_err(io::Error::other)?;
    let seat = callers.seat(&identity)?;
    Ok(Connection { tls, caller: Caller { identity, key }, end, _place: place, _seat: seat })
}

/// How many connections each caller has.
#[derive(Clone, Default)]
struct Callers(Arc<Mutex<HashMap<Identity, usize>>>);

impl Callers {
    fn seat(&self, caller: &Identity) -> io::Result<Seat> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(caller.clone()).or_default();
        if *count >= CONNECTIONS_PER_CALLER_MAX {
            return Err(io::Error::other("the caller has too many connections"));
        }
        *count += 1;
        Ok(Seat { caller: caller.clone(), callers: self.clone() })
    }
}

/// One connection of a caller, given back when dropped.
struct Seat {
    caller: Identity,
    callers: Callers,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut held = self.callers.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.caller) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.caller)),
        }
    }
}

/// A connection whose handshake is done.
pub struct Connection {
    tls: tokio_rustls::server::TlsStream<TcpStream>,
    caller: Caller,
    end: End,
    _place: OwnedSemaphorePermit,
    _seat: Seat,
}

/// When a connection is cut, whatever its other side does.
type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a connection may outlive the end of the node: calls under way take milliseconds.
const LINGER: Duration = Duration::from_secs(5);

async fn overdue(mut ending: Shutdown) {
    ending.begun().await;
    tokio::time::sleep(LINGER).await;
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

/// HTTP/2 limits that both doors have.
pub fn server(
    calls_per_connection_max: usize,
    connection_age: Duration,
) -> tonic::transport::Server {
    let streams = u32::try_from(calls_per_connection_max).unwrap_or(u32::MAX);
    tonic::transport::Server::builder()
        .concurrency_limit_per_connection(calls_per_connection_max)
        .max_concurrent_streams(Some(streams))
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_connection_age(connection_age)
}

/// The caller of a request.
fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    let unknown = || refusal(Code::Unauthenticated, "no_certificate", "call with a certificate");
    request.extensions().get::<Caller>().ok_or_else(unknown)
}

/// The peer that calls at the exchange door.
///
/// # Errors
/// When it is no node.
pub fn peer<T>(request: &Request<T>) -> Result<AuthorityId, Status> {
    match &caller(request)?.identity {
        Identity::Node(peer) => Ok(peer.clone()),
        Identity::User(..) => Err(wrong_door()),
    }
}

/// The name and key of the person or system that calls at the desk door.
///
/// # Errors
/// When it is a node.
pub fn user<T>(request: &Request<T>) -> Result<(String, Digest), Status> {
    let caller = caller(request)?;
    match &caller.identity {
        Identity::User(_, name) => Ok((name.clone(), caller.key)),
        Identity::Node(_) => Err(wrong_door()),
    }
}

fn wrong_door() -> Status {
    let message = "this certificate is for the other door of this node";
    refusal(Code::PermissionDenied, "wrong_door", message)
}
