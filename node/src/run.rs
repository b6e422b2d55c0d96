//! Starts a node from its home folder and stops it in good order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use entente_proto::admin::admin_server::AdminServer;
use entente_proto::admin::audit_server::AuditServer;
use entente_proto::desk::desk_server::DeskServer;
use entente_proto::exchange::exchange_server::ExchangeServer;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::home::{Credentials, Home, read_config};
use crate::id::{Clock, Entropy, Timestamp};
use crate::jose::SigningKey;
use crate::node::{ClockWatch, Node, Parts, Reloaded, SharedNode, clock_doubt, look_at_clock};
use crate::readiness::{Level, Reason, readiness};
use crate::server::admin::AdminService;
use crate::server::audit::AuditService;
use crate::server::desk::DeskService;
use crate::server::door::{Door, Peers};
use crate::server::exchange::ExchangeService;
use crate::server::gate::{Budget, DESK_BYTES_MAX, EXCHANGE_BYTES_MAX, EXCHANGE_MESSAGE_BYTES_MAX};
use crate::server::serve::Serving;
use crate::shutdown::{Shutdown, Trigger};
use crate::store::Change;
use crate::telemetry::CallsLayer;
use crate::trust::Part;
use crate::{admin, desk};
use crate::{observe, outbound, telemetry, tls};

/// How long open calls may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// How often to check whether all is well.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// How often to set the answer of `grpc.health.v1`.
const HEALTH_INTERVAL: Duration = Duration::from_secs(2);

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

/// The configurations of both doors, swapped as a whole at a reload.
struct Doors {
    exchange: Arc<ArcSwap<tls::DoorTls>>,
    desk: Arc<ArcSwap<tls::DoorTls>>,
}

/// Reads the whole home, opens the store, binds the ports, then starts.
///
/// # Errors
/// The first thing that is wrong, before a port answers.
pub async fn start(home: &Path, options: Options) -> anyhow::Result<Running> {
    let home = Home::read(home, &options.clock)?;
    let credentials = home.credentials.clone();
    let path = home.layout.addresses();
    let (node, layout) = open(home, options).await?;
    let config = node.config.clone();
    let exchange = bind(config.exchange.listen, "exchange.listen").await?;
    let desk = bind(config.desk.listen, "desk.listen").await?;
    let health = bind(config.telemetry.listen.address(), "telemetry.listen").await?;
    let addresses = (exchange.local_addr()?, desk.local_addr()?, health.local_addr()?);
    let (exchange_tls, desk_tls) = tls_configs(&node, &credentials)?;
    let doors = Arc::new(Doors {
        exchange: Arc::new(ArcSwap::from_pointee(exchange_tls)),
        desk: Arc::new(ArcSwap::from_pointee(desk_tls)),
    });
    // Before anything is counted.
    telemetry::recorder();
    publish(&node, &credentials);
    reload_with(&node, layout, Arc::clone(&doors));
    let (trigger, shutdown) = Trigger::new();
    let tasks = vec![
        tokio::spawn(serve_exchange(node.clone(), exchange, &doors, shutdown.clone())),
        tokio::spawn(serve_desk(node.clone(), desk, &doors, shutdown.clone())),
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

type Layout = crate::home::Layout;

async fn open(home: Home, options: Options) -> anyhow::Result<(SharedNode, Layout)> {
    let Options { clock, entropy } = options;
    let opened = tokio::task::spawn_blocking(move || {
        let store = home.open_store(clock.clone(), entropy.clone())?;
        let layout = home.layout.clone();
        let parts = Parts {
            home: layout.folder().to_owned(),
            config: home.config,
            clock,
            entropy,
            store,
            statement_key: home.statement_key,
            log_key: home.log_key,
            descriptor: Some(home.credentials.descriptor),
        };
        let node = Node::new(parts)?;
        anyhow::Ok((node, layout))
    });
    opened.await?
}

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{address} can't be bound: free it, or choose another port in {setting}")
    })
}

fn tls_configs(
    node: &SharedNode,
    credentials: &Credentials,
) -> Result<(tls::DoorTls, tls::DoorTls), tls::TlsError> {
    // Weak: the node holds the doors' set-ups, for reloads.
    let peers = peers(node);
    let peers = tls::Exchange::new(move || peers());
    let users = tls::Desk::new(node.authority.clone(), credentials.user_ca.clone());
    let own = &credentials.tls;
    Ok((tls::exchange_config(own, peers)?, tls::desk_config(own, users)?))
}

fn publish(node: &Node, credentials: &Credentials) {
    node.ends.store(Arc::new(credentials.ends(&node.statement_key, &node.log_key)));
    node.set_tls_identity(credentials.tls.clone());
    node.descriptor.store(Arc::new(Some(credentials.descriptor.clone())));
}

