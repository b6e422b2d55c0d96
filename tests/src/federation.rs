//! Nodes in this process: real doors, real stores, a clock of their own, a proxy in front of each.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use entente_node::config::Choices;
use entente_node::exchange;
use entente_node::home::{Layout, init};
use entente_node::id::{AlertId, AuthorityId, Clock, Entropy, Timestamp};
use entente_node::jose::SigningKey;
use entente_node::node::SharedNode;
use entente_node::outbound::connect;
use entente_node::roles::{Actor, Role};
use entente_node::run::{Options, Running, start};
use entente_node::server::door::Door;
use entente_node::shutdown::Trigger;
use entente_node::store::{Change, Copies, StoreError, StreamsIn, StreamsOut};
use entente_node::tls::{Exchange, Target, TlsIdentity, exchange_config, read_pem_certificates};
use entente_node::trust::{Draft, SignedDescriptor};
use entente_node::{admin, desk};
use entente_proto::desk::{Identifier, SearchRequest};
use entente_proto::exchange::exchange_server::{self, ExchangeServer};
use tempfile::TempDir;
use tonic::transport::{Channel, Server};

use crate::disk::Disk;
use crate::proxy::Proxy;

/// How long anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often, and how long apart, a store is opened that may still be locked.
const LETTING_GO: (u32, Duration) = (500, Duration::from_millis(20));

/// Below the ports that Linux, BSD and macOS give away by themselves.
const PORTS: Range<u16> = 10_000..32_000;

/// Ports between the first ones of two processes that were started one after the other.
const PORTS_APART: u32 = 101;

/// Every alert with every claim that a wildcard gives, to everybody.
pub const ALL: &str =
    "[[rule]]\nname = 'all'\npeers = ['*']\nlevel = 'view'\nclaims = ['*', 'locations.text']\n";

/// Nodes that know each other.
pub struct Federation {
    /// In the order they were named.
    pub nodes: Vec<TestNode>,
    /// Goes after the disks that are mounted in it.
    folder: TempDir,
}

/// One node, running or not.
pub struct TestNode {
    /// Whose.
    pub authority: AuthorityId,
    /// Its home folder.
    pub home: PathBuf,
    /// What time it thinks it is, off the system's.
    pub clock: Clock,
    /// Where it has its randomness from, from its next start on.
    pub entropy: Entropy,
    /// In front of its exchange door.
    pub proxy: Proxy,
    /// That it lies on, where it has one of its own.
    pub disk: Option<Disk>,
    running: Option<Running>,
}

/// A person of one role, whose name it is.
pub fn person(role: Role) -> Actor {
    Actor { name: role.as_str().to_owned(), roles: [role].into() }
}

impl Federation {
    /// Starts nodes of these names; each knows every other, and shares nothing yet.
    pub async fn start(names: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(names, &Entropy::os(), None).await
    }

    /// As [`Self::start`], with nodes that have their randomness from `entropy`, each on a disk of
    /// so many megabytes where disks may be mounted.
    pub async fn start_with(
        names: &[&str],
        entropy: &Entropy,
        megabytes: Option<u32>,
    ) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("entente-test-")?;
        let mut nodes = Vec::new();
        for name in names {
            let disk =
                megabytes.and_then(|m| Disk::mount(&folder.path().join("disks").join(name), m));
            let lies = disk.as_ref().map_or(folder.path(), |disk| &disk.folder);
            let mut node = TestNode::prepare(lies, name).await?;
            node.disk = disk;
            node.entropy = entropy.clone();
            node.start().await?;
            nodes.push(node);
        }
        let federation = Self { nodes, folder };
        for here in &federation.nodes {
            for there in &federation.nodes {
                if here.authority != there.authority {
                    here.trust(there).await?;
                }
            }
        }
        Ok(federation)
    }

    /// Where backups may be kept.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until every stream between running nodes has said everything, and is acknowledged.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let settled = until("the streams to settle", || {
            for here in &self.nodes {
                for there in &self.nodes {
                    if here.authority != there.authority && !here.settled_with(there)? {
                        return Ok(None);
                    }
                }
            }
            Ok(Some(()))
        })
        .await;
        settled.with_context(|| self.unsettled().join("\n"))
    }

    /// How the streams stand that have not settled.
    fn unsettled(&self) -> Vec<String> {
        let mut told = Vec::new();
        for here in &self.nodes {
            for there in self.nodes.iter().filter(|there| there.authority != here.authority) {
                if !here.settled_with(there).unwrap_or(false) {
                    let live = here.node().streams.status(&there.authority);
                    let out = here.node().store.get::<StreamsOut>(&there.authority);
                    let held = there.node().store.get::<StreamsIn>(&here.authority);
                    let out =
                        out.ok().flatten().map(|out| (out.epoch, out.acked, out.tail, out.sweep));
                    let held =
                        held.ok().flatten().map(|held| (held.epoch, held.seq, held.snapshot));
                    told.push(format!(
                        "{} to {}: {live:?} {out:?} {held:?}",
                        here.authority, there.authority
                    ));
                }
            }
        }
        told
    }

    /// Stops every node in good order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            node.stop().await?;
        }
        Ok(())
    }
}

