//! A TCP proxy in front of an exchange door, with faults.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does to connections, old and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing.
    None,
    /// Connections end, and none is made.
    Cut,
    /// Each piece waits this long.
    Slow { millis: u64 },
    /// Each connection ends after so many bytes towards the node.
    ResetAfter { bytes: u64 },
    /// Bytes are taken and never given on.
    Swallow,
}

/// A running proxy; dropping it ends it.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    fault: watch::Sender<Fault>,
    carried: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port; nothing is carried before a target is set.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (target, targets) = watch::channel(None);
        let (fault, faults) = watch::channel(Fault::None);
        let carried = Arc::new(AtomicU64::new(0));
        tokio::spawn(accept(listener, targets, faults, Arc::clone(&carried)));
        Ok(Self { address, target, fault, carried })
    }

    /// Where connections are carried from now on.
    pub fn carry_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// What happens to connections from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Bytes carried towards the node so far.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    targets: watch::Receiver<Option<SocketAddr>>,
    faults: watch::Receiver<Fault>,
    carried: Arc<AtomicU64>,
) {
    while targets.has_changed().is_ok() {
        let Ok(Ok((caller, _))) =
            tokio::time::timeout(Duration::from_millis(200), listener.accept()).await
        else {
            continue;
        };
        let target = *targets.borrow();
        if *faults.borrow() == Fault::Cut {
            continue;
        }
        let (faults, carried) = (faults.clone(), Arc::clone(&carried));
        tokio::spawn(async move {
            let Some(target) = target else { return };
            let Ok(node) = TcpStream::connect(target).await else { return };
            let _ = (caller.set_nodelay(true), node.set_nodelay(true));
            let ((from_caller, to_caller), (from_node, to_node)) =
                (caller.into_split(), node.into_split());
            tokio::select! {
                () = carry(from_caller, to_node, faults.clone(), Some(&carried)) => {}
                () = carry(from_node, to_caller, faults.clone(), None) => {}
                () = cut(faults) => {}
            }
        });
    }
}

async fn cut(mut faults: watch::Receiver<Fault>) {
    if faults.wait_for(|fault| *fault == Fault::Cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    faults: watch::Receiver<Fault>,
    counted: Option<&AtomicU64>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut total = 0u64;
    loop {
        let Ok(count) = from.read(&mut buffer).await else { return };
        if count == 0 {
            return;
        }
        total += count as u64;
        let fault = *faults.borrow();
        match fault {
            Fault::Slow { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
            Fault::ResetAfter { bytes } if counted.is_some() && total > bytes => return,
            Fault::Swallow => continue,
            _ => {}
        }
        if let Some(counted) = counted {
            counted.fetch_add(count as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
