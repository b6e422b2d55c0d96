//! A handshake, from the first byte to the verdict.

use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::{DoorTls, Refusal};

/// How long a caller may take to begin: its ClientHello is its first packet.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a handshake may take from then on; a slower one is cut.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(8);

/// Most bytes read from a caller before it is let in: a ClientHello with a post-quantum key share
/// has about 2 000, a chain of four certificates about 4 000.
const HANDSHAKE_BYTES_MAX: u64 = 16 * 1024;

/// How long a refused caller may take to read the alert. What it still sends meanwhile is
/// discarded: closing with unread data would reset the connection and lose the alert.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfinished {
    #[error("no ClientHello came within 2 s")]
    NoHello,
    #[error("the handshake was not done within 8 s")]
    TooSlow,
    #[error("it gave way to newer connections")]
    GaveWay,
    #[error("it sent more than 16 KiB before it was let in")]
    TooLong,
    #[error("it went away")]
    WentAway,
    #[error("the caller has 32 connections already")]
    CallerFull,
    #[error("all connections of this door are taken: connections_max bounds them")]
    DoorFull,
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Tls(rustls::Error),
    #[error("{0}")]
    Io(io::ErrorKind),
}

impl Unfinished {
    /// One of a few words, for counters.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NoHello => "no_hello",
            Self::TooSlow => "too_slow",
            Self::GaveWay => "gave_way",
            Self::TooLong => "too_long",
            Self::WentAway => "went_away",
            Self::CallerFull => "caller_full",
            Self::DoorFull => "door_full",
            Self::Refused(refusal) => refusal.kind(),
            Self::Tls(_) => "tls",
            Self::Io(_) => "io",
        }
    }
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Self {
        if let Some(refusal) = Refusal::of(&error) {
            return Self::Refused(refusal.clone());
        }
        if let Some(error) = error.get_ref().and_then(|cause| cause.downcast_ref()) {
            return Self::Tls(rustls::Error::clone(error));
        }
        match error.kind() {
            io::ErrorKind::FileTooLarge => Self::TooLong,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::WentAway,
            other => Self::Io(other),
        }
    }
}

/// Where handshakes run: separate threads, half as many as there are cores, so that no number of
/// strangers keeps the node's workers from serving known callers. All doors of the process share
/// them.
pub(super) fn threads() -> Handle {
    static THREADS: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Builder::new_multi_thread()
            .worker_threads((cores / 2).max(1))
            .thread_name("handshakes")
            .enable_time()
            .build()
    });
    match &*THREADS {
        Ok(threads) => threads.handle().clone(),
        Err(error) => {
            tracing::error!("handshakes have no threads of their own: {error}");
            Handle::current()
        }
    }
}

/// A stream after its handshake.
pub(super) type Tls = TlsStream<Metered>;

/// Reads a caller's hello, then completes the handshake.
pub(super) async fn shake_hands(tcp: TcpStream, door: &DoorTls) -> Result<Tls, Unfinished> {
    tcp.set_nodelay(true)?;
    let tcp = Metered { tcp, left: HANDSHAKE_BYTES_MAX };
    let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp);
    let hello = tokio::time::timeout(HELLO_TIMEOUT, hello).await;
    let hello = hello.map_err(|_| Unfinished::NoHello)??;
    let config = door.for_one_handshake().map_err(io::Error::other)?;
    let shaking = hello.into_stream(config.into()).into_fallible();
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await {
        Err(_) => Err(Unfinished::TooSlow),
        Ok(Ok(mut tls)) => {
            tls.get_mut().0.left = u64::MAX;
            Ok(tls)
        }
        Ok(Err((error, tcp))) => {
            // It does not matter whether the caller stays to read.
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, farewell(tcp)).await;
            Err(error.into())
        }
    }
}

/// Lets a caller read the alert, then closes.
async fn farewell(mut tcp: Metered) -> io::Result<()> {
    tcp.shutdown().await?;
    let mut thrown_away = [0; 1024];
    while tcp.read(&mut thrown_away).await? > 0 {}
    Ok(())
}

/// A connection of which only a bounded number of bytes is read.
pub(super) struct Metered {
    tcp: TcpStream,
    left: u64,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        let read = buf.filled().len().saturating_sub(before) as u64;
        self.left = self.left.saturating_sub(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