impl TestNode {
    async fn prepare(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let authority: AuthorityId = name.parse()?;
        let home = folder.join(name);
        let proxy = Proxy::start().await?;
        let choices = Choices {
            trial: true,
            authority: authority.clone(),
            contact: "test desk".parse().map_err(anyhow::Error::msg)?,
            exchange_listen: Some(free_port()?),
            exchange_advertise: Some(
                proxy.address.to_string().parse().map_err(anyhow::Error::msg)?,
            ),
            desk_listen: Some(free_port()?),
            telemetry_listen: Some("127.0.0.1:0".parse().map_err(anyhow::Error::msg)?),
        };
        let making = home.clone();
        tokio::task::spawn_blocking(move || {
            init(&making, &choices, None, &Clock::system(), &Entropy::os())
        })
        .await??;
        let layout = Layout::new(&home);
        let config = fs::read_to_string(layout.config())?;
        let config = config.replace("heartbeat_s = 60", "heartbeat_s = 1");
        let config = config.replace("disk_free_bytes_min = 536870912", "disk_free_bytes_min = 0");
        fs::write(layout.config(), config)?;
        sign(&layout)?;
        let (clock, entropy) = (Clock::shifted(), Entropy::os());
        Ok(Self { authority, home, clock, entropy, proxy, disk: None, running: None })
    }

