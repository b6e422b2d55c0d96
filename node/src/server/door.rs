//! A door: accepts connections, does the handshake of each on separate threads, and says who is
//! calling.

mod refusals;
mod room;
mod seats;
mod shake;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::id::{Digest, Timestamp};
use crate::shutdown::Shutdown;
use crate::telemetry::AcceptFailures;
use crate::tls::DoorTls;
use crate::trust::{Directory, Identity, certificate_identity, chain_end, key_digest};
use refusals::Refusals;
use room::{Place, Room, Source};
use seats::{Seat, Seats};
use shake::{Tls, Unfinished, shake_hands};

/// Most connections that have not shown their identity yet: each needs a file descriptor, and up to
/// 16 KiB.
const UNKNOWN_MAX: usize = 256;

/// Most finished handshakes that wait for the HTTP/2 server.
const ACCEPTED_MAX: usize = 16;

/// Pause after the listener failed, e.g. for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of a connection, as its certificate says.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name.
    pub identity: Identity,
    /// SHA-256 of the public key.
    pub key: Digest,
    /// When the first certificate in its chain expires.
    pub ends_at: Timestamp,
    /// The revision of a peer's record, read before its certificate was looked at.
    pub revision: Option<u64>,
}

/// The output of a door: connections whose handshake is done.
pub type Accepted = ReceiverStream<io::Result<Connection>>;

/// The peers as they are now.
pub type Peers = Arc<dyn Fn() -> Arc<Directory> + Send + Sync>;

/// One door, until the node stops.
pub struct Door {
    /// Where it listens.
    pub listener: TcpListener,
    /// Its TLS configuration, swapped as a whole at a reload.
    pub config: Arc<ArcSwap<DoorTls>>,
    /// Most connections at once whose handshake is done.
    pub connections_max: usize,
    /// The peers as they are now.
    pub peers: Peers,
}

impl Door {
    /// Accepts until `shutdown` begins.
    pub fn open(self, mut shutdown: Shutdown) -> Accepted {
        let (accepted, connections) = mpsc::channel(ACCEPTED_MAX);
        let config = self.config.load();
        let (name, authority) = (config.name(), config.authority().clone());
        let refusals = Refusals::new(name, authority.clone());
        let failures = AcceptFailures::new(authority, name);
        let hall = Hall {
            room: Room::new(UNKNOWN_MAX),
            seats: Seats::new(self.connections_max),
            peers: Arc::clone(&self.peers),
            refusals: refusals.clone(),
            accepted,
            ending: shutdown.clone(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = self.accept(hall, failures) => {}
                () = refusals.tell_what_was_counted() => {}
                () = shutdown.begun() => {}
            }
        });
        ReceiverStream::new(connections)
    }

    /// Does not wait for a place: connections without a known identity give way to each other, and
    /// never delay those whose handshake is done.
    async fn accept(self, hall: Hall, mut failures: AcceptFailures) {
        loop {
            match self.listener.accept().await {
                Ok((tcp, from)) => {
                    let source = Source::from(from.ip());
                    let place = hall.room.enter(source);
                    let let_in = hall.clone().let_in(tcp, source, place, self.config.load_full());
                    shake::threads().spawn(let_in);
                }
                Err(error) => {
                    failures.failed(&error);
                    hall.room.one_of_a_crowd_gives_way();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// State that the connections of a door share until they are served.
#[derive(Clone)]
struct Hall {
    room: Room,
    seats: Seats,
    peers: Peers,
    refusals: Refusals,
    accepted: mpsc::Sender<io::Result<Connection>>,
    ending: Shutdown,
}

impl Hall {
    async fn let_in(
        mut self,
        tcp: TcpStream,
        source: Source,
        mut place: Place,
        config: Arc<DoorTls>,
    ) {
        let peers = (self.peers)();
        let shaken = tokio::select! {
            // Checked first, so that a connection that gave way while the threads were busy costs
            // them nothing.
            biased;
            () = place.needed() => Err(Unfinished::GaveWay),
            () = self.ending.begun() => return,
            shaken = shake_hands(tcp, &config) => shaken,
        };
        drop(place);
        match shaken.and_then(|tls| self.seated(tls, &peers)) {
            // The connection ends with the server.
            Ok(connection) => drop(self.accepted.send(Ok(connection)).await),
            Err(why) => self.refusals.note(source, &why),
        }
    }

    fn seated(&self, tls: Tls, peers: &Directory) -> Result<Connection, Unfinished> {
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let caller = identify(chain, peers)?;
        let seat = self.seats.take(&caller.identity)?;
        let end = Box::pin(overdue(self.ending.clone()));
        Ok(Connection { tls, caller, end, _seat: seat })
    }
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

/// A connection whose handshake is done.
pub struct Connection {
    tls: Tls,
    caller: Caller,
    end: End,
    _seat: Seat,
}

/// When the connection is cut, whatever the other side does.
type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a connection may outlive the stop of the node: open calls take milliseconds.
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
