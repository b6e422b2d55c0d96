//! Starts a node from its home folder and stops it in good order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::home::{self, Home};
use crate::id::{Clock, Entropy, Timestamp};
use crate::node::{ClockWatch, Node, Parts, SharedNode, clock_doubt, look_at_clock};
use crate::readiness::{Level, Reason, readiness};
use crate::server::doors::{serve_desk, serve_exchange};
use crate::shutdown::{Shutdown, Trigger};
use crate::store::Change;
use crate::trust::Part;
use crate::{admin, desk, observe, outbound, telemetry};

/// How long open calls may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// How often to check whether all is well.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// How long until a reason is logged again, in seconds: once a day, so that everybody who reads the
/// log of a day sees it.
const TOLD_AGAIN_S: i64 = 86_400;

/// How often to look for what has expired.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// How often to look at the clock: a leap is reported within a second, and a peer's word ends the
/// doubt as quickly.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// After how many looks at the clock to look for what peers refused because of its date.
const REISSUE_LOOKS: u32 = 5;

/// How often to sign the head of the audit log: an administrator could cut off this much unnoticed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(3600);

/// Options that only tests set.
#[derive(Clone, Debug)]
pub struct Options {
    /// The source of time.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Clock::system(), entropy: Entropy::os() }
    }
}

/// The runtime of a node. It has twice as many workers as there are cores: reads of the store wait
/// while the writer applies a group, and with only as many workers as cores a core was idle then.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> std::io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads(2 * cores).enable_all().build()
}

/// A running node.
pub struct Running {
    /// The node itself.
    pub node: SharedNode,
    /// The address of the exchange door, as bound.
    pub exchange: SocketAddr,
    /// The address of the desk door, as bound.
    pub desk: SocketAddr,
    /// The address of health and metrics, as bound.
    pub telemetry: SocketAddr,
    trigger: Trigger,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// Stops in good order: no new calls, open ones end within 10 s, the writer commits what is
    /// pending.
    ///
    /// # Errors
    /// When a part panicked before.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.trigger.begin();
        let mut failed = false;
        for mut task in self.tasks {
            match tokio::time::timeout(GRACE, &mut task).await {
                Ok(ended) => failed |= ended.is_err(),
                Err(_) => task.abort(),
            }
        }
        // Streams end by themselves; the store's folder is free once the last has.
        let ended = async {
            while Arc::strong_count(&self.node) > 1 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        failed |= tokio::time::timeout(GRACE, ended).await.is_err();
        let store = self.node.store.clone();
        drop(self.node);
        tokio::task::spawn_blocking(move || store.close()).await?;
        anyhow::ensure!(!failed, "a part of the node panicked, or did not end in time");
        Ok(())
    }
}

/// Reads the whole home, opens the store, binds the ports, then starts.
///
/// # Errors
/// The first thing that is wrong, before a port answers.
pub async fn start(home: &Path, options: Options) -> anyhow::Result<Running> {
    let home = Home::read(home, &options.clock)?;
    let credentials = home.credentials.clone();
    let path = home.layout.addresses();
    let node = open(home, options).await?;
    let config = node.config.clone();
    let exchange = bind(config.exchange.listen, "exchange.listen").await?;
    let desk = bind(config.desk.listen, "desk.listen").await?;
    let health = bind(config.telemetry.listen.address(), "telemetry.listen").await?;
    let addresses = (exchange.local_addr()?, desk.local_addr()?, health.local_addr()?);
    let tls = home::publish(&node, &credentials)?;
    // Before anything is counted.
    telemetry::recorder();
    let (trigger, shutdown) = Trigger::new();
    let tasks = vec![
        tokio::spawn(serve_exchange(node.clone(), exchange, &tls, shutdown.clone())),
        tokio::spawn(serve_desk(node.clone(), desk, &tls, shutdown.clone())),
        tokio::spawn(observe::serve(health, node.clone(), shutdown.clone())),
        tokio::spawn(outbound::run(
            node.clone(),
            config.exchange.heartbeat_s.seconds(),
            shutdown.clone(),
        )),
        tokio::spawn(follow_store(node.clone(), shutdown.clone())),
        tokio::spawn(expire(node.clone(), shutdown.clone())),
        tokio::spawn(watch_clock(node.clone(), shutdown.clone())),
        tokio::spawn(watch(node.clone(), shutdown.clone())),
        tokio::spawn(checkpoint(node.clone(), shutdown)),
    ];
    let (exchange, desk, telemetry) = addresses;
    write_addresses(&path, addresses)?;
    tracing::info!(authority = %node.authority, %exchange, %desk, %telemetry, "the node is up");
    Ok(Running { node, exchange, desk, telemetry, trigger, tasks })
}