    /// Starts it, if it is not running.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        if self.running.is_none() {
            let running = self.started().await?;
            self.proxy.carry_to(running.exchange);
            self.running = Some(running);
        }
        Ok(())
    }

    /// sled lets go of its files a moment after the store is closed: a process that ends takes them
    /// along, but here the node before and the one that made the home were in the same process.
    async fn started(&self) -> anyhow::Result<Running> {
        let mut tries = 0;
        loop {
            let options = Options { clock: self.clock.clone(), entropy: self.entropy.clone() };
            match start(&self.home, options).await {
                Err(error) if is_in_use(&error) && tries < LETTING_GO.0 => {
                    tries += 1;
                    tokio::time::sleep(LETTING_GO.1).await;
                }
                started => return started,
            }
        }
    }

    /// Stops it in good order, if it is running.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        match self.running.take() {
            Some(running) => running.stop().await,
            None => Ok(()),
        }
    }

    /// Starts it anew with another line in its configuration.
    pub async fn configure(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        self.stop().await?;
        let path = Layout::new(&self.home).config();
        let config = fs::read_to_string(&path)?;
        anyhow::ensure!(config.contains(from), "no {from} in the configuration");
        fs::write(path, config.replace(from, to))?;
        self.start().await
    }

    /// Stops it; `service` answers at its exchange door, with its certificate, until the trigger is
    /// dropped.
    pub async fn stand_in(
        &mut self,
        service: impl exchange_server::Exchange,
    ) -> anyhow::Result<Trigger> {
        let layout = Layout::new(&self.home);
        let now = Clock::system().now();
        let own = TlsIdentity::read(&layout.certificate(), &layout.certificate_key(), now)?;
        let peers = self.node().directory.load_full();
        self.stop().await?;
        let known = Arc::clone(&peers);
        let config = exchange_config(&own, Exchange::new(move || Arc::clone(&known)))?;
        let config = Arc::new(arc_swap::ArcSwap::from_pointee(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (trigger, shutdown) = Trigger::new();
        let peers = Arc::new(move || Arc::clone(&peers));
        let incoming = Door { listener, config, connections_max: 64, peers }.open(shutdown);
        let serving = Server::builder().add_service(ExchangeServer::new(service));
        tokio::spawn(serving.serve_with_incoming(incoming));
        self.proxy.carry_to(address);
        Ok(trigger)
    }

    /// Whether it is running.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// What it holds; only while it runs.
    pub fn node(&self) -> &SharedNode {
        &self.running.as_ref().expect("the node is running").node
    }

    /// Its addresses; only while it runs.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("the node is running")
    }

    /// Copies the store of a stopped node aside, or back.
    pub async fn copy_store(&mut self, to: &Path, back: bool) -> anyhow::Result<()> {
        let was_running = self.is_running();
        self.stop().await?;
        let store = Layout::new(&self.home).store();
        let (from, to) = if back { (to, store.as_path()) } else { (store.as_path(), to) };
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        copy_folder(from, to)?;
        if was_running {
            self.start().await?;
        }
        Ok(())
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> anyhow::Result<SignedDescriptor> {
        let jws = fs::read_to_string(Layout::new(&self.home).descriptor())?;
        Ok(SignedDescriptor::parse(&jws)?)
    }

    /// Imports another's descriptor and approves it.
    pub async fn trust(&self, there: &Self) -> anyhow::Result<()> {
        self.admit(&there.descriptor()?).await
    }

    /// Imports a descriptor and approves it.
    pub async fn admit(&self, descriptor: &SignedDescriptor) -> anyhow::Result<()> {
        let (node, authority) = (self.node(), &descriptor.descriptor().authority);
        admin::import_peer(node, descriptor.jws(), &person(Role::Administrator)).await?;
        let fingerprint = descriptor.fingerprint();
        admin::approve_peer(node, authority, &fingerprint, &person(Role::Coordinator)).await?;
        Ok(())
    }

    /// Makes an authority known here that has no node of its own: a descriptor like this node's,
    /// with another name, these roots and this endpoint.
    pub async fn invent(
        &self,
        name: &str,
        tls_roots: Vec<String>,
        endpoint: &str,
        signed_at: Timestamp,
    ) -> anyhow::Result<AuthorityId> {
        let authority: AuthorityId = name.parse()?;
        let draft = fs::read_to_string(Layout::new(&self.home).draft())?;
        let draft = Draft {
            authority: authority.clone(),
            tls_roots,
            endpoints: vec![endpoint.to_owned()],
            ..serde_json::from_str(&draft)?
        };
        let identity = SigningKey::generate(&Entropy::os());
        self.admit(&SignedDescriptor::sign(draft, signed_at, &identity)?).await?;
        Ok(authority)
    }

    /// Puts a policy in force, by two people where it takes them.
    pub async fn apply(&self, policy: &str) -> anyhow::Result<()> {
        let applied =
            admin::apply(self.node(), policy, false, &person(Role::Administrator)).await?;
        if let Some(number) = applied.proposal {
            admin::approve(self.node(), number, &person(Role::Coordinator)).await?;
        }
        Ok(())
    }

    /// Creates an alert.
    pub async fn create(&self, draft: &serde_json::Value) -> anyhow::Result<AlertId> {
        let draft = draft.to_string();
        Ok(desk::create(self.node(), &draft, "", &person(Role::Officer)).await?.id)
    }

    /// Whether a copy is held.
    pub fn holds(&self, id: &AlertId) -> anyhow::Result<bool> {
        Ok(self.node().store.get::<Copies>(id)?.is_some())
    }

    /// Wakes the streams, so that none waits out its back-off.
    pub fn wake(&self) {
        self.node().store.announce(Change::Peers);
    }

    /// Ends a loss of state: fetches back, then two people start new epochs.
    pub async fn recover(&self) -> anyhow::Result<()> {
        let recovered = entente_node::outbound::recover(self.node()).await;
        anyhow::ensure!(recovered.failed.is_empty(), "{:?}", recovered.failed);
        self.confirm().await
    }

    /// Two people confirm what they are shown, whatever it is.
    pub async fn confirm(&self) -> anyhow::Result<()> {
        let review = admin::review_epoch(self.node()).await?;
        let shown = admin::Shown { review: review.name.clone(), again: review.again() };
        let (one, two) = (person(Role::Administrator), person(Role::Coordinator));
        let number = admin::propose_epoch(self.node(), "restored", &shown, &one).await?;
        admin::approve_epoch(self.node(), number, &shown, &two).await?;
        Ok(())
    }

    fn settled_with(&self, there: &Self) -> anyhow::Result<bool> {
        let (here, peer) = (self.node(), there.node());
        let Some(out) = here.store.get::<StreamsOut>(&there.authority)? else {
            return Ok(false);
        };
        let held = peer.store.get::<StreamsIn>(&self.authority)?.unwrap_or_default();
        let agreed = (out.epoch, out.tail) == (held.epoch, held.seq) && out.acked == out.tail;
        let done = out.sweep.is_none() && !out.snapshot && !held.snapshot && out.halted.is_none();
        Ok(agreed && done && exchange::behind(here, &there.authority, &out)? == 0)
    }

    /// A channel to its desk door as one of the first users.
    pub async fn desk(&self, user: &str) -> anyhow::Result<Channel> {
        self.call(user, self.running().desk).await
    }

    /// A channel to any of its doors as one of the first users.
    pub async fn call(&self, user: &str, door: SocketAddr) -> anyhow::Result<Channel> {
        let users = Layout::new(&self.home).users();
        let (pem, key) = (users.join(format!("{user}.pem")), users.join(format!("{user}.key")));
        self.connect(&pem, &key, door).await
    }

    /// A channel to one of its doors, with any certificate.
    pub async fn connect(
        &self,
        pem: &Path,
        key: &Path,
        door: SocketAddr,
    ) -> anyhow::Result<Channel> {
        let target = Target {
            authority: self.authority.clone(),
            roots: read_pem_certificates(&Layout::new(&self.home).roots())?,
            own: TlsIdentity::read(pem, key, Clock::system().now())?,
        };
        connect(&door.to_string(), &target).await.map_err(anyhow::Error::msg)
    }

    /// A channel to its exchange door as the node of another.
    pub async fn as_peer(&self, peer: &Self) -> anyhow::Result<Channel> {
        let layout = Layout::new(&peer.home);
        let door = self.running().exchange;
        self.connect(&layout.certificate(), &layout.certificate_key(), door).await
    }
}

/// A search that finds nothing: its entry in the log is all that it writes.
pub fn search_by_passport() -> SearchRequest {
    let passport = Identifier {
        r#type: "passport".to_owned(),
        country: "DK".to_owned(),
        number: "K1234567".to_owned(),
    };
    SearchRequest {
        case_ref: "case".to_owned(),
        offence: "labour".to_owned(),
        subject_category: "missing".to_owned(),
        aim: "identify".to_owned(),
        identifiers: vec![passport],
        ..Default::default()
    }
}

/// Makes an identity key, signs the descriptor with it, and forgets it.
pub fn sign(layout: &Layout) -> anyhow::Result<()> {
    let draft: Draft = serde_json::from_str(&fs::read_to_string(layout.draft())?)?;
    let identity = SigningKey::generate(&Entropy::os());
    let signed = SignedDescriptor::sign(draft, Clock::system().now(), &identity)?;
    Ok(fs::write(layout.descriptor(), signed.jws())?)
}

fn is_in_use(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::InUse)))
}

/// A loopback address that nobody listens at, and that stays free: who asks the system for any port
/// gets one of another range, and each process here goes through this one from another place.
pub fn free_port() -> anyhow::Result<SocketAddr> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(PORTS_APART);
    for _ in 0..PORTS.len() {
        let number = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + (number % PORTS.len() as u32) as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    anyhow::bail!("no port of {PORTS:?} is free")
}

/// Copies a folder whole.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Looks until something is found, at most [`PATIENCE`].
pub async fn until<T>(
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let waiting = async {
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.with_context(|| format!("waited {PATIENCE:?} in vain for {what}"))?
}
