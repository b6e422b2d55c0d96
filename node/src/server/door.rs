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
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::id::{Digest, Timestamp};
use crate::shutdown::Shutdown;
use crate::trust::{Directory, Identity, certificate_identity, chain_end, key_digest};

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

/// Who is at the other end of a connection, as its certificate says.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name.
    pub identity: Identity,
    /// SHA-256 of the public key.
    pub key: Digest,
    /// When the first certificate of its chain ends.
    pub ends_at: Timestamp,
    /// Of the record of a peer, before its certificate was looked at.
    pub revision: Option<u64>,
}

/// What a door gives: connections whose handshake is done.
pub type Accepted = ReceiverStream<io::Result<Connection>>;

/// The peers as they are now.
pub type Peers = Arc<dyn Fn() -> Arc<Directory> + Send + Sync>;

/// What is served at one door, until the end begins.
pub struct Door {
    /// Where it listens.
    pub listener: TcpListener,
    /// Its TLS set-up, swapped whole at a reload.
    pub config: Arc<ArcSwap<ServerConfig>>,
    /// Connections at once.
    pub connections_max: usize,
    /// The peers as they are now.
    pub peers: Peers,
}

impl Door {
    /// Accepts until `shutdown` begins.
    pub fn open(self, mut shutdown: Shutdown) -> Accepted {
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
            let (callers, peers) = (callers.clone(), (self.peers)());
            let end = Box::pin(overdue(ending.clone()));
            tokio::spawn(async move {
                match shake_hands(tcp, config, place, end, (&callers, &peers)).await {
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
    (callers, peers): (&Callers, &Directory),
) -> io::Result<Connection> {
    tcp.set_nodelay(true)?;
    let shaking = TlsAcceptor::from(config).accept(tcp);
    let tls = tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await;
    let tls = tls.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let caller = identify(chain, peers)?;
    let seat = callers.seat(&caller.identity)?;
    Ok(Connection { tls, caller, end, _place: place, _seat: seat })
}

fn identify(chain: &[CertificateDer<'_>], peers: &Directory) -> io::Result<Caller> {
    let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
    let leaf = chain.first().ok_or_else(refused)?;
    let identity = certificate_identity(leaf).map_err(io::Error::other)?;
    let revision = match &identity {
        Identity::Node(peer) => peers.revision(peer),
        Identity::User(..) => None,
    };
    let key = key_digest(leaf).map_err(io::Error::other)?;
    let ends_at = chain_end(chain.iter().map(AsRef::as_ref)).ok_or_else(refused)?;
    Ok(Caller { identity, key, ends_at, revision })
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

impl Connection {
    /// Who is at the other end.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
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