async fn open(home: Home, options: Options) -> anyhow::Result<SharedNode> {
    let Options { clock, entropy } = options;
    let opened = tokio::task::spawn_blocking(move || {
        let store = home.open_store(clock.clone(), entropy.clone())?;
        let parts = Parts {
            home: home.layout.folder().to_owned(),
            config: home.config,
            clock,
            entropy,
            store,
            statement_key: home.statement_key,
            log_key: home.log_key,
            descriptor: Some(home.credentials.descriptor),
        };
        let node = Node::new(parts)?;
        anyhow::Ok(node)
    });
    opened.await?
}

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{address} can't be bound: free it, or choose another port in {setting}")
    })
}

/// Rebuilds what memory holds of the store, whenever the store was opened again.
async fn follow_store(node: SharedNode, mut shutdown: Shutdown) {
    let mut changes = node.store.changes();
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            () = shutdown.begun() => return,
        };
        match change {
            Ok(Change::Reopened) | Err(RecvError::Lagged(_)) => {
                if let Err(error) = node.refresh() {
                    tracing::error!("peers, users and policy were not read anew: {error}");
                }
            }
            Ok(_) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn expire(node: SharedNode, mut shutdown: Shutdown) {
    loop {
        match desk::expire(&node).await {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => tracing::error!("what has ended was not erased: {error}"),
        }
        if !shutdown.tick(EXPIRY_INTERVAL).await {
            return;
        }
    }
}

/// Looks at the clock, and issues again what was issued while it was ahead.
async fn watch_clock(node: SharedNode, mut shutdown: Shutdown) {
    let mut watch = ClockWatch::default();
    let mut looks = 0_u32;
    loop {
        let mut ahead = looks.is_multiple_of(REISSUE_LOOKS).then_some(desk::Ahead::Refused);
        match look_at_clock(&node, &mut watch).await {
            Ok(true) => ahead = Some(desk::Ahead::All),
            Ok(false) => {}
            Err(error) => tracing::error!("the clock was not looked at: {error}"),
        }
        if let Some(which) = ahead.filter(|_| clock_doubt(&node).is_none()) {
            match desk::reissue(&node, which).await {
                Ok(0) => {}
                Ok(count) => tracing::warn!(count, "issued anew what was dated ahead of the time"),
                Err(error) => tracing::error!("what was dated ahead was not issued anew: {error}"),
            }
        }
        if !shutdown.tick(CLOCK_INTERVAL).await {
            return;
        }
        looks = looks.wrapping_add(1);
    }
}

/// Logs each reason: at once when it begins, and once a day while it lasts.
async fn watch(node: SharedNode, mut shutdown: Shutdown) {
    let mut told: HashMap<&'static str, Timestamp> = HashMap::new();
    loop {
        let (now, reasons) = (node.clock.now(), readiness(&node));
        told.retain(|reason, _| reasons.iter().any(|still| still.reason == *reason));
        for Reason { level, reason, message } in &reasons {
            if told.get(reason).is_some_and(|at| now.since(*at) < TOLD_AGAIN_S) {
                continue;
            }
            told.insert(reason, now);
            match level {
                Level::Refusing => tracing::error!(reason, "{message}"),
                Level::Degraded => tracing::warn!(reason, "{message}"),
            }
        }
        if !shutdown.tick(WATCH_INTERVAL).await {
            return;
        }
    }
}

async fn checkpoint(node: SharedNode, mut shutdown: Shutdown) {
    while shutdown.tick(CHECKPOINT_INTERVAL).await {
        if node.ends.load().ended(Part::LogKey, node.clock.now()).is_some() {
            continue;
        }
        if let Err(error) = admin::checkpoint(&node).await {
            tracing::error!("the log's head was not signed: {error}");
        }
    }
}

fn write_addresses(
    path: &Path,
    (exchange, desk, telemetry): (SocketAddr, SocketAddr, SocketAddr),
) -> anyhow::Result<()> {
    let addresses = serde_json::json!({
        "exchange": exchange, "desk": desk, "telemetry": telemetry, "pid": std::process::id(),
    });
    std::fs::write(path, format!("{addresses}\n"))
        .with_context(|| format!("{} can't be written", path.display()))
}