/// A reload reads and validates everything, builds both set-ups, and only then publishes.
fn reload_with(node: &SharedNode, layout: Layout, doors: Arc<Doors>) {
    let held = Arc::downgrade(node);
    node.reload.set(move || {
        let node = held.upgrade().ok_or("the node is ending")?;
        let keys: (&SigningKey, &SigningKey) = (&node.statement_key, &node.log_key);
        let config = read_config(&layout).map_err(|error| error.to_string())?;
        let fresh = Credentials::read(&layout, &config, keys.0, keys.1, &node.clock)
            .map_err(|error| error.to_string())?;
        let (exchange, desk) = tls_configs(&node, &fresh).map_err(|error| error.to_string())?;
        node.refresh().map_err(|error| error.to_string())?;
        doors.exchange.store(Arc::new(exchange));
        doors.desk.store(Arc::new(desk));
        publish(&node, &fresh);
        let descriptor = fresh.descriptor.descriptor();
        let in_force = vec![
            "the node's certificate".to_owned(),
            "the user CA".to_owned(),
            format!("descriptor {}", descriptor.serial),
            "peers and policy".to_owned(),
        ];
        let mut not_in_force = node.config.wait_for_restart(&config);
        if !config.contact.is_empty() && config.contact.to_string() != descriptor.contact {
            not_in_force.push("contact: sign a new descriptor (`entente-node draft`)".to_owned());
        }
        Ok(Reloaded { in_force, not_in_force })
    });
}

fn serve_exchange(
    node: SharedNode,
    listener: TcpListener,
    doors: &Doors,
    shutdown: Shutdown,
) -> impl Future<Output = ()> + use<> {
    let config = &node.config.exchange;
    let door = Door {
        listener,
        config: Arc::clone(&doors.exchange),
        connections_max: config.connections_max.count(),
        peers: peers(&node),
    };
    let calls_max = config.calls_per_connection_max.count();
    let age = config.connection_age_s.seconds();
    async move {
        let service = ExchangeServer::new(ExchangeService::new(node.clone()))
            .max_decoding_message_size(EXCHANGE_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(EXCHANGE_MESSAGE_BYTES_MAX);
        let services = Routes::new(service).add_service(health(&node, &shutdown).await).prepare();
        let calls = CallsLayer::new(node.authority.clone(), "exchange");
        let accepted = door.open(shutdown.clone());
        let budget = Budget::new(EXCHANGE_BYTES_MAX);
        Serving { services, node, calls, budget, calls_max, age }.run(accepted, shutdown).await;
    }
}

fn serve_desk(
    node: SharedNode,
    listener: TcpListener,
    doors: &Doors,
    shutdown: Shutdown,
) -> impl Future<Output = ()> + use<> {
    let config = &node.config.desk;
    let door = Door {
        listener,
        config: Arc::clone(&doors.desk),
        connections_max: config.connections_max.count(),
        peers: peers(&node),
    };
    let calls_max = config.calls_per_connection_max.count();
    let age = config.connection_age_s.seconds();
    async move {
        let mut services = Routes::new(DeskServer::new(DeskService::new(node.clone())))
            .add_service(AdminServer::new(AdminService::new(node.clone())))
            .add_service(AuditServer::new(AuditService::new(node.clone())))
            .add_service(health(&node, &shutdown).await);
        let reflects = node.config.reflection;
        if let Some(service) = reflection(reflects).and_then(|with| with.build_v1().ok()) {
            services = services.add_service(service);
        }
        if let Some(service) = reflection(reflects).and_then(|with| with.build_v1alpha().ok()) {
            services = services.add_service(service);
        }
        let (services, calls) =
            (services.prepare(), CallsLayer::new(node.authority.clone(), "desk"));
        let accepted = door.open(shutdown.clone());
        let budget = Budget::new(DESK_BYTES_MAX);
        Serving { services, node, calls, budget, calls_max, age }.run(accepted, shutdown).await;
    }
}

fn peers(node: &SharedNode) -> Peers {
    let node = Arc::downgrade(node);
    Arc::new(move || node.upgrade().map(|node| node.directory.load_full()).unwrap_or_default())
}

/// `grpc.health.v1`: not serving while creating and searching are refused, or nobody can connect.
async fn health(
    node: &SharedNode,
    shutdown: &Shutdown,
) -> tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    let (held, mut shutdown) = (Arc::downgrade(node), shutdown.clone());
    tokio::spawn(async move {
        while let Some(node) = held.upgrade() {
            let refusing = readiness(&node).iter().any(|reason| reason.level == Level::Refusing);
            drop(node);
            let status = match refusing {
                true => tonic_health::ServingStatus::NotServing,
                false => tonic_health::ServingStatus::Serving,
            };
            reporter.set_service_status("", status).await;
            if !shutdown.tick(HEALTH_INTERVAL).await {
                return;
            }
        }
    });
    service
}

/// gRPC server reflection, in the present version and the one that older tools ask for.
fn reflection(on: bool) -> Option<tonic_reflection::server::Builder<'static>> {
    let set = entente_proto::DESCRIPTORS;
    let builder = || tonic_reflection::server::Builder::configure();
    on.then(|| builder().register_encoded_file_descriptor_set(set))
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
